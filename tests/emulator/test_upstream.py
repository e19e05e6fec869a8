"""Answers of a live server: every ask is one ordinary call of OpenAI's protocol, and comes back in the row's own."""

import json

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from asyncbatch.emulator import Ask, Emulator, Message, Tool, ToolCall, upstream
from asyncbatch.emulator.families.openai_asks import ask_chat
from asyncbatch.emulator.upstream import encode_ask
from tests.emulator.wire import Api, chat_row

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def chat_answer(message, finish="stop", **more):
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE, **more}


class Model:
    """A server that answers what the test puts into `answers`, the last of them again and again."""

    def __init__(self):
        self.calls = []
        self.answers = [(200, chat_answer({"role": "assistant", "content": "hello"}))]

    async def handle(self, request):
        self.calls.append((request.path, request.headers, await request.json()))
        status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(status=status, body=body, content_type="application/json", headers={"Retry-After": "0"})

    @property
    def bodies(self):
        return [body for _, _, body in self.calls]


@pytest.fixture
async def model():
    model = Model()
    app = web.Application()
    app.router.add_post("/{path:.*}", model.handle)
    async with TestServer(app) as server:
        model.url = str(server.make_url("/v1"))
        yield model


@pytest.fixture
def settings():
    return {}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(upstream, "RETRY_S", (0, 0))


@pytest.fixture
async def api(model, settings, time):
    async with Emulator(clock=time, **{"upstream": model.url, **settings}) as emulator:
        api = Api(emulator)
        yield api
        await api.session.close()


async def test_a_chat_is_answered_there_and_its_usage_is_the_servers(api, model):
    done = await api.run([chat_row("a", "hi", model="llama3.2")])
    output, _ = await api.results(done)
    body = output["a"]["response"]["body"]

    assert body["choices"][0]["message"]["content"] == "hello"
    assert {name: body["usage"][name] for name in ("prompt_tokens", "completion_tokens")} == {
        "prompt_tokens": 11,
        "completion_tokens": 5,
    }
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    assert (done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (11, 5)
    assert model.calls[0][0] == "/v1/chat/completions"
    assert model.bodies == [{"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}]}]
    assert "Authorization" not in model.calls[0][1]


async def test_openais_own_rows_go_through_as_they_are_and_others_in_openais_shape(api, model):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"x":1}'}}
    messages = [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "18"},
        {"role": "assistant", "content": "18 degrees"},
    ]
    row = chat_row(
        "a",
        messages=messages,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        max_completion_tokens=9,
        stop=["x"],
        n=2,
        temperature=0.5,
        seed=7,
    )
    await api.run([row])

    assert model.bodies == [row["body"]]
    assert msgspec.json.decode(encode_ask(ask_chat(row["body"]), "another")) == {
        "model": "another",
        "temperature": 0.5,
        "seed": 7,
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "file": {"filename": "document-1", "file_data": "data:application/pdf;base64,AAAA"}},
                {"type": "text", "text": "look"},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "18"},
            {"role": "assistant", "content": "18 degrees"},
        ],
        "n": 2,
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
        "max_tokens": 9,
        "stop": ["x"],
    }  # fmt: skip


async def test_calls_of_tools_refusals_and_endings_come_back(api, model):
    call = {"id": "c9", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    model.answers = [
        (200, chat_answer({"content": None, "tool_calls": [call]}, "tool_calls")),
        (200, chat_answer({"content": None, "refusal": "no"})),
        (200, chat_answer({"content": "cut o"}, "length")),
        (200, {"choices": [{"message": {"content": "x"}}, {"message": {"content": "y"}}]}),
    ]
    answers = [(await api.answers([chat_row("a")]))["a"] for _ in range(4)]
    first, second, third, fourth = [answer["choices"] for answer in answers]

    assert (first[0]["finish_reason"], first[0]["message"]["tool_calls"]) == ("tool_calls", [call])
    assert (second[0]["finish_reason"], second[0]["message"]["refusal"]) == ("stop", "no")
    assert (third[0]["finish_reason"], third[0]["message"]["content"]) == ("length", "cut o")
    assert [choice["message"]["content"] for choice in fourth] == ["x", "y"]
    assert answers[3]["usage"]["total_tokens"] == 0


async def test_embeddings_and_completions_have_paths_of_their_own(api, model):
    model.answers = [
        (200, {"data": [{"embedding": [1.0, 0.0]}, {"embedding": [0.0, 1.0]}], "usage": {"prompt_tokens": 4}}),
        (200, {"choices": [{"text": "!", "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}),
    ]
    body = {"model": "nomic", "input": ["a", "b"]}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}
    embedding = (await api.answers([row], "/v1/embeddings"))["a"]
    body = {"model": "code", "prompt": "hello", "max_tokens": 3}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": body}
    completion = (await api.answers([row], "/v1/completions"))["a"]

    assert [item["embedding"] for item in embedding["data"]] == [[1.0, 0.0], [0.0, 1.0]]
    assert embedding["usage"]["prompt_tokens"] == 4
    assert completion["choices"][0]["text"] == "!"
    assert [(path, sent) for path, _, sent in model.calls] == [
        ("/v1/embeddings", {"model": "nomic", "input": ["a", "b"]}),
        ("/v1/completions", {"model": "code", "prompt": "hello", "max_tokens": 3}),
    ]


class TestSettings:
    @pytest.fixture
    def settings(self):
        return {"upstream_key": "secret", "upstream_model": "llama3.2"}

    async def test_a_key_and_a_model_are_the_servers_own(self, api, model):
        await api.run([chat_row("a")])

        assert model.calls[0][1]["Authorization"] == "Bearer secret"
        assert model.bodies[0]["model"] == "llama3.2"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_is_busy_is_asked_again(api, model, status):
    model.answers.insert(0, (status, {"error": {"message": "busy"}}))
    model.answers.insert(0, (status, {"error": {"message": "busy"}}))
    done = await api.run([chat_row("a")])

    assert done["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert len(model.calls) == 3


@pytest.mark.parametrize(
    ("status", "answer", "message", "code", "calls"),
    [
        (400, {"error": {"message": "too long", "code": "context_length"}}, "too long", "context_length", 1),
        (404, {"error": "model 'x' not found"}, "model 'x' not found", None, 1),
        (422, {"object": "error", "message": "odd", "type": "BadRequest"}, "odd", "BadRequest", 1),
        (413, b"<html>no", "<html>no", None, 1),
        (503, b"", "The upstream server answered 503.", None, 3),
        (429, {}, "The upstream server answered 429.", None, 3),
    ],
)
async def test_an_error_row_keeps_the_servers_status_and_message(api, model, status, answer, message, code, calls):
    model.answers = [(status, answer)]
    done = await api.run([chat_row("a")])
    _, errors = await api.results(done)

    assert done["status"] == "completed"
    assert errors["a"]["response"]["status_code"] == status
    error = errors["a"]["response"]["body"]["error"]
    assert (error["message"], error["code"], len(model.calls)) == (message, code, calls)


@pytest.mark.parametrize(
    "answer", [b"<html>", {"choices": []}, [1], {"choices": 7}, {"data": [{"embedding": "AAAA"}]}, b"\xff"]
)
async def test_an_answer_that_is_none_is_an_error_row(api, model, answer):
    model.answers = [(200, answer)]
    _, errors = await api.results(await api.run([chat_row("a")]))
    row = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "a"}}
    _, vectors = await api.results(await api.run([row], "/v1/embeddings"))

    assert [found["a"]["response"]["status_code"] for found in (errors, vectors)] == [502, 502]


class TestNobodyThere:
    @pytest.fixture
    def settings(self, unused_tcp_port):
        return {"upstream": f"http://127.0.0.1:{unused_tcp_port}/v1"}

    @pytest.fixture
    def unused_tcp_port(self):
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    async def test_rows_end_as_errors_and_the_batch_ends(self, api):
        done = await api.run([chat_row(str(n)) for n in range(20)])
        _, errors = await api.results(done)

        assert done["request_counts"] == {"total": 20, "completed": 0, "failed": 20}
        assert {line["response"]["status_code"] for line in errors.values()} == {502}
        assert "cannot be reached" in errors["0"]["response"]["body"]["error"]["message"]


async def test_while_nobody_is_there_rows_are_tried_once(monkeypatch):
    tried = []

    class Gone:
        def post(self, url, **_):
            tried.append(url)
            raise aiohttp.ClientConnectionError("gone")

    async with upstream.Upstream("http://127.0.0.1:9/v1") as server:
        session, server._session = server._session, Gone()
        for _ in range(3):
            answer = await server.answer(Ask(kind="chat", model="m"))
        server._session = session

    assert answer.error.status == 502
    assert len(tried) == 3 + 1 + 1


def test_calls_without_ids_are_named_by_their_tools():
    messages = (
        Message(role="assistant", text="", tool_calls=(ToolCall(name="f", arguments="{}"),)),
        Message(role="tool", text="1", tool_call_id="f"),
    )
    ask = Ask(kind="chat", model="m", messages=messages, tools=(Tool(name="f"),), tool_choice="none", json_object=True)
    body = json.loads(encode_ask(ask, "m"))

    assert [body["messages"][0]["tool_calls"][0]["id"], body["messages"][1]["tool_call_id"]] == ["f", "f"]
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert (body["tool_choice"], body["response_format"]) == ("none", {"type": "json_object"})
