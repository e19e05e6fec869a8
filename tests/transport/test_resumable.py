"""A file in pieces, towards a server that keeps what it gets and has every trouble that an upload can have."""

import json
from contextlib import asynccontextmanager

import anyio
import pytest

from asyncbatch import ProviderPermanentError
from asyncbatch.transport.resumable import PIECE_OF_UPLOAD, next_piece, send_resumable
from tests.secrets.canaries import everything_about
from tests.transport.wire import KEY, answer, here, listen, read_request

TOKEN = "upload-secret-77aa"
ABOUT = b'{"file":{"display_name":"in.jsonl"}}'
LINES = b"".join(b'{"key":"%06d"}\n' % n for n in range(1_100_000))
"""About 18 MB: two whole pieces and a rest."""


class UploadServer:
    """Speaks the protocol; `troubles` are taken for one command after the other, None for none."""

    def __init__(self, troubles=()):
        self.troubles = list(troubles)
        self.sessions = 0
        self.data = b""
        self.asked = []
        self.url = ""

    async def serve(self, reader, writer):
        while asked := await read_request(reader):
            self.asked.append(asked)
            if asked.headers["x-goog-upload-command"] == "start":
                said = self.start()
            else:
                said = self.take(asked, self.troubles.pop(0) if self.troubles else None)
            if said is None:
                writer.transport.abort()
                return
            writer.write(said)
            await writer.drain()
            writer.close()
            return

    def start(self):
        self.sessions += 1
        self.data = b""
        return answer(b"", 200, f"X-Goog-Upload-URL: {self.url}/session?upload_id={TOKEN}{self.sessions}")

    def take(self, asked, trouble):
        command = asked.headers["x-goog-upload-command"]
        if command == "query":
            return (
                self.say("active", f"X-Goog-Upload-Size-Received: {len(self.data)}") if not trouble else trouble(self)
            )
        if int(asked.headers["x-goog-upload-offset"]) != len(self.data):
            return answer(b'{"error":{"code":400,"message":"another offset"}}', 400)
        if trouble and trouble.loses:
            return trouble(self)
        self.data += asked.body
        if trouble:
            return trouble(self)
        return self.say("final") if "finalize" in command else self.say("active")

    def say(self, state, *headers):
        body = json.dumps({"file": {"size": len(self.data)}}).encode() if state == "final" else b""
        return answer(body, 200, f"X-Goog-Upload-Status: {state}", *headers)

    @property
    def commands(self):
        return [asked.headers["x-goog-upload-command"] for asked in self.asked]


def trouble(say, *, loses=False):
    say.loses = loses
    return say


cut_before = trouble(lambda server: None, loses=True)
cut_after = trouble(lambda server: None)
nothing_said = trouble(lambda server: answer(b"", 200))
busy = trouble(lambda server: answer(b"", 503), loses=True)
active = trouble(lambda server: server.say("active"))
over = trouble(lambda server: answer(b"", 404), loses=True)
cancelled = trouble(lambda server: server.say("cancelled"), loses=True)
final = trouble(lambda server: server.say("final"))


@asynccontextmanager
async def uploads(*troubles):
    server = UploadServer(troubles)
    async with listen(server.serve) as server.url, here(server.url) as client:
        yield server, client


async def send(client, lines=LINES):
    file = client.new_file()
    file.append(lines)
    file.flush()
    runtime = client.provider.runtime
    return await send_resumable(
        client.transport, runtime, "/upload/files", file.view(), media_type="application/jsonl", metadata=ABOUT
    )


async def test_a_file_goes_in_pieces_to_the_address_that_the_server_gives():
    async with uploads() as (server, client):
        body = await send(client)

    assert server.data == LINES
    assert json.loads(body) == {"file": {"size": len(LINES)}}
    assert server.commands == ["start", "upload", "upload", "upload, finalize"]
    assert [len(asked.body) for asked in server.asked[1:3]] == [PIECE_OF_UPLOAD] * 2


async def test_the_first_call_says_what_is_coming_and_no_other_carries_the_key():
    async with uploads() as (server, client):
        await send(client, b"{}\n")

    start, piece = server.asked
    assert (start.target, start.body) == ("/v1/upload/files", ABOUT)
    assert start.headers["x-goog-upload-protocol"] == "resumable"
    assert start.headers["x-goog-upload-header-content-length"] == "3"
    assert start.headers["x-goog-upload-header-content-type"] == "application/jsonl"
    assert KEY in start.headers["authorization"]
    assert piece.headers["x-goog-upload-offset"] == "0"
    assert KEY not in str(piece)


@pytest.mark.parametrize("lost", [cut_before, cut_after, nothing_said, busy])
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_after_a_piece_without_an_answer_the_server_is_asked_and_nothing_is_sent_twice_or_left_out(lost, at):
    async with uploads(*[None] * at, lost) as (server, client):
        await send(client)

    assert server.data == LINES
    assert (server.sessions, server.commands.count("query")) == (1, 1)


async def test_a_server_that_has_all_and_did_not_end_is_told_to():
    async with uploads(None, None, active) as (server, client):
        await send(client)

    assert server.commands[-3:] == ["upload, finalize", "query", "finalize"]
    assert server.data == LINES


async def test_an_end_whose_answer_was_lost_is_read_from_the_question():
    async with uploads(None, None, cut_after, final) as (server, client):
        body = await send(client)

    assert json.loads(body) == {"file": {"size": len(LINES)}}
    assert server.sessions == 1


@pytest.mark.parametrize(
    "ending", [(over, over), (cancelled, over), (cut_before, nothing_said), (cut_before, cancelled)]
)
async def test_a_session_that_is_over_is_begun_anew(ending):
    async with uploads(None, *ending) as (server, client):
        await send(client)

    assert server.sessions == 2
    assert server.data == LINES


async def test_a_question_without_an_answer_costs_nothing_but_another_try():
    async with uploads(cut_before, busy) as (server, client):
        await send(client)

    assert (server.sessions, server.data) == (1, LINES)


async def test_an_upload_that_never_succeeds_ends():
    async with uploads(*[busy] * 1000) as (server, client):
        body = await send(client, b"{}\n")

    assert body is None
    assert server.sessions == 3


async def test_without_an_address_there_is_no_upload():
    async with uploads() as (server, client):
        server.start = lambda: answer(b"", 200)
        body = await send(client, b"{}\n")

    assert body is None
    assert server.commands == ["start"] * 3


async def test_no_error_shows_the_address():
    def refused(server):
        return answer(b'{"error":{"code":403,"message":"no: /session?upload_id=%s1"}}' % TOKEN.encode(), 403)

    async with uploads(trouble(refused, loses=True)) as (_, client):
        with pytest.raises(ProviderPermanentError) as caught:
            await send(client, b"{}\n")

    assert TOKEN not in repr(caught.value) + str(caught.value)


async def stalled(reader, writer):
    """Give an address, and then begin an answer that does not come to its end."""
    asked = await read_request(reader)
    if asked.headers["x-goog-upload-command"] == "start":
        host = asked.headers["host"]
        writer.write(answer(b"", 200, f"X-Goog-Upload-URL: http://{host}/session?upload_id={TOKEN}"))
        writer.close()
        return
    writer.write(answer(b"{}" * 9, 200, f"X-Goog-Upload-URL: http://x/?upload_id={TOKEN}")[:-9])
    await reader.read()


async def test_a_cancelled_upload_shows_the_address_in_no_frame_that_it_leaves():
    async with listen(stalled) as url, here(url) as client:
        with pytest.raises(TimeoutError) as caught:
            with anyio.fail_after(0.3):
                await send(client, b"{}\n")

    assert [text for text in everything_about(caught.value) if TOKEN in text] == []


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (0, 10, ("upload, finalize", 10)),
        (0, PIECE_OF_UPLOAD, ("upload, finalize", PIECE_OF_UPLOAD)),
        (0, PIECE_OF_UPLOAD + 1, ("upload", PIECE_OF_UPLOAD)),
        (PIECE_OF_UPLOAD, PIECE_OF_UPLOAD + 1, ("upload, finalize", 1)),
        (10, 10, ("finalize", 0)),
    ],
)
def test_the_last_piece_says_that_it_is(offset, size, expected):
    assert next_piece(offset, size) == expected
