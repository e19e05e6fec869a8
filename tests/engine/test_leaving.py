"""Leaving the client, in every untidy way: everything is closed, and nobody is left waiting or misled."""

import asyncio
import gc

import anyio
import pytest

from asyncbatch import BatchClient, ClientClosedError, ConfigError, ResultStatus, ScopeError, load_catalog
from asyncbatch.emulator import faults
from tests.engine.waiting import until

CHAT = "openai/gpt-4.1-mini"


def others():
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


@pytest.mark.parametrize("ticks", range(0, 30, 3))
async def test_a_native_cancel_at_any_tick_of_the_exit_closes_everything(emulator, runtime, ticks):
    before = others()
    client = BatchClient(runtime=runtime)
    await client.__aenter__()
    await (await client.submit(["hi"], model=CHAT)).wait()

    task = asyncio.create_task(client.aclose())
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await client.aclose()

    assert others() <= before
    assert client._scope.is_open is False
    gc.collect()  # an unclosed session would warn here, and warnings are errors


@pytest.mark.parametrize("ticks", range(20))
async def test_a_native_cancel_at_any_tick_of_the_start_leaves_nothing_open(emulator, runtime, ticks):
    before = others()
    client = BatchClient(runtime=runtime)

    task = asyncio.create_task(client.__aenter__())
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await client.aclose()

    assert others() <= before
    gc.collect()


async def test_a_client_that_is_open_is_not_entered_twice(client):
    with pytest.raises(ScopeError, match="open already"):
        await client.__aenter__()


async def test_what_was_accepted_and_not_sent_is_named_in_a_warning(emulator, runtime, caplog):
    async with BatchClient(runtime=runtime) as client:
        job = await client.submit(["a", "b"], model=CHAT)

    assert f"job {job.id}: the client is closed before 2 requests were sent" in caplog.text


@pytest.mark.parametrize("turns", range(4))
async def test_a_client_that_is_left_while_the_parts_of_a_job_begin_crashes_nothing(emulator, caplog, turns):
    one_each = load_catalog({"providers": {"openai": {"limits": {"requests": 1}}}})
    async with BatchClient(catalog=one_each) as client:
        job = await client.submit([f"hello {number}" for number in range(150)], model=CHAT)
        for _ in range(turns):
            await asyncio.sleep(0)

    with pytest.raises(ClientClosedError) as caught:
        await job.wait()
    assert caught.value.__cause__ is None
    assert "crashed" not in caplog.text


async def test_a_job_that_was_sent_is_left_without_a_word(emulator, runtime, caplog):
    async with BatchClient(runtime=runtime) as client:
        job = await client.submit(["[[expire]] slow"], model=CHAT)
        await job.submitted()

    assert "were sent" not in caplog.text


@pytest.mark.parametrize("rows", [3, 3000])
async def test_rows_of_a_closed_client_are_gone_however_many_there_were(emulator, runtime, rows):
    async with BatchClient(runtime=runtime) as client:
        job = await client.submit(["x" * 500] * rows, model=CHAT)
        await job.wait()

    with pytest.raises(ClientClosedError, match="its rows lay with the client"):
        await job.results()
    assert job.status().outcomes == {ResultStatus.SUCCEEDED: rows}


async def test_a_discarded_job_has_no_rows_and_says_so(client):
    job = await client.submit(["hi"], model=CHAT)
    await job.wait()
    await job.discard()

    with pytest.raises(ConfigError, match="was discarded"):
        await job.results()


async def test_a_submit_that_is_cancelled_leaves_nothing_on_the_disk(client):
    def rows():
        for number in range(100_000):
            yield {"messages": [{"role": "user", "content": f"{number}" + "x" * 2000}]}
            if number == 3000:
                scope.cancel()

    with anyio.CancelScope() as scope:
        await client.submit(rows(), model=CHAT)
    directory = client._scope.context.space._directory

    assert scope.cancelled_caught
    assert directory is not None
    assert list(directory.iterdir()) == []


async def test_an_error_that_many_wait_for_does_not_grow(client, emulator):
    emulator.add(faults.refuse(401, times=None))
    job = await client.submit(["hi"], model=CHAT)
    for _ in range(50):
        with pytest.raises(Exception, match="401") as caught:
            await job.wait()

    assert len(caught.traceback) < 10


async def test_whoever_waits_long_for_the_end_is_told_for_what(emulator, runtime, caplog, monkeypatch):
    """Code that does not let itself be cancelled, like a disk that does not answer, is waited for, and is named."""
    monkeypatch.setattr("asyncbatch.runtime._LONG_S", 0.05)
    is_called, may_end = anyio.Event(), anyio.Event()

    async def stubborn(job):
        is_called.set()
        with anyio.CancelScope(shield=True):
            await may_end.wait()

    async def let_it_end():
        await until(lambda: "takes long" in caplog.text)
        may_end.set()

    async with anyio.create_task_group() as group:
        async with BatchClient(runtime=runtime) as client:
            client.on("job_ended", stubborn)
            job = await client.submit(["a"], model=CHAT)
            await is_called.wait()
            group.start_soon(let_it_end)

    assert f"asyncbatch clean-up takes long; still at work: asyncbatch client, asyncbatch end of job {job.id[:8]}" in (
        caplog.text
    )


async def test_leaving_does_not_wait_for_a_handler_that_lets_itself_be_cancelled(emulator, runtime, caplog):
    is_called = anyio.Event()

    async def endless(job):
        is_called.set()
        await anyio.sleep_forever()

    async with BatchClient(runtime=runtime) as client:
        client.on("job_ended", endless)
        await client.submit(["a"], model=CHAT)
        await is_called.wait()

    assert "takes long" not in caplog.text
