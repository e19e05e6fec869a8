"""Bugs in the code that keeps a job from being lost or paid twice, each planted by name into a worker.

A check that passes with one of these in place proves nothing: `test_mutants.py` sees each of them caught.
"""

from collections.abc import Callable
from typing import Any

from asyncbatch.engine import collecting, create, recover, sending
from asyncbatch.engine.keeping import rows_at
from asyncbatch.journal import CreateIntended, Fenced, Refused, Settled, SubmissionState
from asyncbatch.journal._store import Store

PLANTS: dict[str, Callable[[], None]] = {}


def plant(name: str) -> None:
    PLANTS[name]()


def mutant(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def keep(function: Callable[[], None]) -> Callable[[], None]:
        PLANTS[name] = function
        return function

    return keep


@mutant("no intent")
def plant_no_intent() -> None:
    """The create is sent first, and written down afterwards."""

    async def create_once(submission: Any, *, provider: Any, move: Any, runtime: Any, grace: Any) -> Any:
        event, failure = await create._outcome(provider, submission)
        await move(CreateIntended(mark=submission.tag, at=runtime.now()))
        await move(event)
        return failure

    sending.create_once = create_once


@mutant("no reconcile")
def plant_no_reconcile() -> None:
    """A create of which nothing is known is taken for one that did not arrive."""

    async def give_up(*_: Any, **__: Any) -> Any:
        return Fenced()

    sending.recover = give_up


@mutant("a crash is a refusal")
def plant_crash_is_refusal() -> None:
    """What was about to be created when the process died is taken for refused."""
    take_up = sending.Sending.take_up

    async def forgetful(self: Any) -> None:
        if self.part.record.state is SubmissionState.CREATING:
            await self._move(Refused(why="the process ended", is_final=False))
        await take_up(self)

    sending.Sending.take_up = forgetful


@mutant("no epoch")
def plant_no_epoch() -> None:
    """Whoever once was a job's writer goes on writing."""

    def renew(self: Any, connection: Any, job_id: str, at: float) -> bool:
        return True

    Store._renew = renew


@mutant("settled before the rows are kept")
def plant_settled_first() -> None:
    """The journal says that every request has its outcome before the rows lie on the disk."""
    move = collecting.Collecting._move

    def close(self: Any, fill: Any) -> None:
        self.part.ledger.close(fill, self.part.submission.request_ids)

    async def move_and_keep(self: Any, event: Any) -> None:
        await move(self, event)
        if isinstance(event, Settled):
            self.part.ledger.keep_at(rows_at(self.shared.place, self.part.record.index))

    collecting.Collecting._close_and_keep = close
    collecting.Collecting._move = move_and_keep


@mutant("one of two batches is adopted")
def plant_adopt_on_two() -> None:
    """Of several batches that carry our mark the first is taken, and the others are not spoken of."""
    judge = recover.judge_matches

    def careless(certain: Any, possible: Any, *, is_window_over: bool) -> Any:
        return judge(certain[:1], possible, is_window_over=is_window_over)

    recover.judge_matches = careless
