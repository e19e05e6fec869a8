"""What an answer that is no success becomes, by the provider's own table."""

import json

import msgspec
import pytest

from asyncbatch import ProviderPermanentError, ProviderTransientError
from asyncbatch.catalog import load_catalog
from asyncbatch.catalog._facts import ErrorRule
from asyncbatch.enums import ErrorClass
from asyncbatch.transport import Origin
from asyncbatch.transport.errors import from_answer
from asyncbatch.transport.origin import Outset

RULE = ErrorRule(status=(400,), code="API_KEY_INVALID", error_class=ErrorClass.PERMANENT, auth=True)
FACTS = msgspec.structs.replace(load_catalog().provider("openai"), errors=(RULE,))


def test_a_call_shows_neither_headers_nor_address():
    origin = Origin(base_url="https://api.invalid/v1", secret_headers={"api-key": "canary-1234"})
    call = Outset(origin).call("GET", "/x", params={"token": "canary-5678"})

    assert repr(call) == "Call('GET /x')"
    assert list(call.__rich_repr__()) == ["GET /x"]
    assert call.secrets == ("canary-1234",)


def error_of(status, body, headers=None):
    return from_answer(status, headers or {}, json.dumps(body).encode(), facts=FACTS, what="GET /x", now=0.0)


def google(status, word, **details):
    return {"error": {"code": status, "message": "m", "status": word, "details": [details]}}


@pytest.mark.parametrize(
    ("status", "body", "is_key"),
    [
        (400, google(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID"), True),
        (400, google(400, "INVALID_ARGUMENT", reason="FIELD_INVALID"), False),
        (400, google(400, "INVALID_ARGUMENT"), False),
        (401, {"detail": "Invalid API Key"}, True),
        (403, google(403, "PERMISSION_DENIED"), True),
        (404, {"detail": "Not Found"}, False),
        (500, google(500, "INTERNAL"), False),
    ],
)
def test_a_key_that_is_refused_is_named_whatever_the_status(status, body, is_key):
    error = error_of(status, body)

    assert (error.hint == "check the key: OPENAI_API_KEY") is is_key


def test_the_most_exact_word_is_the_code():
    anthropic = {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "m", "details": {"error_code": "ramp_limit"}},
    }

    assert error_of(429, anthropic).code == "ramp_limit"
    assert error_of(400, google(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID")).code == "API_KEY_INVALID"
    assert error_of(429, google(429, "RESOURCE_EXHAUSTED")).code == "RESOURCE_EXHAUSTED"
    assert (
        error_of(529, {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}).code
        == "overloaded_error"
    )
    assert error_of(429, {"object": "error", "message": "m", "type": "rate_limited", "code": "1300"}).code == "1300"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, 31),
        ({"retry-after": "2"}, 2),
        ({"retry-after-ms": "250.5", "retry-after": "2"}, 0.2505),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "soon"}, 31),
    ],
)
def test_the_headers_wait_goes_before_the_bodys(headers, wait):
    assert error_of(429, google(429, "RESOURCE_EXHAUSTED", retryDelay="31s"), headers).retry_after == wait


def test_the_servers_own_wish_goes_before_everything():
    body = google(429, "RESOURCE_EXHAUSTED", retryDelay="31s")

    assert isinstance(error_of(429, body), ProviderTransientError)
    assert isinstance(error_of(429, body, {"x-should-retry": "false", "retry-after-ms": "1"}), ProviderPermanentError)
    assert isinstance(error_of(400, body, {"x-should-retry": "true"}), ProviderTransientError)
