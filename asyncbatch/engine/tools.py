"""What all jobs of a client share: journal, poller, patience, and the lines on which large bodies move."""

from weakref import WeakKeyDictionary

import anyio
import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.engine.create import Grace
from asyncbatch.engine.rooms import Rooms
from asyncbatch.enums import SubmitSafety
from asyncbatch.journal import Journal
from asyncbatch.planning.recovery import Recovery
from asyncbatch.planning.retry import Patience
from asyncbatch.planning.schedule import Polling
from asyncbatch.poller import BatchPoller
from asyncbatch.runtime import Runtime
from asyncbatch.spool import SpoolSpace


class Lines:
    """How many large bodies an account moves at once: more of them only share the same wire."""

    SENDING, SETTLING = 2, 4

    def __init__(self, safety: SubmitSafety) -> None:
        # Where nothing on a batch is ours, creates go one by one, so that a lost one has few that look like it.
        self.is_single_file = safety is SubmitSafety.INFERRED
        self.sending = anyio.CapacityLimiter(1 if self.is_single_file else self.SENDING)
        self.settling = anyio.CapacityLimiter(self.SETTLING)
        self.tentative: set[str] = set()
        """Batches that were taken for a submission's by time and count, until their answers tell."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What all jobs of a client share; `space` is where bodies lie that do not outlive the client."""

    journal: Journal
    poller: BatchPoller
    runtime: Runtime
    grace: Grace
    lines: WeakKeyDictionary[BaseBatchProvider, Lines]
    recovery: Recovery
    polling: Polling
    patience: Patience
    space: SpoolSpace
    rooms: Rooms

    def lines_of(self, provider: BaseBatchProvider) -> Lines:
        """Give the lines of an account, which no other account has to wait for."""
        if provider not in self.lines:
            self.lines[provider] = Lines(provider.submit_safety())
        return self.lines[provider]
