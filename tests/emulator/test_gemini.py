"""Gemini's batches: what a create takes, how an operation looks until its end, and how faults see it."""

import json

import aiohttp
import pytest

from asyncbatch.emulator import Fault, faults, paid_twice
from tests.emulator.gemini_wire import (
    CREATE,
    EMBED,
    EMBEDDER,
    MODEL,
    GeminiApi,
    chat,
    encode_lines,
    file_rows,
    inline_rows,
)

TYPES = "type.googleapis.com/google.ai.generativelanguage.v1beta."


@pytest.fixture
async def api(emulator):
    api = GeminiApi(emulator)
    yield api
    await api.session.close()


@pytest.fixture
async def other(emulator):
    api = GeminiApi(emulator, key="other")
    yield api
    await api.session.close()


def state(operation):
    return operation["metadata"]["state"].removeprefix("BATCH_STATE_")


def stats(operation):
    return operation["metadata"]["batchStats"]


class TestLife:
    async def test_a_batch_from_a_file_ends_with_a_file(self, api):
        batch = await api.from_file(file_rows(chat(), chat("[[error:400]]")))
        done = await api.finish(batch)
        name = batch["name"].removeprefix("batches/")

        assert len(name) == 36
        assert batch["metadata"] == {
            "@type": f"{TYPES}GenerateContentBatch",
            "model": f"models/{MODEL}",
            "displayName": "tag",
            "createTime": "2026-11-21T22:26:41.000000Z",
            "updateTime": "2026-11-21T22:26:41.000000Z",
            "batchStats": {"requestCount": "2", "pendingRequestCount": "2"},
            "state": "BATCH_STATE_PENDING",
            "name": batch["name"],
        }
        assert batch.keys() == {"name", "metadata"}
        assert (state(done), done["done"]) == ("SUCCEEDED", True)
        assert stats(done) == {"requestCount": "2", "successfulRequestCount": "1", "failedRequestCount": "1"}
        assert done["metadata"]["output"] == {"responsesFile": f"files/batch-{name}"}
        assert done["response"] == {
            "@type": f"{TYPES}GenerateContentBatchOutput",
            "responsesFile": f"files/batch-{name}",
        }
        assert done["metadata"]["endTime"] == done["metadata"]["updateTime"] > done["metadata"]["createTime"]

    async def test_inlined_requests_end_inline_and_lists_do_not_carry_them(self, api):
        batch = await api.inline(inline_rows(chat("a"), chat("b")))
        done = await api.finish(batch)
        (listed,) = (await api.get("/v1/batches"))["operations"]
        rows = done["response"]["inlinedResponses"]["inlinedResponses"]

        assert done["metadata"]["output"]["inlinedResponses"] == done["response"]["inlinedResponses"]
        assert [row["metadata"]["key"] for row in rows] == ["r0", "r1"]
        assert [row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in rows] == [
            "echo: a",
            "echo: b",
        ]
        assert (state(listed), listed["done"], "inlinedResponses" in listed["response"]) == ("SUCCEEDED", True, False)

    async def test_embeddings_have_types_of_their_own(self, api):
        rows = [{"request": {"content": {"parts": [{"text": "a"}]}}}]
        done = await api.finish(await api.inline(rows, EMBED))

        assert done["metadata"]["@type"] == f"{TYPES}EmbedContentBatch"
        assert done["response"]["@type"] == f"{TYPES}EmbedContentBatchOutput"
        (row,) = done["response"]["inlinedResponses"]["inlinedResponses"]
        assert row.keys() == {"response"}
        assert len(row["response"]["embedding"]["values"]) == 3072
        assert row["response"]["tokenCount"] == "1"

    async def test_a_batch_is_pending_then_running_then_over(self, api, emulator):
        batch = await api.inline(inline_rows(*[chat()] * 100))
        seen = [batch]
        for seconds in (5, 1, 1, 5):
            emulator.advance(seconds)
            seen.append(await api.batch(batch))

        assert [state(item) for item in seen] == ["PENDING", "RUNNING", "RUNNING", "RUNNING", "SUCCEEDED"]
        assert [stats(item).get("successfulRequestCount") for item in seen] == [None, None, "50", "100", "100"]
        assert [stats(item).get("pendingRequestCount") for item in seen] == ["100", "100", "50", None, None]

    async def test_a_batch_succeeds_though_every_row_failed(self, api):
        done = await api.finish(await api.inline(inline_rows(chat("[[error:500]]"))))

        assert (state(done), stats(done)) == ("SUCCEEDED", {"requestCount": "1", "failedRequestCount": "1"})

    async def test_a_cancelled_batch_keeps_running_for_a_while_and_has_no_results(self, api, emulator):
        batch = await api.from_file(file_rows(*[chat()] * 100))
        emulator.advance(6)
        answer = await api.call("POST", f"/v1/{batch['name']}:cancel", json={})
        still = await api.batch(batch)
        over = await api.finish(batch)
        path = f"/v1/files/batch-{batch['name'].removeprefix('batches/')}:download?alt=media"

        assert (await api.call("GET", path))[0] == 404
        assert answer == (200, {})
        assert (state(still), "done" in still) == ("RUNNING", False)
        assert (state(over), over["done"], over["error"]["code"]) == ("CANCELLED", True, 1)
        assert "response" not in over
        assert "output" not in over["metadata"]
        assert stats(over) == {"requestCount": "100", "successfulRequestCount": "50", "pendingRequestCount": "50"}

    async def test_a_batch_that_is_over_is_cancelled_in_vain(self, api):
        done = await api.finish(await api.inline(inline_rows(chat())))

        assert await api.call("POST", f"/v1/{done['name']}:cancel") == (200, {})
        assert await api.batch(done) == done

    async def test_a_batch_expires_after_48_hours_without_results(self, api, emulator):
        batch = await api.inline(inline_rows(chat(), chat("[[stall]]")))
        emulator.advance(48 * 3600)
        before = await api.batch(batch)
        emulator.advance(5)
        over = await api.batch(batch)

        assert state(before) == "RUNNING"
        assert (state(over), over["done"], over["error"]["code"]) == ("EXPIRED", True, 4)
        assert "response" not in over
        assert stats(over)["requestCount"] == "2"
        assert int(stats(over)["pendingRequestCount"]) >= 1

    async def test_a_batch_can_fail_for_a_full_queue(self, api, emulator):
        emulator.add(faults.full_queue())
        failed = await api.finish(await api.inline(inline_rows(chat())))

        assert (state(failed), failed["error"]["code"]) == ("FAILED", 8)
        assert stats(failed) == {"requestCount": "1", "pendingRequestCount": "1"}

    async def test_a_deleted_batch_is_gone_but_has_to_be_paid(self, api, emulator):
        done = await api.finish(await api.from_file(file_rows(chat())))
        running = await api.from_file(file_rows(chat("b")))
        for batch in (done, running):
            assert await api.call("DELETE", f"/v1/{batch['name']}") == (200, {})
        emulator.advance(600)
        statuses = [
            (await api.call(method, path))[0]
            for method, path in (
                ("DELETE", f"/v1/{done['name']}"),
                ("GET", f"/v1/{done['name']}"),
                ("POST", f"/v1/{done['name']}:cancel"),
                ("GET", f"/v1/{done['response']['responsesFile']}:download?alt=media"),
                ("GET", f"/v1/files/batch-{running['name'].removeprefix('batches/')}:download?alt=media"),
            )
        ]

        assert statuses == [404] * 5
        assert await api.get("/v1/batches") == {}
        assert [record.is_paid for record in emulator.history if record.kind == "create"] == [True, True]

    async def test_the_name_and_the_priority_can_be_changed(self, api):
        batch = await api.inline(inline_rows(chat()), priority="7")
        path = f"/v1/{batch['name']}:updateGenerateContentBatch"
        changed = await api.call("PATCH", f"{path}?updateMask=display_name", json={"displayName": "b", "priority": 9})
        both = await api.call("PATCH", path, json={"priority": "9"})
        refused = await api.call("PATCH", f"{path}?updateMask=state", json={"state": "x"})
        broken = await api.call("PATCH", path, data=b"{")

        assert batch["metadata"]["priority"] == "7"
        assert [changed[1][name] for name in ("displayName", "priority")] == ["b", "7"]
        assert [both[1][name] for name in ("displayName", "priority")] == ["b", "9"]
        assert (refused[0], broken[0]) == (400, 400)


class TestCreate:
    @pytest.mark.parametrize(
        ("batch", "rows"),
        [
            ({"displayName": "t", "inputConfig": {"requests": {"requests": inline_rows(chat())}}}, 1),
            ({"display_name": "t", "input_config": {"requests": {"requests": inline_rows(chat())}}}, 1),
            ({"displayName": "t", "inputConfig": {"fileName": "FILE"}}, 2),
            (
                {"display_name": "t", "input_config": {"file_name": "FILE"}, "model": f"models/{MODEL}", "state": None},
                2,
            ),
        ],
    )
    async def test_both_spellings_are_read(self, api, batch, rows):
        file = await api.upload(encode_lines(file_rows(chat(), chat())), mime_type="jsonl")
        body = json.dumps({"batch": batch}).replace("FILE", file["name"])
        status, answer = await api.call("POST", CREATE, data=body)

        assert (status, stats(answer)["requestCount"]) == (200, str(rows))

    async def test_a_webhook_of_its_own_is_taken_and_shown(self, api):
        webhook = {"uris": ["http://127.0.0.1:9/x"], "userMetadata": {"job": "42"}}

        batch = await api.inline(inline_rows(chat()), webhookConfig=webhook)

        assert batch["metadata"]["webhookConfig"] == webhook

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"displayName": ""}, "display_name"),
            ({"displayName": 7}, "expected a string"),
            ({"model": "models/gemini-2.5-pro"}, "not the model"),
            ({"inputConfig": {}}, "either requests or a file_name"),
            ({"inputConfig": {"requests": {}}}, "either requests or a file_name"),
            ({"inputConfig": {"fileName": "files/x", "requests": {"requests": []}}}, "Only one of"),
            ({"inputConfig": {"requests": {"requests": []}}}, "no requests"),
            ({"inputConfig": {"requests": {"requests": {}}}}, "array"),
            ({"colour": "red"}, 'Unknown name "colour"'),
            ({"display_name": "t"}, "twice"),
            ({"priority": "high"}, "64 bits"),
            ({"webhookConfig": {"uri": "x"}}, 'Unknown name "uri"'),
        ],
    )
    async def test_a_batch_that_does_not_fit_is_refused(self, api, emulator, change, text):
        batch = {"displayName": "t", "inputConfig": {"requests": {"requests": inline_rows(chat())}}, **change}
        status, answer = await api.call("POST", CREATE, json={"batch": batch})

        assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert text in answer["error"]["message"]
        assert await api.get("/v1/batches") == {}
        assert list(emulator._running.service.families["gemini"].desk.store.directory.iterdir()) == []

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"batch": 7}', b'{"rows": []}', b"{}"])
    async def test_a_body_that_is_no_batch_is_refused(self, api, body):
        assert (await api.call("POST", CREATE, data=body))[0] == 400

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            (CREATE, 200),
            (CREATE.replace("/v1/", "/v1beta/"), 200),
            (CREATE.replace("/v1/", "/v1alpha/"), 200),
            (CREATE.replace("/v1/", "/v2/"), 404),
            (CREATE.replace(MODEL, "gpt-4"), 404),
            (CREATE.replace(MODEL, EMBEDDER), 404),
            (CREATE.replace("batchGenerateContent", "generateContent"), 404),
        ],
    )
    async def test_versions_models_and_methods_are_known_or_not(self, api, path, status):
        found, answer = await api.try_create({"requests": {"requests": inline_rows(chat())}}, path)

        assert found == status
        assert status == 200 or answer["error"]["status"] == "NOT_FOUND"

    @pytest.mark.parametrize(
        ("uploaded", "status", "word"),
        [
            (None, 404, "NOT_FOUND"),
            ({"ready": False}, 400, "FAILED_PRECONDITION"),
            ({"mime_type": "text/plain"}, 400, "INVALID_ARGUMENT"),
        ],
    )
    async def test_the_input_file_has_to_be_there_active_and_of_the_right_kind(self, api, uploaded, status, word):
        content = encode_lines(file_rows(chat()))
        name = "files/none" if uploaded is None else (await api.upload(content, **uploaded))["name"]
        found, answer = await api.try_create({"fileName": name})

        assert (found, answer["error"]["status"]) == (status, word)

    @pytest.mark.parametrize(
        ("line", "where", "text"),
        [
            (
                b"oops\n",
                None,
                "no",
            ),
            (b"[]\n", None, "not a JSON object"),
            (b"\n", None, "not a JSON object"),
            ({"key": 7, "request": chat()}, "key", "expected a string"),
            ({"key": "a"}, "request", "needs a request"),
            ({"key": "a", "request": chat(), "method": "POST"}, None, 'Unknown name "method"'),
            ({"key": "a", "request": chat(config={})}, "request", 'Unknown name "config"'),
            ({"key": "a", "request": chat(temperature=1)}, "request", 'Unknown name "temperature"'),
            (
                {"key": "a", "request": {"contents": [{"parts": [{"image": "x"}]}]}},
                "request.contents[0].parts[0]",
                "image",
            ),
            ({"key": "a", "request": {"contents": "hello"}}, "request.contents", "expected an array"),
            (
                {"key": "a", "request": chat(generation_config={"max_output_tokens": 1.5})},
                "request.generation_config.max_output_tokens",
                "32 bits",
            ),
            ({"key": "a", "request": chat(model="models/gemini-2.5-pro")}, "request.model", "the batch's model"),
        ],
    )
    async def test_a_malformed_line_of_a_file_refuses_the_whole_batch(self, api, line, where, text):
        file = await api.upload(encode_lines([*file_rows(chat()), line, *file_rows(chat())]))
        status, answer = await api.try_create({"fileName": file["name"]})
        details = answer["error"].get("details", [])

        assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert text in answer["error"]["message"]
        assert "(request 2)" in answer["error"]["message"]
        assert [item["fieldViolations"][0]["field"] for item in details] == ([where] if where else [])
        assert await api.get("/v1/batches") == {}

    @pytest.mark.parametrize(
        "row",
        [
            7,
            {"key": "a", "request": chat()},
            {"request": chat(), "metadata": "a"},
            {"request": chat(colour="red")},
            {"metadata": {"key": "a"}},
        ],
    )
    async def test_a_malformed_inlined_request_refuses_the_whole_batch(self, api, emulator, row):
        status, answer = await api.try_create({"requests": {"requests": [row]}})

        assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert await api.get("/v1/batches") == {}
        assert list(emulator._running.service.families["gemini"].desk.store.directory.iterdir()) == []

    async def test_an_empty_file_is_refused(self, api):
        file = await api.upload(b"\n")

        assert (await api.try_create({"fileName": file["name"]}))[0] == 400

    async def test_what_is_bought_twice_stands_in_the_history(self, api, emulator):
        for _ in range(2):
            await api.inline(inline_rows(chat()))
        emulator.advance(600)

        ((_, creates),) = paid_twice(emulator.history).items()
        assert [record.metadata for record in creates] == [{"displayName": "tag"}] * 2


class TestLimits:
    @pytest.fixture
    def options(self):
        return {"limits": {"inline_bytes": 2000, "file_bytes": 2000, "requests_per_min": 120}}

    async def test_inlined_requests_have_to_be_small(self, api):
        status, answer = await api.try_create({"requests": {"requests": inline_rows(chat("x" * 2000))}})

        assert (status, answer["error"]["status"]) == (413, "INVALID_ARGUMENT")

    async def test_a_file_has_to_be_small(self, api):
        file = await api.upload(encode_lines(file_rows(chat("x" * 2000))))
        status, answer = await api.try_create({"fileName": file["name"]})

        assert (status, "2000 are allowed" in answer["error"]["message"]) == (400, True)

    async def test_an_account_has_at_most_100_unfinished_batches(self, api, other, emulator):
        for _ in range(100):
            await api.inline(inline_rows(chat()))
        status, answer = await api.try_create({"requests": {"requests": inline_rows(chat())}})
        assert (status, answer["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert "details" not in answer["error"]

        await other.inline(inline_rows(chat()))
        emulator.advance(600)
        await api.inline(inline_rows(chat()))

    async def test_a_refusal_says_how_long_to_wait_in_its_body_alone(self, api):
        for _ in range(120):
            await api.get("/v1/batches")
        async with api.send("GET", "/v1/batches") as response:
            answer = await response.json()

        assert response.status == 429
        assert "Retry-After" not in response.headers
        assert answer["error"]["details"] == [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "60s"}
        ]


class TestLists:
    async def test_batches_are_listed_in_pages_newest_first(self, api):
        names = [(await api.inline(inline_rows(chat())))["name"] for _ in range(5)]
        seen, token = [], ""
        for _ in range(3):
            page = await api.get(f"/v1/batches?pageSize=2&pageToken={token}")
            seen += [item["name"] for item in page["operations"]]
            token = page.get("nextPageToken", "")

        assert (seen, token) == (names[::-1], "")

    async def test_a_new_batch_does_not_move_the_pages(self, api):
        names = [(await api.inline(inline_rows(chat())))["name"] for _ in range(3)]
        first = await api.get("/v1/batches?pageSize=2")
        await api.inline(inline_rows(chat()))
        second = await api.get(f"/v1/batches?pageSize=2&pageToken={first['nextPageToken']}")

        assert [item["name"] for item in first["operations"] + second["operations"]] == names[::-1]

    async def test_an_empty_list_is_an_empty_object(self, api, other):
        await other.inline(inline_rows(chat()))

        assert await api.get("/v1/batches") == {}

    @pytest.mark.parametrize("query", ["pageSize=-1", "pageSize=x", "pageToken=x", "pageToken=YWJj"])
    async def test_a_page_that_is_none_is_refused(self, api, query):
        assert (await api.call("GET", f"/v1/batches?{query}"))[0] == 400


class TestKeys:
    @pytest.mark.parametrize("where", ["header", "query"])
    async def test_a_key_is_read_from_either_place(self, api, where):
        await api.inline(inline_rows(chat()))
        headers = {"x-goog-api-key": "k" if where == "header" else None}
        query = "" if where == "header" else "?key=k"
        _, answer = await api.call("GET", f"/v1/batches{query}", headers=headers)

        assert len(answer["operations"]) == 1

    async def test_a_bad_key_is_a_bad_argument_and_a_missing_one_forbidden(self, api):
        bad = await api.call("GET", "/v1/batches", headers={"x-goog-api-key": "invalid-key"})
        missing = await api.call("GET", "/v1/batches", headers={"x-goog-api-key": None})

        assert (bad[0], bad[1]["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert bad[1]["error"]["details"] == [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            }
        ]
        assert (missing[0], missing[1]["error"]["status"]) == (403, "PERMISSION_DENIED")

    async def test_a_batch_is_its_owners_alone(self, api, other):
        batch = await api.inline(inline_rows(chat()))

        assert (await other.call("GET", f"/v1/{batch['name']}"))[0] == 404


class TestFaults:
    async def test_a_lost_create_is_found_in_the_list(self, api, emulator):
        emulator.add(faults.accept_then_drop())
        with pytest.raises(aiohttp.ClientError):
            await api.inline(inline_rows(chat()), displayName="mine")

        (found,) = (await api.get("/v1/batches"))["operations"]
        assert found["metadata"]["displayName"] == "mine"

    async def test_a_poll_shows_what_nobody_knows(self, api, emulator):
        batch = await api.inline(inline_rows(chat()))
        emulator.add(faults.flap404(), faults.unknown_status("BATCH_STATE_PAUSED", first=2))

        assert (await api.call("GET", f"/v1/{batch['name']}"))[0] == 404
        assert state(await api.batch(batch)) == "PAUSED"
        assert state(await api.batch(batch)) == "PENDING"

    @pytest.mark.parametrize("is_inline", [True, False])
    async def test_results_are_late_in_both_places(self, api, emulator, is_inline):
        emulator.add(faults.missing_output(polls=1), Fault(effect=faults.HideCounts(), completed=True))
        batch = await (api.inline(inline_rows(chat())) if is_inline else api.from_file(file_rows(chat())))
        await api.batch(batch)
        first, second = await api.finish(batch), await api.batch(batch)

        assert (state(first), "response" in first, "output" in first["metadata"]) == ("SUCCEEDED", False, False)
        assert "batchStats" not in first["metadata"]
        assert ("response" in second, "output" in second["metadata"]) == (True, True)

    async def test_there_are_no_errors_elsewhere_to_hide(self, api, emulator):
        emulator.add(Fault(effect=faults.HideResults(which="errors")))
        done = await api.finish(await api.from_file(file_rows(chat())))

        assert "response" in done

    async def test_lists_lag_and_never_end(self, api, emulator):
        emulator.add(faults.list_lag(60, times=2), faults.endless_list(first=3))
        await api.inline(inline_rows(chat()))
        young = await api.get("/v1/batches")
        emulator.advance(61)
        old, endless = await api.get("/v1/batches"), await api.get("/v1/batches")
        again = await api.get(f"/v1/batches?pageToken={endless['nextPageToken']}")

        assert (young, len(old["operations"])) == ({}, 1)
        assert again == endless == {"nextPageToken": endless["nextPageToken"]}

    async def test_a_list_of_nothing_can_be_endless_too(self, api, emulator):
        emulator.add(faults.endless_list())

        assert "nextPageToken" in await api.get("/v1/batches")

    async def test_a_scripted_wait_stands_in_header_and_body(self, api, emulator):
        emulator.add(faults.rate_limited(31))
        async with api.send("GET", "/v1/batches") as response:
            answer = await response.json()

        assert response.headers["Retry-After"] == "31"
        assert answer["error"]["details"][-1]["retryDelay"] == "31s"

    @pytest.mark.parametrize(
        ("status", "word"), [(401, "UNAUTHENTICATED"), (500, "INTERNAL"), (504, "DEADLINE_EXCEEDED"), (418, "UNKNOWN")]
    )
    async def test_every_status_has_its_word(self, api, emulator, status, word):
        emulator.add(faults.refuse(status))
        found, answer = await api.call("GET", "/v1/batches")

        assert (found, answer["error"]["code"], answer["error"]["status"]) == (status, status, word)

    async def test_every_call_has_its_operation(self, api, emulator):
        batch = await api.from_file(file_rows(chat()))
        done = await api.finish(batch)
        await api.lines(done)
        await api.get("/v1/batches")
        for method, path in (
            ("GET", "/v1/files"),
            ("GET", "/v1/files/x"),
            ("DELETE", "/v1/files/x"),
            ("POST", f"/v1/{batch['name']}:cancel"),
            ("DELETE", f"/v1/{batch['name']}"),
        ):
            await api.call(method, path)

        assert [record.operation for record in emulator.history if record.kind == "request"] == [
            "upload", "upload", "create", "poll", "results", "list", "files", "file", "delete", "cancel", "delete",
        ]  # fmt: skip
