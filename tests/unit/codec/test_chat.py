"""A chat request in OpenAI's shape, field by field: what is read, what means nothing, and what is refused with its place."""

import json
from dataclasses import dataclass

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.chat import Call, Chat, Media, Text, Tool, Turn, Unsupported, decode_chat
from asyncbatch.codec.requests import RowFault
from asyncbatch.codec.schema import JsonSchema

ASK = {"role": "user", "content": "Say hi"}
CACHE = {"type": "ephemeral"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sea"}'}}


def chat(**fields):
    return decode_chat({"messages": [ASK], **fields})


def turns(*messages):
    return decode_chat({"messages": list(messages)}).turns


def fault(*messages, **fields):
    with pytest.raises(RowFault) as caught:
        decode_chat({"messages": list(messages) or [ASK], **fields})
    return caught.value


# Messages


def test_a_request_is_its_messages_and_nothing_else():
    assert chat() == Chat(turns=(Turn(role="user", where="messages[0]", parts=(Text(text="Say hi"),)),))
    assert chat(model="any") == chat(model=None) == chat()


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", ["Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_system_and_developer_messages_are_the_systems_words(role, content):
    found = decode_chat({"messages": [{"role": role, "content": content, "name": "chief"}, ASK]})

    assert found.system == (Text(text="Be brief."),)
    assert [turn.where for turn in found.turns] == ["messages[1]"]


def test_the_systems_words_are_gathered_wherever_they_stand_with_their_marks_for_the_cache():
    parts = [{"type": "text", "text": "two", "cache_control": CACHE}, {"type": "text", "text": "three"}]
    messages = [{"role": "system", "content": "one"}, ASK, {"role": "developer", "content": parts}]

    found = decode_chat({"messages": messages})

    assert found.system == (Text(text="one"), Text(text="two", cache=CACHE), Text(text="three"))
    assert [turn.role for turn in found.turns] == ["user"]


@pytest.mark.parametrize("content", [None, "", []])
def test_a_system_that_says_nothing_is_none(content):
    assert decode_chat({"messages": [{"role": "system", "content": content}, ASK]}).system == ()


def test_a_conversation_is_read_in_order():
    user, assistant, tool, end = turns(
        {"role": "user", "content": [{"type": "text", "text": "look"}], "name": "ann"},
        {"role": "assistant", "content": "I look.", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "name": "look", "content": "waves"},
        {"role": "assistant", "content": "Waves."},
    )

    assert user == Turn(role="user", where="messages[0]", parts=(Text(text="look"),), name="ann")
    assert assistant.parts == (Text(text="I look."),)
    assert assistant.calls == tuple(
        Call(id=name, name="look", arguments='{"at":"sea"}') for name in ("call_1", "call_2")
    )
    assert tool == Turn(role="tool", where="messages[2]", parts=(Text(text="waves"),), call_id="call_1", name="look")
    assert end.calls == ()


def test_an_answer_is_handed_back_as_it_came():
    """As chat completions give a message, nulls and empty lists and all."""
    came = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [{**CALL, "index": 0}],
    }
    said = {**came, "content": "Hi", "tool_calls": None, "function_call": {}, "audio": {}, "prefix": False}

    first, second, third = turns(came, said, {**said, "tool_calls": [], "refusal": ""})

    assert (first.parts, first.calls) == ((), (Call(id="call_1", name="look", arguments='{"at":"sea"}'),))
    assert (second.parts, second.calls) == (third.parts, third.calls) == ((Text(text="Hi"),), ())


def test_a_refusal_is_words_whether_it_stands_beside_or_in_the_content():
    beside, inside = turns(
        {"role": "assistant", "content": "Well.", "refusal": "No."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    )

    assert beside.parts == (Text(text="Well."), Text(text="No."))
    assert inside.parts == (Text(text="No."),)
    assert turns({"role": "assistant", "content": None, "refusal": "No."})[0].parts == (Text(text="No."),)


def test_a_tool_may_say_nothing_and_may_show_images():
    png = {"type": "image_url", "image_url": "data:image/png;base64,aGk="}
    silent, showing = turns(
        {"role": "tool", "tool_call_id": "1", "content": None}, {"role": "tool", "tool_call_id": "2", "content": [png]}
    )

    assert silent.parts == ()
    assert showing.parts == (Media(kind="image", media_type="image/png", data="aGk="),)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ({"arguments": '{"a": 1}'}, '{"a": 1}'),
        ({"arguments": {"a": 1}}, '{"a":1}'),
        ({"arguments": ""}, ""),
        ({"arguments": None}, "{}"),
        ({}, "{}"),
    ],
)
def test_arguments_are_kept_as_the_model_wrote_them(function, arguments):
    call = {"id": "1", "function": {"name": "f", **function}, "extra_content": {"google": {"thought_signature": "x"}}}
    (turn,) = turns({"role": "assistant", "tool_calls": [call]})

    assert turn.calls == (Call(id="1", name="f", arguments=arguments, extra={"google": {"thought_signature": "x"}}),)


@pytest.mark.parametrize(("written", "meant"), [("", {}), ("{}", {}), ('{"a": [1]}', {"a": [1]})])
def test_arguments_are_an_object_for_those_who_want_one(written, meant):
    assert Call(id="1", name="f", arguments=written).decode("messages[0]") == meant


@pytest.mark.parametrize("written", ["{", "[1]", "1", '"x"', "null", "{} {}"])
def test_arguments_that_are_no_object_are_refused_with_their_place(written):
    with pytest.raises(RowFault, match=r"messages\[0\]: the arguments of 'f' are no JSON object") as caught:
        Call(id="1", name="f", arguments=written).decode("messages[0]")

    assert caught.value.code == "bad_arguments"


def test_the_tool_that_an_answer_is_of_is_known_by_the_call():
    found = decode_chat(
        {"messages": [{"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1"}]}
    )

    assert found.tool_of("call_1") == "look"
    assert found.tool_of("another") is None
    assert found.tool_of(None) is None


def test_messages_may_be_structs_or_dataclasses():
    class Message(msgspec.Struct, omit_defaults=True):
        role: str
        content: str
        name: str | None = None

    @dataclass
    class Other:
        role: str
        content: str

    assert [turn.parts for turn in turns(Message("user", "a"), Other("user", "b"))] == [
        (Text(text="a"),),
        (Text(text="b"),),
    ]


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        ("hi", "wrong_type", "messages[1] is 'hi', not an object"),
        ({}, "bad_role", "messages[1].role is None"),
        ({"role": "function", "name": "f", "content": "x"}, "bad_role", "'function'"),
        ({"role": ["user"], "content": "x"}, "bad_role", "['user']"),
        ({"role": "user"}, "empty_field", "messages[1].content is empty"),
        ({"role": "user", "content": ""}, "empty_field", "messages[1].content is empty"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "empty_field", "messages[1].content"),
        ({"role": "user", "content": 7}, "wrong_type", "messages[1].content is 7"),
        ({"role": "user", "content": [{"type": "video"}]}, "bad_part", "messages[1].content[0].type"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "unknown_field", "messages[1] has 'tool_calls'"),
        ({"role": "user", "content": "x", "tool_call_id": "1"}, "unknown_field", "'tool_call_id'"),
        ({"role": "user", "content": "x", "refusal": "no"}, "unknown_field", "'refusal'"),
        ({"role": "user", "content": "x", "weight": 0}, "unknown_field", "'weight'"),
        ({"role": "user", "content": "x", "name": 1}, "wrong_type", "messages[1].name is 1"),
        ({"role": "system", "content": "x", "tool_calls": [CALL]}, "unknown_field", "'tool_calls'"),
        ({"role": "system", "content": {}}, "wrong_type", "messages[1].content is {}"),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": "https://x/a.png"}]},
            "wrong_type",
            "messages[1]: the system speaks in words alone, not in images",
        ),
        ({"role": "assistant", "content": "x", "audio": {"id": "a"}}, "unknown_field", "'audio'"),
        ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "unknown_field", "'function_call'"),
        ({"role": "assistant", "content": "x", "annotations": [{}]}, "unknown_field", "'annotations'"),
        ({"role": "assistant", "content": "x", "reasoning_content": "hm"}, "unknown_field", "'reasoning_content'"),
        ({"role": "assistant", "content": "x", "prefix": True}, "unknown_field", "'prefix'"),
        ({"role": "assistant", "content": "x", "refusal": 1}, "wrong_type", "refusal is 1"),
        ({"role": "tool", "content": "x"}, "missing_field", "messages[1]: a tool's message needs tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": 1}, "wrong_type", "tool_call_id is 1"),
        ({"role": "tool", "content": "x", "tool_call_id": "1", "is_error": True}, "unknown_field", "'is_error'"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused_with_its_place(message, code, says):
    refused = fault(ASK, message)

    assert refused.code == code
    assert says in refused.message


@pytest.mark.parametrize(
    ("calls", "code", "says"),
    [
        (7, "wrong_type", "messages[0].tool_calls is 7"),
        ({"id": "1"}, "wrong_type", "messages[0].tool_calls is {'id': '1'}"),
        (["x"], "wrong_type", "messages[0].tool_calls[0] is 'x'"),
        ([CALL, {"id": "2"}], "wrong_type", "messages[0].tool_calls[1].function is None"),
        ([{"id": "1", "type": "custom", "custom": {}}], "unsupported", "calls of functions alone"),
        ([{**CALL, "id": None}], "wrong_type", "tool_calls[0].id is None"),
        ([{**CALL, "id": 1}], "wrong_type", "tool_calls[0].id is 1"),
        ([{**CALL, "later": 1}], "unknown_field", "tool_calls[0] has 'later'"),
        ([{**CALL, "extra_content": "x"}], "wrong_type", "extra_content is 'x'"),
        ([{"id": "1", "function": {"arguments": ""}}], "wrong_type", "function.name is None"),
        ([{"id": "1", "function": {"name": "f", "output": ""}}], "unknown_field", "function has 'output'"),
        ([{"id": "1", "function": {"name": "f", "arguments": {"a": float("nan")}}}], "nan", "NaN"),
    ],
)
def test_a_call_that_cannot_be_read_is_refused_with_its_place(calls, code, says):
    refused = fault({"role": "assistant", "content": "x", "tool_calls": calls})

    assert refused.code == code
    assert says in refused.message


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({}, "missing_field", "needs messages; this one has nothing"),
        ({"prompt": "hi", "n": 2}, "missing_field", "this one has n, prompt"),
        ({"messages": None}, "missing_field", "this one has nothing"),
        ({"messages": []}, "empty_field", "its messages is empty: []"),
        ({"messages": "hi"}, "wrong_type", "messages is 'hi', not a list"),
        ({"messages": {"role": "user"}}, "wrong_type", "not a list"),
        ({"messages": [{"role": "system", "content": "x"}]}, "empty_field", "nothing to answer"),
    ],
)
def test_a_request_without_messages_is_none(body, code, says):
    with pytest.raises(RowFault) as caught:
        decode_chat(body)

    assert caught.value.code == code
    assert says in caught.value.message


# Fields


@pytest.mark.parametrize(
    ("fields", "longest"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": 9}, 7),
        ({"max_completion_tokens": None, "max_tokens": 9}, 9),
    ],
)
def test_the_newer_word_for_the_longest_answer_comes_first(fields, longest):
    found = chat(**fields)

    assert (found.max_tokens, found.rest) == (longest, {})


@pytest.mark.parametrize("most", [0, -1, 1.5, "7", True, [7]])
@pytest.mark.parametrize("word", ["max_tokens", "max_completion_tokens"])
def test_a_length_is_a_whole_number_from_one_up(word, most):
    refused = fault(**{word: most})

    assert refused.code == "wrong_type"
    assert f"is {most!r}" in refused.message


@pytest.mark.parametrize(
    ("stop", "stops"), [("x", ("x",)), (["x", "y"], ("x", "y")), ([], ()), (None, ()), (("x",), ("x",))]
)
def test_texts_that_end_an_answer(stop, stops):
    assert chat(stop=stop).stop == stops


@pytest.mark.parametrize("stop", [1, [1], {"a": 1}, 0, False])
def test_what_ends_an_answer_is_text(stop):
    assert fault(stop=stop).code == "wrong_type"


def test_fields_of_the_callers_own_are_kept_apart():
    found = chat(extra_body={"thinking": {"type": "adaptive"}}, temperature=0.5)

    assert (found.extra, found.rest) == ({"thinking": {"type": "adaptive"}}, {"temperature": 0.5})


@pytest.mark.parametrize("extra", [1, "x", [], [1], False])
def test_fields_of_the_callers_own_are_an_object(extra):
    assert fault(extra_body=extra).message.startswith(f"extra_body is {extra!r}")


@pytest.mark.parametrize("parallel", [True, False, None])
def test_parallel_calls(parallel):
    assert chat(parallel_tool_calls=parallel).parallel_tool_calls is parallel


def test_whether_calls_are_parallel_is_said_with_yes_or_no():
    assert fault(parallel_tool_calls="no").message.startswith("parallel_tool_calls is 'no'")


@pytest.mark.parametrize(
    "no_op",
    [
        *[
            {"n": 1},
            {"stream": False},
            {"store": False},
            {"logprobs": False},
            {"logit_bias": {}},
            {"modalities": ["text"]},
            {"top_logprobs": 0},
            {"verbosity": "medium"},
        ],
        *[{"frequency_penalty": 0}, {"presence_penalty": 0.0}, {"tools": []}, {"stop": []}, {"extra_body": {}}],
        *[{name: None} for name in ("stream", "seed", "tools", "tool_choice", "response_format", "a_new_field")],
    ],
)
def test_null_and_a_fields_own_default_mean_the_same_as_its_absence(no_op):
    assert chat(**no_op) == chat()


@pytest.mark.parametrize(
    "said",
    [
        *[{"n": 2}, {"n": True}, {"store": True}, {"logprobs": True}, {"logprobs": 0}, {"logit_bias": {"1": 1}}],
        *[{"frequency_penalty": 0.1}, {"presence_penalty": False}, {"modalities": ["audio"]}, {"store": 0}],
        *[{"temperature": 0}, {"seed": 0}, {"user": ""}, {"metadata": {}}, {"top_k": 5}, {"a_new_field": False}],
        *[{"stream_options": {"include_usage": True}}, {"functions": []}, {"service_tier": "auto"}],
    ],
)
def test_every_other_field_is_handed_on_by_name(said):
    assert chat(**said).rest == said


@pytest.mark.parametrize("stream", [True, 1, "yes"])
def test_what_streams_is_refused(stream):
    assert fault(stream=stream).code == "streaming"


def test_the_callers_body_is_left_as_it_is():
    body = {
        "model": "m",
        "messages": [ASK, {"role": "assistant", "content": None, "tool_calls": [CALL], "annotations": []}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "extra_body": {"a": 1},
        "stop": "x",
    }
    before = json.dumps(body)
    decode_chat(body)

    assert json.dumps(body) == before


# Tools


def test_a_tool_is_read_field_by_field():
    parameters = {"type": "object", "properties": {"at": {"type": "string", "default": None}}}
    full = {"name": "f", "description": "d", "parameters": parameters, "strict": True}
    tools = [
        {"type": "function", "function": full, "cache_control": CACHE},
        {"type": "function", "function": {"name": "g", "description": None, "strict": None, "cache_control": CACHE}},
        {"type": "function", "function": {"name": "h", "parameters": {}, "strict": False}},
    ]

    assert chat(tools=tools).tools == (
        Tool(name="f", description="d", parameters=parameters, strict=True, cache=CACHE),
        Tool(name="g", cache=CACHE),
        Tool(name="h", parameters={}, strict=False),
    )


@pytest.mark.parametrize(
    ("tools", "code", "says"),
    [
        ("f", "wrong_type", "tools is 'f'"),
        ({"type": "function"}, "wrong_type", "tools is {'type': 'function'}"),
        (["f"], "wrong_type", "tools[0] is 'f', not an object"),
        ([{"type": "custom", "custom": {"name": "f"}}], "unsupported", "tools[0] is of type 'custom'"),
        ([{"type": "web_search"}], "unsupported", "'web_search'"),
        ([{"function": {"name": "f"}}], "wrong_type", "tools[0].type is None"),
        ([{"type": "function"}], "wrong_type", "tools[0].function is None"),
        ([{"type": "function", "name": "f"}], "unknown_field", "tools[0] has 'name'"),
        ([{"type": "function", "function": {"description": "d"}}], "wrong_type", "tools[0].function.name is None"),
        ([{"type": "function", "function": {"name": "f", "description": 1}}], "wrong_type", "description is 1"),
        ([{"type": "function", "function": {"name": "f", "parameters": []}}], "wrong_type", "parameters is []"),
        ([{"type": "function", "function": {"name": "f", "strict": "yes"}}], "wrong_type", "strict is 'yes'"),
        ([{"type": "function", "function": {"name": "f", "returns": {}}}], "unknown_field", "has 'returns'"),
    ],
)
def test_a_tool_that_cannot_be_read_is_refused_with_its_place(tools, code, says):
    refused = fault(tools=tools)

    assert refused.code == code
    assert says in refused.message


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ("auto", ("auto", None)),
        ("none", ("none", None)),
        ("required", ("required", None)),
        ({"type": "function", "function": {"name": "f"}}, ("required", "f")),
        ({"function": {"name": "f"}}, ("required", "f")),
        (None, (None, None)),
    ],
)
def test_a_choice_of_tools(choice, found):
    asked = chat(tool_choice=choice)

    assert (asked.tool_choice, asked.tool_name) == found


@pytest.mark.parametrize(
    "choice",
    [
        *[
            "any",
            1,
            [],
            {},
            {"type": "function"},
            {"type": "function", "function": {}},
            {"type": "function", "name": "f"},
        ],
        *[{"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, {"type": "custom", "custom": {}}],
        *[{"type": "tool", "function": {"name": "f"}}, {"type": ["function"], "function": {"name": "f"}}],
        *[{"type": "function", "function": {"name": 1}}, {"type": "function", "function": {"name": 1, "later": 1}}],
    ],
)
def test_a_choice_that_cannot_be_read_is_refused_with_its_value(choice):
    refused = fault(tool_choice=choice)

    assert refused.code == "bad_tool_choice"
    assert "auto, none, required or" in refused.message


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"type": "function", "function": {"name": "f", "later": 1}}, "tool_choice.function has 'later'"),
        ({"function": {"name": "f"}, "later": 1}, "tool_choice has 'later'"),
    ],
)
def test_what_a_choice_says_beside_its_tool_is_refused_or_left_out(choice, says):
    refused = fault(tool_choice=choice)

    assert (refused.code, says in refused.message) == ("unknown_field", True)
    read = decode_chat({"messages": [ASK], "tool_choice": choice}, Unsupported("Acme", drop=True))
    assert (read.tool_choice, read.tool_name) == ("required", "f")


# The form of the answer


def test_the_form_of_the_answer():
    class Verdict(msgspec.Struct):
        score: int

    named = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}

    assert (chat(response_format={"type": "text"}).schema, chat(response_format={"type": "text"}).is_json) == (
        None,
        False,
    )
    assert chat(response_format={"type": "json_object"}).is_json is True
    assert chat(response_format=named).schema == JsonSchema(name="n", schema={"type": "object"})
    assert chat(response_format=Verdict).schema.name == "Verdict"


def test_what_is_nested_too_deeply_is_refused_like_anything_else():
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}

    assert "nested too deeply" in fault({"role": "user", "content": deep}).message
    assert "nested too deeply" in fault(tool_choice=deep).message
    assert fault({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": deep}}]})


# What a format says that it cannot express


def test_what_is_unsupported_is_refused_with_the_way_out():
    with pytest.raises(RowFault) as caught:
        Unsupported("Acme")("seed", "it never repeats itself")

    assert caught.value.code == "unsupported"
    assert caught.value.message == (
        'Acme cannot express seed (it never repeats itself): remove it, or let it go with on_unsupported="drop"'
    )


def test_what_is_unsupported_is_noted_once_where_it_is_dropped():
    unsupported = Unsupported("Acme", drop=True)
    for field in ("seed", "n", "seed"):
        unsupported(field)

    assert unsupported.dropped == ["seed", "n"]


def test_a_name_of_the_callers_is_counted_in_a_form_that_can_be_written_down():
    unsupported = Unsupported("Acme", drop=True)
    read = decode_chat({"messages": [{**ASK, "x" * 10_000: 1, "\ud800": 1, 7: 1}]}, unsupported)

    assert read == chat()
    assert max(map(len, unsupported.dropped)) <= 100
    assert [name.encode() for name in unsupported.dropped][1:] == [b"'messages[].\\ud800'", b"messages[].7"]


def test_the_mark_for_the_cache_of_a_message_is_read():
    system, user, last = ({**ASK, "role": role, "cache_control": CACHE} for role in ("system", "user", "assistant"))
    read = decode_chat({"messages": [system, user, last]})

    assert read.system == (Text(text="Say hi", cache=CACHE),)
    assert [turn.cache for turn in read.turns] == [CACHE, CACHE]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional=dict.fromkeys(("content", "tool_calls", "tool_call_id", "refusal", "name"), JSON),
    )
    | JSON,
    max_size=3,
)
FIELDS = ("tools", "tool_choice", "response_format", "stop", "max_tokens", "extra_body", "stream", "seed")


@given(MESSAGES | JSON, st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)))
def test_whatever_json_is_asked_for_is_read_or_refused_and_nothing_else_happens(messages, fields):
    try:
        found = decode_chat({"messages": messages, **fields})
    except RowFault:
        return

    assert found.turns
    assert set(found.rest) <= {"seed"}


class Asked(pydantic.BaseModel):
    name: str
    arguments: str


class Calling(pydantic.BaseModel):
    id: str
    type: str = "function"
    function: Asked


class Said(pydantic.BaseModel):
    role: str
    content: str | None = None
    tool_calls: list[Calling] | None = None


def test_messages_and_calls_may_be_the_objects_that_an_sdk_gives():
    calling = Calling(id="call_1", type="function", function=Asked(name="look", arguments="{}"))

    whole, inside = turns(
        Said(role="assistant", content=None, tool_calls=[calling]), {"role": "assistant", "tool_calls": [calling]}
    )

    assert whole.calls == inside.calls == (Call(id="call_1", name="look", arguments="{}"),)
