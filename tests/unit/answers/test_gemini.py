"""Answers in Gemini's formats. Samples: the provider's fact sheet and its official SDK's types, 2026-11."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.answers import ToolCall, UsageInfo, gemini
from tests.unit.answers.hostile import BODIES, DEEP, shapes

HI = (
    b'{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP","index":0}],'
    b'"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":1,"thoughtsTokenCount":9,"totalTokenCount":12,'
    b'"promptTokensDetails":[{"modality":"TEXT","tokenCount":2}]},"modelVersion":"gemini-2.5-flash","responseId":"r1"}'
)
THOUGHTS = (
    b'{"candidates":[{"content":{"role":"model","parts":[{"text":"hmm","thought":true},'
    b'{"text":"Hello ","thoughtSignature":"c2ln"},{"inlineData":{"mimeType":"image/png","data":"AA=="}},'
    b'{"text":"there","thought":false}]}},{"content":{"parts":[{"text":"another candidate"}]}}]}'
)
TOOLS = (
    b'{"candidates":[{"content":{"role":"model","parts":['
    b'{"functionCall":{"name":"weather","args":{"city": "Oslo"}},"thoughtSignature":"c2ln"},'
    b'{"functionCall":{"id":"fc-7","name":"now"}},{"executableCode":{"code":"1"}},'
    b'{"functionCall":{"name":"weather","args":{"city":"Bergen"}}}]},"finishReason":"STOP"}]}'
)
BLOCKED = b'{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}}'
EMBEDDED = b'{"embedding":{"values":[0.01,-0.02]},"tokenCount":"4"}'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (HI, "Hi"),
        (THOUGHTS, "Hello there"),
        (TOOLS, None),
        (BLOCKED, None),
        (b'{"candidates":[{"finishReason":"SAFETY"}]}', None),
        (b'{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS"}]}', None),
        (b'{"candidates":[{"content":{"parts":[{"text":"hmm","thought":true}]}}]}', None),
        (b'{"candidates":[{"content":{"parts":[{"text":""}]}}]}', ""),
        (b'{"candidates":[{"content":{"parts":[{"text":""},{"functionCall":{"name":"now"}}]}}]}', None),
        (b'{"candidates":[{"content":{"parts":[{"text":7},null,"x",{"text":"kept"}]}}]}', "kept"),
        (b'{"candidates":[{"content":{"parts":null}}]}', None),
        (b'{"candidates":[{"content":null}]}', None),
        (b'{"candidates":[]}', None),
        (b'{"candidates":null}', None),
        (b"{}", None),
        (EMBEDDED, None),
    ],
)
def test_text_is_what_the_first_candidate_says_without_its_thoughts(body, text):
    assert gemini.text("generate", body) == text


def test_tool_calls_without_an_id_get_one_that_is_their_own():
    assert gemini.tool_calls("generate", TOOLS) == (
        ToolCall(id="call_0_weather", name="weather", arguments='{"city": "Oslo"}'),
        ToolCall(id="fc-7", name="now", arguments="{}"),
        ToolCall(id="call_2_weather", name="weather", arguments='{"city":"Bergen"}'),
    )


@pytest.mark.parametrize(
    ("body", "calls"),
    [
        (HI, ()),
        (BLOCKED, ()),
        (b'{"candidates":[{"content":{"parts":[{"functionCall":null}]}}]}', ()),
        (
            b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"a","id":"","args":null}}]}}]}',
            (ToolCall(id="call_0_a", name="a", arguments="{}"),),
        ),
        (
            b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":1}},{"functionCall":{"name":"b"}}]}}]}',
            (ToolCall(id="call_0_b", name="b", arguments="{}"),),
        ),
        (b"{}", ()),
    ],
)
def test_tool_calls_are_those_of_the_first_candidate_that_can_be_read(body, calls):
    assert gemini.tool_calls("generate", body) == calls


@pytest.mark.parametrize(
    ("body", "vectors"),
    [
        (EMBEDDED, [[0.01, -0.02]]),
        (b'{"embeddings":[{"values":[1,0]},{"values":[0.5]}]}', [[1.0, 0.0], [0.5]]),
        (b'{"embeddings":[{"values":[1]},{}]}', [[1.0], []]),
        (b'{"embedding":{}}', [[]]),
        (b'{"embedding":null,"embeddings":null}', []),
        (b'{"embedding":{"values":["x"]}}', []),
        (b"{}", []),
        (HI, []),
    ],
)
def test_embeddings_come_alone_or_in_a_list(body, vectors):
    assert gemini.embeddings("embed", body) == vectors
    assert gemini.embedding("embed", body) == (vectors[0] if vectors else None)


def test_a_generated_answer_has_no_embedding():
    assert gemini.embeddings("generate", EMBEDDED) == []
    assert gemini.embedding("generate", EMBEDDED) is None


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (HI, UsageInfo(prompt_tokens=2, completion_tokens=10, total_tokens=12, reasoning_tokens=9)),
        (BLOCKED, UsageInfo(prompt_tokens=5, total_tokens=5)),
        (
            (
                b'{"usageMetadata":{"promptTokenCount":"100","toolUsePromptTokenCount":"20","candidatesTokenCount":"5",'
                b'"cachedContentTokenCount":"60","totalTokenCount":"125"}}'
            ),
            UsageInfo(prompt_tokens=120, completion_tokens=5, total_tokens=125, cache_read_input_tokens=60),
        ),
        (
            b'{"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":null,"thoughtsTokenCount":4}}',
            UsageInfo(prompt_tokens=3, completion_tokens=4, total_tokens=7, reasoning_tokens=4),
        ),
        (b'{"usageMetadata":{}}', UsageInfo()),
        (EMBEDDED, UsageInfo(prompt_tokens=4, total_tokens=4)),
        (b'{"embedding":{},"tokenCount":6}', UsageInfo(prompt_tokens=6, total_tokens=6)),
        (b'{"embedding":{"values":[1]}}', None),
        (b'{"usageMetadata":null,"tokenCount":null}', None),
        (b'{"usageMetadata":{"promptTokenCount":"many"}}', None),
        (b"{}", None),
    ],
)
def test_usage_adds_tool_results_to_the_prompt_and_thoughts_to_the_completion(body, usage):
    assert gemini.usage("generate", body) == usage


READERS = [
    (gemini.text, "generate"),
    (gemini.tool_calls, "generate"),
    (gemini.embedding, "embed"),
    (gemini.embeddings, "embed"),
    (gemini.usage, "generate"),
]
HOSTILE = {
    "no UTF-8, where text is": b'{"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}',
    "half a surrogate pair": b'{"candidates":[{"content":{"parts":[{"text":"\\ud800"},{"functionCall":{"id":"\\udfff"}}]}}]}',
    "an endless part": b'{"candidates":[{"content":{"parts":[{"text":' + b"[" * 100_000,
    "a deep part": b'{"candidates":[{"content":{"parts":[{"a":' + DEEP + b"}]}}]}",
    "too large a number": b'{"usageMetadata":{"promptTokenCount":1e999},"embedding":{"values":[1e999]}}',
    "5,000 digits": b'{"tokenCount":' + b"9" * 5000 + b"}",
    "5,000 digits in a string": b'{"tokenCount":"' + b"9" * 5000 + b'"}',
    "other types": b'{"candidates":[{"content":{"parts":{}}}],"embedding":[1.0],"usageMetadata":"none"}',
}


@pytest.mark.parametrize("body", [*BODIES.values(), *HOSTILE.values()], ids=[*BODIES, *HOSTILE])
@pytest.mark.parametrize(("read", "kind"), READERS)
def test_a_body_of_another_shape_has_nothing_and_is_no_error(read, kind, body):
    assert not read(kind, body)


@given(st.sampled_from([HI, THOUGHTS, TOOLS, EMBEDDED]), st.integers(0, 400), st.binary(max_size=4))
def test_no_damage_to_an_answer_makes_reading_it_raise(sample, at, damage):
    body = sample[:at] + damage + sample[at + len(damage) :]

    for read, kind in READERS:
        read(kind, body)


@given(
    shapes(
        "candidates",
        "content",
        "parts",
        "text",
        "functionCall",
        "args",
        "embedding",
        "values",
        "usageMetadata",
        "tokenCount",
    )
)
def test_no_json_of_any_shape_makes_reading_it_raise(value):
    body = msgspec.json.encode(value)

    for read, kind in READERS:
        read(kind, body)
