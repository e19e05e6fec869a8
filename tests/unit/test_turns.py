"""Places in turn: a flood waits behind itself, and a place is never lost."""

import asyncio
import random

import anyio
import pytest

from asyncbatch.turns import Turns
from tests.engine.waiting import until


class Scene:
    """Calls of many owners; each goes on until it is let go."""

    def __init__(self, turns, group):
        self.turns = turns
        self.group = group
        self.begun = []
        self.ends = {}
        self.scopes = {}

    async def call(self, owner, name=None):
        """Ask for a place, and wait until that stands."""
        name = name or owner
        self.ends[name], self.scopes[name] = anyio.Event(), anyio.CancelScope()
        self.group.start_soon(self._run, owner, name)
        await settled()

    async def _run(self, owner, name):
        with self.scopes[name]:
            async with self.turns.place(owner):
                self.begun.append(name)
                await self.ends[name].wait()

    async def end(self, *names):
        for name in names:
            self.ends[name].set()
            await settled()


async def settled():
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def test_a_flood_waits_behind_itself_and_others_take_turns_with_it():
    async with anyio.create_task_group() as group:
        scene = Scene(Turns(2), group)
        for index in range(6):
            await scene.call("flood", f"flood {index}")
        await scene.call("one")
        await scene.call("two")
        await scene.end("flood 0", "flood 1", "flood 2")
        group.cancel_scope.cancel()

    assert scene.begun == ["flood 0", "flood 1", "flood 2", "one", "two"]


async def test_each_owner_has_a_place_that_nobody_else_takes():
    async with anyio.create_task_group() as group:
        scene = Scene(Turns(3, has_own=True), group)
        for owner in ("a", "b"):
            for index in range(4):
                await scene.call(owner, f"{owner}{index}")
        before = list(scene.begun)
        await scene.call("c")
        counts = scene.turns.under_way, scene.turns.waiting
        group.cancel_scope.cancel()

    assert before == ["a0", "a1", "a2", "a3", "b0"]
    assert scene.begun == [*before, "c"]
    assert counts == (6, 3)


async def test_an_own_place_goes_to_the_next_of_its_owner_and_a_shared_one_to_whose_turn_it_is():
    async with anyio.create_task_group() as group:
        scene = Scene(Turns(1, has_own=True), group)
        for name in ("a0", "a1", "a2", "b0", "b1"):
            await scene.call(name[0], name)
        await scene.end("b0", "a1", "a0")
        group.cancel_scope.cancel()

    assert scene.begun == ["a0", "a1", "b0", "b1", "a2"]


async def test_an_owner_has_so_many_of_the_shared_ones_and_no_more():
    async with anyio.create_task_group() as group:
        scene = Scene(Turns(3, most=2), group)
        for name in ("a0", "a1", "a2", "b0", "b1"):
            await scene.call(name[0], name)
        before = list(scene.begun)
        await scene.end("a0")
        group.cancel_scope.cancel()

    assert before == ["a0", "a1", "b0"]
    assert scene.begun == [*before, "a2"]


async def test_whoever_is_cancelled_while_it_waits_takes_no_place():
    async with anyio.create_task_group() as group:
        scene = Scene(Turns(1), group)
        for name in ("a0", "b0", "c0"):
            await scene.call(name[0], name)
        scene.scopes["b0"].cancel()
        await settled()
        await scene.end("a0")
        group.cancel_scope.cancel()

    assert scene.begun == ["a0", "c0"]


@pytest.mark.parametrize("has_own", [False, True])
async def test_a_place_that_comes_in_the_moment_of_a_cancellation_goes_on_to_the_next(has_own):
    turns, begun = Turns(0 if has_own else 1, has_own=has_own), []

    async def use(name):
        async with turns.place("a"):
            begun.append(name)

    async with turns.place("a"):
        first, second = [asyncio.create_task(use(name)) for name in ("first", "second")]
        await until(lambda: turns.waiting == 2)
    first.cancel()  # it has been given the place that we left, and does not know it yet
    await asyncio.wait((first, second))

    assert first.cancelled()
    assert begun == ["second"]
    assert turns.under_way == 0


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_no_place_is_lost_and_none_is_given_twice(seed):
    dice = random.Random(seed)
    turns, has_own = Turns(3, most=2, has_own=seed % 2 == 0), seed % 2 == 0
    async with anyio.create_task_group() as group:
        scene = Scene(turns, group)
        for index in range(60):
            await scene.call(dice.choice("abcd"), f"call {index}")
            if dice.random() < 0.7:
                name = dice.choice(list(scene.ends))
                dice.choice([scene.scopes[name].cancel, scene.ends[name].set])()
            await settled()
            assert turns.under_way <= 3 + 4 * has_own
        for name in scene.ends:
            await scene.end(name)

    assert (turns.under_way, turns.waiting, turns._free) == (0, 0, 3)
    assert len(scene.begun) > 30
