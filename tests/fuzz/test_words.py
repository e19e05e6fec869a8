"""Headers, statuses, ids, cursors, files of a user's, webhooks and records: any text is read as what it is, or refused."""

import asyncio
import base64
import math
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import strategies as st
from yarl import URL

from asyncbatch import (
    AsyncBatchError,
    BatchStatus,
    ConfigError,
    Http,
    JournalError,
    ProviderPermanentError,
    load_catalog,
)
from asyncbatch.catalog import load_facts, normalize_provider_status
from asyncbatch.codec.cursors import Cursor, _check, decode_cursor, encode_cursor
from asyncbatch.engine.frames import LENGTH, Page, Stored, frames_in
from asyncbatch.enums import ErrorClass
from asyncbatch.journal import Event, JobRecord, SubmissionRecord, _store, journal_at
from asyncbatch.planning.quota import decode_rest
from asyncbatch.planning.retry import MAX_RETRY_AFTER_S, decode_lag, decode_lead, decode_retry_after, wants_retry
from asyncbatch.planning.webhook_tokens import read_keys
from asyncbatch.planning.webhooks import Event as WebhookEvent
from asyncbatch.planning.webhooks import Genuine, Refusal, is_secret, read_event, verify
from asyncbatch.providers.gemini_provider import GeminiBatchProvider
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
from asyncbatch.runtime import Runtime
from asyncbatch.transport.addresses import is_loopback, is_public
from asyncbatch.transport.downloads import Answer
from asyncbatch.transport.errors import UnfitAnswerError, from_answer
from asyncbatch.transport.origin import Origin, call_to_server_url
from asyncbatch.transport.resumable import received_of, state_of
from asyncbatch.transport.transfers import Transfer
from tests.fuzz.budget import SIZES, fuzz, run, tried
from tests.fuzz.mutations import any_text, bent, bent_bytes
from tests.webhooks.signing import NOW, SECRET, event, signed

CATALOG = load_catalog()
NAMES = ("anthropic", "gemini", "mistral", "openai")
WAITS = st.sampled_from(
    [
        "7",
        "-7",
        "1e400",
        "nan",
        "7.5",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "1m2.5s",
        "9" * 400 + "d",
    ]
) | st.from_regex(r"\A[0-9a-zA-Z,: +.-]{0,30}\Z")
TEXTS = any_text() | WAITS


def keys(*names):
    return st.dictionaries(st.sampled_from(names), TEXTS, max_size=4)


SAID = keys(
    *("retry-after", "retry-after-ms", "date", "x-should-retry", "x-request-id", "request-id"),
    *("x-ratelimit-reset-requests", "anthropic-ratelimit-requests-reset"),
).map(lambda found: {"x-ratelimit-remaining-requests": "0", "anthropic-ratelimit-requests-remaining": "0", **found})


@fuzz(600, headers=SAID, now=st.sampled_from([0.0, 1.8e9, 2e11]))
def test_no_header_asks_for_a_wait_that_is_none(headers, now):
    for wait in (decode_retry_after(headers, now), decode_rest(headers, now)):
        assert wait is None or 0 <= wait <= MAX_RETRY_AFTER_S
    for off in (decode_lead(headers, now), decode_lag(headers, now)):
        assert math.isfinite(off)
        assert off >= 0
    assert wants_retry(headers) in (None, True, False)


@fuzz(
    300,
    headers=SAID,
    status=st.integers(100, 999),
    body=bent([{"error": {"message": "m", "code": "c", "type": "t"}}]),
    name=st.sampled_from(NAMES),
)
def test_every_answer_that_is_no_success_is_an_error_of_ours(headers, status, body, name):
    error = from_answer(
        status, headers, body, facts=CATALOG.provider(name), what="GET /x", now=1.8e9, secrets=("secret-secret",)
    )

    assert isinstance(error, AsyncBatchError)
    assert error.status == status
    assert error.retry_after is None or 0 <= error.retry_after <= MAX_RETRY_AFTER_S
    assert "\n" not in str(error).partition(": ")[0]


@fuzz(
    300, name=st.sampled_from(NAMES), word=any_text() | st.sampled_from(["COMPLETED", "in_progress", "JOB_STATE_", "İ"])
)
def test_every_word_is_a_status_and_every_code_a_class(name, word):
    facts = CATALOG.provider(name)

    assert isinstance(normalize_provider_status(name, word), BatchStatus)
    assert isinstance(facts.classify(500, word, word), ErrorClass)
    assert isinstance(facts.classify_batch_error(word), ErrorClass)


STEERING = st.sampled_from(
    [
        "..",
        "../x",
        "a/../b",
        "a//b",
        "a?b",
        "a#b",
        "a%2e%2e",
        "%2e%2e",
        "a\\b",
        ".",
        "a\nb",
        "a\0b",
        "a:b@c",
        "//h/x",
        "http://h",
        "batches/x",
        ";a",
        "a b",
    ]
)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("provider", [OpenAIBatchProvider, GeminiBatchProvider])
def test_an_id_is_refused_or_stays_where_it_is_put(provider, size):
    made = provider({"api_key": "k"})

    def holds(value):
        path, error = tried(lambda: made.path("/batches/{}/x", value), ProviderPermanentError)
        if error is not None:
            assert error.code == "bad_id"
            return
        url = URL(f"https://api.example/v1{path}", encoded=True)
        assert (url.host, url.query_string, url.fragment) == ("api.example", "", "")
        assert url.raw_path == f"/v1{path}"
        assert unquote(path) == f"/batches/{value}/x"
        assert ".." not in url.raw_path.split("/")

    run(holds, size, 400, {"value": any_text() | STEERING | st.text("abcdef0123456789-_/.%:", max_size=12)})


@fuzz(
    400,
    text=any_text()
    | STEERING
    | st.builds("https://{}{}".format, TEXTS, STEERING)
    | st.from_regex(r"\Ahttps?://[^\s]{0,30}\Z"),
)
def test_an_address_of_a_server_is_refused_or_gets_no_credential(text):
    origin = Origin(base_url="https://api.example/v1", secret_headers={"Authorization": "Bearer secret-secret"})
    call, error = tried(lambda: call_to_server_url(origin, "PUT", text), ValueError)
    if error is not None:
        assert len(str(error)) < 40
        return
    assert call.url.scheme == "https"
    assert call.url.host
    assert "secret-secret" not in str(dict(call.headers))


@fuzz(300, host=any_text() | st.ip_addresses().map(str) | st.from_regex(r"\A[0-9.]{0,16}\Z"))
def test_every_host_is_public_or_not(host):
    assert is_public(host) in (True, False)
    assert not (is_public(host) and is_loopback(host))


def poured(transfer, status, headers, pieces):
    pouring = transfer.begin(status, headers, Http())
    for piece in pieces:
        pouring.take(piece)
    transfer.end(pouring)


FRAME = keys("Content-Length", "Content-Encoding", "Transfer-Encoding", "Content-Range", "ETag", "Accept-Ranges")


class Sink:
    def __init__(self):
        self.data = bytearray()

    @property
    def size(self):
        return len(self.data)

    def append(self, data):
        self.data += data

    def flush(self):
        pass

    def clear(self):
        self.data.clear()


@fuzz(
    300,
    heads=st.lists(st.tuples(st.sampled_from([200, 206]), FRAME), min_size=1, max_size=3),
    pieces=st.lists(st.binary(max_size=40), max_size=3),
    is_lines=st.booleans(),
)
def test_a_download_takes_what_it_proved_or_says_that_it_cannot(heads, pieces, is_lines):
    sink = Sink()
    transfer = Transfer(sink, is_lines=is_lines)
    for status, headers in heads:
        transfer.headers()
        _, error = tried(lambda: poured(transfer, status, headers, pieces), UnfitAnswerError)
        if error is not None:
            continue
        declared = headers.get("Content-Length", "")
        if declared.isascii() and declared.isdecimal() and len(declared) < 19:
            assert int(declared) == sum(map(len, pieces))


@fuzz(200, headers=keys("x-goog-upload-status", "x-goog-upload-size-received"), size=st.integers(0, 100))
def test_a_session_of_an_upload_has_so_many_bytes_or_is_over(headers, size):
    answer = Answer(200, headers, b"")

    assert isinstance(state_of(answer), str)
    received = received_of(answer, size)
    assert received is None or 0 <= received <= size


CURSORS = [encode_cursor(Cursor(job=b"123456", epoch=1, done=((-1, 2), (4, 9)), offsets={3: 700})).encode()]


@fuzz(400, text=bent_bytes(CURSORS).map(lambda data: data.decode("latin-1")) | any_text() | st.none() | st.integers())
def test_a_cursor_is_one_or_is_refused(text):
    _, error = tried(lambda: decode_cursor(text, "j", is_ordered=False), ConfigError)
    assert error is None or error.code == "cursor.bad"


@fuzz(300, data=bent_bytes([msgspec.msgpack.encode(Cursor(job=b"123456", epoch=1, done=((0, 1),)))]))
def test_a_cursor_with_a_good_sum_is_one_or_is_refused(data):
    said = b"\x01" + data
    text = base64.urlsafe_b64encode(said + _check(said)).decode().rstrip("=")
    _, error = tried(lambda: decode_cursor(text, "j", is_ordered=False), ConfigError)
    assert error is None or error.code == "cursor.bad"


YAML = [
    (
        b"providers:\n  openai:\n    api_key: ${KEY:-x}\n    base_url: https://h/v1\n    headers: {X-A: b}\n"
        b"    limits: {requests: 7}\n"
    ),
    b"providers: {acme: {name: acme, models: [{match: a-*, modes: [CHAT]}], status: {done: COMPLETED}}}\n",
]
ODD_YAML = [
    b"*a",
    b"&a x",
    b"!!python/object:os.system x",
    b"? x",
    b"- - -",
    b"{a: b",
    b"'",
    b"0x1F",
    b".nan",
    b"1e999",
    b"~",
    b"|\n x",
    b"%YAML 9.9",
]


@fuzz(250, text=bent_bytes(YAML), odd=st.sampled_from([b"", *ODD_YAML]), at=st.integers(0, 200))
def test_a_file_of_a_user_is_read_or_refused(text, odd, at):
    text = (text[:at] + odd + text[at:]).decode("latin-1")
    for read in (lambda: _catalog_of(text), lambda: load_facts(text, file="f.yaml")):
        _, error = tried(read, ConfigError)
        assert error is None or "f.yaml" in str(error)


def _catalog_of(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.yaml"
        path.write_bytes(text.encode("latin-1"))
        catalog = load_catalog(path, env={})
        for name in catalog.names():
            catalog.origins(name)
            catalog.settings(name)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)
SETTINGS = st.dictionaries(
    st.sampled_from(
        ["api_key", "base_url", "headers", "limits", "models", "status", "errors", "polling", "allow_http", "x"]
    ),
    VALUES,
    max_size=4,
)


@fuzz(250, section=SETTINGS | VALUES, name=st.sampled_from([*NAMES, "acme", ""]))
def test_a_mapping_in_place_of_a_file_is_read_or_refused(section, name):
    try:
        catalog = load_catalog({"providers": {name: section}}, env={})
        catalog.settings(name)
    except AsyncBatchError:
        pass


@fuzz(
    300,
    body=bent([event("batch_1")]),
    headers=keys("webhook-id", "webhook-timestamp", "webhook-signature", "content-type"),
    is_signed=st.booleans(),
)
def test_a_webhook_is_genuine_or_refused(body, headers, is_signed):
    given, body = signed(body) if is_signed else (headers, body)
    found = verify(given, body, {"openai": [SECRET]}, NOW)

    assert isinstance(found, Genuine) is is_signed or isinstance(found, Refusal)
    read = read_event(body, CATALOG.provider("openai").webhooks)
    assert read is None or isinstance(read, WebhookEvent)
    read_event(b"", CATALOG.provider("gemini").webhooks, {"type": body, "data": {"id": headers}})


@fuzz(200, text=any_text() | st.builds("whsec_{}".format, any_text()))
def test_a_text_is_a_secret_or_none(text):
    assert is_secret(text) in (True, False)


@fuzz(200, body=bent([{"keys": [{"kid": "k", "kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kid": 7}]}]))
def test_a_set_of_keys_is_one_or_none(body):
    found = read_keys(body)
    assert found is None or all(isinstance(kid, str) for kid in found)


STORED = Stored(position=1, request_id="r", status="succeeded", body=b"{}", metadata={"a": [1]})


def _frame(stored=STORED):
    page = Page(0, 0)
    page.copy(stored)
    return bytes(page.frames)


@fuzz(300, data=bent_bytes([_frame() * 2, LENGTH.pack(3) + b"\xc1\xc1\xc1", LENGTH.pack(2_001) + b"\x91" * 2_001]))
def test_rows_on_disk_are_what_was_written_or_damaged(data):
    found, error = tried(lambda: list(frames_in(data)), JournalError)
    assert error is None or error.code == "ledger.damaged"
    for begin, end, stored in found or ():
        assert 0 <= begin < end <= len(data)
        assert isinstance(stored, Stored)


JOB = b'{"job_id":"j","provider":"openai","model":"m","mode":"chat","options":{"a":[1]},"created_at":1.0,"request_count":1}'
PART = b'{"index":0,"request_count":1,"state":"planned","tag":null,"attempt":0,"earlier":[]}'
EVENTS = [b'{"type":"CreateIntended","tag":"t","payer":"p","at":1.0}', b'{"type":"Ended","status":"failed"}', JOB, PART]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [JobRecord, SubmissionRecord, Event])
def test_a_record_of_the_journal_is_one_or_corrupt(kind, size, tmp_path):
    decoder = {JobRecord: _store._JOB, SubmissionRecord: _store._SUBMISSION, Event: _store._EVENT}[kind]

    class Store:
        _path = tmp_path / "journal.db"

    def holds(text):
        _, error = tried(lambda: _store.Store._decoded(Store, decoder, [(text,)]), JournalError)
        assert error is None or error.code.startswith("journal.")

    run(holds, size, 150, {"text": bent(EVENTS)})


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0", b"\0" * 5_000, b"not a database at all" * 300])
def test_a_file_that_is_no_journal_is_refused_in_our_words(data, tmp_path):
    (tmp_path / "state").mkdir(mode=0o700)
    asyncio.run(_open_damaged(tmp_path / "state", data))

    assert threading.active_count() < 20


async def _open_damaged(folder, data):
    journal = journal_at(folder, Runtime())
    await journal.open()
    await journal.close()
    (path,) = [path for path in folder.iterdir() if path.suffix in (".db", ".sqlite", ".sqlite3")]
    path.write_bytes(data)
    again = journal_at(folder, Runtime())
    with suppress(JournalError):
        await again.open()
        await again.close()
