"""How often a property is tried: the same examples in each run of CI, a minute of them, and fresh ones at length.

`python3 dev.py test --long tests/fuzz` tries each of them a hundred times as often (`FUZZ_TIMES`), from a new seed. A failure
says which:
`FUZZ_SEED=… python3 dev.py test --long tests/fuzz -k …` finds it again.
"""

import asyncio
import functools
import os
import secrets
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, seed, settings

LONGER = int(os.environ.get("FUZZ_TIMES", "100"))
SIZES = ("short", pytest.param("long", marks=[pytest.mark.long, pytest.mark.timeout(3_600)]))


def fuzz(examples, **strategies):
    """Make a test of a property; strategies are its arguments by name."""

    def make(prop):
        @pytest.mark.parametrize("size", SIZES)
        def test(size):
            run(prop, size, examples, strategies)

        functools.update_wrapper(test, prop, ("__name__", "__qualname__", "__module__", "__doc__"), ())
        del test.__wrapped__  # pytest would take its arguments for fixtures
        return test

    return make


def run(prop, size, examples, strategies):
    """Try a property; a failure at length says by which seed it is found again."""
    is_long = size == "long"
    limits = settings(
        max_examples=examples * LONGER if is_long else examples,
        derandomize=not is_long,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    tried = limits(given(**strategies)(_named(prop, strategies)))
    if not is_long:
        tried()
        return
    number = int(os.environ.get("FUZZ_SEED") or secrets.randbits(64))
    try:
        seed(number)(tried)()
    except BaseException as error:
        error.add_note(f"FUZZ_SEED={number} finds it again")
        raise


def tried(call, *kinds):
    """Give what a call gives and None, or None and the error of these kinds that it raised; no other is expected."""
    try:
        return call(), None
    except kinds as error:
        return None, error


def _named(prop, strategies):
    """Give the property as a function of its own, for hypothesis marks what it is given."""
    names = ", ".join(strategies)
    space = {"prop": prop}
    exec(f"def tried({names}): return prop({', '.join(f'{name}={name}' for name in strategies)})", space)
    return space["tried"]


class World:
    """An event loop that outlives an example: what is opened on it is closed at the end, and what goes wrong in it is kept."""

    def __init__(self, open_world):
        self._open = open_world
        self._stack = AsyncExitStack()
        self.faults = []

    def __enter__(self):
        self._runner = asyncio.Runner()
        self._runner.__enter__()
        self._runner.get_loop().set_exception_handler(lambda loop, context: self.faults.append(context))
        self.here = self.run(self._stack.enter_async_context(self._open()))
        return self

    def __exit__(self, *error):
        try:
            self.run(self._stack.aclose())
        finally:
            self._runner.__exit__(*error)
        assert self.faults == []

    def run(self, coroutine):
        return self._runner.run(coroutine)
