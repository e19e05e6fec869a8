"""A job that another process has, followed: what is read of it is right, and a journal that is busy is met again."""

import pytest

from asyncbatch import BatchClient, ConfigError, JournalError, ResultStatus
from asyncbatch.emulator import faults
from asyncbatch.journal.sqlite import SqliteJournal
from tests.engine.flaky import creates, outcomes, rows
from tests.engine.gates import hold
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
S = ResultStatus


@pytest.fixture
def limits():
    return {"requests": 2}


@pytest.fixture
def answered_by(flaky):
    return flaky


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    given = {"runtime": runtime, "catalog": catalog, "journal": tmp_path / "state"}
    return lambda **options: BatchClient(**{**given, **options})


class Busy:
    """A question to the journal that is answered only when it is not busy.

    Attributes:
        met: How often it was asked in vain.
    """

    def __init__(self, ask):
        self._ask = ask
        self.met = 0
        self.is_over = False

    async def __call__(self):
        if self.is_over:
            return await self._ask()
        self.met += 1
        raise JournalError("the journal is busy", code="journal.busy")


def make_busy(client, question):
    busy = Busy(getattr(client._journal, question))
    setattr(client._journal, question, busy)
    return busy


async def test_a_job_that_was_lost_over_a_busy_journal_is_followed_anew_when_it_is_asked_for(
    open_client, emulator, tmp_path, runtime
):
    emulator.add(faults.refuse(503, operation="upload", times=None, for_s=1000))
    async with open_client() as client:
        job = await client.submit(rows("a"), model=CHAT)
    owner = SqliteJournal(tmp_path / "state", runtime)
    await owner.open()
    assert await owner.claim(job.id)

    async with open_client(resume=False) as other:
        busy = make_busy(other, "version")
        followed = await other.job(job.id)
        with pytest.raises(JournalError, match="busy"):
            await followed.wait()
        is_followed_still = other.follows(job.id)
        busy.is_over = True
        again = await other.job(job.id)
        is_followed_again = other.follows(job.id)
        await owner.close()
        found = await outcomes(again)

    assert (is_followed_still, is_followed_again) == (False, True)
    assert found == [("r0", S.SUCCEEDED, "echo: a")]


@pytest.mark.parametrize("question", ["version", "wishes"])
async def test_a_process_that_met_a_busy_journal_hears_what_others_ask_for_all_the_same(
    open_client, emulator, question
):
    async with open_client() as client:
        upload = hold(await client._payers.of("openai", None), "upload")
        job = await client.submit(rows("a"), model=CHAT)
        await upload.reached.wait()  # and nothing else is written to the journal meanwhile
        busy = make_busy(client, question)
        await client._journal.wish(job.id, "cancel")
        await until(lambda: busy.met >= 2)
        busy.is_over = True
        await until(lambda: job.status().cancel_asked)
        upload.open()
        found = await outcomes(job)

    assert [status for _, status, _ in found] == [S.CANCELLED]
    assert creates(emulator) == []


async def take(stream, rows):
    """Read to the end, or as far as it goes."""
    async for row in stream:
        rows.append(row)


async def test_whoever_reads_a_followed_job_is_told_that_some_of_it_was_sent_again(open_client):
    async with open_client() as one, open_client() as two:
        second_part = hold(
            await one._payers.of("openai", None), "upload", lambda submission: submission.chunk_index == 1
        )
        job = await one.submit(rows("a", "b fails 1", "c", "d"), model=CHAT)
        followed = await two.job(job.id)
        stream = aiter(followed.results())
        first = [await anext(stream) for _ in range(2)]
        looking = hold(two._journal, "version")
        await looking.met_by(2)  # it looks after the job, and after what others ask for
        second_part.open()
        await job.wait()
        await job.retry(only="errored")
        await job.wait()
        looking.open()
        rest = []
        with pytest.raises(ConfigError, match="sent again while its rows were read"):
            await take(stream, rest)
        found = await outcomes(followed)

    assert {row.request_id: row.status for row in first} == {"r0": S.SUCCEEDED, "r1": S.ERRORED}
    assert not {row.request_id for row in rest} & {"r0", "r1"}
    assert sorted(found) == [(f"r{n}", S.SUCCEEDED, f"echo: {name}") for n, name in enumerate("abcd")]
