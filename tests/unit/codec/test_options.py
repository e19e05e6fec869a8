"""How long files may stay, and whom to tell of an end: what may be asked for, what is by itself, what is refused by name."""

import msgspec
import pytest

from asyncbatch import ConfigError, InputMode
from asyncbatch.catalog import Retention, load_catalog
from asyncbatch.codec.options import (
    check_expiry,
    check_webhook,
    encode_webhook,
    plan_input_expiry,
    plan_output_expiry,
    wire_options,
)

HOUR_S, DAY_S = 3600, 86_400


def facts(**retention):
    """Give OpenAI's facts with another retention."""
    return load_catalog({"providers": {"openai": {"retention": retention}}}).provider("openai")


BOTH = facts()
NEITHER = msgspec.structs.replace(BOTH, retention=Retention(input_s=2 * DAY_S))
HOURS = facts(
    input_expiry={"least_s": HOUR_S, "most_s": 900 * HOUR_S, "step_s": HOUR_S, "asked_s": 7 * DAY_S}, input_s=None
)
INLINE = msgspec.structs.replace(BOTH, retention=Retention(), inputs=(InputMode.INLINE,))


def problem(known, window_s=DAY_S, **words):
    with pytest.raises(ConfigError) as caught:
        check_expiry(known, words, window_s)
    return caught.value


@pytest.mark.parametrize("seconds", [DAY_S, 7 * DAY_S, 30 * DAY_S])
def test_a_time_within_the_bounds_is_asked_for(seconds):
    words = {"input_expires_s": seconds, "output_expires_s": seconds}
    check_expiry(BOTH, words, DAY_S)

    assert plan_input_expiry(BOTH, words, DAY_S) == plan_output_expiry(BOTH, words) == seconds


def test_an_output_may_go_sooner_than_an_input():
    check_expiry(BOTH, {"output_expires_s": HOUR_S}, DAY_S)

    assert plan_output_expiry(BOTH, {"output_expires_s": HOUR_S}) == HOUR_S


@pytest.mark.parametrize("seconds", [HOUR_S, DAY_S - 1])
def test_an_input_that_would_go_while_its_batch_may_still_read_it_is_refused(seconds):
    error = problem(BOTH, input_expires_s=seconds)

    assert error.code == "expiry.bounds"
    assert "86,400" in error.message


def test_the_window_of_the_batch_is_what_counts():
    assert problem(BOTH, 7 * DAY_S, input_expires_s=7 * DAY_S - 1).code == "expiry.bounds"
    check_expiry(BOTH, {"input_expires_s": 7 * DAY_S}, 7 * DAY_S)


@pytest.mark.parametrize("seconds", [1, HOUR_S - 1])
def test_a_time_below_the_bounds_names_them(seconds):
    error = problem(BOTH, output_expires_s=seconds)

    assert error.code == "expiry.bounds"
    assert "3,600 to 2,592,000" in error.message


@pytest.mark.parametrize("given", ["7d", 7.5, True, 0, -1, 1e6])
@pytest.mark.parametrize("word", ["input_expires_s", "output_expires_s"])
def test_what_is_no_number_of_seconds_is_refused(word, given):
    error = problem(BOTH, **{word: given})

    assert error.code == "config.value"
    assert word in error.message
    assert "whole number of seconds" in error.hint


def test_what_goes_sooner_by_itself_needs_no_asking():
    words = {"input_expires_s": 60 * DAY_S, "output_expires_s": 60 * DAY_S}
    check_expiry(BOTH, words, DAY_S)
    check_expiry(NEITHER, {"input_expires_s": 2 * DAY_S}, DAY_S)

    assert plan_input_expiry(BOTH, words, DAY_S) is None
    assert plan_output_expiry(BOTH, words) is None
    assert plan_input_expiry(NEITHER, {"input_expires_s": 2 * DAY_S}, DAY_S) is None


def test_a_provider_that_cannot_be_asked_is_named_with_what_it_does():
    sooner = problem(NEITHER, input_expires_s=DAY_S)
    unknown = problem(NEITHER, output_expires_s=DAY_S)
    inline = problem(INLINE, input_expires_s=DAY_S)

    assert {sooner.code, unknown.code, inline.code} == {"expiry.unsupported"}
    assert "after 172,800 s by itself" in sooner.hint
    assert "openai" in unknown.message
    assert "no file" in inline.hint


def test_what_is_asked_for_by_itself_is_in_the_facts():
    assert plan_input_expiry(BOTH, {}, DAY_S) == 7 * DAY_S
    assert plan_output_expiry(BOTH, {}) is None
    assert plan_output_expiry(facts(output_expiry={"asked_s": 3 * DAY_S}), {}) == 3 * DAY_S


def test_nothing_is_asked_for_where_the_caller_or_the_facts_say_so():
    assert plan_input_expiry(BOTH, {"input_expires_s": None}, DAY_S) is None
    assert plan_input_expiry(facts(input_expiry={"asked_s": None}), {}, DAY_S) is None
    assert plan_input_expiry(NEITHER, {}, DAY_S) is None
    check_expiry(BOTH, {"input_expires_s": None, "output_expires_s": None}, DAY_S)


def test_a_batch_that_may_take_longer_keeps_its_input_longer():
    assert plan_input_expiry(HOURS, {}, 7 * DAY_S) == 13 * DAY_S
    assert plan_input_expiry(BOTH, {}, 40 * DAY_S) == 30 * DAY_S, "never past the most that is taken"


def test_a_provider_that_counts_in_hours_is_never_asked_for_more_than_was_said():
    assert plan_input_expiry(HOURS, {"input_expires_s": DAY_S + HOUR_S - 1}, DAY_S) == DAY_S


def test_our_words_do_not_travel():
    words = {"metadata": {"a": "b"}, "input_expires_s": 1, "output_expires_s": 2}

    assert wire_options(words) == {"metadata": {"a": "b"}}
    assert len(words) == 3


@pytest.mark.parametrize(
    ("expiry", "says"),
    [
        ({"least_s": 10, "most_s": 9, "asked_s": None}, "most_s: expected 10 or more"),
        ({"asked_s": 60}, "asked_s: expected 3,600 to 2,592,000, got 60"),
        ({"step_s": 0}, "step_s"),
        ({"asked": 1}, "unknown key; did you mean 'asked_s'"),
    ],
)
def test_facts_that_contradict_themselves_are_found_when_they_are_read(expiry, says):
    with pytest.raises(ConfigError, match=says):
        facts(input_expiry=expiry)


# Whom the provider tells of the end of one batch


def test_an_address_stands_in_the_create_where_the_facts_say():
    gemini = load_catalog().provider("gemini")
    tokens = msgspec.structs.replace(gemini.webhooks.tokens, url="notify")
    flat = msgspec.structs.replace(gemini, webhooks=msgspec.structs.replace(gemini.webhooks, tokens=tokens))
    options = {"webhook_url": "https://hooks.example/x", "priority": 3}

    assert encode_webhook(gemini, options) == {"webhookConfig": {"uris": ["https://hooks.example/x"]}}
    assert encode_webhook(flat, options) == {"notify": ["https://hooks.example/x"]}
    assert wire_options(options) == {"priority": 3}


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
def test_without_an_address_nothing_is_said(name):
    facts = load_catalog().provider(name)
    check_webhook(facts, {})

    assert encode_webhook(facts, {}) == {}
    assert encode_webhook(facts, {"webhook_url": "https://x"} if name != "gemini" else {}) == {}


@pytest.mark.parametrize(
    ("name", "url", "code"),
    [
        ("openai", "https://hooks.example/x", "webhook.unsupported"),
        ("anthropic", "https://hooks.example/x", "webhook.unsupported"),
        ("gemini", "hooks.example", "config.value"),
        ("gemini", "https://hooks.example/ x", "config.value"),
        ("gemini", 7, "config.value"),
    ],
)
def test_an_address_that_nobody_could_be_told_at_is_refused(name, url, code):
    with pytest.raises(ConfigError) as caught:
        check_webhook(load_catalog().provider(name), {"webhook_url": url})

    assert caught.value.code == code
