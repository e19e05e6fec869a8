"""Who sent it: what is signed by a secret of ours, over these very bytes, in these minutes, is believed, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.catalog import load_catalog
from asyncbatch.planning.webhooks import MOST_BYTES, Event, Genuine, Refusal, is_secret, read_event, verify
from tests.webhooks.signing import NOW, OTHER, SECRET, event, signature, signed

SECRETS = {"openai": [SECRET]}
BODY = b'{"type":"batch.completed","data":{"id":"batch_1"}}'


def status_of(headers, body=BODY, secrets=SECRETS, now=NOW):
    found = verify(headers, body, secrets, now)
    return 200 if isinstance(found, Genuine) else found.status


def test_a_good_signature_names_its_sender():
    headers, body = signed(BODY, webhook_id="msg_1")

    assert verify(headers, body, SECRETS, NOW) == Genuine(webhook_id="msg_1", senders=("openai",))


def test_a_sender_may_have_several_secrets_and_send_several_signatures():
    headers, body = signed(BODY, secret=OTHER, webhook_id="msg_1")
    both = f"v1a,{'A' * 86}== {signature(body, 'msg_1', int(NOW))} {headers['webhook-signature']}"

    assert status_of(headers, body, {"openai": [SECRET, OTHER]}) == 200
    assert status_of({**headers, "webhook-signature": both}, body) == 200
    assert status_of(headers, body) == 401


def test_several_senders_with_one_secret_are_all_named():
    headers, body = signed(BODY)
    found = verify(headers, body, {"a": [OTHER], "b": [SECRET], "c": [OTHER, SECRET]}, NOW)

    assert isinstance(found, Genuine)
    assert found.senders == ("b", "c")


@pytest.mark.parametrize("spell", [str.upper, str.title, str.lower])
def test_headers_are_found_however_they_are_spelled(spell):
    headers, body = signed(BODY)

    assert status_of({spell(name): f" {value} " for name, value in headers.items()}, body) == 200


@pytest.mark.parametrize(("age_s", "status"), [(0, 200), (300, 200), (-300, 200), (301, 401), (-301, 401), (1e9, 401)])
def test_what_is_old_or_still_to_come_is_a_recording_or_a_wrong_clock(age_s, status):
    headers, body = signed(BODY, at=NOW - age_s)

    assert status_of(headers, body) == status


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_lacks_a_header_is_malformed(name, value):
    headers, body = signed(BODY)
    headers = {key: held for key, held in headers.items() if key != name} | ({} if value is None else {name: value})

    assert status_of(headers, body) == 400


@pytest.mark.parametrize("at", ["soon", "1e9", "-5", "1_800", "1800000000.0", "9" * 13, "١٨٠٠"])
def test_a_timestamp_is_digits(at):
    headers, body = signed(BODY)
    headers |= {"webhook-timestamp": at, "webhook-signature": signature(body, headers["webhook-id"], at)}

    assert status_of(headers, body) == 400


@pytest.mark.parametrize("webhook_id", ["a b", "a\tb", "ä", "x" * 257])
def test_an_id_is_printable_and_short(webhook_id):
    assert status_of(*signed(BODY, webhook_id=webhook_id)) == 400


@pytest.mark.parametrize(
    "text",
    [
        "v1,",
        "v1",
        "v2,{good}",
        "{good}",
        "v1,{good}x",
        "v1, {good}",
        "v1,%s" % ("A" * 43 + "="),
        "ä,\udcff",
        "v1," * 1000,
        " ".join(["v1,AAAA"] * 32) + " v1,{good}",
    ],
)
def test_what_is_no_signature_of_ours_is_not_believed(text):
    headers, body = signed(BODY)
    good = headers["webhook-signature"].removeprefix("v1,")

    assert status_of({**headers, "webhook-signature": text.replace("{good}", good)}, body) == 401


@given(st.data())
def test_whatever_is_changed_the_signature_fails(data):
    headers, body = signed(BODY, webhook_id="msg_1")
    what = data.draw(st.sampled_from(["body", "id", "timestamp"]))
    if what == "body":
        place = data.draw(st.integers(0, len(body) - 1))
        body = body[:place] + bytes([body[place] ^ data.draw(st.integers(1, 255))]) + body[place + 1 :]
    elif what == "id":
        headers["webhook-id"] = data.draw(
            st.from_regex(r"[!-~]{1,20}", fullmatch=True).filter(lambda text: text != "msg_1")
        )
    else:
        headers["webhook-timestamp"] = str(int(NOW) + data.draw(st.integers(1, 300)))

    assert status_of(headers, body) == 401


@given(
    st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "x"]), st.text()),
    st.binary(),
)
def test_nothing_that_comes_raises_and_nothing_made_up_is_believed(headers, body):
    assert isinstance(verify(headers, body, SECRETS, NOW), Refusal)


def test_a_body_over_the_cap_is_refused_before_anything_is_looked_at():
    assert status_of({}, b"x" * (MOST_BYTES + 1)) == 413
    assert status_of(*signed(b"x" * MOST_BYTES)) == 200


@pytest.mark.parametrize("headers", [{}, signed(b"other")[0]])
def test_a_refusal_says_nothing_of_the_body(headers):
    found = verify(headers, b"a secret of theirs", SECRETS, NOW)

    assert isinstance(found, Refusal)
    assert "theirs" not in found.reason


def test_without_secrets_nobody_is_believed():
    assert status_of(*signed(BODY), secrets={}) == 401
    assert status_of(*signed(BODY), secrets={"openai": []}) == 401


@pytest.mark.parametrize("text", ["", "whsec_", "MDEyMw==", "whsec_???", "whsec_MDEyM", "whsec_ä", "sk-123"])
def test_what_looks_like_no_secret_is_none(text):
    assert not is_secret(text)
    assert is_secret(SECRET)


def test_a_secret_without_the_padding_of_its_base64_is_the_same():
    assert SECRET.endswith("=")
    assert is_secret(SECRET.rstrip("="))
    assert status_of(*signed(BODY), secrets={"openai": [SECRET.rstrip("=")]}) == 200


FACTS = load_catalog().provider("openai").webhooks


@pytest.mark.parametrize("name", ["batch.completed", "batch.failed", "batch.expired", "batch.cancelled"])
def test_an_event_names_its_batch(name):
    assert read_event(signed(event("batch_7", name))[1], FACTS) == Event(name=name, batch_id="batch_7")


def test_an_event_that_is_not_of_batches_is_named_alone():
    assert read_event(signed(event("resp_7", "response.completed"))[1], FACTS) == Event(name="response.completed")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"null",
        b"{}",
        b'{"type": 7}',
        b'{"type": ""}',
        b'{"type": "a\\nb"}',
        b'{"type": "batch.completed"}',
        b'{"type": "batch.completed", "data": []}',
        b'{"type": "batch.completed", "data": {"id": null}}',
        b'{"type": "batch.completed", "data": {"id": "a\\u0000"}}',
        b'{"type": "batch.completed", "data": {"id": "\\ud800"}}',
        b'{"type": "batch.completed", "data": {"id": "' + b"x" * 300 + b'"}}',
    ],
)
def test_what_cannot_be_read_is_no_event(body):
    assert read_event(body, FACTS) is None
