"""The journal in memory: what was accepted can be asked for, and a change that cannot follow changes nothing."""

import pytest

from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import JournalError
from asyncbatch.journal import Accepted, JobRecord, MemoryJournal, SubmissionRecord, SubmissionState, UploadIntended


def job(job_id: str = "job-1") -> JobRecord:
    return JobRecord(
        job_id=job_id,
        provider="openai",
        model="gpt-4.1-mini",
        mode=BatchMode.CHAT,
        endpoint="/v1/chat/completions",
        account="team",
        fingerprint="0123456789abcdef",
        created_at=7.0,
        request_count=3,
    )


PARTS = (SubmissionRecord(index=0, request_count=2), SubmissionRecord(index=1, request_count=1))


@pytest.fixture
async def journal() -> MemoryJournal:
    journal = MemoryJournal()
    await journal.accept(job(), PARTS)
    return journal


async def test_what_was_accepted_can_be_asked_for(journal):
    assert await journal.job("job-1") == job()
    assert await journal.submissions("job-1") == PARTS
    assert await journal.events("job-1", 0) == ()


async def test_a_move_changes_its_own_submission_and_is_kept(journal):
    moved = await journal.move("job-1", 1, UploadIntended())

    assert moved.state is SubmissionState.UPLOADING
    assert await journal.submissions("job-1") == (PARTS[0], moved)
    assert await journal.events("job-1", 1) == (UploadIntended(),)
    assert await journal.events("job-1", 0) == ()


async def test_an_illegal_move_changes_nothing(journal):
    with pytest.raises(JournalError, match="cannot follow"):
        await journal.move("job-1", 0, Accepted(provider_batch_id="b"))

    assert await journal.submissions("job-1") == PARTS
    assert await journal.events("job-1", 0) == ()


async def test_a_job_is_accepted_once(journal):
    with pytest.raises(JournalError, match="job-1 was accepted before") as caught:
        await journal.accept(job(), ())

    assert caught.value.code == "journal.job_exists"
    assert await journal.submissions("job-1") == PARTS


async def test_nobody_moves_a_job_that_was_never_accepted(journal):
    with pytest.raises(JournalError, match="there is no job job-2") as caught:
        await journal.move("job-2", 0, UploadIntended())

    assert caught.value.code == "journal.no_job"


async def test_a_forgotten_job_is_gone_and_its_neighbour_is_not(journal):
    await journal.accept(job("job-2"), PARTS)
    await journal.move("job-1", 0, UploadIntended())

    await journal.forget("job-1")
    await journal.forget("job-1")

    assert await journal.job("job-1") is None
    assert await journal.submissions("job-1") == ()
    assert await journal.events("job-1", 0) == ()
    assert await journal.job("job-2") == job("job-2")
