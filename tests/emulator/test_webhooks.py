"""The emulator tells of the ends of batches: signed, to one URL, again until it is heard, and otherwise when it is asked to."""

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import anyio.to_thread
import pytest

from asyncbatch.emulator import Emulator, faults
from tests.emulator.gemini_wire import GeminiApi, chat, file_rows, inline_rows
from tests.emulator.wire import Api, Time, chat_row, encode_lines

KEY = b"a key of thirty-two bytes, no less"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
LOOKS = 2000


class Door:
    """A server that notes what is posted to it, and answers as it is told."""

    def __init__(self):
        door = self
        self.letters, self.answers = [], []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                door.letters.append((dict(self.headers.items()), body))
                self.send_response(door.answers.pop(0) if door.answers else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.letters]

    @property
    def events(self):
        return [json.loads(body)["type"] for _, body in self.letters]

    @property
    def batches(self):
        return [json.loads(body)["data"]["id"] for _, body in self.letters]


def is_signed(headers, body):
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    ours = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return headers.get("webhook-signature") == f"v1,{ours}"


@pytest.fixture
def door():
    door = Door()
    yield door
    door.close()


@pytest.fixture
def options(door):
    return {"webhook_url": door.url, "webhook_secret": SECRET}


async def until(is_so):
    """Look again and again; the emulator is in another thread, and looks at its clock every few milliseconds."""
    for _ in range(LOOKS):
        if is_so():
            return
        await anyio.sleep(0.005)
    raise AssertionError("it did not come to pass")


def sent(emulator):
    return [record for record in emulator.history if record.kind == "webhook"]


async def test_the_end_of_a_batch_is_told_once_signed_and_in_openais_words(api, emulator, door, time):
    batch = await api.start([chat_row("a")])
    assert door.letters == []
    emulator.advance(3600)
    await until(lambda: sent(emulator))

    ((headers, body),) = door.letters
    said = json.loads(body)
    assert is_signed(headers, body)
    assert headers["webhook-timestamp"] == str(int(time() + 3600))
    assert said == {
        "id": said["id"],
        "object": "event",
        "created_at": (await api.batch(batch["id"]))["completed_at"],
        "type": "batch.completed",
        "data": {"id": batch["id"]},
    }
    (record,) = sent(emulator)
    assert (record.path, record.object_id, record.status, record.dialect) == (
        "batch.completed",
        batch["id"],
        204,
        "openai",
    )
    assert record.account == next(item.account for item in emulator.history if item.kind == "create")


async def test_every_end_has_its_own_word(api, emulator, door):
    failed = await api.start([b"not JSON\n"])
    expired = await api.start([chat_row("a", "[[stall]]")])
    cancelled = await api.start([chat_row("b", "[[stall]]")])
    emulator.advance(60)
    await api.call("POST", f"/batches/{cancelled['id']}/cancel")
    emulator.advance(90_000)
    await until(lambda: len(door.letters) == 3)

    told = dict(zip(door.batches, door.events, strict=True))
    assert told == {
        failed["id"]: "batch.failed",
        expired["id"]: "batch.expired",
        cancelled["id"]: "batch.cancelled",
    }


async def test_a_receiver_that_fails_is_told_again_and_not_for_ever(api, emulator, door):
    door.answers = [500, 302, *[503] * 50]
    await api.start([chat_row("a")])
    emulator.advance(3600)
    for tries in range(1, 6):
        await until(lambda tries=tries: len(sent(emulator)) == tries)
        emulator.advance(600)
    emulator.advance(86_400)
    await api.get("/batches")

    assert len(door.letters) == 5
    assert len(set(door.ids)) == 1
    assert [record.status for record in sent(emulator)] == [500, 302, 503, 503, 503]
    assert all(is_signed(*letter) for letter in door.letters)
    assert len({headers["webhook-timestamp"] for headers, _ in door.letters}) == 5, "each attempt is signed anew"


async def test_a_receiver_that_is_not_there_is_told_later(time):
    door = Door()
    door.close()
    with Emulator(clock=time, webhook_url=door.url, webhook_secret=SECRET) as emulator:
        api = Api(emulator)
        await api.start([chat_row("a")])
        emulator.advance(3600)
        await until(lambda: sent(emulator))
        await api.session.close()

        assert sent(emulator)[0].status is None


@pytest.mark.parametrize("signature", ["bad", "missing"])
async def test_a_signature_may_be_bad_or_missing(api, emulator, door, signature):
    emulator.add(faults.webhook(signature=signature))
    await api.start([chat_row("a")])
    emulator.advance(3600)
    await until(lambda: sent(emulator))

    ((headers, body),) = door.letters
    assert not is_signed(headers, body)
    assert ("webhook-signature" in headers) is (signature == "bad")
    assert sent(emulator)[0].faults == ("deliver",)


@pytest.mark.parametrize("age_s", [3600, -3600])
async def test_a_timestamp_may_be_old_or_still_to_come_and_is_signed(api, emulator, door, time, age_s):
    emulator.add(faults.webhook(age_s=age_s))
    await api.start([chat_row("a")])
    emulator.advance(3600)
    await until(lambda: door.letters)

    ((headers, body),) = door.letters
    assert is_signed(headers, body)
    assert int(headers["webhook-timestamp"]) == int(time() + 3600 - age_s)


async def test_one_may_come_again_late_after_others_or_never(api, emulator, door):
    emulator.add(
        faults.webhook(copies=3, first=1),
        faults.webhook(behind=1, first=2),
        faults.webhook(copies=0, first=3),
        faults.webhook(delay_s=500, first=4),
    )
    batches = []
    for number in range(5):
        batches.append((await api.start([chat_row(str(number))]))["id"])
        emulator.advance(1)
    again, behind, never, late, usual = batches
    emulator.advance(200)
    await until(lambda: {again, behind, usual} <= set(door.batches) and len(door.letters) >= 5)
    early = list(door.batches)
    emulator.advance(1000)
    await until(lambda: late in door.batches)

    assert early.count(again) == 3
    assert late not in early
    assert never not in door.batches
    assert len(set(door.ids)) == 4
    assert len(door.letters) == 6


async def test_faults_of_calls_leave_webhooks_alone_and_the_other_way_round(api, emulator, door):
    emulator.add(faults.webhook(copies=0, operation="*"), faults.drop(path="/nothing", times=None))
    file = await api.upload(encode_lines([chat_row("a")]))
    emulator.add(faults.stall(0.001, times=None))
    batch = await api.create(file["id"])
    await api.create(file["id"])
    emulator.advance(3600)
    await until(lambda: door.letters)

    assert batch["id"] not in door.batches, "the first is never delivered, and no call has used the fault up"
    assert [record.faults for record in sent(emulator)] == [()]


async def test_a_fault_may_choose_an_event(api, emulator, door):
    emulator.add(faults.webhook(copies=2, path="batch.failed", times=None))
    await api.start([chat_row("a")])
    await api.start([b"not JSON\n"])
    emulator.advance(3600)
    await until(lambda: len(door.letters) == 3)

    assert sorted(door.events) == ["batch.completed", "batch.failed", "batch.failed"]


async def test_what_was_forgotten_is_not_told(api, emulator, door):
    await api.start([chat_row("a")])
    emulator.reset()
    emulator.advance(3600)
    batch = await api.start([chat_row("b")])
    emulator.advance(3600)
    await until(lambda: door.letters)

    assert door.batches == [batch["id"]]


async def test_after_a_restart_what_was_not_told_is_and_what_was_is_not(door, tmp_path):
    time = Time()
    given = {"clock": time, "webhook_url": door.url, "webhook_secret": SECRET, "data_dir": tmp_path / "data"}
    with Emulator(**given) as emulator:
        api = Api(emulator)
        first = await api.start([chat_row("a")])
        emulator.advance(3600)
        await until(lambda: sent(emulator))
        second = await api.start([chat_row("b")])
        await api.session.close()
    with Emulator(**given) as emulator:
        emulator.advance(3600)
        await until(lambda: len(sent(emulator)) == 2)

    assert door.batches == [first["id"], second["id"]]


async def test_without_a_url_nothing_is_told():
    with Emulator(clock=Time()) as emulator:
        api = Api(emulator)
        await api.run([chat_row("a")])
        await api.session.close()

        assert sent(emulator) == []


@pytest.mark.parametrize(
    ("url", "secret", "message"),
    [
        ("http://localhost/x", None, "both"),
        (None, SECRET, "both"),
        ("localhost/x", SECRET, "must be a URL"),
        ("http://localhost/x", "secret", "whsec_"),
        ("http://localhost/x", "whsec_", "whsec_"),
        ("http://localhost/x", "whsec_ä", "whsec_"),
    ],
)
def test_an_address_or_a_secret_that_is_none_is_refused(url, secret, message):
    with pytest.raises(ValueError, match=message) as caught:
        Emulator(webhook_url=url, webhook_secret=secret)

    assert SECRET not in str(caught.value)


async def test_geminis_ends_are_told_in_its_own_words(emulator, door):
    api = GeminiApi(emulator)
    file = (await api.from_file(file_rows(chat())))["name"]
    inline = (await api.inline(inline_rows(chat())))["name"]
    own = (await api.inline(inline_rows(chat()), webhookConfig={"uris": ["http://127.0.0.1:9/x"]}))["name"]
    cancelled = (await api.inline(inline_rows(chat("[[stall]]"))))["name"]
    await api.call("POST", f"/v1/{cancelled}:cancel")
    emulator.advance(3600)
    await until(lambda: len(door.letters) == 3)
    done = (await api.get(f"/v1/{file}"))["metadata"]
    await api.session.close()

    said = {json.loads(body)["data"]["id"]: json.loads(body) for _, body in door.letters}
    assert own not in said, "its webhook takes the place of the registered one, and there nobody listens"
    assert said[file] == {
        "type": "batch.succeeded",
        "version": "v1",
        "timestamp": done["endTime"],
        "data": {"id": file, "output_file_uri": done["output"]["responsesFile"]},
    }
    assert said[inline]["data"] == {"id": inline}
    assert said[cancelled]["type"] == "batch.cancelled"
