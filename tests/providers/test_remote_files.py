"""What lies at a provider, for each that is found by name: how long it stays, what deleting takes, and what nobody knows."""

import pytest

from asyncbatch import BatchStatus, ConfigError, InputMode, ProviderTransientError, SubmitSafety
from asyncbatch.emulator import faults
from asyncbatch.emulator.dialect import load_dialects
from asyncbatch.engine.tidying import delete_orphans, find_orphans
from asyncbatch.planning.marks import job_of_file
from asyncbatch.planning.tidying import Known
from tests.providers.contract import (
    FACTS,
    NAMES,
    every_fenced_way,
    every_provider,
    every_way,
    leaves,
    manners_of,
    mark_of,
    ways,
)
from tests.providers.world import DAY_S, JOB, dialect_of, world

WITH_FILES = [name for name in NAMES if InputMode.FILE in FACTS[name].inputs]
RETENTION = {name: FACTS[name].retention for name in NAMES}
KEPT = [name for name in WITH_FILES if RETENTION[name].input_s or RETENTION[name].input_expiry]
ASKS_INPUTS = [name for name in NAMES if RETENTION[name].input_expiry]
ASKS_OUTPUTS = [name for name in NAMES if RETENTION[name].output_expiry]
DIALECTS = {name: load_dialects()[dialect_of(name)] for name in NAMES}
NAMES_INPUTS = [
    name for name, dialect in DIALECTS.items() if dialect.family == "openai" or dialect.protocol.get("names_inputs")
]
NONCE = "0123456789abcdef"
TAG = f"ab1-{JOB.hex[:8]}-0-1-{NONCE}"
PERIOD_S = 10 * DAY_S
TAKEN_S = 15
"""An upload may take so long, where the service looks through it first."""

every_tagged_way = pytest.mark.parametrize(
    ("name", "way"),
    [case for case in ways(SubmitSafety.TAGGED, SubmitSafety.TAGGED_FENCED) if mark_of(case.values[0]) == "tag"],
)


def that_leave(marked):
    """Give the ways of these in which anything of a batch can be deleted."""
    return pytest.mark.parametrize(
        ("name", "way"), [case for case in marked.args[1] if leaves(*getattr(case, "values", case))]
    )


every_provider_of_files = pytest.mark.parametrize("name", WITH_FILES)


def other_tag(number):
    return f"ab1-{number:08x}-0-1-{NONCE}"


async def files_of(here):
    """Give every file that the provider lists, by its name."""
    found, cursor = [], None
    while True:
        page = await here.provider.list_files(cursor=cursor)
        found += page.files
        cursor = page.cursor
        if cursor is None:
            return {file.ref: file for file in found}


def tells_lies(name):
    """Say whether the service answers as done whatever it is asked to delete."""
    return bool(manners_of(name).get("deletes_anything"))


def pass_enough(here):
    """Let enough time pass for a batch to end; where its input can stay for no longer than that, too little for both."""
    facts = here.provider.facts
    expiry = facts.retention.input_expiry
    is_short = expiry is not None and expiry.most_s is not None and expiry.most_s <= facts.window_s
    here.clock.advance((0.5 if is_short else 1.5) * facts.window_s)


async def uploaded(here, **options):
    return await here.provider.upload(await here.prepare_one(["a"], input_mode="file", **options))


# How long an upload stays


@pytest.mark.parametrize("name", KEPT)
async def test_an_upload_tells_when_it_goes_and_it_is_so(name):
    async with world(name, InputMode.FILE) as here:
        sent = await uploaded(here)
        (file,) = (await files_of(here)).values()
        kept_s = sent.input_expires_at - here.clock.now()

    expiry = RETENTION[name].input_expiry
    asked_s = expiry.asked_s if expiry and expiry.asked_s else RETENTION[name].input_s
    assert kept_s == pytest.approx(asked_s, abs=TAKEN_S)
    assert file.ref == sent.input_ref
    assert file.expires_at == pytest.approx(sent.input_expires_at, abs=1)


@every_provider_of_files
async def test_an_upload_outlives_the_day_in_which_its_create_may_wait_and_the_window_of_its_batch(name):
    async with world(name, InputMode.FILE) as here:
        sent = await uploaded(here)
        here.clock.advance(DAY_S - 60)
        batch = await here.provider.create(sent)
        status = await here.end(batch.provider_batch_id)

    assert status.status is BatchStatus.COMPLETED


@pytest.mark.parametrize("name", ASKS_INPUTS)
async def test_an_upload_goes_when_it_was_asked_to(name):
    asked_s = max(2 * DAY_S, FACTS[name].window_s, RETENTION[name].input_expiry.least_s)
    async with world(name, InputMode.FILE) as here:
        sent = await uploaded(here, options={"input_expires_s": asked_s})
        before = list(await files_of(here))
        here.clock.advance(asked_s + 60)
        after = list(await files_of(here))
        kept_s = sent.input_expires_at - here.clock.now() + asked_s + 60

    assert kept_s == pytest.approx(asked_s, abs=TAKEN_S)
    assert (before, after) == ([sent.input_ref], [])


@pytest.mark.parametrize("name", ASKS_INPUTS)
async def test_nothing_is_asked_for_where_the_caller_says_none(name):
    async with world(name, InputMode.FILE) as here:
        await uploaded(here, options={"input_expires_s": None})
        (file,) = (await files_of(here)).values()
        kept_s = RETENTION[name].input_s
        expected = None if kept_s is None else pytest.approx(here.clock.now() + kept_s, abs=5)

    assert file.expires_at == expected


@pytest.mark.parametrize("name", ASKS_OUTPUTS)
async def test_answers_go_when_they_were_asked_to_and_stay_otherwise(name):
    least = RETENTION[name].output_expiry.least_s
    async with world(name) as here:
        batches = [
            await here.start(["a"], options=options) for options in ({"output_expires_s": least}, {"metadata": {}})
        ]
        ends = [await here.end(batch.provider_batch_id) for batch in batches]
        here.clock.advance(least)
        there = await files_of(here)

    assert [{uri in there for uri in end.result_uris} for end in ends] == [{False}, {True}]


@pytest.mark.parametrize(
    ("name", "word"),
    [(name, "input_expires_s") for name in NAMES if name not in ASKS_INPUTS]
    + [(name, "output_expires_s") for name in NAMES if name not in ASKS_OUTPUTS],
)
async def test_a_provider_that_cannot_be_asked_says_so_before_anything_is_sent(name, word):
    async with world(name) as here:
        with pytest.raises(ConfigError, match=name) as caught:
            await here.prepare(["a"], options={word: 2 * DAY_S - 1})
        history = here.emulator.history

    assert caught.value.code == "expiry.unsupported"
    assert "by itself" in caught.value.hint or "leave" in caught.value.hint
    assert history == []


@every_way
async def test_our_words_for_the_stay_of_files_never_travel(name, way):
    options = {"input_expires_s": None, "output_expires_s": None}
    async with world(name, way) as here:
        status, rows = await here.run(["a"], options=options)

    assert status.status is BatchStatus.COMPLETED, "a service refuses words that it does not know"
    assert len(rows) == 1


@pytest.mark.parametrize("name", [name for name in WITH_FILES if InputMode.INLINE in FACTS[name].inputs])
async def test_requests_whose_stay_is_limited_travel_in_a_file(name):
    asked = {"input_expires_s": max(PERIOD_S, FACTS[name].window_s)}
    async with world(name) as here:
        (small,) = await here.prepare(["a"], input_mode="auto", options=asked)
        with pytest.raises(ConfigError, match="inline") as caught:
            await here.prepare(["a"], input_mode="inline", options=asked)

    assert not small.is_inline
    assert caught.value.code == "expiry.unsupported"


# What it is called, and what lists show


@every_provider_of_files
async def test_an_upload_carries_our_mark_in_its_name_and_nothing_of_the_users(name):
    async with world(name, InputMode.FILE) as here:
        await uploaded(here)
        (file,) = (await files_of(here)).values()

    assert job_of_file(file.name) == JOB.hex[:8]
    assert file.name == f"ab1-{JOB.hex[:8]}-0000.jsonl"


@every_provider_of_files
async def test_the_list_of_files_is_walked_page_by_page(name):
    async with world(name, InputMode.FILE, facts={"limits": {"list_page": 2}}) as here:
        sent = []
        for _ in range(5):
            sent.append((await uploaded(here)).input_ref)
            here.clock.advance(10)
        pages, cursor = [], None
        for _ in range(5):
            page = await here.provider.list_files(cursor=cursor, limit=2)
            pages.append([file.ref for file in page.files])
            cursor = page.cursor
            if cursor is None:
                break

    assert [len(page) for page in pages] == ([2, 2, 1] if FACTS[name].wire.pages else [5])
    assert sorted(ref for page in pages for ref in page) == sorted(sent)
    assert cursor is None


@every_provider_of_files
async def test_an_empty_account_lists_nothing(name):
    async with world(name) as here:
        page = await here.provider.list_files()

    assert (page.files, page.cursor) == ((), None)


@every_tagged_way
async def test_a_batch_shows_our_tag(name, way):
    async with world(name, way) as here:
        await here.start(["a"], tag=TAG)
        await here.start(["a"])
        (untagged, tagged) = (await here.provider.list_statuses()).statuses

    assert here.provider.tag_of(tagged) == TAG
    assert here.provider.tag_of(untagged) != TAG


# Deleting


@every_provider_of_files
async def test_a_file_is_deleted_once_and_may_be_asked_for_again(name):
    async with world(name, InputMode.FILE) as here:
        sent = await uploaded(here)
        deleted = [await here.provider.delete_file(sent.input_ref) for _ in range(2)]
        left = await files_of(here)

    assert deleted == [True, tells_lies(name)]
    assert left == {}


@every_way
async def test_deleting_a_batch_that_runs_takes_nothing(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.delete_artifacts(batch.provider_batch_id)
        deleted = here.accepted("delete")
        status, rows = await here.end(batch.provider_batch_id), await here.rows(batch.provider_batch_id)

    assert caught.value.code == "not_ended"
    assert deleted == []
    assert (status.status, len(rows)) == (BatchStatus.COMPLETED, 1)


@that_leave(every_way)
async def test_deleting_leaves_nothing_of_a_batch_and_nobody_elses(name, way):
    async with world(name, way) as here:
        ours, theirs = [await here.start(["a", "[[error:400]]"]) for _ in range(2)]
        pass_enough(here)
        first = await here.provider.delete_artifacts(ours.provider_batch_id)
        again = await here.provider.delete_artifacts(ours.provider_batch_id)
        rows = await here.rows(theirs.provider_batch_id)
        status = await here.provider.poll_status(theirs.provider_batch_id)
        left = set(await files_of(here)) if name in WITH_FILES else set()

    assert first >= 1
    assert again == (first if tells_lies(name) else 0)
    assert len(rows) == 2
    named = {place for place in (status.input_ref, *status.result_uris) if place}
    assert left <= named, "files of the other batch alone"


@every_way
async def test_a_batch_that_is_not_there_has_nothing_to_delete(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a"])
        here.emulator.reset()

        assert await here.provider.delete_artifacts(batch.provider_batch_id) == 0


# Orphans


async def orphans(here, *, older_than_s=2 * DAY_S, **known):
    given = Known(**{key: frozenset(value) for key, value in known.items()})
    return await find_orphans(here.provider, given, now=here.clock.now(), older_than_s=older_than_s)


@that_leave(every_tagged_way)
async def test_a_batch_of_ours_that_nobody_knows_is_found_and_one_that_is_known_is_not(name, way):
    async with world(name, way) as here:
        lost = await here.start(["a", "b"], tag=TAG)
        known = await here.start(["a"], tag=other_tag(1))
        named = await here.start(["a"], tag=other_tag(2))
        await here.start(["a"])
        await here.start(["a"], tag="mine")
        pass_enough(here)
        found = await orphans(here, tags=[other_tag(1)], batches=[named.provider_batch_id])

    (orphan,) = found.batches
    assert (orphan.ref, orphan.mark, orphan.job) == (lost.provider_batch_id, TAG, JOB.hex[:8])
    assert known.provider_batch_id != orphan.ref
    assert orphan.status is BatchStatus.COMPLETED


@every_tagged_way
async def test_an_orphan_that_runs_is_shown_and_neither_it_nor_its_input_is_deleted(name, way):
    async with world(name, way, pace={"row_s": 10_000.0, "run_cap_s": None}) as here:
        batch = await here.start(["a"], tag=TAG)
        found = await orphans(here, older_than_s=0)
        done = await delete_orphans(here.provider, found, Known())
        deleted = here.accepted("delete")

    assert [(orphan.ref, orphan.keeps) for orphan in found.batches] == [(batch.provider_batch_id, "running")]
    assert all(orphan.keeps for orphan in found.files)
    assert (done.deleted, done.errors, deleted) == (0, (), [])


@that_leave(every_tagged_way)
async def test_an_orphan_is_deleted_with_its_files_and_not_found_again(name, way):
    async with world(name, way) as here:
        await here.start(["a", "[[error:400]]"], tag=TAG)
        kept = await here.start(["a"], tag=other_tag(1))
        pass_enough(here)
        found = await orphans(here, older_than_s=0, tags=[other_tag(1)])
        done = await delete_orphans(here.provider, found, Known())
        again = await orphans(here, older_than_s=0, tags=[other_tag(1)])
        rows = await here.rows(kept.provider_batch_id)

    assert len(found.deletable) >= 1
    assert done.deleted >= 1
    assert done.is_done
    assert [orphan.ref for orphan in again.batches if orphan.job == JOB.hex[:8]] == []
    assert len(rows) == 1


@that_leave(every_tagged_way)
async def test_what_has_just_ended_is_too_young(name, way):
    async with world(name, way) as here:
        await here.start(["a"], tag=TAG)
        pass_enough(here)
        ended = await orphans(here, older_than_s=PERIOD_S + FACTS[name].window_s)
        done = await delete_orphans(here.provider, ended, Known())

    assert {orphan.keeps for orphan in (*ended.batches, *ended.files)} == {"young"}
    assert done.deleted == 0


@that_leave(every_fenced_way)
async def test_an_upload_of_which_nobody_knows_is_found_by_its_name(name, way):
    """As a process leaves it that dies between an upload and its answer, or one whose job was forgotten."""
    async with world(name, way) as here:
        sent = await here.provider.upload(await here.prepare_one(["a"]))
        here.clock.advance(DAY_S)
        found = await orphans(here, older_than_s=DAY_S / 2)
        goes_on = await orphans(here, older_than_s=DAY_S / 2, open_jobs=[JOB.hex[:8]])
        young = await orphans(here, older_than_s=2 * DAY_S)
        done = await delete_orphans(here.provider, found, Known())
        left = await files_of(here)

    assert [(orphan.ref, orphan.job, orphan.keeps) for orphan in found.files] == [(sent.input_ref, JOB.hex[:8], None)]
    assert [orphan.keeps for orphan in (*goes_on.files, *young.files)] == ["open_job", "young"]
    assert (done.deleted, left) == (1, {})


@every_fenced_way
async def test_an_upload_that_is_known_or_named_by_somebody_else_is_no_orphan(name, way):
    async with world(name, way) as here:
        sent = await here.provider.upload(await here.prepare_one(["a"]))
        here.clock.advance(DAY_S)
        known = await orphans(here, older_than_s=0, inputs=[sent.input_ref])

    assert known.files == ()


@every_fenced_way
async def test_what_the_journal_has_come_to_know_meanwhile_stays(name, way):
    async with world(name, way) as here:
        batch = await here.start(["a"], tag=TAG)
        sent = await here.provider.upload(await here.prepare_one(["b"]))
        pass_enough(here)
        found = await orphans(here, older_than_s=0)
        inputs = [sent.input_ref, (await here.provider.poll_status(batch.provider_batch_id)).input_ref]
        by_tag = Known(tags=frozenset({TAG}), inputs=frozenset(filter(None, inputs)))
        by_name = Known(batches=frozenset({batch.provider_batch_id}), inputs=by_tag.inputs)
        by_input = Known(inputs=by_tag.inputs | by_name.batches)  # where requests are added to what was made before
        by_job = Known(open_jobs=frozenset({JOB.hex[:8]}))
        all_known = (by_tag, by_name, by_input, by_job)
        deleted = [(await delete_orphans(here.provider, found, known)).deleted for known in all_known]

    assert deleted == [0, 0, 0, 0]
    assert here.accepted("delete") == []


@every_provider
async def test_what_cannot_be_looked_at_is_said(name):
    async with world(name) as here:
        await here.start(["a"], tag=TAG)
        pass_enough(here)
        found = await orphans(here, older_than_s=0)
        is_listed = bool(here.calls("list"))

    is_marked = bool(found.batches)
    assert is_listed == (is_marked or name in NAMES_INPUTS), "a list that can tell nothing is not read"
    assert any("no mark" in note for note in found.notes) == (not is_marked)
    assert any("no list of files" in note for note in found.notes) == (name not in WITH_FILES)


@pytest.mark.parametrize("name", NAMES_INPUTS)
async def test_the_input_of_a_batch_that_runs_is_no_orphan_though_nobody_knows_the_batch(name):
    async with world(name, InputMode.FILE) as here:
        running = await uploaded(here)
        await here.provider.create(running)
        lost = await uploaded(here)
        found = await orphans(here, older_than_s=0)

    assert [file.ref for file in found.files] == [lost.input_ref]


@that_leave(every_tagged_way)
async def test_a_deletion_that_fails_takes_no_other_with_it_and_is_told(name, way):
    async with world(name, way) as here:
        for number in range(2):
            await here.start(["a"], tag=other_tag(number))
        pass_enough(here)
        found = await orphans(here, older_than_s=0)
        here.emulator.add(faults.refuse(403, method="DELETE", times=1))
        done = await delete_orphans(here.provider, found, Known())
        later = await delete_orphans(here.provider, found, Known())

    assert done.deleted + later.deleted >= 2
    assert later.is_done


@every_tagged_way
async def test_a_list_that_never_ends_is_given_up(name, way):
    async with world(name, way, faults=[faults.endless_list()], facts={"limits": {"list_page": 1}}) as here:
        for number in range(2):
            await here.start(["a"], tag=other_tag(number))
        code = ""
        try:
            await orphans(here)
        except ProviderTransientError as error:
            code = error.code

    assert code in ("endless_list", "")
    assert len(here.calls("list")) <= 4


@pytest.mark.parametrize(
    "name", [name for name in KEPT if RETENTION[name].input_s and RETENTION[name].output_s and mark_of(name) == "tag"]
)
async def test_the_list_is_not_read_further_back_than_anything_can_lie_there(name):
    kept = max(RETENTION[name].input_s, RETENTION[name].output_s)
    async with world(name, facts={"limits": {"list_page": 1}}) as here:
        for number in range(4):
            await here.start(["a"], tag=other_tag(number))
        here.clock.advance(kept + FACTS[name].window_s + 2 * DAY_S)
        found = await orphans(here)

    assert found.batches == ()
    assert len(here.calls("list")) == 1
