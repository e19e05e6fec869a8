"""The caller's own iterator, read a slice at a time where it was made: on the event loop, two milliseconds of it at once."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from itertools import islice
from typing import Any, TypeAlias, cast

from asyncbatch.runtime import Runtime, checkpoint

Requests: TypeAlias = Iterable[Any] | AsyncIterable[Any]
"""What may be handed in: a list, an iterator or an async iterator of prompts, bodies, Structs or ready rows."""

_PULL_S = 0.002
_UNLOOKED = 8


async def slices_of(requests: Requests, runtime: Runtime, rows: Callable[[], int]) -> AsyncGenerator[list[Any], None]:
    """Give the items in lists of at most so many, as `rows` says before each; a slow iterator gives fewer."""
    if isinstance(requests, AsyncIterable):
        items: list[Any] = []
        async with _closing(requests):
            async for item in requests:
                items.append(item)
                if len(items) >= rows():
                    yield items
                    items = []
        yield items
        return
    iterator = iter(requests)
    while items := _pull(iterator, rows(), runtime):
        yield items
        await checkpoint()


def _closing(requests: AsyncIterable[Any]) -> AbstractAsyncContextManager[object]:
    """Close a generator that we do not read to its end: what it holds open should not wait for the collector."""
    if isinstance(requests, AsyncGenerator):
        return aclosing(cast("AsyncGenerator[Any, None]", requests))
    return nullcontext()


def _pull(iterator: Iterator[Any], rows: int, runtime: Runtime) -> list[Any]:
    """Take some items; a slow iterator gives way after two milliseconds."""
    items: list[Any] = []
    started, look_at = runtime.now(), 1
    while len(items) < look_at:
        items += islice(iterator, look_at - len(items))
        taken_s = runtime.now() - started
        if len(items) < look_at or taken_s > _PULL_S:
            break
        # A look at the clock costs as much as a quick item: some are taken between two looks while all of them were quick.
        look_at = min(rows, len(items) + (_UNLOOKED if taken_s < _PULL_S / 8 else 1))
    return items
