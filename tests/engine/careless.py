"""A program that leaves its client in an untidy way: run by `test_shutdown.py`, which reads what it says."""

import asyncio
import gc
import os
import signal
import sys
import threading
import warnings

import anyio

from asyncbatch import BatchClient, BatchPoller, ClientClosedError, JournalError, Polling, ScopeError

CHAT = "openai/gpt-4.1-mini"
STALL = "[[stall]] never answered"
kept = []


def a_client():
    client = BatchClient(polling=Polling(first_s=0.05, max_s=0.1))
    kept.append(client)
    return client


async def never_left():
    """The loop ends, and the client is open."""
    client = await a_client().__aenter__()
    await (await client.submit([STALL], model=CHAT)).submitted()


async def dropped():
    """The same, and nobody holds the client any more."""
    await never_left()
    kept.clear()
    gc.collect()


async def exits_in_a_handler():
    async with a_client() as client:
        client.on("job_ended", leave)
        await client.submit(["a"], model=CHAT)
        await anyio.sleep(60)


async def leave(job):
    sys.exit(3)


async def exits_inside():
    async with a_client() as client:
        await (await client.submit([STALL], model=CHAT)).submitted()
        sys.exit(3)


async def is_interrupted():
    async with a_client() as client:
        await (await client.submit([STALL], model=CHAT)).submitted()
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(60)


async def is_interrupted_at_opening():
    threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    async with a_client():
        await anyio.sleep(60)


async def ends_in_another_thread():
    """The interpreter ends while a loop with an open client runs in a thread that nobody joins."""
    is_open = threading.Event()

    async def serve():
        async with a_client() as client:
            await (await client.submit([STALL], model=CHAT)).submitted()
            is_open.set()
            await anyio.sleep(3600)

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
    assert await asyncio.to_thread(is_open.wait, 60)


async def forks():
    """The child is told that nothing of what it has inherited is its own."""
    async with a_client() as client, BatchPoller() as poller:
        job = await client.submit([STALL], model=CHAT)
        await job.submitted()
        warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons, which warn of forks beside threads
        child = os.fork()
        if not child:
            await in_the_child(client, poller)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await (await client.submit([STALL], model=CHAT)).submitted()


async def in_the_child(client, poller):
    codes = []
    for use in (lambda: client.submit([STALL], model=CHAT), lambda: client.records(), lambda: as_coroutine(poller)):
        try:
            await use()
        except (ScopeError, JournalError, ClientClosedError) as error:
            codes.append(error.code)
    os._exit(int(codes != ["scope.forked"] * 3))


async def as_coroutine(poller):
    poller.wake("any")


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]]())
