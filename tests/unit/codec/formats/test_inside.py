"""What stands inside messages, tools, calls and the form of the answer and has no counterpart: refused by place, or left out.

OpenAI's own rows keep it: what the service takes is the service's to say.
"""

import json

import pytest

from asyncbatch.codec.requests import Request, RowFault
from asyncbatch.codec.rows import RowRules, encode_row
from asyncbatch.enums import BatchMode

FORMATS = {
    "anthropic.messages": "claude-test",
    "gemini.generate": "gemini-2.5-flash",
    "mistral.chat": "mistral-small-latest",
}
ASK = {"role": "user", "content": "Say hi"}
SAID = {"role": "assistant", "content": "Hi."}
TEXT = {"type": "text", "text": "Say hi"}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
WAV = {"data": "UklGRg==", "format": "wav"}
CALL = {"id": "abcDEF123", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CUSTOM_CALL = {"id": "abcDEF456", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CUSTOM = {"type": "custom", "custom": {"name": "sql"}}
SCHEMA = {"name": "n", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}


def encode(name, body, *, mode=BatchMode.CHAT, **rules):
    model = FORMATS.get(name, "gpt-4.1-mini")
    return encode_row(
        Request("mine", dict(body)),
        "a",
        RowRules(
            title="Acme",
            endpoint="/x",
            format=name,
            mode=mode,
            model=model,
            max_tokens=1000,
            line=lambda wire_id, body: body,
            **rules,
        ),
    )


def refusal(name, body, **rules):
    with pytest.raises(RowFault) as caught:
        encode(name, body, **rules)
    return caught.value


def ask(*messages, **fields):
    return {"messages": list(messages), **fields}


def parts(*given):
    return ask({"role": "user", "content": [TEXT, *given]})


def answered(*calls, **fields):
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "1", **fields} for call in calls]
    return ask(ASK, {**SAID, "tool_calls": list(calls)}, *results, ASK)


def image(**fields):
    return {"type": "image_url", "image_url": {"url": PNG}, **fields}


def file(**fields):
    return {"type": "file", "file": {"file_data": PDF, **fields}}


# What is said, what is left of it, the name that it is counted by, and what names its place where it is refused.
MESSAGES = {
    "reasoning": (
        ask(ASK, {**SAID, "reasoning_content": "hm"}, ASK),
        ask(ASK, SAID, ASK),
        "messages[].reasoning_content",
        "messages[1] has 'reasoning_content'",
    ),
    "weight": (ask({**ASK, "weight": 0}), ask(ASK), "messages[].weight", "messages[0] has 'weight'"),
    "annotations": (
        ask(ASK, {**SAID, "annotations": [{"type": "url_citation"}]}, ASK),
        ask(ASK, SAID, ASK),
        "messages[].annotations",
        "messages[1] has 'annotations'",
    ),
    "voice": (
        ask(ASK, {**SAID, "audio": {"id": "a"}}, ASK),
        ask(ASK, SAID, ASK),
        "messages[].audio",
        "messages[1] has 'audio'",
    ),
    "system": (
        ask({"role": "system", "content": "Be brief.", "weight": 1}, ASK),
        ask({"role": "system", "content": "Be brief."}, ASK),
        "messages[].weight",
        "messages[0] has 'weight'",
    ),
    "result": (answered(CALL, is_error=True), answered(CALL), "messages[].is_error", "messages[2] has 'is_error'"),
}
PARTS = {
    "part": (
        parts({**TEXT, "later": 1}),
        parts(TEXT),
        "messages[].content[].later",
        "messages[0].content[1] has 'later'",
    ),
    "part type": (
        parts({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}),
        parts(),
        "messages[].content[] of type video_url",
        "messages[0].content[1].type is 'video_url'; it is text, image_url, file or input_audio",
    ),
    "image": (
        parts({"type": "image_url", "image_url": {"url": PNG, "format": "png"}}),
        parts(image()),
        "messages[].content[].image_url.format",
        "messages[0].content[1].image_url has 'format'",
    ),
    "file": (
        parts(file(title="T")),
        parts(file()),
        "messages[].content[].file.title",
        "messages[0].content[1].file has 'title'",
    ),
}
CALLS = {
    "call": (
        answered({**CALL, "later": 1}),
        answered(CALL),
        "messages[].tool_calls[].later",
        "messages[1].tool_calls[0] has 'later'",
    ),
    "call's function": (
        answered({**CALL, "function": {**CALL["function"], "output": ""}}),
        answered(CALL),
        "messages[].tool_calls[].function.output",
        "messages[1].tool_calls[0].function has 'output'",
    ),
}
TOOLS = {
    "tool": (
        ask(ASK, tools=[{**LOOK, "later": 1}]),
        ask(ASK, tools=[LOOK]),
        "tools[].later",
        "tools[0] has 'later'",
    ),
    "tool's function": (
        ask(ASK, tools=[{**LOOK, "function": {**LOOK["function"], "returns": {}}}]),
        ask(ASK, tools=[LOOK]),
        "tools[].function.returns",
        "tools[0].function has 'returns'",
    ),
    "tool type": (
        ask(ASK, tools=[LOOK, CUSTOM], tool_choice="required"),
        ask(ASK, tools=[LOOK], tool_choice="required"),
        "tools[] of type custom",
        "tools[1] is of type 'custom'",
    ),
    "allowed tools": (
        ask(ASK, tools=[LOOK], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}),
        ask(ASK, tools=[LOOK]),
        "tool_choice of type allowed_tools",
        "tool_choice is {'type': 'allowed_tools'",
    ),
    "choice": (
        ask(ASK, tools=[LOOK], tool_choice={"function": {"name": "look", "later": 1}}),
        ask(ASK, tools=[LOOK], tool_choice={"function": {"name": "look"}}),
        "tool_choice.function.later",
        "tool_choice.function has 'later'",
    ),
}
FORMS = {
    "form": (
        ask(ASK, response_format={"type": "json_schema", "json_schema": SCHEMA, "later": 1}),
        ask(ASK, response_format={"type": "json_schema", "json_schema": SCHEMA}),
        "response_format.later",
        "response_format has 'later'",
    ),
    "schema": (
        ask(ASK, response_format={"type": "json_schema", "json_schema": {**SCHEMA, "later": 1}}),
        ask(ASK, response_format={"type": "json_schema", "json_schema": SCHEMA}),
        "response_format.json_schema.later",
        "response_format.json_schema has 'later'",
    ),
    "form type": (
        ask(ASK, response_format={"type": "grammar", "grammar": "x"}),
        ask(ASK),
        "response_format of type grammar",
        "response_format.type is 'grammar'; it is text, json_object or json_schema",
    ),
}
INSIDE = MESSAGES | PARTS | CALLS | TOOLS | FORMS
every_place = pytest.mark.parametrize(("said", "left", "field", "place"), INSIDE.values(), ids=INSIDE)
every_format = pytest.mark.parametrize("name", FORMATS)


@every_format
@every_place
def test_what_has_no_counterpart_is_refused_with_its_place_and_the_way_out(name, said, left, field, place):
    refused = refusal(name, said)

    assert place in refused.message
    assert refused.message.endswith(': remove it, or let it go with on_unsupported="drop"')
    assert encode(name, left).dropped == ()


@every_format
@every_place
def test_or_the_rest_is_sent_without_it_and_it_is_counted_by_its_field(name, said, left, field, place):
    before = json.dumps(said)
    row = encode(name, said, is_dropping=True)

    assert row.dropped == (field,)
    assert row.line == encode(name, left).line
    assert json.dumps(said) == before


@every_place
def test_in_a_row_for_openai_it_stays(said, left, field, place):
    row = encode("openai.chat", said)

    assert row.dropped == ()
    assert json.loads(row.line) == {**said, "model": "gpt-4.1-mini"}


@pytest.mark.parametrize("name", ["gemini.generate", "mistral.chat"])
def test_what_a_sound_says_beside_its_bytes_is_refused_or_left_out(name):
    said = parts({"type": "input_audio", "input_audio": {**WAV, "id": 1}})
    row = encode(name, said, is_dropping=True)

    assert "messages[0].content[1].input_audio has 'id'" in refusal(name, said).message
    assert row.dropped == ("messages[].content[].input_audio.id",)
    assert row.line == encode(name, parts({"type": "input_audio", "input_audio": WAV})).line


@every_format
def test_the_same_in_several_places_is_one_thing_that_is_left_out(name):
    said = [{**ASK, "weight": 1}, {**SAID, "weight": 0}, {**ASK, "weight": 1, "later": 1}]

    assert encode(name, ask(*said), is_dropping=True).dropped == ("messages[].weight", "messages[].later")


@every_format
def test_with_a_call_that_is_left_out_goes_its_answer(name):
    row = encode(name, answered(CUSTOM_CALL, CALL), is_dropping=True)

    assert row.dropped == ("messages[].tool_calls[] of type custom", "the answer to a call that is left out")
    assert row.line == encode(name, answered(CALL)).line
    assert "messages[1].tool_calls[0] is {" in refusal(name, answered(CUSTOM_CALL, CALL)).message


@every_format
@pytest.mark.parametrize("choice", ["required", "auto", {"type": "function", "function": {"name": "sql"}}])
def test_where_no_tool_is_left_there_is_no_choice_to_be_made(name, choice):
    row = encode(name, ask(ASK, tools=[CUSTOM], tool_choice=choice, parallel_tool_calls=False), is_dropping=True)

    assert row.dropped == ("tools[] of type custom", "tool_choice")
    assert row.line == encode(name, ask(ASK)).line


@every_format
def test_tools_of_the_providers_own_are_a_choice_too(name):
    extra = {"tools": [{"type": "web_search"}]}
    said = ask(ASK, tools=[CUSTOM], tool_choice="required", extra_body=extra)

    assert encode(name, said, is_dropping=True).dropped == ("tools[] of type custom",)
    assert encode(name, said, is_dropping=True).line == encode(name, {**said, "tools": []}).line


WRONG = {
    "no such role": (ask({"role": "robot", "content": "x", "later": 1}), "bad_role"),
    "a message that is none": (ask("hi"), "wrong_type"),
    "a name of the wrong type": (ask({**ASK, "name": 1, "later": 1}), "wrong_type"),
    "a result of no call": (ask(ASK, {"role": "tool", "content": "x", "later": 1}), "missing_field"),
    "a part without a type": (parts({"text": "x"}), "bad_part"),
    "a part of the wrong type": (parts({"type": ["text"]}), "bad_part"),
    "a text that is none": (parts({"type": "text", "text": 1, "later": 1}), "wrong_type"),
    "a file that is nowhere": (ask({"role": "user", "content": [{"type": "file", "file": {"x": 1}}]}), "missing_field"),
    "an image of the system's": (ask({"role": "system", "content": [image()]}, ASK), "wrong_type"),
    "nothing left of a message": (ask({"role": "user", "content": [{"type": "video_url"}]}), "empty_field"),
    "nothing left of an answer": (
        ask(ASK, {"role": "assistant", "content": None, "tool_calls": [CUSTOM_CALL]}, ASK),
        "empty_field",
    ),
    "a call without an id": (answered({**CALL, "id": None}), "wrong_type"),
    "a call whose type is none": (answered({**CALL, "type": 1}), "wrong_type"),
    "a call of nothing": (answered({"id": "1", "later": 1}), "wrong_type"),
    "a tool without a type": (ask(ASK, tools=[{"function": {"name": "f"}}]), "wrong_type"),
    "a tool in the shape of another API": (ask(ASK, tools=[{"type": "function", "name": "f"}]), "wrong_type"),
    "a tool without a name": (ask(ASK, tools=[{"type": "function", "function": {"later": 1}}]), "wrong_type"),
    "no such choice": (ask(ASK, tools=[LOOK], tool_choice="any"), "bad_tool_choice"),
    "a choice of nothing": (ask(ASK, tools=[LOOK], tool_choice={"type": "function"}), "bad_tool_choice"),
    "a form without a type": (ask(ASK, response_format={"later": 1}), "bad_response_format"),
    "a form without a schema": (ask(ASK, response_format={"type": "json_schema", "later": 1}), "bad_response_format"),
    "a schema without a name": (
        ask(ASK, response_format={"type": "json_schema", "json_schema": {"schema": {}, "later": 1}}),
        "bad_response_format",
    ),
}


@every_format
@pytest.mark.parametrize(("said", "code"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_whatever_is_left_out(name, said, code):
    refused = refusal(name, said, is_dropping=True)

    assert refused.code == code
    assert "on_unsupported" not in refused.message
    refusal(name, said)


@pytest.mark.parametrize("name", ["anthropic.messages", "gemini.generate"])
def test_arguments_that_are_no_json_are_refused_whatever_is_left_out(name):
    broken = {**CALL, "function": {"name": "look", "arguments": "{", "later": 1}}

    assert refusal(name, answered(broken), is_dropping=True).code == "bad_arguments"


# The model of the job


OTHERS = {
    **dict.fromkeys((*FORMATS, "openai.chat"), (BatchMode.CHAT, ask(ASK))),
    "openai.completion": (BatchMode.COMPLETION, {"prompt": "x"}),
    "openai.embedding": (BatchMode.EMBEDDING, {"input": "x"}),
    "gemini.embed": (BatchMode.EMBEDDING, {"input": "x"}),
    "mistral.fim": (BatchMode.COMPLETION, {"prompt": "x"}),
    "mistral.embedding": (BatchMode.EMBEDDING, {"input": "x"}),
}
every_other = pytest.mark.parametrize(
    ("name", "mode", "body"), [(name, mode, body) for name, (mode, body) in OTHERS.items()], ids=OTHERS
)


@every_other
@pytest.mark.parametrize("model", ["gpt-5", "claude-other", 7, ["x"]])
def test_a_model_in_the_row_gives_way_to_the_jobs_where_that_is_asked_for(name, mode, body, model):
    for other in ({**body, "model": model}, {**body, "extra_body": {"model": model, "seed": 1}}):
        refused = refusal(name, other, mode=mode)
        row = encode(name, other, mode=mode, is_replacing_model=True)
        same = {**body, "extra_body": {"seed": 1}} if "extra_body" in other else body
        sent, wanted = json.loads(row.line), json.loads(encode(name, same, mode=mode).line)

        assert (refused.code, "replace_model=True" in refused.message) == ("mixed_models", True)
        assert sent.pop("model", None) in (None, FORMATS.get(name, "gpt-4.1-mini"))
        wanted.pop("model", None)
        assert (sent, row.dropped) == (wanted, ())


@pytest.mark.parametrize("name", ["openai.responses", "anthropic.messages", "gemini.generate", "mistral.ocr"])
def test_so_it_does_in_a_body_of_the_callers_own(name):
    body = {"model": "gpt-5", "contents": [{"parts": [{"text": "x"}]}], "max_tokens": 1, "messages": [ASK]}
    body["extra_body"] = {"model": "gpt-5"}  # in such a body a field like any other
    row = encode(name, body, mode=BatchMode.CUSTOM, is_replacing_model=True)

    assert refusal(name, body, mode=BatchMode.CUSTOM).code == "mixed_models"
    assert json.loads(row.line) == {**body, "model": FORMATS.get(name, "gpt-4.1-mini")}
    assert body["model"] == body["extra_body"]["model"] == "gpt-5"


@pytest.mark.parametrize("name", ["gemini.generate", "mistral.ocr"])
def test_a_body_without_a_model_gets_none(name):
    body = {"contents": [{"parts": [{"text": "x"}]}]}

    assert json.loads(encode(name, body, mode=BatchMode.CUSTOM, is_replacing_model=True).line) == body


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("choice", [None, "auto", "required"])
def test_where_no_tool_is_left_there_is_no_choice_among_them_either(name, choice):
    row = encode(name, ask(ASK, tools=[CUSTOM], tool_choice=choice), is_dropping=True)

    assert row.dropped == (("tools[] of type custom",) if choice is None else ("tools[] of type custom", "tool_choice"))
    assert row.line == encode(name, ask(ASK)).line


@pytest.mark.parametrize("name", FORMATS)
def test_everything_that_a_row_asks_for_in_vain_is_named_at_once(name):
    fault = refusal(name, ask({**ASK, "weight": 1}, logit_bias={"1": 2}, store=True, web_search_options={"a": 1}))

    assert all(word in fault.message for word in ("weight", "logit_bias", "store", "web_search_options"))
    assert fault.message.count("on_unsupported") == 1


def test_of_very_many_things_the_first_are_named_and_the_others_counted():
    fault = refusal("gemini.generate", ask(ASK, **{f"field_{n}": n + 1 for n in range(12)}))

    assert "field_4" in fault.message
    assert "field_5" not in fault.message
    assert "and 7 more" in fault.message
