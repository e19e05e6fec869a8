"""A job from its requests to its rows, through client, engine, poller, provider and a real HTTP server."""

import collections

import anyio
import msgspec
import pytest

from asyncbatch import (
    BatchClient,
    BatchMode,
    BatchStatus,
    ConfigError,
    InvalidRequestsError,
    MissingCredentialsError,
    ProviderNotRegisteredError,
    ProviderPermanentError,
    ResultStatus,
    ScopeError,
)
from asyncbatch.emulator import faults, paid_twice
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"


def prompts(count):
    return [f"question {number}" for number in range(count)]


def creates(emulator):
    return [record for record in emulator.history if record.kind == "create"]


async def test_every_request_comes_back_as_exactly_one_row(client):
    job = await client.submit(prompts(300), model=CHAT)

    rows = await job.results()

    assert sorted(row.request_id for row in rows) == [f"{number:07d}" for number in range(300)]
    assert {row.status for row in rows} == {ResultStatus.SUCCEEDED}
    assert next(row for row in rows if row.request_id == "0000017").text == "echo: question 17"


async def test_a_whole_job_runs_on_a_virtual_clock_without_a_thread(client, clock):
    started = clock.now()

    job = await client.submit(prompts(20), model=CHAT)
    status = await job.wait()

    assert status.is_over and status.outcomes == {ResultStatus.SUCCEEDED: 20}
    assert clock.now() > started
    assert any(wait >= 1 for wait in clock.slept_s)


async def test_own_ids_come_back_whatever_they_look_like(client):
    ids = ["a b", "ü-1", "x" * 300, "line-1", "\u2028"]
    rows = [{"custom_id": own, "body": {"messages": [{"role": "user", "content": own}]}} for own in ids]

    job = await client.submit(rows, model=CHAT)
    results = {row.request_id: row async for row in job.results()}

    assert set(results) == set(ids)
    assert all(results[own].text == f"echo: {own}" for own in ids)


class TestSeveralBatches:
    @pytest.fixture
    def limits(self):
        return {"requests": 10}

    async def test_a_long_list_becomes_several_batches_and_one_result(self, client, emulator):
        job = await client.submit(prompts(35), model=CHAT)

        batches = await job.submitted()
        rows = await job.results()

        assert len(batches) == 4 == len(creates(emulator))
        assert len({row.request_id for row in rows}) == 35 == len(rows)
        assert paid_twice(emulator.history) == {}

    async def test_each_attempt_carries_a_tag_of_its_own(self, client, emulator):
        job = await client.submit(prompts(35), model=CHAT)
        await job.submitted()

        tags = [record.metadata["asyncbatch_tag"] for record in creates(emulator)]

        assert len(set(tags)) == 4
        assert all(tag.startswith(f"ab1-{job.id[:8]}-") for tag in tags)

    async def test_one_batch_that_fails_leaves_the_others_alone(self, client, emulator):
        doom = faults.Doom(code="batch_expired", message="It came too late.")
        emulator.add(faults.Fault(effect=doom, operation="create", method="POST", first=2))
        job = await client.submit(prompts(30), model=CHAT)

        rows = await job.results()

        outcomes = collections.Counter(row.status for row in rows)
        assert outcomes == {ResultStatus.SUCCEEDED: 20, ResultStatus.ERRORED: 10}
        failed = [row.error for row in rows if row.error]
        assert {error.code for error in failed} == {"batch_failed"}
        assert all(error.retryable and "batch_expired" in error.message for error in failed)

    async def test_one_batch_that_is_refused_ends_its_own_requests_only(self, client, emulator):
        emulator.add(faults.refuse(400, code="invalid_request", method="POST", path="/batches", first=2))
        job = await client.submit(prompts(30), model=CHAT)

        rows = await job.results()

        assert collections.Counter(row.status for row in rows) == {ResultStatus.SUCCEEDED: 20, ResultStatus.ERRORED: 10}
        with pytest.raises(ProviderPermanentError, match="400 invalid_request"):
            await job.submitted()

    async def test_cancelling_a_job_withdraws_what_was_not_sent(self, client, emulator):
        emulator.add(faults.rate_limited(600, method="POST", path="/batches", first=2, times=None))
        job = await client.submit(prompts(30), model=CHAT)
        await until(lambda: any(batch.provider_batch_id for batch in job.status().batches))

        await job.cancel()
        rows = await job.results()

        assert len(rows) == 30
        assert len(creates(emulator)) == 1
        assert "not_sent" in {row.error.code for row in rows if row.error}


async def test_results_may_be_read_again_and_by_several_at_once(client):
    job = await client.submit(prompts(50), model=CHAT)
    seen = []

    async def read():
        seen.append(sorted([row.request_id async for row in job.results()]))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(read)
    seen.append(sorted(row.request_id for row in await job.results()))

    assert len(seen) == 4
    assert all(ids == seen[0] and len(ids) == 50 for ids in seen)


async def test_answers_without_text_say_what_they_are(client):
    requests = [
        "[[error:400]] no",
        "[[missing]] lost",
        "[[garbage]] broken",
        "[[conflict]] two",
        "[[duplicate]] same",
        "fine",
    ]
    job = await client.submit(requests, model=CHAT)

    rows = {row.request_id: row for row in await job.results()}

    assert rows["0000000"].status is ResultStatus.ERRORED and rows["0000000"].error.status == 400
    assert rows["0000001"].status is ResultStatus.MISSING
    assert rows["0000002"].status in (ResultStatus.UNDECODABLE, ResultStatus.MISSING)
    assert rows["0000003"].status is ResultStatus.CONFLICT and len(rows["0000003"].response) == 2
    assert rows["0000004"].status is ResultStatus.SUCCEEDED
    assert rows["0000005"].status is ResultStatus.SUCCEEDED
    assert len(rows) == len(requests)


async def test_embeddings_are_vectors(client):
    job = await client.submit(["one", "two"], model="openai/text-embedding-3-small")

    rows = await job.results()

    assert job.status().mode is BatchMode.EMBEDDING
    assert all(sum(x * x for x in row.embedding) == pytest.approx(1.0) for row in rows)


async def test_an_endpoint_of_the_catalog_takes_bodies_as_they_are(client):
    job = await client.submit([{"input": "Say hi"}], model=CHAT, mode="custom", endpoint="/v1/responses")

    (row,) = await job.results()

    assert row.format == "openai.responses"
    assert row.text and row.usage.total_tokens > 0


async def test_an_answer_decodes_into_what_was_asked_for(client):
    class City(msgspec.Struct):
        name: str
        people: int

    schema = {"type": "object", "properties": {"name": {"type": "string"}, "people": {"type": "integer"}}}
    schema |= {"required": ["name", "people"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}}
    request = {"messages": [{"role": "user", "content": "A city"}], "response_format": wanted}

    (row,) = await (await client.submit([request], model=CHAT)).results()

    assert isinstance(row.decode(City), City)


async def test_a_batch_that_expires_gives_what_it_has(client, emulator):
    job = await client.submit(["quick", "[[expire]] too slow"], model=CHAT)

    rows = {row.request_id: row.status for row in await job.results()}

    assert rows == {"0000000": ResultStatus.SUCCEEDED, "0000001": ResultStatus.EXPIRED}


async def test_a_job_that_is_cancelled_ends_every_request(client, emulator, clock):
    job = await client.submit([f"[[expire]] {number}" for number in range(5)], model=CHAT)
    await job.submitted()

    await job.cancel()
    rows = await job.results()

    assert {row.status for row in rows} == {ResultStatus.CANCELLED}
    assert job.status().batches[0].status is BatchStatus.CANCELLED


async def test_if_nothing_could_be_sent_everybody_who_waits_gets_the_error(client, emulator):
    emulator.add(faults.refuse(401, code="invalid_api_key", times=None))
    job = await client.submit(prompts(3), model=CHAT)

    for waiting in (job.submitted, job.wait, job.results().__aiter__().__anext__):
        with pytest.raises(ProviderPermanentError, match="check the key: OPENAI_API_KEY"):
            await waiting()
    assert job.status().error


async def test_a_key_that_is_refused_while_watching_ends_the_wait_and_keeps_the_batch(client, emulator):
    job = await client.submit(prompts(3), model=CHAT)
    (batch,) = await job.submitted()
    emulator.add(faults.refuse(401, code="invalid_api_key", times=None))

    with pytest.raises(ProviderPermanentError, match="401"):
        await job.wait()

    assert job.status().batches[0].provider_batch_id == batch


async def test_a_cancel_that_is_refused_is_told_and_the_batch_is_watched_on(client, emulator):
    emulator.add(faults.refuse(403, path="/batches/*/cancel", times=1))
    job = await client.submit(["[[expire]] slow"], model=CHAT)
    await job.submitted()

    with pytest.raises(ProviderPermanentError, match="cancel was answered 403"):
        await job.cancel()

    assert (await job.wait()).outcomes == {ResultStatus.EXPIRED: 1}


async def test_a_job_can_be_discarded_when_it_is_over(client):
    job = await client.submit(prompts(3), model=CHAT)
    with pytest.raises(ConfigError, match="still running"):
        await job.discard()
    await job.wait()

    await job.discard()

    assert client.jobs() == []
    with pytest.raises(ConfigError, match=f"no job '{job.id}'"):
        await client.job(job.id)


async def test_a_job_is_found_again_by_its_id(client):
    job = await client.submit(prompts(3), model=CHAT)

    assert (await client.job(job.id)).id == job.id
    assert len(await (await client.job(job.id)).results()) == 3


class TestBadInput:
    async def test_bad_rows_are_named_and_nothing_is_sent(self, client, emulator):
        rows = [
            "fine",
            float("nan"),
            {"messages": [{"role": "user", "content": float("inf")}, None]},
            {"custom_id": "x"},
        ]

        with pytest.raises(InvalidRequestsError) as caught:
            await client.submit(rows, model=CHAT)

        assert [problem.row for problem in caught.value.problems] == [1, 2, 3]
        assert [problem.code for problem in caught.value.problems] == ["not_an_object", "nan", "no_body"]
        assert emulator.history == []

    async def test_bad_rows_may_end_rejected_while_the_others_go(self, client, emulator):
        rows = [
            {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "hi"}]}},
            {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "again"}]}},
            {"custom_id": "b", "body": {"messages": []}},
            "fine",
        ]
        job = await client.submit(rows, model=CHAT, on_bad_row="reject")

        outcomes = [(row.request_id, row.status.value) for row in await job.results()]

        assert sorted(outcomes) == [
            ("0000003", "succeeded"),
            ("a", "succeeded"),
            ("a#1", "rejected"),
            ("b", "rejected"),
        ]
        assert job.status().requests == 4 == job.status().done

    async def test_a_job_of_bad_rows_alone_is_over_at_once(self, client, emulator):
        job = await client.submit([1, 2], model=CHAT, on_bad_row="reject")

        status = await job.wait()

        assert status.outcomes == {ResultStatus.REJECTED: 2}
        assert await job.submitted() == ()
        assert emulator.history == []

    @pytest.mark.parametrize("nothing", [[], (), iter(())])
    async def test_nothing_to_do_is_an_error(self, client, nothing):
        with pytest.raises(InvalidRequestsError, match="no request at all"):
            await client.submit(nothing, model=CHAT)

    @pytest.mark.parametrize("single", ["a prompt", {"messages": []}, b"bytes", 7, None])
    async def test_a_single_request_is_no_list(self, client, single):
        with pytest.raises(InvalidRequestsError, match="wrap it in a list"):
            await client.submit(single, model=CHAT)

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"model": "gpt-4.1-mini"}, ConfigError, "write provider/model, such as openai/gpt-4.1-mini"),
            (
                {"model": "opanai/gpt-4.1-mini"},
                ProviderNotRegisteredError,
                "there is no provider 'opanai'; there are: ",
            ),
            ({"model": "openai/llama-9"}, ConfigError, "no model of the catalog is called 'llama-9'"),
            ({"model": CHAT, "mode": "embedding"}, ConfigError, "has no mode embedding"),
            ({"model": CHAT, "mode": "chatty"}, ConfigError, "'chatty' is no mode"),
            ({"model": CHAT, "mode": "custom"}, ConfigError, "needs an endpoint"),
            ({"model": CHAT, "endpoint": "/v2/x"}, ConfigError, "has no endpoint '/v2/x'"),
            ({"model": CHAT, "account": "acme"}, ConfigError, "knows no accounts"),
            ({"model": CHAT, "metadata": {"k": "v" * 600}}, ConfigError, "too long"),
            ({"model": "opanai/gpt-4.1-mini"}, ConfigError, "there is no provider 'opanai'"),
            ({"model": "openai/"}, ConfigError, "'openai/' names no model"),
            ({"model": "/gpt-4.1-mini"}, ConfigError, "such as openai/gpt-4.1-mini"),
            ({"model": CHAT + "\n"}, ConfigError, "with space around it"),
            ({"model": CHAT, "mode": 7}, ConfigError, "7 is no mode"),
            ({"model": CHAT, "key": 7}, ConfigError, "key is 7, no text"),
            ({"model": CHAT, "key": b"k"}, ConfigError, "key is b'k', no text"),
            ({"model": CHAT, "key": True}, ConfigError, "key is True, no text"),
            ({"model": CHAT, "key": "a\ud800"}, ConfigError, r"key is 'a\ud800', and half of a character"),
            ({"model": CHAT, "account": 7}, ConfigError, "account is 7, no text"),
            ({"model": CHAT, "account": ["a"]}, ConfigError, "account is ['a'], no text"),
            ({"model": CHAT, "account": "\udfff"}, ConfigError, "half of a character"),
            ({"model": CHAT, "metadata": "x"}, ConfigError, "metadata is 'x'"),
            ({"model": CHAT, "metadata": {"team": 7}}, ConfigError, "metadata['team'] is 7, no text"),
            ({"model": CHAT, "metadata": {7: "team"}}, ConfigError, "a name in metadata is 7, no text"),
            ({"model": CHAT, "metadata": {"team": "\ud800"}}, ConfigError, "half of a character"),
            ({"model": CHAT, "options": 7}, ConfigError, "options is 7"),
            ({"model": CHAT, "options": {"x": "\ud800"}}, ConfigError, "options cannot be sent as JSON"),
            ({"model": CHAT, "options": {"x": object()}}, ConfigError, "options cannot be sent as JSON"),
        ],
    )
    async def test_what_is_not_known_is_named(self, client, emulator, arguments, error, words):
        with pytest.raises(error) as caught:
            await client.submit(["hi"], **arguments)

        assert words in str(caught.value)
        assert emulator.history == []

    async def test_an_unknown_model_names_the_yaml_that_would_allow_it_and_may_be_sent_all_the_same(
        self, client, emulator
    ):
        with pytest.raises(ConfigError) as caught:
            await client.submit(["hi"], model="openai/my-own")
        job = await client.submit(["hi"], model="openai/my-own", allow_unknown_model=True)

        assert 'match: "my-own"' in caught.value.hint
        assert (await job.wait()).outcomes == {ResultStatus.ERRORED: 1}, "the emulator does not know it either"

    async def test_a_missing_key_names_the_variable(self, client, emulator, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY")

        with pytest.raises(MissingCredentialsError, match="OPENAI_API_KEY is not set"):
            await client.submit(["hi"], model=CHAT)

    async def test_a_client_that_is_not_open_says_so(self):
        with pytest.raises(ScopeError, match="async with BatchClient"):
            await BatchClient().submit(["hi"], model=CHAT)


class TestAccounts:
    async def test_each_account_pays_with_its_own_key(self, emulator, runtime):
        async def credentials(name):
            return {"api_key": f"key-of-{name}"}

        async with BatchClient(runtime=runtime, accounts=credentials) as client:
            jobs = [await client.submit(["hi"], model=CHAT, account=name) for name in ("acme", "zenith", "acme")]
            for job in jobs:
                await job.wait()

        payers = [record.account for record in creates(emulator)]
        assert len(payers) == 3
        assert sorted(collections.Counter(payers).values()) == [1, 2]

    async def test_a_mapping_may_hold_keys_for_several_providers(self, emulator, runtime):
        accounts = {"acme": {"openai": "key-a", "other": "key-b"}, "zenith": "key-c"}
        async with BatchClient(runtime=runtime, accounts=accounts) as client:
            await (await client.submit(["hi"], model=CHAT, account="acme")).wait()
            await (await client.submit(["hi"], model=CHAT, account="zenith")).wait()
            with pytest.raises(ConfigError, match=r"no account .nobody.*known are: acme, zenith"):
                await client.submit(["hi"], model=CHAT, account="nobody")

        assert len({record.account for record in creates(emulator)}) == 2

    async def test_the_journal_knows_the_account_and_which_key_it_was_but_never_the_key(self, emulator, runtime):
        async with BatchClient(runtime=runtime, accounts={"acme": "sk-very-secret-key-0001"}) as client:
            job = await client.submit(["hi"], model=CHAT, account="acme")
            record = await client._journal.job(job.id)

        assert record.account == "acme"
        assert len(record.fingerprint) == 16
        assert "secret" not in repr(record)


async def test_rows_that_use_an_id_again_are_told_apart_from_those_whose_it_is(client):
    def row(request_id):
        return {"custom_id": request_id, "body": {"messages": [{"role": "user", "content": "hi"}]}}

    job = await client.submit([row("0000002"), row("q"), row("q"), row("q")], model=CHAT, on_bad_row="reject")
    outcomes = {found.request_id: found.status.value for found in await job.results()}

    assert outcomes == {"0000002": "succeeded", "q": "succeeded", "q#2": "rejected", "q#3": "rejected"}
