"""What becomes of a webhook: good ones wake; all others are answered, logged without their body, and wake nothing."""

import logging

import pytest
from msgspec.structs import replace

from asyncbatch import BatchClient, ConfigError, ResultStatus, ScopeError, WebhookReceipt
from tests.engine.waiting import until
from tests.webhooks.signing import OTHER, SECRET, event, signed

CHAT = "openai/gpt-4.1-mini"
ENDED_S = 3600


async def sent_job(client, model=CHAT, rows=("one", "two")):
    job = await client.submit(list(rows), model=model)
    (batch_id,) = await job.submitted()
    return job, batch_id


async def test_a_webhook_brings_the_answers_at_once(client, clock, sent, polls):
    job, batch_id = await sent_job(client)
    clock.advance(ENDED_S)
    before = polls()

    receipt = await client.webhook(*sent(event(batch_id)))
    rows = await job.results()

    assert receipt == WebhookReceipt(
        status=200, event="batch.completed", provider_batch_id=batch_id, job_id=job.id, is_new=True, woke=True
    )
    assert before == 0
    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED] * 2


async def test_every_provider_that_sends_them_is_found_by_its_secret(open_client, clock, sent):
    async with open_client(webhook_secrets={"openai": SECRET, "gemini": OTHER}) as client:
        job, batch_id = await sent_job(client, "gemini/gemini-2.5-flash")
        clock.advance(ENDED_S)
        said = {
            "type": "batch.succeeded",
            "version": "v1",
            "timestamp": "2026-11-22T10:09:00Z",
            "data": {"id": batch_id},
        }
        foreign = await client.webhook(*sent(said))
        receipt = await client.webhook(*sent(said, secret=OTHER))
        rows = await job.results()

    assert (foreign.status, foreign.event, foreign.job_id, foreign.woke) == (200, "batch.succeeded", None, False)
    assert (receipt.job_id, receipt.woke) == (job.id, True)
    assert len(rows) == 2


async def test_an_event_that_came_too_early_is_believed_no_more_than_the_provider(client, sent, clock, polls):
    job, batch_id = await sent_job(client)

    early = await client.webhook(*sent(event(batch_id)))
    await until(lambda: job.status().batches[0].status is not None)
    status = job.status()
    clock.advance(ENDED_S)
    late = await client.webhook(*sent(event(batch_id)))
    rows = await job.results()

    assert (early.woke, late.woke) == (True, True)
    assert status.is_over is False
    assert len(rows) == 2


async def test_one_that_comes_again_wakes_nothing(client, sent, clock, polls):
    _job, batch_id = await sent_job(client)
    headers, body = sent(event(batch_id), webhook_id="msg_again")

    first = await client.webhook(headers, body)
    again = [await client.webhook(headers, body) for _ in range(3)]

    assert (first.is_new, first.woke) == (True, True)
    assert {(receipt.status, receipt.is_new, receipt.woke, receipt.job_id) for receipt in again} == {
        (200, False, False, first.job_id)
    }


async def test_a_job_that_is_over_has_nothing_to_wake(client, sent, clock):
    job, batch_id = await sent_job(client)
    clock.advance(ENDED_S)
    await client.webhook(*sent(event(batch_id)))
    await job.results()
    over = await client.webhook(*sent(event(batch_id)))
    await job.discard()
    gone = await client.webhook(*sent(event(batch_id)))

    assert (over.status, over.job_id, over.is_new, over.woke) == (200, job.id, True, False)
    assert (gone.status, gone.job_id, gone.is_new, gone.woke) == (200, None, True, False)


async def test_an_unknown_batch_and_an_unknown_event_are_heard_and_wake_nothing(client, sent, polls):
    _job, batch_id = await sent_job(client)

    stranger = await client.webhook(*sent(event("batch_somebody_elses")))
    other = await client.webhook(*sent(event(batch_id, "response.completed")))

    assert (stranger.status, stranger.job_id, stranger.woke) == (200, None, False)
    assert (other.status, other.event, other.provider_batch_id, other.woke) == (200, "response.completed", None, False)
    assert stranger.is_new
    assert other.is_new
    assert polls() == 0


def without(headers, name):
    return {key: value for key, value in headers.items() if key != name}


REFUSED = {
    "forged": (401, lambda sent, said: sent(said, secret=OTHER)),
    "tampered": (401, lambda sent, said: (sent(said)[0], sent(said)[1].replace(b"completed", b"cancelled"))),
    "old": (401, lambda sent, said: sent(said, at=1_700_000_000)),
    "from the future": (401, lambda sent, said: sent(said, at=1_900_000_000)),
    "without id": (400, lambda sent, said: (without(sent(said)[0], "webhook-id"), sent(said)[1])),
    "without signature": (400, lambda sent, said: (without(sent(said)[0], "webhook-signature"), sent(said)[1])),
    "without headers": (400, lambda sent, said: ({}, sent(said)[1])),
    "too large": (413, lambda sent, said: sent(b"x" * 1_000_001)),
    "no JSON": (400, lambda sent, said: sent(b"not a word of JSON")),
    "no event": (400, lambda sent, said: sent({"data": said["data"]})),
    "no batch": (400, lambda sent, said: sent({**said, "data": {}})),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_believed_is_answered_so_logged_without_its_body_and_wakes_nothing(
    client, sent, polls, caplog, name
):
    _job, batch_id = await sent_job(client)
    status, make = REFUSED[name]
    headers, body = make(sent, event(batch_id))
    caplog.clear()

    with caplog.at_level(logging.WARNING, "asyncbatch.webhooks"):
        receipt = await client.webhook(headers, body)

    assert receipt == WebhookReceipt(status=status, reason=receipt.reason)
    assert receipt.reason
    (line,) = (record.getMessage() for record in caplog.records if record.name == "asyncbatch.webhooks")
    assert receipt.reason in line
    assert batch_id not in line
    assert "xxx" not in line
    assert "not a word" not in line
    assert polls() == 0


async def test_a_refused_one_is_no_first_time(client, sent):
    _job, batch_id = await sent_job(client)
    headers, body = sent(event(batch_id), webhook_id="msg_1")

    await client.webhook(headers, body + b" ")
    receipt = await client.webhook(headers, body)

    assert (receipt.status, receipt.is_new, receipt.woke) == (200, True, True)


async def test_the_old_and_the_new_secret_both_count_while_one_is_changed(open_client, sent):
    async with open_client(webhook_secrets={"openai": [OTHER, SECRET]}) as client:
        _job, batch_id = await sent_job(client)
        found = [await client.webhook(*sent(event(batch_id), secret=secret)) for secret in (SECRET, OTHER)]

    assert [receipt.status for receipt in found] == [200, 200]


async def test_the_secret_comes_from_the_environment_by_default(open_client, sent, monkeypatch):
    async with open_client(webhook_secrets=None) as client:
        with pytest.raises(ConfigError, match="no secret") as caught:
            await client.webhook(*sent(event("b")))
        monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
        receipt = await client.webhook(*sent(event("b")))

    assert caught.value.code == "webhook.no_secret"
    assert "OPENAI_WEBHOOK_SECRET" in caught.value.hint
    assert "GEMINI_WEBHOOK_SECRET" in caught.value.hint
    assert "webhook_secrets" in caught.value.hint
    assert receipt.status == 200


@pytest.mark.parametrize("given", [{"openai": "nothing"}, {"mistral": SECRET}, SECRET])
async def test_a_mistake_in_the_secrets_shows_when_the_client_is_opened(open_client, given):
    with pytest.raises(ConfigError) as caught:
        async with open_client(webhook_secrets=given):
            raise AssertionError("it opened")

    assert caught.value.code.startswith("webhook.")


async def test_a_client_that_is_not_open_takes_no_webhook(runtime):
    client = BatchClient(webhook_secrets={"openai": SECRET}, runtime=runtime)

    with pytest.raises(ScopeError):
        await client.webhook(*signed(event("b")))


async def test_with_webhooks_switched_off_everything_arrives_by_polling(open_client, runtime, clock, emulator):
    hasty = replace(runtime, sleep=clock.sleep)
    async with BatchClient(runtime=hasty) as client:
        for model in (CHAT, "gemini/gemini-2.5-flash"):
            job, _ = await sent_job(client, model)
            assert len(await job.results()) == 2
    assert not [record for record in emulator.history if record.kind == "webhook"]
