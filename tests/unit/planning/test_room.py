"""Whether there is room for another batch, whose turn it is, and what a refusal teaches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.dto import BatchErrorItem, Progress, ProviderStatus
from asyncbatch.enums import BatchStatus
from asyncbatch.exceptions import ConfigError
from asyncbatch.planning.retry import Patience
from asyncbatch.planning.room import (
    AccountLimits,
    Go,
    Learnt,
    Load,
    Most,
    Pool,
    Turn,
    Wait,
    after_refusal,
    after_success,
    estimate_tokens,
    is_turned_away,
    is_worth_another_try,
    may_send,
    next_turn,
    remembered,
)

NOW = 1000.0
ONE = Load(batches=1, requests=10, tokens=100)


def opened(batches, requests=None, tokens=None):
    return Load(
        batches=batches, requests=batches * 10 if requests is None else requests, tokens=tokens or batches * 100
    )


def learnt(most, until=NOW + 60, refusals=1, since=NOW - 5):
    return Learnt(most=most, word="refused for now (429)", refusals=refusals, since=since, until=until)


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        pytest.param([Pool(), Pool(of="m")], Go(), id="nothing is limited"),
        pytest.param([Pool(open=opened(3), most=Most(batches=4))], Go(), id="the last place"),
        pytest.param(
            [Pool(open=opened(4), most=Most(batches=4))],
            Wait("waiting for room: 4 of 4 batches of this account are open", 0),
            id="no place",
        ),
        pytest.param(
            [Pool(open=opened(9, 95), most=Most(requests=100))],
            Wait("waiting for room: 95 of 100 requests of this account are open", 0),
            id="no room for so many requests",
        ),
        pytest.param(
            [Pool(), Pool(of="gpt-4.1-mini", open=opened(2, 2, 1_900_000), most=Most(tokens=1_900_099))],
            Wait("waiting for room: 1.9 M of 1.9 M enqueued tokens of gpt-4.1-mini", 1),
            id="no room for so many tokens of a model",
        ),
        pytest.param([Pool(open=opened(1), most=Most(tokens=200))], Go(), id="just room for its tokens"),
        pytest.param(
            [Pool(most=Most(batches=1, requests=1, tokens=1))], Go(), id="too large, and nothing else is open"
        ),
        pytest.param([Pool(open=opened(1), learnt=learnt(Most(batches=2)))], Go(), id="less than was refused"),
        pytest.param(
            [Pool(open=opened(2), learnt=learnt(Most(batches=2)))],
            Wait("waiting for room: refused for now (429) with 2 batches of this account open", 0, NOW + 60),
            id="as much as was refused",
        ),
        pytest.param(
            [Pool(learnt=learnt(Most(tokens=99)))],
            Wait("waiting for room: refused for now (429) with 0 batches of this account open", 0, NOW + 60),
            id="it was refused although nothing was open",
        ),
        pytest.param(
            [Pool(open=opened(1), learnt=learnt(Most(batches=1), until=NOW))],
            Go(is_try=True),
            id="as much as was refused, and the wait is over",
        ),
        pytest.param(
            [Pool(open=opened(1), learnt=learnt(Most(batches=1), until=NOW), is_trying=True)],
            Wait("waiting for room: refused for now (429) with 1 batch of this account open, one more is tried", 0),
            id="another one is being tried",
        ),
        pytest.param(
            [
                Pool(open=opened(1), learnt=learnt(Most(batches=1), until=NOW)),
                Pool(of="m", open=opened(1), most=Most(batches=1)),
            ],
            Wait("waiting for room: 1 of 1 batches of m are open", 1),
            id="a try has to fit everywhere",
        ),
    ],
)
def test_what_may_be_sent(pools, expected):
    assert may_send(pools, ONE, NOW) == expected


@pytest.mark.parametrize(
    ("tokens", "shown"), [(5, "5"), (1500, "1.5 k"), (2_000_000, "2.0 M"), (30_000_000_000, "30.0 B")]
)
def test_tokens_are_written_as_people_speak_of_them(tokens, shown):
    pool = Pool(open=Load(batches=1, tokens=tokens), most=Most(tokens=tokens))

    assert may_send([pool], ONE, NOW).why == f"waiting for room: {shown} of {shown} enqueued tokens of this account"


def refused(pool, learns="batches", u=0.5, **more):
    return after_refusal(Patience(), pool, ONE, NOW, u, learns=learns, word="refused", **more)


def test_a_refusal_lowers_what_is_believed_to_what_is_open():
    first = refused(Pool(open=opened(5)))
    second = refused(Pool(open=opened(7), learnt=first))

    assert first == Learnt(most=Most(batches=5), word="refused", refusals=1, since=NOW, until=NOW + 1.0)
    assert (second.most, second.refusals, second.until) == (Most(batches=5), 2, NOW + 2.0)


def test_a_batch_that_was_turned_away_tells_how_many_tokens_are_too_many():
    first = refused(Pool(open=opened(5)), "tokens")
    second = refused(Pool(open=opened(2), learnt=first), "tokens")
    third = refused(Pool(open=opened(9), learnt=second), "tokens", u=0.0)

    assert first.most == Most(tokens=599)
    assert second.most == third.most == Most(tokens=299)
    assert [item.until - NOW for item in (first, second, third)] == [45.0, 90.0, 120.0]
    assert refused(Pool(learnt=learnt(Most(), refusals=2000)), "tokens").until == NOW + 2700


def test_the_servers_own_wish_is_the_least_that_is_waited():
    assert refused(Pool(), retry_after=90.0).until == NOW + 90.1


def test_what_goes_through_below_the_limit_only_says_that_the_account_lives():
    assert after_success(Pool(), NOW, is_try=False) is None
    assert after_success(Pool(learnt=learnt(Most(batches=2))), NOW, is_try=False) == learnt(Most(batches=2), since=NOW)


def test_one_more_than_believed_takes_a_limit_on_batches_away_and_raises_one_on_tokens():
    tokens = learnt(Most(batches=3, tokens=500))

    assert after_success(Pool(open=opened(3), learnt=learnt(Most(batches=2))), NOW, is_try=True) is None
    assert after_success(Pool(open=opened(8), learnt=tokens), NOW, is_try=True) == learnt(
        Most(tokens=1000), until=NOW, refusals=0, since=NOW
    )
    assert after_success(Pool(open=opened(1), learnt=tokens), NOW, is_try=True).most == Most(tokens=500)


def test_of_a_batch_that_was_turned_away_before_a_restart_one_is_tried():
    known = learnt(Most(tokens=7))
    pool = Pool(open=opened(2), learnt=remembered(Pool(open=opened(2)), "turned away", NOW))

    assert remembered(Pool(learnt=known), "turned away", NOW) is known
    assert may_send([pool], ONE, NOW) == Go(is_try=True)


@pytest.mark.parametrize(
    ("open_of", "served", "expected"),
    [
        ({}, {}, "old"),
        ({"old": 1}, {"old": 0}, "mid"),
        ({"old": 1, "mid": 1}, {"old": 0, "mid": 1}, "new"),
        ({"old": 1, "mid": 1, "new": 1}, {"old": 3, "mid": 1, "new": 2}, "mid"),
        ({"new": 1}, {"old": 5, "mid": 6, "new": 4}, "old"),
        ({}, {"old": 5}, "mid"),
    ],
)
def test_who_has_the_least_is_next_then_who_was_served_longest_ago_then_the_oldest(open_of, served, expected):
    turns = [Turn(3.0, "new"), Turn(1.0, "old"), Turn(2.0, "mid")]

    assert next_turn(turns, open_of, served).job_id == expected
    assert next_turn([], open_of, served) is None


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 5))
def test_no_job_waits_for_more_batches_than_there_are_jobs_and_places(sizes, room):
    left = {f"job-{index}": size for index, size in enumerate(sizes)}
    running, served, waits = [], {}, dict.fromkeys(left, 0)
    while any(left.values()):
        while len(running) < room and any(left.values()):
            turns = (Turn(float(name[4:]), name) for name, size in left.items() if size)
            name = next_turn(turns, {name: running.count(name) for name in left}, served).job_id
            left[name], served[name] = left[name] - 1, max(served.values(), default=0) + 1
            running.append(name)
        for name, size in left.items():
            waits[name] = 0 if not size or name in running else waits[name] + 1
            assert waits[name] <= len(sizes) + room
        running.pop(0)


def test_tokens_are_rather_too_many_than_too_few():
    assert estimate_tokens(0, 4) == 4
    assert estimate_tokens(301, 1) == 101
    assert estimate_tokens(300, 1, answer_tokens=50) == 150


FULL = (BatchErrorItem(code="full"),)
FAILED = ProviderStatus(provider_batch_id="b", status=BatchStatus.FAILED, raw_status="failed", errors=FULL)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (FAILED, True),
        (ProviderStatus(provider_batch_id="b", status=BatchStatus.EXPIRED, errors=FULL), False),
        (ProviderStatus(provider_batch_id="b", status=BatchStatus.FAILED), False),
        (
            ProviderStatus(provider_batch_id="b", status=BatchStatus.FAILED, errors=(*FULL, BatchErrorItem(code="x"))),
            False,
        ),
        (
            ProviderStatus(
                provider_batch_id="b", status=BatchStatus.FAILED, errors=FULL, progress=Progress(total=2, completed=1)
            ),
            False,
        ),
        (ProviderStatus(provider_batch_id="b", status=BatchStatus.FAILED, errors=FULL, result_uris=("f",)), False),
    ],
)
def test_a_batch_was_turned_away_if_nothing_of_it_ran_and_nothing_else_was_wrong(status, expected):
    assert is_turned_away(status, ("full",)) is expected


@pytest.mark.parametrize(("tries", "waited_s", "expected"), [(49, 86_399, True), (50, 0, False), (0, 86_400, False)])
def test_it_is_tried_for_a_day_at_most(tries, waited_s, expected):
    assert is_worth_another_try(tries, waited_s) is expected


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "4", float("nan")])
@pytest.mark.parametrize(
    "name", ["open_batches", "open_requests", "enqueued_tokens", "requests_per_day", "tokens_per_day"]
)
def test_a_limit_is_a_number_above_nothing(name, value):
    with pytest.raises(ConfigError, match=f"{name} is"):
        AccountLimits(**{name: value})


def test_dollars_may_be_broken_and_are_above_nothing():
    assert AccountLimits(usd_per_day=0.5).has_budget
    with pytest.raises(ConfigError):
        AccountLimits(usd_per_day=float("nan"))


def test_limits_that_say_nothing_take_the_others():
    over = AccountLimits(open_batches=2).over(AccountLimits(open_batches=9, tokens_per_day=5))

    assert over == AccountLimits(open_batches=2, tokens_per_day=5)
    assert over.has_budget
    assert not AccountLimits(open_batches=2).has_budget
