"""Answers in OpenAI's formats. Samples: the provider's fact sheet and the published specification, 2026-11."""

import base64
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.answers import ToolCall, UsageInfo, openai

CHAT = (
    b'{"id":"chatcmpl-9a","object":"chat.completion","created":1795300500,"model":"gpt-4.1-mini-2025-04-14","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)
REFUSAL = b'{"choices":[{"message":{"role":"assistant","content":null,"refusal":"I cannot help with that."}}]}'
PARTS = (
    b'{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]}}]}'
)
TOOLS = (
    b'{"choices":[{"message":{"content":null,"tool_calls":['
    b'{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\\"city\\":\\"Oslo\\"}"}},'
    b'{"id":"call_2","type":"custom","custom":{"name":"shell","input":"ls -l"}}]}}]}'
)
SAYS = b'{"type":"message","content":[{"type":"output_text","text":"Hello"}]}'
RESPONSE = (
    b'{"object":"response","output":['
    b'{"type":"reasoning","content":[{"type":"reasoning_text","text":"hmm"}]},'
    b'{"type":"function_call","call_id":"call_9","name":"weather","arguments":"{}"},'
    b'{"type":"message","content":[{"type":"output_text","text":"Hello "},{"type":"refusal","refusal":"no"}]},'
    b'{"type":"message","content":[{"type":"output_text","text":"there"}]}],'
    b'"usage":{"input_tokens":75,"input_tokens_details":{"cached_tokens":5,"cache_write_tokens":2},"output_tokens":12,'
    b'"output_tokens_details":{"reasoning_tokens":7},"total_tokens":87}}'
)


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("chat", CHAT, "hi"),
        ("chat", REFUSAL, None),
        ("chat", TOOLS, None),
        ("chat", PARTS, "ab"),
        ("chat", b'{"choices":[{"message":{"content":""}}]}', ""),
        ("chat", b'{"choices":[{"message":{"content":[]}}]}', None),
        ("chat", b'{"choices":[{"message":null}]}', None),
        ("chat", b'{"choices":[]}', None),
        ("chat", b'{"choices":null}', None),
        ("chat", b"{}", None),
        ("completion", b'{"choices":[{"text":"once upon a time","index":0}]}', "once upon a time"),
        ("responses", RESPONSE, "Hello there"),
        ("responses", b'{"output":[{"type":"message","content":null}]}', None),
        ("responses", b'{"output":null}', None),
        ("responses", b'{"output":[{"type":"file_read","content":"as it is"},7,%b]}' % SAYS, "Hello"),
        ("responses", b"{}", None),
        ("moderation", b'{"results":[{"flagged":false}]}', None),
    ],
)
def test_text(kind, body, text):
    assert openai.text(kind, body) == text


@pytest.mark.parametrize(
    ("kind", "body", "calls"),
    [
        (
            "chat",
            TOOLS,
            (
                ToolCall(id="call_1", name="weather", arguments='{"city":"Oslo"}'),
                ToolCall(id="call_2", name="shell", arguments="ls -l"),
            ),
        ),
        ("chat", CHAT, ()),
        ("chat", b'{"choices":[{"message":null}]}', ()),
        ("chat", b"{}", ()),
        ("responses", RESPONSE, (ToolCall(id="call_9", name="weather", arguments="{}"),)),
        ("responses", b"{}", ()),
    ],
)
def test_tool_calls(kind, body, calls):
    assert openai.tool_calls(kind, body) == calls


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("data", "vectors"),
    [
        ([{"index": 0, "embedding": [0.25, -1.0]}], [[0.25, -1.0]]),
        ([{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [0.0]}], [[0.0], [1.0]]),
        ([{"index": 0, "embedding": packed(0.25, -1.0)}], [[0.25, -1.0]]),
        ([{"embedding": "AAAA"}], [[]]),  # three bytes are no number
        ([{"embedding": "A"}], [[]]),
        ([{"embedding": "é"}], [[]]),
        ([], []),
        (None, []),
    ],
)
def test_embeddings_come_in_the_order_of_the_inputs_and_in_both_encodings(data, vectors):
    body = msgspec.json.encode({"object": "list", "data": data})

    assert openai.embeddings("embedding", body) == vectors
    assert openai.embedding("embedding", body) == (vectors[0] if vectors else None)


def test_other_answers_have_no_embedding():
    assert openai.embeddings("chat", CHAT) == []
    assert openai.embedding("chat", CHAT) is None


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (CHAT, UsageInfo(prompt_tokens=9, completion_tokens=2, total_tokens=11)),
        (
            RESPONSE,
            UsageInfo(
                prompt_tokens=75,
                completion_tokens=12,
                total_tokens=87,
                cache_read_input_tokens=5,
                cache_creation_input_tokens=2,
                reasoning_tokens=7,
            ),
        ),
        (
            (
                b'{"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},'
                b'"completion_tokens_details":{"reasoning_tokens":3}}}'
            ),
            UsageInfo(
                prompt_tokens=9, completion_tokens=5, total_tokens=14, cache_read_input_tokens=4, reasoning_tokens=3
            ),
        ),
        (b'{"usage":{"prompt_tokens":8}}', UsageInfo(prompt_tokens=8, total_tokens=8)),
        (b'{"usage":{"prompt_tokens":0,"input_tokens":7,"total_tokens":0}}', UsageInfo()),
        (b'{"usage":{"input_tokens_details":null,"output_tokens":4}}', UsageInfo(completion_tokens=4, total_tokens=4)),
        (b'{"usage":null}', None),
        (b"{}", None),
        (b'{"usage":{"prompt_tokens":"many"}}', None),
    ],
)
def test_usage_is_read_in_both_spellings(body, usage):
    assert openai.usage("chat", body) == usage


READERS = [
    (openai.text, "chat"),
    (openai.text, "responses"),
    (openai.tool_calls, "chat"),
    (openai.tool_calls, "responses"),
    (openai.embedding, "embedding"),
    (openai.embeddings, "embedding"),
    (openai.usage, "chat"),
]
HOSTILE = {
    "no JSON": b"<html>",
    "cut": CHAT[:100],
    "no UTF-8": b'{"choices":[{"message":{"content":"\xff"}}],"data":[{"embedding":"\xff"}],"output":[{"type":"\xff"}]}',
    "half a surrogate pair": b'{"choices":[{"message":{"content":"\\ud800"}}],"output":[{"type":"\\udfff"}]}',
    "NaN": b'{"usage":{"prompt_tokens":NaN},"data":[{"embedding":[NaN]}]}',
    "too large a number": b'{"usage":{"prompt_tokens":1e999},"data":[{"embedding":[1e999]}]}',
    "5,000 digits": b'{"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}",
    "deep": b'{"choices":' + b"[" * 100_000,
    "deep and whole": b'{"choices":[{"message":{"content":[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}}]}",
    "another shape": b'{"choices":{"0":1},"output":"text","data":{"a":1},"usage":[1]}',
    "a list": b"[]",
    "null": b"null",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(("read", "kind"), READERS)
def test_a_body_of_another_shape_has_nothing_and_is_no_error(read, kind, body):
    assert not read(kind, body)


@given(st.sampled_from([CHAT, TOOLS, RESPONSE, PARTS]), st.integers(0, 400), st.binary(max_size=4))
def test_no_damage_to_an_answer_makes_reading_it_raise(sample, at, damage):
    body = sample[:at] + damage + sample[at + len(damage) :]

    for read, kind in READERS:
        read(kind, body)


def test_an_empty_text_beside_a_tool_call_is_none_and_by_itself_an_empty_answer():
    call = b'{"id":"call_1","function":{"name":"f","arguments":"{}"}}'
    body = b'{"choices":[{"message":{"role":"assistant","content":"","tool_calls":%b}}]}'

    assert openai.text("chat", body % (b"[" + call + b"]")) is None
    assert openai.text("chat", body % b"null") == ""


USED = st.sampled_from(
    [b'{"prompt_tokens":3,"total_tokens":5}', b"null", b"[1]", b'{"prompt_tokens":"many"}', b'{"usage":{}}']
)
LONG = b"x" * 3000
AROUND = [
    b'{"choices":[{"text":"%b"}],"usage":%b}',
    b'{"usage":%b,"choices":[{"text":"%b"}]}',
    b'{"choices":[{"text":"%b","usage":%b}]}',
    b'{"text":"%b","a":{"usage":%b}}',
    b'{"text":"%b \\"usage","usage":%b}',
    b'{"text":"%b","usage":%b,"last":"usage"}',
    b'{"text":"%b","usage":%b,"last":{"usage":1}}',
    b'{"text":"%b","usage" : %b, "last":"\\"usage"}',
    b'{"text":"%b","usages":%b}',
    b'["%b",{"usage":%b}]',
]
WITHIN = st.builds(
    lambda form, used, text: form % ((used, text) if form.startswith(b'{"usage') else (text, used)),
    st.sampled_from(AROUND),
    USED,
    st.sampled_from([b"short", LONG]),
)


@given(WITHIN)
def test_tokens_are_found_from_the_end_where_reading_all_of_it_finds_them(body):
    assert openai.usage("chat", msgspec.Raw(body)) == openai.usage("chat", body)


@given(st.lists(WITHIN, max_size=5))
def test_the_tokens_of_many_answers_are_those_of_each(bodies):
    assert openai.usages("chat", [msgspec.Raw(body) for body in bodies]) == [
        openai.usage("chat", body) for body in bodies
    ]
