"""Answers in Anthropic's format. Samples: the provider's fact sheet and its official SDK's types, 2026-11."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.answers import ToolCall, UsageInfo, anthropic
from tests.unit.answers.hostile import BODIES, DEEP, shapes

HI = (
    b'{"id":"msg_01Ex","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":['
    b'{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,'
    b'"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,'
    b'"ephemeral_1h_input_tokens":0},"output_tokens":4,"service_tier":"batch"}}'
)
THINKING = (
    b'{"content":[{"type":"thinking","thinking":"hmm","signature":"c2ln"},{"type":"redacted_thinking","data":"eA=="},'
    b'{"type":"text","text":"Hello ","citations":[{"type":"char_location","cited_text":"x"}]},'
    b'{"type":"text","text":"there","citations":null}],"stop_reason":"end_turn"}'
)
TOOLS = (
    b'{"content":[{"type":"tool_use","id":"toolu_1","name":"weather","input":{"city": "Oslo", "n":1.0}},'
    b'{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}},'
    b'{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","text":"no"}]},'
    b'{"type":"tool_use","id":"toolu_2","name":"now","input":{},"caller":{"type":"direct"}}],"stop_reason":"tool_use"}'
)
REFUSAL = b'{"content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","category":"cyber"}}'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (HI, "Hi"),
        (THINKING, "Hello there"),
        (TOOLS, None),
        (REFUSAL, None),
        (b'{"content":[{"type":"text","text":"I was going to"}],"stop_reason":"refusal"}', "I was going to"),
        (b'{"content":[{"type":"text","text":""}]}', ""),
        (b'{"content":[{"type":"text","text":null}]}', None),
        (b'{"content":[{"text":"of no type"}]}', None),
        (b'{"content":[{"type":"new","id":7,"text":{}},"string",null,{"type":"text","text":"kept"}]}', "kept"),
        (b'{"content":null}', None),
        (b'{"content":"text"}', None),
        (b"{}", None),
    ],
)
def test_text_is_what_the_text_blocks_say(body, text):
    assert anthropic.text("messages", body) == text


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        (
            TOOLS,
            (
                ToolCall(id="toolu_1", name="weather", arguments='{"city": "Oslo", "n":1.0}'),
                ToolCall(id="toolu_2", name="now", arguments="{}"),
            ),
        ),
        (HI, ()),
        (REFUSAL, ()),
        (
            b'{"content":[{"type":"tool_use","id":"t","name":"now"},{"type":"tool_use","id":"u","name":"a","input":null}]}',
            (ToolCall(id="t", name="now", arguments="{}"), ToolCall(id="u", name="a", arguments="{}")),
        ),
        (
            b'{"content":[{"type":"tool_use","id":1,"name":"x"},{"type":"tool_use","id":"v","name":"b","input":[1]}]}',
            (ToolCall(id="v", name="b", arguments="[1]"),),
        ),
        (b'{"content":null}', ()),
        (b"{}", ()),
    ],
)
def test_tool_calls_carry_the_arguments_as_they_came(body, calls):
    assert anthropic.tool_calls("messages", body) == calls


def test_arguments_decode_like_those_of_any_provider():
    class Where(msgspec.Struct):
        city: str

    assert anthropic.tool_calls("messages", TOOLS)[0].decode(Where) == Where("Oslo")


def test_a_message_has_no_embedding():
    body = b'{"content":[],"embedding":[1.0],"embeddings":[[1.0]],"data":[{"embedding":[1.0]}]}'

    assert anthropic.embedding("messages", body) is None
    assert anthropic.embeddings("messages", body) == []


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (HI, UsageInfo(prompt_tokens=10, completion_tokens=4, total_tokens=14)),
        (
            (
                b'{"usage":{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,'
                b'"output_tokens":50,"output_tokens_details":{"thinking_tokens":30},"server_tool_use":null,"speed":"standard"}}'
            ),
            UsageInfo(
                prompt_tokens=3210,
                completion_tokens=50,
                total_tokens=3260,
                cache_creation_input_tokens=200,
                cache_read_input_tokens=3000,
                reasoning_tokens=30,
            ),
        ),
        (
            (
                b'{"usage":{"input_tokens":"7","cache_creation_input_tokens":null,"cache_read_input_tokens":null,'
                b'"output_tokens":null,"output_tokens_details":null}}'
            ),
            UsageInfo(prompt_tokens=7, total_tokens=7),
        ),
        (b'{"usage":{"output_tokens":2,"output_tokens_details":{}}}', UsageInfo(completion_tokens=2, total_tokens=2)),
        (b'{"usage":{}}', UsageInfo()),
        (b'{"usage":null}', None),
        (b"{}", None),
        (b'{"usage":{"input_tokens":"many"}}', None),
        (b'{"usage":{"input_tokens":1.5}}', None),
    ],
)
def test_usage_counts_cached_tokens_into_the_prompt_and_thinking_into_the_completion(body, usage):
    assert anthropic.usage("messages", body) == usage


READERS = [anthropic.text, anthropic.tool_calls, anthropic.embedding, anthropic.embeddings, anthropic.usage]
HOSTILE = {
    "no UTF-8, where text is": b'{"content":[{"type":"text","text":"\xff"}]}',
    "half a surrogate pair": b'{"content":[{"type":"text","text":"\\ud800"},{"type":"tool_use","id":"\\udfff"}]}',
    "an endless block": b'{"content":[{"type":"text","text":' + b"[" * 100_000,
    "a deep block": b'{"content":[{"type":"text","a":' + DEEP + b"}]}",
    "too large a number": b'{"usage":{"input_tokens":1e999}}',
    "5,000 digits": b'{"usage":{"input_tokens":' + b"9" * 5000 + b"}}",
    "5,000 digits in a string": b'{"usage":{"input_tokens":"' + b"9" * 5000 + b'"}}',
    "other types": b'{"content":{"0":1},"usage":[1]}',
}


@pytest.mark.parametrize("body", [*BODIES.values(), *HOSTILE.values()], ids=[*BODIES, *HOSTILE])
@pytest.mark.parametrize("read", READERS)
def test_a_body_of_another_shape_has_nothing_and_is_no_error(read, body):
    assert not read("messages", body)


@given(st.sampled_from([HI, THINKING, TOOLS]), st.integers(0, 450), st.binary(max_size=4))
def test_no_damage_to_an_answer_makes_reading_it_raise(sample, at, damage):
    body = sample[:at] + damage + sample[at + len(damage) :]

    for read in READERS:
        read("messages", body)


@given(
    shapes(
        "content", "type", "text", "tool_use", "id", "name", "input", "usage", "input_tokens", "output_tokens_details"
    )
)
def test_no_json_of_any_shape_makes_reading_it_raise(value):
    body = msgspec.json.encode(value)

    for read in READERS:
        read("messages", body)
