"""Answers that were paid for are fetched, however the provider behaves on the way."""

import collections

import pytest

from asyncbatch import ProviderPermanentError, ResultStatus, StorageError
from asyncbatch.emulator import Fault, faults
from asyncbatch.spool import SpoolFile

CHAT = "openai/gpt-4.1-mini"


def no_such(path, **times):
    return Fault(effect=faults.Answer(status=404, message="No such file."), path=path, **times)


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(
    ("path", "first"), [("/files/*/content", 1), *(("/batches/*", number) for number in range(1, 7))]
)
async def test_a_404_that_passes_costs_no_answer(client, emulator, path, first, times):
    """Whichever reading it strikes: one of the poller's, or the one that fetching begins with."""
    emulator.add(no_such(path, method="GET", first=first, times=times))
    job = await client.submit([f"question {n}" for n in range(10)], model=CHAT)

    rows = await job.results()

    assert collections.Counter(row.status for row in rows) == {ResultStatus.SUCCEEDED: 10}


async def test_answers_that_stay_gone_are_missing_after_half_an_hour_of_asking(client, emulator, clock):
    emulator.add(no_such("/files/*/content", times=None))
    job = await client.submit(["hi"], model=CHAT)
    await job.submitted()
    started = clock.now()

    (row,) = await job.results()

    assert row.status is ResultStatus.MISSING
    assert "404" in row.error.message
    assert clock.now() - started >= 1800


async def test_answers_are_fetched_however_long_the_provider_is_down(client, emulator):
    job = await client.submit(["hi"] * 5, model=CHAT)
    await job.submitted()
    emulator.add(faults.refuse(503, path="/files/*/content", times=60))

    rows = await job.results()

    assert {row.status for row in rows} == {ResultStatus.SUCCEEDED}


def downloads(emulator):
    return sum(record.path.endswith("/content") for record in emulator.history)


async def test_fewer_answers_than_the_provider_counts_are_looked_for_twice_more(client, emulator):
    """A file that is filled a little later than it is named."""
    job = await client.submit(["a", "b", "[[missing]] c"], model=CHAT)
    await job.submitted()

    rows = await job.results()

    missing = [row for row in rows if row.status is ResultStatus.MISSING]
    assert len(rows) == 3
    assert [row.error.code for row in missing] == ["missing"]
    assert downloads(emulator) == 3


async def test_as_many_answers_as_the_provider_counts_are_fetched_once(client, emulator):
    rows = await (await client.submit(["a", "b", "[[error:400]] c"], model=CHAT)).results()

    assert len(rows) == 3
    assert downloads(emulator) == 2, "one file of answers, and one of errors"


async def test_a_key_that_is_refused_while_fetching_stops_the_job_and_leaves_the_answers_there(client, emulator):
    emulator.add(faults.refuse(403, path="/files/*/content", times=None))
    job = await client.submit(["hi"] * 5, model=CHAT)

    with pytest.raises(ProviderPermanentError, match="403"):
        await job.wait()

    assert job.status().outcomes == {}
    assert job.status().batches[0].state == "ended"


async def test_a_download_that_breaks_off_is_made_again(client, emulator):
    emulator.add(faults.cut_body(100, path="/files/*/content", times=3))
    job = await client.submit(["hi"] * 40, model=CHAT)

    rows = await job.results()

    assert collections.Counter(row.status for row in rows) == {ResultStatus.SUCCEEDED: 40}


async def test_refused_rows_do_not_shift_the_answers_of_the_others(client):
    rows = ["a", float("nan"), "b", {"messages": []}, "c"]
    job = await client.submit(rows, model=CHAT, on_bad_row="reject")

    texts = {row.request_id: row.text for row in await job.results()}

    assert texts == {"0000000": "echo: a", "0000001": None, "0000002": "echo: b", "0000003": None, "0000004": "echo: c"}


async def test_a_refused_ready_row_keeps_its_own_id(client):
    rows = [{"custom_id": "a", "body": "a text"}, {"custom_id": "b", "body": {}, "url": 7}, {"custom_id": "c"}]
    job = await client.submit(rows, model=CHAT, on_bad_row="reject")

    assert [row.request_id for row in await job.results()] == ["a", "b", "c"]


async def test_a_refused_duplicate_is_named_by_its_id_and_its_number(client):
    body = {"messages": [{"role": "user", "content": "hi"}]}
    job = await client.submit([{"custom_id": "a", "body": body}] * 2, model=CHAT, on_bad_row="reject")

    rows = {row.request_id: row.status for row in await job.results()}

    assert rows == {"a": ResultStatus.SUCCEEDED, "a#1": ResultStatus.REJECTED}


class TestAFullDisk:
    @pytest.fixture
    def full(self, client, monkeypatch):
        """A disk that refuses so many writes of result files."""
        left = 0
        append = SpoolFile.append

        def refuse(self, data):
            nonlocal left
            if left:
                left -= 1
                raise StorageError("a large body cannot be written: No space left on device", code="storage.failed")
            append(self, data)

        monkeypatch.setattr(SpoolFile, "append", refuse)

        def fill(times):
            nonlocal left
            left = times

        return fill

    async def test_answers_wait_for_room(self, client, full):
        job = await client.submit(["hi"] * 5, model=CHAT)
        await job.submitted()
        full(4)

        rows = await job.results()

        assert collections.Counter(row.status for row in rows) == {ResultStatus.SUCCEEDED: 5}

    async def test_a_disk_that_stays_full_is_told_and_no_answer_is_called_lost(self, client, full):
        job = await client.submit(["hi"] * 5, model=CHAT)
        await job.submitted()
        full(10**9)

        with pytest.raises(StorageError, match="No space left"):
            await job.wait()

        assert job.status().outcomes == {}


def naming(**fields):
    return Fault(effect=faults.Rewrite(fields=fields), operation="poll", times=None)


async def test_a_batch_that_failed_says_why_although_the_files_that_it_names_are_not_there(client, emulator):
    doom = faults.Doom(code="invalid_json_line", message="Line 1 is no JSON.")
    emulator.add(Fault(effect=doom, operation="create", method="POST"))
    emulator.add(naming(output_file_id="file-gone", error_file_id="file-gone-too"))
    job = await client.submit(["a"], model=CHAT)

    (row,) = await job.results()

    assert row.status is ResultStatus.ERRORED
    assert "Line 1 is no JSON" in row.error.message
    assert not row.error.retryable


async def test_answers_that_lie_where_they_are_not_fetched_are_paid_for_once(client, emulator):
    emulator.add(naming(output_file_id="ftp://files.example/out.jsonl?sig=SIGNED"))
    job = await client.submit(["a"], model=CHAT, retry="transient", max_attempts=3)

    (row,) = await job.results()

    assert (row.status, row.error.code, row.error.retryable) == (ResultStatus.MISSING, "answers_elsewhere", False)
    assert "SIGNED" not in row.error.message
    assert len([record for record in emulator.history if record.kind == "create"]) == 1
