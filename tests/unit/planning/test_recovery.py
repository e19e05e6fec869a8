"""Looking for a lost create: what is decided step by step, and that no world within the window's assumption pays twice."""

import math
import random
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.enums import SubmitSafety
from asyncbatch.planning.recovery import (
    WINDOWS_S,
    Adopt,
    Fence,
    Look,
    LookOn,
    Recovery,
    RecoveryState,
    SendAgain,
    Unknowable,
    judge_matches,
    next_step,
    window_of,
)

POLICY = Recovery()
FENCED, TAGGED = SubmitSafety.TAGGED_FENCED, SubmitSafety.TAGGED


def step(safety: SubmitSafety, now: float, policy: Recovery = POLICY, **known):
    """Decide right after a reading, unless told when the latest was made."""
    return next_step(policy, safety, RecoveryState(intended_at=0.0, **{"read_at": now} | known), now)


# --- step by step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("safety", [safety for safety in SubmitSafety if safety is not SubmitSafety.NONE])
def test_the_list_is_read_at_once_and_then_every_twenty_seconds(safety):
    assert step(safety, 0.0, read_at=None) == Look(delay_s=0.0)
    assert step(safety, 5.0, reads=1) == Look(delay_s=20.0)


def test_the_window_alone_is_not_enough_without_three_readings_that_agree():
    assert step(FENCED, 10_000.0, reads=2) == Look(delay_s=20.0)
    assert step(FENCED, 10_000.0, reads=3) == Fence()


def test_readings_alone_are_not_enough_before_the_window_is_over():
    assert step(FENCED, 299.9, reads=50) == Look(delay_s=20.0)
    assert step(FENCED, 300.0, reads=50) == Fence()


def test_after_a_fence_the_list_is_watched_for_90_seconds_and_read_exactly_at_their_end():
    assert step(FENCED, 310.0, reads=9, fenced_at=310.0) == Look(delay_s=20.0)
    assert step(FENCED, 390.0, reads=9, fenced_at=310.0, reads_since_fence=4) == Look(delay_s=10.0)
    assert step(FENCED, 399.9, reads=9, fenced_at=310.0, reads_since_fence=4) == Look(delay_s=pytest.approx(0.1))
    assert step(FENCED, 400.0, reads=9, fenced_at=310.0, reads_since_fence=5) == SendAgain()


@pytest.mark.parametrize("seed", range(20))
def test_the_watch_ends_at_its_end_although_sums_of_seconds_round(seed):
    fenced_at = random.Random(seed).uniform(200.0, 256.0)  # sums beyond 256 have one digit less
    state, now = RecoveryState(intended_at=0.0, reads=3, fenced_at=fenced_at), fenced_at
    looks = 0
    while isinstance(decided := next_step(POLICY, FENCED, state, now), Look):
        now, looks = now + decided.delay_s, looks + 1
        state = msgspec.structs.replace(state, read_at=now, reads_since_fence=looks)
        assert looks <= 5

    assert decided == SendAgain()
    assert now - fenced_at == pytest.approx(90.0)


@pytest.mark.parametrize("read_at", [None, 300.0, 399.9])
def test_a_watch_without_a_reading_at_its_end_proves_nothing(read_at):
    assert step(FENCED, 1000.0, reads=9, read_at=read_at, fenced_at=310.0, reads_since_fence=2) == Look(delay_s=0.0)


def test_no_watch_at_all_still_reads_once_after_the_fence():
    policy = Recovery(watch_s=0.0)

    assert step(FENCED, 310.0, policy, reads=9, fenced_at=310.0) == Look(delay_s=0.0)
    assert step(FENCED, 310.0, policy, reads=9, fenced_at=310.0, reads_since_fence=1) == SendAgain()


@pytest.mark.parametrize("safety", [FENCED, TAGGED, SubmitSafety.INFERRED])
def test_readings_made_before_a_list_failed_do_not_speak_for_the_time_after(safety):
    assert step(safety, 10_000.0, reads=5, read_at=100.0) == Look(delay_s=20.0)


def test_a_window_needs_at_least_one_reading():
    assert step(FENCED, 10_000.0, Recovery(reads=0), read_at=None) == Look(delay_s=0.0)


@pytest.mark.parametrize(
    ("safety", "policy", "known"),
    [
        (TAGGED, POLICY, {}),
        (FENCED, Recovery(fence=False), {}),
        (FENCED, POLICY, {"is_fence_refused": True}),
        (SubmitSafety.NAMED, POLICY, {}),
        (SubmitSafety.IDEMPOTENT, POLICY, {}),
    ],
)
def test_without_a_fence_the_longer_window_has_to_pass(safety, policy, known):
    assert step(safety, 899.9, policy, reads=40, **known) == Look(delay_s=20.0)
    assert step(safety, 900.0, policy, reads=40, **known) == SendAgain()


def test_batches_without_a_mark_of_ours_are_proved_absent_by_the_longest_window_alone():
    assert step(SubmitSafety.INFERRED, 1199.0, reads=99) == Look(delay_s=20.0)
    assert step(SubmitSafety.INFERRED, 1200.0, reads=99) == SendAgain()


@pytest.mark.parametrize(
    ("certain", "possible", "decided"),
    [
        (["a"], [], Adopt(provider_batch_id="a", is_certain=True)),
        (["a"], ["b", "c"], Adopt(provider_batch_id="a", is_certain=True)),
        ([], ["b"], Adopt(provider_batch_id="b", is_certain=False)),
        ([], ["b", "c"], LookOn()),
        (["a", "b"], [], Unknowable(why="several batches look like this submission: a, b")),
        (["a", "b"], ["c"], Unknowable(why="several batches look like this submission: a, b, c")),
    ],
)
def test_one_batch_is_adopted_and_of_several_those_that_end_are_waited_for(certain, possible, decided):
    assert judge_matches(certain, possible, is_window_over=False) == decided


def test_several_batches_that_may_be_ours_are_given_up_when_the_window_is_over():
    given_up = judge_matches([], ["b", "c"], is_window_over=True)

    assert given_up == Unknowable(why="several batches look like this submission: b, c")
    assert judge_matches([], ["b"], is_window_over=True) == Adopt(provider_batch_id="b", is_certain=False)


def test_where_there_is_no_list_only_a_human_can_tell():
    unknowable = step(SubmitSafety.NONE, 0.0)

    assert isinstance(unknowable, Unknowable)
    assert "no list" in unknowable.why


def test_every_class_has_a_window_and_the_caller_may_set_another():
    assert set(WINDOWS_S) == set(SubmitSafety)
    assert window_of(POLICY, FENCED) == 300.0
    assert window_of(Recovery(window_s=5.0), FENCED) == 5.0
    assert step(TAGGED, 5.0, Recovery(window_s=5.0), reads=3) == SendAgain()


# --- whole worlds ------------------------------------------------------------------------------------------------------


START = 1_795_300_000.0
"""Seconds since 1970, as in life: their sums round."""


class World(NamedTuple):
    """What became of one create, of which the client only knows that it was sent at 0 and when it was given up."""

    gave_up_at: float
    arrives_at: float
    lag_s: float
    """Seconds from its arrival until the list shows it."""
    lost_reads: float = 0.0
    """Share of readings that fail and count for nothing."""


def ends_with(policy: Recovery, safety: SubmitSafety, world: World, dice: random.Random) -> tuple[str, bool]:
    """Play a recovery to its end, as the engine does; gives how it ended, and whether that pays a second time."""
    now, state = START + world.gave_up_at, RecoveryState(intended_at=START)
    for _ in range(10_000):
        decided = next_step(policy, safety, state, now)
        if isinstance(decided, Look):
            now += decided.delay_s
            if dice.random() < world.lost_reads:
                now += policy.gap_s
                continue
            is_fenced_off = state.fenced_at is not None and START + world.arrives_at > state.fenced_at
            if not is_fenced_off and START + world.arrives_at + world.lag_s <= now:
                return "found", False
            field = "reads" if state.fenced_at is None else "reads_since_fence"
            state = msgspec.structs.replace(state, read_at=now, **{field: getattr(state, field) + 1})
        elif isinstance(decided, Fence):
            state = msgspec.structs.replace(state, fenced_at=now)
        elif isinstance(decided, SendAgain):
            is_fenced_off = state.fenced_at is not None and START + world.arrives_at > state.fenced_at
            return "sent again", math.isfinite(world.arrives_at) and not is_fenced_off
        else:
            return "unknowable", False
    raise AssertionError("the recovery never ends")


def hostile_world(dice: random.Random) -> World:
    """A create that is given up within a minute and arrives up to 240 s later, or never; a list that lags by up to 90 s."""
    gave_up_at = dice.uniform(0.0, 60.0)
    return World(
        gave_up_at=gave_up_at,
        arrives_at=dice.uniform(0.0, gave_up_at + 240.0) if dice.random() < 0.8 else math.inf,
        lag_s=dice.uniform(0.0, 90.0),
        lost_reads=dice.choice([0.0, 0.0, 0.3, 0.9]),
    )


def paid_twice(policy: Recovery, safety: SubmitSafety, seeds: int) -> int:
    worlds = (random.Random(seed) for seed in range(seeds))
    return sum(ends_with(policy, safety, hostile_world(dice), dice)[1] for dice in worlds)


@pytest.mark.parametrize(
    ("policy", "safety"),
    [
        (Recovery(), FENCED),
        (Recovery(), TAGGED),
        (Recovery(fence=False), FENCED),
        (Recovery(), SubmitSafety.INFERRED),
        (Recovery(), SubmitSafety.NONE),
        (Recovery(window_s=0.0, watch_s=90.0), FENCED),  # a watch as long as the list's lag needs no window
        (Recovery(window_s=390.0), TAGGED),
    ],
)
def test_no_world_pays_twice(policy, safety):
    assert paid_twice(policy, safety, 4000) == 0


@pytest.mark.parametrize(
    ("policy", "safety", "at_least"),
    [
        (Recovery(watch_s=0.0), FENCED, 10),
        (Recovery(window_s=0.0, watch_s=0.0, reads=1), FENCED, 100),
        (Recovery(window_s=0.0, reads=1), TAGGED, 1500),
        (Recovery(window_s=120.0), TAGGED, 800),
        (Recovery(window_s=240.0), TAGGED, 100),
    ],
    ids=["fence, no watch", "fence at once", "one reading", "two minutes", "four minutes"],
)
def test_cutting_the_search_short_pays_twice_in_some_worlds_so_the_worlds_are_hostile_enough(policy, safety, at_least):
    assert paid_twice(policy, safety, 4000) >= at_least


def test_lost_creates_are_found_again_and_absent_ones_are_sent_again():
    found = World(gave_up_at=10.0, arrives_at=200.0, lag_s=80.0)
    absent = World(gave_up_at=10.0, arrives_at=math.inf, lag_s=0.0)
    late = World(gave_up_at=10.0, arrives_at=1000.0, lag_s=0.0)
    dice = random.Random(0)

    assert ends_with(Recovery(), FENCED, found, dice) == ("found", False)
    assert ends_with(Recovery(), FENCED, absent, dice) == ("sent again", False)
    assert ends_with(Recovery(), FENCED, late, dice) == ("sent again", False)  # the fence makes it fail
    assert ends_with(Recovery(), TAGGED, late, dice) == ("sent again", True)  # beyond what a window can promise


SECONDS = st.integers(0, 30).map(float)


@given(
    life_s=SECONDS,
    lag_s=SECONDS,
    window_s=SECONDS,
    watch_s=SECONDS,
    gap_s=st.sampled_from([0.5, 1.0, 7.0]),
    reads=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_a_new_attempt_waits_for_the_life_of_a_request_and_the_lists_lag_together(
    life_s, lag_s, window_s, watch_s, gap_s, reads, seed
):
    dice = random.Random(seed)
    world = World(
        gave_up_at=dice.uniform(0, 5), arrives_at=dice.uniform(0, life_s), lag_s=dice.uniform(0, lag_s), lost_reads=0.2
    )
    policy = Recovery(window_s=window_s, watch_s=watch_s, gap_s=gap_s, reads=reads)

    # A fence ends the life of a request; what had arrived by then shows up within the lag.
    if watch_s >= lag_s or window_s + watch_s >= life_s + lag_s:
        assert not ends_with(policy, FENCED, world, dice)[1]
    if window_s >= life_s + lag_s:
        assert not ends_with(policy, TAGGED, world, dice)[1]
