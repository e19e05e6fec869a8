"""More planted bugs, see `mutants.py`: in what sends requests again, and in what ends a job that nobody wants any more."""

from typing import Any

import pytest

from asyncbatch import SubmitSafety
from asyncbatch.engine import closing, keeping, sending, steps
from asyncbatch.engine.wishes import Wishes
from tests.simulation.cancels import SENT_ON, UNHEARD
from tests.simulation.mutants import MUTANTS, mutant
from tests.simulation.rounds import ANSWERED, FORGOTTEN, NOT_WORTH_IT, TOO_OFTEN

ALL = MUTANTS
"""Those of `mutants.py`, and all that follow here."""
ROUNDS = {"retry": "transient", "max_attempts": 3, "passing": 0.5, "overruns": 0.3, "is_kind": False, "clients": 1}
CANCELLED = {"cancels_at": 5.0, "trouble": 0.6, "crash": 0.08, "is_kind": False, "clients": 1}
TAKEN_OVER = ROUNDS | {
    "safety": SubmitSafety.INFERRED,
    "clients": 2,
    "cancels_at": 500.0,
    "leaves": 0.04,
    "trouble": 0.6,
}
WISHED = CANCELLED | {"clients": 2, "cancels_at": 30.0, "asks": 1}


@mutant("what has its answer is sent again with what has none", word=ANSWERED, **ROUNDS)
def all_again(patch: pytest.MonkeyPatch) -> None:
    worth_it = closing.worth_it

    def greedy(ledger: Any, wanted: Any, among: Any = None) -> Any:
        return range(len(ledger)) if worth_it(ledger, wanted, among) else ()

    patch.setattr(closing, "worth_it", greedy)


@mutant("after a crash nobody remembers which requests a round was made of", word=ANSWERED, **ROUNDS | {"crash": 0.08})
def round_not_read(patch: pytest.MonkeyPatch) -> None:
    def whole_again(_: Any, whole: Any, record: Any, __: Any) -> Any:
        sent = range(whole.request_count)
        return keeping.round_of(whole, sent, whole.spool, record), sent

    patch.setattr(keeping, "read_round", whole_again)


@mutant("of the requests that are worth another try only the first has one", word=NOT_WORTH_IT, **ROUNDS)
def one_again(patch: pytest.MonkeyPatch) -> None:
    worth_it = closing.worth_it
    patch.setattr(closing, "worth_it", lambda ledger, wanted, among=None: worth_it(ledger, wanted, among)[:1])


@mutant("the second try is the last, however many were asked for", word=FORGOTTEN, **ROUNDS)
def two_tries(patch: pytest.MonkeyPatch) -> None:
    next_round = closing.next_round
    patch.setattr(closing, "next_round", lambda patience, tries, _, u: next_round(patience, tries, 2, u))


@mutant("nobody counts how often a request was sent", word=TOO_OFTEN, **ROUNDS | {"max_attempts": 2})
def rounds_uncounted(patch: pytest.MonkeyPatch) -> None:
    next_round = closing.next_round
    patch.setattr(closing, "next_round", lambda patience, _, __, u: next_round(patience, 1, 5, u))


@mutant("that the end was asked for is not written down", word=SENT_ON, **CANCELLED)
def cancel_unwritten(patch: pytest.MonkeyPatch) -> None:
    async def forget(_: Any) -> None:
        return None

    patch.setattr(steps.Steps, "note_cancel", forget)


@mutant("a batch that is created while its end is asked for runs on", word=UNHEARD, **CANCELLED)
def created_too_late(patch: pytest.MonkeyPatch) -> None:
    send = sending.Sending._send

    async def deaf(self: Any) -> None:
        cancel_batch, self.cancel_batch = self.cancel_batch, _say_nothing
        try:
            await send(self)
        finally:
            self.cancel_batch = cancel_batch

    patch.setattr(sending.Sending, "_send", deaf)


async def _say_nothing() -> None:
    return None


@mutant("what was asked of a process that is gone is not done by the next", word=SENT_ON, is_of_two=True, **WISHED)
def wish_unheard(patch: pytest.MonkeyPatch) -> None:
    async def ignore(*_: Any) -> None:
        return None

    patch.setattr(Wishes, "heed", ignore)
    patch.setattr(Wishes, "_grant", ignore)


@mutant("whoever takes a job over does not know that its end was asked for", word=SENT_ON, **TAKEN_OVER)
def taken_over_unaware(patch: pytest.MonkeyPatch) -> None:
    async def ignore(*_: Any) -> None:
        return None

    patch.setattr(Wishes, "heed", ignore)
