"""Jobs that outlive their process: whoever opens a client on the same directory goes on where the last one stopped."""

import pytest

from asyncbatch import BatchClient, ConfigError, JournalError, ResultStatus
from asyncbatch.emulator import faults, paid_twice
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
HELLO = [{"custom_id": f"r{n}", "body": {"messages": [{"role": "user", "content": f"hello {n}"}]}} for n in range(6)]


@pytest.fixture
def open_client(emulator, runtime, catalog, tmp_path):
    def make(**options):
        return BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state", **options)

    return make


def creates(emulator):
    return [record for record in emulator.history if record.kind == "create"]


async def rows_of(job):
    return {row.request_id: (row.status, row.text) async for row in job.results()}


async def test_a_job_that_was_submitted_goes_on_in_the_next_client(open_client, emulator):
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        await job.submitted()
    async with open_client() as client:
        (again,) = client.jobs()
        rows = await rows_of(again)

    assert again.id == job.id
    assert rows == {f"r{n}": (ResultStatus.SUCCEEDED, f"echo: hello {n}") for n in range(6)}
    assert len(creates(emulator)) == 1


async def test_a_finished_job_gives_its_rows_without_asking_anybody(open_client, emulator):
    async with open_client() as client:
        job = await client.submit([*HELLO, 7], model=CHAT, on_bad_row="reject")
        before, status = await rows_of(job), job.status()
    calls = len(emulator.history)
    async with open_client() as client:
        assert client.jobs() == []
        again = await client.job(job.id)
        after = await rows_of(again)

    assert after == before
    assert again.status().outcomes == status.outcomes == {ResultStatus.SUCCEEDED: 6, ResultStatus.REJECTED: 1}
    assert again.status().usage == status.usage
    assert len(emulator.history) == calls


async def test_a_job_that_was_accepted_and_not_sent_is_sent_by_the_next_client(open_client, emulator):
    emulator.add(faults.refuse(503, operation="upload", times=None, for_s=30))
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        await until(lambda: job.status().batches[0].note is not None)
    assert creates(emulator) == []
    async with open_client() as client:
        rows = await rows_of(await client.job(job.id))

    assert len(rows) == 6
    assert len(creates(emulator)) == 1


@pytest.mark.parametrize(
    "fault", [faults.accept_then_drop(), faults.drop(operation="create")], ids=["it had arrived", "it had not"]
)
async def test_a_lost_create_is_looked_for_by_the_next_client(open_client, emulator, fault):
    emulator.add(fault, faults.refuse(503, operation="list", times=3))
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        await until(lambda: "create arrived" in (job.status().batches[0].note or ""))
    async with open_client() as client:
        rows = await rows_of(await client.job(job.id))

    assert {status for status, _ in rows.values()} == {ResultStatus.SUCCEEDED}
    assert len(creates(emulator)) == 1
    assert paid_twice(emulator.history) == {}


async def test_the_same_key_with_the_same_requests_is_the_same_job(open_client, emulator):
    async with open_client() as client:
        first = await client.submit(HELLO, model=CHAT, key="nightly")
        again = await client.submit(list(HELLO), model=CHAT, key="nightly")
        await first.wait()
    async with open_client() as client:
        later = await client.submit(iter(HELLO), model=CHAT, key="nightly")
        rows = await rows_of(later)

    assert first.id == again.id == later.id
    assert len(rows) == 6
    assert len(creates(emulator)) == 1


@pytest.mark.parametrize(
    "other",
    [{"requests": HELLO[:5]}, {"model": "openai/gpt-4.1"}, {"metadata": {"a": "b"}}, {"requests": [*HELLO[:5], "x"]}],
    ids=["requests", "model", "metadata", "one row"],
)
async def test_the_same_key_with_anything_else_is_refused_and_nothing_is_sent(open_client, emulator, other):
    async with open_client() as client:
        await (await client.submit(HELLO, model=CHAT, key="nightly")).wait()
        calls = len(emulator.history)
        with pytest.raises(ConfigError, match="nightly") as caught:
            await client.submit(**{"requests": HELLO, "model": CHAT} | other, key="nightly")

    assert caught.value.code == "key.reused"
    assert len(emulator.history) == calls


async def test_a_job_that_nobody_accepted_is_told(open_client):
    async with open_client() as client:
        with pytest.raises(ConfigError, match="no job 'nobody'"):
            await client.job("nobody")


async def test_another_key_than_the_one_that_a_job_was_sent_with_is_refused(open_client, monkeypatch, caplog):
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        await job.submitted()
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    async with open_client() as client:
        taken_up = client.jobs()
        with pytest.raises(ConfigError) as caught:
            await client.job(job.id)

    assert taken_up == []
    assert caught.value.code == "auth.scope_mismatch"
    assert f"job {job.id} is left as it is" in caplog.text


async def test_a_second_client_follows_a_job_and_goes_on_with_it_when_the_first_is_gone(open_client, emulator):
    async with open_client() as second:
        async with open_client() as first:
            job = await first.submit(HELLO, model=CHAT)
            await job.submitted()
            followed = await second.job(job.id)
            batches = await followed.submitted()
        rows = await rows_of(followed)

    assert batches == (creates(emulator)[0].object_id,)
    assert len(rows) == 6
    assert len(creates(emulator)) == 1


async def test_a_second_client_gives_the_rows_that_the_first_has_fetched(open_client, emulator):
    async with open_client() as first, open_client() as second:
        job = await first.submit(HELLO, model=CHAT)
        followed = await second.job(job.id)
        rows = await rows_of(followed)
        own = await rows_of(job)

    assert rows == own
    assert len(rows) == 6
    assert len(creates(emulator)) == 1


async def test_a_job_that_is_discarded_is_gone_for_everybody(open_client, tmp_path):
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        await job.wait()
        await job.discard()
    async with open_client() as client:
        with pytest.raises(ConfigError):
            await client.job(job.id)

    assert list((tmp_path / "state" / "jobs").iterdir()) == []


async def test_a_job_of_several_batches_and_refused_rows_comes_back_whole(emulator, runtime, tmp_path):
    from asyncbatch import load_catalog

    catalog = load_catalog({"providers": {"openai": {"limits": {"requests": 2}}}})
    requests = [HELLO[0], 7, *HELLO[1:4], {"custom_id": "bad", "body": {"messages": "x"}}, HELLO[4]]
    async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as client:
        job = await client.submit(requests, model=CHAT, on_bad_row="reject")
        await job.submitted()
    async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path) as client:
        rows = await rows_of(await client.job(job.id))

    assert {key: status.value for key, (status, _) in rows.items()} == {
        "r0": "succeeded",
        "0000001": "rejected",
        "r1": "succeeded",
        "r2": "succeeded",
        "r3": "succeeded",
        "bad": "rejected",
        "r4": "succeeded",
    }
    assert all(text == f"echo: hello {key[1:]}" for key, (status, text) in rows.items() if status.is_success)
    assert len(creates(emulator)) == 3


async def test_a_batch_that_the_journal_knows_is_no_candidate_for_a_lost_create(open_client, tmp_path):
    async with open_client() as first, open_client() as second:
        job = await first.submit(HELLO, model=CHAT)
        (batch,) = await job.submitted()

        assert await second._journal.batches() == {batch}


async def test_without_a_word_the_environment_says_where_jobs_are_remembered(
    emulator, runtime, catalog, tmp_path, monkeypatch
):
    monkeypatch.setenv("ASYNCBATCH_HOME", str(tmp_path / "state"))
    async with BatchClient(runtime=runtime, catalog=catalog) as client:
        job = await client.submit(HELLO[:1], model=CHAT)
    async with BatchClient(runtime=runtime, catalog=catalog) as client:
        assert len(await (await client.job(job.id)).results()) == 1
    monkeypatch.delenv("ASYNCBATCH_HOME")
    async with BatchClient(runtime=runtime, catalog=catalog) as client:
        assert await client.records() == []


@pytest.mark.parametrize(
    ("name", "spoil", "code"),
    [
        ("rows-0000", lambda path: path.write_bytes(b"\x05\x00\x00\x00noise" * 99), "ledger.damaged"),
        ("rows-0000", lambda path: path.write_bytes(path.read_bytes()[:-1]), "ledger.damaged"),
        ("rows-0000", lambda path: path.unlink(), "journal.body_lost"),
        ("input-0000", lambda path: path.unlink(), "journal.body_lost"),
        ("refused", lambda path: path.unlink(), "journal.body_lost"),
    ],
    ids=["noise", "cut off", "rows gone", "input gone", "refusals gone"],
)
async def test_a_body_that_is_damaged_or_gone_is_named_and_nothing_is_sent(
    open_client, emulator, tmp_path, name, spoil, code
):
    async with open_client() as client:
        job = await client.submit(HELLO, model=CHAT)
        await job.wait()
    spoil(tmp_path / "state" / "jobs" / job.id / name)
    calls = len(emulator.history)
    async with open_client() as client:
        with pytest.raises(JournalError) as caught:
            await client.job(job.id)

    assert caught.value.code == code
    assert "may still lie at the provider" in caught.value.hint
    assert len(emulator.history) == calls


async def test_an_empty_key_is_none(open_client, emulator):
    async with open_client() as client:
        with pytest.raises(ConfigError, match="key is empty"):
            await client.submit(HELLO, model=CHAT, key="")

    assert emulator.history == []


async def test_a_word_of_a_kind_of_text_of_ones_own_is_that_text(open_client):
    """The journal reads what it wrote: a job whose key it could not read would keep every other one from going on."""

    class Team(str):
        __slots__ = ()

    blue = Team("blue")
    async with open_client(accounts={"blue": "sk-blue"}) as client:
        job = await client.submit(HELLO, model=CHAT, key=blue, account=blue, metadata={blue: blue})
    async with open_client(accounts={"blue": "sk-blue"}) as client:
        again = await client.submit(HELLO, model=CHAT, key="blue", account="blue", metadata={"blue": "blue"})
        (record,) = await client.records()
        await again.wait()

    assert again.id == job.id
    assert (record.key, record.account) == ("blue", "blue")


async def test_a_client_that_is_left_before_all_was_sent_says_so_and_who_goes_on(open_client, emulator, caplog):
    emulator.add(faults.refuse(503, operation="upload", times=None, for_s=30))
    async with open_client() as client:
        await client.submit(HELLO, model=CHAT)

    assert "closed before 6 requests were sent; the next client on this journal sends them" in caplog.text


async def test_an_outage_is_told_while_it_lasts(open_client, emulator, caplog):
    async with open_client() as client:
        job = await client.submit(["[[stall]] slow"], model=CHAT)
        emulator.add(faults.refuse(503, operation="poll", times=2))
        notes = []
        while not job.status().is_over:
            await client._desk.runs[job.id].changed.wait()
            notes.append(job.status().batches[0].note or "")

    told = [note for note in notes if note.startswith("cannot be asked about since ")]
    assert told
    assert "503" in told[0]
    assert not notes[-1].startswith("cannot")
