"""Pages of rows and single rows, for whoever comes back: to this process, to another one, or after a restart."""

import random
import threading
import time

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from asyncbatch import BatchClient, ClientClosedError, ConfigError, JournalError, ProviderError, ResultStatus, job_pages
from asyncbatch.codec.cursors import Cursor, encode_cursor
from asyncbatch.emulator import faults
from asyncbatch.spool import SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime
from tests.engine.flaky import rows
from tests.engine.gates import until_anybodys
from tests.engine.journals import Blind, Slow
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
NAN = {"messages": [{"role": "user", "content": "hot?"}], "temperature": float("nan")}
S = ResultStatus


@pytest.fixture
def answered_by(flaky):
    return flaky


@pytest.fixture
def limits():
    return {"requests": 3}


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    def make(**options):
        return BatchClient(**{"runtime": runtime, "catalog": catalog, "journal": tmp_path / "state"} | options)

    return make


def short(row):
    return row.request_id, row.status, row.text


async def all_pages(job, **how):
    """Read to the end of what is final now, page by page; gives the pages."""
    pages, after = [], None
    while True:
        page = job.results(after=after, **how)
        found = await page
        if not found:
            return pages
        pages.append([short(row) for row in found])
        after = page.cursor
        if page.is_over:
            return pages


async def row_sets(job):
    """What there is, told by iteration."""
    return sorted([short(row) async for row in job.results()])


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
@pytest.mark.parametrize("is_kept", [False, True], ids=["memory", "read back"])
async def test_the_pages_together_have_each_request_once(open_client, tmp_path, limit, is_kept):
    given = [NAN if n in (0, 4, 5, 9) else f"row {n}" for n in range(10)]
    journal = tmp_path / "state" if is_kept else "memory"
    async with open_client(journal=journal) as client:
        job = await client.submit(given, model=CHAT, on_bad_row="reject")
        whole = await row_sets(job)
        pages = await all_pages(job, limit=limit)
    if is_kept:
        async with open_client() as client:
            pages = await all_pages(await client.job(job.id), limit=limit)

    assert sorted(row for page in pages for row in page) == whole
    assert len(whole) == 10
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert len(pages) == -(-10 // limit)


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_pages_in_the_order_of_the_requests(open_client, limit):
    given = [NAN if n in (0, 4, 5, 9) else f"row {n}" for n in range(10)]
    async with open_client() as client:
        job = await client.submit(given, model=CHAT, on_bad_row="reject")
        whole = [short(row) async for row in job.results(ordered=True)]
        pages = await all_pages(job, limit=limit, ordered=True)

    assert [row for page in pages for row in page] == whole
    assert [row[0] for row in whole] == [f"{n:07d}" for n in range(10)]
    assert len(pages) == -(-10 // limit)


async def test_a_page_never_waits_and_the_first_may_be_asked_for_in_any_way(open_client, emulator):
    emulator.add(faults.refuse(503, operation="upload", times=None))
    async with open_client() as client:
        job = await client.submit(rows("a"), model=CHAT)
        pages = [
            job.results(after=None),
            job.results(after=""),
            job.results(limit=5),
            job.results(limit=5, ordered=True),
        ]
        found = [await page for page in pages]

    assert found == [[]] * 4
    assert [(page.cursor, page.is_over) for page in pages] == [("", False)] * 4


async def test_a_cursor_stands_still_while_nothing_comes_and_goes_on_then(open_client, emulator, flaky):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1", "c"), model=CHAT, retry="transient")
        await until(lambda: job._run.final())  # the others are sent again in a minute
        first = job.results(limit=10)
        early = await first
        second = job.results(after=first.cursor)
        assert (await second, second.cursor, second.is_over) == ([], first.cursor, False)
        assert await job.result("r1") is None
        await job.wait()
        late = await second
        third = job.results(after=second.cursor)

        assert sorted(row.request_id for row in early) == ["r0", "r2"]
        assert [short(row) for row in late] == [("r1", S.SUCCEEDED, "echo: b")]
        assert (await third, third.cursor, third.is_over) == ([], second.cursor, True)
        assert not first.is_over


async def test_pages_in_order_stop_at_the_first_request_without_an_outcome(open_client):
    async with open_client() as client:
        job = await client.submit(rows("a", "b fails 1", "c", "d", "e"), model=CHAT, retry="transient")
        await until(lambda: job.status().batches[1].state == "settled" and job._run.final().get(0))
        page = job.results(ordered=True, after=None)
        early = await page
        await job.wait()
        late = await job.results(ordered=True, after=page.cursor)

    assert [row.request_id for row in early] == ["r0"]
    assert [row.request_id for row in late] == ["r1", "r2", "r3", "r4"]


PROMPTS = [
    "a", "b fails 1", "c", "[[stall]] d", "e fails 2", "f", "g", "h fails 1", "i fails 9", "j", "k fails 2", "[[stall]] l",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("is_ordered", [False, True], ids=["as they come", "in order"])
async def test_whoever_serves_which_page_each_request_comes_once(open_client, emulator, seed, is_ordered):
    """Two processes and those that come after them; each page is asked of any of them, at any moment of the job."""
    dice = random.Random(seed)
    found, cursor, opened = [], None, []
    try:
        for _ in range(2):
            opened.append(await open_client().__aenter__())
        given = [*rows(*PROMPTS), 7]
        job = await opened[0].submit(given, model=CHAT, retry="transient", max_attempts=3, on_bad_row="reject")
        gone_at = time.monotonic() + 150  # so that one that never ends is named
        while time.monotonic() < gone_at:
            if dice.random() < 0.04:  # one process ends, another one comes
                await opened.pop(dice.randrange(len(opened))).aclose()
                opened.append(await open_client().__aenter__())
            for _ in range(dice.choice([0, 1, 5, 60])):
                await anyio.lowlevel.checkpoint()
            one = await dice.choice(opened).job(job.id)
            page = one.results(after=cursor, limit=dice.choice([1, 2, 5]), ordered=is_ordered)
            found += [short(row) for row in await page]
            cursor = page.cursor
            if page.is_over:
                break
        whole = [short(row) async for row in one.results(ordered=True)]
    finally:
        for client in opened:
            await client.aclose()

    assert sorted(found) == sorted(whole)
    assert len(found) == 13
    assert not is_ordered or found == whole


async def test_a_process_that_lags_behind_gives_nothing_until_it_has_seen_as_much(open_client, runtime, tmp_path):
    journal = Blind(tmp_path / "state", runtime)
    async with open_client() as first, open_client(journal=journal) as second:
        job = await first.submit(rows("a", "b", "c"), model=CHAT)
        followed = await second.job(job.id)
        await until(lambda: job.status().batches[0].state == "settled")
        assert not followed.status().is_over
        page = job.results(limit=2)
        early = await page
        behind = followed.results(after=page.cursor)
        assert (await behind, behind.cursor, behind.is_over) == ([], page.cursor, False)
        journal.may.set()
        await followed.wait()
        late = await behind

    assert behind.is_over
    assert sorted(row.request_id for row in early + late) == ["r0", "r1", "r2"]


async def test_a_page_has_only_rows_that_another_process_would_give_too(open_client, runtime, tmp_path):
    """Until the journal says that a submission is settled, its answers are fetched anew should we die: in whatever order."""
    journal = Slow(tmp_path / "state", runtime)
    async with open_client(journal=journal) as client:
        job = await client.submit(rows("a", "b"), model=CHAT)
        await journal.asked.wait()
        before, row = await job.results(limit=9), await job.result("r0")
        at_once = await anext(aiter(job.results()))
        journal.may.set()
        await job.wait()
        after = await job.results(limit=9)

    assert (before, row) == ([], None)
    assert at_once.text in ("echo: a", "echo: b")
    assert len(after) == 2


async def retried(job):
    """Send what failed again, as soon as nobody looks at the job any more."""
    while True:
        try:
            return await job.retry(only="errored")
        except JournalError:
            await anyio.lowlevel.checkpoint()


async def test_after_a_retry_by_hand_an_older_cursor_is_outdated_in_every_process(open_client):
    async with open_client() as client, open_client() as other:
        job = await client.submit(rows("a", "b fails 1", "c"), model=CHAT)
        await job.wait()
        behind = await other.job(job.id)  # over when it looked
        page, ordered = job.results(limit=2), job.results(limit=1, ordered=True)
        await page, await ordered
        assert await retried(job) == 1
        while_it_runs = job.results(limit=10)
        assert sorted(row.request_id for row in await while_it_runs) == ["r0", "r2"]
        for old in (page.cursor, ordered.cursor):
            with pytest.raises(ConfigError, match="was sent again since") as caught:
                await job.results(after=old, ordered=old == ordered.cursor)
            assert caught.value.code == "cursor.outdated"
            assert "begin anew" in caught.value.hint
        await job.wait()
        # A handle of before the retry knows how to find out.
        rest = behind.results(after=while_it_runs.cursor)
        assert [short(row) for row in await rest] == [("r1", S.SUCCEEDED, "echo: b")]
        with pytest.raises(ConfigError) as caught:
            await (await other.job(job.id)).results(after=page.cursor)

    assert caught.value.code == "cursor.outdated"
    assert rest.is_over


async def test_a_follower_that_missed_the_end_before_a_retry_by_hand_begins_its_rows_anew(
    open_client, runtime, tmp_path
):
    journal = Blind(tmp_path / "state", runtime)
    async with open_client() as client, open_client(journal=journal) as other:
        job = await client.submit(rows("a", "b fails 1", "c"), model=CHAT)
        followed = await other.job(job.id)
        stream = aiter(followed.results())
        await until(lambda: job.status().is_over)
        await retried(job)
        page = job.results(limit=1)
        await page
        behind = followed.results(after=page.cursor)  # from after the retry, of which this one knows nothing yet
        assert (await behind, behind.is_over) == ([], False)
        journal.may.set()
        with pytest.raises(ConfigError, match="sent again while its rows were read"):
            [row async for row in stream]
        found = await row_sets(followed)

    assert found == [(f"r{n}", S.SUCCEEDED, f"echo: {name}") for n, name in enumerate("abc")]


async def test_a_policy_sends_nothing_again_that_was_handed_out(open_client, flaky):
    """By hand one request is sent again, and nothing follows it by itself."""
    async with open_client() as client:
        job = await client.submit(rows("a fails 9", "[[expire]] b", "c"), model=CHAT, retry="transient", max_attempts=1)
        await job.wait()
        job._run._shared.max_attempts = 2
        await job.retry(only="expired")
        page = job.results(limit=10)
        early = await page
        await job.wait()
        late = await job.results(after=page.cursor)

    assert sorted(row.request_id for row in early) == ["r0", "r2"]
    assert [row.request_id for row in late] == ["r1"]
    assert flaky.asked.count("a fails 9") == 1
    assert job.status().batches[0].round == 1


def forged(job, **fields):
    return encode_cursor(
        Cursor(**{"job": Cursor.at_start(job.id, 0, is_ordered=False).job, "epoch": 0} | fields)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda job, other, own: "nonsense", "'nonsense' is no cursor"),
        (lambda job, other, own: "é", "is no cursor"),
        (lambda job, other, own: own[:-1], "is no cursor"),
        (lambda job, other, own: own + "A", "is no cursor"),
        (lambda job, other, own: own + "!", "is no cursor"),
        (lambda job, other, own: own.swapcase(), "is no cursor"),
        (lambda job, other, own: "A" * 100_000, "is no cursor"),
        (lambda job, other, own: 7, "7 is no cursor"),
        (lambda job, other, own: other, "is one of another job than"),
        (lambda job, other, own: forged(job, is_ordered=True), "in the order of the requests"),
        (lambda job, other, own: forged(job, epoch=1), "beyond the end"),
        (lambda job, other, own: forged(job, offsets={0: 10**6}), "beyond the end"),
        (lambda job, other, own: forged(job, offsets={1: 0}), "beyond the end"),
        (lambda job, other, own: forged(job, offsets={-1: 9}), "beyond the end"),
        (lambda job, other, own: forged(job, done=((0, 1),)), "beyond the end"),
    ],
)
async def test_what_is_no_cursor_of_the_job_is_named(open_client, make, words):
    async with open_client() as client:
        job, other = [await client.submit(rows("a", "b"), model=CHAT, key=key) for key in "xy"]
        await job.wait(), await other.wait()
        pages = [one.results(limit=1) for one in (other, job)]
        for page in pages:
            await page
        with pytest.raises(ConfigError, match=words) as caught:
            await job.results(after=make(job, *(page.cursor for page in pages)))

    assert caught.value.code == "cursor.bad"
    assert len(str(caught.value)) < 300


async def test_a_cursor_in_order_beyond_the_end_or_for_rows_as_they_come_is_named(open_client):
    async with open_client() as client:
        job = await client.submit(rows("a", "b"), model=CHAT)
        await job.wait()
        for fields in ({"is_ordered": True, "position": 3}, {}):
            with pytest.raises(ConfigError) as caught:
                await job.results(after=forged(job, **fields), ordered=True)
            assert caught.value.code == "cursor.bad"
        last = job.results(after=forged(job, is_ordered=True, position=2), ordered=True)

        assert (await last, last.is_over) == ([], True)


async def test_a_cursor_that_points_into_the_middle_of_a_row_gives_rows_of_the_job_or_none(open_client):
    async with open_client() as client:
        job = await client.submit(rows("a", "b", "c"), model=CHAT)
        whole = [short(row) async for row in job.results()]
        size = job._run.parts[0].ledger.size
        for offset in range(size + 1):
            found = [short(row) for row in await job.results(after=forged(job, offsets={0: offset}))]
            assert found in [whole[n:] for n in range(4)]


@pytest.mark.parametrize("limit", [0, -1, True, "7", 1.5])
async def test_a_limit_that_is_none_is_refused(open_client, limit):
    async with open_client() as client:
        job = await client.submit(rows("a"), model=CHAT)
        with pytest.raises(ConfigError, match="limit is"):
            job.results(limit=limit)


async def test_a_page_ends_early_rather_than_grow_large(open_client, monkeypatch):
    monkeypatch.setattr(job_pages, "_ROOM_BYTES", 500)
    async with open_client() as client:
        job = await client.submit(rows(*("abcdef")), model=CHAT)
        whole = await row_sets(job)
        for how in ({}, {"ordered": True}):
            pages = await all_pages(job, limit=100, **how)
            assert sorted(row for page in pages for row in page) == whole
            assert len(pages) > 2


async def test_hundreds_of_rows_come_in_one_page_and_in_many(open_client, emulator, runtime):
    async with open_client(catalog=None) as client:
        job = await client.submit(
            [NAN if n % 7 == 3 else f"row {n}" for n in range(1000)], model=CHAT, on_bad_row="reject"
        )
        await job.wait()
        for limit, how in ((1000, {}), (300, {}), (1000, {"ordered": True}), (257, {"ordered": True})):
            pages = await all_pages(job, limit=limit, **how)
            assert len({row[0] for page in pages for row in page}) == 1000
            assert [len(page) for page in pages] == [limit] * (1000 // limit) + [1000 % limit] * (1000 % limit > 0)


async def test_what_is_raised_by_iteration_is_raised_by_a_page(open_client, emulator):
    emulator.add(faults.refuse(400, operation="create", times=None))
    async with open_client() as client:
        job = await client.submit(rows("a"), model=CHAT)
        with pytest.raises(ProviderError):
            await job.wait()
        with pytest.raises(ProviderError, match="400"):
            await job.results(limit=1)
        refused = await job.result("r0")
        await job.discard()
        for ask in (lambda: job.results(limit=1), lambda: job.result("r0")):
            with pytest.raises(ConfigError) as caught:
                await ask()
            assert caught.value.code == "job.discarded"
        job = await client.submit(rows("a"), model=CHAT)
    for ask in (lambda: job.results(limit=1), lambda: job.result("r0")):
        with pytest.raises(ClientClosedError):
            await ask()

    assert (refused.status, refused.error is None) == (S.ERRORED, False)


async def test_a_job_that_cannot_be_watched_any_more_gives_what_it_has_and_says_so(open_client, emulator, slow_time):
    async with open_client(runtime=slow_time) as client:
        job = await client.submit(rows("a", "b", "c", "[[stall]] d"), model=CHAT)
        await until(lambda: job.status().batches[0].state == "settled")
        emulator.add(faults.refuse(401, method="GET", times=None))
        with pytest.raises(ProviderError):
            await job.wait()
        page = job.results(limit=10)
        assert len(await page) == 3
        for ask in (lambda: job.results(after=page.cursor), lambda: job.result("r3")):
            with pytest.raises(ProviderError, match="401"):
                await ask()

        assert (await job.result("r2")).text == "echo: c"
        assert not page.is_over


@pytest.mark.parametrize("is_kept", [False, True], ids=["here", "read back"])
async def test_a_row_is_found_by_the_id_of_its_request(open_client, is_kept):
    given = [*rows("a", "b", "c", "d"), "no name", {"custom_id": "bad", "body": NAN}, 7, rows("again")[0], "last"]
    async with open_client() as client:
        job = await client.submit(given, model=CHAT, on_bad_row="reject")
        assert (await job.result("bad")).status is S.REJECTED
        assert await job.result("r3") is None
        await job.wait()
    async with open_client() as client:
        job = await client.job(job.id)
        found = {row.request_id: row.status async for row in job.results()}
        again = {name: await job.result(name) for name in found}
        for name in ("nobody", "0000000", "0000099", "", "r", "٣", 7):
            with pytest.raises(ConfigError, match="has no request") as caught:
                await job.result(name)
            assert caught.value.code == "request.unknown"

    assert {name: row.status for name, row in again.items()} == found
    assert all(name == row.request_id for name, row in again.items())
    assert {"0000004", "0000008", "bad", "0000006", "r0#7"} < set(found)
    assert again["0000008"].text == "echo: last"


async def test_a_row_is_found_among_thousands(open_client, emulator):
    async with open_client(catalog=None) as client:
        given = [{"custom_id": f"bad-{n}", "body": body} for n, body in enumerate([NAN] * 300)]
        given += [{**row, "custom_id": f"good-{n}"} for n, row in enumerate(rows("a") * 4200)]
        emulator.add(faults.refuse(503, operation="upload", times=None))
        job = await client.submit(given, model=CHAT, on_bad_row="reject")

        assert (await job.result("bad-299")).status is S.REJECTED
        assert await job.result("good-4199") is None


def test_a_body_is_read_by_one_thread_while_another_writes_on(tmp_path):
    """Pages read rows of a submission whose next round is being fetched."""
    file = SpoolSpace(virtual_runtime(), tmp_path).new()
    file.append(b"x" * (1 << 21))
    written = threading.Event()

    def write():
        try:
            for _ in range(3000):
                file.append(b"y" * 100)
        finally:
            written.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not written.is_set():
        assert file.read(1 << 20, 100) == b"x" * 100
    writer.join()
    file.flush()

    assert file.read(1 << 21) == b"y" * 300_000


async def test_a_page_in_the_middle_of_a_retry_by_hand_gives_no_row_that_comes_again(open_client, runtime):
    reached, may = anyio.Event(), anyio.Event()

    async def offload(func, /, *args):
        if getattr(func, "__name__", "") == "reopen":
            reached.set()
            await may.wait()
        return await runtime.offload(func, *args)

    async with open_client(runtime=replace(runtime, offload=offload)) as client:
        job = await client.submit(rows("a", "b fails 1", "c"), model=CHAT)
        await job.wait()
        page = job.results(limit=10)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: job.retry(only="errored"))
            await reached.wait()
            early = await page
            may.set()
        await job.wait()
        late = await job.results(after=page.cursor, limit=10)

    assert sorted(row.request_id for row in [*early, *late]) == ["r0", "r1", "r2"]


async def test_a_job_that_was_discarded_elsewhere_is_not_served_on(open_client, runtime, tmp_path):
    async with open_client() as one, open_client() as other:
        job = await one.submit(rows("a", "b", "c"), model=CHAT)
        await job.wait()
        await until_anybodys(tmp_path / "state", runtime, job.id)
        old = await other.job(job.id)
        await old.results(limit=1)
        await job.discard()
        for ask in (old.results(limit=10), old.result("r1"), other.job(job.id)):
            with pytest.raises(ConfigError, match="there is no job"):
                await ask


async def test_a_job_of_which_every_request_was_refused_is_anybodys(open_client, runtime, tmp_path):
    async with open_client() as one:
        job = await one.submit([NAN, NAN], model=CHAT, on_bad_row="reject")
        await job.wait()
        await until_anybodys(tmp_path / "state", runtime, job.id)
        async with open_client() as other:
            page = (await other.job(job.id)).results(limit=5)
            found = await page

    assert [row.status for row in found] == [S.REJECTED] * 2
    assert page.is_over
