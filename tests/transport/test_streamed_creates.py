"""A create whose requests travel inside: streamed with a true length, sent once, and unknown only once its end has left.

The server is a raw one that reads as much as it likes. What it did not get whole it cannot have accepted.
"""

import asyncio
import itertools
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch import Http, ProviderPermanentError, ProviderTransientError, StorageError, SubmissionUnknownError
from asyncbatch.transport import JsonArrayBody
from asyncbatch.transport.bodies import StreamedPayload
from tests.transport.wire import KEY, answer, closing, hang_up, here, listen, reset, serve, silence

HEAD, TAIL = b'{"requests":[', b"]}"
BATCH = b'{"id":"msgbatch_1","type":"message_batch"}'
OWN = b'{"type":"error","error":{"type":"request_too_large","message":"Too large.","details":null},"request_id":null}'
PORTAL = b"<!doctype html><title>Sign in</title>"
ROW = b'{"custom_id":"row","params":"' + b"x" * 10_000 + b'"}\n'
LARGE = 3000
"""Rows of 10 KB that no socket's buffers hold: 30 MB."""


class Pieces:
    """A body that comes in the given pieces, and says that it has the given size."""

    def __init__(self, *pieces, size=None):
        self.pieces = pieces
        self.size = sum(map(len, pieces)) if size is None else size

    async def chunks(self):
        for piece in self.pieces:
            yield piece


def rows(count=3):
    return Pieces(*itertools.repeat(ROW, count))


def is_created(body):
    return body == BATCH


async def create(client, lines, **options):
    body = JsonArrayBody(HEAD, lines, TAIL)
    return await client.transport.create("/messages/batches", body, is_created=is_created, **options)


async def read_head(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


class Reader:
    """A server that reads so many bytes of a body, then does something, and remembers what it got."""

    def __init__(self, limit, then):
        self.limit = limit
        self.then = then
        self.got = 0
        self.declared = 0
        self.connections = 0

    async def serve(self, reader, writer):
        self.connections += 1
        self.declared = await read_head(reader)
        while self.got < min(self.limit, self.declared):
            piece = await reader.read(min(65_536, self.declared - self.got))
            if not piece:
                return
            self.got += len(piece)
        await self.then(reader, writer)


async def abort(reader, writer):
    writer.transport.abort()


async def close(reader, writer):
    writer.close()


async def stop(reader, writer):
    await asyncio.Event().wait()


def say(data, *, reads_on=True):
    async def then(reader, writer):
        writer.write(data)
        await writer.drain()
        while reads_on and await reader.read(65_536):  # as a server does that wants its answer to be read
            pass
        writer.close()

    return then


# What is sent


async def test_lines_of_the_spool_arrive_as_one_json_document_with_a_true_length():
    async with serve(answer(BATCH)) as server, here(server.url) as client:
        file = client.new_file()
        file.append(b'{"custom_id":"a","params":{"x":"b,\\n"}}\n{"custom_id":"b"}\n')
        got = await create(client, file.view(), headers={"Anthropic-Beta": "b1"}, params={"beta": "true"})

    (asked,) = server.asked
    assert got == BATCH
    assert asked.body == b'{"requests":[{"custom_id":"a","params":{"x":"b,\\n"}},{"custom_id":"b"}]}'
    assert asked.headers["content-length"] == str(len(asked.body))
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["anthropic-beta"] == "b1"
    assert asked.target == "/v1/messages/batches?beta=true"
    assert "transfer-encoding" not in asked.headers
    assert "expect" not in asked.headers


async def test_a_large_create_is_never_held_in_memory():
    hashes = []

    async def take(reader, writer):
        left, size = await read_head(reader), 0
        counts = [0, 0]
        while left:
            piece = await reader.read(min(left, 65_536))
            left, size = left - len(piece), size + len(piece)
            counts = [counts[0] + piece.count(b"},{"), counts[1] + piece.count(b"\n")]
        hashes.append((size, counts[1]))
        writer.write(answer(BATCH))
        await writer.drain()

    async with listen(take, limit=1024 * 1024) as url, here(url) as client:
        file = client.new_file()
        for _ in range(20):
            file.append(ROW * 100)
        tracemalloc.start()
        got = await create(client, file.view())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert got == BATCH
    assert hashes == [(len(HEAD) + file.size - 1 + len(TAIL), 0)]
    assert file.size > 20_000_000
    assert peak < 5_000_000


@given(
    st.lists(st.sampled_from([b"{}", b'{"a":1}', b"12"]), max_size=6),
    st.lists(st.integers(0, 30), max_size=8),
)
async def test_wherever_the_pieces_end_the_document_is_the_same(values, borders):
    lines = b"".join(value + b"\n" for value in values)
    cuts = [0, *sorted(min(border, len(lines)) for border in borders), len(lines)]
    pieces = [lines[a:b] for a, b in itertools.pairwise(cuts)]
    body = JsonArrayBody(HEAD, Pieces(*filter(None, pieces)), TAIL)
    found = [piece async for piece in body.chunks()]

    assert b"".join(found) == HEAD + b",".join(values) + TAIL
    assert body.size == len(b"".join(found))
    assert max(map(len, found)) <= max(map(len, [HEAD, *pieces]))


async def test_each_streamed_create_has_a_connection_of_its_own():
    async with serve(answer(BATCH, keep=True)) as server, here(server.url) as client:
        for _ in range(3):
            await create(client, rows())

    assert server.connections == 3
    assert [asked.headers.get("connection") for asked in server.asked] == ["close"] * 3


async def test_a_body_may_take_longer_than_a_control_call_and_so_may_its_answer():
    class Slow(Pieces):
        async def chunks(self):
            async for piece in super().chunks():
                await asyncio.sleep(0.2)
                yield piece

    async def late(talk, asked):
        await asyncio.sleep(0.2)
        await talk.say(answer(BATCH))

    async with serve(late) as server, here(server.url, http=Http(control_total_s=0.1)) as client:
        assert await create(client, Slow(ROW, ROW)) == BATCH


# What is lost before the end has left


@pytest.mark.parametrize("then", [abort, close], ids=["reset", "closed"])
async def test_a_connection_that_breaks_while_the_body_is_sent_is_transient_for_it_was_never_whole(then):
    server = Reader(1_000_000, then)
    async with listen(server.serve) as url, here(url) as client:
        with pytest.raises(ProviderTransientError, match="POST /messages/batches failed") as caught:
            await create(client, rows(LARGE))

    assert server.connections == 1
    assert server.got < server.declared
    assert caught.value.__context__ is None
    assert client.clock.slept_s == [], "it is the engine, not the transport, that may try a create again"


async def test_a_server_that_stops_reading_is_given_up_and_never_got_it_whole():
    server = Reader(1_000_000, stop)
    async with listen(server.serve) as url, here(url, http=Http(read_s=0.2)) as client:
        with pytest.raises(ProviderTransientError, match="in time") as caught:
            await create(client, rows(LARGE))

    assert caught.value.code == "timeout"
    assert server.connections == 1


async def test_a_refused_connection_is_transient():
    async with serve(b"") as server:
        url = server.url
    async with here(url) as client:
        with pytest.raises(ProviderTransientError, match="no connection"):
            await create(client, rows())


# What is lost once it has


LOST = {
    "dropped": hang_up,
    "reset": reset,
    "half a header": closing(b"HTTP/1.1 200 OK\r\nContent-"),
    "a cut body": closing(answer(BATCH)[:-10]),
    "no HTTP": closing(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
}


@pytest.mark.parametrize("fault", LOST)
async def test_an_answer_that_is_lost_after_the_end_has_left_is_unknown(fault):
    async with serve(LOST[fault]) as server, here(server.url) as client:
        with pytest.raises(SubmissionUnknownError, match="find_submissions"):
            await create(client, rows())

    assert len(server.asked) == 1


async def test_once_the_last_piece_is_on_its_way_nobody_knows_how_far_it_came():
    # The end of this body lies in the buffers of the sockets when the connection breaks.
    server = Reader(1_000, abort)
    async with listen(server.serve) as url, here(url) as client:
        with pytest.raises(SubmissionUnknownError):
            await create(client, rows())

    assert server.declared > 30_000


@pytest.mark.parametrize("size", [0, 1, 20_000_000])
async def test_the_end_counts_as_sent_before_it_is_written(size):
    seen = []

    class Writer:
        async def write(self, piece):
            seen.append((piece[-2:], payload.is_whole_sent))

    payload = StreamedPayload(b"<", Pieces(b"x" * size), b"end", content_type="text/plain", stall_s=1)
    await payload.write(Writer())

    assert [flag for _, flag in seen] == [False] * (len(seen) - 1) + [True]
    assert seen[-1] == (b"nd", True)


async def hints(talk, asked):
    while not talk.writer.is_closing():
        await talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await asyncio.sleep(0.01)


async def drip(talk, asked):
    for byte in answer(BATCH):
        await talk.say(bytes([byte]))
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("slow", [silence, hints, drip])
async def test_an_answer_that_does_not_come_in_its_time_is_unknown(slow):
    async with serve(slow) as server, here(server.url, http=Http(create_answer_s=0.3)) as client:
        with pytest.raises(SubmissionUnknownError, match="in time"):
            await create(client, rows())

    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [PORTAL, b"", b"{}"])
async def test_a_success_that_is_no_batch_is_unknown(body):
    async with serve(answer(body)) as server, here(server.url) as client:
        with pytest.raises(SubmissionUnknownError) as caught:
            await create(client, rows())

    assert caught.value.status == 200


# Answers that do not wait for the end


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (413, OWN, ProviderPermanentError),
        (401, OWN, ProviderPermanentError),
        (403, PORTAL, ProviderPermanentError),
        (429, OWN, ProviderTransientError),
        (500, OWN, ProviderTransientError),
        (502, PORTAL, ProviderTransientError),
        (408, b"", ProviderTransientError),
    ],
)
async def test_an_answer_to_half_a_body_is_a_refusal_whoever_wrote_it(status, body, expected):
    server = Reader(1_000_000, say(answer(body, status)))
    async with listen(server.serve) as url, here(url) as client:
        with pytest.raises(expected) as caught:
            await create(client, rows(LARGE))

    assert caught.value.status == status
    assert server.connections == 1


@pytest.mark.parametrize("status", [500, 502, 408, 409])
async def test_the_same_answer_to_a_whole_body_is_unknown(status):
    async with serve(answer(OWN, status)) as server, here(server.url) as client:
        with pytest.raises(SubmissionUnknownError) as caught:
            await create(client, rows())

    assert caught.value.status == status


async def test_an_early_answer_of_a_server_that_hangs_up_is_never_unknown():
    server = Reader(1_000_000, say(answer(OWN, 413), reads_on=False))
    async with listen(server.serve) as url, here(url) as client:
        with pytest.raises((ProviderPermanentError, ProviderTransientError)):
            await create(client, rows(LARGE))


async def test_an_early_success_with_an_id_is_believed_and_one_without_is_unknown():
    for body, expected in ((BATCH, None), (PORTAL, SubmissionUnknownError)):
        server = Reader(1_000_000, say(answer(body)))
        async with listen(server.serve) as url, here(url) as client:
            if expected is None:
                assert await create(client, rows(LARGE)) == BATCH
            else:
                with pytest.raises(expected):
                    await create(client, rows(LARGE))


# Our own disk


class Unreadable(Pieces):
    """A body whose disk gives up behind the pieces."""

    async def chunks(self):
        async for piece in super().chunks():
            yield piece
        raise StorageError("the disk does not read")


BAD = {
    "the disk does not read": Unreadable(ROW, size=20 * len(ROW)),
    "differs from its declared size": Pieces(ROW, size=20 * len(ROW)),
    "longer than its declared size": Pieces(ROW, ROW, size=len(ROW) + 2),
    "has no end": Pieces(ROW, b"{}"),
}


@pytest.mark.parametrize("words", BAD)
async def test_a_body_that_cannot_be_read_is_our_own_error_and_was_not_accepted(words):
    server = Reader(10**9, stop)
    async with listen(server.serve) as url, here(url) as client:
        with pytest.raises(StorageError, match=words) as caught:
            await create(client, BAD[words])

    assert server.got < server.declared or server.declared == 0
    assert caught.value.__context__ is None, "nothing of the wire hangs on it"


@pytest.mark.parametrize("pieces", [(b"123456", b"789"), (b"1234", b"5", b"6789"), (b"123456789",)])
async def test_of_a_body_that_is_too_long_nothing_is_written_beyond_its_length(pieces):
    written = []

    class Writer:
        async def write(self, piece):
            written.append(piece)

    payload = StreamedPayload(Pieces(*pieces, size=6), b"end", content_type="text/plain", stall_s=1)
    with pytest.raises(StorageError, match="differs from its declared size"):
        await payload.write(Writer())

    assert len(b"".join(written)) <= 6
    assert not payload.is_whole_sent


async def test_what_is_longer_than_its_length_is_not_written():
    async with serve(silence) as server, here(server.url) as client:
        with pytest.raises(StorageError, match="longer than its declared size"):
            await create(client, Pieces(b"{}\n", b"{}\n", size=4))

    assert server.asked == [], "the length was never filled"


async def test_a_body_that_fails_behind_its_end_leaves_it_unknown():
    class Late:
        size = 3

        async def chunks(self):
            yield b"{}\n"
            raise StorageError("too late")

    async with serve(silence) as server, here(server.url, http=Http(create_answer_s=0.3)) as client:
        with pytest.raises(SubmissionUnknownError):
            await client.transport.create("/batches", Late(), is_created=is_created)


async def test_a_document_is_what_a_parser_reads():
    async with serve(answer(BATCH)) as server, here(server.url) as client:
        await create(client, rows(2))

    assert json.loads(server.asked[0].body) == {"requests": [json.loads(ROW)] * 2}
