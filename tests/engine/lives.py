"""What becomes of a client between its opening and its end: each life is lived many times, and has to leave nothing behind."""

import asyncio
from contextlib import suppress

import anyio
import pytest

from asyncbatch import InvalidRequestsError, ProviderError
from tests.engine.flaky import rows
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"
STALL = "[[stall]] never answered"
LONG = "x" * 400_000
"""So long that three of them do not stay in memory."""


class OwnError(Exception):
    """Raised by the application's own code."""


async def whole(client):
    job = await client.submit(["a", "b"], model=CHAT)
    assert len([row async for row in job.results()]) == 2
    await job.discard()


async def left_early(client):
    await client.submit(["a", STALL], model=CHAT)


async def refused(client):
    with pytest.raises(ProviderError):
        await (await client.submit(["a"], model=CHAT)).results()


async def cancelled(client):
    job = await client.submit(["a", STALL], model=CHAT)
    with anyio.move_on_after(0):
        await job.results()
    with suppress(asyncio.CancelledError):
        task = asyncio.create_task(job.wait())
        await asyncio.sleep(0)
        task.cancel()
        await task


# The application's own code fails, wherever it is called.


def _broken():
    yield from [LONG] * 4
    raise OwnError


async def _broken_later():
    for text in _broken():
        yield text


async def requests_fail(client):
    for requests in (_broken(), _broken_later()):
        with pytest.raises(OwnError):
            await client.submit(requests, model=CHAT)


async def a_bad_row_comes_late(client):
    with pytest.raises(InvalidRequestsError):
        await client.submit([LONG] * 4 + [{"messages": float("nan")}], model=CHAT)


async def it_is_not_to_be_sent(client):
    async def no(*_):
        raise OwnError

    with pytest.raises(OwnError):
        await client.submit([LONG] * 4, model=CHAT, before_sending=no)


async def no_row_is_judged(client):
    def judge(row):
        raise OwnError

    job = await client.submit(rows("a", "b fails 9"), model=CHAT, retry=judge)
    with suppress(Exception):
        await job.wait()


async def its_handler_fails(client):
    calls = []

    async def fail(job):
        calls.append(job)
        raise OwnError

    client.on("job_ended", fail)
    await (await client.submit(["a"], model=CHAT)).wait()
    await until(lambda: len(calls) >= 2)


async def its_callbacks_fail(client):
    def fail():
        raise OwnError

    job = await client.submit(["a"], model=CHAT)
    for handle in client._poller._handles:
        handle.on_reading(fail)
        handle.on_done(fail)
    await job.wait()


async def its_reader_fails(client):
    events, job = client.events(), await client.submit(["a", "b"], model=CHAT)
    for stream in (events, job.results()):
        with pytest.raises(OwnError):
            await _fail_at_first(stream)


async def _fail_at_first(stream):
    async for _ in stream:
        raise OwnError


async def its_provider_fails(client):
    provider = await client._payers.of("openai", None)

    async def fail(*_, **__):
        raise OwnError

    provider.poll_status = fail
    with anyio.move_on_after(0):
        await (await client.submit(["a"], model=CHAT)).wait()


LIVES = {
    "to its end": whole,
    "left early": left_early,
    "refused": refused,
    "cancelled": cancelled,
    "broken requests": requests_fail,
    "a bad row": a_bad_row_comes_late,
    "refused before sending": it_is_not_to_be_sent,
    "a broken judge": no_row_is_judged,
    "a broken handler": its_handler_fails,
    "broken callbacks": its_callbacks_fail,
    "a broken reader": its_reader_fails,
    "a broken provider": its_provider_fails,
}
