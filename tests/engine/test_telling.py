"""The application's own handlers hear of the end of jobs, at least once of each, whoever brings it about."""

import anyio.lowlevel
import pytest

from asyncbatch import BatchClient, ConfigError, ResultStatus
from asyncbatch.journal.sqlite import SqliteJournal
from tests.engine.waiting import turns, until

CHAT = "openai/gpt-4.1-mini"


@pytest.fixture
def limits():
    return {"requests": 2}


@pytest.fixture(params=["memory", "on disk"])
def journal(request, tmp_path):
    return "memory" if request.param == "memory" else tmp_path / "state"


@pytest.fixture
def open_client(runtime, catalog, emulator, tmp_path):
    given = {"runtime": runtime, "catalog": catalog, "journal": tmp_path / "state"}
    return lambda **options: BatchClient(**{**given, **options})


class Heard:
    """A handler that remembers what it heard, and fails as often as it is told to."""

    def __init__(self, failures=0):
        self.jobs = []
        self.failures = failures

    async def __call__(self, job):
        rows = [row.status async for row in job.results()]
        self.jobs.append((job.id, len(rows), job.status().is_over))
        if len(self.jobs) <= self.failures:
            raise RuntimeError("the application's own database is away")


async def nothing_left_to_tell(client):
    for _ in turns():
        if not any(wish.word == "tell" for wish in await client._journal.wishes()):
            return
        await anyio.lowlevel.checkpoint()
    raise AssertionError("somebody still has to hear of something")


async def test_a_handler_hears_of_each_job_once_and_can_read_its_rows(open_client, journal):
    heard = Heard()
    async with open_client(journal=journal) as client:
        client.on("job_ended", heard)
        jobs = [await client.submit(["a", "b", "c"], model=CHAT) for _ in range(3)]
        await until(lambda: len(heard.jobs) == 3)
        await nothing_left_to_tell(client)

    assert sorted(heard.jobs) == sorted((job.id, 3, True) for job in jobs)


async def test_a_handler_may_be_a_plain_function(open_client):
    heard = []
    async with open_client() as client:
        client.on("job_ended", lambda job: heard.append(job.id))
        job = await client.submit(["a"], model=CHAT)
        await until(lambda: heard)
        await nothing_left_to_tell(client)

    assert heard == [job.id]


async def test_a_handler_that_fails_is_called_again(open_client, caplog):
    heard = Heard(failures=3)
    async with open_client() as client:
        client.on("job_ended", heard)
        job = await client.submit(["a"], model=CHAT)
        await until(lambda: len(heard.jobs) == 4)
        await nothing_left_to_tell(client)

    assert {name for name, _, _ in heard.jobs} == {job.id}
    assert "is called again" in caplog.text


async def test_one_that_fails_keeps_no_other_from_it_and_the_other_is_called_once(open_client):
    poor, good = Heard(failures=2), Heard()
    async with open_client() as client:
        for handler in (poor, good):
            client.on("job_ended", handler)
        await client.submit(["a"], model=CHAT)
        await until(lambda: len(poor.jobs) == 3)
        await nothing_left_to_tell(client)

    assert len(good.jobs) == 1


async def test_the_next_process_tells_what_the_last_one_did_not_come_to(open_client):
    first, second = Heard(failures=10**9), Heard()
    async with open_client() as client:
        client.on("job_ended", first)
        job = await client.submit(["a"], model=CHAT)
        await until(lambda: first.jobs)
    client = open_client()
    client.on("job_ended", second)
    async with client:
        await until(lambda: second.jobs)
        await nothing_left_to_tell(client)
    async with open_client() as third:
        again = Heard()
        third.on("job_ended", again)
        await (await third.submit(["b"], model=CHAT)).wait()
        await until(lambda: again.jobs)

    assert second.jobs == [(job.id, 1, True)]
    assert job.id not in {name for name, _, _ in again.jobs}


async def test_a_job_that_ended_in_a_process_without_handlers_is_told_by_one_that_has_some(open_client):
    heard = Heard()
    async with open_client() as client:
        client.on("job_ended", Heard())
        job = await client.submit(["[[stall]] a"], model=CHAT)
        await job.submitted()
    async with open_client() as silent:
        await (await silent.job(job.id)).wait()
    async with open_client() as client:
        client.on("job_ended", heard)
        await until(lambda: heard.jobs)

    assert [name for name, _, _ in heard.jobs] == [job.id]


async def test_a_job_that_was_submitted_before_anybody_listened_is_not_told(open_client):
    heard = Heard()
    async with open_client() as client:
        silent = await client.submit(["a"], model=CHAT)
        await silent.wait()
        client.on("job_ended", heard)
        told = await client.submit(["b"], model=CHAT)
        await until(lambda: heard.jobs)
        await nothing_left_to_tell(client)

    assert [name for name, _, _ in heard.jobs] == [told.id]


async def test_of_two_processes_one_tells(open_client):
    heard = Heard()
    async with open_client() as first, open_client() as second:
        for client in (first, second):
            client.on("job_ended", heard)
        jobs = [await client.submit(["a"], model=CHAT) for client in (first, second, first)]
        await nothing_told_twice(first, heard, 3)

    assert sorted(name for name, _, _ in heard.jobs) == sorted(job.id for job in jobs)


async def nothing_told_twice(client, heard, count):
    await until(lambda: len(heard.jobs) >= count)
    await nothing_left_to_tell(client)


async def test_a_job_that_is_sent_again_by_hand_ends_once_more(open_client):
    heard = Heard()
    async with open_client() as client:
        client.on("job_ended", heard)
        job = await client.submit(["a", "[[error:500]]"], model=CHAT)
        await until(lambda: len(heard.jobs) == 1)
        await nothing_left_to_tell(client)
        await (await client.job(job.id)).retry(only="errored")
        await until(lambda: len(heard.jobs) == 2)

    assert [name for name, _, _ in heard.jobs] == [job.id, job.id]
    assert job.status().outcomes == {ResultStatus.SUCCEEDED: 1, ResultStatus.ERRORED: 1}


async def test_the_end_of_a_job_of_which_every_request_was_refused_is_told(open_client, journal):
    heard = Heard()
    nan = {"messages": [{"role": "user", "content": "hot?"}], "temperature": float("nan")}
    async with open_client(journal=journal) as client:
        client.on("job_ended", heard)
        job = await client.submit([nan, nan], model=CHAT, on_bad_row="reject")
        await until(lambda: heard.jobs)
        await nothing_left_to_tell(client)

    assert heard.jobs == [(job.id, 2, True)]


async def test_a_handler_may_discard_the_job_that_it_hears_of(open_client, journal, caplog):
    heard = []

    async def keep(job):
        heard.append(job.id)
        await job.discard()

    async with open_client(journal=journal) as client:
        client.on("job_ended", keep)
        job = await client.submit(["a"], model=CHAT)
        await until(lambda: heard)
        await nothing_left_to_tell(client)
        left = await client.records()

    assert heard == [job.id]
    assert left == []
    assert "failed" not in caplog.text


async def test_a_handler_that_sends_a_job_again_and_waits_hears_of_its_second_end(open_client):
    heard = []

    async def insist(job):
        heard.append(job.status().batches[0].round)
        if len(heard) == 1:
            await job.retry(only="errored")
            await job.wait()

    async with open_client() as client:
        client.on("job_ended", insist)
        await client.submit(["[[error:500]]"], model=CHAT)
        await until(lambda: len(heard) == 2)
        await nothing_left_to_tell(client)

    assert heard == [0, 1]


async def test_what_another_process_told_is_not_looked_for_for_ever(open_client, runtime, tmp_path):
    async with open_client() as first:
        first.on("job_ended", Heard(failures=10**9))
        job = await first.submit(["a"], model=CHAT)
        await job.wait()
    other = SqliteJournal(tmp_path / "state", runtime)
    await other.open()
    assert await other.claim(job.id)

    heard = Heard()
    async with open_client() as second:
        second.on("job_ended", heard)
        teller = second._desk.teller
        await until(lambda: teller._failures)
        for wish in await other.wishes():
            await other.grant(wish)
        await until(lambda: not teller._failures)
    await other.close()

    assert heard.jobs == []


@pytest.mark.parametrize(
    ("event", "handler", "words"),
    [
        ("job_began", Heard(), "there is no event 'job_began'"),
        ("job_ended", None, "the handler of 'job_ended' is None"),
    ],
)
async def test_what_is_no_event_or_no_handler_is_refused(open_client, event, handler, words):
    with pytest.raises(ConfigError, match=words):
        open_client().on(event, handler)
