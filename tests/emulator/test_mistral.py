"""Batch jobs as Mistral has them: files or requests in the create, results as files and in the job, failed rows as text."""

import hashlib
import json
from collections import Counter

import aiohttp
import pytest

from asyncbatch.emulator import Emulator, Fault, faults, paid_twice
from asyncbatch.emulator.dialect import load_dialects
from tests.emulator.mistral_wire import CHAT, MODEL, NOBODY, Api, encode_lines, row, said

PROTOCOL = load_dialects()["mistral"].protocol


@pytest.fixture
async def api(emulator):
    api = Api(emulator)
    yield api
    await api.session.close()


class TestFiles:
    async def test_an_upload_looks_as_documented(self, api, time):
        content = encode_lines([row("a"), {"body": {"input": ["embed me"]}}])

        file = await api.upload(content)

        assert file == {
            "id": file["id"],
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.now),
            "filename": "in.jsonl",
            "purpose": "batch",
            "sample_type": "batch_request",
            "source": "upload",
            "num_lines": 2,
            "mimetype": "application/jsonl",
            "signature": hashlib.sha256(content).hexdigest()[:8],
            "expires_at": None,
            "visibility": "workspace",
        }
        assert await api.get(f"/v1/files/{file['id']}") == {**file, "deleted": False}

    @pytest.mark.parametrize(
        ("rows", "loc", "kind"),
        [
            ([row(), b"{not json}\n"], [1], "json_invalid"),
            ([row(), b"7\n"], [1], "json_invalid"),
            ([row(), b"\n", row()], [1], "json_invalid"),
            ([b"\xef\xbb\xbf", row()], [0], "json_invalid"),
            ([row(), row(), {"custom_id": "a"}], [2, "body"], "missing"),
            ([{"body": "text"}], [0, "body"], "dict_type"),
            ([{"custom_id": 7, "body": {}}], [0, "custom_id"], "string_type"),
            ([], [], "too_short"),
        ],
    )
    async def test_a_bad_line_is_refused_at_the_upload(self, api, emulator, rows, loc, kind):
        status, answer = await api.try_upload(encode_lines(rows))

        assert status == 422
        (problem,) = answer["detail"]
        assert (problem["type"], problem["loc"]) == (kind, ["body", "file", *loc])
        assert (await api.get("/v1/files"))["data"] == []
        assert [record.kind for record in emulator.history] == ["request", "request"]
        assert list(emulator._running.service.families["mistral"].desk.store.directory.iterdir()) == []

    async def test_names_may_be_missing_and_come_twice(self, api):
        rows = [row("a", "1"), row("a", "2"), row(None, "3"), {"body": row(prompt="4")["body"]}]

        done = await api.run(rows)
        lines = await api.lines(done["output_file"])

        assert Counter(line["custom_id"] for line in lines) == {"a": 2, None: 2}
        assert len({line["id"] for line in lines}) == 4

    @pytest.mark.parametrize(
        ("fields", "loc"),
        [
            ({"purpose": "assistants"}, ["body", "purpose"]),
            ({"visibility": "world"}, ["body", "visibility"]),
            ({"expiry": "0"}, ["body", "expiry"]),
            ({"expiry": "soon"}, ["body", "expiry"]),
        ],
    )
    async def test_fields_that_are_wrong_are_named(self, api, fields, loc):
        status, answer = await api.try_upload(encode_lines([row()]), **fields)

        assert (status, answer["detail"][0]["loc"]) == (422, loc)

    async def test_a_file_of_requests_has_to_look_like_one(self, api):
        assert await api.try_upload(encode_lines([row()]), filename="in.txt") == (
            422,
            {"detail": "Invalid file format."},
        )
        assert (await api.call("POST", "/v1/files", data=b"x"))[0] == 422

    async def test_other_files_are_not_looked_into_and_no_job_takes_them(self, api):
        file = await api.upload(b"%PDF", filename="a.pdf", purpose="ocr")
        status, answer = await api.try_create(input_files=[file["id"]])

        assert (file["num_lines"], file["mimetype"]) == (None, "application/octet-stream")
        assert (status, answer["detail"][0]["loc"]) == (422, ["body", "input_files", 0])

    async def test_files_end_when_they_were_said_to(self, api, time):
        file = await api.upload(encode_lines([row()]), expiry="2", visibility="user")
        time.now += 7199
        assert (await api.get(f"/v1/files/{file['id']}"))["expires_at"] == file["created_at"] + 7200
        time.now += 1

        assert (await api.call("GET", f"/v1/files/{file['id']}"))[0] == 404
        assert (await api.try_create(input_files=[file["id"]]))[0] == 404

    async def test_lists_are_filtered_and_paged(self, api):
        done = await api.run([row("a"), row("b", "[[error]]")])
        listed = await api.get("/v1/files?page_size=2")
        given = await api.get("/v1/files?sample_type=batch_request&sample_type=batch_error&page_size=5")
        made = await api.get("/v1/files?source=mistral&purpose=batch&include_total=false&search=OUTPUT")

        assert ([len(listed["data"]), listed["total"]], listed["object"]) == ([2, 3], "list")
        assert {item["id"] for item in given["data"]} == {*done["input_files"], done["error_file"]}
        assert ([item["id"] for item in made["data"]], made["total"]) == ([done["output_file"]], None)

    async def test_results_are_files_of_the_account(self, api):
        done = await api.run([row("a"), row("b"), row("c", "[[error]]")])
        output, errors = [await api.get(f"/v1/files/{done[name]}") for name in ("output_file", "error_file")]

        assert [(file["sample_type"], file["num_lines"], file["source"]) for file in (output, errors)] == [
            ("batch_result", 2, "mistral"),
            ("batch_error", 1, "mistral"),
        ]
        assert output["created_at"] == done["completed_at"]
        assert output["expires_at"] is None

    async def test_a_deleted_input_makes_a_late_create_fail_and_hurts_no_job(self, api, emulator):
        job = await api.start([row()])
        (file_id,) = job["input_files"]
        assert await api.call("DELETE", f"/v1/files/{file_id}") == (
            200,
            {"id": file_id, "object": "file", "deleted": True},
        )
        emulator.advance(600)

        assert (await api.try_create(input_files=[file_id]))[0] == 404
        assert (await api.job(job))["status"] == "SUCCESS"

    async def test_another_account_sees_nothing(self, api, emulator):
        done = await api.run([row()])
        other = Api(emulator, key="other")
        paths = [f"/v1/files/{done['output_file']}", f"/v1/batch/jobs/{done['id']}"]
        found = [(await other.call("GET", path))[0] for path in paths]
        lists = [(await other.get(path))["total"] for path in ("/v1/files", "/v1/batch/jobs")]
        await other.session.close()

        assert (found, lists) == ([404, 404], [0, 0])

    async def test_a_signed_address_needs_no_key_until_its_time_is_over(self, api, emulator):
        content = encode_lines([row()])
        file = await api.upload(content)
        url = (await api.get(f"/v1/files/{file['id']}/url?expiry=1"))["url"]

        async def fetch(url):
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return response.status, await response.read()

        assert await fetch(url) == (200, content)
        assert (await fetch(url.replace("sig=", "sig=x")))[0] == 403
        assert (await fetch(url.replace("se=", "se=9")))[0] == 403
        emulator.advance(3600)
        assert (await fetch(url))[0] == 403
        assert len({record.account for record in emulator.history if record.status == 200}) == 1

    async def test_a_signed_address_of_a_deleted_file_leads_nowhere(self, api):
        file = await api.upload(encode_lines([row()]))
        url = (await api.get(f"/v1/files/{file['id']}/url"))["url"]
        await api.call("DELETE", f"/v1/files/{file['id']}")

        async with api.session.get(url) as response:
            assert response.status == 404

    @pytest.mark.parametrize("hours", ["0", "169", "x"])
    async def test_a_signed_address_lives_for_a_week_at_most(self, api, hours):
        file = await api.upload(encode_lines([row()]))

        assert (await api.call("GET", f"/v1/files/{file['id']}/url?expiry={hours}"))[0] == 422


class TestCreate:
    async def test_a_new_job_looks_as_documented(self, api, time):
        file = await api.upload(encode_lines([row()]))

        job = await api.create(input_files=[file["id"]], metadata={"tag": "7f3c"}, timeout_hours=24)

        assert job == {
            "id": job["id"],
            "object": "batch",
            "input_files": [file["id"]],
            "metadata": {"tag": "7f3c"},
            "endpoint": CHAT,
            "model": MODEL,
            "agent_id": None,
            "output_file": None,
            "error_file": None,
            "errors": [],
            "outputs": None,
            "status": "QUEUED",
            "created_at": int(time.now),
            "started_at": None,
            "completed_at": None,
            "total_requests": 0,
            "completed_requests": 0,
            "succeeded_requests": 0,
            "failed_requests": 0,
        }

    @pytest.mark.parametrize(
        ("changes", "loc", "kind"),
        [
            ({"endpoint": "/v1/x"}, ["endpoint"], "enum"),
            ({"endpoint": ...}, ["endpoint"], "missing"),
            ({"window": 1}, ["window"], "extra_forbidden"),
            ({"model": "gpt-4o"}, ["model"], "value_error"),
            ({"model": "mistral-embed"}, ["model"], "value_error"),
            ({"model": ""}, ["model"], "string_too_short"),
            ({"model": ...}, [], "value_error"),
            ({"agent_id": "ag"}, [], "value_error"),
            ({"endpoint": "/v1/embeddings", "model": ..., "agent_id": "ag"}, ["agent_id"], "value_error"),
            ({"requests": ...}, [], "value_error"),
            ({"requests": None, "input_files": []}, [], "value_error"),
            ({"input_files": [NOBODY]}, [], "value_error"),
            ({"requests": {}}, [], "value_error"),
            ({"requests": ..., "input_files": ["file-1"]}, ["input_files", 0], "uuid_parsing"),
            ({"requests": ..., "input_files": NOBODY}, ["input_files"], "list_type"),
            ({"requests": []}, ["requests"], "too_short"),
            ({"requests": [row()] * 10_001}, ["requests"], "too_long"),
            ({"requests": [row(), {"custom_id": "b"}]}, ["requests", 1, "body"], "missing"),
            ({"requests": [row(), 7]}, ["requests", 1], "json_invalid"),
            ({"metadata": {"k" * 33: "v"}}, ["metadata", "k" * 33, "[key]"], "string_too_long"),
            ({"metadata": {"": "v"}}, ["metadata", "", "[key]"], "string_too_short"),
            ({"metadata": {"k": ""}}, ["metadata", "k"], "string_too_short"),
            ({"metadata": {"k": "v" * 513}}, ["metadata", "k"], "string_too_long"),
            ({"metadata": {"k": 1}}, ["metadata", "k"], "string_type"),
            ({"timeout_hours": 0}, ["timeout_hours"], "greater_than_equal"),
            ({"timeout_hours": 169}, ["timeout_hours"], "less_than_equal"),
            ({"timeout_hours": "24"}, ["timeout_hours"], "int_type"),
            ({"timeout_hours": True}, ["timeout_hours"], "int_type"),
        ],
    )
    async def test_what_is_wrong_is_named_and_there_is_no_job(self, api, emulator, changes, loc, kind):
        status, answer = await api.try_create(**{"requests": [row()], **changes})

        assert status == 422
        (problem,) = answer["detail"]
        assert (problem["type"], problem["loc"]) == (kind, ["body", *loc])
        assert problem["msg"]
        assert (await api.get("/v1/batch/jobs"))["data"] == []
        assert list(emulator._running.service.families["mistral"].desk.store.directory.iterdir()) == []

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
    async def test_a_body_that_cannot_be_read_is_refused(self, api, data):
        assert (await api.call("POST", "/v1/batch/jobs", data=data))[0] == 422

    async def test_a_file_that_is_not_there_is_refused_in_the_other_shape(self, api):
        status, answer = await api.try_create(input_files=[NOBODY])

        assert (status, answer["object"], answer["type"]) == (404, "error", "not_found")
        assert NOBODY in answer["message"]

    async def test_nulls_are_as_good_as_nothing(self, api):
        file = await api.upload(encode_lines([row()]))

        await api.create(input_files=[file["id"]], requests=None, agent_id=None, metadata=None)
        await api.create(input_files=None, requests=[row()])

    async def test_several_files_are_one_job(self, api, emulator):
        files = [
            await api.upload(content)
            for content in (
                encode_lines([row("a"), row("b")]).rstrip(),
                encode_lines([row("c")]) + b"\n \n",
                encode_lines([row("d")]),
            )
        ]
        job = await api.create(input_files=[file["id"] for file in files])
        for file in files:
            await api.call("DELETE", f"/v1/files/{file['id']}")
        emulator.advance(600)

        done = await api.job(job)

        assert (done["input_files"], done["total_requests"]) == ([file["id"] for file in files], 4)
        assert {line["custom_id"] for line in await api.lines(done["output_file"])} == set("abcd")

    async def test_an_agent_can_be_asked_instead_of_a_model(self, api, emulator):
        job = await api.create(model=..., agent_id="ag_1", requests=[row()])
        emulator.advance(600)
        done = await api.job(job, "?inline=true")

        assert (done["model"], done["agent_id"], done["status"]) == (None, "ag_1", "SUCCESS")
        assert done["outputs"][0]["response"]["body"]["model"].startswith("mistral-")

    async def test_the_jobs_model_rules(self, api):
        answer = await api.body({"messages": [said()], "model": "mistral-large-latest"})

        assert answer["model"] == MODEL

    async def test_the_history_knows_what_was_bought_twice_however_it_came(self, api, emulator):
        line = json.dumps(row(), separators=(",", ":")).encode() + b"\n"
        file = await api.upload(line)
        await api.create(requests=[row()], metadata={"a": "b"})
        await api.create(input_files=[file["id"]])
        emulator.advance(600)

        (((_, sha256), creates),) = paid_twice(emulator.history).items()
        assert sha256 == hashlib.sha256(line).hexdigest()
        assert [(record.input_file_id, record.metadata) for record in creates] == [(None, {"a": "b"}), (file["id"], {})]

    async def test_a_workspace_has_room_for_so_many_rows_and_then_for_more(self, api, emulator, monkeypatch):
        monkeypatch.setitem(PROTOCOL, "pending_rows", 3)
        file = await api.upload(encode_lines([row("a"), row("b")]))
        await api.create(input_files=[file["id"]])
        refused, answer = await api.try_create(input_files=[file["id"]])
        inline, _ = await api.try_create(requests=[row("a"), row("b")])
        fits, _ = await api.try_create(requests=[row("c")])
        emulator.advance(600)

        assert (refused, answer["type"], answer["code"], inline, fits) == (429, "rate_limited", "1300", 429, 200)
        assert (await api.try_create(input_files=[file["id"]]))[0] == 200


class TestLife:
    async def test_a_job_runs_by_the_clock_to_its_answers(self, api, time):
        job = await api.start([row(f"r{number}") for number in range(100)])
        seen = []
        for seconds in (4, 2, 1, 5):  # 5 s in the queue, 2 s for the rows, 5 s to write
            time.now += seconds
            seen.append(await api.job(job))

        assert [item["status"] for item in seen] == ["QUEUED", "RUNNING", "RUNNING", "SUCCESS"]
        assert [item["total_requests"] for item in seen] == [0, 100, 100, 100]
        assert [item["completed_requests"] for item in seen] == [0, 50, 100, 100]
        assert [item["output_file"] is None for item in seen] == [True, True, True, False]
        times = [seen[3][name] for name in ("created_at", "started_at", "completed_at")]
        assert [at - times[0] for at in times] == [0, 5, 12]

    async def test_a_job_whose_queue_takes_no_time_is_still_created_empty(self, time):
        with Emulator(clock=time, pace={"validating_s": 0, "row_s": 0, "finalizing_s": 0}) as emulator:
            api = Api(emulator)
            job = await api.create(requests=[row()])
            done = await api.job(job)
            await api.session.close()

        assert (job["status"], job["total_requests"], job["started_at"]) == ("QUEUED", 0, None)
        assert (done["status"], done["total_requests"]) == ("SUCCESS", 1)

    async def test_failed_rows_are_counted_and_told_and_the_job_is_a_success(self, api):
        rows = [row("a"), row("b", "[[error:429]]"), row("c", "[[error:429]]"), row("d", x=1), row("e", messages=...)]

        done = await api.run(rows)

        counts = [done[f"{name}_requests"] for name in ("total", "completed", "succeeded", "failed")]
        assert (done["status"], counts) == ("SUCCESS", [5, 5, 1, 4])
        assert sum(error["count"] for error in done["errors"]) == 4
        assert done["errors"][0] == {"message": "The prompt asked for status 429.", "count": 2}

    async def test_a_job_all_of_whose_rows_failed_has_no_output(self, api):
        done = await api.run([row("a", "[[error]]")])

        assert (done["status"], done["output_file"], done["error_file"] is None) == ("SUCCESS", None, False)

    async def test_a_job_of_which_nothing_is_left_has_neither_file(self, api):
        done = await api.run([row("a", "[[missing]]")])

        assert (done["status"], done["output_file"], done["error_file"]) == ("SUCCESS", None, None)

    async def test_time_is_up_after_the_hours_asked_for(self, api, time):
        short, usual = [await api.start([row("a"), row("b", "[[stall]]")], timeout_hours=hours) for hours in (1, 24)]
        time.now += 3605
        over, running = await api.job(short, "?inline=true"), await api.job(usual)
        time.now += 86_400

        assert [item["status"] for item in (over, running)] == ["TIMEOUT_EXCEEDED", "RUNNING"]
        assert (await api.job(usual))["status"] == "TIMEOUT_EXCEEDED"
        assert [line["custom_id"] for line in over["outputs"]] == ["a"]
        assert (over["total_requests"], over["completed_requests"], over["error_file"]) == (2, 1, None)

    async def test_the_window_of_a_test_is_that_of_the_default_hours(self, time):
        with Emulator(clock=time, pace={"window_s": 240}) as emulator:
            api = Api(emulator)
            jobs = [await api.create(requests=[row("a", "[[stall]]")], timeout_hours=hours) for hours in (24, 48)]
            time.now += 250
            words = [(await api.job(job))["status"] for job in jobs]
            await api.session.close()

        assert words == ["TIMEOUT_EXCEEDED", "RUNNING"]

    async def test_a_job_that_has_not_started_is_cancelled_at_once(self, api, emulator):
        job = await api.start([row()])
        status, cancelled = await api.call("POST", f"/v1/batch/jobs/{job['id']}/cancel")
        again = await api.call("POST", f"/v1/batch/jobs/{job['id']}/cancel")

        assert (status, cancelled["status"]) == (200, "CANCELLED")
        assert (cancelled["started_at"], cancelled["output_file"]) == (None, None)
        assert cancelled["completed_at"] == cancelled["created_at"]
        assert again == (200, cancelled)
        assert [record.kind for record in emulator.history].count("cancel") == 1
        assert [record.is_paid for record in emulator.history if record.kind == "create"] == [False]

    async def test_a_running_job_is_cancelled_in_a_while_and_keeps_what_it_has(self, api, time):
        job = await api.start([row(f"r{number}") for number in range(100)])
        time.now += 6
        words = []
        for seconds in (0, 9, 1):
            time.now += seconds
            words.append((await api.call("POST", f"/v1/batch/jobs/{job['id']}/cancel"))[1]["status"])
        done = await api.job(job)

        assert words == ["CANCELLATION_REQUESTED", "CANCELLATION_REQUESTED", "CANCELLED"]
        assert len(await api.lines(done["output_file"])) == done["succeeded_requests"] == 50
        assert (done["total_requests"], done["failed_requests"], done["error_file"]) == (100, 0, None)

    async def test_what_is_over_cannot_be_cancelled(self, api):
        done = await api.run([row()])
        status, answer = await api.call("POST", f"/v1/batch/jobs/{done['id']}/cancel")

        assert (status, answer["object"]) == (400, "error")
        assert "SUCCESS" in answer["message"]
        assert (await api.job(done))["status"] == "SUCCESS"

    async def test_a_job_can_be_deleted_when_it_is_over_and_leaves_its_files(self, api, emulator):
        job = await api.start([row()])
        early, _ = await api.call("DELETE", f"/v1/batch/jobs/{job['id']}")
        emulator.advance(600)
        done = await api.job(job)
        gone = await api.call("DELETE", f"/v1/batch/jobs/{job['id']}")

        assert (early, gone) == (400, (200, {"id": job["id"], "object": "batch", "deleted": True}))
        assert (await api.call("GET", f"/v1/batch/jobs/{job['id']}"))[0] == 404
        assert (await api.get("/v1/batch/jobs"))["total"] == 0
        assert len(await api.lines(done["output_file"])) == 1
        assert [record.is_paid for record in emulator.history if record.kind == "create"] == [True]

    async def test_a_doomed_job_says_why(self, api, emulator):
        emulator.add(faults.full_queue())
        done = await api.run([row()])

        assert (done["status"], done["output_file"], done["total_requests"]) == ("FAILED", None, 0)
        assert done["errors"][0]["count"] == 1

    @pytest.mark.parametrize(("limit", "text"), [({"rows": 2}, "2 requests"), ({"file_bytes": 200}, "200 are allowed")])
    async def test_more_than_a_job_may_have_makes_it_fail(self, time, limit, text):
        with Emulator(clock=time, limits=limit) as emulator:
            api = Api(emulator)
            fits, too_many = [await api.run([row()] * number) for number in (2, 3)]
            await api.session.close()

        assert [fits["status"], too_many["status"]] == ["SUCCESS", "FAILED"]
        assert text in too_many["errors"][0]["message"]


class TestResults:
    async def test_results_of_every_job_are_in_it_and_in_files(self, api, emulator):
        rows = [row("a"), row("b", "[[error]]"), row("c", "[[garbage]]")]
        filed, inline = await api.start(rows), await api.create(requests=rows)
        early = await api.job(inline, "?inline=true")
        emulator.advance(600)

        assert early["outputs"] is None
        for job in (filed, inline):
            plain, done = await api.job(job), await api.job(job, "?inline=true")
            assert (plain["outputs"], done["outputs"] is None) == (None, False)
            assert {line["custom_id"] for line in done["outputs"]} == {"a", "b"}
            assert (await api.content(done["output_file"])).count(b"\n") == 2
            assert [line["custom_id"] for line in await api.lines(done["error_file"])] == ["b"]

    async def test_inline_is_a_yes_or_a_no(self, api):
        job = await api.start([row()])

        assert (await api.call("GET", f"/v1/batch/jobs/{job['id']}?inline=perhaps"))[0] == 422

    async def test_a_failed_row_is_json_in_json_and_its_error_null(self, api):
        done = await api.run([row("a", "[[error:400]]"), row("b", "[[error:429]]"), row("c", "[[error:503]]")])
        lines = {line["custom_id"]: line for line in await api.lines(done["error_file"])}

        body = json.loads(lines["a"]["response"]["body"])
        assert lines["a"] == {
            "id": f"batch-{done['id'][:8]}-0-a",
            "custom_id": "a",
            "response": {"status_code": 400, "body": lines["a"]["response"]["body"]},
            "error": None,
        }
        assert body == {
            "object": "error",
            "message": "The prompt asked for status 400.",
            "type": "invalid_request_file",
            "param": None,
            "code": "3310",
            "raw_status_code": 400,
        }
        others = [json.loads(lines[name]["response"]["body"]) for name in ("b", "c")]
        assert [(other["type"], other["raw_status_code"]) for other in others] == [
            ("rate_limited", 429),
            ("internal_server_error", 503),
        ]

    async def test_a_body_that_no_schema_takes_has_an_object_for_its_message(self, api):
        done = await api.run([row("a", temperature=9)])
        ((line),) = await api.lines(done["error_file"])
        body = json.loads(line["response"]["body"])

        assert line["response"]["status_code"] == body["raw_status_code"] == 422
        assert body["message"] == {
            "detail": [
                {
                    "type": "less_than_equal",
                    "loc": ["body", "temperature"],
                    "msg": "Expected at most 1.5.",
                    "input": 9,
                }
            ]
        }

    async def test_rows_can_be_lost_doubled_and_foreign(self, api):
        rows = [row("a", "[[duplicate]]"), row("b", "[[conflict]]"), row("c", "[[stranger]]"), row("d", "[[missing]]")]
        done = await api.run(rows)
        lines = await api.lines(done["output_file"])

        names = Counter(line["custom_id"] for line in lines)
        assert {name: names[name] for name in "abcd"} == {"a": 2, "b": 2, "c": 1, "d": 0}
        assert sum(1 for name in names if name.startswith("stranger-")) == 1


class TestList:
    async def test_the_newest_comes_first_unless_it_was_asked_for_otherwise(self, api, time):
        jobs = []
        for _ in range(5):
            jobs.append((await api.create(requests=[row()]))["id"])
            time.now += 60

        async def listed(query=""):
            return [job["id"] for job in (await api.get(f"/v1/batch/jobs?{query}"))["data"]]

        assert await listed() == jobs[::-1]
        assert await listed("order_by=created&page_size=2&page=1") == jobs[2:4]
        assert await listed("page=9") == []
        assert (await api.get("/v1/batch/jobs?page_size=1"))["total"] == 5

    async def test_jobs_are_found_by_status_model_agent_and_time(self, api, time):
        old = await api.create(requests=[row()])
        time.now += 600
        new = await api.create(requests=[row()], model="mistral-large-latest")
        agent = await api.create(requests=[row()], model=..., agent_id="ag")

        async def found(**query):
            answer = (await api.call("GET", "/v1/batch/jobs", params=query))[1]
            assert answer["total"] == len(answer["data"])
            return {job["id"] for job in answer["data"]}

        assert await found(status="SUCCESS") == {old["id"]}
        assert await found(status="QUEUED") == {new["id"], agent["id"]}
        assert len(await found(created_by_me="true")) == 3
        assert await found(model="mistral-large-latest") == {new["id"]}
        assert await found(agent_id="ag") == {agent["id"]}
        assert await found(created_after="2026-11-21T22:27:00Z") == {new["id"], agent["id"]}
        both = await api.get("/v1/batch/jobs?status=SUCCESS&status=QUEUED")
        assert both["total"] == 3

    async def test_a_time_is_read_with_its_zone_or_in_utc(self, api, time):
        job = await api.create(requests=[row()])
        for text, is_found in [
            ("2026-11-21T22:26:39", True),
            ("2026-11-21T22:26:40", False),
            ("2026-11-21T22:26:40Z", False),
            ("2026-11-22T00:26:39+02:00", True),
            ("2026-11-22T00:26:40+02:00", False),
        ]:
            _, answer = await api.call("GET", "/v1/batch/jobs", params={"created_after": text})
            assert [item["id"] for item in answer["data"]] == [job["id"]] * is_found

    async def test_metadata_filters_nothing_however_it_is_asked(self, api):
        await api.create(requests=[row()], metadata={"tag": "mine"})

        for query in ("tag=other", "metadata=%7B%22tag%22%3A%22other%22%7D"):
            assert (await api.get(f"/v1/batch/jobs?{query}"))["total"] == 1

    @pytest.mark.parametrize(
        "query",
        ["page=-1", "page=x", "page_size=0", "status=DONE", "order_by=name", "created_after=now", "created_by_me=7"],
    )
    async def test_a_question_that_makes_no_sense_is_refused(self, api, query):
        status, answer = await api.call("GET", f"/v1/batch/jobs?{query}")

        assert (status, answer["detail"][0]["loc"][:2]) == (422, ["query", query.split("=")[0]])


class TestErrors:
    @pytest.mark.parametrize(
        ("key", "answer"), [("invalid", {"detail": "Invalid API Key"}), (None, {"message": "Unauthorized"})]
    )
    async def test_bad_keys_are_told_from_none(self, emulator, key, answer):
        api = Api(emulator, key=key)
        status, found = await api.call("GET", "/v1/files")
        await api.session.close()

        found.pop("request_id", None)
        assert (status, found) == (401, answer)

    async def test_a_rate_limit_says_how_long(self, api, emulator):
        emulator.add(faults.rate_limited(7))
        async with api.session.get(f"{api.base}/v1/batch/jobs") as response:
            answer = await response.json()

        assert (response.status, response.headers["Retry-After"]) == (429, "7")
        assert (answer["type"], answer["code"], answer["object"]) == ("rate_limited", "1300", "error")

    async def test_calls_are_counted_where_there_is_a_limit(self, time):
        with Emulator(clock=time, limits={"requests_per_min": 1}) as emulator:
            api = Api(emulator)
            statuses = [(await api.call("GET", "/v1/batch/jobs"))[0] for _ in range(2)]
            await api.session.close()

        assert statuses == [200, 429]

    @pytest.mark.parametrize("path", ["/v1/files/x", "/v1/batch/jobs/x"])
    async def test_what_is_no_id_is_not_looked_for(self, api, path):
        status, answer = await api.call("GET", path)

        assert (status, answer["detail"][0]["type"]) == (422, "uuid_parsing")

    async def test_a_file_that_is_too_large_is_refused(self, time):
        with Emulator(clock=time, limits={"upload_bytes": 100, "inline_bytes": 100}) as emulator:
            api = Api(emulator)
            statuses = [
                (await api.try_upload(b"x" * 101))[0],
                (await api.try_create(requests=[row(prompt="x" * 100)]))[0],
            ]
            await api.session.close()

        assert statuses == [413, 413]


class TestFaults:
    async def test_a_lost_create_is_a_job_with_its_mark(self, api, emulator):
        emulator.add(faults.accept_then_drop())
        with pytest.raises(aiohttp.ClientError):
            await api.create(requests=[row()], metadata={"tag": "mine"})

        assert [job["metadata"] for job in (await api.get("/v1/batch/jobs"))["data"]] == [{"tag": "mine"}]

    async def test_results_and_counts_can_be_late(self, api, emulator):
        emulator.add(faults.missing_output(polls=1), Fault(effect=faults.HideCounts(), times=1, completed=True))
        job = await api.start([row("a"), row("b", "[[error]]")])
        emulator.advance(600)
        first, second = [await api.job(job, "?inline=true") for _ in range(2)]

        assert [first[name] for name in ("output_file", "error_file", "outputs")] == [None] * 3
        assert (first["status"], first["total_requests"]) == ("SUCCESS", 0)
        assert None not in [second[name] for name in ("output_file", "error_file", "outputs")]
        assert second["total_requests"] == 2

    async def test_words_nobody_knows_lists_that_lag_and_never_end(self, api, emulator):
        await api.create(requests=[row()])
        emulator.add(faults.list_lag(60), faults.endless_list(first=2))
        young, endless = [await api.get("/v1/batch/jobs") for _ in range(2)]
        emulator.reset()
        job = await api.create(requests=[row()])
        emulator.add(faults.unknown_status("PAUSED"))

        assert young["data"] == endless["data"] == []
        assert endless["total"] > 1000
        assert (await api.job(job))["status"] == "PAUSED"

    async def test_every_call_has_its_operation_in_the_history(self, api, emulator):
        done = await api.run([row()])
        await api.get("/v1/batch/jobs")
        await api.call("POST", f"/v1/batch/jobs/{done['id']}/cancel")
        await api.content(done["output_file"])
        await api.get(f"/v1/files/{done['output_file']}")
        await api.get("/v1/files")
        await api.call("DELETE", f"/v1/files/{done['output_file']}")
        await api.call("DELETE", f"/v1/batch/jobs/{done['id']}")

        operations = [record.operation for record in emulator.history if record.kind == "request"]
        assert operations == [
            "upload", "create", "poll", "list", "cancel", "results", "file", "files", "delete", "delete",
        ]  # fmt: skip
