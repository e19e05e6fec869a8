"""What every provider promises, asked of each that is found by name, against its own dialect of the emulator.

No list names the providers: `registry.available()` finds them, the catalog says what they can do, and the emulator, which
shares no code and no facts with them, says whether it is so.
"""

import asyncio

import anyio
import pytest

from asyncbatch import (
    AmbiguousSubmissionError,
    BatchMode,
    BatchPoller,
    BatchStatus,
    ConfigError,
    InvalidRequestsError,
    ProviderPermanentError,
    ProviderTransientError,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import Fault, faults, paid_twice
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import virtual_runtime
from tests.providers.world import BODIES, DAY_S, JOB, MODEL, statuses, world

REGISTRY = BatchProviderRegistry()
NAMES = REGISTRY.available()
FACTS = {name: load_catalog().provider(name) for name in NAMES}
MODES = {name: {endpoint.mode for endpoint in FACTS[name].endpoints} for name in NAMES}
ENDPOINTS = [
    pytest.param(name, endpoint, id=f"{name}-{endpoint.path}") for name in NAMES for endpoint in FACTS[name].endpoints
]
FENCED = [name for name in NAMES if FACTS[name].submit_safety is SubmitSafety.TAGGED_FENCED]
TAGGED = [name for name in NAMES if FACTS[name].submit_safety in (SubmitSafety.TAGGED, SubmitSafety.TAGGED_FENCED)]


def chat(prompt):
    return {"messages": [{"role": "user", "content": prompt}]}


async def gather(stream, rows):
    """Keep the rows that come before the stream ends, or fails."""
    async for row in stream:
        rows.append(row)


every_provider = pytest.mark.parametrize("name", NAMES)
every_tagged_provider = pytest.mark.parametrize("name", TAGGED)

OUTLIVES_ITS_WINDOW = {"row_s": 10_000.0, "run_cap_s": None}
"""Ten rows at this pace need 100,000 seconds; the window has 86,400."""


@every_provider
async def test_the_provider_is_found_by_its_name_alone(name):
    cls = REGISTRY.get(name)

    assert name == cls.PROVIDER_NAME
    assert REGISTRY.list() == []


# From requests to answers


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS)
async def test_every_endpoint_of_the_catalog_takes_a_batch_to_its_answers(name, endpoint):
    async with world(name) as here:
        body = BODIES[endpoint.format]
        status, rows = await here.run([body, body], mode=BatchMode.CUSTOM, endpoint=endpoint.path)

    assert (status.status, status.endpoint) == (BatchStatus.COMPLETED, endpoint.path)
    assert statuses(rows) == {"0000000": "succeeded", "0000001": "succeeded"}
    assert {row.format for row in rows} == {endpoint.format}
    assert all(isinstance(row.response, dict) for row in rows)


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in NAMES for mode in (BatchMode.CHAT, BatchMode.COMPLETION) if mode in MODES[name]],
)
async def test_a_mode_that_makes_text_answers_a_bare_prompt_with_text_and_usage(name, mode):
    async with world(name) as here:
        _, (row,) = await here.run(["What is the time?"], mode=mode)

    assert row.text == "echo: What is the time?"
    assert row.usage.total_tokens == row.usage.prompt_tokens + row.usage.completion_tokens > 0


@pytest.mark.parametrize("name", [name for name in NAMES if BatchMode.EMBEDDING in MODES[name]])
async def test_an_embedding_is_a_vector_for_each_text(name):
    async with world(name) as here:
        _, rows = await here.run(["one", {"input": ["two", "three"]}], mode=BatchMode.EMBEDDING)
        by_id = {row.request_id: row for row in rows}

    assert len(by_id["0000000"].embeddings) == 1
    assert len(by_id["0000001"].embeddings) == 2
    assert by_id["0000000"].embedding == pytest.approx(by_id["0000000"].embeddings[0])
    assert sum(x * x for x in by_id["0000000"].embedding) == pytest.approx(1)


@every_provider
async def test_requests_may_come_from_a_list_an_iterator_or_an_async_iterator(name):
    async def stream():
        for word in "abc":
            yield word

    async with world(name) as here:
        sent = [await here.prepare_one(requests) for requests in (list("abc"), iter("abc"), stream())]

    assert len({tuple(bytes(line) for line in submission.payloads) for submission in sent}) == 1
    assert [submission.request_count for submission in sent] == [3, 3, 3]


@every_provider
async def test_the_users_ids_come_back_on_the_answers(name):
    requests = [{"custom_id": f"row {n} é", "body": BODIES["openai.chat"]} for n in range(3)]
    async with world(name) as here:
        _, rows = await here.run(requests)

    assert statuses(rows) == {f"row {n} é": "succeeded" for n in range(3)}


@every_provider
async def test_minted_ids_travel_in_place_of_the_users_and_carry_the_rows_number(name):
    async with world(name) as here:
        submission = await here.prepare_one(
            [{"custom_id": "private", "body": BODIES["openai.chat"]}], wire_ids="minted"
        )
        batch = await here.provider.submit(submission)
        await here.end(batch.provider_batch_id)
        (row,) = await here.rows(batch.provider_batch_id)

    assert list(submission.request_ids) == ["private"]
    assert row.request_id == f"{submission.wire_prefix}0000000"
    assert b"private" not in bytes(submission.payloads[0])


@every_provider
async def test_a_fifth_more_than_the_limit_of_rows_becomes_two_batches_and_no_row_is_lost(name):
    async with world(name, rows=10, limits={"rows": 10}) as here:
        submissions = await here.prepare([f"prompt {n}" for n in range(12)])
        shape = [(s.chunk_index, s.total_chunks, s.first_row, s.request_count) for s in submissions]
        ids = [request_id for s in submissions for request_id in s.request_ids]
        batches = [await here.provider.submit(submission) for submission in submissions]
        ends = [await here.end(batch.provider_batch_id) for batch in batches]
        rows = [row for batch in batches for row in await here.rows(batch.provider_batch_id)]

    assert shape == [(0, 2, 0, 10), (1, 2, 10, 2)]
    assert ids == [f"{n:07d}" for n in range(12)]
    assert [end.status for end in ends] == [BatchStatus.COMPLETED] * 2
    assert sorted(row.request_id for row in rows) == ids


@every_provider
async def test_the_limit_of_bytes_splits_as_well(name):
    async with world(name, facts={"limits": {"file_bytes": 1000}}, limits={"file_bytes": 1000}) as here:
        submissions = await here.prepare(["x" * 200] * 6)
        sizes = [submission.spool.size for submission in submissions]
        ends = [await here.end((await here.provider.submit(item)).provider_batch_id) for item in submissions]

    assert len(sizes) > 1
    assert max(sizes) <= 1000
    assert [end.status for end in ends] == [BatchStatus.COMPLETED] * len(sizes)


@every_provider
async def test_the_same_requests_make_the_same_bytes(name):
    async with world(name) as here:
        first, second = [await here.prepare_one(["a", {"messages": []} | BODIES["openai.chat"]]) for _ in range(2)]

    assert first.payloads == second.payloads
    assert first.spool.size == second.spool.size


@every_provider
async def test_nothing_is_sent_when_a_row_is_bad(name):
    requests = ["fine", {"messages": [{"role": "user", "content": float("nan")}]}, 7]
    async with world(name) as here:
        with pytest.raises(InvalidRequestsError, match=r"row 1: .*row 2: ") as caught:
            await here.prepare(requests)
        history = here.emulator.history

    assert (caught.value.count, [problem.row for problem in caught.value.problems]) == (2, [1, 2])
    assert history == []


@every_provider
async def test_bad_rows_are_reported_and_the_others_go_where_that_is_asked_for(name):
    rejected = []
    async with world(name) as here:
        submission = await here.prepare_one(["fine", 7, "fine too"], on_reject=rejected.append)

    assert [problem.row for problem in rejected] == [1]
    assert list(submission.request_ids) == ["0000000", "0000002"]


@every_provider
async def test_an_unknown_model_is_refused_with_the_lines_that_would_allow_it(name):
    async with world(name) as here:
        provider = here.provider
        with pytest.raises(ConfigError, match="no-such-model") as caught:
            await provider.prepare_payloads(batch_id=JOB, model="no-such-model", mode=BatchMode.CHAT, requests=["x"])

    assert caught.value.code == "model.unknown"
    assert "match: no-such-model" in str(caught.value).replace('"', "")


@every_provider
async def test_an_unknown_model_goes_where_the_caller_answers_for_it(name):
    async with world(name) as here:
        config = {"api_key": "k-anything", "base_url": here.emulator.base_url(name), "allow_unknown_model": True}
        provider = here.scope.create(name, config)
        (submission,) = await provider.prepare_payloads(
            batch_id=JOB, model="no-such-model", mode=BatchMode.CHAT, requests=["x"]
        )

    assert submission.model == "no-such-model"


@every_provider
@pytest.mark.parametrize(
    ("endpoint", "code"), [(None, "endpoint.missing"), ("/v1/nowhere", "endpoint.unknown")], ids=["none", "unlisted"]
)
async def test_custom_needs_an_endpoint_that_the_catalog_lists(name, endpoint, code):
    async with world(name) as here:
        with pytest.raises(ConfigError) as caught:
            await here.prepare([{"input": "x"}], mode=BatchMode.CUSTOM, endpoint=endpoint)

    assert caught.value.code == code
    assert FACTS[name].endpoints[0].path in str(caught.value)


# How rows and batches end


@every_provider
async def test_a_batch_in_which_every_row_failed_is_completed_and_gives_every_row(name):
    async with world(name) as here:
        status, rows = await here.run([f"[[error:400]] {n}" for n in range(4)])

    assert status.status is BatchStatus.COMPLETED
    assert (status.progress.completed, status.progress.failed) == (0, 4)
    assert [row.status for row in rows] == [ResultStatus.ERRORED] * 4
    assert {(row.error.status, row.error.code, row.error.retryable) for row in rows} == {(400, "invalid_value", False)}


@every_provider
async def test_each_row_of_a_mixed_batch_ends_in_its_own_way(name):
    troubles = [
        "error:400",
        "error:429",
        "error:500",
        "expire",
        "missing",
        "garbage",
        "duplicate",
        "conflict",
        "stranger",
    ]
    requests = [{"custom_id": word, "body": chat(f"[[{word}]]")} for word in troubles]
    async with world(name) as here:
        status, rows = await here.run([{"custom_id": "fine", "body": chat("hello")}, *requests])
    by_id = {word: [row for row in rows if row.request_id == word] for word in ("fine", *troubles)}

    assert status.status is BatchStatus.COMPLETED
    assert {word: [row.status.value for row in found] for word, found in by_id.items()} == {
        "fine": ["succeeded"],
        "error:400": ["errored"],
        "error:429": ["errored"],
        "error:500": ["errored"],
        "expire": ["expired"],
        "missing": [],
        "garbage": ["undecodable"],
        "duplicate": ["succeeded", "succeeded"],
        "conflict": ["succeeded", "succeeded"],
        "stranger": ["succeeded"],
    }
    assert len(rows) == 12, "the stranger is handed on too: whoever asked knows which ids are theirs"
    assert {word: found[0].error.retryable for word, found in by_id.items() if found and found[0].error} == {
        "error:400": False,
        "error:429": True,
        "error:500": True,
        "expire": True,
        "garbage": False,
    }
    assert bytes(by_id["duplicate"][0].body) == bytes(by_id["duplicate"][1].body)
    assert bytes(by_id["conflict"][0].body) != bytes(by_id["conflict"][1].body)
    assert bytes(by_id["garbage"][0].body).endswith(b"\xff\xfe")


@every_provider
async def test_an_expired_batch_gives_the_answers_that_were_paid_for_and_expires_the_rest(name):
    async with world(name, pace=OUTLIVES_ITS_WINDOW) as here:
        status, rows = await here.run([f"prompt {n}" for n in range(10)])

    ends = [row.status for row in rows]
    assert status.status is BatchStatus.EXPIRED
    assert (ends.count(ResultStatus.SUCCEEDED), ends.count(ResultStatus.EXPIRED)) == (8, 2)
    assert all(row.error.retryable for row in rows if row.status is ResultStatus.EXPIRED)


@every_provider
async def test_a_cancelled_batch_gives_the_answers_that_exist_and_cancels_the_rest(name):
    async with world(name, pace=OUTLIVES_ITS_WINDOW) as here:
        batch = await here.start([f"prompt {n}" for n in range(10)])
        here.clock.advance(35_000)
        asked = await here.provider.cancel(batch.provider_batch_id)
        status = await here.end(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    ends = [row.status for row in rows]
    assert (asked.status, status.status) == (BatchStatus.CANCELLING, BatchStatus.CANCELLED)
    assert (ends.count(ResultStatus.SUCCEEDED), ends.count(ResultStatus.CANCELLED)) == (3, 7)


@every_provider
async def test_a_batch_that_failed_says_why_and_has_no_rows(name):
    async with world(name, limits={"rows": 5}) as here:
        status, rows = await here.run([f"prompt {n}" for n in range(6)])

    assert status.status is BatchStatus.FAILED
    assert [(error.code, error.line) for error in status.errors] == [("too_many_tasks", 6)]
    assert status.error_message == status.errors[0].message != ""
    assert rows == []


@every_provider
async def test_cancelling_what_is_over_changes_nothing_and_is_no_error(name):
    async with world(name) as here:
        batch = await here.start(["a"])
        await here.end(batch.provider_batch_id)
        status = await here.provider.cancel(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    assert status.status is BatchStatus.COMPLETED
    assert here.clock.slept_s == [], "an answer that waiting cannot change is not asked for again"
    assert len(rows) == 1


@every_provider
async def test_cancelling_twice_is_cancelling_once(name):
    async with world(name) as here:
        batch = await here.start(["[[stall]]"])
        here.clock.advance(60)
        first = await here.provider.cancel(batch.provider_batch_id)
        second = await here.provider.cancel(batch.provider_batch_id)

    assert (first.status, second.status) == (BatchStatus.CANCELLING, BatchStatus.CANCELLING)
    assert here.accepted("cancel") == [batch.provider_batch_id]


@every_provider
async def test_every_station_of_a_life_has_its_status_in_our_words(name):
    seen = []
    async with world(name, pace={"validating_s": 10, "row_s": 10, "finalizing_s": 10}) as here:
        batch = await here.start(["a", "b"])
        for _ in range(5):
            status = await here.provider.poll_status(batch.provider_batch_id)
            seen.append(status.status)
            here.clock.advance(10)

    assert list(dict.fromkeys(seen)) == [
        BatchStatus.VALIDATING,
        BatchStatus.IN_PROGRESS,
        BatchStatus.FINALIZING,
        BatchStatus.COMPLETED,
    ]
    assert (status.progress.total, status.progress.done) == (2, 2)
    assert status.created_at < status.completed_at < status.expires_at


@every_provider
async def test_a_status_that_nobody_knows_is_unknown_and_not_the_end(name):
    async with world(name, faults=[faults.unknown_status("paused", times=2)]) as here:
        batch = await here.start(["a"])
        status = await here.end(batch.provider_batch_id)
        with pytest.raises(ProviderTransientError, match="paused") as caught:
            await here.provider.fetch_results(batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    assert (status.status, status.raw_status, status.status.is_terminal) == (BatchStatus.UNKNOWN, "paused", False)
    assert caught.value.code == "not_ended"
    assert len(rows) == 1


# Answers


@every_provider
async def test_answers_before_the_end_are_refused_as_too_early(name):
    async with world(name) as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderTransientError, match="validating") as caught:
            await here.provider.fetch_results(batch.provider_batch_id)

    assert caught.value.code == "not_ended"
    assert here.calls("GET", "/content") == []


@every_provider
@pytest.mark.parametrize("looks", [1, 4])
async def test_a_completed_batch_whose_files_are_late_is_asked_again(name, looks):
    async with world(name, faults=[faults.missing_output(polls=looks)]) as here:
        batch = await here.start(["a"])
        here.clock.advance(DAY_S)
        rows = await here.rows(batch.provider_batch_id)

    assert len(rows) == 1
    assert len(here.clock.slept_s) == looks
    assert sum(here.clock.slept_s) < 60


@every_provider
async def test_files_that_never_come_are_looked_for_during_a_minute_and_then_there_are_no_rows(name):
    async with world(name, faults=[faults.missing_output()]) as here:
        batch = await here.start(["a"])
        here.clock.advance(DAY_S)
        rows = await here.rows(batch.provider_batch_id)

    assert rows == []
    assert sum(here.clock.slept_s) == pytest.approx(60)


@every_provider
async def test_a_file_of_errors_that_comes_after_that_of_answers_is_waited_for(name):
    late = Fault(
        effect=faults.Rewrite(fields={"error_file_id": None}),
        method="GET",
        path="/batches/*",
        times=2,
        where={"status": "completed"},
    )
    async with world(name, faults=[late]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        here.clock.advance(DAY_S)
        rows = await here.rows(batch.provider_batch_id)

    assert statuses(rows) == {"0000000": "succeeded", "0000001": "errored"}


@every_provider
async def test_files_are_waited_for_however_little_the_counts_say(name):
    counts = {"request_counts": None, "output_file_id": None, "error_file_id": None}
    late = Fault(
        effect=faults.Rewrite(fields=counts), method="GET", path="/batches/*", times=3, where={"status": "completed"}
    )
    async with world(name, faults=[late]) as here:
        batch = await here.start(["a"])
        here.clock.advance(DAY_S)
        rows = await here.rows(batch.provider_batch_id)

    assert statuses(rows) == {"0000000": "succeeded"}
    assert len(here.clock.slept_s) == 3


@every_provider
@pytest.mark.parametrize("refused", [1, 2], ids=["the first", "the second"])
async def test_a_file_that_is_gone_takes_no_other_with_it(name, refused):
    gone = faults.refuse(404, method="GET", path="/files/*/content", first=refused)
    async with world(name, faults=[gone]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        await here.end(batch.provider_batch_id)
        rows = []
        with pytest.raises(ProviderPermanentError) as caught:
            await gather(here.provider.fetch_results(batch.provider_batch_id), rows)
        fetched = here.calls("GET", "/content")

    assert caught.value.status == 404
    assert sorted(fetched) == [200, 404]
    assert [row.request_id for row in rows] == (["0000001"] if refused == 1 else ["0000000"])


@every_provider
@pytest.mark.parametrize(
    ("status", "error"),
    [(401, ProviderPermanentError), (403, ProviderPermanentError), (500, ProviderTransientError)],
)
async def test_a_refusal_that_can_be_mended_gives_no_part_for_the_whole_and_keeps_nothing(name, status, error):
    refusal = faults.refuse(status, method="GET", path="/files/*/content", first=2, times=None)
    async with world(name, faults=[refusal]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        await here.end(batch.provider_batch_id)
        made, rows = [], []
        new_file = here.provider.new_file
        here.provider.new_file = lambda: made.append(new_file()) or made[-1]
        with pytest.raises(error) as caught:
            await gather(here.provider.fetch_results(batch.provider_batch_id), rows)

    assert caught.value.status == status
    assert rows == []
    assert len(made) == 2
    assert [file.size for file in made] == [0, 0]


@every_provider
async def test_a_download_that_is_cancelled_keeps_nothing_however_often_it_is_cancelled(name):
    async with world(name, faults=[faults.stall(5, method="GET", path="/files/*/content", first=2)]) as here:
        batch = await here.start(["a", "[[error:400]]"])
        await here.end(batch.provider_batch_id)
        made = []
        new_file = here.provider.new_file
        here.provider.new_file = lambda: made.append(new_file()) or made[-1]

        async def read():
            await here.provider.fetch_results(batch.provider_batch_id)

        task = asyncio.create_task(read())
        with anyio.fail_after(10):
            while len(made) < 2:
                await asyncio.sleep(0)
            held = made[0].size
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)

    assert held > 0
    assert task.cancelled()
    assert [file.size for file in made] == [0, 0]


@every_provider
async def test_an_empty_name_of_a_file_means_the_same_as_none(name):
    empty = Fault(
        effect=faults.Rewrite(fields={"error_file_id": ""}),
        method="GET",
        path="/batches/*",
        times=None,
        where={"error_file_id": None},
    )
    async with world(name, faults=[empty]) as here:
        status, rows = await here.run(["a"])

    assert len(status.result_uris) == 1
    assert statuses(rows) == {"0000000": "succeeded"}
    assert here.clock.slept_s == []


@every_provider
async def test_answers_are_whole_before_the_first_is_handed_out_so_a_slow_reader_holds_no_connection(name):
    async with world(name) as here:
        batch = await here.start([f"prompt {n}" for n in range(5)])
        await here.end(batch.provider_batch_id)
        rows = aiter(here.provider.fetch_results(batch.provider_batch_id))
        first = await anext(rows)
        here.emulator.stop()
        others = [row async for row in rows]

    assert len({row.request_id for row in [first, *others]}) == 5


@every_provider
async def test_answers_can_be_awaited_iterated_twice_and_entered(name):
    async with world(name) as here:
        batch = await here.start(["a", "b"])
        await here.end(batch.provider_batch_id)
        stream = here.provider.fetch_results(batch.provider_batch_id)
        awaited = await stream
        iterated = [row async for row in stream]
        downloads = len(here.calls("GET", "/content"))
        async with here.provider.fetch_results(batch.provider_batch_id) as held:
            twice = [[row async for row in held] for _ in range(2)]
        held_downloads = len(here.calls("GET", "/content")) - downloads

    assert awaited == iterated == twice[0] == twice[1]
    assert statuses(awaited) == {"0000000": "succeeded", "0000001": "succeeded"}
    assert downloads == 2, "a stream that was read to its end gave its files back"
    assert held_downloads == 1, "one that is held with `async with` keeps them"


@every_provider
async def test_answers_left_early_are_given_back_by_async_with(name):
    async with world(name) as here:
        batch = await here.start(["a", "b"])
        await here.end(batch.provider_batch_id)
        async with here.provider.fetch_results(batch.provider_batch_id) as rows:
            async for row in rows:
                break
        again = await rows

    assert row.request_id in {"0000000", "0000001"}
    assert len(again) == 2
    assert len(here.calls("GET", "/content")) == 2


@every_provider
async def test_two_readers_of_one_stream_get_every_row_each(name):
    async with world(name) as here:
        batch = await here.start([f"{n} {'x' * 1000}" for n in range(400)])  # several pieces of a file
        await here.end(batch.provider_batch_id)
        stream = here.provider.fetch_results(batch.provider_batch_id)
        slow = aiter(stream)
        first = await anext(slow)
        quick = await stream
        rest = [row async for row in slow]

    assert [first, *rest] == quick
    assert len(quick) == 400
    assert len(here.calls("GET", "/content")) == 1


@every_provider
async def test_readers_who_begin_at_once_share_one_download(name):
    async with world(name) as here:
        batch = await here.start(["a", "b"])
        await here.end(batch.provider_batch_id)
        stream = here.provider.fetch_results(batch.provider_batch_id)
        read = []

        async def reader():
            read.append(await stream)

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(reader)

    assert [len(rows) for rows in read] == [2, 2, 2]
    assert len(here.calls("GET", "/content")) == 1


@every_provider
async def test_the_answers_of_a_batch_that_does_not_exist_are_an_error_of_the_provider(name):
    async with world(name) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.fetch_results("batch_none")

    assert (caught.value.provider, caught.value.status) == (name, 404)


# A create whose answer was lost


@every_tagged_provider
async def test_a_lost_create_is_unknown_and_found_again_by_its_tag(name):
    async with world(name, faults=[faults.accept_then_drop()]) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="ab1-test-0-1-cafe"))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        match = await here.provider.find_submission(submission, since=since)
        created = here.accepted("create")

    assert created == [match.provider_batch_id]
    assert (match.why, match.is_certain) == ("tag", True)
    assert here.calls("POST", "/batches") == [None]


@every_tagged_provider
async def test_a_lost_create_is_found_by_its_input_where_no_tag_was_set(name):
    async with world(name, faults=[faults.accept_then_error(500)]) as here:
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        match = await here.provider.find_submission(submission, since=since)
        created = here.accepted("create")

    assert created == [match.provider_batch_id]
    assert (match.why, match.is_certain) == ("input", True)


@every_tagged_provider
async def test_nothing_is_found_where_nothing_was_accepted(name):
    async with world(name, faults=[faults.drop(path="/batches", method="POST", first=2)]) as here:
        await here.start(["another"], options={"metadata": {"k": "v"}})
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        match = await here.provider.find_submission(submission, since=since)

    assert match is None


@every_tagged_provider
async def test_a_list_that_lags_shows_a_lost_create_late(name):
    async with world(name, faults=[faults.accept_then_drop(), faults.list_lag(90)]) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        early = await here.provider.find_submission(submission, since=since)
        here.clock.advance(91)
        late = await here.provider.find_submission(submission, since=since)

    assert early is None
    assert late.why == "tag"


@every_tagged_provider
async def test_every_match_is_reported_and_two_are_ambiguous(name):
    async with world(name) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        since = here.clock.now()
        batches = [await here.provider.create(submission) for _ in range(2)]
        matches = await here.provider.find_submissions(submission, since=since)
        with pytest.raises(AmbiguousSubmissionError) as caught:
            await here.provider.find_submission(submission, since=since)

    assert {match.provider_batch_id for match in matches} == {batch.provider_batch_id for batch in batches}
    assert all(batch.provider_batch_id in str(caught.value) for batch in batches)


@every_tagged_provider
async def test_a_lost_create_is_found_behind_many_newer_batches(name):
    async with world(name, faults=[faults.accept_then_drop()], facts={"limits": {"list_page": 3}}) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        for number in range(8):
            await here.provider.create(submission.replace(tag=f"other-{number}", input_ref=f"file-{number}"))
        match = await here.provider.find_submission(submission, since=since)

    assert match.why == "tag"
    assert len(here.calls("GET", "/batches")) == 3


@every_tagged_provider
@pytest.mark.parametrize(("slow_s", "found"), [(290, True), (310, False)])
async def test_the_search_goes_five_minutes_further_back_than_our_clock_says(name, slow_s, found):
    async with world(name, facts={"limits": {"list_page": 2}}) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        await here.provider.create(submission)
        for number in range(2):
            await here.provider.create(submission.replace(tag=f"other-{number}", input_ref=f"file-{number}"))
        match = await here.provider.find_submission(submission, since=here.clock.now() + slow_s)

    assert (match is not None) is found
    assert len(here.calls("GET", "/batches")) == (2 if found else 1)


@every_tagged_provider
async def test_the_search_goes_as_far_back_as_the_answers_say_that_the_providers_clock_is_behind(name):
    async with world(name, facts={"limits": {"list_page": 2}}, behind_s=3600) as here:
        submission = (await here.provider.upload(await here.prepare_one(["a"]))).replace(tag="mine")
        since = here.clock.now()
        await here.provider.create(submission)
        for number in range(2):
            await here.provider.create(submission.replace(tag=f"other-{number}", input_ref=f"file-{number}"))
        fresh = here.scope.create(name, {"api_key": "emulator-key", "base_url": here.emulator.base_url(name)})
        lead_s = fresh.transport.lead_s
        match = await fresh.find_submission(submission, since=since)

    assert lead_s == 0, "a process that begins anew learns it from the list itself"
    assert match is not None


@every_tagged_provider
async def test_the_search_ends_where_older_batches_cannot_be_ours(name):
    async with world(name, facts={"limits": {"list_page": 2}}) as here:
        submission = await here.provider.upload((await here.prepare_one(["a"])).replace(tag="mine"))
        for number in range(10):
            await here.provider.create(submission.replace(tag=f"old-{number}", input_ref=f"file-{number}"))
        here.clock.advance(DAY_S)
        match = await here.provider.find_submission(submission, since=here.clock.now())

    assert match is None
    assert len(here.calls("GET", "/batches")) == 1


@every_tagged_provider
async def test_a_list_that_names_itself_as_its_next_page_is_not_walked_for_ever(name):
    page = faults.Answer(
        status=200, body=b'{"object":"list","data":[],"first_id":null,"last_id":"batch_again","has_more":true}'
    )
    async with world(name, faults=[Fault(effect=page, method="GET", path="/batches", times=None)]) as here:
        submission = await here.prepare_one(["a"])
        with pytest.raises(ProviderTransientError, match="batch_again") as caught:
            await here.provider.find_submissions(submission, since=here.clock.now())

    assert caught.value.code == "endless_list"
    assert len(here.calls("GET", "/batches")) == 2


@pytest.mark.parametrize("name", FENCED)
async def test_after_the_fence_a_late_create_fails_and_costs_nothing(name):
    async with world(name) as here:
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        fenced = await here.provider.fence(submission)
        batch = await here.provider.create(submission)
        status = await here.end(batch.provider_batch_id)
        paid = [record.is_paid for record in here.emulator.history if record.kind == "create"]

    assert fenced is True
    assert status.status is BatchStatus.FAILED
    assert paid == [False]


@pytest.mark.parametrize("name", FENCED)
async def test_a_fence_may_be_put_up_twice_and_needs_an_input(name):
    async with world(name) as here:
        submission = await here.prepare_one(["a"])
        without = await here.provider.fence(submission)
        uploaded = await here.provider.upload(submission)
        twice = [await here.provider.fence(uploaded) for _ in range(2)]

    assert without is False
    assert twice == [True, True]


@every_provider
async def test_how_safe_a_create_is_stands_in_the_catalog(name):
    async with world(name) as here:
        assert here.provider.submit_safety() is FACTS[name].submit_safety


@every_provider
async def test_nothing_is_paid_twice_over_a_whole_life_of_lost_answers(name):
    trouble = [
        faults.drop(path="/files", method="POST"),
        faults.accept_then_drop(),
        faults.refuse(503, method="GET", path="/batches", times=2),
        faults.cut_body(5, method="GET", path="/files/*/content"),
    ]
    async with world(name, faults=trouble) as here:
        submission = await here.provider.upload((await here.prepare_one(["a", "b"])).replace(tag="mine"))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        match = await here.provider.find_submission(submission, since=since)
        await here.end(match.provider_batch_id)
        rows = await here.rows(match.provider_batch_id)
        history = here.emulator.history

    assert statuses(rows) == {"0000000": "succeeded", "0000001": "succeeded"}
    assert paid_twice(history) == {}
    assert len(here.accepted("create")) == 1


# Lists, deletion, errors


@every_provider
async def test_the_list_is_walked_newest_first_page_by_page(name):
    async with world(name) as here:
        made = []
        for number in range(5):
            made.append((await here.start([f"prompt {number}"])).provider_batch_id)
            here.clock.advance(10)
        pages, cursor = [], None
        for _ in range(3):
            page = await here.provider.list_statuses(cursor=cursor, limit=2)
            pages.append([status.provider_batch_id for status in page.statuses])
            cursor = page.cursor

    assert pages == [made[:2:-1], made[2:0:-1], made[:1]]
    assert cursor is None


@every_provider
async def test_a_page_is_never_asked_for_larger_than_the_provider_gives(name):
    async with world(name) as here:
        await here.start(["a"])
        page = await here.provider.list_statuses(limit=100_000)

    assert len(page.statuses) == 1


@every_provider
async def test_deleting_a_batchs_files_takes_input_and_answers_and_may_be_repeated(name):
    async with world(name) as here:
        batch = await here.start(["a", "[[error:400]]"])
        await here.end(batch.provider_batch_id)
        counts = [await here.provider.delete_artifacts(batch.provider_batch_id) for _ in range(2)]
        with pytest.raises(ProviderPermanentError) as caught:
            await here.rows(batch.provider_batch_id)
        deleted = here.accepted("delete")

    assert counts == [3, 3]
    assert len(deleted) == 3
    assert caught.value.status == 404


@every_provider
async def test_a_refused_key_is_a_permanent_error_that_names_the_variable_to_set(name):
    async with world(name, key="invalid-key-0123456789") as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.poll_status("batch_1")

    assert (caught.value.status, caught.value.provider) == (401, name)
    assert FACTS[name].credentials.env[0] in str(caught.value)
    assert caught.value.request_id
    assert "0123456789" not in str(caught.value)


@every_provider
async def test_a_missing_key_is_said_before_anything_is_sent(name):
    async with world(name) as here:
        provider = here.scope.create(name, {"base_url": here.emulator.base_url(name)})
        with pytest.raises(ConfigError, match=FACTS[name].credentials.env[0]) as caught:
            await provider.poll_status("batch_1")
        history = here.emulator.history

    assert caught.value.code == "auth.missing"
    assert history == []


@every_provider
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_a_throttled_poll_carries_the_wait_that_was_asked_for_and_is_not_repeated_by_itself(name, as_date):
    async with world(name, faults=[faults.rate_limited(120, as_date=as_date, path="/batches/*")]) as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.poll_status(batch.provider_batch_id)

    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert caught.value.retry_after == pytest.approx(120, abs=1)
    assert here.calls("GET", batch.provider_batch_id) == [429]
    assert here.clock.slept_s == []


@every_provider
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_a_throttled_list_is_asked_again_no_sooner_than_the_provider_wants(name, as_date):
    async with world(name, faults=[faults.rate_limited(40, as_date=as_date, path="/batches", method="GET")]) as here:
        await here.start(["a"])
        page = await here.provider.list_statuses()

    (waited,) = here.clock.slept_s
    assert len(page.statuses) == 1
    assert 39 <= waited < 42
    assert here.calls("GET", "/batches") == [429, 200]


@every_provider
async def test_the_poller_outlives_a_batch_that_comes_and_goes(name):
    flapping = [faults.flap404(3), faults.flap404(2, first=5), faults.unknown_status("paused", first=8)]
    async with world(name, faults=flapping, pace={"row_s": 600, "run_cap_s": None}) as here:
        batch = await here.start(["a", "b", "c"])
        async with BatchPoller(runtime=virtual_runtime(here.clock)) as poller:
            status = await poller.watch(here.provider, batch.provider_batch_id)
        polls = here.calls("GET", batch.provider_batch_id)

    assert status.status is BatchStatus.COMPLETED
    assert polls[:6] == [404, 404, 404, 200, 404, 404]


@every_provider
async def test_the_provider_asks_no_oftener_than_its_catalog_allows(name):
    async with world(name) as here:
        assert here.provider.poll_floor_s == FACTS[name].polling.min_interval_s


@every_provider
async def test_metadata_of_the_caller_travels_beside_the_tag(name):
    async with world(name) as here:
        submission = await here.prepare_one(["a"], options={"metadata": {"team": "blue"}})
        batch = await here.provider.submit(submission.replace(tag="mine"))
        status = await here.provider.poll_status(batch.provider_batch_id)

    assert status.metadata["team"] == "blue"
    assert "mine" in status.metadata.values()


@every_provider
async def test_a_provider_can_be_used_alone_without_a_registry(name):
    async with world(name) as here:
        config = {"api_key": "emulator-key", "base_url": here.emulator.base_url(name)}
        runtime = virtual_runtime(here.clock)
        async with REGISTRY.get(name)(config, catalog=here.scope.catalog, runtime=runtime) as provider:
            (submission,) = await provider.prepare_payloads(
                batch_id=JOB, model=MODEL, mode=BatchMode.CHAT, requests=["a"]
            )
            batch = await provider.submit(submission)
            here.clock.advance(DAY_S)
            rows = await provider.fetch_results(batch.provider_batch_id)

    assert statuses(rows) == {"0000000": "succeeded"}


@every_provider
async def test_a_submission_without_its_input_cannot_be_uploaded_and_says_so(name):
    async with world(name) as here:
        submission = (await here.prepare_one(["a"])).replace(spool=None)
        with pytest.raises(ProviderPermanentError, match="prepare_payloads") as caught:
            await here.provider.upload(submission)

    assert caught.value.code == "no_input"
