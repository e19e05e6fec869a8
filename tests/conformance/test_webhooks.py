"""Webhooks: the emulator's are believed by OpenAI's SDK, by the package of Standard Webhooks and by us, and so are its own."""

import base64
import datetime as dt
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest
from google import genai
from openai.types.webhooks import (
    BatchCancelledWebhookEvent,
    BatchCompletedWebhookEvent,
    BatchExpiredWebhookEvent,
    BatchFailedWebhookEvent,
)
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import Emulator, faults
from asyncbatch.planning.webhooks import Genuine, Refusal, read_event, sign, verify
from tests.conformance.rows import CHAT, chat, encode_rows

pytestmark = pytest.mark.conformance

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes that nobody has").decode()
OTHER = "whsec_" + base64.b64encode(b"thirty-two bytes of somebody else").decode()
KINDS = {
    "batch.completed": BatchCompletedWebhookEvent,
    "batch.failed": BatchFailedWebhookEvent,
    "batch.expired": BatchExpiredWebhookEvent,
    "batch.cancelled": BatchCancelledWebhookEvent,
}


class Door:
    """A server that keeps what is posted to it."""

    def __init__(self):
        self.letters, self.came = [], threading.Condition()
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.end_headers()
                with door.came:
                    door.letters.append((dict(self.headers.items()), body))
                    door.came.notify_all()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def first(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.letters) >= count, timeout=30)
            return self.letters[:count]


@pytest.fixture
def door():
    door = Door()
    yield door
    door.server.shutdown()
    door.thread.join()
    door.server.server_close()


@pytest.fixture
def emulator(door):
    with Emulator(webhook_url=door.url, webhook_secret=SECRET) as emulator:
        yield emulator


@pytest.fixture
def client(emulator, monkeypatch):
    for name, value in emulator.env("openai").items():
        monkeypatch.setenv(name, value)
    with openai.OpenAI(max_retries=0, webhook_secret=SECRET) as client:
        yield client


def rows(prompt):
    return encode_rows(CHAT, {"a": chat(prompt)})


def start(client, content):
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")


def test_openais_sdk_unwraps_every_event_of_the_emulator(client, emulator, door):
    batches = {
        "batch.completed": start(client, rows("a")),
        "batch.failed": start(client, b"not JSON\n"),
        "batch.cancelled": start(client, rows("[[stall]] b")),
        "batch.expired": start(client, rows("[[stall]] c")),
    }
    client.batches.cancel(batches["batch.cancelled"].id)
    emulator.advance(100_000)

    found = [client.webhooks.unwrap(body, headers) for headers, body in door.first(4)]

    assert {event.type: event.data.id for event in found} == {name: batch.id for name, batch in batches.items()}
    for event in found:
        kind = KINDS[event.type]
        assert isinstance(event, kind)
        assert kind.model_validate(event.model_dump(), strict=True) == event


def test_both_packages_and_ours_say_the_same_of_what_is_good_and_of_what_is_not(client, emulator, door):
    emulator.add(
        faults.webhook(signature="bad", first=2),
        faults.webhook(age_s=3600, first=3),
        faults.webhook(age_s=-3600, first=4),
    )
    for number in range(4):
        start(client, rows(str(number)))
    emulator.advance(3600)

    verdicts = []
    for headers, body in door.first(4):
        verdicts.append(
            (believed_by_sdk(client, headers, body), believed_by_package(headers, body), believed_by_us(headers, body))
        )

    assert sorted(verdicts) == [(False, False, False)] * 3 + [(True, True, True)]


def believed_by_sdk(client, headers, body):
    try:
        client.webhooks.verify_signature(body, headers)
    except (openai.InvalidWebhookSignatureError, ValueError):
        return False
    return True


def believed_by_package(headers, body):
    try:
        Webhook(SECRET).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def believed_by_us(headers, body, secrets=(SECRET,)):
    return isinstance(verify(headers, body, {"openai": secrets}, time.time()), Genuine)


def test_geminis_webhooks_are_signed_alike(emulator, door, monkeypatch):
    for name, value in emulator.env("gemini").items():
        monkeypatch.setenv(name, value)
    client = genai.Client()
    try:
        asked = [{"contents": [{"parts": [{"text": "hi"}]}]}]
        batch = client.batches.create(model="gemini-2.5-flash", src=asked, config={"display_name": "tag"})
    finally:
        client.close()
    emulator.advance(3600)
    ((headers, body),) = door.first(1)

    assert Webhook(SECRET).verify(body, headers)["data"]["id"] == batch.name
    assert believed_by_us(headers, body)
    assert read_event(body, load_catalog().provider("gemini").webhooks).batch_id == batch.name


@pytest.mark.parametrize("body", ['{"type":"batch.completed","data":{"id":"batch_1"}}', "{}", '{"t":"Grüße, 世界 🙂"}'])
def test_what_the_package_signs_is_believed_by_us(body):
    now = dt.datetime.now(dt.UTC)
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", now, body),
    }

    assert believed_by_us(headers, body.encode())
    assert believed_by_us(headers, body.encode(), (OTHER, SECRET))
    assert not believed_by_us(headers, body.encode(), (OTHER,))
    assert not believed_by_us(headers, body.encode() + b" ")
    old = verify(headers, body.encode(), {"openai": [SECRET]}, now.timestamp() + 301)
    assert isinstance(old, Refusal)


def test_the_specifications_own_example_is_believed():
    """Source: the test vectors of the Standard Webhooks libraries."""
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secrets = {"them": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}

    assert isinstance(verify(headers, body, secrets, 1614265330.0), Genuine)
    assert json.loads(body)


def test_what_we_sign_ourselves_is_believed_by_the_package_of_the_standard():
    at = int(time.time())
    body = b'{"type":"job.ended"}'

    Webhook(SECRET).verify(body, sign(SECRET, "job.0", at, body))
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, sign(SECRET, "job.0", at, body))
