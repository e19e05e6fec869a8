"""Error bodies of every shape: read without trusting them, and shown without what must not be shown."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch import BatchErrorItem, BatchStatus, ProviderStatus
from asyncbatch.codec.errors import ErrorReport, clear, clear_all, decode_error, redact, without

# Shapes from OpenAI's fact sheet (2026-11) and, below them, from services that speak otherwise.
OWN_SHAPES = [
    (
        b'{"error":{"message":"No batch found with id \'batch_x\'.","type":"invalid_request_error","param":null,"code":null}}',
        (None, "invalid_request_error", "No batch found with id 'batch_x'."),
    ),
    (
        b'{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}',
        ("insufficient_quota", "insufficient_quota", "You exceeded your current quota"),
    ),
    (
        b'{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED"}}',
        ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "slow"),
    ),
    (
        b'[{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}]',
        ("PERMISSION_DENIED", "PERMISSION_DENIED", "no"),
    ),
    (
        (
            b'{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"type.google'
            b'apis.com/google.rpc.LocalizedMessage","locale":"en-US"},{"@type":"type.googleapis.com/google.rpc.ErrorInfo",'
            b'"reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}'
        ),
        ("API_KEY_INVALID", "INVALID_ARGUMENT", "API key not valid."),
    ),
    (b'{"error":{"code":400,"message":"bad","details":"none"}}', ("400", None, "bad")),
    # Anthropic's.
    (
        (
            b'{"type":"error","error":{"type":"rate_limit_error","message":"slow","details":{"error_code":"ramp_limit_exceeded"}},'
            b'"request_id":"req_011CExample"}'
        ),
        ("ramp_limit_exceeded", "rate_limit_error", "slow"),
    ),
    (
        (
            b'{"type":"error","error":{"details":null,"type":"invalid_request_error","message":"messages: Field required"},'
            b'"request_id":null}'
        ),
        (None, "invalid_request_error", "messages: Field required"),
    ),
    # Mistral's.
    (
        b'{"object":"error","message":"Rate limit exceeded","type":"rate_limited","param":null,"code":"1300"}',
        ("1300", "rate_limited", "Rate limit exceeded"),
    ),
    (b'{"detail":"Invalid API Key"}', (None, None, "Invalid API Key")),
    (b'{"message":"Unauthorized","request_id":"5f1c"}', (None, None, "Unauthorized")),
    (
        (
            b'{"detail":[{"type":"enum","loc":["body","endpoint"],"msg":"not an endpoint","input":"/v1/x"},'
            b'{"type":"missing","loc":["body","requests",0,"body"],"msg":"Field required"},{"msg":"and more"}]}'
        ),
        (None, None, "body.endpoint: not an endpoint; body.requests.0.body: Field required; and more"),
    ),
    (
        b'{"object":"error","message":{"detail":[{"loc":["body"],"msg":"bad"}]},"type":"invalid_request_error","code":null}',
        (None, "invalid_request_error", "body: bad"),
    ),
    (b'{"message":{"reason":"none"}}', (None, None, "{'reason': 'none'}")),
    (b'{"detail":["no","finding"]}', (None, None, "['no', 'finding']")),
    (b'{"detail":[{"msg":1}]}', (None, None, "[{'msg': 1}]")),
    (b'{"error":"model is gone","code":"gone"}', ("gone", None, "model is gone")),
    (b'{"code":"E1","message":"bad"}', ("E1", None, "bad")),
    (b'{"type":"ValidationException","Message":"bad"}', (None, "ValidationException", "bad")),
    (
        b'{"detail":[{"loc":["body"],"msg":"field required"}]}',
        (None, None, "body: field required"),
    ),
    (b'{"error":null,"message":"bad"}', (None, None, "bad")),
    (b'{"error":{"message":null,"code":true,"type":""}}', (None, None, "")),
]
FOREIGN = {
    "a page": (
        b"<html><head><style>p{}</style></head><body><h1>502</h1>\n  Bad Gateway</body></html>",
        "502 Bad Gateway",
    ),
    "a script": (b"<script>alert('x')</script>sign in<br>here", "sign in here"),
    "a text": (b"upstream connect error", "upstream connect error"),
    "nothing": (b"", ""),
    "bytes": (b"\xff\xfe", "\ufffd\ufffd"),
    "another object": (b'{"ok":true}', "{'ok': True}"),
    "a number": (b"17", "17"),
    "a list": (b"[1,2]", "[1, 2]"),
    "null": (b"null", "None"),
    "a cut object": (b'{"error":{"message":"ba', '{"error":{"message":"ba'),
}


@pytest.mark.parametrize(("body", "report"), OWN_SHAPES)
def test_an_error_of_the_api_gives_code_kind_and_message(body, report):
    assert decode_error(body) == ErrorReport(*report, is_own_shape=True)


@pytest.mark.parametrize(("body", "message"), FOREIGN.values(), ids=FOREIGN)
def test_what_the_api_did_not_write_proves_nothing_and_is_shown_as_text(body, message):
    assert decode_error(body) == ErrorReport(message=message)


def test_a_long_message_is_cut_to_512_bytes_and_never_inside_a_character():
    message = decode_error(msgspec.json.encode({"message": "é" * 1000})).message

    assert message == "é" * 256


def test_a_page_of_megabytes_is_read_only_at_its_beginning():
    assert decode_error(b"<p>busy</p>" + b"<" * 1_000_000).message.startswith("busy <")


def test_a_message_of_megabytes_is_read_only_at_its_beginning():
    # Looking for the end of each of a million tags would take hours.
    assert decode_error(b'{"message":"busy ' + b"<" * 1_000_000 + b'"}').message.startswith("busy <")


@pytest.mark.parametrize(
    "key", ["sk-abcdef123", "sk-proj-ab*****yz", "pk_live_12345678", "gsk_abcdefgh", "xai-abcdefgh", "key-12345678"]
)
def test_whatever_looks_like_a_key_is_taken_out(key):
    body = msgspec.json.encode({"error": {"message": f"Incorrect API key provided: {key}."}})

    assert decode_error(body).message == "Incorrect API key provided: [secret]"
    assert decode_error(f"<p>{key}</p>".encode()).message == "[secret]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc123def456", "Authorization: [secret]"),
        ("Bearer eyJhbGciOi.J9.x", "[secret]"),
        ("Bearer authentication is required", "Bearer authentication is required"),
        ("the key provided is wrong", "the key provided is wrong"),
        ("monkey-business", "monkey-business"),
    ],
)
def test_prose_about_keys_is_left_alone(text, shown):
    assert redact(text) == shown


def test_given_secrets_are_taken_out_whatever_they_look_like():
    assert redact("hello 0123abc and 0123abc", ("0123abc",)) == "hello [secret] and [secret]"


@pytest.mark.parametrize("body", ['{{"message":"{}"}}', "{}"], ids=["json", "text"])
@pytest.mark.parametrize("before", [480, 495, 505, 511, 4080, 4095])
def test_no_part_of_a_secret_survives_at_the_cut(body, before):
    secret = "Zq8xWv3Kp9Rt5Ny7Bm2Hc4Jd6Fg1Ls0A"
    shown = decode_error(body.format("." * before + secret + "." * 50).encode(), (secret,))

    assert not any(secret[:n] in shown.message for n in range(4, len(secret) + 1))


def test_a_key_with_a_known_beginning_is_recognised_before_the_cut():
    shown = decode_error(b'{"message":"' + b"." * 500 + b' sk-abcdefghijklmnopqrstuvwxyz0123"}').message

    assert "sk-" not in shown


def test_a_secret_in_the_code_is_taken_out_too():
    assert decode_error(b'{"error":{"code":"k1k2k3k4","message":"m"}}', ("k1k2k3k4",)).code == "[secret]"


PIECES = [
    b'{"error":',
    b"{",
    b"}",
    b'"message":',
    b'"code":',
    b"[",
    b"]",
    b'"x"',
    b"\xff",
    b"9" * 5000,
    b'"\\ud800"',
    b",",
    b"<",
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(), max_size=30).map(b"".join))
def test_no_body_makes_it_raise_and_every_message_is_one_short_line(body):
    report = decode_error(body)

    assert len(report.message.encode()) <= 512
    assert "\n" not in report.message


def test_deep_nesting_is_no_crash():
    assert decode_error(b"[" * 100_000).message.startswith("[[[")


@pytest.mark.parametrize("head", [b'{"detail":', b'{"message":{"detail":', b'{"error":{"message":', b"["])
def test_what_can_just_be_read_and_is_too_deep_to_be_shown_is_no_crash(head):
    for depth in range(900, 1010):
        opened = b'{"a":' * depth
        assert decode_error(head + opened + b"1" + b"}" * (depth + head.count(b"{")) + b"]" * head.count(b"[")).message


def google(details):
    return b'{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":' + details + b"}}"


@pytest.mark.parametrize(
    ("details", "wait"),
    [
        (
            b'[{"reason":"RATE_LIMIT_EXCEEDED"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"31s"}]',
            31,
        ),
        (b'[{"retryDelay":"0.250s"}]', 0.25),
        (b'[{"retryDelay":"0s"}]', 0),
        (b'[{"retryDelay":"soon"},{"retryDelay":"7s"}]', 7),
        (b'[{"retryDelay":"-5s"}]', None),
        (b'[{"retryDelay":"1e9s"}]', None),
        (b'[{"retryDelay":"9999999999999999s"}]', None),
        (b'[{"retryDelay":{"seconds":"31"}}]', None),
        (b"[31,null,[]]", None),
        (b"null", None),
    ],
)
def test_a_wait_in_the_body_is_read_where_it_is_one(details, wait):
    assert decode_error(google(details)).retry_after == wait


def test_no_other_body_asks_to_wait():
    assert decode_error(b'{"error":{"message":"m","type":"t"},"retryDelay":"31s"}').retry_after is None


def test_a_key_of_google_is_taken_out():
    body = google(b"[]").replace(b'"m"', b'"API key AIzaSyA-1234567890_abcdefghijklmnopqrstuv not valid"')

    assert decode_error(body).message == "API key [secret] not valid"


def test_what_a_provider_says_went_wrong_with_a_batch_is_kept_without_a_secret():
    key = "a key of no known shape"
    item = BatchErrorItem(code=key, message=f"{key} is refused, and sk-1234567890 too", line=7)
    status = ProviderStatus(
        provider_batch_id="b1", status=BatchStatus.FAILED, errors=(item,), error_message=f"no {key}"
    )
    found = clear(status, (key,))

    assert found.errors == (BatchErrorItem(code="[secret]", message="[secret] is refused, and [secret] too", line=7),)
    assert found.error_message == "no [secret]"
    assert found.provider_batch_id == "b1"


def test_a_batch_of_which_nothing_is_wrong_stays_as_it_is():
    status = ProviderStatus(provider_batch_id="b1", status=BatchStatus.FAILED)
    silent = ProviderStatus(provider_batch_id="b1", status=BatchStatus.FAILED, errors=(BatchErrorItem(code="x"),))

    assert clear(status, ("b1",)) is status
    assert clear(silent, ("b1",)) == silent


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error":"too_many_requests","message":"slow down"}', "too_many_requests", "slow down"),
        (
            b'{"error":"Too Many Requests","code":"insufficient_quota","message":"pay"}',
            "insufficient_quota",
            "Too Many Requests",
        ),
        (
            b'{"error":"Incorrect API key provided: sk-other-ABCDEFGH1234","message":"no"}',
            None,
            "Incorrect API key provided: [secret]",
        ),
    ],
)
def test_an_error_that_is_a_word_beside_a_message_is_its_code_and_a_sentence_is_not(body, code, message):
    found = decode_error(body)

    assert (found.code, found.message.rstrip(".")) == (code, message)


@pytest.mark.parametrize(
    ("seconds", "wait"), [("30", 30.0), ("0", 0.0), ("-1", None), ("true", None), ("1e12", None), ("[]", None)]
)
def test_a_wait_may_stand_beside_the_error(seconds, wait):
    body = f'{{"error":"too_many_requests","message":"m","retry_after_seconds":{seconds}}}'.encode()

    assert decode_error(body).retry_after == wait


def test_a_secret_in_other_letters_goes_before_anything_is_cut():
    key = "0123456789ABCDEFGHIJKLMNOPQRSTUVWX.yz"
    found = decode_error(b'{"message":"%b"}' % (b"x" * 480 + key.lower().encode()), (key,))

    assert key[:10].lower() not in found.message


def test_a_status_that_quotes_a_secret_is_cleared_and_ids_stay_as_they_are():
    key = "K-of-No-Known-Shape"
    status = ProviderStatus(
        provider_batch_id=f"b-{key}",
        status=BatchStatus.UNKNOWN,
        raw_status=f"waits for {key.lower()}",
        result_uris=(key,),
    )
    found = clear(status, (key,))

    assert found.raw_status == "waits for [secret]"
    assert (found.provider_batch_id, found.result_uris) == (status.provider_batch_id, status.result_uris)


def test_of_a_page_only_those_are_changed_that_say_something_with_a_secret_in_it():
    key = "K-of-No-Known-Shape"
    words = ["in_progress", f"waits for {key}", "in_progress", f"waits for {key}"]
    page = [
        ProviderStatus(provider_batch_id=f"b{n}", status=BatchStatus.UNKNOWN, raw_status=w) for n, w in enumerate(words)
    ]
    quoting = ProviderStatus(
        provider_batch_id="b4", status=BatchStatus.FAILED, raw_status="failed", error_message=f"no {key}"
    )
    found = clear_all([*page, quoting], (key,))

    assert [status.raw_status for status in found] == ["in_progress", "waits for [secret]"] * 2 + ["failed"]
    assert found[4].error_message == "no [secret]"
    assert found[0] is page[0]
    assert found[2] is page[2]


@pytest.mark.parametrize("text", ["K-of-No", "k-of-no", "K-OF-NO"])
def test_a_secret_is_taken_out_in_letters_of_any_size_and_is_no_pattern(text):
    assert without(f"see {text}.", ("K-of-No",)) == "see [secret]."
    assert without("see KxofxNo", ("K.of.No",)) == "see KxofxNo"
