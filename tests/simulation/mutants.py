"""Bugs in the code that keeps a job from being lost or paid twice, planted one at a time, and where each shows itself."""

from collections.abc import Callable, Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest

from asyncbatch import BatchClient, ProviderTransientError, SubmissionUnknownError, SubmitSafety
from asyncbatch.engine import collecting, create, recover, sending
from asyncbatch.engine.keeping import rows_at
from asyncbatch.engine.run import JobRun
from asyncbatch.journal import (
    Accepted,
    CreateIntended,
    Disowned,
    Fenced,
    FenceIntended,
    Refused,
    Settled,
    SubmissionState,
    _store,
)
from asyncbatch.journal._locks import Lease, Leases
from asyncbatch.journal._store import Store
from asyncbatch.planning import recovery
from asyncbatch.planning.schedule import PollState
from tests.simulation.world import Plan, changed, plan

_S = SubmitSafety
HOSTILE = {"safety": _S.TAGGED_FENCED, "trouble": 0.9, "is_kind": False}
ALONE = {"safety": _S.INFERRED, "trouble": 0.4, "crash": 0.08, "is_kind": False, "strangers": 0, "clients": 1}
STRANGERS = {"safety": _S.INFERRED, "trouble": 0.7, "is_kind": False, "strangers": 3, "retry": None, "max_attempts": 1}
MUTE = {"safety": _S.INFERRED, "trouble": 0.6, "is_kind": False, "forgets": 1.0, "retry": None, "max_attempts": 1}
MUTE |= {"longest_s": 3 * 86_400.0}
LISTED = (_S.TAGGED_FENCED, _S.TAGGED, _S.INFERRED)


class Mutant(NamedTuple):
    """A bug: how it is planted, and in which worlds it can do harm."""

    plant: Callable[[pytest.MonkeyPatch], None]
    safeties: Collection[SubmitSafety]
    word: str
    """What the judge says of it, in one of the worlds."""
    setting: Mapping[str, Any]
    """What makes the worlds such that it does harm more often."""
    is_of_two: bool
    """Whether it takes two processes with one job."""

    def plans(self, seeds: range) -> Iterator[Plan]:
        """Give the plans of those worlds in which it may do harm."""
        for seed in seeds:
            which = changed(plan(seed), **self.setting)
            if self.concerns(which):
                yield which

    def concerns(self, which: Plan) -> bool:
        return which.safety in self.safeties and (not self.is_of_two or (which.clients, len(which.jobs)) == (2, 1))


MUTANTS: dict[str, Mutant] = {}
TWICE = "was sent and paid for 2 times"


def mutant(
    name: str, *safeties: SubmitSafety, word: str = TWICE, is_of_two: bool = False, **setting: Any
) -> Callable[[Callable[[pytest.MonkeyPatch], None]], Callable[[pytest.MonkeyPatch], None]]:
    def keep(plant: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
        MUTANTS[name] = Mutant(plant, safeties or LISTED, word, setting, is_of_two)
        return plant

    return keep


@mutant("the create is sent before its intent is written down")
def no_intent(patch: pytest.MonkeyPatch) -> None:
    async def create_once(submission: Any, *, provider: Any, move: Any, runtime: Any, **_: Any) -> Any:
        event, failure = await create._outcome(provider, submission)
        await move(CreateIntended(mark=submission.tag, at=runtime.now()))
        await move(event)
        return failure

    patch.setattr(sending, "create_once", create_once)


@mutant("a create that a crash cut short is taken for refused")
def crash_is_refusal(patch: pytest.MonkeyPatch) -> None:
    take_up = sending.Sending.take_up

    async def forgetful(self: Any) -> None:
        if self.part.record.state is SubmissionState.CREATING:
            await self._move(Refused(why="the process ended", is_final=False))
        await take_up(self)

    patch.setattr(sending.Sending, "take_up", forgetful)


@mutant("a lost create is not looked for")
def no_reconcile(patch: pytest.MonkeyPatch) -> None:
    async def give_up(*_: Any, **__: Any) -> Any:
        return Fenced()

    patch.setattr(sending, "recover", give_up)


@mutant("the window is nothing")
def no_window(patch: pytest.MonkeyPatch) -> None:
    for safety in recovery.WINDOWS_S:
        patch.setitem(recovery.WINDOWS_S, safety, 0.0)


@mutant("the first list that can be read is believed, whatever may still be on its way")
def first_reading(patch: pytest.MonkeyPatch) -> None:
    decide = recover.next_step

    def hasty(policy: Any, safety: Any, state: Any, now: float) -> Any:
        is_read = state.reads and safety is not SubmitSafety.NONE
        return recovery.SendAgain() if is_read else decide(policy, safety, state, now)

    patch.setattr(recover, "next_step", hasty)


@mutant(
    "of two batches with our mark the first is adopted",
    *(_S.TAGGED_FENCED, _S.TAGGED),
    word="doubled on the wire",
    trouble=0.9,
    is_kind=False,
)
def adopt_on_two(patch: pytest.MonkeyPatch) -> None:
    judge = recover.judge_matches

    def careless(certain: Any, possible: Any, *, is_window_over: bool) -> Any:
        return judge(certain[:1], possible, is_window_over=is_window_over)

    patch.setattr(recover, "judge_matches", careless)


@mutant("nobody watches after a fence", _S.TAGGED_FENCED, **HOSTILE)
def no_watch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recovery, "_after_fence", lambda *_: recovery.SendAgain())


@mutant("what looks like our batch is taken for it", word="was never paid for", **STRANGERS)
def no_confirmation(patch: pytest.MonkeyPatch) -> None:
    adopted = recover._adopted

    def trusting(*args: Any, **options: Any) -> Any:
        event = adopted(*args, **options)
        return Accepted(provider_batch_id=event.provider_batch_id) if isinstance(event, Accepted) else event

    patch.setattr(recover, "_adopted", trusting)


@mutant("two clients write to one job", word="JournalError", is_of_two=True)
def no_claim(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a job gets it, and whoever once had it writes on: the order of events alone still holds them up."""
    renew, move, moving = Store._renew, Store.move, []

    def careless(self: Any, connection: Any, job_id: str, at: float) -> bool:
        return renew(self, connection, job_id, at) or bool(moving)

    def unasked(self: Any, *args: Any) -> Any:
        moving.append(self)
        try:
            return move(self, *args)
        finally:
            moving.pop()

    patch.setattr(Leases, "take", _take_anyway)
    patch.setattr(Store, "_renew", careless)
    patch.setattr(Store, "move", unasked)


@mutant("two clients write to one job, in whatever order", word="not the job's writer", is_of_two=True)
def no_order(patch: pytest.MonkeyPatch) -> None:
    no_claim(patch)
    patch.setattr(_store, "apply", lambda record, event: msgspec.structs.replace(record, **event.changes(record)))


def _take_anyway(self: Leases, job_id: str) -> bool:
    self._held.setdefault(job_id, Lease(_NO_LOCK))
    return True


_NO_LOCK: Any = SimpleNamespace(close=lambda: None, remove=lambda: None)


@mutant("a fence is not written down", _S.TAGGED_FENCED, word="was never paid for", **HOSTILE)
def no_fence_intent(patch: pytest.MonkeyPatch) -> None:
    move = sending.Sending._move

    async def forgetful(self: Any, event: Any) -> None:
        if not isinstance(event, FenceIntended):
            await move(self, event)

    patch.setattr(sending.Sending, "_move", forgetful)


@mutant("a submission is settled before its rows are kept", *LISTED, word="StorageError")
def settled_first(patch: pytest.MonkeyPatch) -> None:
    move = collecting.Collecting._move

    def close(self: Any, fill: Any) -> None:
        self.part.ledger.close(fill, self.part.submission.request_ids)

    async def move_and_keep(self: Any, event: Any) -> None:
        await move(self, event)
        if isinstance(event, Settled):
            await self.tools.runtime.offload(
                self.part.ledger.keep_at, rows_at(self.shared.place, self.part.record.index)
            )

    patch.setattr(collecting.Collecting, "_close_and_keep", close)
    patch.setattr(collecting.Collecting, "_move", move_and_keep)


@mutant("what another submission has only found is taken for its own", _S.INFERRED)
def found_is_owned(patch: pytest.MonkeyPatch) -> None:
    doubt_comes_last(patch)
    others = sending.Sending._others

    async def trusting(self: Any) -> Any:
        known = await others(self)
        return recover.Others(frozenset((*known.certain, *known.tentative)))

    patch.setattr(sending.Sending, "_others", trusting)


@mutant(
    "new creates do not wait for those in doubt", _S.INFERRED, word="though it could be known", **ALONE, chunk_rows=1
)
def doubt_comes_last(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JobRun, "drives", lambda self: [way.drive for way in sorted(self._ways, key=_is_in_doubt)])


def _is_in_doubt(way: Any) -> bool:
    return way.part.is_in_doubt


@mutant("an outage takes back what was refused before it", word="does not come to its end", **MUTE)
def endless_patience(patch: pytest.MonkeyPatch) -> None:
    after_failure = recover._after_failure

    def forgetful(error: Exception, refusals: PollState, runtime: Any) -> Any:
        is_outage = isinstance(error, ProviderTransientError)
        return after_failure(error, PollState() if is_outage else refusals, runtime)

    patch.setattr(recover, "_after_failure", forgetful)


@mutant("a client that cannot be opened is left as it is", word="tasks are left")
def half_open(patch: pytest.MonkeyPatch) -> None:
    async def enter(self: Any) -> Any:
        self.bind()
        await self._open()
        return self

    patch.setattr(BatchClient, "__aenter__", enter)


def unread_is_stranger(patch: pytest.MonkeyPatch) -> None:
    """A batch that nobody can read is taken for a stranger's."""
    patch.setattr(collecting, "Disowned", lambda **_: Disowned())


def naive(patch: pytest.MonkeyPatch) -> None:
    """What most programs do: whatever goes wrong with a create, it is sent again."""
    crash_is_refusal(patch)
    outcome = create._outcome

    async def again(provider: Any, submission: Any) -> Any:
        event, failure = await outcome(provider, submission)
        if not isinstance(failure, SubmissionUnknownError):
            return event, failure
        error = ProviderTransientError(failure.message, provider="sim", status=500)
        return Refused(why=error.message, is_final=False), error

    patch.setattr(create, "_outcome", again)
