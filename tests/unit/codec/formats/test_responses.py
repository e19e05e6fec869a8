"""OpenAI's chat shape in the words of Responses, and of agents that answer there: every field, every refusal.

Source: openai/openai-openapi:openapi.yaml (CreateResponse), the request types of perplexityai 0.46.1; compared on 2026-11-26.
"""

import json

import msgspec
import pytest

from asyncbatch.codec.formats.responses import count_inputs
from asyncbatch.codec.requests import Request, RowFault
from asyncbatch.codec.rows import RowRules, encode_row
from asyncbatch.enums import BatchMode
from asyncbatch.providers._shapes.openai import encode_line
from asyncbatch.providers.perplexity_provider import PerplexityBatchProvider

FACTS = PerplexityBatchProvider().facts
ASK = [{"role": "user", "content": "Say hi"}]
MODEL = "perplexity/sonar"
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
CACHE = {"type": "ephemeral"}
KINDS = ("chat", "agent")


def encode(body, *, kind="chat", **changes):
    rules = RowRules(
        **{
            "title": "It",
            "endpoint": "/v1/responses",
            "format": f"responses.{kind}",
            "mode": BatchMode.CHAT,
            "model": MODEL,
            "line": lambda wire_id, body: encode_line(wire_id, body, "/v1/responses", FACTS),
        }
        | changes
    )
    return encode_row(Request("a", dict(body)), "a", rules)


def made(body, **options):
    """Give the body that travels."""
    return json.loads(encode(body, **options).line)["body"]


def chat(kind="chat", **fields):
    """Give what a request becomes, without what all of them have."""
    body = made({"messages": ASK, **fields}, kind=kind)
    assert body.pop("input") == [{"type": "message", "role": "user", "content": "Say hi"}]
    assert body.pop("model") == MODEL
    return body


def items(*messages, **options):
    return made({"messages": list(messages)}, **options)["input"]


def user(*parts, **options):
    """Give the content of a user's message."""
    (item,) = items({"role": "user", "content": list(parts)}, **options)
    return item["content"]


def fault(body, **options):
    with pytest.raises(RowFault) as caught:
        encode(body, **options)
    return caught.value


def call(call_id="call_1", name="look", arguments='{"at": "sea"}'):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


# A line


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_is_what_the_service_documents(kind):
    row = encode({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}, kind=kind)

    assert row.line == (
        b'{"custom_id":"a","method":"POST","url":"/v1/responses","body":{"input":[{"type":"message","role":"user",'
        b'"content":"hi"}],"max_output_tokens":50,"model":"perplexity/sonar"}}\n'
    )
    assert (row.inputs, row.dropped, count_inputs({"input": ["a", "b"]}, kind)) == (1, (), 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["model", "extra_body"])
def test_a_row_for_another_model_is_refused(kind, where):
    other = {"model": "xai/grok-4-1"}

    refused = fault({"messages": ASK, **(other if where == "model" else {"extra_body": other})}, kind=kind)

    assert refused.code == "mixed_models"
    assert "'xai/grok-4-1', but this job is for 'perplexity/sonar'" in refused.message


def test_the_jobs_own_model_may_be_named_and_null_is_none():
    assert made({"messages": ASK, "model": MODEL}) == made({"messages": ASK, "model": None}) == made({"messages": ASK})


@pytest.mark.parametrize("body", [{"stream": True}, {"extra_body": {"stream": True}}])
def test_what_streams_is_refused(body):
    assert fault({"messages": ASK, **body}).code == "streaming"
    assert fault({"input": "x", "stream": True}, mode=BatchMode.CUSTOM).code == "streaming"


def test_a_custom_body_is_untouched_but_for_the_model():
    body = {"input": "x", "anything": [1, None], "stream": False, "stop": "y", "extra_body": {"a": 1}}

    assert made(body, mode=BatchMode.CUSTOM) == {**body, "model": MODEL}
    assert fault({"input": "x", "model": "other"}, mode=BatchMode.CUSTOM).code == "mixed_models"


@pytest.mark.parametrize("choice", [{"preset": "sonar-pro"}, {"models": [MODEL, "openai/gpt-5-mini"]}])
def test_a_custom_body_that_says_otherwise_who_answers_gets_no_model(choice):
    assert made({"input": "x", **choice}, mode=BatchMode.CUSTOM, kind="agent") == {"input": "x", **choice}
    assert made({"messages": ASK, "extra_body": choice}, kind="agent").keys() == {"input", *choice}


# Messages


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_system_says_are_instructions_in_order(kind):
    parts = [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]
    given = [{"role": "system", "content": "one"}, *ASK, {"role": "developer", "content": parts}]

    body = made({"messages": given}, kind=kind)

    assert body["instructions"] == "one\n\ntwo\n\nthree"
    assert [item["role"] for item in body["input"]] == ["user"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_with_tools_becomes_items(kind):
    assert items(
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call(), call("call_2", "hear", "")]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"waves": 3}'},
        {"role": "tool", "tool_call_id": "call_2", "name": "listen", "content": ""},
        {
            "role": "tool",
            "tool_call_id": "call_3",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Three "}, {"type": "text", "text": "waves."}]},
        {"role": "user", "content": "thanks"},
        kind=kind,
    ) == [
        {"type": "message", "role": "user", "content": "look"},
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at": "sea"}'},
        {"type": "function_call", "call_id": "call_2", "name": "hear", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": '{"waves": 3}', "name": "look"},
        {"type": "function_call_output", "call_id": "call_2", "output": "", "name": "listen"},
        {"type": "function_call_output", "call_id": "call_3", "output": "ab"},
        {"type": "message", "role": "assistant", "content": "Three waves."},
        {"type": "message", "role": "user", "content": "thanks"},
    ]


def test_an_assistant_that_only_calls_tools_says_nothing():
    assert items(*ASK, {"role": "assistant", "content": None, "tool_calls": [call()]})[1:] == [
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at": "sea"}'}
    ]


def test_an_id_of_a_call_that_is_too_long_becomes_a_short_one_and_call_and_result_still_belong_together():
    long = "x" * 65
    _, asked, result = items(
        *ASK, {"role": "assistant", "tool_calls": [call(long)]}, {"role": "tool", "tool_call_id": long, "content": "y"}
    )
    _, kept = items(*ASK, {"role": "assistant", "tool_calls": [call("y" * 64)]})

    assert asked["call_id"] == result["call_id"]
    assert (len(asked["call_id"]), kept["call_id"]) == (24, "y" * 64)


def test_a_single_text_is_a_text_and_several_are_parts():
    one, two = {"type": "text", "text": "one"}, {"type": "text", "text": "two"}

    assert user(one) == "one"
    assert user(one, two) == [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]


@pytest.mark.parametrize("url", [PNG, "https://example.com/a.png"])
def test_an_image_is_a_part(url):
    part = {"type": "image_url", "image_url": {"url": url}}

    assert user(part, kind="agent") == [{"type": "input_image", "image_url": url}]
    assert user(part) == [{"type": "input_image", "image_url": url, "detail": "auto"}]


@pytest.mark.parametrize("detail", ["low", "auto", "high", "original"])
def test_how_closely_an_image_is_looked_at_travels(detail):
    part = {"type": "image_url", "image_url": {"url": PNG, "detail": detail}}

    assert user(part) == [{"type": "input_image", "image_url": PNG, "detail": detail}]


def test_an_agent_looks_as_closely_as_it_likes():
    part = {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}}

    assert user(part, kind="agent") == [{"type": "input_image", "image_url": PNG}]


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ({"file_data": PDF}, {"file_data": PDF}),
        ({"file_data": PDF, "filename": "a.pdf"}, {"file_data": PDF, "filename": "a.pdf"}),
        ({"file_url": "https://example.com/a.pdf"}, {"file_url": "https://example.com/a.pdf"}),
        ({"file_id": "file-1", "filename": "n"}, {"file_id": "file-1", "filename": "n"}),
    ],
)
def test_a_document_is_a_part(file, part):
    assert user({"type": "file", "file": file}) == [{"type": "input_file", **part}]


def test_a_tool_may_show_something():
    image = {"type": "image_url", "image_url": PNG}
    *_, result = items(*ASK, {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "see"}, image]})

    assert result["output"] == [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": PNG, "detail": "auto"},
    ]


# Tools, and the form of the answer


@pytest.mark.parametrize("kind", KINDS)
def test_tools_are_flat_and_loose_unless_they_say_otherwise(kind):
    full = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {}}}, "strict": True}

    tools = chat(kind, tools=[{"type": "function", "function": item} for item in (full, {"name": "g"})])["tools"]

    assert tools == [
        {"type": "function", **full},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *((word, word) for word in ("auto", "none", "required")),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
    ],
)
def test_the_choice_of_tools_travels(given, expected):
    assert chat(tool_choice=given) == {"tool_choice": expected}


@pytest.mark.parametrize("parallel", [True, False])
def test_parallel_calls_travel(parallel):
    assert chat(parallel_tool_calls=parallel) == {"parallel_tool_calls": parallel}


def test_what_an_agent_does_anyway_need_not_be_said():
    assert chat("agent", tool_choice="auto", parallel_tool_calls=True) == {}


class Verdict(msgspec.Struct):
    """What the reader thinks."""

    score: int


SCHEMA = {"name": "n", "schema": {"type": "object"}, "strict": True, "description": "d"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "text"}, {}),
        ({"type": "json_object"}, {"text": {"format": {"type": "json_object"}}}),
        ({"type": "json_schema", "json_schema": SCHEMA}, {"text": {"format": {"type": "json_schema", **SCHEMA}}}),
    ],
)
def test_the_form_of_the_answer_stands_under_text(wanted, expected):
    assert chat(response_format=wanted) == expected


def test_an_agent_wants_the_form_of_the_answer_as_chat_has_it():
    wanted = {"type": "json_schema", "json_schema": SCHEMA}

    assert chat("agent", response_format=wanted) == {"response_format": wanted}
    assert chat("agent", response_format={"type": "text"}) == {}


def test_a_type_becomes_its_schema():
    ours = chat(response_format=Verdict)["text"]["format"]
    agents = chat("agent", response_format=Verdict)["response_format"]["json_schema"]

    assert (ours["name"], ours["strict"], ours["schema"]["required"]) == ("Verdict", True, ["score"])
    assert agents == {name: value for name, value in ours.items() if name != "type"}


# The other fields


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_tokens": 16}, {"max_output_tokens": 16}),
        ({"max_completion_tokens": 70, "max_tokens": 20}, {"max_output_tokens": 70}),
        ({"reasoning_effort": "high"}, {"reasoning": {"effort": "high"}}),
        ({"store": True}, {"store": True}),
        ({"extra_body": {"later": {"a": 1}, "store": False}, "store": True}, {"later": {"a": 1}, "store": False}),
        (
            {"extra_body": {"reasoning": {"summary": "auto"}}, "reasoning_effort": "low"},
            {"reasoning": {"effort": "low", "summary": "auto"}},
        ),
        ({"extra_body": {"tools": [{"type": "web_search"}]}}, {"tools": [{"type": "web_search"}]}),
        ({"extra_body": {"instructions": "Be brief."}}, {"instructions": "Be brief."}),
    ],
)
def test_a_field_in_other_words(kind, given, expected):
    assert chat(kind, **given) == expected


def test_tools_of_the_service_stand_beside_functions_and_anything_else_replaces_them():
    tools = [{"type": "function", "function": {"name": "f"}}]
    search = {"type": "web_search"}

    joined = chat(tools=tools, extra_body={"tools": [search]})["tools"]

    assert [tool["type"] for tool in joined] == ["function", "web_search"]
    assert chat(tools=tools, extra_body={"tools": None})["tools"] is None


def test_how_much_is_said_and_how_sure_the_words_are():
    assert chat(verbosity="low", response_format={"type": "json_object"}) == {
        "text": {"format": {"type": "json_object"}, "verbosity": "low"}
    }
    assert chat(logprobs=True, top_logprobs=2) == {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    assert fault({"messages": ASK, "logprobs": "yes"}).code == "wrong_type"


def test_few_tokens_are_enough_for_an_agent():
    assert chat("agent", max_tokens=5) == {"max_output_tokens": 5}


SAME = {
    "temperature": 1.5,
    "top_p": 0.5,
    "user": "me",
    "safety_identifier": "me",
    "metadata": {"a": "b"},
    "service_tier": "flex",
    "moderation": {"model": "m"},
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {},
    "truncation": "auto",
    "max_tool_calls": 3,
}
AGENTS = {"language_preference": "nl", "max_steps": 3}


@pytest.mark.parametrize("field", SAME)
def test_a_field_that_means_the_same_travels_as_it_is_and_an_agent_does_not_know_it(field):
    assert chat(**{field: SAME[field]}) == {field: SAME[field]}
    assert f"It cannot express {field}" in fault({"messages": ASK, field: SAME[field]}, kind="agent").message


@pytest.mark.parametrize("field", AGENTS)
def test_an_agents_own_field_travels_to_it_alone(field):
    assert chat("agent", **{field: AGENTS[field]}) == {field: AGENTS[field]}
    assert f"It cannot express {field}" in fault({"messages": ASK, field: AGENTS[field]}).message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "no_op",
    [
        *[{"n": 1}, {"stream": False}, {"store": False}, {"logprobs": False}, {"modalities": ["text"]}, {"user": None}],
        *[{"presence_penalty": 0}, {"frequency_penalty": 0.0}, {"logit_bias": {}}, {"verbosity": "medium"}],
        *[{"tools": []}, {"stop": None}, {"tool_choice": None}, {"response_format": None}, {"extra_body": None}],
        *[{"reasoning_effort": None}, {"top_logprobs": 0}],
    ],
)
def test_what_says_nothing_is_left_out(kind, no_op):
    assert chat(kind, **no_op) == {}


TEXT = {"type": "text", "text": "x"}
IMAGE = {"type": "image_url", "image_url": PNG}
FILE = {"type": "file", "file": {"file_id": "f"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
DETAILED = {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}
VAGUE = {"type": "image_url", "image_url": {"url": PNG, "detail": "max"}}


def says(*parts, role="user", **fields):
    return {"messages": [*ASK, {"role": role, "content": list(parts), **fields}]}


REFUSED = [
    *((KINDS, {name: value}, name) for name, value in {
        "stop": "x", "n": 2, "seed": 3, "top_k": 4, "logit_bias": {"1": 1}, "presence_penalty": 1, "frequency_penalty": 1,
        "prediction": {}, "modalities": ["audio"], "audio": {}, "web_search_options": {}, "functions": [{}],
        "function_call": "auto", "stream_options": {}, "a_new_field": 1, "instructions": "x",
    }.items()),
    (KINDS, {"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": CACHE}]}, "cache_control"),
    (KINDS, says({**TEXT, "cache_control": CACHE}), "cache_control"),
    (KINDS, says(TEXT, cache_control=CACHE), "cache_control"),
    (KINDS, {"messages": [{"role": "system", "content": "x", "cache_control": CACHE}, *ASK]}, "cache_control"),
    (KINDS, says(TEXT, name="ann"), "name"),
    (KINDS, says(TEXT, SOUND), "input_audio"),
    (KINDS, says(TEXT, {"type": "image_url", "image_url": "gs://a/b.png"}), "a gs:// address"),
    (KINDS, says(TEXT, IMAGE, role="assistant"), "the assistant's image"),
    (KINDS, says(TEXT, VAGUE), "image_url.detail"),
    (KINDS, {"reasoning_effort": "extreme"}, "reasoning_effort extreme"),
    (KINDS, {"reasoning_effort": 3}, "reasoning_effort 3"),
    (["chat"], {"max_tokens": 15}, "max_tokens below 16"),
    (["agent"], {"reasoning_effort": "none"}, "reasoning_effort none"),
    (["agent"], says(TEXT, IMAGE, role="tool", tool_call_id="c"), "the tool's image"),
    (["agent"], says(TEXT, FILE), "a file"),
    (["agent"], says(TEXT, DETAILED), "image_url.detail"),
    (["agent"], {"tool_choice": "none"}, "tool_choice"),
    (["agent"], {"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
    (["agent"], {"parallel_tool_calls": False}, "parallel_tool_calls"),
    (["agent"], {"response_format": {"type": "json_object"}}, "response_format json_object"),
    (["agent"], {"verbosity": "low"}, "verbosity"),
    (["agent"], {"logprobs": True}, "logprobs"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fields", "named"), [(kind, fields, named) for kinds, fields, named in REFUSED for kind in kinds]
)
def test_what_cannot_be_expressed_is_refused_by_name_or_left_out(kind, fields, named):
    body = {"messages": ASK, **fields}
    refused, row = fault(body, kind=kind), encode(body, kind=kind, is_dropping=True)

    assert refused.code == "unsupported"
    assert f"It cannot express {named}" in refused.message
    assert row.dropped == (named,)
    assert b"ephemeral" not in row.line


def test_what_is_dropped_leaves_the_rest():
    line = json.loads(encode(says(TEXT, VAGUE, SOUND), is_dropping=True).line)

    assert line["body"]["input"][1]["content"] == [
        {"type": "input_text", "text": "x"},
        {"type": "input_image", "image_url": PNG, "detail": "auto"},
    ]


def test_a_message_of_which_nothing_is_left_is_refused():
    refused = fault(says(SOUND), is_dropping=True)

    assert (refused.code, refused.message) == ("empty_field", "messages[1]: nothing of its content is left")


def test_an_answer_to_a_call_that_is_left_out_goes_with_it_and_something_must_be_left():
    lost = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}
    row = encode(
        {
            "messages": [
                *ASK,
                {"role": "assistant", "content": "x", "tool_calls": [lost]},
                {"role": "tool", "tool_call_id": "c", "content": "y"},
            ]
        },
        is_dropping=True,
    )

    assert [item["type"] for item in json.loads(row.line)["body"]["input"]] == ["message", "message"]
    assert len(row.dropped) == 2
