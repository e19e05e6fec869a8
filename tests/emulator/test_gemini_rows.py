"""Gemini's rows: what is refused in one, what it asks for in neutral words, and how its answer looks."""

import json

import pytest

from asyncbatch.emulator.dialect import load_dialects
from asyncbatch.emulator.families.gemini_answers import encode_chat
from asyncbatch.emulator.families.gemini_asks import as_json_schema, ask_chat, ask_embedding
from asyncbatch.emulator.families.gemini_messages import Messages, ShapeError
from asyncbatch.emulator.families.openai_asks import ask_chat as openai_ask
from asyncbatch.emulator.model import Answer, Ask, Message, ToolCall
from tests.emulator.gemini_wire import EMBED, MODEL, GeminiApi, chat, file_rows, inline_rows, said

FACTS = load_dialects()["gemini"].protocol
MESSAGES = Messages(FACTS["messages"], FACTS["enums"], FACTS["oneofs"])
FUNCTION = {"name": "get_weather", "parametersJsonSchema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}
RESULT = {"functionResponse": {"name": "f", "response": {"output": "sun"}}}


@pytest.fixture
async def api(emulator):
    api = GeminiApi(emulator)
    yield api
    await api.session.close()


def config(**settings):
    return chat(generationConfig=settings)


def tools(*functions, **choice):
    choices = {"toolConfig": {"functionCallingConfig": choice}} if choice else {}
    return chat(tools=[{"functionDeclarations": list(functions)}], **choices)


def turns(*contents):
    return {"contents": list(contents)}


def model_turn(*parts):
    return {"role": "model", "parts": list(parts)}


def user_turn(*parts):
    return {"role": "user", "parts": list(parts)}


class TestChecks:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({}, "contents"),
            (turns(), "contents"),
            (turns({"role": "assistant", "parts": [{"text": "x"}]}), "valid role"),
            (turns({"role": "user"}), "parts"),
            (turns(user_turn({"thought": True})), "must have data"),
            (turns(user_turn({"inlineData": {"data": "YQ=="}})), "mimeType"),
            (turns(user_turn({"inlineData": {"mimeType": "image/png", "data": ""}})), "data"),
            (turns(user_turn({"fileData": {"mimeType": "image/png"}})), "fileUri"),
            (turns(said(), model_turn({"functionCall": {"args": {}}})), "functionCall.name"),
            (turns(user_turn({"functionResponse": {"response": {}}})), "functionResponse.name"),
            (turns(user_turn({"functionResponse": {"name": "f"}})), "functionResponse.response"),
            (turns(user_turn(RESULT)), "do not match the 0"),
            (turns(said(), model_turn(CALL, CALL), user_turn(RESULT)), "do not match the 2"),
            (chat(systemInstruction={"parts": []}), "system_instruction"),
            (chat(systemInstruction={"parts": [CALL]}), "system_instruction"),
            (config(temperature=2.1), "temperature"),
            (config(temperature=-0.1), "temperature"),
            (config(topP=1.5), "topP"),
            (config(topK=0), "topK"),
            (config(candidateCount=9), "candidateCount"),
            (config(maxOutputTokens=0), "maxOutputTokens"),
            (config(presencePenalty=3), "presencePenalty"),
            (config(frequencyPenalty=-3), "frequencyPenalty"),
            (config(stopSequences=["a"] * 6), "stop sequences"),
            (config(logprobs=3), "response_logprobs"),
            (config(thinkingConfig={"thinkingBudget": 1, "thinkingLevel": "LOW"}), "either a thinking"),
            (config(thinkingConfig={"thinkingBudget": -2}), "thinking budget"),
            (config(responseMimeType="text/html"), "response_mime_type"),
            (config(responseJsonSchema={}), "response_mime_type"),
            (config(responseSchema={"type": "OBJECT"}), "response_mime_type"),
            (
                config(responseMimeType="application/json", responseJsonSchema={}, responseSchema={"type": "STRING"}),
                "either response_schema",
            ),
            (tools({"description": "x"}), "function name"),
            (tools({"name": "1f"}), "function name"),
            (tools({"name": "f" * 129}), "function name"),
            (tools({"name": "f g"}), "function name"),
            (tools({"name": "f"}, {"name": "f"}), "twice"),
            (tools({**FUNCTION, "parameters": {"type": "OBJECT"}}), "either parameters"),
            (tools(FUNCTION, mode="AUTO", allowedFunctionNames=["get_weather"]), "modes ANY"),
            (tools(FUNCTION, mode="ANY", allowedFunctionNames=["g"]), "not declared"),
            (chat(toolConfig={"functionCallingConfig": {"mode": "ANY"}}), "needs function declarations"),
            (chat(safetySettings=[{"threshold": "OFF"}]), "category"),
            (chat(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT"}] * 2), "category"),
        ],
    )
    async def test_what_the_model_refuses_is_an_error_of_the_row(self, api, body, text):
        refused, fine = await api.answers(body, chat())

        assert refused.keys() == {"metadata", "error"}
        assert refused["error"]["code"] == 3
        assert text in refused["error"]["message"]
        assert "response" in fine

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({}, "content"),
            ({"content": {"parts": [{"text": ""}]}}, "text"),
            ({"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "YQ=="}}]}}, "text"),
            ({"content": {"parts": [{"text": "a"}]}, "title": "t"}, "RETRIEVAL_DOCUMENT"),
            ({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 0}, "3072"),
            ({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 3073}, "3072"),
        ],
    )
    async def test_what_cannot_be_embedded_is_an_error_of_the_row(self, api, body, text):
        (refused,) = await api.answers(body, path=EMBED)

        assert refused["error"]["code"] == 3
        assert text in refused["error"]["message"]

    @pytest.mark.parametrize(
        "body",
        [
            turns({"parts": [{"text": "no role"}]}),
            turns(said(), model_turn(CALL), user_turn(RESULT, {"text": "and?"})),
            config(temperature=0, topP=1, topK="40", candidateCount=2, seed=-7, stopSequences=["a"] * 5),
            config(responseLogprobs=True, logprobs=3, responseModalities=["text"]),
            tools({"name": "_a.b:c-d"}, FUNCTION, mode="validated", allowedFunctionNames=["get_weather"]),
            chat(tools=[{"googleSearch": {}}, {"codeExecution": {}}]),
            chat(cachedContent="cachedContents/x", serviceTier="flex"),
        ],
    )
    async def test_what_the_model_takes_is_answered(self, api, body):
        (row,) = await api.answers(body)

        assert row["response"]["candidates"][0]["finishReason"] == "STOP"


class TestMessages:
    @pytest.mark.parametrize(
        ("body", "where", "text"),
        [
            ({"generationConfig": {"temperature": "warm"}}, "generationConfig.temperature", "a number"),
            ({"generationConfig": {"temperature": True}}, "generationConfig.temperature", "a number"),
            ({"generationConfig": {"temperature": "nan"}}, "generationConfig.temperature", "a number"),
            ({"generationConfig": {"seed": 2**31}}, "generationConfig.seed", "32 bits"),
            ({"generationConfig": {"seed": True}}, "generationConfig.seed", "32 bits"),
            ({"generationConfig": {"responseLogprobs": "true"}}, "generationConfig.responseLogprobs", "true or false"),
            ({"generation_config": {"top_p": 1, "topP": 1}}, "generation_config", "twice"),
            ({"contents": [{"parts": [{"text": 7}]}]}, "contents[0].parts[0].text", "a string"),
            (
                {"contents": [{"parts": [{"text": "a", "functionCall": {"name": "f"}}]}]},
                "contents[0].parts[0]",
                "Only one",
            ),
            (
                {"contents": [{"parts": [{"inlineData": {"data": "a b"}}]}]},
                "contents[0].parts[0].inlineData.data",
                "base64",
            ),
            ({"contents": {}}, "contents", "an array"),
            ({"contents": ["hello"]}, "contents[0]", "an object"),
            ({"safetySettings": [{"category": "HARM"}]}, "safetySettings[0].category", "one of"),
            ({"tools": [{"functions": []}]}, "tools[0]", 'Unknown name "functions"'),
            ({"labels": {"a": 1}}, "labels.a", "a string"),
            (
                {"tools": [{"functionDeclarations": [{"parameters": {"properties": {"a": {"kind": "x"}}}}]}]},
                "tools[0].functionDeclarations[0].parameters.properties.a",
                'Unknown name "kind"',
            ),
        ],
    )
    def test_a_message_with_another_shape_is_refused_where_it_is_wrong(self, body, where, text):
        with pytest.raises(ShapeError, match=text) as caught:
            MESSAGES.read("GenerateContentRequest", body)

        assert caught.value.where == where

    def test_a_message_is_read_in_either_spelling_to_one(self):
        snake = {"generation_config": {"max_output_tokens": "5", "top_k": 40.0, "stop_sequences": None}, "model": "m"}

        read = MESSAGES.read("GenerateContentRequest", snake)

        assert read == {"generationConfig": {"maxOutputTokens": 5, "topK": 40}, "model": "m"}

    def test_both_alphabets_of_base64_are_read(self):
        for data in ("-_-_", "+/+/", "YQ", "YQ=="):
            assert MESSAGES.read("Blob", {"data": data}) == {"data": data}

    def test_what_the_service_does_not_look_into_stays_as_it_is(self):
        schema = {"type": "object", "some_thing": None}

        assert MESSAGES.read("FunctionDeclaration", {"parameters_json_schema": schema}) == {
            "parametersJsonSchema": schema
        }


class TestAsks:
    def ask(self, body):
        return ask_chat(MODEL, MESSAGES.read("GenerateContentRequest", body))

    def test_an_ask_that_means_the_same_is_the_same_in_every_dialect(self):
        schema, url = {"type": "object", "properties": {"a": {"type": "integer"}}}, "data:image/png;base64,YWJj"
        ours = self.ask(
            {
                "systemInstruction": {"parts": [{"text": "be"}, {"text": "short"}]},
                "contents": [
                    user_turn({"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "YWJj"}}),
                    model_turn({"functionCall": {"name": "get_weather", "args": {"a": 1}, "id": "c1"}}),
                    user_turn({"functionResponse": {"name": "get_weather", "id": "c1", "response": {"output": "sun"}}}),
                    model_turn({"text": "a thought", "thought": True}, {"text": "it shines"}),
                    said("and now?"),
                ],
                "tools": [{"functionDeclarations": [{**FUNCTION, "description": "d"}]}],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}},
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseJsonSchema": schema,
                    "maxOutputTokens": 9,
                    "stopSequences": ["x"],
                    "candidateCount": 2,
                    "temperature": 0.5,
                    "topP": 0.9,
                    "seed": 7,
                    "presencePenalty": 1,
                    "frequencyPenalty": 1,
                    "thinkingConfig": {"thinkingLevel": "LOW"},
                },
            }
        )
        call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"a":1}'}}
        function = {"name": "get_weather", "description": "d", "parameters": FUNCTION["parametersJsonSchema"]}
        theirs = openai_ask(
            {
                "model": MODEL,
                "messages": [
                    {"role": "system", "content": "be"},
                    {"role": "developer", "content": "short"},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "look"},
                            {"type": "image_url", "image_url": {"url": url}},
                        ],
                    },
                    {"role": "assistant", "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "c1", "content": "sun"},
                    {"role": "assistant", "content": "it shines"},
                    {"role": "user", "content": "and now?"},
                ],
                "tools": [{"type": "function", "function": function}],
                "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
                "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
                "max_tokens": 9,
                "stop": ["x"],
                "n": 2,
                "temperature": 0.5,
                "top_p": 0.9,
                "seed": 7,
                "presence_penalty": 1,
                "frequency_penalty": 1,
                "reasoning_effort": "low",
            }
        )

        for name in ours.__struct_fields__:
            if name != "body":
                assert getattr(ours, name) == getattr(theirs, name), name

    def test_results_of_functions_come_before_what_the_user_says(self):
        ask = self.ask(
            turns(
                said(),
                model_turn(CALL, CALL, {"text": "wait"}),
                user_turn({"text": "so?"}, RESULT, {"functionResponse": {"name": "f", "response": {"a": [1]}}}),
            )
        )

        calls = (ToolCall(name="f", arguments='{"a":1}'),) * 2
        assert ask.messages == (
            Message(role="user", text="hello"),
            Message(role="assistant", text="wait", tool_calls=calls),
            Message(role="tool", text="sun", tool_call_id="f"),
            Message(role="tool", text='{"a":[1]}', tool_call_id="f"),
            Message(role="user", text="so?"),
        )

    def test_files_are_pictures_or_documents(self):
        parts = [
            {"inlineData": {"mimeType": "application/pdf", "data": "YQ"}},
            {"fileData": {"fileUri": "https://files.example/a", "mimeType": "image/png"}},
            {"fileData": {"fileUri": "https://files.example/b"}},
        ]
        (message,) = self.ask(turns(user_turn(*parts))).messages

        assert message.images == ("https://files.example/a",)
        assert message.documents == ("data:application/pdf;base64,YQ", "https://files.example/b")

    @pytest.mark.parametrize(
        ("choice", "wanted"),
        [
            ({}, ("auto", None)),
            ({"mode": "AUTO"}, ("auto", None)),
            ({"mode": "NONE"}, ("none", None)),
            ({"mode": "ANY"}, ("required", None)),
            ({"mode": "ANY", "allowedFunctionNames": ["g", "h"]}, ("required", "g")),
            ({"mode": "VALIDATED", "allowedFunctionNames": ["g"]}, ("auto", None)),
        ],
    )
    def test_a_choice_of_functions_is_read(self, choice, wanted):
        ask = self.ask(tools({"name": "f"}, {"name": "g"}, {"name": "h"}, **choice))

        assert (ask.tool_choice, ask.wanted_tool) == wanted

    def test_googles_schema_becomes_json_schema(self):
        schema = {
            "type": "OBJECT",
            "properties": {
                "a": {"type": "STRING", "nullable": True},
                "b": {"type": "ARRAY", "items": {"ref": "#/defs/c"}},
                "type": {"anyOf": [{"type": "INTEGER"}, {"type": "NULL"}]},
            },
            "defs": {"c": {"type": "NUMBER"}},
            "required": ["a"],
        }

        assert as_json_schema(schema) == {
            "type": "object",
            "properties": {
                "a": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "b": {"type": "array", "items": {"$ref": "#/defs/c"}},
                "type": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
            "$defs": {"c": {"type": "number"}},
            "required": ["a"],
        }

    def test_settings_that_only_google_has_are_kept(self):
        ask = self.ask(config(topK=4, thinkingConfig={"thinkingBudget": 100}))

        assert ask.settings == {"top_k": 4, "thinking_budget": 100}

    def test_an_embedding_has_one_text(self):
        ask = ask_embedding("m", {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "outputDimensionality": 3})

        assert (ask.inputs, ask.dimensions) == (("a\nb",), 3)


class TestAnswers:
    async def test_tokens_of_a_cache_are_inside_and_thoughts_beside(self, api):
        (row,) = await api.answers(chat("[[cached:7]][[think:9]]"))
        response = row["response"]
        usage = response["usageMetadata"]
        asked, said_tokens = 6 + 7, 8

        assert usage == {
            "promptTokenCount": asked,
            "cachedContentTokenCount": 7,
            "candidatesTokenCount": said_tokens,
            "thoughtsTokenCount": 9,
            "totalTokenCount": asked + said_tokens + 9,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": asked}],
        }
        assert response["modelVersion"] == MODEL
        assert response["candidates"] == [
            {
                "content": {"parts": [{"text": "echo: [[cached:7]][[think:9]]"}], "role": "model"},
                "finishReason": "STOP",
            }
        ]

    async def test_thoughts_are_shown_where_they_are_wanted(self, api):
        thinking = {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
        shown, none = await api.answers(chat("[[think:9]]", **thinking), chat(**thinking))

        assert [part.get("thought") for part in shown["response"]["candidates"][0]["content"]["parts"]] == [True, None]
        assert len(none["response"]["candidates"][0]["content"]["parts"]) == 1

    async def test_a_blocked_prompt_has_a_reason_and_no_candidates(self, api):
        (row,) = await api.answers(chat("[[refuse]]"))
        response = row["response"]

        assert "candidates" not in response
        assert response["promptFeedback"] == {"blockReason": "SAFETY"}
        assert response["usageMetadata"]["totalTokenCount"] == response["usageMetadata"]["promptTokenCount"] == 3

    async def test_a_call_has_arguments_that_are_an_object(self, api):
        named, marked = await api.answers(tools(FUNCTION, mode="ANY"), tools(FUNCTION, mode="NONE"))
        (part,) = named["response"]["candidates"][0]["content"]["parts"]

        assert part["functionCall"].keys() == {"name", "args", "id"}
        assert (part["functionCall"]["name"], part["functionCall"]["args"]) == ("get_weather", {})
        assert "text" in marked["response"]["candidates"][0]["content"]["parts"][0]

    async def test_further_candidates_have_an_index(self, api):
        (row,) = await api.answers(config(candidateCount=2, maxOutputTokens=1))

        assert [item.get("index") for item in row["response"]["candidates"]] == [None, 1]
        assert {item["finishReason"] for item in row["response"]["candidates"]} == {"MAX_TOKENS"}

    async def test_structure_is_text_in_json(self, api):
        schema = {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}, "required": ["a"]}
        typed, free = await api.answers(
            config(responseMimeType="application/json", responseSchema=schema),
            config(responseMimeType="application/json"),
        )

        texts = [row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in (typed, free)]
        assert [json.loads(text) for text in texts] == [{"a": 0}, {"echo": True}]

    @pytest.mark.parametrize("arguments", ["{", "[]", ""])
    def test_a_call_that_cannot_be_read_is_none(self, arguments):
        """A live server may answer so, in the echo model's place."""
        broken = Answer(tool_calls=(ToolCall(name="f", arguments=arguments),), finish="tool_calls")
        answer = Answer(text="fine", others=(broken, Answer(refusal="no", finish="refusal"), Answer()))

        assert encode_chat(Ask(kind="chat", model=MODEL), answer)["candidates"] == [
            {"content": {"parts": [{"text": "fine"}], "role": "model"}, "finishReason": "STOP"},
            {"finishReason": "MALFORMED_FUNCTION_CALL", "index": 1},
            {"finishReason": "SAFETY", "index": 2},
            {"content": {"role": "model"}, "finishReason": "STOP", "index": 3},
        ]


class TestResults:
    async def test_metadata_comes_back_whole_or_not_at_all(self, api):
        rows = [
            {"request": chat(), "metadata": {"key": "a", "more": [1, None]}},
            {"request": chat(), "metadata": {"more": "b"}},
            {"request": chat(), "metadata": {"key": 7}},
            {"request": chat()},
        ]
        done = await api.finish(await api.inline(rows))

        found = [row.get("metadata") for row in done["response"]["inlinedResponses"]["inlinedResponses"]]
        assert found == [row.get("metadata") for row in rows]

    async def test_nobody_minds_keys_that_are_the_same_or_missing(self, api):
        rows = [{"key": "a", "request": chat("1")}, {"key": "a", "request": chat("2")}, {"request": chat("3")}]
        done = await api.finish(await api.from_file(rows))
        lines = await api.lines(done)

        assert [line.get("key") for line in lines] == ["a", "a", None]
        texts = [line["response"]["candidates"][0]["content"]["parts"][0]["text"] for line in lines]
        assert texts == ["echo: 1", "echo: 2", "echo: 3"]

    async def test_results_are_in_the_order_of_the_input(self, api):
        bodies = [chat(str(number)) for number in range(50)]
        lines = await api.lines(await api.finish(await api.from_file(file_rows(*bodies))))

        assert [line["key"] for line in lines] == [f"r{number}" for number in range(50)]

    @pytest.mark.parametrize(
        ("marker", "code"),
        [("error:400", 3), ("error:403", 7), ("error:429", 8), ("error:500", 13), ("error:503", 14), ("error:418", 2)],
    )
    async def test_an_error_has_the_number_of_its_kind(self, api, marker, code):
        (row,) = await api.answers(chat(f"[[{marker}]]"))

        assert (row["error"]["code"], row["metadata"]) == (code, {"key": "r0"})

    async def test_a_row_that_was_not_run_in_time_is_an_error(self, api):
        (row,) = await api.answers(chat("[[expire]]"))

        assert row["error"]["code"] == 4

    async def test_trouble_comes_inline_too(self, api):
        rows = inline_rows(
            *(chat(f"[[{name}]]") for name in ("missing", "duplicate", "conflict", "stranger", "garbage"))
        )
        done = await api.finish(await api.inline(rows))
        keys = [row["metadata"]["key"] for row in done["response"]["inlinedResponses"]["inlinedResponses"]]

        assert keys[:5] == ["r1", "r1", "r2", "r2", "r3"]
        assert keys[5].startswith("stranger-")
        assert len(keys) == 6

    async def test_trouble_comes_in_files_too(self, api):
        done = await api.finish(await api.from_file(file_rows(chat("[[garbage]]"), chat("[[stranger]]"))))
        path = f"/v1/{done['response']['responsesFile']}:download?alt=media"
        async with api.send("GET", path) as response:
            garbage, fine, stranger = (await response.read()).splitlines()

        assert garbage.endswith(b"\xff\xfe")
        assert json.loads(fine)["key"] == "r1"
        assert json.loads(stranger)["key"].startswith("stranger-")

    async def test_a_batch_of_nothing_but_missing_rows_succeeds_without_output(self, api):
        done = await api.finish(await api.inline(inline_rows(chat("[[missing]]"))))

        assert (done["done"], done["response"].keys(), "output" in done["metadata"]) == (True, {"@type"}, False)
