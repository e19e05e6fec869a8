"""The words beside the requests of a batch: which of them are ours, and which the provider would refuse later.

`input_expires_s` and `output_expires_s` are ours: how long what we upload, and what the provider writes, may stay there. They
say at most, so a provider that deletes sooner by itself keeps them without being told. One that cannot is named in an error:
a wish is never passed over. `input_expires_s=None` asks for nothing, whatever the facts would ask for. `webhook_url` is ours as
well: whom the provider tells of the end of this batch.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from asyncbatch.catalog import Expiry, ProviderFacts
from asyncbatch.enums import InputMode
from asyncbatch.exceptions import ConfigError

INPUT_EXPIRES, OUTPUT_EXPIRES = "input_expires_s", "output_expires_s"
WEBHOOK_URL = "webhook_url"
WINDOW = "completion_window"
_OURS = frozenset({INPUT_EXPIRES, OUTPUT_EXPIRES, WEBHOOK_URL})

_WINDOW = re.compile(r"([1-9][0-9]{0,3})([hd])")
_WEB_ADDRESS = re.compile(r"https?://[!-~]+")


def wire_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the words that are the provider's, and travel in the create."""
    return {word: value for word, value in options.items() if word not in _OURS}


def decode_window(given: Any) -> int | None:
    """Give the seconds of a window as the family of OpenAI writes it, such as `24h` or `7d`; None for what is none."""
    found = _WINDOW.fullmatch(given) if isinstance(given, str) else None
    return int(found[1]) * (3600 if found[2] == "h" else 86_400) if found else None


def check_window(facts: ProviderFacts, options: Mapping[str, Any]) -> None:
    """Refuse a window that the provider would refuse once everything is uploaded."""
    given, known = options.get(WINDOW), facts.windows
    if given is not None and not facts.wire.has_window:
        message = f"{facts.name} cannot be told how long a batch may take"
        raise ConfigError(
            message, code="config.value", hint=f"leave {WINDOW} out: it takes {facts.window_s // 3600} hours"
        )
    if given is None or known is None:
        return
    asked, has_days = decode_window(given), known.has_days and not known.is_one
    if asked is None or not known.takes(asked) or (given[-1:] == "d" and not has_days):
        hint = f"it can be {known.bounds}" + (", in hours or days" if has_days else "")
        raise ConfigError(f"{facts.name}: {WINDOW} is {given!r}", code="config.value", hint=hint)


def check_webhook(facts: ProviderFacts, options: Mapping[str, Any]) -> None:
    """Refuse an address that is none, or that this provider cannot be given for a single batch."""
    url = options.get(WEBHOOK_URL)
    if url is None:
        return
    if facts.webhooks is None or facts.webhooks.tokens is None:
        hint = "leave it out: the batch is asked about anyway"
        message = f"{facts.name} cannot be told whom to tell of the end of a single batch"
        raise ConfigError(message, code="webhook.unsupported", hint=hint)
    if not isinstance(url, str) or not _WEB_ADDRESS.fullmatch(url):
        hint = "it looks like https://hooks.example/batches"
        raise ConfigError(f"{facts.name}: {WEBHOOK_URL} is {url!r}", code="config.value", hint=hint)


def encode_webhook(facts: ProviderFacts, options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the words of a create that say whom to tell of the end of its batch, if anybody."""
    url, tokens = options.get(WEBHOOK_URL), facts.webhooks.tokens if facts.webhooks else None
    if url is None or tokens is None:
        return {}
    first, *within = tokens.url.split(".")
    value: Any = [url]
    for name in reversed(within):
        value = {name: value}
    return {first: value}


def check_metadata(facts: ProviderFacts, metadata: Any) -> None:
    """Refuse metadata that the provider would refuse, leaving room for our tag."""
    if metadata is None:
        return
    name, limits = facts.name, facts.limits
    if not facts.takes_metadata:
        raise ConfigError(f"{name} keeps no metadata with a batch", code="bad_metadata", hint="leave it out")
    try:
        given = msgspec.convert(metadata, dict[str, str])
    except msgspec.ValidationError:
        message = f"{name}: metadata is {metadata!r}, not a mapping of texts to texts"
        raise ConfigError(message, code="bad_metadata") from None
    pairs = limits.metadata_pairs.value - 1 if limits.metadata_pairs else None
    if pairs is not None and len(given) > pairs:
        raise ConfigError(f"{name}: metadata has {len(given)} pairs; {pairs} are free", code="bad_metadata")
    longest_key = limits.metadata_key_chars.value if limits.metadata_key_chars else None
    longest_value = limits.metadata_value_chars.value if limits.metadata_value_chars else None
    for key, value in given.items():
        if (longest_key and len(key) > longest_key) or (longest_value and len(value) > longest_value):
            message = f"{name}: metadata {key[:80]!r} is too long: a key may have {longest_key} characters"
            raise ConfigError(f"{message}, a value {longest_value}", code="bad_metadata")


def check_expiry(facts: ProviderFacts, options: Mapping[str, Any], window_s: int) -> None:
    """Refuse a time for files that the provider cannot be asked for, or that ends before a batch may have read its input."""
    kept = facts.retention
    if options.get(INPUT_EXPIRES) is not None:
        asked = _seconds(facts, INPUT_EXPIRES, options[INPUT_EXPIRES])
        _check(facts, INPUT_EXPIRES, asked, kept.input_expiry, kept.input_s)
        if asked < window_s:
            message = (
                f"{facts.name}: {INPUT_EXPIRES} is {asked:,}, and a batch may take {window_s:,} s to read its input"
            )
            raise ConfigError(message, code="expiry.bounds", hint=f"ask for {window_s:,} or more")
    if options.get(OUTPUT_EXPIRES) is not None:
        asked = _seconds(facts, OUTPUT_EXPIRES, options[OUTPUT_EXPIRES])
        _check(facts, OUTPUT_EXPIRES, asked, kept.output_expiry, kept.output_s)


def _seconds(facts: ProviderFacts, word: str, given: Any) -> int:
    if type(given) is not int or given < 1:
        message = f"{facts.name}: {word} is {given!r}"
        raise ConfigError(message, code="config.value", hint="it is a whole number of seconds")
    return given


def _check(facts: ProviderFacts, word: str, asked: int, expiry: Expiry | None, kept_s: int | None) -> None:
    if expiry is not None and expiry.takes(asked):
        return
    if kept_s is not None and kept_s <= asked:
        return  # what is gone by then needs no asking
    if expiry is not None:
        message = f"{facts.name}: {word} is {asked:,}, and it takes {expiry.bounds}"
        raise ConfigError(message, code="expiry.bounds")
    message = f"{facts.name} cannot be told when to delete what is {'uploaded' if word == INPUT_EXPIRES else 'written'}"
    raise ConfigError(message, code="expiry.unsupported", hint=_what_it_does(facts, word, kept_s))


def _what_it_does(facts: ProviderFacts, word: str, kept_s: int | None) -> str:
    if word == INPUT_EXPIRES and InputMode.FILE not in facts.inputs:
        return f"leave {word} out: requests travel in the create, and no file of them is kept"
    if kept_s is None:
        return f"leave {word} out; what it keeps can be deleted once a job is over"
    return f"leave {word} out: it deletes them after {kept_s:,} s by itself"


def plan_input_expiry(facts: ProviderFacts, options: Mapping[str, Any], window_s: int) -> int | None:
    """Give the seconds after which an upload may go: the caller's, else the facts', longer where the batch may take longer."""
    expiry = facts.retention.input_expiry
    if expiry is None:
        return None
    if INPUT_EXPIRES in options:
        return _asked_of(expiry, options[INPUT_EXPIRES])
    if expiry.asked_s is None:
        return None
    asked = expiry.asked_s + max(0, window_s - facts.window_s)
    return _asked_of(expiry, asked if expiry.most_s is None else min(asked, expiry.most_s))


def plan_output_expiry(facts: ProviderFacts, options: Mapping[str, Any]) -> int | None:
    """Give the seconds after which what the provider writes may go; None leaves it to the provider."""
    expiry = facts.retention.output_expiry
    return None if expiry is None else _asked_of(expiry, options.get(OUTPUT_EXPIRES, expiry.asked_s))


def _asked_of(expiry: Expiry, seconds: int | None) -> int | None:
    """Count in the provider's steps, never past what was asked for; what it does by itself sooner is not asked for."""
    return None if seconds is None or not expiry.takes(seconds) else seconds - seconds % expiry.step_s
