"""A worker is killed at every step of its way, and started again: nothing is lost, and nothing is paid for twice.

Real processes, a real journal, a service across a real connection. `worker.py` says what a step is, `scenes.py` judges.
"""

import pytest

from tests.kill.scenes import FAILS, problems
from tests.kill.services import ANTHROPIC, GEMINI, SERVICES

SERVICE = pytest.mark.parametrize("service", SERVICES, ids=str)
STEPS = ("accept: after #1", "move CreateIntended: after #1", "create: half sent #1", "poll: answered #1")
"""Some that every service has; which more there are is for the worker to say."""


TWO_BATCHES = {"prompts": [f"hello {n}" for n in range(4)], "per_batch": 2}


def steps_of(lanes, scene_of, service, **options):
    """Give the steps of a run that nothing happens to."""
    with lanes.one() as lane:
        scene = scene_of(lane, service, **options)
        run = scene.run()
        steps = run.steps
        assert problems(scene, run) == []
        return steps


@SERVICE
def test_a_kill_at_any_step_loses_nothing_and_pays_nothing_twice(lanes, scene_of, service):
    steps = steps_of(lanes, scene_of, service)
    assert set(STEPS) < set(steps)

    def play(lane, step):
        scene = scene_of(lane, service)
        killed, last = scene.play([step])
        return step, killed.was_killed, problems(scene, last)

    played = lanes.each(play, steps)
    assert [(step, found) for step, _, found in played if found] == []
    assert [step for step, was_killed, _ in played if not (was_killed or is_by_chance(step))] == []


def is_by_chance(step):
    """Whether a step comes as often as it happens to: questions until a batch is over, packets of an answer."""
    return step.startswith("poll:") or "more answered" in step


@pytest.mark.parametrize("service", [ANTHROPIC, GEMINI], ids=str)
def test_a_kill_at_a_create_beside_a_batch_that_looks_alike_pays_for_each_once(slow_lanes, scene_of, service):
    """Both have two requests, and run while the lost one is looked for: only the journal can tell whose is whose."""
    steps = [step for step in steps_of(slow_lanes, scene_of, service, **TWO_BATCHES) if step.startswith("create: ")]

    def play(lane, step):
        scene = scene_of(lane, service, **TWO_BATCHES)
        killed, last = scene.play([step])
        return step, killed.was_killed, problems(scene, last)

    assert slow_lanes.each(play, steps) == [(step, True, []) for step in steps]


@SERVICE
def test_a_kill_at_any_step_of_a_second_round_asks_for_no_answer_again(lanes, scene_of, service):
    """One of three requests fails in each round, and is sent twice; the others are never asked for again."""
    again = {"prompts": ["hello 0", f"{FAILS} hello 1", "hello 2"], "rounds": 2}
    steps = steps_of(lanes, scene_of, service, **again)
    second = [step for step in steps[steps.index("move Retried: before #1") - 8 :] if "#3" not in step]

    def play(lane, step):
        scene = scene_of(lane, service, **again)
        killed, last = scene.play([step])
        return step, killed.was_killed, problems(scene, last)

    played = lanes.each(play, second)
    assert [(step, found) for step, _, found in played if found] == []
    assert sum(was_killed for _, was_killed, _ in played) > 20


@pytest.mark.long
@pytest.mark.timeout(1800)
@SERVICE
def test_a_kill_at_any_step_of_two_batches_loses_nothing(lanes, scene_of, service):
    def play(lane, step):
        scene = scene_of(lane, service, **TWO_BATCHES)
        *_, last = scene.play([step])
        return step, problems(scene, last)

    played = lanes.each(play, steps_of(lanes, scene_of, service, **TWO_BATCHES))
    assert [(step, found) for step, found in played if found] == []


@SERVICE
def test_the_same_command_after_the_end_asks_nobody_and_gives_the_same_rows(lanes, scene_of, service):
    with lanes.one() as lane:
        scene = scene_of(lane, service)
        first = scene.run()
        calls = len(scene.emulator.history)
        again = scene.run()
        assert len(scene.emulator.history) == calls
        assert again.rows == first.rows
        assert problems(scene, again) == []


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
@SERVICE
def test_a_kill_at_any_step_and_another_on_the_way_back_lose_nothing(lanes, scene_of, service):
    """Every pair: the second run is killed at each of the steps that it takes after the first kill."""

    def way_back(lane, step):
        scene = scene_of(lane, service)
        _, last = scene.play([step])
        return [(step, second) for second in last.steps if is_early(second)]

    def play(lane, pair):
        scene = scene_of(lane, service)
        *killed, last = scene.play(pair)
        return pair, all(run.was_killed for run in killed), problems(scene, last)

    ways = lanes.each(way_back, steps_of(lanes, scene_of, service))
    played = lanes.each(play, [pair for way in ways for pair in way])
    assert [(pair, found) for pair, _, found in played if found] == []
    # How often a list is read depends on the machine's pace, so a few second kills come to nothing.
    assert sum(were_killed for _, were_killed, _ in played) > 0.9 * len(played) > 1000


def is_early(step):
    """Whether it is one of the first of its kind: the tenth look at a list is like the third."""
    return int(step.rpartition("#")[2]) <= 3
