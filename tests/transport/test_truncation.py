"""Nothing that was cut is taken for a whole file: every frame, every coding, every cut (reliability.md, section 9, T9)."""

import gzip
import itertools
import zlib

import pytest

from asyncbatch import Http, ProviderPermanentError, ProviderTransientError, Retry
from tests.transport.wire import answer, closing, here, serve

LINES = b"".join(b'{"custom_id":"row-%d","text":"%s"}\n' % (n, b"x" * (n % 90)) for n in range(4000))
TWICE = Retry(attempts=2)


def bare_deflate(body):
    """What some servers send by the name of deflate: without the two bytes in front, and without a check sum."""
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(body) + compress.flush()


CODINGS = {
    "identity": ("identity", LINES),
    "gzip": ("gzip", gzip.compress(LINES)),
    "gzip in members": ("gzip", gzip.compress(LINES[:70_000]) + gzip.compress(LINES[70_000:])),
    "deflate": ("deflate", zlib.compress(LINES)),
    "bare deflate": ("deflate", bare_deflate(LINES)),
}
CUTS = {
    "nothing": lambda whole: 0,
    "a byte": lambda whole: 1,
    "half": lambda whole: len(whole) // 2,
    "nearly all": lambda whole: len(whole) * 99 // 100,
    "all but a byte": lambda whole: len(whole) - 1,
}


def by_length(name, whole, kept, length=None):
    return answer(whole, 200, f"Content-Encoding: {name}")[: kept - len(whole) or None]


def by_chunks(name, whole, kept):
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: {name}\r\n\r\n".encode()
    pieces = [whole[at : min(at + 1000, kept)] for at in range(0, kept, 1000)]
    end = b"0\r\n\r\n" if kept == len(whole) else b""
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def by_closing(name, whole, kept):
    return f"HTTP/1.0 200 OK\r\nContent-Encoding: {name}\r\n\r\n".encode() + whole[:kept]


FRAMES = [by_length, by_chunks, by_closing]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("coding", CODINGS)
async def test_what_is_whole_comes_as_it_is(frame, coding):
    name, whole = CODINGS[coding]
    async with serve(closing(frame(name, whole, len(whole)))) as server, here(server.url) as client:
        assert await client.fetch() == LINES

    is_proved = frame is not by_closing or name == "deflate"
    assert server.count("GET") == (1 if is_proved else 2)


@pytest.mark.parametrize(("frame", "coding", "cut"), list(itertools.product(FRAMES, CODINGS, CUTS)))
async def test_what_is_cut_is_never_taken(frame, coding, cut):
    name, whole = CODINGS[coding]
    said = closing(frame(name, whole, CUTS[cut](whole)))
    async with serve(said) as server, here(server.url, retry=TWICE) as client:
        with pytest.raises(ProviderTransientError, match="GET /files/file-1/content failed"):
            await client.fetch()

    assert server.count("GET") == 2, "it is asked for again, as often as the policy says"


async def test_a_cut_inside_a_frame_that_is_whole_is_never_taken():
    """A proxy that loses its own source closes the frame properly: aiohttp, httpx and curl take that for the end."""
    for coding in ("gzip", "gzip in members", "deflate", "bare deflate"):
        name, whole = CODINGS[coding]
        for kept in (1, 2, 10, len(whole) // 3, len(whole) - 8, len(whole) - 1):
            said = answer(whole[:kept], 200, f"Content-Encoding: {name}")
            async with serve(said) as server, here(server.url, retry=TWICE) as client:
                with pytest.raises(ProviderTransientError, match="compressed, and was cut off"):
                    await client.fetch()


@pytest.mark.parametrize("coding", ["gzip", "gzip in members", "deflate"])  # the bare one has no check sum
async def test_what_is_damaged_or_followed_by_something_else_is_never_taken(coding):
    name, whole = CODINGS[coding]
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes([whole[middle] ^ 0xFF, whole[middle + 1] ^ 0xFF]) + whole[middle + 2 :]
    for said in (damaged, whole + b"and more", b"no such thing"):
        async with (
            serve(answer(said, 200, f"Content-Encoding: {name}")) as server,
            here(server.url, retry=TWICE) as client,
        ):
            with pytest.raises(ProviderTransientError, match="compressed, and"):
                await client.fetch()


async def test_a_file_that_ends_with_the_connection_has_to_come_twice_alike():
    """Cut at the end of a line, it looks whole: what only one of two readings shows is no file."""
    at_a_line = LINES.index(b"\n", 100_000) + 1
    short, whole = closing(by_closing("identity", LINES, at_a_line)), closing(by_closing("identity", LINES, len(LINES)))
    async with serve(short, whole, whole) as server, here(server.url) as client:
        assert await client.fetch() == LINES

    assert server.count("GET") == 3


async def test_a_gzip_that_ends_with_the_connection_may_lack_members_and_has_to_come_twice_alike():
    """Each member says where it ends, and none that it was the last."""
    at_a_line = LINES.index(b"\n", 100_000) + 1
    first, second = gzip.compress(LINES[:at_a_line]), gzip.compress(LINES[at_a_line:])
    short, whole = (closing(by_closing("gzip", said, len(said))) for said in (first, first + second))
    async with serve(short, whole, whole) as server, here(server.url) as client:
        assert await client.fetch() == LINES

    assert server.count("GET") == 3


async def test_a_file_that_comes_differently_each_time_is_never_taken():
    cuts = [LINES.index(b"\n", 1000 * n) + 1 for n in range(1, 5)]
    said = [closing(by_closing("identity", LINES, cut)) for cut in cuts]
    async with serve(*said) as server, here(server.url, retry=Retry(attempts=1)) as client:
        with pytest.raises(ProviderTransientError, match="differently each time"):
            await client.fetch()

    assert server.count("GET") == 3


async def test_whether_a_file_proved_itself_whole_is_said():
    told = []
    for said in (answer(LINES), closing(by_closing("identity", LINES, len(LINES))), answer(b"")):
        async with serve(said) as server, here(server.url) as client:
            told.append(
                (await client.transport.download("/files/file-1/content", client.new_file()), server.count("GET"))
            )

    assert told == [(True, 1), (False, 2), (False, 2)]


@pytest.mark.parametrize(
    "page", [b"<html>sign in</html>\n", b"\n  <!DOCTYPE html>\n", b"<?xml version='1.0'?><Error/>"]
)
async def test_a_page_in_place_of_the_file_is_never_taken_and_asked_through(page):
    async with serve(answer(page, content_type="text/plain"), answer(LINES)) as server, here(server.url) as client:
        assert await client.fetch() == LINES

    assert server.count("GET") == 2


async def test_a_bomb_is_refused_long_before_it_is_unpacked():
    bomb = gzip.compress(b"\n" * 400_000_000)
    async with serve(answer(bomb, 200, "Content-Encoding: gzip")) as server, here(server.url) as client:
        file = client.new_file()
        with pytest.raises(ProviderPermanentError, match="compressed more than 200 to 1"):
            await client.transport.download("/files/file-1/content", file)

    assert file.size <= 200 * len(bomb)
    assert server.count("GET") == 1


async def test_what_compresses_well_and_is_small_is_taken():
    lines = b'{"custom_id":"a"}\n' * 100_000
    async with serve(answer(gzip.compress(lines), 200, "Content-Encoding: gzip")) as server:
        async with here(server.url, http=Http(inflation=2)) as client:
            assert await client.fetch() == lines


# The rest of a file that broke off: what is not written yet when it does is asked for again

MANY = LINES * 12


def part_of(data, asked, etag='"v1"'):
    """Answer as a server that knows ranges does."""
    start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
    about = f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}"
    return answer(data[start:], 206, about, f"ETag: {etag}", "Accept-Ranges: bytes")


RANGED = answer(MANY, 200, 'ETag: "v1"', "Accept-Ranges: bytes")


async def test_what_broke_off_is_gone_on_with_where_the_server_can_do_that():
    async def rest(talk, asked):
        await talk.say(part_of(MANY, asked))

    break_off = len(RANGED) - len(MANY) // 20  # what is not written yet when it breaks is asked for again
    async with serve(closing(RANGED[:break_off]), rest) as server, here(server.url) as client:
        assert await client.fetch() == MANY

    first, second = server.asked
    assert "range" not in first.headers
    assert 0 < int(second.headers["range"].removeprefix("bytes=").removesuffix("-")) < len(MANY)
    assert second.headers["if-range"] == '"v1"'


async def test_a_file_that_changed_meanwhile_comes_from_its_start():
    changed = MANY.replace(b"row", b"new")
    said = answer(changed, 200, 'ETag: "v2"', "Accept-Ranges: bytes")
    async with serve(closing(RANGED[:-5000]), said) as server, here(server.url) as client:
        assert await client.fetch() == changed


WRONG_PARTS = {
    "another start": lambda size: f"Content-Range: bytes 0-{len(MANY) - 1}/{len(MANY)}",
    "another total": lambda size: f"Content-Range: bytes {size}-{len(MANY)}/{len(MANY) + 1}",
    "no range": lambda size: "X-Nothing: 1",
    "words": lambda size: "Content-Range: bytes */*",
}


@pytest.mark.parametrize("wrong", WRONG_PARTS)
async def test_another_part_than_was_asked_for_is_never_put_behind_what_we_have(wrong):
    async def part(talk, asked):
        start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        await talk.say(answer(MANY[start:], 206, WRONG_PARTS[wrong](start), 'ETag: "v1"'))

    async with serve(closing(RANGED[:-5000]), part, answer(MANY)) as server, here(server.url) as client:
        assert await client.fetch() == MANY

    assert "range" not in server.asked[2].headers, "the rest is not trusted any more: all of it is asked for"


async def test_a_part_of_another_version_and_one_that_is_compressed_are_not_taken():
    async def other(talk, asked):
        await talk.say(part_of(MANY, asked, etag='"v2"'))

    async def coded(talk, asked):
        part = part_of(MANY, asked)
        await talk.say(part.replace(b"ETag", b"Content-Encoding: gzip\r\nETag"))

    for wrong in (other, coded):
        async with serve(closing(RANGED[:-5000]), wrong, answer(MANY)) as server, here(server.url) as client:
            assert await client.fetch() == MANY
        assert len(server.asked) == 3


async def test_a_rest_that_ends_too_early_in_a_frame_that_is_whole_is_not_taken():
    async def short(talk, asked):
        start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
        rest = MANY[start : MANY.rindex(b"\n", start, -1) + 1]
        about = f"Content-Range: bytes {start}-{len(MANY) - 1}/{len(MANY)}\r\nTransfer-Encoding: chunked"
        await talk.say(f"HTTP/1.1 206 Part\r\n{about}\r\n\r\n{len(rest):x}\r\n".encode() + rest + b"\r\n0\r\n\r\n")

    async with serve(closing(RANGED[:-5000]), short, answer(MANY)) as server, here(server.url) as client:
        assert await client.fetch() == MANY

    assert len(server.asked) == 3


async def test_a_part_that_nobody_asked_for_is_not_taken():
    said = answer(MANY, 206, f"Content-Range: bytes 0-{len(MANY) - 1}/{len(MANY)}")
    async with serve(said) as server, here(server.url, retry=TWICE) as client:
        with pytest.raises(ProviderTransientError, match="another part of the file"):
            await client.fetch()


async def test_where_the_rest_cannot_be_had_alone_all_of_it_is_asked_for():
    async with serve(closing(RANGED[:-5000]), answer(b"", 416), answer(MANY)) as server, here(server.url) as client:
        assert await client.fetch() == MANY

    assert ["range" in asked.headers for asked in server.asked] == [False, True, False]


async def test_a_server_that_is_busy_in_between_does_not_cost_what_we_have():
    async def rest(talk, asked):
        await talk.say(part_of(MANY, asked))

    async with serve(closing(RANGED[:-5000]), answer(b"{}", 503), rest) as server, here(server.url) as client:
        assert await client.fetch() == MANY

    assert ["range" in asked.headers for asked in server.asked] == [False, True, True]


@pytest.mark.parametrize("tag", ['ETag: W/"v1"', "X-Nothing: 1", "ETag: v1", 'ETag: "a\tb"'])
async def test_without_a_strong_tag_it_comes_from_its_start(tag):
    said = answer(MANY, 200, tag, "Accept-Ranges: bytes")
    async with serve(closing(said[:-5000]), answer(MANY)) as server, here(server.url) as client:
        assert await client.fetch() == MANY

    assert "range" not in server.asked[1].headers


async def test_a_rest_that_is_cut_again_is_gone_on_with():
    async def cut(talk, asked):
        await talk.say(part_of(MANY, asked)[:-1000])
        talk.hang_up()

    async def rest(talk, asked):
        await talk.say(part_of(MANY, asked))

    async with serve(closing(RANGED[:-5000]), cut, rest) as server, here(server.url) as client:
        assert await client.fetch() == MANY

    assert len(server.asked) == 3


async def test_a_stream_of_rows_says_whether_its_files_proved_themselves_whole():
    batch = (
        b'{"id":"batch_1","object":"batch","status":"completed","output_file_id":"file-1","input_file_id":"file-in"}'
    )
    for said, is_verified in ((answer(LINES), True), (closing(by_closing("identity", LINES, len(LINES))), False)):
        async with serve(answer(batch), said) as server, here(server.url) as client:
            stream = client.provider.fetch_results("batch_1")
            rows = [row async for row in stream]

        assert len(rows) == 4000
        assert stream.is_verified is is_verified
