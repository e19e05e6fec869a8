"""Everything that reads what others wrote: it reads, or says that it cannot, and nothing else ever comes out of it."""

import itertools
import math
from functools import partial

import msgspec
import pytest
from hypothesis import strategies as st

from asyncbatch import BatchStatus, ResultStatus, answers, load_catalog
from asyncbatch.answers import ToolCall, UsageInfo
from asyncbatch.codec.errors import ErrorReport, decode_error
from asyncbatch.codec.json_items import ItemCutter
from asyncbatch.codec.jsonl import LineSplitter
from asyncbatch.codec.lines import salvage_id
from asyncbatch.codec.rpc import Fault, decode_count
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import FilePage, ProviderResultRow, ProviderStatus, StatusPage
from asyncbatch.providers import anthropic_provider as anthropic
from asyncbatch.providers._shapes import gemini, mistral, openai, openai_lines, xai
from asyncbatch.wire_provider import UNREADABLE
from tests.fuzz.budget import SIZES, fuzz, run
from tests.fuzz.mutations import BENT, ODD, any_text, bent, bent_bytes
from tests.fuzz.recordings import recording

FACTS = {name: load_catalog().provider(name) for name in ("anthropic", "gemini", "mistral", "openai", "xai")}
FORMATS = (
    *(
        "openai.chat",
        "openai.completion",
        "openai.responses",
        "openai.embedding",
        "anthropic.messages",
        "gemini.generate",
    ),
    *("gemini.embed", "mistral.chat", "mistral.fim", "mistral.embedding", "mistral.ocr", "mistral.transcription"),
)
ANSWERS = [
    {
        "choices": [
            {"message": {"content": "hi", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}}
        ]
    },
    {
        "choices": [
            {
                "text": "hi",
                "message": {"content": [{"type": "text", "text": "hi"}, {"type": "thinking", "thinking": []}]},
            }
        ]
    },
    {
        "usage": {
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "total_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 1},
        }
    },
    {
        "output": [
            {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
            {"type": "function_call", "name": "f"},
        ]
    },
    {"data": [{"index": 1, "embedding": [0.5]}, {"index": 0, "embedding": "AAAAPw=="}]},
    {"content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]},
    {"usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 4}},
    {"candidates": [{"content": {"parts": [{"text": "hi"}, {"functionCall": {"name": "f", "args": {"a": 1}}}]}}]},
    {"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 3}},
    {"embedding": {"values": [0.5]}, "embeddings": [{"values": [1]}], "tokenCount": 7},
    {"pages": [{"markdown": "# hi"}], "text": "hi"},
]


@fuzz(600, body=bent(ANSWERS), format_=st.sampled_from(FORMATS))
def test_what_an_answer_says_is_read_or_is_nothing(body, format_):
    text, calls, usage = answers.text(format_, body), answers.tool_calls(format_, body), answers.usage(format_, body)
    first, vectors = answers.embedding(format_, body), answers.embeddings(format_, body)

    assert text is None or isinstance(text, str)
    assert all(isinstance(call, ToolCall) and isinstance(call.arguments, str) for call in calls)
    assert usage is None or isinstance(usage, UsageInfo)
    assert first == (vectors[0] if vectors else None) or math.nan in first


def samples(*calls):
    """Give what each provider was told, by its name."""
    ways = {
        "anthropic": ["anthropic"],
        "gemini": ["gemini", "gemini file"],
        "mistral": ["mistral"],
        "openai": ["openai"],
        "xai": ["xai"],
    }
    return {name: [body for way in ways[name] for body in recording(way)[0].bodies(*calls)] for name in FACTS}


STATUS = {
    "anthropic": anthropic.decode_status,
    "gemini": gemini.decode_status,
    "mistral": mistral.decode_status,
    "openai": openai.decode_status,
    "xai": partial(xai.decode_status, now=0.0),
}
PAGES = {
    "anthropic": anthropic.decode_page,
    "mistral": partial(mistral.decode_page, page=0, size=2),
    "openai": openai.decode_page,
    "xai": partial(xai.decode_page, now=0.0),
}
FILES = {
    "mistral": partial(mistral.decode_files, page=0, size=2),
    "openai": partial(openai.decode_files, facts=FACTS["openai"]),
    "xai": xai.decode_files,
}
SINGLE = {
    "mistral job": mistral.decode_job,
    "mistral file": mistral.decode_file,
    "xai file": xai.decode_file,
    "xai page": xai.decode_next,
    "openai file": partial(openai.decode_file, facts=FACTS["openai"]),
}
LINES = {
    "anthropic": anthropic.decode_line,
    "gemini": partial(gemini.decode_line, format="gemini.generate"),
    "mistral": partial(mistral.decode_line, format="mistral.chat"),
    "openai": partial(openai_lines.decode_line, format="openai.chat"),
    "xai": xai.decode_line,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STATUS)
def test_a_batch_object_is_read_or_unreadable(name, size):
    def holds(body):
        try:
            status = STATUS[name](body, FACTS[name])
        except UNREADABLE:
            return
        assert isinstance(status, ProviderStatus)
        assert isinstance(status.status, BatchStatus)
        assert isinstance(status.provider_batch_id, str)
        assert all(isinstance(place, str) and place for place in status.result_uris)
        for moment in (status.created_at, status.completed_at, status.expires_at, status.results_expire_at):
            assert moment is None or 0 <= moment < 254_000_000_000, "it can be shown"
        msgspec.json.encode(status)  # the journal keeps it

    run(holds, size, 250, {"body": bent(samples("poll", "cancel")[name])})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_a_list_is_read_or_unreadable(name, size):
    def holds(body):
        try:
            page = PAGES[name](body, FACTS[name])
        except UNREADABLE:
            return
        assert isinstance(page, StatusPage)
        assert page.cursor is None or isinstance(page.cursor, str)

    run(holds, size, 150, {"body": bent(samples("list")[name])})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FILES)
def test_a_list_of_files_is_read_or_unreadable(name, size):
    def holds(body):
        try:
            page = FILES[name](body)
        except UNREADABLE:
            return
        assert isinstance(page, FilePage)
        assert all(isinstance(file.ref, str) for file in page.files)

    run(holds, size, 150, {"body": bent(samples("files")[name])})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SINGLE)
def test_what_else_is_said_of_jobs_and_files_is_read_or_unreadable(name, size):
    def holds(body):
        try:
            SINGLE[name](body)
        except UNREADABLE:
            return

    run(holds, size, 100, {"body": bent(samples("poll", "submit")[name.partition(" ")[0]])})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LINES)
def test_a_line_is_a_row_whatever_is_in_it(name, size):
    rows = [row for _, row in recording("gemini file" if name == "gemini" else name)[0].rows]

    def holds(line):
        row = LINES[name](line, facts=FACTS[name])
        assert isinstance(row, ProviderResultRow)
        assert isinstance(row.request_id, str)
        assert (row.error is None) is (row.status is ResultStatus.SUCCEEDED)
        if row.status is ResultStatus.UNDECODABLE:
            assert bytes(row.body) == line or row.error.message
        assert row.text is None or isinstance(row.text, str)
        assert row.usage is None or isinstance(row.usage, UsageInfo)
        row.request_id.encode()
        msgspec.msgpack.encode((row.request_id, row.error, row.usage))  # the ledger keeps it

    run(holds, size, 400, {"line": bent(rows)})


HUGE = b"9" * 400
STATUSES = {
    "mistral": b'{"custom_id":"r1","response":{"status_code":%b,"body":{"choices":[]}},"error":null}',
    "openai": b'{"custom_id":"r1","response":{"status_code":%b,"body":{"choices":[]}},"error":null}',
}


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("status", [HUGE, b"-1", b"1000"])
def test_a_row_with_a_status_that_is_none_cannot_be_read_and_keeps_its_id(name, status):
    row = LINES[name](STATUSES[name] % status, facts=FACTS[name])

    assert (row.status, row.request_id) == (ResultStatus.UNDECODABLE, "r1")


@pytest.mark.parametrize("position", [HUGE, b"-1", b"3", b"1.5", b'"0"'])
def test_a_position_beyond_the_batch_says_nothing(position):
    line = b'{"position":%b,"response":{"candidates":[]}}' % position

    assert gemini.decode_line(line, format="gemini.generate", facts=FACTS["gemini"], unkeyed=3).metadata == {}


@pytest.mark.parametrize("name", ["openai", "mistral"])
def test_a_moment_that_no_calendar_has_is_none(name):
    body = samples("poll")[name][0]
    known = STATUS[name](body, FACTS[name]).created_at
    status = STATUS[name](body.replace(str(int(known)).encode(), b"1e300"), FACTS[name])

    assert status.created_at is None


@pytest.mark.parametrize("name", LINES)
def test_a_row_of_four_kilobytes_that_is_cut_at_any_byte_is_a_row(name):
    rows = recording("gemini file" if name == "gemini" else name)[0].rows
    row = next(row for _, row in rows if b"echo: hello" in row)
    long = row.replace(b"echo: hello", b"echo: " + b"\xe2\x80\xa8\xf0\x9f\x8c\x8d hello " * 200)
    long = long[:4096] if len(long) > 4096 else long

    assert len(long) > 3_000
    for end in range(len(long)):
        found = LINES[name](long[:end], facts=FACTS[name])
        assert found.status is ResultStatus.UNDECODABLE


ERRORS = [
    {"error": {"message": "m", "type": "t", "code": "c", "param": None}},
    {"error": {"code": 429, "message": "m", "status": "S", "details": [{"reason": "R"}, {"retryDelay": "31s"}]}},
    {"type": "error", "error": {"type": "t", "message": "m", "details": {"error_code": "c"}}, "request_id": "r"},
    {"object": "error", "message": {"detail": [{"loc": ["body", 1], "msg": "m"}]}, "type": "t", "code": 3000},
    {"detail": [{"loc": ["body", "x"], "msg": "m", "type": "t"}]},
    {"message": "m", "code": 1},
]


@fuzz(500, body=bent(ERRORS), secrets=st.sampled_from([(), ("m",), ("secret-one", "code")]))
def test_an_error_body_is_a_report_whatever_it_is(body, secrets):
    report = decode_error(body, secrets)

    assert isinstance(report, ErrorReport)
    assert len(report.message.encode()) <= 512
    assert "\n" not in report.message
    for word in (report.code, report.kind):
        assert word is None or isinstance(word, str)
    assert report.retry_after is None or 0 <= report.retry_after < 1e10


@fuzz(
    300,
    data=bent_bytes([b'{"a":1}\n\n\xef\xbb\xbf{"b":"\xe2\x80\xa8"}\r\n{"c":2}', b"\xef\xbb\xbf\n\n"]),
    cuts=st.lists(st.integers(0, 40)),
)
def test_lines_are_the_same_wherever_a_piece_ends(data, cuts):
    ends = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    splitter, found = LineSplitter(), []
    for begin, end in itertools.pairwise(ends):
        found += splitter.feed(data[begin:end])
    found += splitter.end()
    whole = LineSplitter()

    assert found == whole.feed(data) + whole.end()
    assert all(b"\n" not in line and line.strip() for line in found)


@fuzz(
    300,
    document=bent([{"a": {"b": [1, {"c": [2]}, "x"]}, "d": 1}, {"b": [[], {}], "a": None}]),
    step=st.integers(1, 40),
)
def test_a_document_is_cut_the_same_wherever_a_piece_ends(document, step):
    def cut(size):
        cutter, found = ItemCutter([("a", "b"), ("b",)], max_item_bytes=100_000), []
        try:
            for at in range(0, len(document), size):
                found += cutter.feed(document[at : at + size])
            return found, cutter.end()
        except ValueError as error:
            return found, type(error)

    whole, pieces = cut(max(len(document), 1)), cut(step if len(document) < 4_000 else step * 997)
    if not isinstance(whole[1], type):
        assert pieces == whole
    assert isinstance(pieces[1], type) == isinstance(whole[1], type)


@fuzz(
    150,
    line=bent_bytes([b'{"custom_id":"a\\"b","x":1}', b'{"key" : "\\ud83d\\ude00"}']),
    field=st.sampled_from(["custom_id", "key", ".*"]),
)
def test_an_id_is_found_in_a_broken_line_or_not(line, field):
    found = salvage_id(line, field)

    assert isinstance(found, str)
    found.encode()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text()
    | st.sampled_from([10**400, -(10**400), 2**63]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@fuzz(400, value=VALUES)
def test_a_moment_a_count_and_a_fault_are_read_from_any_value(value):
    moment, count, fault = decode_time(value), decode_count(value), Fault(code=value, message=value, status=value)

    assert moment is None or 0 < moment < 253_402_300_800
    assert count is None or count >= 0
    assert isinstance(fault.word, str)
    assert isinstance(fault.text, str)


def test_what_is_odd_is_odd_in_many_ways():
    assert len(set(ODD)) > 55
    assert len(set(BENT)) > 15
