"""Bugs are planted in the code that keeps jobs from being lost or paid twice: what does not catch them proves nothing.

Further ones are caught where they are cheaper to see: see `test_processes.py` for the epoch.
"""

import signal

import pytest

from asyncbatch.emulator import faults
from tests.kill.scenes import problems
from tests.kill.services import GEMINI, OPENAI, SERVICES
from tests.kill.test_sweep import steps_of

AT_THE_CREATE = ("create: sent", "create: answered", "move Accepted: before")
LAG_S = 2.0


def played(lanes, scene_of, service, steps, **options):
    """Give what is wrong after a kill at one of these steps and a second run, step by step."""

    def play(lane, step):
        scene = scene_of(lane, service)
        *_, last = scene.play([step], **options)
        return problems(scene, last)

    return lanes.each(play, steps)


@pytest.mark.parametrize("service", SERVICES, ids=str)
@pytest.mark.parametrize("mutant", ["no intent", "no reconcile", "a crash is a refusal"])
def test_a_create_that_is_not_written_down_or_not_looked_for_pays_twice(lanes, scene_of, service, mutant):
    steps = [step for step in steps_of(lanes, scene_of, service) if step.startswith(AT_THE_CREATE)]

    found = played(lanes, scene_of, service, steps, mutant=mutant)

    assert "2 paid batches for 1 submissions in 1 rounds" in [problem for each in found for problem in each]


def test_a_journal_that_is_ahead_of_the_disk_loses_rows(lanes, scene_of):
    (found,) = played(lanes, scene_of, OPENAI, ["move Settled: after #1"], mutant="settled before the rows are kept")

    assert "rows-0000" in found[0]


NO_WINDOW = {"window_s": 0.0, "reads": 1, "watch_s": 0.0}
ENOUGH_S = LAG_S + 0.5


@pytest.mark.parametrize(
    ("service", "recovery", "pays_twice"),
    [
        (OPENAI, NO_WINDOW, True),
        (GEMINI, NO_WINDOW, True),
        (OPENAI, {"window_s": ENOUGH_S}, False),
        (GEMINI, {"window_s": ENOUGH_S}, False),
        (OPENAI, NO_WINDOW | {"watch_s": ENOUGH_S}, False),
    ],
    ids=["no window", "no window, no fence", "window", "window, no fence", "fence and watch"],
)
def test_a_list_that_lags_costs_a_second_batch_only_without_a_window(lanes, scene_of, service, recovery, pays_twice):
    step = next(step for step in reversed(steps_of(lanes, scene_of, service)) if step.startswith("create: sent"))
    with lanes.one() as lane:
        lane.emulator.add(faults.list_lag(LAG_S))
        scene = scene_of(lane, service)
        killed, last = scene.play([step], recovery=recovery)

        assert killed.was_killed
        assert len([record for record in scene.creates() if record.is_paid]) == 1 + pays_twice
        assert last.code == 0


@pytest.mark.parametrize("mutant", [None, "one of two batches is adopted"])
def test_two_batches_with_our_mark_are_for_a_human_and_never_passed_over(lanes, scene_of, mutant):
    """Whatever lies between us and the service has sent a create twice: that is paid for, and has to be said."""
    with lanes.one() as lane:
        scene = scene_of(lane, OPENAI)
        killed = scene.run(at="create: sent #1")
        (batch,) = OPENAI.listed(scene.emulator)
        fields = ("input_file_id", "endpoint", "completion_window", "metadata")
        OPENAI.call(scene.emulator, OPENAI.batches, {name: batch[name] for name in fields})
        last = scene.run(mutant=mutant)

        assert killed.code == -signal.SIGKILL
        assert {status for _, status, *_ in last.rows} == {"succeeded" if mutant else "indeterminate"}
