"""Batches: created almost unseen, run by the clock, cancelled, expired, listed."""

import asyncio
import threading

import pytest

from asyncbatch.emulator import family, work
from tests.emulator.wire import chat_row, encode_lines

TIMES = ("in_progress_at", "finalizing_at", "completed_at")
ROWS = [chat_row(f"r{number}", f"say {number}") for number in range(100)]


async def test_a_new_batch_looks_as_documented(api, time):
    file = await api.upload(encode_lines(ROWS))

    batch = await api.create(file["id"], metadata={"tag": "01JX"})

    assert batch == {
        "id": batch["id"],
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "model": None,
        "errors": None,
        "input_file_id": file["id"],
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": int(time.now),
        "in_progress_at": None,
        "expires_at": int(time.now) + 86400,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
        "metadata": {"tag": "01JX"},
    }


async def test_a_batch_runs_by_the_clock_to_its_answers(api, time):
    batch = await api.start(ROWS)

    seen = []
    for seconds in (4, 2, 1, 4):  # 5 s to validate, 2 s for the rows, 5 s to write
        time.now += seconds
        seen.append(await api.batch(batch["id"]))
    time.now += 1
    done = await api.batch(batch["id"])
    output, errors = await api.results(done)

    assert [batch["status"] for batch in seen] == ["validating", "in_progress", "finalizing", "finalizing"]
    assert seen[1]["request_counts"] == {"total": 100, "completed": 50, "failed": 0}
    assert seen[1]["model"] == "gpt-4.1-mini"
    assert seen[2]["output_file_id"] is None
    assert done["status"] == "completed"
    assert done["request_counts"] == {"total": 100, "completed": 100, "failed": 0}
    assert [done[name] - done["created_at"] for name in TIMES] == [
        5,
        7,
        12,
    ]
    assert set(output) == {row["custom_id"] for row in ROWS}
    assert errors == {}
    assert done["error_file_id"] is None
    assert output["r7"]["response"]["body"]["choices"][0]["message"]["content"] == "echo: say 7"


async def test_usage_is_the_sum_of_the_rows(api):
    done = await api.run(ROWS)
    output, _ = await api.results(done)
    usages = [line["response"]["body"]["usage"] for line in output.values()]

    assert done["usage"]["input_tokens"] == sum(usage["prompt_tokens"] for usage in usages) > 0
    assert done["usage"]["output_tokens"] == sum(usage["completion_tokens"] for usage in usages) > 0
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]


async def test_results_come_in_an_order_of_their_own(api):
    done = await api.run(ROWS)

    order = [line["custom_id"] for line in await api.lines(done["output_file_id"])]

    assert order != [row["custom_id"] for row in ROWS]
    assert len(order) == 100


async def test_result_files_are_files_of_the_account(api, time):
    done = await api.run([*ROWS, chat_row("bad", messages=[])])

    files = (await api.get("/files?purpose=batch_output"))["data"]

    assert {file["id"] for file in files} == {done["output_file_id"], done["error_file_id"]}
    assert all(file["created_at"] == done["completed_at"] for file in files)
    assert all(file["expires_at"] == done["completed_at"] + 30 * 86400 for file in files)


async def test_results_are_kept_for_as_long_as_was_asked(api, time):
    batch = await api.start(ROWS, output_expires_after={"anchor": "created_at", "seconds": 3600})
    time.now += 600
    done = await api.batch(batch["id"])

    file = await api.get(f"/files/{done['output_file_id']}")
    time.now += 3600

    assert file["expires_at"] == done["completed_at"] + 3600
    assert (await api.call("GET", f"/files/{file['id']}/content"))[0] == 404


async def test_a_cancelled_batch_has_partial_results(api, time):
    batch = await api.start(ROWS)
    time.now += 6

    status, cancelling = await api.call("POST", f"/batches/{batch['id']}/cancel")
    time.now += 10
    cancelled = await api.batch(batch["id"])
    output, errors = await api.results(cancelled)

    assert (status, cancelling["status"]) == (200, "cancelling")
    assert cancelled["status"] == "cancelled"
    assert cancelled["cancelled_at"] - cancelled["cancelling_at"] == 10
    assert cancelled["request_counts"] == {"total": 100, "completed": 50, "failed": 50}
    assert (len(output), len(errors)) == (50, 50)
    assert errors["r99"]["response"] is None
    assert errors["r99"]["error"]["code"] == "batch_cancelled"


async def test_cancelling_again_changes_nothing(api, time):
    batch = await api.start(ROWS)

    _, first = await api.call("POST", f"/batches/{batch['id']}/cancel")
    time.now += 3
    status, second = await api.call("POST", f"/batches/{batch['id']}/cancel")

    assert status == 200
    assert second["cancelling_at"] == first["cancelling_at"]


async def test_a_batch_cancelled_while_it_validates_has_run_nothing(api, time, emulator):
    batch = await api.start(ROWS)

    await api.call("POST", f"/batches/{batch['id']}/cancel")
    time.now += 10
    cancelled = await api.batch(batch["id"])
    output, errors = await api.results(cancelled)

    assert (cancelled["status"], len(output), len(errors)) == ("cancelled", 0, 100)
    assert [record.is_paid for record in emulator.history if record.kind == "create"] == [False]


async def test_a_bad_batch_cancelled_while_it_validates_has_no_files(api, time):
    batch = await api.start([b"not json\n"])

    await api.call("POST", f"/batches/{batch['id']}/cancel")
    time.now += 10
    cancelled = await api.batch(batch["id"])

    assert (cancelled["status"], cancelled["output_file_id"], cancelled["error_file_id"]) == ("cancelled", None, None)


async def test_what_is_over_cannot_be_cancelled(api):
    done = await api.run(ROWS)

    status, answer = await api.call("POST", f"/batches/{done['id']}/cancel")

    assert (status, answer["error"]["type"]) == (409, "invalid_request_error")
    assert "completed" in answer["error"]["message"]


class TestThatAreSlow:
    @pytest.fixture
    def options(self):
        return {"pace": {"row_s": 1728, "run_cap_s": None}}  # fifty rows in the window of a day

    async def test_a_slow_batch_expires_with_what_it_has(self, api, time):
        batch = await api.start(ROWS)
        time.now += 86400

        running = await api.batch(batch["id"])
        time.now += 5
        expired = await api.batch(batch["id"])
        output, errors = await api.results(expired)

        assert (running["status"], expired["status"]) == ("in_progress", "expired")
        assert expired["request_counts"] == {"total": 100, "completed": 49, "failed": 51}
        assert expired["completed_at"] is None
        assert (len(output), len(errors)) == (49, 51)
        assert errors["r99"]["error"]["code"] == "batch_expired"


async def test_deleting_the_input_before_validation_makes_the_batch_fail(api, time, emulator):
    batch = await api.start(ROWS)

    await api.call("DELETE", f"/files/{batch['input_file_id']}")
    time.now += 5
    failed = await api.batch(batch["id"])

    assert (failed["status"], failed["failed_at"]) == ("failed", batch["created_at"] + 5)
    assert [error["param"] for error in failed["errors"]["data"]] == ["file_id"]
    assert [record.is_paid for record in emulator.history if record.kind == "create"] == [False]


async def test_deleting_the_input_after_validation_changes_nothing(api, time):
    batch = await api.start(ROWS)
    time.now += 5

    await api.call("DELETE", f"/files/{batch['input_file_id']}")
    time.now += 600
    output, _ = await api.results(await api.batch(batch["id"]))

    assert len(output) == 100


async def test_an_unknown_input_is_accepted_and_fails(api, time):
    batch = await api.create("file-unknown")
    time.now += 5
    failed = await api.batch(batch["id"])

    assert (batch["status"], failed["status"]) == ("validating", "failed")
    assert failed["errors"]["data"][0]["code"] == "invalid_request"
    assert failed["request_counts"] == {"total": 0, "completed": 0, "failed": 0}


async def test_an_input_with_another_purpose_is_accepted_and_fails(api, time):
    file = await api.upload(encode_lines(ROWS), fields=(("purpose", "user_data"),))
    batch = await api.create(file["id"])
    time.now += 5

    assert (await api.batch(batch["id"]))["errors"]["data"][0]["param"] == "file_id"


async def test_the_file_of_another_account_is_an_unknown_one(api, other, time):
    file = await api.upload(encode_lines(ROWS))
    batch = await other.create(file["id"])
    time.now += 5

    assert (await other.batch(batch["id"]))["status"] == "failed"


async def test_an_account_sees_no_batch_of_another(api, other):
    batch = await api.start(ROWS)

    assert (await other.call("GET", f"/batches/{batch['id']}"))[0] == 404
    assert (await other.call("POST", f"/batches/{batch['id']}/cancel"))[0] == 404
    assert (await other.get("/batches"))["data"] == []


async def test_an_unknown_batch_is_a_404_in_the_documented_shape(api):
    status, answer = await api.call("GET", "/batches/batch_x")

    assert status == 404
    assert answer == {
        "error": {
            "message": "No batch found with id 'batch_x'.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }


ORDER = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"input_file_id": None}, "input_file_id", "missing_required_parameter"),
        ({"input_file_id": 7}, "input_file_id", "invalid_type"),
        ({"endpoint": "/v1/chat"}, "endpoint", "invalid_value"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata", "invalid_type"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "object_above_max_properties"),
        ({"metadata": {"k" * 65: ""}}, "metadata", "object_above_max_properties"),
        ({"metadata": {"k": "v" * 513}}, "metadata", "object_above_max_properties"),
        ({"output_expires_after": {"seconds": 3600}}, "output_expires_after.anchor", "invalid_value"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 60}},
            "output_expires_after.seconds",
            "invalid_value",
        ),
        ({"priority": "high"}, "priority", "unknown_parameter"),
    ],
)
async def test_a_bad_create_is_refused_at_once(api, changes, param, code):
    status, answer = await api.call("POST", "/batches", json={**ORDER, **changes})

    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, param, code)
    assert (await api.get("/batches"))["data"] == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
async def test_a_create_that_is_no_json_object_is_refused(api, body):
    status, answer = await api.call("POST", "/batches", data=body)

    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


async def test_the_list_is_newest_first_with_cursors(api, time):
    ids = []
    for _ in range(5):
        ids.insert(0, (await api.create("file-unknown"))["id"])
        time.now += 1

    first = await api.get("/batches?limit=2")
    second = await api.get(f"/batches?limit=2&after={first['last_id']}")
    last = await api.get(f"/batches?limit=2&after={second['last_id']}")

    assert [batch["id"] for page in (first, second, last) for batch in page["data"]] == ids
    assert [page["has_more"] for page in (first, second, last)] == [True, True, False]
    assert (first["object"], first["first_id"]) == ("list", ids[0])


async def test_the_list_shows_each_batch_as_it_stands(api, time):
    await api.start(ROWS)
    time.now += 600

    (batch,) = (await api.get("/batches"))["data"]

    assert batch["status"] == "completed"
    assert batch["output_file_id"] is not None


async def test_an_empty_list_has_no_ids(api):
    assert await api.get("/batches") == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=batch_unknown"])
async def test_a_bad_page_of_batches_is_refused(api, query):
    status, _ = await api.call("GET", f"/batches?{query}")

    assert status == 400


async def test_many_polls_at_once_see_one_batch(api, time):
    batch = await api.start(ROWS)
    time.now += 600

    async with asyncio.TaskGroup() as group:
        polls = [group.create_task(api.batch(batch["id"])) for _ in range(20)]

    assert len({poll.result()["output_file_id"] for poll in polls}) == 1


class TestWhoseRealWorkIsLate:
    """The clock says that a phase is over, but its work is not done."""

    @pytest.fixture
    def gate(self, monkeypatch):
        gate = threading.Event()
        examine, write = family.examine_rows, family.write_files
        monkeypatch.setattr(family, "examine_rows", lambda *args: gate.wait() and examine(*args))
        monkeypatch.setattr(family, "write_files", lambda *args: gate.wait() and write(*args))
        monkeypatch.setattr(work, "PATIENCE_S", 0.001)
        yield gate
        gate.set()

    async def test_a_batch_stays_in_the_phase_that_it_has_not_left(self, api, time, gate):
        batch = await api.start(ROWS)
        time.now += 600

        seen = await api.batch(batch["id"])

        assert (seen["status"], seen["request_counts"]["total"]) == ("validating", 0)

    async def test_a_batch_is_not_over_before_its_results_are_written(self, api, time, gate, monkeypatch):
        gate.set()
        monkeypatch.setattr(work, "PATIENCE_S", 60)
        batch = await api.start(ROWS)
        time.now += 6
        await api.batch(batch["id"])

        gate.clear()
        monkeypatch.setattr(work, "PATIENCE_S", 0.001)
        time.now += 600
        seen = await api.batch(batch["id"])

        assert (seen["status"], seen["output_file_id"]) == ("finalizing", None)

    async def test_a_poll_waits_for_the_work(self, api, time, gate, monkeypatch):
        monkeypatch.setattr(work, "PATIENCE_S", 60)
        batch = await api.start(ROWS)
        time.now += 600

        async with asyncio.TaskGroup() as group:
            poll = group.create_task(api.batch(batch["id"]))
            await api.get("/files/" + batch["input_file_id"])
            gate.set()

        assert poll.result()["status"] == "completed"
