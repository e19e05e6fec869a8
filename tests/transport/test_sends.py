"""Calls of any form, for protocols that are more than JSON: their headers, bodies, answers, and addresses the server gives."""

import gzip
import json
import logging
import traceback

import pytest

from asyncbatch import Http, ProviderPermanentError, ProviderTransientError, Retry, StorageError
from asyncbatch.transport import BlobSlice, Profile
from tests.transport.wire import KEY, answer, closing, hang_up, here, reset, serve, silence

UPLOAD_ID = "AHmgOg7b3kq-upload-secret"
OK = answer(b'{"ok":true}')
BUSY = answer(b'{"error":{"message":"busy","type":"server_error"}}', 503)


class Pieces:
    """A body that gives only all of itself."""

    def __init__(self, *pieces):
        self.pieces = pieces
        self.size = sum(map(len, pieces))

    async def chunks(self):
        for piece in self.pieces:
            yield piece


# Any call


async def test_an_answer_comes_with_its_headers():
    async with serve(answer(b"{}", 200, "X-Goog-Upload-Status: active")) as server, here(server.url) as client:
        got = await client.transport.send("POST", "/upload/files", body=b"{}", params={"uploadType": "resumable"})

    (asked,) = server.asked
    assert (got.status, got.body, got.headers["x-goog-upload-status"]) == (200, b"{}", "active")
    assert (asked.method, asked.target, asked.body) == ("POST", "/v1/upload/files?uploadType=resumable", b"{}")
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"] == f"Bearer {KEY}"


async def test_bytes_are_what_the_caller_says_they_are():
    async with serve(OK) as server, here(server.url) as client:
        await client.transport.send("PUT", "/x", body=b"a,b", headers={"content-type": "text/csv"})
        await client.transport.send("PUT", "/x", body=Pieces(b"a", b"b"), headers={"content-type": "text/csv"})
        await client.transport.send("PUT", "/x", body=Pieces(b"a", b"b"))
        await client.transport.post("/x", b"{}", headers={"CONTENT-TYPE": "application/x-own"})
        await client.transport.send("PATCH", "/x")

    assert [asked.headers.get("content-type") for asked in server.asked[:4]] == [
        "text/csv",
        "text/csv",
        "application/octet-stream",
        "application/x-own",
    ]
    assert [asked.body for asked in server.asked] == [b"a,b", b"ab", b"ab", b"{}", b""]
    assert [asked.headers.get("content-length") for asked in server.asked[1:3]] == ["2", "2"]
    assert not any("transfer-encoding" in asked.headers for asked in server.asked)


CALLS = {
    "ask": lambda transport, headers: transport.ask("/x", headers=headers),
    "get": lambda transport, headers: transport.get("/x", headers=headers),
    "post": lambda transport, headers: transport.post("/x", b"{}", headers=headers),
    "send": lambda transport, headers: transport.send("POST", "/x", body=b"{}", headers=headers),
    "create": lambda transport, headers: transport.create("/x", b"{}", is_created=bool, headers=headers),
}


@pytest.mark.parametrize("name", [*CALLS, "download", "fetch"])
async def test_headers_of_a_call_replace_those_of_the_account_and_never_its_credentials(name):
    config = {"organization": "org-1", "headers": {"X-Gateway": "token-of-a-gateway"}}
    headers = {
        "OPENAI-Organization": "org-2",
        "AUTHORIZATION": "Bearer another",
        "x-gateway": "another",
        "accept": "a/b",
    }
    async with serve(answer(b"{}\n")) as server, here(server.url, config=config) as client:
        if name in CALLS:
            await CALLS[name](client.transport, headers)
        else:
            await getattr(client.transport, name)("/x", client.new_file(), headers=headers)

    (asked,) = server.asked
    assert asked.headers["openai-organization"] == "org-2"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["x-gateway"] == "token-of-a-gateway"
    assert asked.headers["accept"] == "a/b"
    assert asked.names.count("openai-organization") == asked.names.count("authorization") == 1


async def test_a_call_is_repeated_unless_the_caller_says_no():
    async with serve(BUSY, hang_up, OK) as server, here(server.url) as client:
        got = await client.transport.send("POST", "/x", body=Pieces(b"ab", b"c"))
        server.answers = [BUSY]
        for call in (
            client.transport.send("POST", "/x", body=b"{}", retry=False),
            client.transport.send("POST", "/x", profile=Profile.POLL),
            client.transport.ask("/x", retry=False),
            client.transport.get("/x", profile=Profile.POLL),
        ):
            with pytest.raises(ProviderTransientError, match="busy"):
                await call

    assert got.body == b'{"ok":true}'
    assert [asked.body for asked in server.asked[:3]] == [b"abc"] * 3
    assert len(server.asked) == 3 + 4
    assert len(client.clock.slept_s) == 2


async def test_statuses_may_be_answers_and_others_are_errors():
    async with serve(answer(b"{}", 308)) as server, here(server.url) as client:
        got = await client.transport.send("POST", "/x", also=(308,))
        with pytest.raises(ProviderPermanentError, match="POST /x was answered 308"):
            await client.transport.send("POST", "/x", also=(409,))

    assert got.status == 308


async def test_an_answer_to_a_large_body_may_be_coded():
    coded = answer(gzip.compress(b'{"id":"file-1","bytes":400}'), 200, "Content-Encoding: gzip")
    async with serve(coded) as server, here(server.url) as client:
        sent = await client.transport.send("POST", "/x", body=Pieces(b"ab"))
        uploaded = await client.transport.upload("/files", Pieces(b"ab"), filename="a", fields={})

    assert sent.body == uploaded == b'{"id":"file-1","bytes":400}'


async def test_a_body_that_the_disk_does_not_give_back_is_our_own_error():
    class Short(Pieces):
        size = 20

        def __init__(self):
            self.pieces = (b"x",)

    async with serve(OK) as server, here(server.url) as client:
        with pytest.raises(StorageError, match="differs from its declared size"):
            await client.transport.send("POST", "/x", body=Short())
        with pytest.raises(StorageError, match="differs from its declared size"):
            await client.transport.send_to(f"{server.url}/up", body=Short())

    assert client.clock.slept_s == []


# What a success asks for


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        (["retry-after: 10"], 10),
        (["retry-after-ms: 2500", "retry-after: 10"], 2.5),
        ([], None),
        (["retry-after: nan"], None),
    ],
)
async def test_a_success_may_ask_us_to_wait_before_we_ask_again(headers, wait):
    async with serve(answer(b'{"id":"b1"}', 200, *headers)) as server, here(server.url) as client:
        got = await client.transport.ask("/batches/b1", profile=Profile.POLL)

    assert got.body == b'{"id":"b1"}'
    assert client.transport.retry_after(got) == wait


def google(status, detail):
    error = {"code": status, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("headers", "least", "most"), [([], 31, 31.1), (["Retry-After: 2"], 2, 2.1), (["retry-after: soon"], 31, 31.1)]
)
async def test_a_wait_that_stands_in_the_body_is_obeyed_where_no_header_names_one(headers, least, most):
    busy = answer(google(429, {"retryDelay": "31s"}), 429, *headers)
    async with serve(busy, OK) as server, here(server.url) as client:
        await client.transport.get("/x")

    (waited,) = client.clock.slept_s
    assert least <= waited <= most


async def test_a_wait_in_the_body_has_a_bound_as_in_a_header():
    async with serve(answer(google(429, {"retryDelay": "99999s"}), 429)) as server, here(server.url) as client:
        with pytest.raises(ProviderTransientError) as caught:
            await client.transport.get("/x")

    assert caught.value.retry_after == 3600
    assert len(server.asked) == 1


# Addresses that the server gives


async def test_a_resumable_upload_sends_the_parts_of_a_file_to_the_address_it_was_given():
    async with serve(b"") as server, here(server.url) as client:
        upload = f"{server.url}/upload/v1beta/files?upload_id={UPLOAD_ID}"
        server.answers = [
            answer(b"", 200, f"X-Goog-Upload-URL: {upload}"),
            answer(b"", 200, "X-Goog-Upload-Status: active"),
            BUSY,
            answer(b'{"file":{}}', 200, "X-Goog-Upload-Status: final"),
        ]
        file = client.new_file()
        file.append(b"0123456789")
        started = await client.transport.send("POST", "/upload/files", body=b"{}")
        for offset, size, command in ((0, 7, "upload"), (7, 3, "upload, finalize")):
            headers = {"X-Goog-Upload-Offset": str(offset), "X-Goog-Upload-Command": command}
            part = BlobSlice(file.view(), offset, size)
            got = await client.transport.send_to(started.headers["x-goog-upload-url"], headers=headers, body=part)

    parts = server.asked[1:]
    assert got.headers["x-goog-upload-status"] == "final"
    assert [asked.body for asked in parts] == [b"0123456", b"789", b"789"]
    assert [asked.headers["content-length"] for asked in parts] == ["7", "3", "3"]
    assert {asked.target for asked in parts} == {f"/upload/v1beta/files?upload_id={UPLOAD_ID}"}


async def test_nothing_of_the_account_goes_to_an_address_that_the_server_gave():
    config = {"organization": "org-1", "headers": {"X-Gateway": "token-of-a-gateway", "api-key": KEY}}
    async with serve(OK) as server, here(server.url, config=config) as client:
        await client.transport.send_to(f"{server.url}/up", body=b"x", headers={"Content-Type": "application/jsonl"})

    (asked,) = server.asked
    assert set(asked.headers) - {"connection"} == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
    }
    assert asked.headers["user-agent"].startswith("asyncbatch/")
    assert KEY not in str(asked)


REFUSED = {
    "plain http elsewhere": "http://storage.invalid/up?token=0123456789",
    "plain http to a private net": "http://10.0.0.1/up?token=0123456789",
    "plain http to a name like loopback": "http://localhost.invalid/up",
    "a file": "file:///etc/passwd",
    "another scheme": "ftp://127.0.0.1/up",
    "with a user": "https://user:password@127.0.0.1/up",
    "no host": "https:///up",
    "no scheme": "//127.0.0.1/up",
    "a path": "/up?token=0123456789",
    "nothing": "",
    "a port that is none": "https://127.0.0.1:99999/up",
    "a broken host": "https://[::1/up",
    "a host that is none": "https://a..b/up",
    "a line break": "https://127.0.0.1/up\r\nX-Evil: 1",
    "a space": "https://127.0.0.1/up load",
    "no ascii": "https://127.0.0.1/úp",
}


@pytest.mark.parametrize("what", REFUSED)
async def test_an_address_that_may_not_be_trusted_is_refused_before_anything_is_sent(what):
    async with serve(OK) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match="an upload address that is not taken") as caught:
            await client.transport.send_to(REFUSED[what], body=b"x")

    assert caught.value.code == "bad_upload_url"
    assert "0123456789" not in str(caught.value)
    assert caught.value.__context__ is None
    assert server.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_plain_http_on_loopback_is_taken_where_the_account_speaks_it_too(host, self_signed):
    async with serve(OK) as server:
        url = server.url.replace("127.0.0.1", host) + "/up"
        async with here(server.url) as client:
            await client.transport.send_to(url, body=b"x")
        async with here("https://api.invalid") as client:
            with pytest.raises(ProviderPermanentError) as caught:
                await client.transport.send_to(url, body=b"x")

    assert caught.value.code == "bad_upload_url"
    assert len(server.asked) == 1


async def test_https_is_taken_wherever_it_leads(self_signed):
    async with serve(OK, ssl=self_signed.server) as server:
        async with here("http://127.0.0.1:9", http=Http(ca_file=self_signed.ca_file)) as client:
            got = await client.transport.send_to(f"{server.url}/up#part", method="PUT", body=b"x")

    assert got.body == b'{"ok":true}'
    assert (server.asked[0].method, server.asked[0].target) == ("PUT", "/up")


ECHO = f"no upload {UPLOAD_ID} at /up/secret-path?upload_id={UPLOAD_ID}"
FAILURES = {
    "an echo": answer(json.dumps({"error": {"message": ECHO, "code": UPLOAD_ID}}).encode(), 404),
    "an echo as text": answer(ECHO.encode(), 500, content_type="text/plain"),
    "a refusal": answer(ECHO.encode(), 403),
    "a redirect": answer(b"", 307, f"Location: /up/secret-path?upload_id={UPLOAD_ID}&again=1"),
    "a hang-up": hang_up,
    "a reset": reset,
    "no HTTP": closing(b"SSH-2.0\r\n\r\n"),
    "a cut body": closing(answer(b'{"id":"x"}' * 9)[:-20]),
    "silence": silence,
}


@pytest.mark.parametrize("fault", FAILURES)
async def test_an_address_that_the_server_gave_is_shown_nowhere_but_for_its_host(fault, caplog):
    caplog.set_level(logging.DEBUG)
    http = Http(read_s=0.2, control_total_s=0.2) if fault == "silence" else Http()
    async with serve(FAILURES[fault]) as server, here(server.url, http=http, retry=Retry(attempts=1)) as client:
        with pytest.raises((ProviderPermanentError, ProviderTransientError)) as caught:
            await client.transport.send_to(f"{server.url}/up/secret-path?upload_id={UPLOAD_ID}", body=Pieces(b"x"))

    error = caught.value
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    ours = "".join(
        f"{frame.locals}" for frame in frames if "asyncbatch" in frame.filename and "tests" not in frame.filename
    )
    everything = f"{error} {error!r} {vars(error)} {ours} {caplog.text}"
    assert UPLOAD_ID not in everything
    assert "secret-path" not in everything
    assert "127.0.0.1" in str(error)
    assert error.__context__ is None
    assert error.hint is None, "neither the key nor the base URL is at fault"
    assert len(server.asked) == 1, "and no redirect is followed"


async def test_a_call_to_an_address_that_the_server_gave_is_repeated_unless_the_caller_says_no():
    async with serve(BUSY, hang_up, OK) as server, here(server.url) as client:
        await client.transport.send_to(f"{server.url}/up", body=Pieces(b"x"))
        server.answers = [BUSY]
        with pytest.raises(ProviderTransientError, match="busy"):
            await client.transport.send_to(f"{server.url}/up", body=Pieces(b"x"), retry=False)

    assert len(server.asked) == 4


async def test_a_strangers_clock_is_not_taken_for_the_providers():
    late = answer(b"{}", 200, "Date: Thu, 01 Jan 1970 00:00:00 GMT")
    async with serve(late) as server, here(server.url) as client:
        await client.transport.send_to(f"{server.url}/up", body=b"x")
        stranger = client.transport.lead_s
        await client.transport.ask("/x")

    assert stranger == 0
    assert client.transport.lead_s > 0


# Parts of a body


async def read(body):
    return b"".join([piece async for piece in body.chunks()])


@pytest.mark.parametrize(("offset", "size"), [(0, 0), (0, 10), (3, 4), (9, 1), (10, 0), (2, 3), (0, 3), (3, 7)])
async def test_a_part_is_the_same_of_a_body_in_the_spool_and_of_any_other(offset, size):
    async with here("http://127.0.0.1:9") as client:
        file = client.new_file()
        file.append(b"..0123456789..")
        parts = BlobSlice(file.view(2, 10), offset, size), BlobSlice(Pieces(b"012", b"3456", b"789"), offset, size)
        found = [await read(part) for part in parts]

    assert found == [b"0123456789"[offset : offset + size]] * 2
    assert [part.size for part in parts] == [size] * 2


async def test_of_a_body_that_gives_any_part_of_itself_nothing_else_is_read():
    class Sliceable(Pieces):
        def slice(self, offset, size):
            return Pieces(b"0123456789"[offset : offset + size])

        def chunks(self):
            raise AssertionError("the whole body")

    assert await read(BlobSlice(Sliceable(b"0123456789"), 3, 4)) == b"3456"


async def test_of_any_other_body_nothing_is_read_behind_the_part():
    class Long(Pieces):
        async def chunks(self):
            yield b"01234"
            raise AssertionError("what stands behind")

    assert await read(BlobSlice(Long(b"0123456789"), 1, 4)) == b"1234"


@pytest.mark.parametrize(("offset", "size"), [(-1, 2), (0, 11), (10, 1), (3, -1)])
def test_what_is_no_part_of_a_body_is_refused(offset, size):
    with pytest.raises(ValueError, match="are no part of 10"):
        BlobSlice(Pieces(b"0123456789"), offset, size)
