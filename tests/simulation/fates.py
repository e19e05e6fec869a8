"""What becomes of a call on its way: it arrives or not, at once or late, and its answer comes back or is lost."""

import random
from collections.abc import Callable

import msgspec

from asyncbatch import ProviderError, ProviderPermanentError, ProviderTransientError, SubmissionUnknownError

GHOST_S = 295.0
"""A create arrives at most so long after whoever sent it has given it up."""
TIMEOUT_S = 60.0


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one call.

    Attributes:
        arrives_after: Seconds to its arrival.
        answers_after: Seconds to its answer: from its arrival, but for a create, where they count from its sending.
        copies: How often it arrives.
        leaves: Whether a byte of it leaves.
        error: What it is answered with; None for a success.
        is_refusal: Whether that proves that nothing was accepted.
        is_final: Whether it proves that nothing ever will be.
    """

    arrives_after: float = 0.0
    answers_after: float = 0.0
    copies: int = 1
    leaves: bool = True
    error: Callable[[], ProviderError] | None = None
    is_refusal: bool = False
    is_final: bool = False

    @property
    def arrives(self) -> bool:
        return self.copies > 0

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error()


def transient(status: int | None, retry_after: float | None = None) -> Callable[[], ProviderError]:
    return lambda: ProviderTransientError("not now", provider="sim", status=status, retry_after=retry_after)


def unknown() -> ProviderError:
    return SubmissionUnknownError("nobody knows", provider="sim", code="create_unknown")


def refused() -> ProviderError:
    return ProviderPermanentError("it is not wanted", provider="sim", status=400)


class Fates:
    """The luck of all calls of a world.

    Args:
        dice: Its luck.
        trouble: How likely a create is to meet with trouble, from 0 to 1; every other call does so less often.
    """

    def __init__(self, dice: random.Random, trouble: float) -> None:
        self._dice = dice
        self._trouble = trouble
        self._creates = (
            (8, self._lost),
            (5, self._failed_after),
            (3, self._failed_before),
            (4, self._gone),
            (14, self._ghost),
            (2, self._twice),
            (4, self._busy),
            (3, self._unreached),
            (1, self._refused),
        )

    def of_call(self, kind: str) -> Fate:
        """Give the fate of a call that may be repeated."""
        dice = self._dice
        after, answer = dice.uniform(0.01, 1.0), dice.uniform(0.01, 1.0)
        if dice.random() >= self._trouble / 3:
            return Fate(arrives_after=after, answers_after=answer)
        copies = int(dice.random() < 0.5)
        return Fate(arrives_after=after, answers_after=dice.choice((answer, 30.0)), copies=copies, error=transient(503))

    def of_create(self, *, may_double: bool) -> Fate:
        dice = self._dice
        if dice.random() >= self._trouble:
            return self._fine()
        weights, makers = zip(*self._creates, strict=True)
        (make,) = dice.choices(makers, weights)
        return make() if may_double or make != self._twice else self._lost()

    def _fine(self) -> Fate:
        arrival = self._dice.uniform(0.1, 5.0)
        return Fate(arrives_after=arrival, answers_after=arrival + self._dice.uniform(0.1, 2.0))

    def _lost(self) -> Fate:
        arrival = self._dice.uniform(0.1, 5.0)
        until = self._dice.choice((arrival + 0.1, TIMEOUT_S))
        return Fate(arrives_after=arrival, answers_after=until, error=unknown)

    def _failed_after(self) -> Fate:
        return Fate(arrives_after=0.5, answers_after=1.0, error=unknown)

    def _failed_before(self) -> Fate:
        return Fate(answers_after=1.0, copies=0, error=unknown)

    def _gone(self) -> Fate:
        return Fate(answers_after=TIMEOUT_S, copies=0, error=unknown)

    def _ghost(self) -> Fate:
        given_up = self._dice.choice((0.5, 5.0, TIMEOUT_S))
        arrival = given_up + self._dice.choice((self._dice.uniform(0.0, GHOST_S), self._dice.uniform(200.0, GHOST_S)))
        return Fate(arrives_after=arrival, answers_after=given_up, error=unknown)

    def _twice(self) -> Fate:
        """Something between us and the service has sent it twice."""
        return Fate(arrives_after=1.0, answers_after=2.0, copies=2, error=unknown)

    def _busy(self) -> Fate:
        wait = self._dice.choice((None, 30.0))
        return Fate(answers_after=0.5, copies=0, error=transient(429, wait), is_refusal=True)

    def _unreached(self) -> Fate:
        return Fate(answers_after=5.0, copies=0, leaves=False, error=transient(None), is_refusal=True)

    def _refused(self) -> Fate:
        return Fate(answers_after=0.5, copies=0, error=refused, is_refusal=True, is_final=True)
