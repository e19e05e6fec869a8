"""Ctrl-C and SIGTERM in a real process, at the steps around and after the create: the next run goes on where it was.

What they do in the middle of a create stands in `tests/kill/test_signals.py`.
"""

import signal

import pytest

from tests.kill.scenes import Scene, problems
from tests.kill.services import ANTHROPIC, OPENAI
from tests.kill.test_sweep import steps_of

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
STOPPED = 130


@pytest.fixture
def scene_of(tmp_path):
    homes = iter(range(1_000_000))
    return lambda lane, service, **options: Scene(lane, service, tmp_path / f"scene-{next(homes):06d}", **options)


def is_elsewhere(step):
    """Whether it is no step of a create, which has tests of its own, nor one that comes as often as it happens to."""
    return (
        not step.startswith(("move CreateIntended", "create", "move Accepted", "poll")) and "more answered" not in step
    )


@SIGNALS
@pytest.mark.parametrize("service", [OPENAI, ANTHROPIC], ids=str)
def test_a_process_that_is_stopped_at_any_other_step_loses_nothing(lanes, scene_of, service, number):
    def play(lane, step):
        scene = scene_of(lane, service)
        stopped = scene.run(signals={step: number})
        last = scene.run()
        return step, stopped.code in (0, STOPPED), problems(scene, last)

    steps = [step for step in steps_of(lanes, scene_of, service) if is_elsewhere(step)]
    steps = steps[number == signal.SIGTERM :: 2]  # each step by one of the two, which end in the same cancellation
    assert len(steps) > 10
    assert lanes.each(play, steps) == [(step, True, []) for step in steps]


def test_a_second_ctrl_c_while_the_first_is_obeyed_loses_nothing(lanes, scene_of):
    """The first cancels; the second breaks whatever runs then, and nobody is left who could write down what became of it."""

    def play(lane, pair):
        scene = scene_of(lane, OPENAI)
        scene.run(signals=dict.fromkeys(pair, signal.SIGINT))
        last = scene.run()
        return pair, problems(scene, last)

    steps = [step for step in steps_of(lanes, scene_of, OPENAI) if "more answered" not in step]
    first = next(at for at, step in enumerate(steps) if step.startswith("move CreateIntended: before"))
    pairs = list(zip(steps[first:], steps[first + 1 :], strict=False))[:10]
    assert lanes.each(play, pairs) == [(pair, []) for pair in pairs]
