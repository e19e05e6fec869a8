"""What a hostile server may answer, each of it in raw bytes; what has no end goes on until we hang up."""

import asyncio
import zlib

from tests.transport.wire import answer

PIECE = 64 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def endless(start, piece, pause_s=0.0):
    """Say this, and then that for ever."""

    async def say(talk, asked):
        await talk.say(start)
        while not talk.writer.is_closing():
            await talk.say(piece)
            await asyncio.sleep(pause_s)

    return say


def dripping(start, piece):
    """Say this, and then that for ever, a little at a time."""
    return endless(start, piece, pause_s=0.02)


def bomb(mega, kind="gzip"):
    """Compress so many MB of blanks a thousand to one."""
    packer = zlib.compressobj(9, wbits=31 if kind == "gzip" else 15)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(mega)), packer.flush()])


def compressed(body, kind="gzip"):
    return OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (kind.encode(), len(body)) + body


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


BEGUN = b'{"data":[],"id":"'

ANSWERS = {
    "a bomb in gzip": compressed(bomb(32)),
    "a bomb in deflate": compressed(bomb(32, "deflate"), "deflate"),
    "an endless body in chunks": endless(CHUNKED + chunk(BEGUN), chunk(b"x" * PIECE)),
    "an endless body without a length": endless(OK + b"Connection: close\r\n\r\n" + BEGUN, b"x" * PIECE),
    "a body that drips": dripping(CHUNKED + chunk(BEGUN), chunk(b"x")),
    "an answer whose head drips": dripping(OK, b"X-Drip: x\r\n"),
    "early hints without end": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 500),
    "100 Continue without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    "empty lines without end": endless(b"", b"\r\n" * 500),
    "a header of 1 MB": answer(b"{}", 200, "X-Pad: " + "x" * 2**20),
    "a header without end": endless(OK + b"X-Pad: ", b"x" * PIECE),
    "100,000 headers": answer(b"{}", 200, *(f"X-{number}: x" for number in range(100_000))),
    "headers without end": endless(OK, b"X: x\r\n" * 5000),
    "a reason without end": endless(b"HTTP/1.1 200 ", b"x" * PIECE),
    "trailers without end": endless(CHUNKED + chunk(b"{}") + b"0\r\n", b"X: x\r\n" * 5000),
    "the extension of a chunk without end": endless(CHUNKED + b"2;", b"x" * PIECE),
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 12\r\n\r\n{}0123456789",
    "a length twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a length and chunks": OK + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"{}") + chunk(b""),
    "a length below nothing": OK + b"Content-Length: -2\r\n\r\n{}",
    "a length beyond all": OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}",
    "a length of 5,000 digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "chunks of a size that is none": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "chunks of a size below nothing": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
    "a version that is none": b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a status that is none": b"HTTP/1.1 99999 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a NUL in a header": OK + b"X-\x00: \x00\r\nContent-Length: 2\r\n\r\n{}",
    "a page": answer(b"<!doctype html><title>Log in</title>", content_type="text/html"),
    "a picture": answer(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), content_type="image/png"),
    "words": answer(b"it works!\n", content_type="text/plain"),
    "a coding nobody knows": answer(b"{}", 200, "Content-Encoding: x-zip"),
    "five codings": answer(b"{}", 200, "Content-Encoding: gzip, gzip, gzip, gzip, gzip"),
    "levels without end": answer(b'{"data":' + b"[" * 200_000),
    "a number of 5,000 digits": answer(b'{"id":"batch_1","created_at":' + b"9" * 5000 + b"}"),
    "no UTF-8": answer(b'{"id":"\xff\xfe","status":"\xc0\xaf"}'),
    "half a character": answer(b'{"id":"\\ud800","status":"\\ud800"}'),
    "nothing at all": answer(b""),
    "null": answer(b"null"),
    "a list": answer(b"[]"),
    "another shape": answer(b'{"id":{"id":1},"data":{"data":{}},"status":[],"metadata":7}'),
}
