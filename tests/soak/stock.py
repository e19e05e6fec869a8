"""What a process holds: memory, tasks, threads and descriptors, and what lies in the poller's own containers."""

import asyncio
import gc
import os
import sys
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload


class Stock(NamedTuple):
    """What there is of everything at one moment.

    Attributes:
        blocks: Pieces of memory that Python's allocator has given out and that somebody still holds.
        resident_bytes: What the process has of the machine's memory.
        watched: Batches that are watched.
        handles: Those and some that are over, which are cleared away now and then.
        lanes: Accounts.
        places: Places on their agendas, those that mean nothing any more among them.
        named: Names of batches that they know.
    """

    blocks: int
    resident_bytes: int
    tasks: int
    threads: int
    descriptors: int
    watched: int
    handles: int
    lanes: int
    places: int
    named: int


class Stocks(Sequence[Stock]):
    """Stocks in one piece of memory, for they count pieces: a month of them would be found among what was left over."""

    def __init__(self) -> None:
        self._numbers = array("q")

    def append(self, stock: Stock) -> None:
        self._numbers.extend(stock)

    def __len__(self) -> int:
        return len(self._numbers) // len(Stock._fields)

    @overload
    def __getitem__(self, at: int) -> Stock: ...
    @overload
    def __getitem__(self, at: slice) -> list[Stock]: ...
    def __getitem__(self, at: int | slice) -> Stock | list[Stock]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        number, size = range(len(self))[at], len(Stock._fields)
        return Stock(*self._numbers[number * size : (number + 1) * size])


def take_stock(poller: Any) -> Stock:
    gc.collect()
    lanes = list(poller._lanes.values())
    return Stock(
        blocks=sys.getallocatedblocks(),
        resident_bytes=resident_bytes(),
        tasks=len(asyncio.all_tasks()),
        threads=threading.active_count(),
        descriptors=len(os.listdir("/proc/self/fd")),
        watched=sum(lane.live for lane in lanes),
        handles=len(poller._handles),
        lanes=len(lanes),
        places=sum(len(lane._agenda._heap) for lane in lanes),
        named=sum(len(lane._by_id) for lane in lanes),
    )


def own_objects() -> Iterator[str]:
    """Name the class of every object of ours that somebody holds, those of the emulator apart."""
    gc.collect()
    for thing in gc.get_objects():
        kind = type(thing)
        module = str(kind.__module__)
        if module.startswith("asyncbatch.") and not module.startswith("asyncbatch.emulator."):
            yield f"{module}.{kind.__qualname__}"


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
