"""Ctrl-C, or the SIGTERM of whoever stops a server, in the middle of a create: it comes to an end that the journal knows."""

import signal

import pytest

from asyncbatch.emulator import faults
from tests.kill.scenes import problems
from tests.kill.services import ANTHROPIC, OPENAI
from tests.kill.test_sweep import steps_of

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
STOPPED = 130
KNOWN = {"planned", "uploaded", "create_unknown", "submitted", "ended", "settled"}
"""Any state but that of an intent without an outcome."""


def is_near_the_create(step):
    return step.startswith(("move CreateIntended", "create", "move Accepted"))


@SIGNALS
@pytest.mark.parametrize("service", [OPENAI, ANTHROPIC], ids=str)
def test_a_create_under_way_is_brought_to_its_end_and_written_down(lanes, scene_of, service, number):
    def play(lane, step):
        scene = scene_of(lane, service)
        stopped = scene.run(signals={step: number})
        states, creates = scene.states(), len(scene.creates())
        last = scene.run()
        is_sent_once = len(scene.creates()) == 1 and creates == ("create: before" in str(stopped.steps))
        return step, stopped.code, set(states) <= KNOWN, is_sent_once, problems(scene, last)

    steps = [step for step in steps_of(lanes, scene_of, service) if is_near_the_create(step)]
    assert lanes.each(play, steps) == [(step, STOPPED, True, True, []) for step in steps]


@SIGNALS
def test_a_create_that_takes_too_long_to_wait_for_is_looked_for_by_the_next_run(lanes, scene_of, number):
    """The service has taken it, and keeps its answer for longer than the leave-taking lasts."""
    with lanes.one() as lane:
        lane.emulator.add(faults.stall(1.0, when="after", operation="create"))
        scene = scene_of(lane, OPENAI)
        stopped = scene.run(signals={"create: sent #1": number}, recovery={"settle_s": 0.1})
        states = scene.states()
        last = scene.run()

        assert (stopped.code, states) == (STOPPED, ["create_unknown"])
        assert len(scene.creates()) == 1
        assert problems(scene, last) == []
