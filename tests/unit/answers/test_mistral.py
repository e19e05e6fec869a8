"""Answers in Mistral's formats. Samples: the provider's fact sheet and its published specification, 2026-11."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.answers import ToolCall, UsageInfo, mistral
from tests.unit.answers.hostile import BODIES, DEEP, shapes

HI = (
    b'{"id":"c1","object":"chat.completion","model":"mistral-small-latest","usage":{"prompt_tokens":4,'
    b'"completion_tokens":2,"total_tokens":6},"created":1763800050,"choices":[{"index":0,"message":'
    b'{"role":"assistant","tool_calls":null,"content":"Hi"},"finish_reason":"stop"}]}'
)
THINKING = (
    b'{"choices":[{"message":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"hmm"}]},'
    b'{"type":"text","text":"Hello "},{"type":"reference","reference_ids":[1]},{"type":"text","text":"there"}]}}]}'
)
TOOLS = (
    b'{"choices":[{"message":{"content":"","tool_calls":['
    b'{"id":"D681PevKs","function":{"name":"weather","arguments":"{\\"city\\": \\"Oslo\\"}"}},'
    b'{"id":"E681PevKs","type":"function","index":1,"function":{"name":"weather","arguments":{"city": "Bergen"}}}]},'
    b'"finish_reason":"tool_calls"}]}'
)
OCR = (
    b'{"pages":[{"index":0,"markdown":"# One","images":[],"dimensions":null},{"index":1,"markdown":"Two"}],'
    b'"model":"mistral-ocr-latest","document_annotation":null,"usage_info":{"pages_processed":2,"doc_size_bytes":300}}'
)
TRANSCRIPT = (
    b'{"model":"voxtral-mini-latest","text":"Good morning.","language":"en","segments":[],"usage":'
    b'{"prompt_audio_seconds":3,"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}'
)
VECTORS = b'{"data":[{"object":"embedding","embedding":[0.5],"index":1},{"embedding":[0.25,-1],"index":0}]}'


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("chat", HI, "Hi"),
        ("fim", HI, "Hi"),
        ("chat", THINKING, "Hello there"),
        ("chat", TOOLS, None),
        ("chat", b'{"choices":[{"message":{"content":[{"type":"thinking","thinking":[]}]}}]}', None),
        ("chat", b'{"choices":[{"message":{"content":[{"type":"thinking","text":"hmm"}]}}]}', None),
        (
            "chat",
            b'{"choices":[{"message":{"content":[{"type":"text","text":null},7,{"type":"text","text":"a"}]}}]}',
            "a",
        ),
        ("chat", b'{"choices":[{"message":{"content":"a","tool_calls":[{"function":7}]}}]}', "a"),
        ("chat", b'{"choices":[{"message":{"content":[]}}]}', None),
        ("chat", b'{"choices":[{"message":{"content":null}}]}', None),
        ("chat", b'{"choices":[{"message":null}]}', None),
        ("chat", b'{"choices":[]}', None),
        ("chat", b'{"choices":null}', None),
        ("chat", b"{}", None),
        ("ocr", OCR, "# One\n\nTwo"),
        ("ocr", b'{"pages":[{"markdown":"only"},{"markdown":null},{}]}', "only"),
        ("ocr", b'{"pages":[]}', None),
        ("ocr", b'{"pages":null}', None),
        ("ocr", b"[]", None),
        ("transcription", TRANSCRIPT, "Good morning."),
        ("transcription", b'{"text":null}', None),
        ("transcription", b"[]", None),
        ("moderation", b'{"results":[{"categories":{"sexual":false}}]}', None),
        ("classification", b'{"results":[{"intent":{"scores":{"text":1.0}}}]}', None),
        ("embedding", VECTORS, None),
    ],
)
def test_text(kind, body, text):
    assert mistral.text(kind, body) == text


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        (
            TOOLS,
            (
                ToolCall(id="D681PevKs", name="weather", arguments='{"city": "Oslo"}'),
                ToolCall(id="E681PevKs", name="weather", arguments='{"city": "Bergen"}'),
            ),
        ),
        (
            b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"now"}},{"id":null,"function":{"name":"a","arguments":""}}]}}]}',
            (ToolCall(id="", name="now", arguments="{}"), ToolCall(id="", name="a", arguments="")),
        ),
        (
            b'{"choices":[{"message":{"tool_calls":[{"function":7},{"id":"x","function":{"name":"a","arguments":"{broken"}}]}}]}',
            (ToolCall(id="x", name="a", arguments="{broken"),),
        ),
        (HI, ()),
        (OCR, ()),
        (b"{}", ()),
    ],
)
def test_tool_calls_have_their_arguments_as_text_whether_they_come_as_text_or_as_an_object(body, calls):
    assert mistral.tool_calls("chat", body) == calls


def test_embeddings_come_in_the_order_of_the_inputs():
    assert mistral.embeddings("embedding", VECTORS) == [[0.25, -1.0], [0.5]]
    assert mistral.embedding("embedding", VECTORS) == [0.25, -1.0]


@pytest.mark.parametrize(("kind", "body"), [("embedding", b"{}"), ("embedding", HI), ("chat", VECTORS)])
def test_other_answers_have_no_embedding(kind, body):
    assert mistral.embeddings(kind, body) == []
    assert mistral.embedding(kind, body) is None


def test_an_embedding_may_leave_its_place_out():
    assert mistral.embeddings("embedding", b'{"data":[{"embedding":[1.0],"index":null}]}') == [[1.0]]


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (HI, UsageInfo(prompt_tokens=4, completion_tokens=2, total_tokens=6)),
        (TRANSCRIPT, UsageInfo(prompt_tokens=5, completion_tokens=7, total_tokens=12)),
        (
            b'{"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":8}}}',
            UsageInfo(prompt_tokens=9, completion_tokens=1, total_tokens=10, cache_read_input_tokens=8),
        ),
        (
            b'{"usage":{"prompt_tokens":"9","completion_tokens":null,"total_tokens":"9","prompt_tokens_details":null}}',
            UsageInfo(prompt_tokens=9, total_tokens=9),
        ),
        (b'{"usage":{"prompt_tokens":9,"prompt_tokens_details":{}}}', UsageInfo(prompt_tokens=9, total_tokens=9)),
        (OCR, None),
        (b'{"usage":null}', None),
        (b"{}", None),
    ],
)
def test_usage_is_counted_in_tokens_and_pages_are_none(body, usage):
    assert mistral.usage("chat", body) == usage


READERS = [
    (mistral.text, "chat"),
    (mistral.text, "ocr"),
    (mistral.text, "transcription"),
    (mistral.tool_calls, "chat"),
    (mistral.embedding, "embedding"),
    (mistral.embeddings, "embedding"),
    (mistral.usage, "chat"),
]
HOSTILE = {
    "no UTF-8, where text is": b'{"choices":[{"message":{"content":"\xff"}}],"pages":[{"markdown":"\xff"}],"text":"\xff"}',
    "half a surrogate pair": b'{"choices":[{"message":{"content":"\\ud800","tool_calls":[{"id":"\\udfff"}]}}]}',
    "an endless chunk": b'{"choices":[{"message":{"content":[{"text":' + b"[" * 100_000,
    "a deep chunk": b'{"choices":[{"message":{"content":[{"a":' + DEEP + b"}]}}]}",
    "too large a number": b'{"usage":{"prompt_tokens":1e999},"data":[{"embedding":[1e999]}]}',
    "5,000 digits": b'{"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}",
    "5,000 digits in a string": b'{"usage":{"prompt_tokens":"' + b"9" * 5000 + b'"}}',
    "other types": b'{"choices":[{"message":[]}],"pages":[[]],"text":7,"data":{},"usage":"none"}',
}


@pytest.mark.parametrize("body", [*BODIES.values(), *HOSTILE.values()], ids=[*BODIES, *HOSTILE])
@pytest.mark.parametrize(("read", "kind"), READERS)
def test_a_body_of_another_shape_has_nothing_and_is_no_error(read, kind, body):
    assert not read(kind, body)


@given(st.sampled_from([HI, THINKING, TOOLS, OCR, TRANSCRIPT, VECTORS]), st.integers(0, 350), st.binary(max_size=4))
def test_no_damage_to_an_answer_makes_reading_it_raise(sample, at, damage):
    body = sample[:at] + damage + sample[at + len(damage) :]

    for read, kind in READERS:
        read(kind, body)


@given(shapes("choices", "message", "content", "type", "text", "tool_calls", "function", "arguments", "pages", "usage"))
def test_no_json_of_any_shape_makes_reading_it_raise(value):
    body = msgspec.json.encode(value)

    for read, kind in READERS:
        read(kind, body)


def test_an_empty_text_beside_a_tool_call_is_none_and_by_itself_an_empty_answer():
    call = b'{"id":"abc123XYZ","function":{"name":"f","arguments":"{}"}}'
    body = b'{"choices":[{"message":{"role":"assistant","content":"","tool_calls":%b}}]}'

    assert mistral.text("chat", body % (b"[" + call + b"]")) is None
    assert mistral.text("chat", body % b"null") == ""
