"""A download is whole or it is made again: nothing is cut in silence, decoded on the way, or carried to a stranger.

Truncation follows the matrix of reliability.md, section 9 (T9); hostile servers T10.
"""

import asyncio
import json
import socket

import aiohttp
import anyio
import pytest
from aioresponses import aioresponses
from yarl import URL

from asyncbatch import Http, ProviderPermanentError, ProviderTransientError, Retry, StorageError
from asyncbatch.transport.sessions import Sessions
from tests.transport.wire import KEY, answer, closing, hang_up, here, reset, serve, silence

LINES = b"".join(b'{"custom_id":"row-%d","text":"%s"}\n' % (n, b"x" * 100) for n in range(400))
WHOLE = answer(LINES, content_type="application/octet-stream")
HEAD = WHOLE[: WHOLE.index(b"\r\n\r\n") + 4]
ONCE = Retry(attempts=1)
CUTS = {
    "nothing": 0,
    "a byte": 1,
    "half": len(LINES) // 2,
    "nearly all": len(LINES) - 50,
    "all but a byte": len(LINES) - 1,
}


def chunked(body, size=1000, *, end=b"0\r\n\r\n"):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def by_length(kept):
    return HEAD + LINES[:kept]


def by_chunks(kept):
    return chunked(LINES[:kept], end=b"")


def in_a_chunk(kept):
    return chunked(LINES, size=len(LINES), end=b"")[
        : len(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n") + kept
    ]


def by_closing(kept):
    return b"HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n" + LINES[:kept]


async def test_a_file_comes_as_it_is():
    async with serve(WHOLE) as server, here(server.url) as client:
        got = await client.fetch()

    assert got == LINES
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("GET", "/v1/files/file-1/content")
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["authorization"] == f"Bearer {KEY}"


async def test_a_file_in_chunks_comes_as_it_is():
    async with serve(chunked(LINES)) as server, here(server.url) as client:
        assert await client.fetch() == LINES


async def test_a_file_that_ends_with_the_connection_is_taken_if_it_ends_with_a_line():
    async with serve(closing(by_closing(len(LINES)))) as server, here(server.url) as client:
        assert await client.fetch() == LINES


@pytest.mark.parametrize("kept", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("framed", [by_length, by_chunks, in_a_chunk, by_closing])
async def test_a_cut_file_is_fetched_again_from_its_start(framed, kept):
    async with serve(closing(framed(kept)), closing(framed(kept)), WHOLE) as server, here(server.url) as client:
        got = await client.fetch()

    assert got == LINES
    assert server.count("GET") == 3
    assert len(client.clock.slept_s) == 2
    assert "range" not in server.asked[-1].headers


@pytest.mark.parametrize("kept", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("framed", [by_length, by_chunks, in_a_chunk, by_closing])
async def test_a_file_that_stays_cut_is_an_error_and_never_a_shorter_file(framed, kept):
    async with serve(closing(framed(kept))) as server, here(server.url, retry=Retry(attempts=3)) as client:
        with pytest.raises(ProviderTransientError, match="openai: GET /files/file-1/content failed"):
            await client.fetch()

    assert server.count("GET") == 3


@pytest.mark.parametrize(
    ("coding", "shown"),
    [
        ("br", "'br'"),
        ("zstd", "'zstd'"),
        ("x-own", "'x-own'"),
        ("gzip, gzip", "'gzip, gzip'"),
        ("x" * 41, "of 41 letters"),
    ],
)
async def test_a_coding_that_we_do_not_know_is_refused(coding, shown):
    async with serve(answer(LINES, 200, f"Content-Encoding: {coding}")) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match=f"coding {shown} though") as caught:
            await client.fetch()

    assert caught.value.code == "unfit_answer"
    assert server.count("GET") == 1, "it would be no other the next time"


async def test_a_coding_that_says_identity_is_none():
    async with serve(answer(LINES, 200, "Content-Encoding: Identity")) as server, here(server.url) as client:
        assert await client.fetch() == LINES


async def test_a_length_that_the_wire_did_not_enforce_is_compared_all_the_same():
    with aioresponses() as server:  # which knows no framing, as a middleware of an application may not
        server.get(
            "http://127.0.0.1:9/v1/files/file-1/content", body=LINES, headers={"Content-Length": str(len(LINES) + 1)}
        )
        async with here("http://127.0.0.1:9", retry=ONCE) as client:
            with pytest.raises(ProviderTransientError, match=rf"{len(LINES)} bytes came of {len(LINES) + 1}"):
                await client.fetch()


# Slow and hostile servers


async def test_a_file_that_drips_is_given_up_by_the_clock():
    async def drip(talk, asked):
        await talk.say(HEAD)
        while not talk.writer.is_closing():
            await talk.say(b"x" * 10)
            client.clock.advance(5)
            await asyncio.sleep(0)

    async with serve(drip, WHOLE) as server, here(server.url) as client:
        started = client.clock.now()
        got = await client.fetch()
        spent = client.clock.now() - started

    assert got == LINES
    assert server.count("GET") == 2
    assert spent <= 60


async def test_a_file_that_is_slow_but_moves_is_waited_for():
    async def amble(talk, asked):
        await talk.say(HEAD)
        for at in range(0, len(LINES), 10_000):
            await talk.say(LINES[at : at + 10_000])
            client.clock.advance(10)
            await asyncio.sleep(0.001)

    async with serve(amble) as server, here(server.url) as client:
        assert await client.fetch() == LINES
    assert server.count("GET") == 1


@pytest.mark.parametrize("start", [b"", HEAD + LINES[:1000]], ids=["before the answer", "in the middle"])
async def test_a_file_that_falls_silent_is_given_up(start):
    async def stop(talk, asked):
        await talk.say(start)
        await silence(talk, asked)

    async with serve(stop, WHOLE) as server, here(server.url, http=Http(read_s=0.3)) as client:
        assert await client.fetch() == LINES

    assert server.count("GET") == 2


async def test_early_hints_without_end_are_given_up():
    async def hints(talk, asked):
        while not talk.writer.is_closing():
            await talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            await asyncio.sleep(0.01)

    async with serve(hints, WHOLE) as server, here(server.url, http=Http(header_s=0.3)) as client:
        assert await client.fetch() == LINES


async def test_a_file_larger_than_the_cap_is_refused():
    async with serve(WHOLE) as server, here(server.url, http=Http(file_bytes=1000)) as client:
        with pytest.raises(
            ProviderPermanentError, match=r"larger than 1000 bytes, the cap of Http\(file_bytes"
        ) as caught:
            await client.fetch()

    assert caught.value.code == "unfit_answer"
    assert server.count("GET") == 1


async def test_a_connection_that_breaks_is_made_again():
    async with serve(hang_up, reset, closing(b"HTTP/1.1 2"), WHOLE) as server, here(server.url) as client:
        assert await client.fetch() == LINES

    # aiohttp itself asks once more where a GET was dropped without an answer.
    assert server.count("GET") >= 4


async def test_a_file_that_is_not_there_is_a_permanent_error_in_the_providers_words():
    body = (
        b'{"error":{"message":"No such File object: file-1","type":"invalid_request_error","param":"id","code":null}}'
    )
    async with serve(answer(body, 404)) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match="No such File object") as caught:
            await client.fetch()

    assert caught.value.status == 404
    assert server.count("GET") == 1


async def test_a_busy_server_is_asked_again_when_it_said():
    async with serve(answer(b"{}", 503, "Retry-After: 7"), WHOLE) as server, here(server.url) as client:
        assert await client.fetch() == LINES

    (waited,) = client.clock.slept_s
    assert 7 <= waited < 7.5


# What a download that fails leaves behind

LONG = LINES * 20
BATCH = json.dumps({"id": "batch_1", "status": "completed", "output_file_id": "file-1"}).encode()


def noted(provider):
    """Note the bodies that a provider makes."""
    made, new_file = [], provider.new_file
    provider.new_file = lambda: made.append(new_file()) or made[-1]
    return made


async def test_what_came_of_a_file_that_was_cut_is_given_back():
    cut = closing(answer(LONG)[:-10])
    async with serve(answer(BATCH), cut) as server, here(server.url, retry=ONCE) as client:
        made = noted(client.provider)
        with pytest.raises(ProviderTransientError, match="GET /files/file-1/content failed"):
            await client.provider.fetch_results("batch_1")

    assert [file.size for file in made] == [0]


async def test_what_came_of_a_file_whose_download_was_cancelled_is_given_back_however_often_it_is_cancelled():
    async def stop(talk, asked):
        await talk.say(answer(LONG)[:-10])
        await silence(talk, asked)

    async with serve(answer(BATCH), stop) as server, here(server.url) as client:
        made = noted(client.provider)

        async def read():
            await client.provider.fetch_results("batch_1")

        task = asyncio.create_task(read())
        with anyio.fail_after(10):
            while not made or not made[0].size:
                await asyncio.sleep(0)
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)

    assert task.cancelled()
    assert [file.size for file in made] == [0]


# Our own disk


class FullDisk:
    """A sink that cannot be written any more."""

    size = 0

    def append(self, data):
        raise StorageError("the disk is full")

    def flush(self):
        pass

    def clear(self):
        pass


async def test_a_full_disk_is_no_error_of_the_wire_and_nothing_is_fetched_again():
    async with serve(WHOLE) as server, here(server.url) as client:
        with pytest.raises(StorageError, match="the disk is full"):
            await client.transport.download("/files/file-1/content", FullDisk())

    assert server.count("GET") == 1
    assert client.clock.slept_s == []


# Redirects


def to(location, status=302):
    return answer(b"", status, f"Location: {location}")


SECRETS = ("authorization", "api-key", "x-api-key", "openai-organization", "x-gateway")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_origin_is_followed_without_any_credential(status):
    headers = {"api-key": KEY, "x-gateway": "token-of-a-gateway"}
    async with serve(WHOLE) as stranger, serve(to(f"{stranger.url}/blob?sig=1", status)) as server:
        async with here(server.url, config={"headers": headers, "organization": "org-1"}) as client:
            got = await client.fetch()

    (asked,) = stranger.asked
    assert got == LINES
    assert asked.target == "/blob?sig=1"
    assert set(asked.headers) == {"host", "user-agent", "accept", "accept-encoding"}
    assert all(name in server.asked[0].headers for name in SECRETS if name != "x-api-key")
    assert KEY not in str(asked)


async def test_a_credential_does_not_come_back_after_a_detour():
    async with serve(b"") as stranger, serve(b"") as server:
        server.answers = [to(f"{stranger.url}/a"), WHOLE]
        stranger.answers = [to(f"{server.url}/v1/files/file-2/content")]
        async with here(server.url) as client:
            assert await client.fetch() == LINES

    first, second = server.asked
    assert "authorization" in first.headers
    assert "authorization" not in second.headers


async def test_a_redirect_within_the_origin_keeps_the_key():
    async with serve(to("/v1/files/file-2/content?part=a%2Fb"), WHOLE) as server, here(server.url) as client:
        assert await client.fetch() == LINES

    assert server.asked[1].target == "/v1/files/file-2/content?part=a%2Fb"
    assert server.asked[1].headers["authorization"] == f"Bearer {KEY}"


async def test_a_redirect_to_another_port_is_to_a_stranger():
    async with serve(WHOLE) as stranger, serve(to(stranger.url.replace("127.0.0.1", "LOCALHOST"))) as server:
        async with here(server.url) as client:
            assert await client.fetch() == LINES

    assert "authorization" not in stranger.asked[0].headers


@pytest.mark.parametrize("hops", [3, 4])
async def test_three_redirects_are_followed_and_no_fourth(hops):
    async with serve(*[to(f"/hop/{n}") for n in range(hops)], WHOLE) as server:
        async with here(server.url) as client:
            if hops == 3:
                assert await client.fetch() == LINES
            else:
                with pytest.raises(ProviderPermanentError, match="more than 3 redirects"):
                    await client.fetch()

    assert server.count("GET") == 4


async def test_a_loop_of_redirects_ends():
    async with serve(to("/v1/files/file-1/content")) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match="redirects"):
            await client.fetch()

    assert server.count("GET") == 4


NOWHERE = {
    "file": ("file:///etc/passwd", "redirect to file"),
    "ftp": ("ftp://127.0.0.1/x", "redirect to ftp"),
    "javascript": ("javascript:alert(1)", "redirect to javascript"),
    "a port that is none": ("http://127.0.0.1:99999/x", "nowhere"),
    "a broken address": ("http://[::1/x", "nowhere"),
    "a host that is none": ("http://a..b/x", "nowhere"),
    "with a password": ("http://user:password@127.0.0.1:9/x", "credentials of its own"),
}


@pytest.mark.parametrize("where", NOWHERE)
async def test_a_redirect_that_leads_astray_is_not_followed(where):
    location, words = NOWHERE[where]
    async with serve(to(location)) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match=words):
            await client.fetch()

    assert server.count("GET") == 1


async def test_a_redirect_without_an_address_leads_nowhere():
    async with serve(answer(b"", 302)) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match="a redirect to nowhere"):
            await client.fetch()

    assert server.count("GET") == 1


async def test_a_redirect_from_https_to_http_is_not_followed(self_signed):
    async with serve(WHOLE) as plain, serve(to(f"{plain.url}/x"), ssl=self_signed.server) as server:
        async with here(server.url, http=Http(ca_file=self_signed.ca_file)) as client:
            with pytest.raises(ProviderPermanentError, match="a redirect to http, which is not followed"):
                await client.fetch()

    assert plain.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_other_call_follows_a_redirect(status):
    async with serve(b"") as stranger, serve(to(f"{stranger.url}/x", status)) as server, here(server.url) as client:
        for call in (
            client.provider.poll_status("batch_1"),
            client.provider.cancel("batch_1"),
            client.provider.list_statuses(),
            client.transport.delete("/files/file-1"),
            client.provider.upload(await client.prepared()),
        ):
            with pytest.raises(ProviderPermanentError, match="base URL points elsewhere"):
                await call

    assert stranger.asked == []
    assert len(server.asked) == 5


# Ids that steer


STEERING = [
    "../files/file-1",
    "..",
    ".",
    "a/b",
    "batch_1/cancel",
    "%2e%2e/files",
    "batch_1%2Fcancel",
    "batch_1?limit=1",
    "batch_1#x",
    "batch_1\x00",
    "batch_1\r\nX-Evil: 1",
    "batch_1 ",
    " batch_1",
    "\\\\host",
    "bätch",
    "",
    "b" * 256,
    ":batch",
]


@pytest.mark.parametrize("steering", STEERING)
async def test_an_id_that_could_steer_the_address_is_refused_before_anything_is_sent(steering):
    async with serve(answer()) as server, here(server.url) as client:
        submission = (await client.prepared()).replace(input_ref=steering)
        for call in (
            lambda: client.provider.poll_status(steering),
            lambda: client.provider.cancel(steering),
            lambda: client.provider.delete_artifacts(steering),
            lambda: client.provider.fetch_results(steering),
            lambda: client.provider.fence(submission),
        ):
            with pytest.raises(ProviderPermanentError, match="is no id") as caught:
                await call()
            assert caught.value.code == "bad_id"

    assert server.asked == []


@pytest.mark.parametrize(
    ("steering", "words"),
    [
        *((word, "is no id") for word in ("../../v1/models", "file/../x", "file%2e")),
        *((word, "that is not called") for word in ("http://storage.example/x", "file:///etc/passwd")),
    ],
)
async def test_a_file_id_of_the_server_that_could_steer_is_refused(steering, words):
    counts = {"total": 1, "completed": 1, "failed": 0}
    batch = {"id": "batch_1", "status": "completed", "output_file_id": steering, "request_counts": counts}
    async with serve(answer(json.dumps(batch).encode())) as server, here(server.url) as client:
        with pytest.raises(ProviderPermanentError, match=words):
            await client.provider.fetch_results("batch_1")

    assert server.count("GET") == 1


async def test_a_cursor_is_a_value_and_not_a_part_of_the_address():
    async with serve(answer(b'{"data":[]}')) as server, here(server.url) as client:
        await client.provider.list_statuses(cursor="a&limit=9/../?#é")

    assert server.asked[0].target == "/v1/batches?limit=100&after=a%26limit%3D9/../?%23%C3%A9"


# Where a redirect may lead


class Names(aiohttp.abc.AbstractResolver):
    """Every name is this machine: so a server here can have the name of a public host."""

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self):
        pass


def public(url):
    return url.replace("127.0.0.1", "api.example")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "a.localhost", "[::1]", "10.0.0.1", "169.254.169.254", "127.1"]
)
async def test_a_redirect_from_a_public_host_to_an_address_inside_is_not_followed(host):
    async with serve(answer(LINES)) as inside, serve(b"") as server:
        server.answers = [answer(b"", 302, f"Location: {inside.url.replace('127.0.0.1', host)}/latest/meta-data")]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Names())) as session:
            config = {"allow_http": True}
            async with here(public(server.url), session=session, config=config) as client:
                with pytest.raises(ProviderPermanentError, match="an address that is not public"):
                    await client.fetch()

    assert inside.asked == []


async def test_it_is_followed_where_that_is_allowed_and_from_a_host_that_is_inside_itself():
    async with serve(answer(LINES)) as inside, serve(answer(b"", 302, f"Location: {inside.url}/file")) as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Names())) as session:
            options = {"session": session, "config": {"allow_http": True}, "http": Http(allow_private=True)}
            async with here(public(server.url), **options) as client:
                assert await client.fetch() == LINES
        async with here(server.url) as client:
            assert await client.fetch() == LINES


async def test_a_name_that_resolves_to_an_address_inside_leads_nowhere():
    sessions = Sessions()
    await sessions.open()
    try:
        async with serve(answer(LINES)) as inside:
            for home, is_reached in (("https://api.example", False), (inside.url, True)):
                session = sessions.abroad(URL(home), URL(inside.url))
                try:
                    async with session.get(inside.url.replace("127.0.0.1", "localhost")) as got:
                        assert got.status == 200
                    assert is_reached
                except aiohttp.ClientConnectorError:
                    assert not is_reached
    finally:
        await sessions.close()

    assert len(inside.asked) == 1


async def test_a_redirect_to_a_name_that_resolves_to_an_address_inside_is_not_followed(monkeypatch):
    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", Names.resolve)
    async with serve(answer(LINES)) as inside, serve(b"") as server:
        server.answers = [answer(b"", 302, f"Location: {inside.url.replace('127.0.0.1', 'files.example')}/x")]
        async with here(public(server.url), config={"allow_http": True}) as client:
            with pytest.raises(ProviderPermanentError, match=r"files\.example is not a public address") as caught:
                await client.fetch()

    assert (caught.value.code, "allow_private" in caught.value.hint) == ("answers_elsewhere", True)
    assert inside.asked == []
    assert len(server.asked) == 1
