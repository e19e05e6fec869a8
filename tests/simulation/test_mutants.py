"""Bugs are planted, one at a time, in the code that keeps a job from being lost or paid twice: some world shows each."""

import shutil

import pytest

from tests.simulation.checker import problems
from tests.simulation.later_mutants import ALL
from tests.simulation.mutants import TWICE, naive
from tests.simulation.test_worlds import SEEDS
from tests.simulation.world import plan, played

NAIVE_SEEDS = 100


def worlds(seeds, plant, place):
    """Play the worlds of some plans with a bug in them, and say of each what is wrong with it."""
    for which in seeds:
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            yield problems(played(which, place / "world"))
        shutil.rmtree(place / "world", ignore_errors=True)


@pytest.mark.parametrize("name", ALL)
def test_a_planted_bug_shows_itself_in_one_of_the_worlds(name, place):
    mutant = ALL[name]
    found = worlds(mutant.plans(range(SEEDS)), mutant.plant, place)

    assert any(mutant.word in problem for each in found for problem in each)


def test_whoever_sends_again_after_every_error_pays_twice_in_many_worlds(place):
    found = list(worlds(map(plan, range(NAIVE_SEEDS)), naive, place))

    assert sum(any(TWICE in problem for problem in each) for each in found) >= 0.15 * NAIVE_SEEDS
