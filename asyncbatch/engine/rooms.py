"""Who gets what is free of an account's room. What is decided stands in `planning/room.py`.

A submission asks for room before its input is uploaded, and has it until its batch is over.
"""

from collections.abc import Callable
from itertools import count
from typing import TypeAlias

import msgspec

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.catalog import ProviderFacts
from asyncbatch.engine.line import Key, Line, Waiter, load_of
from asyncbatch.engine.occupancy import LOOKED_S, Held, Occupancy, Whose, facts_of
from asyncbatch.exceptions import ProviderTransientError
from asyncbatch.journal import OPEN_STATES, JobRecord, Journal, Payer, SubmissionRecord, payer_of
from asyncbatch.planning.limits import Limits
from asyncbatch.planning.retry import Patience
from asyncbatch.planning.room import (
    Go,
    Learns,
    Learnt,
    Most,
    Pool,
    Turn,
    Wait,
    after_refusal,
    after_success,
    may_send,
    next_turn,
    remembered,
)
from asyncbatch.runtime import Runtime, sleep_or

_AWAKE_S = 60.0
"""Whoever waits looks so often whether there is still a reason to: the client may have stopped."""

_TIDY = 256
"""Rooms before the first look for those that are idle, and in a room jobs before the first for those that have gone."""


class Room:
    """The room of one payer.

    Args:
        payer: Whose key it is.
        journal: Where it stands what other processes have open.
        runtime: Clock, sleep, randomness.
        patience: How long a refusal is waited out.
        window_s: How long a batch may take; None where nobody says.
    """

    def __init__(
        self, payer: Payer, journal: Journal, runtime: Runtime, patience: Patience, window_s: float | None
    ) -> None:
        self._runtime = runtime
        self._patience = patience
        self._open = Occupancy(payer, journal, runtime, window_s)
        self._served: dict[str, int] = {}
        self._tidy_at = _TIDY
        self._turns = count()
        self._learnt: dict[Whose, Learnt] = {}
        self._line = Line()
        self._leader: Waiter | None = None
        self._look_at: float | None = None
        self._why: str | None = None
        """Why all wait who do; None where they do not all know the same."""

    # Who has room.

    def account_for(self, job: JobRecord, record: SubmissionRecord) -> None:
        """Take note of how far a submission of ours has come."""
        key = (job.job_id, record.index)
        self._open.ours.add(key)
        if record.state not in OPEN_STATES:
            self.leave(key)
        elif self._open.held(key) is None:
            self._open.take(key, Held(job.model, load_of(record)))

    def leave(self, key: Key) -> None:
        """Give room back, and let the next one have it; harmless where there is none to give."""
        if self._open.drop(key):
            self._pump()

    def forget(self, key: Key) -> None:
        """Count no more for what we do not drive any more."""
        self.leave(key)
        self._open.ours.discard(key)

    def pool(self, whose: Whose, most: Most) -> Pool:
        """Give what counts together."""
        return Pool(
            of="this account" if whose is None else whose,
            open=self._open.opened(whose),
            most=most,
            learnt=self._learnt.get(whose),
            is_trying=any(whose in (None, model) for model in self._open.tries.values()),
        )

    # What is learnt.

    async def refuse(self, waiter: Waiter, error: ProviderTransientError) -> float:
        """A create was refused for want of room: all wait together. Gives since when it has been so, Unix seconds."""
        await self._open.look()
        word = f"refused for now ({error.code or error.status})"
        self._learn(waiter, None, "batches", word, error.retry_after)
        return self._learnt[None].since

    async def turn_away(self, waiter: Waiter, word: str) -> None:
        """A batch failed for want of room, and ran nothing."""
        await self._open.look()
        self._learn(waiter, waiter.whose_tokens, "tokens", _turned_away(word), None)

    def _learn(self, waiter: Waiter, whose: Whose, learns: Learns, word: str, retry_after: float | None) -> None:
        self._open.drop(waiter.key)
        self._learnt[whose] = after_refusal(
            self._patience,
            self.pool(whose, Most()),
            waiter.load,
            self._runtime.now(),
            self._runtime.random(),
            learns=learns,
            word=word,
            retry_after=retry_after,
        )
        self._pump()

    def since(self, whose: Whose) -> float:
        """Give since when there has been no room, or when a batch went through after that, Unix seconds; 0 while there is."""
        learnt = self._learnt.get(whose)
        return learnt.since if learnt is not None else 0.0

    def go_through(self, key: Key, *, is_running: bool) -> None:
        """A batch was taken. `is_running`: by now it is sure that it was not taken only to be turned away."""
        held = self._open.held(key)
        if held is None or not self._learnt:
            return
        for whose in (None, held.model):
            learnt = self._learnt.get(whose)
            if learnt is None or (learnt.most.tokens is not None and not is_running):
                continue
            after = after_success(self.pool(whose, Most()), self._runtime.now(), is_try=held.is_try)
            if after is None:
                del self._learnt[whose]
            else:
                self._learnt[whose] = after
            self._open.tries.pop(key, None)
        self._pump()

    # Who waits.

    async def enter(self, waiter: Waiter) -> bool:
        """Wait for room. False: the job was cancelled meanwhile, or it is time to look whether anything else changed."""
        if not (waiter.limits.is_limited or waiter.turned_away or self._learnt or self._line):
            self._admit(waiter, Go())
            return True
        await self._open.look()
        if waiter.turned_away is not None:  # perhaps by the batch of another process
            whose = waiter.whose_tokens
            word, now = _turned_away(waiter.turned_away), self._runtime.now()
            self._learnt[whose] = remembered(self.pool(whose, Most()), word, now)
        self._join(waiter)
        try:
            await self._wait(waiter)
        except BaseException:
            if waiter.is_admitted:
                self.leave(waiter.key)
            raise
        finally:
            self._step_out(waiter)
        return waiter.is_admitted

    async def _wait(self, waiter: Waiter) -> None:
        """One of those who wait looks now and then what has changed; the others are woken."""
        while waiter.is_waiting:
            if self._leader is None:
                self._leader = waiter
            if self._leader is not waiter:
                await waiter.woken.wait()
                continue
            await sleep_or(self._runtime, self._delay(), waiter.woken)
            await self._open.look()
            self._pump()
            return

    def _delay(self) -> float:
        delay = _AWAKE_S if self._look_at is None else self._look_at - self._runtime.now()
        return max(0.0, min(delay, LOOKED_S if self._open.is_elsewhere else _AWAKE_S))

    def _step_out(self, waiter: Waiter) -> None:
        self._line.remove(waiter)
        if not self._line:
            self._served.clear()
        if (
            self._leader is waiter
        ):  # at once: whoever is next may have room by now, or be cancelled, and hands it on then
            self._leader = next((other for other in self._line if other.is_waiting), None)
            if self._leader is not None:
                self._leader.wake()

    def wake(self, job_id: str) -> None:
        """Let those of a job look whether they still want room."""
        for waiter in self._line.of_job(job_id):
            waiter.wake()

    @property
    def is_idle(self) -> bool:
        """Whether nobody has or wants anything here."""
        return not (self._open.ours or self._line)

    # Whose turn it is.

    def _pump(self) -> None:
        """Give room to whoever is next, as long as there is some; tell the others why they wait.

        Whoever does not fit stops all behind it that would be counted in the same pool: it is not overtaken for ever.
        """
        turns = self._line.heads()
        self._look_at = None
        while (turn := next_turn(turns, self._open.by_job, self._served)) is not None:
            waiter = turns[turn]
            step = self._decide(waiter)
            if isinstance(step, Wait):
                turns = self._stop(turns, waiter.model if step.pool else None, step)
                continue
            self._admit(waiter, step)
            self._note_turn(turn.job_id)
            following = self._line.head_of(turn.job_id)
            if following is None:
                del turns[turn]
            else:
                turns[turn] = following

    def _note_turn(self, job_id: str) -> None:
        """Remember who had a turn, for as long as it may want another: in a line that never ends, jobs come and go."""
        self._served[job_id] = next(self._turns)
        if len(self._served) >= self._tidy_at:
            here = (job for job in self._served if job in self._open.by_job or self._line.of_job(job))
            self._served = {job: self._served[job] for job in here}
            self._tidy_at = max(_TIDY, 2 * len(self._served))

    def _stop(self, turns: dict[Turn, Waiter], whose: Whose, step: Wait) -> dict[Turn, Waiter]:
        """Tell those that count in a pool without room why they wait; gives the others."""
        if step.until is not None:
            self._look_at = min(step.until, self._look_at or step.until)
        if whose is None and step.why == self._why:  # all know: newcomers were told when they came
            return {}
        self._why = step.why if whose is None and len(turns) == len(self._line) else None
        for turn, waiter in turns.items():
            if whose in (None, waiter.model):
                self._line.tell(turn.job_id, step.why)
        return {turn: waiter for turn, waiter in turns.items() if whose not in (None, waiter.model)}

    def _join(self, waiter: Waiter) -> None:
        """Take in one that wants room: for whom there is none, nobody else has to be asked."""
        is_told = self._line.is_told(waiter.turn.job_id)
        self._line.add(waiter)
        if is_told:
            return
        step = self._decide(waiter)
        if isinstance(step, Wait):
            self._line.tell(waiter.turn.job_id, step.why)
        if isinstance(step, Go) or self._leader is None or step.until is not None:
            self._pump()

    def _decide(self, waiter: Waiter) -> Go | Wait:
        pools = (self.pool(None, waiter.limits.account), self.pool(waiter.model, waiter.limits.model))
        return may_send(pools, waiter.load, self._runtime.now())

    def _admit(self, waiter: Waiter, go: Go) -> None:
        self._open.take(waiter.key, Held(waiter.model, waiter.load, go.is_try))
        waiter.is_admitted = True
        if waiter.tell(None):
            waiter.notify()
        waiter.wake()


def _turned_away(word: str) -> str:
    return f"turned away ({word})"


LimitsOf: TypeAlias = Callable[[JobRecord, ProviderFacts | None], Limits]
"""Gives what a job's account may have open, by the facts about its provider."""


class Rooms(msgspec.Struct, kw_only=True):
    """The rooms of a client, by who pays: nobody waits for another payer."""

    journal: Journal
    runtime: Runtime
    patience: Patience
    limits_of: LimitsOf
    known: dict[Payer, Room] = msgspec.field(default_factory=dict[Payer, Room])
    tidy_at: int = _TIDY

    def of(self, job: JobRecord, provider: BaseBatchProvider) -> Room:
        """Give the room of a job's payer."""
        payer = payer_of(job)
        if payer not in self.known:
            if len(self.known) >= self.tidy_at:  # tenants whose jobs are over cost nothing
                self.known = {whose: room for whose, room in self.known.items() if not room.is_idle}
                self.tidy_at = max(_TIDY, 2 * len(self.known))
            facts = facts_of(provider)
            window_s = facts.longest_s if facts is not None else None
            self.known[payer] = Room(payer, self.journal, self.runtime, self.patience, window_s)
        return self.known[payer]

    def wake(self, job: JobRecord) -> None:
        """Let the submissions of a job look whether they still want room."""
        room = self.known.get(payer_of(job))
        if room is not None:
            room.wake(job.job_id)
