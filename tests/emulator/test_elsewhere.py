"""Answers from elsewhere: a function in place of the echo model."""

import asyncio
import json
import threading

import anyio
import pytest

from asyncbatch.emulator import Answer, Ask, Emulator, Failure, Message, Tool, ToolCall, work
from asyncbatch.emulator.elsewhere import AT_ONCE
from tests.emulator.wire import Api, chat_row

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


@pytest.fixture
def impatient(monkeypatch):
    """Nobody waits for work that is not done: a poll says at once where the batch stands."""
    monkeypatch.setattr(work, "PATIENCE_S", 0.05)


@pytest.fixture
async def ask(time):
    """Run rows against an emulator that answers with a function."""
    apis = []

    async def run(answer, *rows, endpoint="/v1/chat/completions"):
        emulator = Emulator(clock=time, answer=answer)
        emulator.start()
        apis.append(Api(emulator))
        done = await apis[-1].run(list(rows), endpoint)
        return (done, *await apis[-1].results(done))

    yield run
    for api in apis:
        await api.session.close()
        api.emulator.stop()


def content(line):
    return line["response"]["body"]["choices"][0]["message"]["content"]


async def test_a_text_is_the_answer_with_its_tokens_counted(ask):
    done, output, errors = await ask(
        lambda ask: f"{ask.model} heard {ask.prompt}", chat_row("a", "hello"), chat_row("b")
    )

    assert content(output["a"]) == "gpt-4.1-mini heard hello"
    assert output["a"]["response"]["body"]["usage"]["prompt_tokens"] == 2
    assert output["a"]["response"]["body"]["usage"]["completion_tokens"] == 6
    assert (done["request_counts"], errors) == ({"total": 2, "completed": 2, "failed": 0}, {})


async def test_an_object_is_json_and_none_is_left_to_the_echo_model(ask):
    answers = {"json": {"mood": "good"}, "echo": None}
    _, output, _ = await ask(lambda ask: answers[ask.prompt], chat_row("a", "json"), chat_row("b", "echo"))

    assert json.loads(content(output["a"])) == {"mood": "good"}
    assert content(output["b"]) == "echo: echo"


async def test_a_whole_answer_is_taken_as_it_is(ask):
    whole = Answer(
        text="let me see",
        tool_calls=(ToolCall(name="a", arguments='{"x":1}', id="call_1"), ToolCall(name="b")),
        finish="tool_calls",
        input_tokens=10,
        output_tokens=7,
        cached_tokens=4,
        reasoning_tokens=2,
    )
    done, output, _ = await ask(lambda _: whole, chat_row("a"))
    body = output["a"]["response"]["body"]
    (choice,) = body["choices"]

    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "let me see")
    assert [(call["id"] == "call_1", call["function"]["name"]) for call in choice["message"]["tool_calls"]] == [
        (True, "a"),
        (False, "b"),
    ]
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    assert (done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (10, 7)


async def test_the_function_sees_a_neutral_ask(ask):
    seen = []
    messages = [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "18"},
    ]
    row = chat_row(
        "a",
        messages=messages,
        tools=[TOOL],
        tool_choice="required",
        max_tokens=9,
        stop="x",
        temperature=0.5,
        n=2,
        response_format={"type": "json_object"},
    )
    _, output, _ = await ask(lambda ask: seen.append(ask) or "ok", row)

    (found,) = seen
    assert isinstance(found, Ask)
    assert (found.kind, found.model, found.system, found.prompt) == ("chat", "gpt-4.1-mini", "be brief", "look")
    assert found.messages == (
        Message(role="user", text="look", images=("u",)),
        Message(role="assistant", tool_calls=(ToolCall(name="get_weather", id="c1"),)),
        Message(role="tool", text="18", tool_call_id="c1"),
    )
    assert found.tools == (Tool(name="get_weather", parameters={"type": "object"}),)
    assert (found.tool_choice, found.max_tokens, found.stop, found.n) == ("required", 9, ("x",), 2)
    assert (found.json_object, found.settings) == (True, {"temperature": 0.5})
    assert len(output["a"]["response"]["body"]["choices"]) == 2


async def test_the_function_may_be_asynchronous(ask):
    async def answer(ask):
        await asyncio.sleep(0)
        return ask.prompt.upper()

    _, output, _ = await ask(answer, chat_row("a", "hello"))

    assert content(output["a"]) == "HELLO"


async def test_completions_and_responses_ask_it_too_and_embeddings_do_not(ask):
    def answer(ask):
        return f"{ask.kind} {len(ask.inputs)}"

    prompt = {"model": "gpt-3.5-turbo-instruct", "prompt": ["a", "b"]}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": prompt}
    _, completion, _ = await ask(answer, row, endpoint="/v1/completions")
    row = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "gpt-5-mini", "input": "x"}}
    _, response, _ = await ask(answer, row, endpoint="/v1/responses")
    row = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "text-embedding-3-small", "input": "x"},
    }
    _, embedding, _ = await ask(answer, row, endpoint="/v1/embeddings")

    texts = [choice["text"] for choice in completion["a"]["response"]["body"]["choices"]]
    assert texts == ["completion 2", "completion 2"]
    assert response["a"]["response"]["body"]["output"][0]["content"][0]["text"] == "chat 0"
    assert len(embedding["a"]["response"]["body"]["data"][0]["embedding"]) == 1536


async def test_an_exception_is_the_error_of_its_row_and_is_logged(ask, caplog):
    def answer(ask):
        if ask.prompt == "bad":
            raise ValueError("no weather today")
        return "fine"

    done, output, errors = await ask(answer, chat_row("a", "bad"), chat_row("b"), chat_row("c", "[[error:400]]"))

    assert (list(output), sorted(errors)) == (["b"], ["a", "c"])
    assert errors["a"]["response"]["status_code"] == 500
    assert errors["a"]["response"]["body"]["error"]["message"] == "no weather today"
    assert (done["status"], done["request_counts"]) == ("completed", {"total": 3, "completed": 1, "failed": 2})
    assert "no weather today" in caplog.text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda _: 7, "gave int"),
        (lambda _: {"a": object()}, "object"),
        (lambda _: Answer(text=7, output_tokens=1), "cannot be kept"),
        (lambda _: "\ud800", "cannot be kept"),
        (lambda _: (_ for _ in ()).throw(KeyError()), "KeyError"),
        (lambda _: Answer(error=Failure(message="busy", status=503)), "busy"),
    ],
)
async def test_what_is_no_answer_is_the_error_of_its_row(ask, answer, message):
    done, output, errors = await ask(answer, chat_row("a"))

    assert (done["status"], output) == ("completed", {})
    assert message in errors["a"]["response"]["body"]["error"]["message"]


async def test_rows_that_are_to_fail_are_not_asked(ask):
    asked = []
    rows = [
        chat_row(word, f"[[{word}]]") for word in ("error", "expire", "missing", "duplicate", "conflict", "stranger")
    ]
    done, _, errors = await ask(lambda ask: asked.append(ask.prompt) or "ok", *rows)

    assert sorted(asked) == ["[[conflict]]", "[[duplicate]]", "[[stranger]]"]
    assert sorted(errors) == ["error", "expire"]
    assert done["request_counts"] == {"total": 6, "completed": 4, "failed": 2}


async def test_eight_are_asked_at_once_and_no_more(ask):
    under_way, most, full = set(), [], asyncio.Event()

    async def answer(ask):
        under_way.add(ask.mark)
        most.append(len(under_way))
        if len(under_way) == AT_ONCE:
            full.set()
        await full.wait()
        under_way.remove(ask.mark)
        return "ok"

    done, *_ = await ask(answer, *[chat_row(str(n)) for n in range(30)])

    assert done["status"] == "completed"
    assert max(most) == AT_ONCE == 8


class TestSlow:
    """A function that answers at once whoever says `quick`, and nobody else."""

    @pytest.fixture
    def asked(self):
        return []

    @pytest.fixture
    def left(self):
        return []

    @pytest.fixture
    def options(self, asked, left):
        async def answer(ask):
            asked.append(ask.prompt)
            if ask.prompt == "quick":
                return "done"
            try:
                await asyncio.Event().wait()
            finally:
                left.append(ask.prompt)

        return {"answer": answer}

    @pytest.fixture
    async def begun(self, api, emulator, asked, impatient):
        """A batch whose time is over, and of whose 20 rows three are answered."""
        batch = await api.start([chat_row(str(n), "quick" if n < 3 else "slow") for n in range(20)])
        emulator.advance(3600)
        with anyio.fail_after(10):
            while (await api.batch(batch["id"]))["request_counts"]["completed"] < 3 or len(asked) < 11:
                await asyncio.sleep(0)
        return batch

    async def test_a_batch_runs_while_answers_are_awaited(self, api, begun):
        shown = await api.batch(begun["id"])

        assert (shown["status"], shown["output_file_id"], shown["finalizing_at"]) == ("in_progress", None, None)
        assert shown["request_counts"] == {"total": 20, "completed": 3, "failed": 0}

    async def test_a_cancelled_batch_asks_no_further_and_keeps_what_it_has(self, api, emulator, begun, asked, left):
        cancelling = await api.call("POST", f"/batches/{begun['id']}/cancel")
        emulator.advance(60)
        with anyio.fail_after(10):
            while (done := await api.batch(begun["id"]))["status"] != "cancelled":
                await asyncio.sleep(0)
        output, errors = await api.results(done)

        assert cancelling[1]["status"] == "cancelling"
        assert sorted(output) == ["0", "1", "2"]
        assert {line["error"]["code"] for line in errors.values()} == {"batch_cancelled"}
        assert done["request_counts"] == {"total": 20, "completed": 3, "failed": 17}
        assert done["completed_at"] is None
        assert (len(asked), len(left)) == (11, 8)

    async def test_another_batch_does_not_wait_for_it(self, api, emulator, impatient):
        slow = await api.start([chat_row("a", "slow")])
        quick = await api.start([chat_row("a", "quick")])
        emulator.advance(3600)
        with anyio.fail_after(10):
            while (await api.batch(quick["id"]))["status"] != "completed":
                await asyncio.sleep(0)

        assert (await api.batch(slow["id"]))["status"] == "in_progress"

    async def test_a_batch_whose_input_is_deleted_in_time_asks_no_further(self, api, emulator, asked, left):
        batch = await api.start([chat_row("a", "slow")])
        with anyio.fail_after(10):
            while not asked:
                await asyncio.sleep(0)
        await api.call("DELETE", f"/files/{batch['input_file_id']}")
        emulator.advance(3600)

        assert (await api.batch(batch["id"]))["status"] == "failed"
        assert left == ["slow"]

    async def test_a_reset_forgets_the_asks(self, api, emulator, begun, left):
        await asyncio.to_thread(emulator.reset)
        await api.run([chat_row("a", "quick")])

        assert len(left) == 8


def test_it_ends_while_a_function_is_still_at_it(time):
    before, begun, gate = set(threading.enumerate()), threading.Event(), threading.Event()

    def answer(_):
        begun.set()
        gate.wait()

    async def start(emulator):
        api = Api(emulator)
        await api.start([chat_row("a")])
        await api.session.close()

    try:
        with Emulator(clock=time, answer=answer) as emulator:
            asyncio.run(start(emulator))
            assert begun.wait(60)
    finally:
        gate.set()

    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name.startswith("asyncbatch-emulator")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": lambda _: "x", "upstream": "http://127.0.0.1:9/v1"}, "not from both"),
        ({"upstream": "localhost:11434"}, "must be a URL"),
        ({"upstream_model": "m"}, "without upstream"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Emulator(**options)
