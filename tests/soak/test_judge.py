"""The judge sees what is wrong: each of these pollers has one mistake, and is caught by what it says about it."""

import logging
from typing import Any

import pytest
from msgspec.structs import replace

from asyncbatch import Polling
from asyncbatch.planning import pace as pacing
from asyncbatch.planning.schedule import GaveUp
from asyncbatch.poller import BatchPoller
from asyncbatch.watching import account, lane, reading
from asyncbatch.watching.agenda import Agenda
from asyncbatch.watching.handle import BatchHandle
from tests.soak.days import Plan, lived
from tests.soak.judge import wrongs_of

SMALL = Plan(batches=60, accounts=4, hours=15, outages=(5.0,))


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def keeps_names(patch: Any) -> None:
    class Kept(dict[str, Any]):
        def __delitem__(self, name: str) -> None:
            """Keep it."""

    made = account.Account.__init__

    def make(self: Any, *given: Any) -> None:
        made(self, *given)
        self._by_id = Kept()

    patch.setattr(account.Account, "__init__", make)


def keeps_places(patch: Any) -> None:
    patch.setattr("asyncbatch.watching.agenda._SPARE", 10**9)
    patch.setattr(Agenda, "earliest", lambda self: min((at for at, _, _ in self._valid()), default=None))
    patch.setattr(Agenda, "pop", _pop_by_looking)


def _pop_by_looking(self: Any) -> Any:
    _, _, watch = min(self._valid())
    self.remove(watch)
    return watch


def keeps_what_is_over(patch: Any) -> None:
    over, ends = [], reading.Reading._end

    def end(self: Any, watch: Any, error: Any) -> None:
        over.append([watch] + [object() for _ in range(50)])
        ends(self, watch, error)

    patch.setattr(reading.Reading, "_end", end)


def forgets_no_handle(patch: Any) -> None:
    patch.setattr(BatchPoller, "_forget_done", lambda _: None)


def forgets_no_account(patch: Any) -> None:
    class Kept(dict[Any, Any]):
        def __delitem__(self, provider: Any) -> None:
            """Keep it."""

    made = BatchPoller.__init__

    def make(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        self._lanes = Kept()

    patch.setattr(BatchPoller, "__init__", make)


def tells_twice(patch: Any) -> None:
    finish = BatchHandle.finish

    def twice(self: Any, error: Any = None) -> None:
        listeners = self._on_end
        finish(self, error)
        for listener in listeners:
            listener(self)

    patch.setattr(BatchHandle, "finish", twice)


def pays_nothing(patch: Any) -> None:
    patch.setattr(pacing, "take", lambda _policy, pace, _now: pace)


def hears_no_retry_after(patch: Any) -> None:
    patch.setattr(pacing, "throttled", lambda pace, *_: pace)


def hears_no_webhook(patch: Any) -> None:
    patch.setattr(account.Account, "_wake", lambda *_: None)


def believes_a_404(patch: Any) -> None:
    patch.setattr(reading, "after_not_found", lambda *_, **__: GaveUp())


def takes_an_unknown_word_for_an_end(patch: Any) -> None:
    after = reading.Reading._after_status

    def end(self: Any, watch: Any, status: Any, now: float, u: float) -> None:
        after(self, watch, status, now, u)
        if status.raw_status == "pondering":
            self._agenda.remove(watch)
            self._end(watch, None)

    patch.setattr(reading.Reading, "_after_status", end)


def forgets_who_failed(patch: Any) -> None:
    follow = reading.Reading._follow

    def lose(self: Any, watch: Any, step: Any, error: Exception) -> None:
        follow(self, watch, step, error)
        if watch.due is not None and "socket" in str(error):
            self._agenda.remove(watch)

    patch.setattr(reading.Reading, "_follow", lose)


def never_stops_a_worker(patch: Any) -> None:
    async def work(self: Any) -> None:
        while True:
            if not await self._act():
                await self._runtime.sleep(max(min(self._wait_s(self._runtime.now()), 60.0), 0.01))

    patch.setattr(lane.Lane, "work", work)


MISTAKES = {
    keeps_names: "names for",
    keeps_places: "places on agendas",
    keeps_what_is_over: "pieces of memory",
    forgets_no_handle: "handles for",
    forgets_no_account: "accounts, and",
    tells_twice: "s after its end",
    pays_nothing: "beyond its budget",
    hears_no_retry_after: "asked not to be",
    hears_no_webhook: "one in ten was seen",
    believes_a_404: "no such batch",
    takes_an_unknown_word_for_an_end: "was seen as",
    forgets_who_failed: "and nobody saw it",
    never_stops_a_worker: "tasks for",
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.timeout(600)
def test_a_poller_with_a_mistake_is_caught(mistake, monkeypatch):
    mistake(monkeypatch)

    assert any(MISTAKES[mistake] in wrong for wrong in wrongs_of(lived(SMALL)))


@pytest.mark.timeout(600)
def test_one_without_is_not():
    assert list(wrongs_of(lived(SMALL))) == []
    assert list(wrongs_of(lived(replace(SMALL, polling=Polling(sweeps=False))))) == []
