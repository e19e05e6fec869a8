"""Several workers with one job: one of them sends, whoever dies, sleeps, or wakes up when another has taken over."""

import random
import signal

import pytest

from asyncbatch.emulator import paid_twice
from tests.kill.scenes import Run, Starter, problems
from tests.kill.services import ANTHROPIC, OPENAI, SERVICES
from tests.kill.test_sweep import steps_of

CREW = 4
BEFORE_INTENT = "move CreateIntended: before #1"


@pytest.fixture(scope="module")
def starters():
    starters = [Starter() for _ in range(CREW)]
    yield starters
    for starter in starters:
        starter.close()


@pytest.fixture
def crew(starters):
    """Give processes that start workers, so that several are under way at once; what a test has left under way is ended."""
    yield starters
    for at, starter in enumerate(starters):
        if starter.pid is not None:
            starter.close()
            starters[at] = Starter()


class Going:
    """A worker under way."""

    def __init__(self, starter, scene, **options):
        self.starter = starter
        self.errand = scene.errand(**options)
        starter.start(self.errand)

    def end(self):
        return Run(self.errand, self.starter.end())


def start_all(crew, scene, *options):
    return [Going(starter, scene, **each) for starter, each in zip(crew, options, strict=False)]


def end_all(going):
    return [worker.end() for worker in going]


def sends(run):
    return any(step.startswith("create:") for step in run.steps)


@pytest.mark.parametrize("service", SERVICES, ids=str)
@pytest.mark.parametrize("count", [2, 4])
def test_of_workers_that_start_together_one_sends_and_all_end_alike(lanes, scene_of, crew, service, count):
    with lanes.one() as lane:
        scene = scene_of(lane, service)
        runs = end_all(start_all(crew, scene, *[{}] * count))

        assert [run.log for run in runs if run.code != 0] == []
        assert [sorted(run.rows) for run in runs] == [sorted(runs[0].rows)] * count
        assert sum(sends(run) for run in runs) == 1
        assert problems(scene, runs[-1]) == []


@pytest.mark.parametrize(
    "step",
    ["move Uploaded: after #1", "move CreateIntended: after #1", "create: sent #1", "move Accepted: after #1",
     "move Ended: after #1", "keep rows-0000: after #1", "move Settled: after #1"],
)  # fmt: skip
def test_when_the_one_that_sends_is_killed_another_goes_on(lanes, scene_of, crew, step):
    with lanes.one() as lane:
        scene = scene_of(lane, OPENAI)
        (owner,) = start_all(crew, scene, {"signals": {"accept: after #1": signal.SIGSTOP, step: signal.SIGKILL}})
        owner.starter.until_stopped()
        others = start_all(crew[1:], scene, {}, {})
        owner.starter.wake()
        killed, *runs = owner.end(), *end_all(others)

        assert killed.was_killed
        assert [run.log for run in runs if run.code != 0] == []
        assert sorted(runs[0].rows) == sorted(runs[1].rows)
        assert problems(scene, runs[-1]) == []


@pytest.mark.parametrize("service", [OPENAI, ANTHROPIC], ids=str)
def test_a_worker_that_sleeps_keeps_its_job_and_the_other_waits(lanes, scene_of, crew, service):
    with lanes.one() as lane:
        scene = scene_of(lane, service)
        (owner,) = start_all(crew, scene, {"signals": {BEFORE_INTENT: signal.SIGSTOP}})
        owner.starter.until_stopped()
        (other,) = start_all(crew[1:], scene, {"signals": {"claim: after #4": signal.SIGSTOP}})
        other.starter.until_stopped()
        creates = scene.creates()
        other.starter.wake()
        owner.starter.wake()
        first, second = owner.end(), other.end()

        assert creates == []
        assert (first.code, second.code) == (0, 0)
        assert (sends(first), sends(second)) == (True, False)
        assert sorted(first.rows) == sorted(second.rows)
        assert problems(scene, second) == []


def take_over(crew, scene, step, heir_stops=None, **options):
    """Let a worker fall asleep, and another take its job although it lives: somebody has removed its lock."""
    (stale,) = start_all(crew, scene, {"signals": {step: signal.SIGSTOP}} | options)
    stale.starter.until_stopped()
    (lock,) = (scene.home / "state" / "locks").iterdir()
    lock.unlink()
    (heir,) = start_all(crew[1:], scene, {"signals": {heir_stops: signal.SIGSTOP}} if heir_stops else {})
    return stale, heir


@pytest.mark.parametrize("mutant", [None, "no epoch"])
def test_a_worker_that_wakes_up_after_another_took_over_sends_nothing(lanes, scene_of, crew, mutant):
    with lanes.one() as lane:
        scene = scene_of(lane, OPENAI)
        stale, heir = take_over(crew, scene, BEFORE_INTENT, BEFORE_INTENT, mutant=mutant)
        heir.starter.until_stopped()  # nothing but the epoch tells the two apart now
        stale.starter.wake()
        woken = stale.end()
        heir.starter.wake()
        heir.end()

        assert sends(woken) == (mutant is not None)
        if mutant is None:
            assert "not the writer of job" in woken.log
            assert problems(scene, scene.run()) == []


def test_a_worker_that_sleeps_between_intent_and_create_wakes_up_to_a_deleted_input(lanes, scene_of, crew):
    with lanes.one() as lane:
        scene = scene_of(lane, OPENAI)
        stale, heir = take_over(crew, scene, "create: before #1")
        finished = heir.end()
        stale.starter.wake()
        woken = stale.end()

        assert (sends(finished), sends(woken)) == (True, True)
        assert woken.code != 0
        assert problems(scene, finished) == []


def echoes(run):
    return sorted(text for _, _, text, _ in run.rows)


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_a_batch_of_another_process_that_looks_like_a_lost_one_stays_the_others(slow_lanes, scene_of, crew, is_first):
    """Nothing of ours is on a batch: the one that is looked for and the one that another process makes look alike."""
    with slow_lanes.one() as lane:
        scene = scene_of(lane, ANTHROPIC)
        assert scene.run(at="create: headers sent #1").was_killed
        stop = {"list: before #1": signal.SIGSTOP}
        (looking,) = start_all(crew, scene, {"signals": stop, "recovery": {"window_s": 5.0}})
        looking.starter.until_stopped()
        other = {"key": "other", "prompts": ["hi 0", "hi 1", "hi 2"]}
        step = "create: answered #1" if is_first else "move Accepted: after #1"
        (creating,) = start_all(crew[1:], scene, {"signals": {step: signal.SIGSTOP}} | other)
        creating.starter.until_stopped()
        looking.starter.wake()
        creating.starter.wake()
        runs = [looking.end(), creating.end()]
        again = [scene.run(), scene.run(**other)]

        assert [run.log for run in again if run.code != 0] == []
        assert [echoes(run) for run in again] == [[f"echo: {word} {n}" for n in range(3)] for word in ("hello", "hi")]
        assert len(scene.creates()) == 2
        assert paid_twice(scene.emulator.history) == {}
        assert [run.log for run in runs if run.code != 0] == []


def rounds(lanes, scene_of, crew, seeds):
    """Let workers start together, each killed at a step that the dice choose, if it gets there."""
    steps = [*steps_of(lanes, scene_of, OPENAI), "claim: after #1", "claim: after #5", "list: sent #1"]
    for seed in seeds:
        dice = random.Random(seed)
        service = dice.choice(SERVICES)
        with lanes.one() as lane:
            scene = scene_of(lane, service)
            runs = end_all(start_all(crew, scene, *[{"at": dice.choice(steps)} for _ in range(dice.randint(2, CREW))]))
            last = scene.run()

            assert [run.log for run in runs if run.code not in (0, -signal.SIGKILL)] == [], seed
            assert [run.rows for run in runs if run.code == 0 and sorted(run.rows) != sorted(last.rows)] == [], seed
            assert problems(scene, last) == [], seed


def test_workers_that_are_killed_at_random_leave_one_batch_and_one_outcome_for_each_request(lanes, scene_of, crew):
    rounds(lanes, scene_of, crew, range(10))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_workers_that_are_killed_at_random_again_and_again(lanes, scene_of, crew):
    rounds(lanes, scene_of, crew, range(10, 300))
