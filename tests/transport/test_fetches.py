"""A large JSON document goes through the spool as a file does: capped, paced, and compared with its length."""

import asyncio

import pytest

from asyncbatch import Http, ProviderPermanentError, ProviderTransientError, Retry, StorageError
from asyncbatch.transport import Profile
from tests.transport.wire import KEY, answer, closing, here, serve, silence

DOCUMENT = b'{"name":"batches/b1","metadata":{"output":[' + b",".join([b'{"key":"a"}'] * 3000) + b"]}}"
WHOLE = answer(DOCUMENT, 200, "Retry-After: 10", keep=True)
CLOSED = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(DOCUMENT) + DOCUMENT
BUSY = answer(b'{"error":{"message":"busy","type":"server_error"}}', 503)


async def fetch(client, path="/batches/b1", **options):
    """Fetch into a fresh body; give the answer and the body."""
    sink = client.new_file()
    got = await client.transport.fetch(path, sink, **options)
    return got, sink.read()


async def test_a_document_comes_as_it_is_and_its_headers_with_it():
    async with serve(WHOLE) as server, here(server.url) as client:
        got, body = await fetch(client, params={"view": "full"}, headers={"Accept": "application/json"})

    (asked,) = server.asked
    assert body == DOCUMENT
    assert (got.status, got.body, client.transport.retry_after(got)) == (200, b"", 10)
    assert (asked.method, asked.target) == ("GET", "/v1/batches/b1?view=full")
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["authorization"] == f"Bearer {KEY}"


async def test_a_document_that_ends_with_the_connection_is_left_to_its_parser_and_a_file_of_lines_is_not():
    async with serve(closing(CLOSED + DOCUMENT)) as server, here(server.url, retry=Retry(attempts=1)) as client:
        _, body = await fetch(client)
        with pytest.raises(ProviderTransientError, match="in the middle of a line"):
            await client.transport.download("/batches/b1", client.new_file())

    assert body == DOCUMENT


@pytest.mark.parametrize(
    "cut",
    [WHOLE[:-1], WHOLE[: len(WHOLE) // 2], CHUNKS, CHUNKS[:-100]],
    ids=["a byte", "half", "no end", "a cut chunk"],
)
async def test_a_document_that_is_shorter_than_its_frame_is_fetched_again_from_its_start(cut):
    async with serve(closing(cut), BUSY, WHOLE) as server, here(server.url) as client:
        _, body = await fetch(client)

    assert body == DOCUMENT
    assert len(server.asked) == 3


@pytest.mark.parametrize("options", [{"retry": False}, {"profile": Profile.POLL}])
async def test_a_poll_through_the_spool_is_tried_once(options):
    async with serve(BUSY) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError, match="busy"):
            await fetch(client, **options)

    assert len(server.asked) == 1


async def test_polls_through_the_spool_share_a_connection():
    async with serve(WHOLE) as server, here(server.url) as client:
        for _ in range(3):
            await fetch(client, profile=Profile.POLL)
        polls = server.connections
        await fetch(client, profile=Profile.CONTROL)

    assert polls == 1
    assert server.connections == 2


@pytest.mark.parametrize("profile", Profile)
async def test_a_document_may_take_longer_than_a_poll_while_it_moves(profile):
    async def amble(talk, asked):
        for at in range(0, len(WHOLE), len(WHOLE) // 4):
            await talk.say(WHOLE[at : at + len(WHOLE) // 4])
            await asyncio.sleep(0.1)

    http = Http(poll_total_s=0.3, control_total_s=0.3)
    async with serve(amble) as server, here(server.url, http=http) as client:
        _, body = await fetch(client, profile=profile, retry=False)

    assert body == DOCUMENT


@pytest.mark.parametrize(
    ("profile", "http"),
    [
        (Profile.POLL, Http(poll_total_s=0.2)),
        (Profile.CONTROL, Http(control_total_s=0.2)),
        (Profile.BULK, Http(header_s=0.2)),
        (Profile.POLL, Http(read_s=0.2)),
    ],
)
async def test_the_beginning_of_a_document_has_to_come_in_time(profile, http):
    async with serve(silence) as server, here(server.url, http=http) as client:
        with pytest.raises(ProviderTransientError, match="in time"):
            await fetch(client, profile=profile, retry=False)


async def test_a_document_that_falls_silent_is_given_up():
    async def stop(talk, asked):
        await talk.say(WHOLE[:1000])
        await silence(talk, asked)

    async with serve(stop, WHOLE) as server, here(server.url, http=Http(read_s=0.2)) as client:
        _, body = await fetch(client)

    assert body == DOCUMENT


async def test_a_document_that_drips_is_given_up_by_the_clock():
    async def drip(talk, asked):
        await talk.say(WHOLE[:100])
        while not talk.writer.is_closing():
            await talk.say(b" ")
            client.clock.advance(5)
            await asyncio.sleep(0)

    async with serve(drip) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError, match="in time"):
            await fetch(client, retry=False)


async def test_a_document_larger_than_the_cap_and_one_in_a_coding_are_refused():
    coded = answer(DOCUMENT, 200, "Content-Encoding: br")
    async with serve(WHOLE, coded) as server, here(server.url, http=Http(file_bytes=1000)) as client:
        with pytest.raises(ProviderPermanentError, match="larger than 1000 bytes"):
            await fetch(client)
        with pytest.raises(ProviderPermanentError, match="coding 'br'"):
            await fetch(client)

    assert len(server.asked) == 2


async def test_a_redirect_to_another_origin_is_followed_without_any_credential():
    async with serve(WHOLE) as stranger:
        async with serve(answer(b"", 302, f"Location: {stranger.url}/x")) as server, here(server.url) as client:
            _, body = await fetch(client, headers={"X-Own": "1"})

    assert body == DOCUMENT
    assert set(stranger.asked[0].headers) == {"host", "user-agent", "accept", "accept-encoding"}


async def test_our_own_disk_is_no_error_of_the_wire():
    class FullDisk:
        size = 0

        def append(self, data):
            raise StorageError("the disk is full")

        def flush(self):
            pass

        def clear(self):
            pass

    async with serve(WHOLE) as server, here(server.url) as client:
        with pytest.raises(StorageError, match="the disk is full"):
            await client.transport.fetch("/batches/b1", FullDisk())

    assert len(server.asked) == 1


# Only the beginning


async def test_of_a_body_without_end_no_more_is_read_than_was_asked_for():
    async def flood(talk, asked):
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while not talk.writer.is_closing():
            await talk.say(b'{"custom_id":"a"}\n' * 1000)

    async with serve(flood) as server, here(server.url, http=Http(answer_bytes=100_000)) as client:
        got = await client.transport.peek("/results", 50_000, headers={"Accept": "a/b"}, params={"x": "1"})

    (asked,) = server.asked
    assert got == (b'{"custom_id":"a"}\n' * 3000)[:50_000]
    assert (asked.method, asked.target) == ("GET", "/v1/results?x=1")
    assert (asked.headers["accept"], asked.headers["accept-encoding"]) == ("a/b", "identity")


async def test_a_small_body_is_read_whole_and_what_fails_is_asked_for_again():
    async with serve(BUSY, closing(WHOLE[:-10]), answer(b"small")) as server, here(server.url) as client:
        assert await client.transport.peek("/results", 100_000) == b"small"

    assert len(server.asked) == 3


async def test_a_body_larger_than_an_answer_may_be_is_refused_unless_only_its_beginning_is_read():
    async with serve(answer(b"x" * 5000)) as server:
        async with here(server.url, http=Http(answer_bytes=1000), retry=Retry(attempts=1)) as client:
            assert await client.transport.peek("/results", 1000) == b"x" * 1000
            with pytest.raises(ProviderTransientError, match="larger than 1000"):
                await client.transport.get("/results")


async def test_what_cannot_be_peeked_at_is_an_error():
    async with serve(answer(b'{"error":{"message":"No such batch."}}', 404)) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match="No such batch"):
            await client.transport.peek("/results", 100)


@pytest.mark.parametrize("call", ["fetch", "download"])
async def test_a_refusal_that_comes_in_pieces_is_read_to_its_end(call):
    body = b'{"error":{"message":"No such batch.","type":"invalid_request_error","code":"gone"}}'

    async def refuse(talk, asked):
        whole = answer(body, 404)
        for at in range(0, len(whole), 20):
            await talk.say(whole[at : at + 20])
            await asyncio.sleep(0.001)

    async with serve(refuse) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match="No such batch") as caught:
            await getattr(client.transport, call)("/batches/b1", client.new_file())

    assert (caught.value.status, caught.value.code) == (404, "gone")


async def test_of_a_refusal_without_end_only_the_beginning_is_read():
    async def flood(talk, asked):
        await talk.say(b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not talk.writer.is_closing():
            await talk.say(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    async with serve(flood) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match="404") as caught:
            await fetch(client)

    assert caught.value.status == 404
