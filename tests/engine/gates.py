"""Holding a step of a job until a test lets it go on: what happens meanwhile happens in every run, on any machine."""

from functools import partial

import anyio

from asyncbatch.journal.sqlite import SqliteJournal
from asyncbatch.runtime import Signal
from tests.engine.waiting import turns


class Gate:
    """Holds what comes by until it is opened.

    Attributes:
        came: How many came by.
    """

    def __init__(self, thing=None):
        self._thing = (
            thing  # a client knows a provider that no job uses by a weak reference, and would make another one
        )
        self.came = 0
        self.reached = anyio.Event()
        self._is_open = anyio.Event()
        self._changed = Signal()

    def open(self):
        self._is_open.set()

    async def pass_through(self):
        self.came += 1
        self.reached.set()
        self._changed.notify()
        await self._is_open.wait()

    async def met_by(self, count):
        """Wait until so many came by."""
        while self.came < count:
            await self._changed.wait()


def hold(thing, name, is_meant=lambda *_: True):
    """Hold a method of one object before it begins; gives the gate."""
    gate, step = Gate(thing), getattr(thing, name)

    async def held(*given, **named):
        if is_meant(*given):
            await gate.pass_through()
        return await step(*given, **named)

    setattr(thing, name, held)
    return gate


def hold_after(thing, name, is_meant=lambda *_: True):
    """Hold a method of one object once it is done and nobody has heard of it yet; gives the gate."""
    gate, step = Gate(thing), getattr(thing, name)

    async def held(*given, **named):
        done = await step(*given, **named)
        if is_meant(*given):
            await gate.pass_through()
        return done

    setattr(thing, name, held)
    return gate


async def until_told(ask, wanted):
    """Ask, again and again, until the answer is the one that is wanted."""
    for _ in turns():
        if await ask() == wanted:
            return
    raise AssertionError("it did not come to pass")


async def until_anybodys(directory, runtime, job_id):
    """Wait until the process that had a job has let it go: it does so a moment after the job is over."""
    journal = SqliteJournal(directory, runtime)
    await journal.open()
    try:
        await until_told(partial(journal.claim, job_id), True)
    finally:
        await journal.close()
