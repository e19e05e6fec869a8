"""Which limits hold: a caller's own go before the catalog's, an account's before a provider's."""

import pytest

from asyncbatch import ConfigError, load_catalog
from asyncbatch.planning.limits import Limits, check_limits, limits_of, own_limits
from asyncbatch.planning.room import AccountLimits, Most

OPENAI, GEMINI, MISTRAL = (load_catalog().provider(name) for name in ("openai", "gemini", "mistral"))


def test_an_accounts_own_words_go_before_a_providers_and_those_before_everybodys():
    given = check_limits(
        {
            "*": AccountLimits(open_batches=1, open_requests=1, tokens_per_day=1),
            "openai": AccountLimits(open_batches=2, open_requests=2),
            "acme": AccountLimits(open_batches=3),
        },
        ("openai",),
    )

    assert own_limits(given, "acme", "openai") == AccountLimits(open_batches=3, open_requests=2, tokens_per_day=1)
    assert own_limits(given, "acme") == AccountLimits(open_batches=3, open_requests=1, tokens_per_day=1)
    assert own_limits(given, None, "mistral") == given["*"]
    assert own_limits({}, None) == AccountLimits()


def test_one_set_of_limits_is_everybodys_and_none_is_nobodys():
    assert check_limits(AccountLimits(open_batches=1), ()) == {"*": AccountLimits(open_batches=1)}
    assert check_limits(None, ()) == {}


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (4, "limits is int"),
        ({"acme": 4}, "limits['acme'] is int"),
        ({4: AccountLimits()}, "limits[4] is AccountLimits"),
        (
            {"openai": AccountLimits(requests_per_day=4)},
            "limits['openai'] has a budget for a day, and openai is a provider",
        ),
    ],
)
def test_what_are_no_limits_is_refused(given, word):
    with pytest.raises(ConfigError) as caught:
        check_limits(given, ("openai",))

    assert caught.value.message == word


@pytest.mark.parametrize(
    ("facts", "model", "own", "expected"),
    [
        (OPENAI, "gpt-4.1-mini", AccountLimits(), Limits(by_model=OPENAI.limits_by_model)),
        (
            OPENAI,
            "gpt-4.1-mini",
            AccountLimits(enqueued_tokens=5, open_batches=4),
            Limits(account=Most(batches=4), model=Most(tokens=5), by_model=OPENAI.limits_by_model),
        ),
        (
            OPENAI,
            "text-embedding-3-small",
            AccountLimits(),
            Limits(model=Most(requests=1_000_000), by_model=OPENAI.limits_by_model),
        ),
        (
            GEMINI,
            "gemini-2.5-flash",
            AccountLimits(),
            Limits(account=Most(batches=100), by_model=GEMINI.limits_by_model),
        ),
        (
            GEMINI,
            "no such model",
            AccountLimits(open_batches=7),
            Limits(account=Most(batches=7), by_model=("enqueued_tokens",)),
        ),
        (MISTRAL, "mistral-small-latest", AccountLimits(), Limits(account=Most(requests=1_000_000))),
        (None, "anything", AccountLimits(enqueued_tokens=5), Limits(account=Most(tokens=5))),
        (None, "anything", AccountLimits(), Limits()),
    ],
)
def test_what_holds_for_a_model(facts, model, own, expected):
    found = limits_of(own, facts, model)

    assert found == expected
    assert found.is_limited is (expected.account != Most() or expected.model != Most())
