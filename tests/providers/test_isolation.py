"""A bad row costs itself alone: for each provider every field that is read is given everything that it should not be.

A file of three answers goes through the splitter, the provider's decoder and the account of the requests, as it does in a job.
"""

import json
from functools import partial

import msgspec
import pytest

from asyncbatch.catalog import load_catalog
from asyncbatch.codec.jsonl import LineSplitter
from asyncbatch.dto import ProviderResultRow
from asyncbatch.engine.ledger import Ledger
from asyncbatch.enums import ResultStatus
from asyncbatch.planning.expecting import History, Sight, first_sight, left_s
from asyncbatch.providers import anthropic_provider
from asyncbatch.providers._shapes import gemini, mistral, openai
from asyncbatch.providers._shapes.openai_lines import decode_line, decode_lines
from asyncbatch.spool import SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime
from asyncbatch.wire_provider import UNREADABLE

CATALOG = load_catalog()
R = ResultStatus


CHAT = {
    "id": "c-1",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi", "tool_calls": []}, "finish_reason": "stop"}
    ],
    "usage": {
        "prompt_tokens": 4,
        "completion_tokens": 2,
        "total_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
}
CALLING = {
    "id": "c-1",
    "choices": [
        {
            "message": {
                "content": [{"type": "text", "text": "hi"}],
                "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            }
        }
    ],
}
MESSAGE = {
    "id": "msg-1",
    "type": "message",
    "content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
    "usage": {
        "input_tokens": 4,
        "output_tokens": 2,
        "cache_creation_input_tokens": 1,
        "cache_read_input_tokens": 1,
        "output_tokens_details": {"thinking_tokens": 1},
    },
}
GENERATED = {
    "candidates": [
        {"content": {"parts": [{"text": "hi"}, {"functionCall": {"id": "t", "name": "f", "args": {"a": 1}}}]}}
    ],
    "usageMetadata": {
        "promptTokenCount": 4,
        "toolUsePromptTokenCount": 1,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 1,
        "cachedContentTokenCount": 1,
        "totalTokenCount": 7,
    },
}
RESPONSE = {
    "id": "r-1",
    "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "t", "name": "f", "arguments": "{}"},
    ],
    "usage": {"input_tokens": 4, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}},
}
VECTORS = {"data": [{"index": 0, "embedding": [0.5, 1.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
FAULT = {"message": "No.", "type": "invalid_request_error", "param": None, "code": "bad"}


def answered(body, status=200):
    return {
        "id": "b-1",
        "custom_id": "w-1",
        "response": {"status_code": status, "request_id": "r-1", "body": body},
        "error": None,
    }


def never_ran(error):
    return {"id": "b-1", "custom_id": "w-1", "response": None, "error": error}


def result(**fields):
    return {"custom_id": "w-1", "result": fields}


def openai_line(line, **words):
    """Read a line by itself, and among others, where those that are as most are go together: to the same row."""
    alone, (before, among, after) = decode_line(line, **words), decode_lines([GOOD, line, GOOD], **words)
    assert among == alone or "recursion" in f"{among.error} {alone.error}"  # whose limit also counts who calls
    assert before == after == decode_line(GOOD, **words)
    return alone


GOOD = json.dumps(answered(CHAT)).encode()
DECODERS = {
    "openai": partial(openai_line, facts=CATALOG.provider("openai")),
    "anthropic": partial(anthropic_provider.decode_line, facts=CATALOG.provider("anthropic")),
    "gemini": partial(gemini.decode_line, facts=CATALOG.provider("gemini")),
    "mistral": partial(mistral.decode_line, facts=CATALOG.provider("mistral")),
}
LINES = {
    "openai chat": ("openai", "openai.chat", answered(CHAT)),
    "openai tools": ("openai", "openai.chat", answered(CALLING)),
    "openai responses": ("openai", "openai.responses", answered(RESPONSE)),
    "openai embedding": ("openai", "openai.embedding", answered(VECTORS)),
    "openai refusal": ("openai", "openai.chat", answered({"error": FAULT}, 400)),
    "openai never ran": ("openai", "openai.chat", never_ran({"code": "batch_expired", "message": "Too late."})),
    "anthropic": ("anthropic", None, result(type="succeeded", message=MESSAGE)),
    "anthropic error": (
        "anthropic",
        None,
        result(type="errored", error={"type": "error", "error": FAULT, "request_id": "r-1"}),
    ),
    "anthropic expired": ("anthropic", None, result(type="expired")),
    "gemini": ("gemini", "gemini.generate", {"key": "w-1", "response": GENERATED}),
    "gemini of any kind": ("gemini", "", {"key": "w-1", "response": {"embedding": {"values": [0.5]}}}),
    "gemini inline": (
        "gemini",
        "gemini.generate",
        {"position": 1, "metadata": {"key": "w-1"}, "response": GENERATED},
    ),
    "gemini error": (
        "gemini",
        "gemini.generate",
        {"key": "w-1", "error": {"code": 3, "message": "No.", "status": "X"}},
    ),
    "mistral chat": ("mistral", "mistral.chat", answered(CHAT)),
    "mistral embedding": ("mistral", "mistral.embedding", answered(VECTORS)),
    "mistral refusal": ("mistral", "mistral.chat", answered(json.dumps(FAULT), 400)),
    "mistral error": ("mistral", "mistral.chat", never_ran(FAULT)),
}


def decoder_of(case):
    name, format_, _ = LINES[case]
    return DECODERS[name] if format_ is None else partial(DECODERS[name], format=format_)


# What a value may be instead

VALUES = {
    "null": b"null",
    "true": b"true",
    "an empty text": b'""',
    "a text": b'"w-9"',
    "a list": b'[{"a":1},null,[]]',
    "an empty object": b"{}",
    "an object": b'{"id":{"id":1},"code":[],"message":{},"text":[],"key":[]}',
    "0": b"0",
    "below nothing": b"-7",
    "half": b"1.5",
    "63 bits": b"9223372036854775807",
    "64 bits": b"18446744073709551615",
    "65 bits": b"36893488147419103232",
    "below 64 bits": b"-9223372036854775809",
    "30 digits": b"9" * 30,
    "30 digits in a text": b'"' + b"9" * 30 + b'"',
    "4,000 digits": b"9" * 4000,
    "5,000 digits": b"9" * 5000,
    "5,000 digits in a text": b'"' + b"9" * 5000 + b'"',
    "5,000 digits and a half": b"9" * 5000 + b".5",
    "a number beyond all": b"1e999",
    "a number too near to nothing": b"1e-5000",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "half a pair": b'"\\ud83d"',
    "the other half": b'"x\\udc00y"',
    "half a pair in bytes": b'"\xed\xa0\xbd"',
    "no UTF-8": b'"\xff\xfe\xc0\xaf"',
    "a cut character": b'"\xf0\x9f\x98"',
    "a mark of order": b'"\xef\xbb\xbfhi"',
    "what some take for new lines": '"a\u2028b\u2029c\u0085d"'.encode(),
    "VT and FF": b'"a\x0bb\x0cc"',
    "a bare CR": b'"a\rb"',
    "NUL": b'"a\x00b"',
    "an escaped NUL": b'"a\\u0000b"',
    "an unknown escape": b'"\\x41"',
    "a text without an end": b'"abc',
    "one comma too many": b"[1,]",
    "a key twice": b'{"a":1,"a":2}',
    "a comment": b"/* */1",
    "nothing": b"",
}
NO_JSON = (
    *("NaN", "Infinity", "half a pair in bytes", "no UTF-8", "a cut character", "VT and FF", "a bare CR", "NUL"),
    *("an unknown escape", "a text without an end", "one comma too many", "a comment"),
)
"""Which of them make no JSON of the line, wherever in it they stand."""
ENDINGS = tuple(f" is {what}" for what in NO_JSON)
BRACKETS = {"lists": (b"[", b"]"), "objects": (b'{"a":', b"}")}
DEPTHS = (100, 500, *range(850, 1100, 10), 100_000)
"""Those in the middle are about as deep as Python goes: a little less far down the stack than a little further up."""
DEEP = {
    f"{depth} {kind}": opening * depth + b"1" + closing * depth
    for kind, (opening, closing) in BRACKETS.items()
    for depth in DEPTHS
}


def places_in(value, path=()):
    """Give the way to everything that a document holds."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places_in(child, (*path, key))


def with_at(value, path, new):
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = with_at(value[path[0]], path[1:], new)
    return copied


def spoilt(document, values):
    """Give a line for each place in a document and each value that it should not have."""
    for path in places_in(document):
        hole = json.dumps(with_at(document, path, "@hole@")).encode()
        for what, value in values.items():
            yield f"{'.'.join(map(str, path)) or 'all of it'} is {what}", hole.replace(b'"@hole@"', value)


def neighbours(case):
    """Give the same answer to the request before and to the one after."""
    line = json.dumps(LINES[case][2]).encode()
    return tuple(
        line.replace(b"w-1", b"w-%d" % number).replace(b'"position": 1', b'"position": %d' % number)
        for number in (0, 2)
    )


def through(case, data, piece=4096):
    """Read a file of answers as a job does."""
    splitter, decode = LineSplitter(max_line_bytes=2**20), decoder_of(case)
    lines = [line for at in range(0, len(data), piece) for line in splitter.feed(data[at : at + piece])]
    return [(line, decode(line)) for line in [*lines, *splitter.end()]]


def settled(rows):
    """Enter rows into the account of three requests, and give their outcomes as users read them."""
    ledger, ids = Ledger(3, SpoolSpace(virtual_runtime()).new()), ["mine-0", "mine-1", "mine-2"]
    for row in rows:
        ledger.add([row], lambda rows: [{"w-0": 0, "w-1": 1, "w-2": 2}.get(row.request_id) for row in rows], ids)
    ledger.close(lambda _, own: ProviderResultRow(request_id=own, status=R.MISSING), ids)
    found, offset = [], 0
    while offset < ledger.size:
        piece, offset = ledger.read(offset)
        found += piece
    return {row.request_id: row for row in found}, ledger


def looked_at(row):
    """Read all that a row gives; what is not JSON is an error where its words say so."""
    repr(row)
    readings = [row.text, row.tool_calls, row.embedding, row.embeddings, row.usage, row.error]
    for read, error in ((lambda: row.response, msgspec.DecodeError), (row.decode, ValueError)):
        try:
            readings.append(read())
        except error:
            readings.append(None)
    return readings


@pytest.mark.parametrize("values", [VALUES, DEEP], ids=["values", "depths"])
@pytest.mark.parametrize("case", LINES)
def test_whatever_a_field_holds_costs_its_own_row_alone(case, values):
    before, after = neighbours(case)
    good, _ = settled([row for _, row in through(case, before + b"\n" + after)])
    for what, line in spoilt(LINES[case][2], values):
        read = through(case, b"\n".join([before, line, after]) + b"\n")
        rows, ledger = settled([row for _, row in read])

        assert rows["mine-0"] == good["mine-0"], what
        assert rows["mine-2"] == good["mine-2"], what
        assert len(rows) == 3, what
        for raw, row in read:
            if row.status is R.UNDECODABLE:
                assert bytes(row.body) == raw == line, what
        spoilt_one = rows["mine-1"]
        assert not what.endswith(ENDINGS) or spoilt_one.status in (R.UNDECODABLE, R.MISSING), what
        looked_at(spoilt_one)
        assert all(0 <= count < 2**63 for count in msgspec.structs.astuple(ledger.usage)), what


LINE_FAULTS = {
    "nothing": b"",
    "blanks": b" \t \r",
    "a word": b"null",
    "a list": b"[]",
    "a page": b"<html><body>Bad gateway</body></html>",
    "NULs": b"\x00" * 100,
    "a mark of order": b"\xef\xbb\xbf",
    "all bytes": bytes(byte for byte in range(256) if byte != 0x0A),
    "an open bracket": b"{",
    "100,000 brackets": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "5,000 digits": b"9" * 5000,
}


@pytest.mark.parametrize("what", LINE_FAULTS)
@pytest.mark.parametrize("case", ["openai chat", "anthropic", "gemini", "mistral chat"])
def test_a_line_that_is_none_costs_nobody_anything(case, what):
    before, after = neighbours(case)
    read = through(case, b"\n".join([before, LINE_FAULTS[what], after]), piece=1000)
    rows, _ = settled([row for _, row in read])

    assert [rows[own].status for own in ("mine-0", "mine-1", "mine-2")] == [R.SUCCEEDED, R.MISSING, R.SUCCEEDED]
    assert all(bytes(row.body) == raw for raw, row in read if row.status is R.UNDECODABLE)


@pytest.mark.parametrize("case", LINES)
def test_a_line_that_is_damaged_as_a_whole_costs_itself_alone(case):
    before, after = neighbours(case)
    line = json.dumps(LINES[case][2]).encode()
    good, _ = settled([row for _, row in through(case, before + b"\n" + after)])
    damaged = {
        "two on one line": line + line,
        "two on one line, with a blank": line + b" " + line,
        "something behind it": line + b"}",
        "a mark of order before it": b"\xef\xbb\xbf" + line,
        "a bare CR before it": b"\r" + line,
        "a CR behind it": line + b"\r",
        "a bare CR within": line[:1] + b"\r" + line[1:],
        "U+2028 before it": "\u2028".encode() + line,
        "beyond the cap": line[:-1] + b" " * 2**20 + b"}",
        "a key twice": line[:-1] + b"," + line[1:],
        "its id twice": b'{"custom_id":"w-0","key":"w-0",' + line[1:],
        **{f"cut at {at}": line[:at] for at in range(1, len(line), 7)},
    }
    for what, bad in damaged.items():
        for data in (b"\n".join([before, bad, after]) + b"\n", b"\n".join([before, after, bad])):
            read = through(case, data)
            rows, _ = settled([row for _, row in read])

            assert rows["mine-0"] == good["mine-0"], what
            assert rows["mine-2"] == good["mine-2"], what
            for raw, row in read:
                assert row.status is not R.UNDECODABLE or bytes(row.body) == raw, what
            looked_at(rows["mine-1"])


# What a batch says of itself

COUNTS = {"total": 3, "completed": 1, "failed": 1}
STATES = {
    "openai": {
        "id": "batch_1",
        "object": "batch",
        "status": "in_progress",
        "endpoint": "/v1/chat/completions",
        "created_at": 1795300010,
        "expires_at": 1795386410,
        "request_counts": COUNTS,
        "metadata": {"asyncbatch_tag": "t"},
        "output_file_id": "f-1",
        "error_file_id": None,
        "input_file_id": "f-0",
        "errors": {"object": "list", "data": [{"code": "c", "message": "m", "line": 1, "param": "p"}]},
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    },
    "anthropic": {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {"processing": 2, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2026-11-22T10:00:00.123456Z",
        "expires_at": "2026-11-23T10:00:00Z",
        "ended_at": None,
        "results_url": None,
    },
    "gemini": {
        "name": "batches/b-1",
        "metadata": {
            "@type": "t",
            "model": "models/m",
            "displayName": "t",
            "state": "BATCH_STATE_RUNNING",
            "createTime": "2026-11-22T10:00:00.1Z",
            "inputConfig": {"fileName": "files/f-0"},
            "batchStats": {"requestCount": "3", "successfulRequestCount": "1", "failedRequestCount": "1"},
            "output": {"responsesFile": "files/f-1"},
        },
        "done": False,
        "error": {"code": 3, "message": "m", "status": "s"},
    },
    "mistral": {
        "id": "j-1",
        "object": "batch",
        "status": "RUNNING",
        "endpoint": "/v1/chat/completions",
        "input_files": ["f-0"],
        "output_file": "f-1",
        "error_file": None,
        "metadata": {"asyncbatch_tag": "t"},
        "errors": [{"message": "m", "count": 1}],
        "created_at": 1795300010,
        "total_requests": 3,
        "succeeded_requests": 1,
        "failed_requests": 1,
        "completed_requests": 2,
    },
}
READERS = {
    "openai": openai.decode_status,
    "anthropic": anthropic_provider.decode_status,
    "gemini": gemini.decode_status,
    "mistral": mistral.decode_status,
}


@pytest.mark.parametrize("values", [VALUES, DEEP], ids=["values", "depths"])
@pytest.mark.parametrize("name", STATES)
def test_whatever_a_batch_says_of_itself_is_read_or_is_unreadable_and_can_be_reckoned_with(name, values):
    facts = CATALOG.provider(name)
    READERS[name](json.dumps(STATES[name]).encode(), facts)
    for what, body in spoilt(STATES[name], values):
        try:
            status = READERS[name](body, facts)
        except UNREADABLE:
            continue
        repr(status)
        kept = msgspec.structs.replace(status, metadata={})  # which is shown as it came, and kept nowhere
        known = msgspec.msgpack.encode(kept), msgspec.json.encode(kept)
        sight = first_sight(Sight(done=0, at=0.0), status.progress, 1.0)
        left = left_s(History(), sight, status.progress, 100.0, 60.0)

        assert all(known), what
        assert left is None or left >= 0, what
