"""What an account has used within a day, and whether another job fits."""

import pytest

from asyncbatch.catalog import Price
from asyncbatch.exceptions import BudgetExceededError, ConfigError
from asyncbatch.planning.budgets import DAY_S, Spent, Used, check_budget, dollars_of, used_by
from asyncbatch.planning.room import AccountLimits

NOW = 1_000_000.0
PRICE = Price(input_usd=1.0, cached_input_usd=0.5, output_usd=4.0)


def price_of(provider, model):
    return PRICE if model == "priced" else None


def spent(at=NOW, model="priced", **fields):
    return Spent(at=at, provider="p", model=model, **{"requests": 1, **fields})


@pytest.mark.parametrize(
    ("price", "usage", "expected"),
    [
        (PRICE, (1_000_000, 0, 0), 1.0),
        (PRICE, (1_000_000, 400_000, 1_000_000), 4.8),
        (Price(input_usd=2.0, output_usd=4.0), (1_000_000, 400_000, 0), 2.0),
        (Price(input_usd=2.0), (1_000_000, 0, 0), 2.0),
        (Price(input_usd=2.0), (1_000_000, 0, 1), None),
        (None, (1, 0, 0), None),
        (None, (0, 0, 0), 0.0),
    ],
)
def test_what_tokens_cost(price, usage, expected):
    assert dollars_of(price, usage) == (expected if expected is None else pytest.approx(expected))


def test_jobs_are_added_up_as_estimated_until_they_are_counted():
    jobs = [
        spent(requests=3, tokens=50, usd=0.25),
        spent(requests=2, usage=(1_000_000, 0, 0)),
        spent(model="priceless"),
    ]

    assert used_by(jobs, price_of) == Used(6, 1_000_050, 1.25)
    assert used_by([spent(model="priceless", usage=(1, 0, 1))], price_of) == Used(1, 2, None)
    assert used_by([], price_of) == Used(0, 0, 0.0)


@pytest.mark.parametrize(
    ("limits", "before", "asked", "fits"),
    [
        (AccountLimits(), [], spent(requests=10**9), True),
        (AccountLimits(requests_per_day=5), [spent(requests=3)], spent(requests=2), True),
        (AccountLimits(requests_per_day=5), [spent(requests=3)], spent(requests=3), False),
        (AccountLimits(tokens_per_day=100), [spent(tokens=60)], spent(tokens=40), True),
        (AccountLimits(tokens_per_day=100), [spent(usage=(40, 0, 21))], spent(tokens=40), False),
        (AccountLimits(usd_per_day=2), [spent(usage=(1_000_000, 0, 0))], spent(usd=1.0), True),
        (AccountLimits(usd_per_day=2), [spent(usd=1.5)], spent(usd=1.0), False),
    ],
)
def test_a_job_fits_or_does_not(limits, before, asked, fits):
    if fits:
        check_budget(limits, before, asked, price_of, account="acme")
        return
    with pytest.raises(BudgetExceededError):
        check_budget(limits, before, asked, price_of, account="acme")


def refused(limits, before, asked, account="acme"):
    with pytest.raises(BudgetExceededError) as caught:
        check_budget(limits, before, asked, price_of, account=account)
    return caught.value


def test_the_error_says_when_the_job_would_fit():
    before = [spent(NOW - 100, requests=1), spent(NOW - 3600, requests=2), spent(NOW - 50, requests=2)]
    limits = AccountLimits(requests_per_day=5)

    assert refused(limits, before, spent(requests=2)).retry_after_s == DAY_S - 3600
    assert refused(limits, before, spent(requests=3)).retry_after_s == DAY_S - 100
    assert refused(limits, before, spent(requests=6)).retry_after_s is None
    assert refused(limits, [spent(NOW - 2 * DAY_S, requests=5)], spent(requests=1)).retry_after_s == 0.0


def test_the_error_has_words_and_numbers():
    error = refused(AccountLimits(usd_per_day=2), [spent(usd=1.5)], spent(usd=1.0), account=None)

    assert (error.budget, error.limit, error.used, error.asked, error.left) == ("usd_per_day", 2, 1.5, 1.0, 0.5)
    assert error.message == (
        "the environment's account may use 2 dollars in 24 hours: 1.5000 are used, and this job wants 1"
    )
    assert refused(AccountLimits(requests_per_day=1), [spent(requests=3)], spent()).left == 0


def test_dollars_cannot_be_counted_where_a_price_is_missing():
    with pytest.raises(ConfigError, match="is not known") as caught:
        check_budget(
            AccountLimits(usd_per_day=2), [spent(model="priceless", usage=(9, 0, 9))], spent(), price_of, account="acme"
        )

    assert caught.value.code == "budget.price"
