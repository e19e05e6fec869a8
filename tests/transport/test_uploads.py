"""Uploads stream from the spool with a length that is true, and what did not arrive whole is not taken for granted."""

import asyncio
import hashlib
import tracemalloc

import pytest

from asyncbatch import BatchMode, Http, ProviderPermanentError, ProviderTransientError, Retry, ScopeError, StorageError
from asyncbatch.emulator import faults
from asyncbatch.spool import IN_MEMORY_BYTES
from tests.providers.world import JOB, MODEL, small_catalog, world
from tests.transport.wire import answer, closing, hang_up, here, listen, serve, silence

CONTENT = "é" * 400


def file_of(size):
    return answer(b'{"id":"file-1","object":"file","bytes":%d,"purpose":"batch"}' % size)


def parts(asked):
    """Take a multipart form apart."""
    boundary = asked.headers["content-type"].partition("boundary=")[2].encode()
    pieces = asked.body.split(b"--" + boundary)
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    return dict(piece[2:-2].split(b"\r\n\r\n", 1) for piece in pieces[1:-1])


async def test_a_form_carries_purpose_and_file_with_a_true_length():
    async with serve(b"") as server, here(server.url) as client:
        submission = await client.prepared([CONTENT] * 3)
        server.answers = [file_of(submission.spool.size)]
        uploaded = await client.provider.upload(submission.replace(tag="ab1-job-0-1-cafe"))
        body = submission.spool.read()

    (asked,) = server.asked
    found = parts(asked)
    assert uploaded.input_ref == "file-1"
    assert asked.headers["content-length"] == str(len(asked.body))
    assert "transfer-encoding" not in asked.headers
    assert "expect" not in asked.headers
    assert found[b'Content-Disposition: form-data; name="purpose"'] == b"batch"
    assert (
        found[
            b'Content-Disposition: form-data; name="file"; filename="ab1-job-0-1-cafe-0000.jsonl"\r\n'
            b"Content-Type: application/jsonl"
        ]
        == body
    )


async def test_a_large_body_is_streamed_and_arrives_byte_for_byte():
    received = hashlib.sha256()
    sizes = []

    async def take(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        left = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        boundary = head.partition(b"boundary=")[2].partition(b"\r\n")[0]
        tail = b"\r\n--" + boundary + b"--\r\n"
        form = await reader.readuntil(b"application/jsonl\r\n\r\n")
        left -= len(form) + len(tail)
        size = left
        while left:
            piece = await reader.read(min(left, 65536))
            received.update(piece)
            left -= len(piece)
        assert await reader.readexactly(len(tail)) == tail
        sizes.append(size)
        writer.write(file_of(size))
        await writer.drain()

    async with listen(take, limit=1024 * 1024) as url, here(url) as client:
        submission = await client.prepared(f"{n} {'x' * 10_000}" for n in range(2000))
        sent = hashlib.sha256(submission.spool.read()).hexdigest()
        tracemalloc.start()
        await client.provider.upload(submission)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert sizes == [submission.spool.size]
    assert sizes[0] > 20_000_000
    assert received.hexdigest() == sent
    assert peak < 5_000_000, "a quarter of the body would be 5 MB: it is not held in memory"


async def test_an_upload_that_fails_is_made_again_from_the_start():
    async with serve(hang_up) as server, here(server.url) as client:
        submission = await client.prepared([CONTENT])
        server.answers = [hang_up, answer(b"{}", 503), closing(b"HTTP/1.1 200"), file_of(submission.spool.size)]
        uploaded = await client.provider.upload(submission)

    bodies = [next(body for name, body in parts(asked).items() if b"filename" in name) for asked in server.asked]
    assert uploaded.input_ref == "file-1"
    assert len(bodies) == 4
    assert len(set(bodies)) == 1


async def test_an_upload_of_which_too_little_arrived_is_transient_and_taken_back():
    async with serve(file_of(10), answer(b"{}")) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError, match=r"10 bytes of \d+ arrived") as caught:
            await client.provider.upload(await client.prepared())

    assert caught.value.code == "upload_cut"
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/v1/files"),
        ("DELETE", "/v1/files/file-1"),
    ]


async def test_an_upload_whose_size_the_provider_keeps_to_itself_is_believed():
    async with serve(answer(b'{"id":"file-1"}')) as server, here(server.url) as client:
        uploaded = await client.provider.upload(await client.prepared())

    assert uploaded.input_ref == "file-1"
    assert server.count("POST") == 1


class Lying:
    """A body that is longer or shorter than it says."""

    def __init__(self, size, actual):
        self.size = size
        self._actual = actual

    async def chunks(self):
        yield b"x" * self._actual


@pytest.mark.parametrize("actual", [10, 30], ids=["shorter", "longer"])
async def test_a_body_that_changed_its_size_is_an_error_and_never_a_cut_upload(actual):
    async with serve(file_of(20)) as server:
        async with here(server.url, retry=Retry(attempts=2), http=Http(read_s=1)) as client:
            with pytest.raises(StorageError, match="differs from its declared size"):
                await client.provider.upload((await client.prepared()).replace(spool=Lying(20, actual)))

    assert not any(asked.body.rstrip().endswith(b"--") for asked in server.asked), "no form came to its end"


class Unreadable:
    """A body that the disk does not give back."""

    size = 20

    async def chunks(self):
        yield b"x"
        raise StorageError("the disk does not read")


async def test_a_body_that_the_disk_does_not_give_back_is_no_error_of_the_wire():
    async with serve(file_of(20)) as server, here(server.url) as client:
        with pytest.raises(StorageError, match="the disk does not read") as caught:
            await client.provider.upload((await client.prepared()).replace(spool=Unreadable()))

    assert client.clock.slept_s == [], "another try would read the same disk"
    assert caught.value.__context__ is None, "nothing of the wire hangs on it"


async def test_ids_go_with_the_last_submission_of_their_job_that_is_discarded():
    async with here("http://127.0.0.1:9", catalog=small_catalog("openai", 2)) as client:
        first, second = await client.provider.prepare_payloads(
            batch_id=JOB, model=MODEL, mode=BatchMode.CHAT, requests=["a", "b", "c", "d"]
        )
        await client.provider.discard([first])
        await client.provider.discard([first])
        kept = list(second.request_ids)
        await client.provider.discard([first, second])
        with pytest.raises(ScopeError, match="discarded"):
            list(second.request_ids)

    assert kept == ["0000002", "0000003"]


async def test_a_spool_that_was_taken_away_is_an_error_of_the_upload():
    async with serve(file_of(1)) as server, here(server.url) as client:
        submission = await client.prepared(f"{n} {'x' * 10_000}" for n in range(200))
        await client.provider.discard([submission])
        with pytest.raises(ScopeError, match="discarded"):
            await client.provider.upload(submission)

    assert submission.spool.size > IN_MEMORY_BYTES
    assert server.asked == []


async def test_a_server_that_stops_reading_is_given_up():
    async def stop_reading(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.Event().wait()

    async with listen(stop_reading) as url, here(url, retry=Retry(attempts=1), http=Http(read_s=0.2)) as client:
        with pytest.raises(ProviderTransientError, match="POST /files failed"):
            await client.provider.upload(await client.prepared(f"{n} {'x' * 10_000}" for n in range(3000)))


async def test_a_server_that_takes_it_all_and_says_nothing_is_given_up():
    async with serve(silence) as server:
        async with here(server.url, retry=Retry(attempts=2), http=Http(read_s=0.2)) as client:
            with pytest.raises(ProviderTransientError, match="in time"):
                await client.provider.upload(await client.prepared())

    assert server.count("POST") == 2


async def test_an_answer_to_an_upload_that_drips_is_given_up():
    async def drip(talk, asked):
        await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not talk.writer.is_closing():
            await talk.say(b"1\r\n \r\n")
            await asyncio.sleep(0.01)

    async with serve(drip) as server:
        async with here(server.url, retry=Retry(attempts=1), http=Http(control_total_s=0.2)) as client:
            with pytest.raises(ProviderTransientError, match="in time"):
                await client.provider.upload(await client.prepared())


async def test_an_early_refusal_of_a_large_body_is_heard():
    body = b'{"error":{"message":"File too large.","type":"invalid_request_error","param":null,"code":"too_large"}}'

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(body, 413))
        await writer.drain()
        while await reader.read(65536):  # as a server does that wants its answer to be read
            pass

    async with listen(refuse) as url, here(url) as client:
        with pytest.raises(ProviderPermanentError, match="File too large") as caught:
            await client.provider.upload(await client.prepared(f"{n} {'x' * 10_000}" for n in range(300)))

    assert (caught.value.status, caught.value.code) == (413, "too_large")


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"object":"file"}', b'{"id":null}'])
async def test_a_success_without_a_file_is_transient(body):
    async with serve(answer(body)) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError, match="something else than expected"):
            await client.provider.upload(await client.prepared())

    assert server.count("POST") == 1


async def test_what_arrives_is_what_was_prepared():
    async with world("openai", faults=[faults.drop(path="/files", method="POST")]) as its:
        submission = await its.prepare_one([f"{n} {CONTENT}" for n in range(50)])
        await its.provider.upload(submission)
        (record,) = [record for record in its.emulator.history if record.kind == "upload"]
        body = submission.spool.read()

    assert record.input_sha256 == hashlib.sha256(body).hexdigest()
    assert record.file_bytes == len(body)
