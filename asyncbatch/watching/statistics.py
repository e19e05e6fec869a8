"""What the poller has done so far, and how each account fares."""

import msgspec

from asyncbatch.planning.breaker import BreakerState


class PollCounts(msgspec.Struct, kw_only=True):
    """What an account was asked so far."""

    polls: int = 0
    sweeps: int = 0
    pages: int = 0
    found_on_lists: int = 0
    missing_on_lists: int = 0
    list_failures: int = 0
    errors: int = 0
    throttled: int = 0

    def add(self, other: "PollCounts") -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class AccountStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How one account, which is one provider object, fares.

    Attributes:
        provider: The provider's name.
        watched: Batches that are watched.
        workers: Tasks that ask.
        breaker: `closed`; `open` while nobody answers and nobody is asked; `half_open` when one question finds out.
        paused_s: Seconds for which it is not asked, because the provider throttles it.
        requests_per_s: What it is asked at most; less than the policy says after it was throttled.
        polls: Single questions so far.
        sweeps: Walks through its list.
        pages: Pages of the list.
    """

    provider: str
    watched: int
    workers: int
    breaker: BreakerState
    paused_s: float
    requests_per_s: float
    polls: int
    sweeps: int
    pages: int


class PollStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a poller has done since it was made.

    Attributes:
        watched: Batches that are watched now.
        overdue: Of those, batches that run past the end that their provider promised.
        polls: Single questions about one batch.
        sweeps: Walks through a list.
        pages: Pages of lists.
        found_on_lists: Readings that came from a list.
        missing_on_lists: Batches that a walk looked for and did not find, or that had to be asked about to be sure.
        list_failures: Walks that ended because the list could not be read.
        errors: Questions that were not answered with a status.
        throttled: Answers that told us to slow down.
        accounts: Those with batches that are watched.
    """

    watched: int = 0
    overdue: int = 0
    polls: int = 0
    sweeps: int = 0
    pages: int = 0
    found_on_lists: int = 0
    missing_on_lists: int = 0
    list_failures: int = 0
    errors: int = 0
    throttled: int = 0
    accounts: tuple[AccountStatistics, ...] = ()
