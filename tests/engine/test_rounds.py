"""Requests that ended without a good answer are sent again, in a batch of their own; nothing that was answered ever is."""

import msgspec
import pytest

from asyncbatch import BatchClient, ConfigError, JournalError, ResultStatus
from asyncbatch.emulator import Emulator, faults
from tests.engine.flaky import creates, outcomes, rows
from tests.engine.gates import until_anybodys
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
S = ResultStatus


@pytest.fixture
def answered_by(flaky):
    return flaky


@pytest.fixture(params=["memory", "on disk"])
def journal(request, tmp_path):
    return "memory" if request.param == "memory" else tmp_path / "state"


@pytest.fixture
def open_client(runtime, catalog, journal, emulator):
    return lambda **options: BatchClient(runtime=runtime, catalog=catalog, journal=journal, **options)


@pytest.fixture
async def client(open_client):
    async with open_client() as client:
        yield client


async def test_requests_that_failed_for_now_are_sent_again_alone(client, emulator, flaky):
    job = await client.submit(rows("a", "b fails 1", "c", "d fails 1"), model=CHAT, retry="transient")
    found = await outcomes(job)

    assert sorted(found) == [(f"r{n}", S.SUCCEEDED, f"echo: {name}") for n, name in enumerate("abcd")]
    assert sorted(flaky.asked) == ["a", "b fails 1", "b fails 1", "c", "d fails 1", "d fails 1"]
    assert len(creates(emulator)) == 2
    (batch,) = job.status().batches
    assert (batch.round, batch.sent, len(batch.earlier)) == (1, 2, 1)
    assert job.status().outcomes == {S.SUCCEEDED: 4}
    assert len({record.metadata["asyncbatch_tag"] for record in creates(emulator)}) == 2


async def test_without_a_policy_nothing_is_sent_again(client, emulator):
    job = await client.submit(rows("a", "b fails 1"), model=CHAT)
    found = await outcomes(job)

    assert [(name, status) for name, status, _ in sorted(found)] == [("r0", S.SUCCEEDED), ("r1", S.ERRORED)]
    assert len(creates(emulator)) == 1


async def test_a_request_is_sent_so_many_times_at_most(client, emulator, flaky):
    job = await client.submit(rows("a fails 9"), model=CHAT, retry="transient", max_attempts=2)
    ((_, status, _),) = await outcomes(job)

    assert status is S.ERRORED
    assert flaky.asked == ["a fails 9"] * 2


async def test_those_that_expired_are_sent_again_and_no_others(client, flaky):
    job = await client.submit(rows("[[expire]]", "b fails 1"), model=CHAT, retry="expired", max_attempts=2)
    found = await outcomes(job)

    assert [(name, status) for name, status, _ in sorted(found)] == [("r0", S.EXPIRED), ("r1", S.ERRORED)]
    assert flaky.asked == ["b fails 1"]
    assert job.status().batches[0].sent == 1


async def test_a_function_decides_about_rows_that_are_no_success(client, flaky):
    seen = []

    def is_wanted(row):
        seen.append(row.status)
        return row.request_id == "r1"

    job = await client.submit(rows("a", "b fails 1", "c fails 1"), model=CHAT, retry=is_wanted)
    found = await outcomes(job)

    assert [(name, status) for name, status, _ in sorted(found)] == [
        ("r0", S.SUCCEEDED),
        ("r1", S.SUCCEEDED),
        ("r2", S.ERRORED),
    ]
    assert S.SUCCEEDED not in seen


async def test_a_function_that_fails_sends_nothing_and_loses_nothing(client, caplog):
    job = await client.submit(rows("a", "b fails 1"), model=CHAT, retry=lambda row: row.nothing)
    found = await outcomes(job)

    assert [(name, status) for name, status, _ in sorted(found)] == [("r0", S.SUCCEEDED), ("r1", S.ERRORED)]
    assert "r1 is worth another try could not be decided" in caplog.text


async def test_a_batch_that_failed_whole_is_sent_again_after_a_while(client, clock, emulator):
    doom = faults.Doom(code="batch_expired", message="It came too late.")
    emulator.add(faults.Fault(effect=doom, operation="create", method="POST"))
    began = clock.now()
    job = await client.submit(rows("a", "b"), model=CHAT, retry="transient")
    found = await outcomes(job)

    assert [status for _, status, _ in found] == [S.SUCCEEDED] * 2
    assert len(creates(emulator)) == 2
    assert clock.now() - began >= 15


async def test_rows_that_are_final_are_handed_out_while_others_are_sent_again(client, emulator):
    job = await client.submit(rows("a", "b fails 1"), model=CHAT, retry="transient")
    stream = aiter(job.results())
    first = await anext(stream)
    is_over = job.status().is_over

    assert (first.request_id, is_over) == ("r0", False)
    assert [row.request_id async for row in stream] == ["r1"]


async def test_several_rounds_give_each_request_one_row_whenever_they_are_read(client):
    prompts = ["a", "b fails 1", "c fails 2", "d", "e fails 9", "f fails 2"]
    job = await client.submit(rows(*prompts), model=CHAT, retry="transient", max_attempts=3)
    early = await outcomes(job)
    late = await outcomes(job)
    ordered = await outcomes(job, ordered=True)

    assert sorted(early) == sorted(late) == ordered
    assert [name for name, _, _ in ordered] == [f"r{n}" for n in range(6)]
    assert [status for _, status, _ in ordered] == [*[S.SUCCEEDED] * 4, S.ERRORED, S.SUCCEEDED]
    assert job.status().batches[0].round == 2


async def test_usage_counts_what_each_round_cost(client):
    job = await client.submit(rows("a", "b fails 1"), model=CHAT, retry="transient")
    found = await job.results()

    assert job.status().usage.total_tokens == sum(row.usage.total_tokens for row in found if row.usage)


async def test_a_round_that_is_refused_leaves_the_outcomes_as_they_were(client, emulator):
    emulator.add(faults.refuse(400, operation="create", first=2, times=None))
    job = await client.submit(rows("a", "b fails 1", "c fails 1"), model=CHAT, retry="transient")
    found = await job.results(ordered=True)

    assert [row.status for row in found] == [S.SUCCEEDED, S.ERRORED, S.ERRORED]
    assert "overloaded" in found[1].error.message
    assert (await job.wait()).is_over
    assert len(await job.submitted()) == 1


async def test_a_job_that_is_cancelled_sends_nothing_again(client, emulator):
    job = await client.submit(rows("a", "b fails 1"), model=CHAT, retry="transient")
    await until(lambda: job.status().batches[0].round == 1)
    await job.cancel()
    found = await job.results(ordered=True)

    assert [row.status for row in found] == [S.SUCCEEDED, S.ERRORED]
    assert len(creates(emulator)) == 1


async def test_a_create_of_a_later_round_that_is_lost_is_found_and_not_sent_again(client, emulator, flaky):
    emulator.add(faults.accept_then_drop(first=2))
    job = await client.submit(rows("a", "b fails 1"), model=CHAT, retry="transient")
    found = await job.results(ordered=True)

    assert [row.status for row in found] == [S.SUCCEEDED] * 2
    assert flaky.asked.count("b fails 1") == 2
    assert len(creates(emulator)) == 2


async def test_by_hand_those_that_failed_are_sent_again_in_the_same_job(open_client, journal, emulator, flaky):
    async with open_client() as client:
        policy = {"retry": "expired"} if journal == "memory" else {}  # which keeps the requests
        job = await client.submit([*rows("a", "b fails 1", "c"), 7], model=CHAT, on_bad_row="reject", **policy)
        before = await outcomes(job)
        if journal == "memory":
            with pytest.raises(ConfigError, match="are not there any more"):
                await job.retry(only="errored")
            return
        stream = aiter(job.results())
        await anext(stream)
        count = await job.retry(only="errored")
        with pytest.raises(ConfigError, match="sent again while its rows were read"):
            [row async for row in stream]
        after = await outcomes(job, ordered=True)

    assert count == 1
    assert ("r1", S.ERRORED, None) in before
    assert after[1] == ("r1", S.SUCCEEDED, "echo: b")
    assert [status for _, status, _ in after] == [*[S.SUCCEEDED] * 3, S.REJECTED]
    assert flaky.asked.count("a") == 1
    assert job.status().is_over


async def test_by_hand_what_is_named_is_sent_and_nothing_follows_it_by_itself(runtime, catalog, emulator, tmp_path):
    async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state") as client:
        prompts = rows("a", "b fails 9", "[[expire]] c")
        job = await client.submit(prompts, model=CHAT, retry="transient", max_attempts=2)
        await job.wait()
        before = len(creates(emulator))
        sent = await job.retry(only="errored")
        found = await outcomes(job)

    assert (before, sent, len(creates(emulator))) == (2, 1, 3)
    assert sorted(name for name, _, _ in found) == ["r0", "r1", "r2"]


async def test_nothing_to_send_again_is_no_error(client):
    job = await client.submit(rows("a"), model=CHAT, retry="transient")
    await job.wait()

    assert await job.retry() == 0
    assert [status for _, status, _ in await outcomes(job)] == [S.SUCCEEDED]


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ("succeeded", "has its answer"),
        ("rejected", "would be refused again"),
        ("broken", "'broken' is no outcome"),
        ((), "no outcome is named"),
    ],
)
async def test_outcomes_that_no_second_try_betters_are_refused(client, only, words):
    job = await client.submit(rows("a fails 1"), model=CHAT)
    await job.wait()

    with pytest.raises(ConfigError, match=words):
        await job.retry(only=only)


async def test_a_job_that_runs_is_not_retried(client):
    job = await client.submit(rows("a"), model=CHAT)

    with pytest.raises(ConfigError, match="still running"):
        await job.retry()
    await job.wait()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"retry": "always"}, "retry is 'always'"), ({"retry": "expired", "max_attempts": 0}, "max_attempts is 0")],
)
async def test_a_policy_that_is_none_is_refused_before_anything_is_sent(client, emulator, options, words):
    with pytest.raises(ConfigError, match=words):
        await client.submit(rows("a"), model=CHAT, **options)

    assert list(emulator.history) == []


class TestOnDisk:
    """What outlives a process."""

    @pytest.fixture
    def journal(self, tmp_path):
        return tmp_path / "state"

    async def test_a_job_goes_on_in_the_middle_of_a_round(self, open_client, emulator, flaky):
        async with open_client() as client:
            job = await client.submit(rows("a", "b fails 1", "c", "d fails 2"), model=CHAT, retry="transient")
            await until(lambda: len(creates(emulator)) == 2)
        async with open_client() as client:
            (again,) = client.jobs()
            found = await outcomes(again, ordered=True)

        assert again.id == job.id
        assert found == [(f"r{n}", S.SUCCEEDED, f"echo: {name}") for n, name in enumerate("abcd")]
        assert sorted(flaky.asked) == ["a", *["b fails 1"] * 2, "c", *["d fails 2"] * 3]

    async def test_a_round_that_waits_is_sent_by_the_next_process(self, open_client, emulator):
        async with open_client() as client:
            job = await client.submit(rows("a", "b fails 1"), model=CHAT, retry="transient")
            await until(lambda: "sent again" in (job.status().batches[0].note or ""))
            note = job.status().batches[0].note
        async with open_client() as client:
            listed = (await client.records())[0]
            found = await outcomes(await client.job(job.id), ordered=True)

        assert note.startswith("1 request is sent again, 0:")
        assert listed.outcomes == {S.SUCCEEDED: 1}
        assert [status for _, status, _ in found] == [S.SUCCEEDED] * 2
        assert len(creates(emulator)) == 2

    async def test_a_second_client_follows_the_rounds_and_goes_on_with_them(self, open_client, emulator, flaky):
        async with open_client() as second:
            async with open_client() as first:
                job = await first.submit(rows("a", "b fails 2"), model=CHAT, retry="transient")
                followed = await second.job(job.id)
                stream = aiter(followed.results())
                early = await anext(stream)
                await until(lambda: len(creates(emulator)) >= 2)
            late = [row async for row in stream]

        assert (early.request_id, [row.request_id for row in late]) == ("r0", ["r1"])
        assert [row.text for row in late] == ["echo: b"]
        assert flaky.asked.count("b fails 2") == 3

    async def test_a_job_that_is_over_is_anybodys_to_retry(self, open_client, tmp_path, runtime):
        async with open_client() as first, open_client() as second:
            job = await first.submit(rows("a", "b fails 1"), model=CHAT)
            await job.wait()
            await until_anybodys(tmp_path / "state", runtime, job.id)
            other = await second.job(job.id)
            assert await other.retry(only=["errored"]) == 1
            found = await outcomes(other, ordered=True)
            with pytest.raises(JournalError, match="another process has"):
                await job.retry(only="errored")
            again = await outcomes(await first.job(job.id), ordered=True)

        assert found == again
        assert [status for _, status, _ in found] == [S.SUCCEEDED] * 2

    async def test_a_policy_of_the_callers_own_ends_with_its_process_and_may_be_given_again(self, open_client, flaky):
        async with open_client() as client:
            job = await client.submit(rows("a fails 2"), model=CHAT, retry=lambda row: True, key="k")
            await until(lambda: job.status().batches[0].round == 1)
        async with open_client() as client:
            again = await client.submit(rows("a fails 2"), model=CHAT, retry=lambda row: True, key="k")
            ((_, status, _),) = await outcomes(again)

        assert (again.id, status) == (job.id, S.SUCCEEDED)
        assert len(flaky.asked) == 3

    async def test_the_journal_refuses_two_live_attempts_in_every_round(self, open_client, tmp_path):
        async with open_client() as client:
            job = await client.submit(rows("a fails 2"), model=CHAT, retry="transient")
            await job.wait()
            known = await client._journal.events(job.id, 0)

        kinds = [type(event).__name__ for event in known]
        assert kinds.count("CreateIntended") == kinds.count("Accepted") == kinds.count("Ended") == 3
        assert kinds.count("Retried") == 2
        assert msgspec.json.encode(known).count(b"not_before") == 2


MODELS = {
    "openai": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
}


@pytest.mark.parametrize("fault", [None, faults.accept_then_drop(first=2)], ids=["", "and finds a lost create"])
@pytest.mark.parametrize("name", MODELS)
async def test_every_provider_sends_again(name, fault, clock, runtime, flaky, monkeypatch, tmp_path):
    with Emulator(clock=clock.now, answer=flaky) as emulator:
        emulator.add(*([fault] if fault else []))
        for variable, value in emulator.env(name).items():
            monkeypatch.setenv(variable, value)
        async with BatchClient(runtime=runtime, journal=tmp_path / "state") as client:
            job = await client.submit(rows("a", "b fails 1", "c"), model=f"{name}/{MODELS[name]}", retry=lambda _: True)
            found = await outcomes(job, ordered=True)

        assert found == [(f"r{n}", S.SUCCEEDED, f"echo: {letter}") for n, letter in enumerate("abc")]
        assert sorted(flaky.asked) == ["a", "b fails 1", "b fails 1", "c"]
        assert len(creates(emulator)) == 2
