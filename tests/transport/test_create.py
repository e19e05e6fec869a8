"""A create is sent exactly once, whatever answers it; and what its answer proves decides the class of the error.

The tables are those of reliability.md, section 2. A second POST would be a second bill.
"""

import asyncio
import ssl

import aiohttp
import anyio
import pytest
from aiohttp.abc import AbstractResolver

from asyncbatch import (
    BatchStatus,
    Http,
    ProviderPermanentError,
    ProviderTransientError,
    SubmissionUnknownError,
)
from asyncbatch.emulator import faults, paid_twice
from tests.providers.world import world
from tests.transport.wire import answer, closing, hang_up, here, listen, reset, serve, silence

BATCH = (
    b'{"id":"batch_1","object":"batch","endpoint":"/v1/chat/completions","errors":null,"input_file_id":"file-in",'
    b'"completion_window":"24h","status":"validating","created_at":1795300010,"metadata":{"asyncbatch_tag":"tag-1"}}'
)
OWN = b'{"error":{"message":"No.","type":"invalid_request_error","param":null,"code":null}}'
PORTAL = b"<!doctype html><title>Sign in</title><p>Please sign in."

REFUSED = {400, 401, 402, 403, 404, 405, 410, 412, 413, 415, 422, 424, 429}
NOT_HERE = {307, 308}


def expected(status, *, is_own):
    if status in NOT_HERE:
        return ProviderPermanentError
    if status in REFUSED and is_own:
        return ProviderTransientError if status == 429 else ProviderPermanentError
    return SubmissionUnknownError


@pytest.mark.parametrize("is_own", [True, False], ids=["in the provider's own words", "as a page of a portal"])
async def test_every_refusing_status_has_its_class_and_one_post(is_own):
    statuses = [*range(300, 309), *range(400, 600)]
    body, kind = (OWN, "application/json") if is_own else (PORTAL, "text/html")
    bodies = {status: b"" if status == 304 else body for status in statuses}  # a 304 has none
    script = [answer(bodies[status], status, "Location: /elsewhere", content_type=kind) for status in statuses]
    found, messages = {}, {}
    async with serve(*script, b"") as server, here(server.url) as client:
        for status in statuses:
            with pytest.raises((ProviderTransientError, ProviderPermanentError, SubmissionUnknownError)) as caught:
                await client.create()
            found[status], messages[status] = type(caught.value), str(caught.value)
        posts = server.count("POST", "/v1/batches")

    assert found == {status: expected(status, is_own=is_own) for status in statuses}
    assert posts == len(server.asked) == len(statuses)
    assert client.clock.slept_s == []
    assert {status for status in statuses if str(status) not in messages[status]} == set()
    assert all("find_submissions" in messages[status] for status, cls in found.items() if cls is SubmissionUnknownError)


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_success_with_an_id_is_accepted(status):
    async with serve(answer(BATCH, status)) as server, here(server.url) as client:
        result = await client.create()

    assert (result.provider_batch_id, result.status) == ("batch_1", BatchStatus.VALIDATING)
    assert result.submitted_at == 1795300010
    assert server.count("POST") == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'"batch_1"',
        PORTAL,
        BATCH[:40],
        BATCH.replace(b'"batch_1"', b'""'),
        BATCH.replace(b'"batch_1"', b"null"),
        b'{"object":"list","data":[' + BATCH + b'],"has_more":false}',
        b'{"id":"file-1","object":"file","status":"processed"}',
        BATCH.replace(b'"file-in"', b'"file-of-another"'),
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=[
        "nothing",
        "an empty object",
        "null",
        "a list",
        "a text",
        "a portal",
        "half a batch",
        "an empty id",
        "no id",
        "a list of batches",
        "another kind of object",
        "a batch of another input",
        "no UTF-8",
        "deep nesting",
    ],
)
async def test_a_success_that_is_not_our_batch_is_unknown(body):
    async with serve(answer(body)) as server, here(server.url) as client:
        with pytest.raises(SubmissionUnknownError, match="not known") as caught:
            await client.create()

    assert (caught.value.status, caught.value.code) == (200, "create_unknown")
    assert server.count("POST") == 1


async def test_an_answer_that_names_neither_input_nor_tag_is_believed():
    body = b'{"id":"batch_1","status":"queued"}'
    async with serve(answer(body)) as server, here(server.url) as client:
        result = await client.create()

    assert (result.provider_batch_id, result.status) == ("batch_1", BatchStatus.QUEUED)


HALF = answer(BATCH)[:-60]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"20\r\n" + BATCH[:32] + b"\r\n"
BROKEN = {
    "dropped without an answer": hang_up,
    "reset without an answer": reset,
    "half a header": closing(b"HTTP/1.1 200 OK\r\nContent-"),
    "no HTTP at all": closing(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "a header of a megabyte": closing(b"HTTP/1.1 200 OK\r\nX-Pad: " + b"x" * 1_000_000 + b"\r\n\r\n"),
    "a cut body": closing(HALF),
    "a cut chunk": closing(CHUNKED),
    "two lengths": closing(answer(BATCH, 200, "Content-Length: 3")),
    "a broken coding": closing(answer(b"\x1f\x8bbroken", 200, "Content-Encoding: gzip")),
    "a switch of protocols": closing(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_an_answer_that_breaks_is_unknown_and_the_create_is_not_repeated(fault):
    async with serve(BROKEN[fault]) as server, here(server.url) as client:
        with pytest.raises(SubmissionUnknownError, match="find_submissions") as caught:
            await client.create()

    assert caught.value.provider == "openai"
    assert server.count("POST") == len(server.asked) == 1


async def drip(talk, asked):
    for byte in answer(BATCH):
        await talk.say(bytes([byte]))
        await asyncio.sleep(0.02)


async def stop_in_the_body(talk, asked):
    await talk.say(HALF)
    await silence(talk, asked)


async def endless_hints(talk, asked):
    while True:
        await talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("slow", [silence, stop_in_the_body, drip, endless_hints])
async def test_an_answer_that_does_not_come_in_time_is_unknown_and_the_create_is_not_repeated(slow):
    async with serve(slow) as server, here(server.url, http=Http(control_total_s=0.3)) as client:
        with pytest.raises(SubmissionUnknownError, match="in time"):
            await client.create()

    assert server.count("POST") == 1


async def test_an_answer_without_end_is_unknown():
    async def flood(talk, asked):
        await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not talk.writer.is_closing():
            await talk.say(b"10000\r\n" + b" " * 0x10000 + b"\r\n")

    async with serve(flood) as server, here(server.url, http=Http(answer_bytes=1_000_000)) as client:
        with pytest.raises(SubmissionUnknownError, match="larger than"):
            await client.create()

    assert server.count("POST") == 1


# What proves that nothing was sent


async def test_a_refused_connection_is_transient_for_nothing_was_sent():
    async with serve(b"") as server:
        url = server.url
    async with here(url) as client:
        with pytest.raises(ProviderTransientError, match="no connection") as caught:
            await client.create()

    assert caught.value.code == "unreachable"
    assert client.clock.slept_s == [], "it is the engine, not the transport, that may try a create again"


class NoSuchHost(AbstractResolver):
    async def resolve(self, host, port=0, family=0):
        raise OSError(-2, "Name or service not known")

    async def close(self):
        pass


async def test_an_unknown_host_is_transient_for_nothing_was_sent():
    connector = aiohttp.TCPConnector(resolver=NoSuchHost())
    async with aiohttp.ClientSession(connector=connector) as session:
        async with here("http://nowhere.invalid", session=session, config={"allow_http": True}) as client:
            with pytest.raises(ProviderTransientError, match=r"no such host \(http://nowhere\.invalid\)") as caught:
                await client.create()

    assert "look at the base URL" in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "2130706433", "1.2.3"])
async def test_a_host_that_cannot_be_one_is_permanent_for_nothing_was_sent(host):
    async with here(f"http://{host}", config={"allow_http": True}) as client:
        with pytest.raises(ProviderPermanentError, match="is no address") as caught:
            await client.create()

    assert caught.value.code == "bad_url"


async def test_a_server_that_speaks_no_tls_is_transient_for_nothing_was_sent():
    async def speak(reader, writer):
        writer.write(answer(BATCH))
        await reader.read()

    async with listen(speak) as url, here(url.replace("http:", "https:")) as client:
        with pytest.raises(ProviderTransientError, match="TLS") as caught:
            await client.create()

    assert caught.value.code == "tls"


async def test_a_connection_that_is_not_made_in_time_is_transient_for_nothing_was_sent():
    async def accept(reader, writer):  # and never answer the handshake
        await reader.read()

    async with listen(accept) as url, here(url.replace("http:", "https:"), http=Http(connect_s=0.1)) as client:
        with pytest.raises(ProviderTransientError, match="in time") as caught:
            await client.create()

    assert caught.value.code == "timeout"


async def test_a_proxy_that_refuses_the_tunnel_is_transient_for_nothing_was_sent():
    async with serve(answer(b"", 407)) as proxy:
        async with here("https://127.0.0.1:9", http=Http(proxy=proxy.url)) as client:
            with pytest.raises(ProviderTransientError, match="proxy") as caught:
                await client.create()

    assert caught.value.code == "proxy"
    assert [asked.method for asked in proxy.asked] == ["CONNECT"]


async def test_a_self_signed_certificate_is_refused_before_anything_is_sent(self_signed):
    async with serve(answer(BATCH), ssl=self_signed.server) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError, match="TLS") as caught:
            await client.create()

    assert caught.value.code == "tls"
    assert "ca_file" in str(caught.value)
    assert server.asked == []


async def test_a_certificate_of_an_authority_that_the_caller_names_is_trusted(self_signed):
    async with serve(answer(BATCH), ssl=self_signed.server) as server:
        async with here(server.url, http=Http(ca_file=self_signed.ca_file)) as client:
            result = await client.create()

    assert result.provider_batch_id == "batch_1"


async def test_a_certificate_for_another_host_is_refused(self_signed):
    async with serve(answer(BATCH), ssl=self_signed.server) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with here(url, http=Http(ca_file=self_signed.ca_file)) as client:
            with pytest.raises(ProviderTransientError, match="TLS"):
                await client.create()

    assert server.asked == []
    assert isinstance(self_signed.server, ssl.SSLContext)


# What the server may say besides


async def test_the_servers_wish_overrules_the_table():
    refused = answer(OWN, 400, "x-should-retry: true"), answer(OWN, 429, "x-should-retry: false")
    async with serve(*refused, b"") as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError):
            await client.create()
        with pytest.raises(ProviderPermanentError):
            await client.create()

    assert server.count("POST") == 2


@pytest.mark.parametrize("should", ["true", "false"])
async def test_no_wish_of_the_server_makes_an_unknown_create_known(should):
    async with serve(answer(OWN, 500, f"x-should-retry: {should}")) as server, here(server.url) as client:
        with pytest.raises(SubmissionUnknownError):
            await client.create()

    assert server.count("POST") == 1


async def test_a_refusal_carries_what_the_provider_said():
    body = b'{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    throttled = answer(body, 429, "Retry-After: 12", "x-request-id: req_7")
    async with serve(throttled) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError, match="Rate limit reached") as caught:
            await client.create()

    error = caught.value
    assert (error.status, error.code, error.retry_after, error.request_id) == (429, "rate_limit_exceeded", 12, "req_7")


# The emulator as a witness of what was accepted

LOST = {
    "dropped": faults.accept_then_drop(),
    "500": faults.accept_then_error(500),
    "502": faults.accept_then_error(502),
    "409": faults.accept_then_error(409),
    "408": faults.accept_then_error(408),
    "a portal's page": faults.html_200(when="after"),
    "a cut body": faults.cut_body(16, method="POST"),
}


@pytest.mark.parametrize("fault", LOST)
async def test_what_was_accepted_and_not_heard_of_is_bought_once(fault):
    async with world("openai", faults=[LOST[fault]]) as its:
        submission = await its.provider.upload(await its.prepare_one(["a"]))
        with pytest.raises(SubmissionUnknownError):
            await its.provider.create(submission)
        history = its.emulator.history

    assert [record.kind for record in history].count("create") == 1
    assert len(its.calls("create")) == 1
    assert paid_twice(history) == {}


async def test_a_cancelled_create_was_sent_once_and_raises_the_cancellation():
    async with serve(silence) as server, here(server.url) as client:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(client.create)
                while not server.asked:
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

    assert scope.cancelled_caught
    assert server.count("POST") == 1


async def test_each_create_has_a_connection_of_its_own():
    async with serve(answer(BATCH, keep=True)) as server, here(server.url) as client:
        for _ in range(3):
            await client.create()

    assert server.connections == 3
    assert [asked.headers.get("connection") for asked in server.asked] == ["close"] * 3


async def test_a_create_says_what_openai_documents():
    async with serve(answer(BATCH)) as server, here(server.url, config={"organization": "org-1"}) as client:
        await client.create(options={"output_expires_after": {"anchor": "created_at", "seconds": 3600}})

    (asked,) = server.asked
    assert asked.body == (
        b'{"input_file_id":"file-in","endpoint":"/v1/chat/completions","completion_window":"24h",'
        b'"metadata":{"asyncbatch_tag":"tag-1"},"output_expires_after":{"anchor":"created_at","seconds":3600}}'
    )
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"].startswith("Bearer ")
    assert asked.headers["openai-organization"] == "org-1"
    assert asked.headers["user-agent"].startswith("asyncbatch/")
    assert "cookie" not in asked.headers
    assert "expect" not in asked.headers


ABORTED = b'{"code":10,"message":"aborted","details":[]}'


@pytest.mark.parametrize(
    ("status", "body", "refusals", "error"),
    [
        (409, ABORTED, ("6", "10"), ProviderTransientError),
        (503, ABORTED, ("6", "10"), ProviderTransientError),
        (409, ABORTED, ("6",), SubmissionUnknownError),
        (409, ABORTED, (), SubmissionUnknownError),
        (409, PORTAL, ("6", "10"), SubmissionUnknownError),
        (200, ABORTED, ("10",), SubmissionUnknownError),
    ],
)
async def test_a_code_by_which_a_provider_says_that_nothing_was_created_proves_it_whatever_the_status(
    status, body, refusals, error
):
    async with serve(answer(body, status)) as server, here(server.url) as client:
        with pytest.raises(error):
            await client.transport.create("/batches", b"{}", is_created=lambda _: False, refusals=refusals)

    assert len(server.asked) == 1
