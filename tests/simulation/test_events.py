"""A process dies right after one event is in the journal, each in its turn: whoever goes on reads it as it was meant."""

import random
import shutil

import pytest

from asyncbatch import SubmitSafety
from asyncbatch.journal import Event
from tests.simulation.checker import problems
from tests.simulation.mutants import TWICE, unread_is_stranger
from tests.simulation.world import changed, plan, played, rounds

FENCED, TAGGED, INFERRED, NONE = (
    SubmitSafety.TAGGED_FENCED,
    SubmitSafety.TAGGED,
    SubmitSafety.INFERRED,
    SubmitSafety.NONE,
)
EVENTS = sorted(event.__name__ for event in Event.__subclasses__())
ONLY = {
    "Confirmed": [INFERRED],
    "Disowned": [INFERRED],
    "FenceIntended": [FENCED],
    "Fenced": [FENCED, TAGGED, INFERRED],
    "Voided": [FENCED],
}
CASES = [(event, safety) for event in EVENTS for safety in ONLY.get(event, (FENCED, TAGGED, INFERRED, NONE))]
CALM = {"crash": 0.0, "leaves": 0.0, "clients": 1, "trouble": 0.7, "is_kind": False}
WHERE = {
    "Withdrawn": {"cancels_at": 0.5},
    "CancelAsked": {"cancels_at": 30.0},
    "Retried": rounds(random.Random("Retried")) | {"retry": "transient"},
}
"""What brings an event about that is rare otherwise."""
ENOUGH, SEEDS = 3, 400


def worlds(place, event, safety, enough=ENOUGH, **changes):
    """Play worlds until enough of them had their first process ended by this event."""
    shown = 0
    setting = CALM | {"fatal": event, "safety": safety, "strangers": 3 if safety is INFERRED else 0}
    setting |= WHERE.get(event, {}) | changes
    for seed in range(SEEDS):
        world = played(changed(plan(seed), **setting), place / "world")
        if world.lives[0].is_dead:
            yield world
            shown += 1
        shutil.rmtree(place / "world")
        if shown == enough:
            return
    raise AssertionError(f"{event} happened in {shown} worlds")


@pytest.mark.parametrize(("event", "safety"), CASES, ids=lambda value: getattr(value, "value", value))
def test_a_crash_right_after_an_event_loses_nothing_and_pays_nothing_twice(place, event, safety):
    found = {world.plan.seed: problems(world) for world in worlds(place, event, safety)}

    assert not any(found.values()), found


@pytest.mark.parametrize("is_planted", [False, True], ids=["as it is", "taken for a stranger's"])
def test_a_batch_whose_answers_name_nobody_is_not_taken_for_a_strangers_by_the_next_process(
    place, monkeypatch, is_planted
):
    if is_planted:
        unread_is_stranger(monkeypatch)
    alone = {"strangers": 0, "chunk_rows": 9}  # so that only its own can be disowned
    alone = worlds(place, "Disowned", INFERRED, 4, forgets=1.0, retry=None, max_attempts=1, **alone)
    found = {world.plan.seed: problems(world) for world in alone}

    assert any(TWICE in problem for each in found.values() for problem in each) == is_planted, found
    assert is_planted or not any(found.values()), found
