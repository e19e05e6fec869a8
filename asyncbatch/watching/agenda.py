"""Who is asked about when: a heap of due times, from which a batch that has moved is not taken out but passed over."""

import heapq
from collections.abc import Collection, Iterator
from itertools import count

from asyncbatch.watching.handle import Watch

_SPARE = 64
"""Places that mean nothing any more, beyond three for each batch, before they are cleared away."""
_MANY = 8
"""Where more than one in so many is looked for, to look at all of them is quicker."""


class Agenda:
    """The batches of one account in the order in which they are due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Watch]] = []
        self._numbers = count()
        self._places = 0

    def put(self, watch: Watch, due: float) -> bool:
        """Give a batch its place, and say whether it is the first; a former place of it counts no more."""
        if watch.due is None:
            self._places += 1
        watch.due = due
        watch.entry = entry = next(self._numbers)
        heapq.heappush(self._heap, (due, entry, watch))
        if len(self._heap) > 3 * self._places + _SPARE:
            self._clear_away()
        return self._heap[0][1] == entry

    def remove(self, watch: Watch) -> None:
        """Take a batch off, wherever it stands."""
        if watch.due is not None:
            self._places -= 1
            watch.due, watch.entry = None, -1

    def remove_all(self, watches: Collection[Watch]) -> None:
        """Take many off; their places are cleared away together, not one by one by whoever looks for the next due time."""
        for watch in watches:
            self.remove(watch)
        self._clear_away()

    def earliest(self) -> float | None:
        """Give the next due time."""
        heap = self._heap
        while heap and heap[0][1] != heap[0][2].entry:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self) -> Watch:
        """Take off who is due first."""
        self.earliest()
        watch = heapq.heappop(self._heap)[2]
        self._places -= 1
        watch.due, watch.entry = None, -1
        return watch

    def until(self, horizon: float) -> list[Watch]:
        """Name those who are due by then, in no order; costs a step for each of them."""
        found: list[Watch] = []
        heap, branches = self._heap, [0]
        while branches:
            if len(found) > len(heap) // _MANY:
                return [watch for due, entry, watch in heap if due <= horizon and entry == watch.entry]
            at = branches.pop()
            if at >= len(heap) or heap[at][0] > horizon:
                continue
            if heap[at][1] == heap[at][2].entry:
                found.append(heap[at][2])
            branches += (2 * at + 1, 2 * at + 2)
        return found

    def _clear_away(self) -> None:
        self._heap = list(self._valid())
        heapq.heapify(self._heap)

    def _valid(self) -> Iterator[tuple[float, int, Watch]]:
        return (place for place in self._heap if place[1] == place[2].entry)
