"""What a job leaves at a provider: what its policy takes away, and what stays whatever the policy says."""

from contextlib import contextmanager, suppress

import pytest
from msgspec.structs import replace

from asyncbatch import BatchClient, BatchStatus, ConfigError, ProviderError, ResultStatus
from asyncbatch.emulator import faults
from asyncbatch.engine.tidying import Uploads, delete_orphans, find_orphans, tidy, uploads_of
from asyncbatch.journal import (
    Accepted,
    CreateIntended,
    CreateUnknown,
    Ended,
    Fenced,
    FenceIntended,
    Indeterminate,
    Refused,
    Retried,
    Settled,
    SubmissionRecord,
    SubmissionState,
    Uploaded,
    UploadIntended,
    Voided,
    Withdrawn,
)
from asyncbatch.journal.memory import MemoryJournal
from asyncbatch.planning.tidying import Known, Tidied
from asyncbatch.registry import BatchProviderRegistry
from tests.engine.waiting import turns, until

CHAT = "openai/gpt-4.1-mini"
DAY_S = 86_400
TAG = "ab1-6f1c0c0a-0-1-0123456789abcdef"


def upload(ref):
    return [UploadIntended(), Uploaded(input_ref=ref)]


def create(number=1):
    return [CreateIntended(mark=f"{TAG}{number}", at=0.0)]


LOST = [*create(), CreateUnknown(why="?")]


# Whose input is whose


@pytest.mark.parametrize(
    ("events", "used", "left"),
    [
        ([], [], []),
        ([UploadIntended(), Refused(why="full disk", is_final=True)], [], []),
        ([*upload(None), *create(), Accepted(provider_batch_id="b")], [], []),
        ([*upload("a"), *create(), Accepted(provider_batch_id="b")], ["a"], []),
        ([*upload("a"), Withdrawn()], [], ["a"]),
        ([*upload("a"), *create(), Refused(why="no", is_final=True)], [], ["a"]),
        ([*upload("a"), *create(), Refused(why="full", is_final=False), *create(2)], [], ["a"]),
        (
            [
                *upload("a"),
                Refused(why="stale", is_final=False),
                *upload("c"),
                *create(),
                Accepted(provider_batch_id="b"),
            ],
            ["c"],
            ["a"],
        ),
        (
            [*upload("a"), *LOST, FenceIntended(), Fenced(), *upload("c"), *create(2), Accepted(provider_batch_id="b")],
            ["c"],
            ["a"],
        ),
        ([*upload("a"), *LOST, FenceIntended(), Accepted(provider_batch_id="b"), Voided()], [], ["a"]),
        ([*upload("a"), *LOST, Accepted(provider_batch_id="b")], ["a"], []),
        ([*upload("a"), *LOST, Indeterminate(why="nobody knows")], [], []),
        (
            [
                *upload("a"),
                *LOST,
                Indeterminate(why="nobody knows"),
                Retried(requests=1, rows_bytes=0, is_by_hand=True),
                *upload("c"),
                *create(2),
                Accepted(provider_batch_id="b"),
            ],
            ["c"],
            [],
        ),
        (
            [
                *upload("a"),
                *create(),
                Accepted(provider_batch_id="b"),
                Ended(status=BatchStatus.EXPIRED),
                Retried(requests=1, rows_bytes=0),
                *upload("c"),
                *create(2),
                Accepted(provider_batch_id="d"),
                Ended(status=BatchStatus.COMPLETED),
                Settled(),
            ],
            ["a", "c"],
            [],
        ),
    ],
)
def test_an_input_is_used_left_over_or_held_back_as_evidence(events, used, left):
    assert uploads_of(events) == Uploads(used=tuple(used), left=tuple(left))


# What goes


@pytest.fixture
async def provider(emulator, runtime, catalog):
    async with BatchProviderRegistry().open(catalog=catalog, runtime=runtime) as scope:
        yield scope.create("openai")


@pytest.fixture
async def finish(emulator, runtime, catalog):
    """Take a job to its end; gives its only submission as the journal has it, and what happened to it."""

    async def run(requests):
        journal = MemoryJournal()
        async with BatchClient(runtime=runtime, catalog=catalog, journal=journal) as client:
            job = await client.submit(requests, model=CHAT, on_bad_row="reject")
            with suppress(ProviderError):  # of a job of which nothing could be sent
                await job.wait()
            (record,) = await journal.submissions(job.id)
            return record, await journal.events(job.id, 0)

    return run


def deleted(emulator):
    return sorted(item.object_id for item in emulator.history if item.kind == "delete")


def made(emulator, *kinds):
    return [item.object_id for item in emulator.history if item.kind in kinds]


async def left_of(provider):
    return {file.ref for file in (await provider.list_files()).files}


@pytest.mark.parametrize("cleanup", ["succeeded", "settled"])
async def test_a_batch_whose_requests_all_succeeded_leaves_nothing(provider, finish, emulator, cleanup):
    record, events = await finish(["a", "b"])
    there = await left_of(provider)
    done = await tidy(provider, record, events, cleanup)

    assert len(there) == 2
    assert (done.deleted, done.is_done) == (2, True)
    assert await left_of(provider) == set()


async def test_by_default_everything_stays(provider, finish, emulator):
    record, events = await finish(["a"])
    calls = len(emulator.history)

    assert await tidy(provider, record, events, "never") == Tidied()
    assert len(emulator.history) == calls


async def test_one_request_that_failed_keeps_everything_unless_the_policy_says_settled(provider, finish, emulator):
    record, events = await finish(["a", "[[error:400]]"])
    kept = await tidy(provider, record, events, "succeeded")
    before = deleted(emulator)
    done = await tidy(provider, record, events, "settled")

    assert record.outcomes == {"succeeded": 1, "errored": 1}
    assert (kept.deleted, before) == (0, [])
    assert done.deleted == 3, "the input, the answers, the errors"


async def test_answers_that_could_not_be_had_are_not_deleted_by_any_policy(provider, finish, emulator):
    emulator.add(faults.refuse(404, path="/files/*/content", method="GET", times=None))
    record, events = await finish(["a"])
    done = await tidy(provider, record, events, "settled")

    assert record.outcomes == {"missing": 1}
    assert done == Tidied()
    assert deleted(emulator) == []


async def test_tidying_may_be_repeated(provider, finish, emulator):
    record, events = await finish(["a"])
    done = [await tidy(provider, record, events, "succeeded") for _ in range(2)]

    assert [item.deleted for item in done] == [2, 0]
    assert all(item.is_done for item in done)


async def test_a_submission_on_its_way_loses_nothing(provider, finish, emulator):
    record, events = await finish(["a"])
    for state in SubmissionState:
        if state is not SubmissionState.SETTLED:
            assert await tidy(provider, replace(record, state=state), events, "settled") == Tidied()

    assert deleted(emulator) == []


async def test_a_batch_that_was_only_taken_for_ours_is_left_alone(provider, finish, emulator):
    record, events = await finish(["a"])

    assert await tidy(provider, replace(record, is_certain=False), events, "settled") == Tidied()
    assert deleted(emulator) == []


async def test_what_fails_is_told_and_takes_nothing_else_with_it(provider, finish, emulator, caplog):
    record, events = await finish(["a"])
    emulator.add(faults.refuse(403, method="GET", path="/batches/*", times=1))
    first = await tidy(provider, record, events, "succeeded")
    second = await tidy(provider, record, events, "succeeded")

    assert not first.is_done
    assert record.provider_batch_id in first.errors[0]
    assert first.deleted == 1, "the input, which the journal knows"
    assert "is not deleted" in caplog.text
    assert (second.deleted, second.is_done) == (1, True)


async def test_a_provider_that_fails_in_a_way_of_its_own_changes_nothing(provider, finish, monkeypatch):
    record, events = await finish(["a"])

    async def broken(_batch_id):
        raise RuntimeError("a bug of somebody else's")

    monkeypatch.setattr(provider, "delete_artifacts", broken)
    done = await tidy(provider, record, events, "succeeded")

    assert "a bug of somebody else's" in done.errors[0]


async def test_the_input_of_a_create_that_was_refused_for_good_goes_with_any_policy(provider, finish, emulator):
    emulator.add(faults.refuse(400, operation="create"))
    record, events = await finish(["a"])
    done = await tidy(provider, record, events, "succeeded")

    assert record.outcomes == {"errored": 1}
    assert done.deleted == 1
    assert deleted(emulator) == made(emulator, "upload")


async def test_the_input_of_a_create_that_nobody_can_find_stays(provider, finish, emulator):
    emulator.add(faults.drop(operation="create"), faults.refuse(403, operation="list", times=None))
    record, events = await finish(["a"])
    done = await tidy(provider, record, events, "settled")

    assert record.outcomes == {"indeterminate": 1}
    assert done == Tidied()
    assert deleted(emulator) == []


async def test_an_input_that_was_fenced_off_is_not_counted_twice(provider, finish, emulator):
    emulator.add(faults.drop(operation="create"))
    record, events = await finish(["a"])
    done = await tidy(provider, record, events, "succeeded")

    assert len(made(emulator, "upload")) == 2
    assert done.deleted == 2, "the second input and the answers; the fence had taken the first"
    assert await left_of(provider) == set()


async def test_the_batches_of_every_round_go_together(provider, finish, emulator):
    first, before = await finish(["a"])
    second, after = await finish(["b"])
    both = replace(second, earlier=(first.provider_batch_id,))
    events = [*before, Retried(requests=1, rows_bytes=0), *after]
    done = await tidy(provider, both, events, "succeeded")

    assert done.deleted == 4
    assert await left_of(provider) == set()


async def test_rows_are_ours_after_everything_remote_is_gone(provider, emulator, runtime, catalog, tmp_path):
    async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state") as client:
        job = await client.submit(["a"], model=CHAT)
        before = await job.results()
        batch_id = job.status().batches[0].provider_batch_id
        done = await tidy(
            provider,
            SubmissionRecord(
                index=0,
                request_count=1,
                state=SubmissionState.SETTLED,
                provider_batch_id=batch_id,
                outcomes={"succeeded": 1},
            ),
            [],
            "succeeded",
        )
    async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state") as client:
        after = await (await client.job(job.id)).results()

    assert done.deleted == 2
    assert [(row.status, row.text) for row in after] == [(row.status, row.text) for row in before]
    assert before[0].status is ResultStatus.SUCCEEDED


# What nobody knows, of whole jobs


async def test_a_job_of_another_directory_looks_like_an_orphan_and_ours_does_not(provider, finish, clock):
    ours, events = await finish(["a"])
    theirs, _ = await finish(["b"])
    clock.advance(3 * DAY_S)
    known = Known(
        tags=frozenset(event.mark for event in events if isinstance(event, CreateIntended)),
        inputs=frozenset(event.input_ref for event in events if isinstance(event, Uploaded)),
    )
    found = await find_orphans(provider, known, now=clock.now())
    done = await delete_orphans(provider, found, known)

    assert [orphan.ref for orphan in found.batches] == [theirs.provider_batch_id]
    assert found.files == ()
    assert done.deleted == 2
    assert (await provider.poll_status(ours.provider_batch_id)).status is BatchStatus.COMPLETED
    assert len(await left_of(provider)) == 2


# Wired into jobs


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    return lambda **options: BatchClient(
        runtime=runtime, catalog=catalog, journal=tmp_path / options.pop("at", "state"), **options
    )


@pytest.mark.parametrize(("options", "left"), [({}, 0), ({"cleanup": "settled"}, 0), ({"cleanup": "never"}, 2)])
async def test_a_job_takes_its_own_policy_or_that_of_its_client(open_client, provider, options, left):
    async with open_client(cleanup="succeeded") as client:
        job = await client.submit(["a"], model=CHAT, **options)
        rows = await job.results()

    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED]
    assert len(await left_of(provider)) == left


async def test_a_policy_goes_with_the_job_into_the_next_process(open_client, provider, emulator):
    async with open_client() as client:
        job = await client.submit(["a", "[[error:400]]"], model=CHAT, cleanup="settled")
        await job.submitted()
    async with open_client() as client:
        rows = await (await client.job(job.id)).results()

    assert await left_of(provider) == set()
    assert {row.status for row in rows} == {ResultStatus.SUCCEEDED, ResultStatus.ERRORED}


async def nothing(*_):
    """Do nothing more, as a process that died."""


@contextmanager
def as_if_it_died_after_its_outcomes(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("asyncbatch.engine.closing.Closing._tidy_up", nothing)
        patch.setattr("asyncbatch.engine.desk.Desk._let_go", nothing)
        yield


async def wishes_of(open_client):
    async with open_client(resume=False) as client:
        return [wish.word for wish in await client._journal.wishes()]


async def nothing_owed(client):
    for _ in turns():
        if not await client._journal.wishes():
            return
    raise AssertionError("something is still owed")


async def test_what_could_not_be_deleted_is_deleted_by_the_next_process(open_client, provider, emulator, clock):
    emulator.add(faults.refuse(403, operation="delete", times=None, for_s=60))
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT, cleanup="settled")
        await job.wait()
    owed, left = await wishes_of(open_client), await left_of(provider)
    clock.advance(60)
    async with open_client() as client:
        await nothing_owed(client)
        rows = await (await client.job(job.id)).results()

    assert (owed, len(left)) == (["tidy"], 2)
    assert await left_of(provider) == set()
    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED]


async def test_a_process_that_dies_between_its_outcomes_and_the_deletion_owes_it(open_client, provider, monkeypatch):
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT, cleanup="settled")
        with as_if_it_died_after_its_outcomes(monkeypatch):
            await job.wait()
            await client.aclose()
    left = await left_of(provider)
    async with open_client() as client:
        await nothing_owed(client)

    assert len(left) == 2
    assert await left_of(provider) == set()


async def test_a_key_that_is_gone_leaves_what_is_owed_for_later(open_client, provider, monkeypatch, caplog):
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT, cleanup="settled")
        with as_if_it_died_after_its_outcomes(monkeypatch):
            await job.wait()
            await client.aclose()
    with monkeypatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "another")
        async with open_client():
            await until(lambda: "stays there" in caplog.text)

    assert await wishes_of(open_client) == ["tidy"]
    assert len(await left_of(provider)) == 2


async def test_nothing_is_deleted_between_two_rounds(open_client, provider, emulator):
    async with open_client() as client:
        job = await client.submit(["a", "[[expire]] b"], model=CHAT, cleanup="settled", retry="expired", max_attempts=2)
        rows = await job.results()
    steps = [item.kind for item in emulator.history if item.kind in ("create", "delete")]

    assert len(rows) == 2
    assert await left_of(provider) == set()
    assert steps[:2] == ["create", "create"]
    assert "create" not in steps[2:]


async def test_a_job_is_tidied_by_hand_when_it_is_over(open_client, provider):
    async with open_client() as client:
        job = await client.submit(["[[stall]] a"], model=CHAT)
        await job.submitted()
        with pytest.raises(ConfigError, match="still running"):
            await job.tidy()
        await job.cancel()
        await job.wait()
        kept, done, again = await job.tidy("succeeded"), await job.tidy(), await job.tidy()

    assert (kept.deleted, again.deleted) == (0, 0)
    assert done.deleted > 0
    assert await left_of(provider) == set()


async def test_a_job_in_memory_is_not_tidied(runtime, catalog, emulator):
    with pytest.raises(ConfigError, match="a journal in memory"):
        BatchClient(runtime=runtime, catalog=catalog, cleanup="settled")
    async with BatchClient(runtime=runtime, catalog=catalog) as client:
        with pytest.raises(ConfigError, match="a journal in memory"):
            await client.submit(["a"], model=CHAT, cleanup="settled")
        job = await client.submit(["a"], model=CHAT)
        await job.wait()
        with pytest.raises(ConfigError, match="a journal in memory"):
            await job.tidy()
        with pytest.raises(ConfigError, match="cleanup is 'always'"):
            await client.submit(["a"], model=CHAT, cleanup="always")

    assert deleted(emulator) == []


async def test_orphans_are_those_that_no_job_of_this_directory_had(open_client, provider, clock):
    async with open_client(at="other") as other:
        theirs = await other.submit(["b"], model=CHAT)
        await theirs.wait()
    async with open_client() as client:
        await (await client.submit(["a"], model=CHAT)).wait()
        young = await client.orphans("openai")
        clock.advance(3 * DAY_S)
        found = await client.orphans("openai")
        done = await client.delete_orphans(found)
        after = await client.orphans("openai")

    assert [orphan.keeps for orphan in young.batches] == ["young"]
    assert [orphan.job for orphan in found.batches] == [theirs.id[:8]]
    assert (done.deleted, done.is_done) == (2, True)
    assert after.deletable == ()
    assert len(await left_of(provider)) == 2


async def test_files_go_by_themselves_when_the_job_says_so(open_client, provider):
    async with open_client() as client:
        words = {"input_expires_s": 3 * DAY_S, "output_expires_s": 2 * DAY_S}
        job = await client.submit(["a"], model=CHAT, options=words)
        await job.wait()
        with pytest.raises(ConfigError, match="output_expires_s"):
            await client.submit(["a"], model=CHAT, options={"output_expires_s": -1})

    async with open_client() as client:
        kept = (await (await client.job(job.id)).wait()).batches[0].provider_batch_id
    batch = await provider.poll_status(kept)
    ends = {file.ref: file.expires_at - file.created_at for file in (await provider.list_files()).files}
    assert ends[batch.input_ref] == 3 * DAY_S
    assert [ends[ref] for ref in ends if ref != batch.input_ref] == [2 * DAY_S]
