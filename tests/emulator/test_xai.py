"""xAI's files and batches as the emulator has them: counters, names, pages, cancels that go back, and what is refused."""

import io
import json

import aiohttp
import pytest

from asyncbatch.emulator import Emulator, faults, paid_twice
from asyncbatch.emulator.dialect import load_dialects

CHAT = "/v1/chat/completions"
PROTOCOL = load_dialects()["xai"].protocol
DAY_S = 86_400


def row(name="a", prompt="hi", url=CHAT, **changes):
    body = {"model": "grok-4.3", "messages": [{"role": "user", "content": prompt}]}
    return {"custom_id": name, "method": "POST", "url": url, "body": body, **changes}


def lines(rows):
    return b"".join(item if isinstance(item, bytes) else json.dumps(item).encode() + b"\n" for item in rows)


def rows(count):
    return [row(f"r{number}", f"prompt {number}") for number in range(count)]


class Api:
    """The service as bytes over HTTP."""

    def __init__(self, emulator, key="xai-k"):
        self.emulator = emulator
        self.base = emulator.base_url("xai")
        self.session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"} if key else {})

    async def call(self, method, path, **options):
        async with self.session.request(method, f"{self.base}{path}", **options) as response:
            return response.status, await response.json()

    async def ok(self, method, path, **options):
        status, answer = await self.call(method, path, **options)
        assert status == 200, answer
        return answer

    async def try_upload(self, content, before=(), after=()):
        form = aiohttp.FormData()
        for name, value in before:
            form.add_field(name, value)
        form.add_field("file", io.BytesIO(content), filename="b.jsonl")
        for name, value in after:
            form.add_field(name, value)
        return await self.call("POST", "/files", data=form)

    async def start(self, given, name="n"):
        status, file = await self.try_upload(lines(given))
        assert status == 200
        return await self.ok("POST", "/batches", json={"name": name, "input_file_id": file["id"]})

    async def show(self, batch):
        return await self.ok("GET", f"/batches/{batch['batch_id']}")

    async def state(self, batch):
        state = (await self.show(batch))["state"]
        return tuple(state[f"num_{name}"] for name in ("requests", "pending", "success", "error", "cancelled"))

    async def results(self, batch, query=""):
        return await self.ok("GET", f"/batches/{batch['batch_id']}/results{query}")


@pytest.fixture
async def api(emulator):
    api = Api(emulator)
    yield api
    await api.session.close()


class TestFiles:
    async def test_a_file_looks_as_documented_and_is_listed_and_deleted(self, api, time):
        content = lines([row()])
        _, file = await api.try_upload(content, before=[("expires_after", "3600"), ("purpose", "batch")])
        page = await api.ok("GET", "/files")
        deleted = await api.ok("DELETE", f"/files/{file['id']}")

        assert file == {
            "id": file["id"],
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.now),
            "expires_at": int(time.now) + 3600,
            "filename": "b.jsonl",
            "purpose": "batch",
        }
        assert file["id"].startswith("file_")
        assert page == {"data": [file], "pagination_token": None}
        assert deleted == {"id": file["id"], "object": "file", "deleted": True}
        assert (await api.call("GET", f"/files/{file['id']}"))[0] == 404

    async def test_a_purpose_and_an_end_may_be_missing(self, api):
        _, file = await api.try_upload(lines([row()]))

        assert (file["purpose"], file["expires_at"]) == ("", None)

    @pytest.mark.parametrize("seconds", ["3599", "2592001", "soon", "-1"])
    async def test_an_end_out_of_bounds_is_refused(self, api, seconds):
        status, answer = await api.try_upload(lines([row()]), before=[("expires_after", seconds)])

        assert (status, answer["code"]) == (400, "Client specified an invalid argument")

    async def test_an_end_behind_the_file_is_refused_and_another_field_is_not(self, api, emulator):
        late, _ = await api.try_upload(lines([row()]), after=[("expires_after", "3600")])
        fine, _ = await api.try_upload(lines([row()]), after=[("purpose", "batch")])

        assert (late, fine) == (400, 200)
        assert len(list(emulator._running.service.families["xai"].desk.store.directory.iterdir())) == 1


class TestBatches:
    async def test_a_batch_looks_as_documented_and_tells_days_alone(self, api, time):
        made = await api.start(rows(2), name="mine")
        api.emulator.advance(DAY_S)
        done = await api.show(made)
        cost = done.pop("cost_breakdown")

        assert done == {
            "batch_id": made["batch_id"],
            "name": "mine",
            "create_time": made["create_time"],
            "expire_time": made["expire_time"],
            "create_api_key_id": made["create_api_key_id"],
            "cancel_time": None,
            "cancel_by_xai_message": None,
            "state": {"num_requests": 2, "num_pending": 0, "num_success": 2, "num_error": 0, "num_cancelled": 0},
            "input_file_id": made["input_file_id"],
        }
        assert len(made["create_time"]) == len(made["expire_time"]) == len("2026-11-26")
        assert made["cost_breakdown"] is None
        assert cost["total_cost_usd_ticks"] > 0

    async def test_counters_grow_while_a_file_is_read_and_half_may_be_answered_before_the_rest_is_there(self, emulator):
        with Emulator(clock=(clock := Clock()), pace={"validating_s": 10, "row_s": 10, "finalizing_s": 10}) as server:
            api, seen = Api(server), []
            made = await api.start(rows(4))
            for _ in range(13):
                seen.append(await api.state(made))
                clock.now += 5
            await api.session.close()

        assert seen[:3] == [(0, 0, 0, 0, 0), (2, 0, 2, 0, 0), (4, 4, 0, 0, 0)]
        assert seen[9:13] == [(4, 1, 3, 0, 0), (4, 1, 3, 0, 0), (4, 1, 3, 0, 0), (4, 0, 4, 0, 0)]

    async def test_the_last_row_ends_with_its_batch_though_it_is_a_bad_one(self, emulator):
        with Emulator(clock=(clock := Clock()), pace={"validating_s": 0, "row_s": 0, "finalizing_s": 10}) as server:
            api = Api(server)
            made = await api.start([row(prompt="[[error:400]]")])
            running = await api.state(made)
            clock.now += 10
            over = await api.state(made)
            await api.session.close()

        assert (running, over) == ((1, 1, 0, 0, 0), (1, 0, 0, 1, 0))

    async def test_the_list_is_newest_first_and_comes_in_pages(self, api):
        made = [(await api.start([row()], name=f"n{number}"))["batch_id"] for number in range(5)]
        names, token = [], ""
        for _ in range(3):
            page = await api.ok("GET", f"/batches?limit=2&pagination_token={token}")
            names += [item["batch_id"] for item in page["batches"]]
            token = page["pagination_token"]

        assert names == made[::-1]
        assert token is None

    @pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "pagination_token=zz"])
    async def test_a_page_that_there_is_not_is_refused(self, api, query):
        assert (await api.call("GET", f"/batches?{query}"))[0] == 400

    @pytest.mark.parametrize(
        ("order", "status", "word"),
        [
            ({"input_file_id": "file_none"}, 422, "name"),
            ({"name": 7}, 422, "name"),
            ({"name": "n", "input_file_id": 7}, 422, "text"),
            ({"name": "n", "input_file_id": "file_none"}, 404, "file_none"),
            ({"name": "n", "metadata": {}}, 422, "metadata"),
            ([], 422, "name"),
        ],
    )
    async def test_a_bad_create_is_refused_and_makes_nothing(self, api, order, status, word):
        found, answer = await api.call("POST", "/batches", json=order)

        assert found == status
        assert word in answer["error"]
        assert (await api.ok("GET", "/batches"))["batches"] == []

    async def test_a_create_that_is_no_json_is_refused(self, api):
        assert (await api.call("POST", "/batches", data=b"{"))[0] == 400

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ([row(), b"{not json}\n"], "no JSON"),
            ([row(custom_id=None)], "custom_id"),
            ([row(method="GET")], "not POST"),
            ([row(url="/v1/embeddings")], "not supported"),
            ([row(url=["x"])], "not supported"),
            ([row(body=7)], "no body"),
            ([row(), row("b", body={"model": "gpt-4.1"})], "Model gpt-4.1 is not supported for batch processing."),
            ([row(), row()], "Duplicate batch_request_id 'a'"),
            ([], "no lines"),
        ],
    )
    async def test_an_input_that_is_not_fit_stops_its_batch_with_the_reason(self, api, given, why):
        made = await api.start(given)
        api.emulator.advance(60)
        done = await api.show(made)

        assert why in done["cancel_by_xai_message"]
        assert (done["cancel_time"], done["state"]["num_requests"]) == (made["create_time"], 0)
        assert (await api.results(made))["results"] == []

    async def test_more_than_the_limits_allow_stops_a_batch(self, time):
        for limits, why in (({"rows": 1}, "more than 1"), ({"file_bytes": 10}, "10 are allowed")):
            with Emulator(clock=time, limits=limits) as server:
                api = Api(server)
                made = await api.start(rows(2))
                server.advance(60)
                done = await api.show(made)
                await api.session.close()

            assert why in done["cancel_by_xai_message"]

    async def test_lines_of_one_file_may_go_to_several_places_and_models(self, api):
        made = await api.start(
            [
                row("chat"),
                row("other", body={"model": "grok-4.20-x", "messages": [{"role": "user", "content": "hi"}]}),
                row("response", url="/v1/responses", body={"model": "grok-4.3", "input": "hi"}),
                row("image", url="/v1/images/generations", body={"model": "grok-imagine-image", "prompt": "a sea"}),
                row("video", url="/v1/videos", body={"model": "grok-imagine-video", "prompt": "a sea"}),
                row("bad", url="/v1/images/edits", body={"model": "grok-imagine-image"}),
            ]
        )
        api.emulator.advance(DAY_S)
        found = {item["batch_request_id"]: item["batch_result"] for item in (await api.results(made))["results"]}
        places = {name: set(result.get("response", result)) for name, result in found.items()}

        assert places == {
            "chat": {"chat_get_completion"},
            "other": {"chat_get_completion"},
            "response": {"chat_get_completion"},
            "image": {"image_generation"},
            "video": {"video_generation"},
            "bad": {"error"},
        }
        assert found["response"]["response"]["chat_get_completion"]["output"]
        assert found["bad"]["error"] == "Missing required parameter: 'prompt'."

    async def test_a_batch_of_another_account_is_not_there(self, api, emulator):
        made = await api.start([row()])
        other = Api(emulator, key="xai-other")
        found = [(await other.call("GET", f"/batches/{made['batch_id']}{path}"))[0] for path in ("", "/results")]
        await other.session.close()

        assert found == [404, 404]


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


class TestResults:
    async def test_a_bill_leaves_reasoning_out_of_a_completion_and_has_it_in_the_total(self, api):
        made = await api.start([row(prompt="[[think:7]]")])
        api.emulator.advance(DAY_S)
        (item,) = (await api.results(made))["results"]
        usage = item["batch_result"]["response"]["chat_get_completion"]["usage"]

        thought = usage["completion_tokens_details"]["reasoning_tokens"]
        assert thought == 7
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] + thought
        assert usage["cost_in_usd_ticks"] == PROTOCOL["ticks_per_token"] * usage["total_tokens"]

    async def test_a_message_has_no_annotations_which_are_openais(self, api):
        made = await api.start([row()])
        api.emulator.advance(DAY_S)
        (item,) = (await api.results(made))["results"]
        (choice,) = item["batch_result"]["response"]["chat_get_completion"]["choices"]

        assert choice["message"] == {"role": "assistant", "content": "echo: hi", "refusal": None}

    async def test_pages_have_each_row_once_and_the_last_names_no_other(self, api):
        made = await api.start(rows(250))
        api.emulator.advance(DAY_S)
        first, seen, token, sizes = await api.results(made), [], "", []
        while token is not None:
            page = await api.results(made, f"?limit=120&pagination_token={token}")
            seen += [item["batch_request_id"] for item in page["results"]]
            sizes.append(len(page["results"]))
            token = page["pagination_token"]

        assert len(first["results"]) == 100
        assert sizes == [120, 120, 10]
        assert sorted(seen) == sorted(item["custom_id"] for item in rows(250))
        assert (await api.call("GET", f"/batches/{made['batch_id']}/results?limit=1001"))[0] == 400

    async def test_results_can_be_read_before_the_end(self):
        with Emulator(clock=(clock := Clock()), pace={"validating_s": 0, "row_s": 10, "run_cap_s": None}) as server:
            api = Api(server)
            made = await api.start(rows(10))
            none = await api.results(made)
            clock.now += 35
            some = await api.results(made)
            folder = server._running.service.families["xai"].desk.store.directory
            files = len(list(folder.iterdir()))
            clock.now += 1000
            everything = await api.results(made)
            await api.session.close()

        assert none == {"results": [], "pagination_token": None}
        assert {item["batch_request_id"] for item in some["results"]} == {"r0", "r1", "r2"}
        assert files == 1, "what was made for the moment is gone with it"
        assert len(everything["results"]) == 10

    async def test_a_broken_row_is_left_out(self, api):
        made = await api.start([row("a"), row("b", "[[garbage]]"), row("c", "[[expire]]"), row("d", "[[missing]]")])
        api.emulator.advance(DAY_S)
        page = await api.results(made)

        assert {item["batch_request_id"]: item["batch_result"].get("error") for item in page["results"]} == {
            "a": None,
            "c": "Batch expired",
        }
        assert await api.state(made) == (4, 0, 3, 1, 0)


class TestCancels:
    @pytest.fixture
    def options(self):
        return {"pace": {"validating_s": 0, "row_s": 10, "run_cap_s": None, "cancelling_s": 5}}

    async def test_counters_go_back_some_time_after_a_cancel_and_results_were_there_all_along(self, api, time):
        made = await api.start(rows(10))
        api.emulator.advance(35)
        asked = await api.ok("POST", f"/batches/{made['batch_id']}:cancel")
        seen = [await api.state(made)]
        for seconds in (5, 19, 1):
            api.emulator.advance(seconds)
            seen.append(await api.state(made))
        errors = [item["batch_result"].get("error") for item in (await api.results(made))["results"]]

        assert asked["cancel_time"] == made["create_time"]
        assert seen == [(10, 7, 3, 0, 0), (10, 0, 0, 0, 10), (10, 0, 0, 0, 10), (10, 0, 3, 0, 7)]
        assert (errors.count(None), errors.count("Batch cancelled")) == (3, 7)

    async def test_a_second_cancel_changes_nothing_and_one_of_what_is_over_is_refused(self, api, emulator):
        made, other = await api.start(rows(10)), await api.start([row()])
        for _ in range(2):
            await api.ok("POST", f"/batches/{made['batch_id']}:cancel")
        api.emulator.advance(DAY_S)
        status, answer = await api.call("POST", f"/batches/{other['batch_id']}:cancel")
        slash, _ = await api.call("POST", f"/batches/{other['batch_id']}/cancel")

        assert (status, slash) == (400, 404)
        assert "done" in answer["error"]
        assert [record.kind for record in emulator.history].count("cancel") == 1

    async def test_what_was_never_run_stays_pending_for_ever(self, api):
        made = await api.start([row("a"), row("b", "[[stall]]")])
        for _ in range(2):
            api.emulator.advance(40 * DAY_S)

        assert await api.state(made) == (2, 1, 1, 0, 0)
        assert [item["batch_request_id"] for item in (await api.results(made))["results"]] == ["a"]


def added(name="a", prompt="hi", kind="chat_get_completion", **changes):
    body = {"model": "grok-4.3", "messages": [{"role": "user", "content": prompt}]}
    return {"batch_request_id": name, "batch_request": {kind: body}, **changes}


class TestAdding:
    @pytest.fixture
    def options(self):
        return {"pace": {"validating_s": 5, "row_s": 10, "run_cap_s": None, "finalizing_s": 0, "cancelling_s": 0}}

    @pytest.fixture
    async def empty(self, api):
        return await api.ok("POST", "/batches", json={"name": "mine"})

    async def add(self, api, batch, *given):
        return await api.call("POST", f"/batches/{batch['batch_id']}/requests", json={"batch_requests": list(given)})

    async def test_a_batch_without_a_file_costs_nothing_and_runs_when_it_has_requests(self, api, emulator, empty):
        emulator.advance(3600)
        before = await api.state(empty)
        answer = await self.add(api, empty, added("a"), added("b", "[[error:400]]"))
        seen = [await api.state(empty)]
        for seconds in (5, 10, 10):
            emulator.advance(seconds)
            seen.append(await api.state(empty))
        page = await api.results(empty)

        assert (empty["input_file_id"], before, answer) == (None, (0, 0, 0, 0, 0), (200, {}))
        assert seen == [(2, 2, 0, 0, 0), (2, 2, 0, 0, 0), (2, 1, 1, 0, 0), (2, 0, 1, 1, 0)]
        assert {item["batch_request_id"] for item in page["results"]} == {"a", "b"}
        kinds = [record.kind for record in emulator.history if record.kind != "request"]
        assert kinds == ["upload", "create"]

    async def test_what_is_there_already_changes_nothing_and_what_is_new_is_added(self, api, emulator, empty):
        for given in ([added("a")], [added("a")], [added("a"), added("b")], [added("b")]):
            assert await self.add(api, empty, *given) == (200, {})
        total = (await api.state(empty))[0]
        folder = emulator._running.service.families["xai"].desk.store.directory
        files = len(list(folder.iterdir()))
        emulator.advance(3600)
        results = (await api.results(empty))["results"]

        assert (total, files) == (2, 1)
        assert sorted(item["batch_request_id"] for item in results) == ["a", "b"]
        assert [record.kind for record in emulator.history].count("create") == 2
        assert paid_twice(emulator.history) == {}

    async def test_the_same_name_with_another_content_is_refused_and_nothing_of_the_call_is_added(self, api, empty):
        await self.add(api, empty, added("a"))
        status, answer = await self.add(api, empty, added("b"), added("a", "another"))

        assert status == 412
        assert "'a'" in answer["error"]
        assert (await api.state(empty))[0] == 1

    @pytest.mark.parametrize(
        ("given", "why"),
        [
            ([added("a"), added("a")], "Duplicate batch_request_id 'a'"),
            ([added("a"), added("b", batch_request={"chat_get_completion": {"model": "gpt-4.1"}})], "Model gpt-4.1"),
            ([added("a", kind="something_else")], "unknown kind"),
            ([added("a", batch_request={})], "one object"),
            ([added("a", batch_request={"responses": {}, "image_edit": {}})], "one object"),
            ([added("a", batch_request={"responses": 7})], "no body"),
            ([added(7)], "one object"),
            ([7], "no object"),
            ([], "no requests"),
        ],
    )
    async def test_one_that_is_not_fit_refuses_the_call_as_a_whole(self, api, emulator, empty, given, why):
        status, answer = await self.add(api, empty, *given)
        folder = emulator._running.service.families["xai"].desk.store.directory

        assert status == 400
        assert why in answer["error"]
        assert await api.state(empty) == (0, 0, 0, 0, 0)
        assert list(folder.iterdir()) == []

    async def test_a_call_without_requests_or_that_is_too_large_is_refused(self, api, time, empty):
        path = f"/batches/{empty['batch_id']}/requests"
        assert (await api.call("POST", path, json={"requests": []}))[0] == 400
        with Emulator(clock=time, limits={"inline_bytes": 100}) as server:
            small = Api(server)
            batch = await small.ok("POST", "/batches", json={"name": "mine"})
            status, _ = await self.add(small, batch, added("a"))
            await small.session.close()

        assert status == 413

    async def test_a_request_without_a_name_gets_one(self, api, emulator, empty):
        request = added("x")
        del request["batch_request_id"]
        await self.add(api, empty, request)
        emulator.advance(3600)
        (item,) = (await api.results(empty))["results"]

        assert item["batch_request_id"].startswith("batch_request_")

    async def test_a_file_seals_a_batch_a_cancel_closes_it_and_its_end_too(self, api, emulator, empty):
        sealed, over = await api.start([row()]), await api.ok("POST", "/batches", json={"name": "over"})
        await self.add(api, over, added("a"))
        emulator.advance(3600)
        await api.ok("POST", f"/batches/{empty['batch_id']}:cancel")
        statuses = [(await self.add(api, batch, added("b")))[0] for batch in (sealed, empty, over)]
        nowhere, _ = await self.add(api, {"batch_id": "batch_none"}, added("b"))

        assert (statuses, nowhere) == ([412, 403, 400], 404)
        assert await api.state(empty) == (0, 0, 0, 0, 0)
        assert (await api.show(empty))["cancel_time"]

    async def test_what_became_of_each_request_is_listed(self, api, emulator, empty):
        path = f"/batches/{empty['batch_id']}/requests"
        none = await api.ok("GET", path)
        await self.add(api, empty, added("a"), added("b", "[[error:400]]"), added("c"), added("d", "[[stall]]"))
        emulator.advance(5 + 25)
        running = await api.ok("GET", f"{path}?limit=3")
        rest = await api.ok("GET", f"{path}?pagination_token={running['pagination_token']}")
        await api.ok("POST", f"/batches/{empty['batch_id']}:cancel")
        emulator.advance(60)
        over = await api.ok("GET", path)

        items = [*running["batch_request_metadata"], *rest["batch_request_metadata"]]
        assert none == {"batch_request_metadata": [], "pagination_token": None}
        assert items[0] == {"batch_request_id": "a", "endpoint": "chat", "model": "grok-4.3", "state": "succeeded"}
        assert [item["state"] for item in items] == ["succeeded", "failed", "pending", "pending"]
        assert [item["state"] for item in over["batch_request_metadata"]][2:] == ["cancelled", "cancelled"]

    async def test_an_empty_batch_and_a_filled_one_outlive_a_restart(self, tmp_path):
        clock = Clock()
        with Emulator(clock=clock, data_dir=tmp_path) as server:
            api = Api(server)
            empty, filled = [await api.ok("POST", "/batches", json={"name": name}) for name in ("e", "f")]
            await self.add(api, filled, added("a"))
            await api.session.close()
        clock.now += 60
        with Emulator(clock=clock, data_dir=tmp_path) as server:
            api = Api(server)
            before = await api.state(empty)
            await self.add(api, empty, added("b"))
            clock.now += DAY_S
            states = [await api.state(batch) for batch in (empty, filled)]
            await api.session.close()

        assert (before, states) == ((0, 0, 0, 0, 0), [(1, 0, 1, 0, 0)] * 2)

    async def test_a_create_without_a_file_is_no_create_to_a_fault(self, api, emulator):
        emulator.add(faults.accept_then_drop(), faults.ghost(60, operation="upload"))
        with pytest.raises(aiohttp.ClientError):
            await api.call("POST", "/batches", json={"name": "late"})
        none = (await api.ok("GET", "/batches"))["batches"]
        emulator.advance(61)
        (late,) = (await api.ok("GET", "/batches"))["batches"]
        with pytest.raises(aiohttp.ClientError):
            await self.add(api, late, added("a"))

        assert (none, late["name"]) == ([], "late")
        assert (await api.state(late))[0] == 1


class TestRefusals:
    @pytest.mark.parametrize(("key", "status", "word"), [("invalid-key", 400, "in***"), (None, 401, "No API key")])
    async def test_a_bad_key_is_an_argument_and_none_is_not(self, emulator, key, status, word):
        api = Api(emulator, key=key)
        found, answer = await api.call("GET", "/batches")
        await api.session.close()

        assert found == status
        assert word in answer["error"]
        assert set(answer) == {"code", "error"}
        assert " " in answer["code"], "a sentence"
        assert "invalid-key" not in answer["error"]

    @pytest.mark.parametrize(
        ("status", "sentence"),
        [
            (401, "The request does not have valid authentication credentials"),
            (412, "The system is not in a state required for the operation's execution"),
            (422, "Client specified an invalid argument"),
            (500, "Internal error"),
            (503, "The service is currently unavailable"),
        ],
    )
    async def test_the_code_of_an_error_is_what_a_status_of_grpc_is_called(self, api, emulator, status, sentence):
        emulator.add(faults.refuse(status, operation="list"))

        assert (await api.call("GET", "/batches"))[1]["code"] == sentence


async def test_two_batches_over_the_same_rows_are_paid_twice(api, emulator):
    for _ in range(2):
        await api.start([row()])
    emulator.advance(DAY_S)

    assert len(paid_twice(emulator.history)) == 1


async def test_a_list_tells_the_day_and_lags_by_the_moment_all_the_same(api, emulator):
    emulator.add(faults.list_lag(90))
    await api.start([row()])
    early = await api.ok("GET", "/batches")
    emulator.advance(91)
    late = await api.ok("GET", "/batches")

    assert (len(early["batches"]), len(late["batches"])) == (0, 1)


async def test_what_was_there_is_there_again_after_a_restart(tmp_path):
    clock = Clock()
    with Emulator(clock=clock, data_dir=tmp_path) as server:
        api = Api(server)
        made = await api.start(rows(3), name="kept")
        await api.session.close()
    clock.now += DAY_S
    with Emulator(clock=clock, data_dir=tmp_path) as server:
        api = Api(server)
        done, page = await api.show(made), await api.results(made)
        await api.session.close()

    assert (done["name"], done["state"]["num_success"], len(page["results"])) == ("kept", 3, 3)


async def test_models_are_listed(api):
    assert {item["id"] for item in (await api.ok("GET", "/models"))["data"]} == set(PROTOCOL["listed"])
