"""Every journal, in memory and on disk: what was accepted can be asked for, and what cannot follow changes nothing."""

import msgspec
import pytest

from asyncbatch.enums import BatchMode, BatchStatus
from asyncbatch.exceptions import ConfigError, JournalError
from asyncbatch.journal import (
    Accepted,
    Confirmed,
    CreateIntended,
    Ended,
    JobRecord,
    Journal,
    MemoryJournal,
    Payer,
    Retried,
    Settled,
    SubmissionRecord,
    SubmissionState,
    Uploaded,
    UploadIntended,
    journal_at,
)
from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.planning.budgets import Spent
from asyncbatch.runtime import Runtime


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


@pytest.fixture(params=["in memory", "on disk"])
async def journal(request, tmp_path) -> Journal:
    journal = MemoryJournal() if request.param == "in memory" else SqliteJournal(tmp_path / "state", Runtime())
    await journal.open()
    await journal.accept(job(), PARTS)
    yield journal
    await journal.close()


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


async def test_jobs_are_found_by_key_by_age_and_by_what_is_left_to_do(journal):
    parts = [SubmissionRecord(index=0, request_count=3, provider_batch_id="b", state=SubmissionState.SETTLED)]
    older = msgspec.structs.replace(job("job-0"), key="nightly", created_at=6.0)
    await journal.accept(older, parts)

    assert await journal.jobs() == (older, job())
    assert await journal.jobs(unfinished=True) == (job(),)
    assert (await journal.job_of("nightly"), await journal.job_of("weekly")) == (older, None)
    assert await journal.batches() == {"b"}
    assert await journal.strays() == ()
    with pytest.raises(JournalError, match="key 'nightly'") as caught:
        await journal.accept(msgspec.structs.replace(job("job-3"), key="nightly"), parts)
    assert caught.value.code == "journal.key_exists"


async def test_the_version_differs_after_a_change(journal):
    before = await journal.version()
    await journal.move("job-1", 0, UploadIntended())

    assert await journal.version() != before


async def test_large_bodies_of_a_job_have_a_place_where_they_outlive_the_client(journal):
    place = await journal.make_place("job-1")

    assert place == journal.place("job-1")
    assert place is None or place.is_dir()


async def test_a_journal_is_meant_by_itself_by_its_directory_or_as_the_one_in_memory(journal, tmp_path):
    runtime = Runtime()

    assert journal_at(journal, runtime) is journal
    assert isinstance(journal_at("memory", runtime), MemoryJournal)
    assert isinstance(journal_at(tmp_path, runtime), SqliteJournal)
    assert isinstance(journal_at(str(tmp_path), runtime), SqliteJournal)
    for nowhere in ("", 7, ["here"]):
        with pytest.raises(ConfigError, match="it is a directory"):
            journal_at(nowhere, runtime)


async def test_a_job_is_claimed_released_and_claimed_again(journal):
    await journal.release("job-1")

    assert await journal.claim("job-1") is True
    await journal.move("job-1", 0, UploadIntended())


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


async def test_a_wish_stays_until_it_is_granted_and_goes_with_its_job(journal):
    await journal.wish("job-1", "cancel")
    await journal.wish("job-1", "tidy")
    first, second = await journal.wishes()
    await journal.grant(first)
    await journal.grant(first)

    assert (first.word, second.word) == ("cancel", "tidy")
    assert await journal.wishes() == (second,)
    await journal.forget("job-1")
    assert await journal.wishes() == ()
    with pytest.raises(JournalError, match="no job"):
        await journal.wish("job-1", "cancel")


async def test_a_webhook_is_new_once_and_again_after_four_days(journal):
    now = 1_800_000_000.0

    assert [await journal.saw(name, now) for name in ("msg-1", "msg-2", "msg-1")] == [True, True, False]
    assert await journal.saw("msg-1", now + 345_600.0) is False
    assert [await journal.saw(name, now + 345_601.0) for name in ("msg-1", "msg-1", "msg-2")] == [True, False, True]


async def test_a_batch_leads_to_its_job_in_every_state_and_to_nobody_elses(journal):
    before = await journal.job_of_batch("openai", "b")
    for event in (UploadIntended(), Uploaded(input_ref="f"), CreateIntended(mark="m", at=1.0)):
        await journal.move("job-1", 0, event)
    await journal.move("job-1", 0, Accepted(provider_batch_id="b", is_certain=False))
    found = [await journal.job_of_batch("openai", "b")]
    for event in (Confirmed(), Ended(status=BatchStatus.EXPIRED), Retried(requests=1, rows_bytes=0)):
        await journal.move("job-1", 0, event)
        found.append(await journal.job_of_batch("openai", "b"))

    assert before is None
    assert found == ["job-1"] * 4
    assert await journal.job_of_batch("mistral", "b") is None
    await journal.forget("job-1")
    assert await journal.job_of_batch("openai", "b") is None


async def test_memory_keeps_the_latest_webhooks_however_many_come(monkeypatch):
    monkeypatch.setattr("asyncbatch.journal.memory._MOST_SEEN", 3)
    journal = MemoryJournal()

    assert all([await journal.saw(f"msg-{number}", 1.0) for number in range(5)])
    assert [await journal.saw(f"msg-{number}", 1.0) for number in (4, 3, 2, 1)] == [False, False, False, True]


# What is open, and what was used


OPENING = (UploadIntended(), Uploaded(input_ref="f"), CreateIntended(mark="m", at=8.0), Accepted(provider_batch_id="b"))
WHO = Payer("openai", "0123456789abcdef")


async def test_what_a_payer_has_open_is_what_may_have_a_batch_that_is_not_over(journal):
    before = await journal.opened(WHO)
    for event in OPENING[:3]:
        await journal.move("job-1", 0, event)
    creating = await journal.opened(WHO)
    await journal.move("job-1", 0, OPENING[3])
    submitted = await journal.opened(WHO)
    others = await journal.opened(Payer("openai", "another")), await journal.opened(Payer("mistral", WHO.fingerprint))
    await journal.move("job-1", 0, Ended(status=BatchStatus.COMPLETED))

    assert (before, others) == ((), ((), ()))
    assert [(item.job_id, item.model, item.record.index) for item in creating] == [("job-1", "gpt-4.1-mini", 0)]
    assert submitted[0].record.provider_batch_id == "b"
    assert await journal.opened(WHO) == ()


async def test_payers_without_a_fingerprint_are_told_apart_by_their_accounts(journal):
    for name in ("acme", "other"):
        record = msgspec.structs.replace(job(name), account=name, fingerprint="")
        await journal.accept(record, PARTS[:1])
        for event in (*OPENING[:2], CreateIntended(mark=name, at=8.0)):
            await journal.move(name, 0, event)

    assert [item.job_id for item in await journal.opened(Payer("openai", "", "acme"))] == ["acme"]
    assert await journal.opened(Payer("openai", "", None)) == ()


async def test_what_is_not_settled_of_an_account_can_be_asked_for(journal):
    assert [item.record for item in await journal.unsettled("team")] == list(PARTS)
    assert await journal.unsettled(None) == ()


async def test_a_job_counts_for_its_estimate_until_its_answers_are_counted(journal):
    record = msgspec.structs.replace(
        job("job-2"), created_at=9.0, tokens=90, usd=3.0, rejected_count=1, request_count=4
    )
    await journal.accept(record, PARTS)
    before = await journal.spent("team", 8.0)
    for event in (*OPENING[:2], CreateIntended(mark="n", at=8.0), Accepted(provider_batch_id="c")):
        await journal.move("job-2", 0, event)
    await journal.move("job-2", 0, Ended(status=BatchStatus.COMPLETED))
    await journal.move("job-2", 0, Settled(usage=(20, 5, 7)))

    assert before == (Spent(at=9.0, provider="openai", model="gpt-4.1-mini", requests=3, tokens=90, usd=3.0),)
    assert await journal.spent("team", 8.0) == (
        Spent(at=9.0, provider="openai", model="gpt-4.1-mini", requests=3, tokens=30, usd=1.0, usage=(20, 5, 7)),
    )
    assert [item.at for item in await journal.spent("team", 6.0)] == [7.0, 9.0]
    assert await journal.spent("nobody", 6.0) == ()


async def test_a_job_that_is_forgotten_counts_on_for_its_day(journal):
    now = Runtime().now()
    for number, at in enumerate((now - 2 * 86_400, now - 60, now)):
        await journal.accept(msgspec.structs.replace(job(f"day-{number}"), created_at=at), ())
        await journal.forget(f"day-{number}")
    await journal.forget("day-0")

    assert [round(now - item.at) for item in await journal.spent("team", now - 86_400)] == [60, 0]
    assert await journal.spent("other", 0.0) == ()


async def test_a_job_that_is_not_allowed_is_not_accepted(journal):
    heard = []

    def allow(spent):
        heard.append(len(spent))
        raise ValueError("too much")

    with pytest.raises(ValueError, match="too much"):
        await journal.accept(job("job-2"), PARTS, allow)
    await journal.accept(job("job-3"), PARTS, lambda spent: heard.append(len(spent)))

    assert heard == [1, 1]
    assert await journal.job("job-2") is None
    assert await journal.job("job-3") is not None
