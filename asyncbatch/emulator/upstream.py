"""Answers of a live server that speaks OpenAI's protocol: each ask becomes one ordinary call.

Source: https://platform.openai.com/docs/api-reference/chat/create, as vLLM, Ollama and others serve it too.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn, Self, SupportsIndex, TypeGuard

import aiohttp
import anyio
import msgspec
from msgspec.structs import replace

from asyncbatch.emulator.elsewhere import Elsewhere
from asyncbatch.emulator.json_values import is_array, is_object, objects_in
from asyncbatch.emulator.model import Answer, Ask, Failure, Finish, Message, Tool, ToolCall

RETRY_S = (0.5, 1.0, 2.0)  # real seconds between attempts
MOST_RETRY_S = 30.0  # however long the server wants us to wait
TIMEOUT_S = 600.0  # of one attempt: a large model takes its time
CONNECT_S = 10.0

_PATHS = {"chat": "/chat/completions", "completion": "/completions", "embedding": "/embeddings"}
_FINISHES: dict[str, Finish] = {"length": "length", "tool_calls": "tool_calls", "content_filter": "refusal"}


class Upstream(Elsewhere):
    """Asks a server.

    Args:
        url: Its base URL, with the version, as in `http://localhost:11434/v1`.
        key: Sent as a bearer token, if there is one.
        model: Takes the place of whatever model a row names.
    """

    def __init__(self, url: str, key: str | None = None, model: str | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"upstream is {url!r}, but must be a URL such as http://localhost:11434/v1")
        self._url = url.rstrip("/")
        self._headers = _Headers({"Authorization": f"Bearer {key}"} if key else {})
        self._model = model
        self._is_gone = False

    async def answer(self, ask: Ask) -> Answer:
        path, body = _PATHS[ask.kind], encode_ask(ask, self._model or ask.model)
        async with self.room:
            tried = await self._try(path, body)
            for wait_s in () if self._is_gone else RETRY_S:
                if not tried.may_retry:
                    break
                await anyio.sleep(wait_s if tried.wait_s is None else min(tried.wait_s, MOST_RETRY_S))
                tried = await self._try(path, body)
        self._is_gone = tried.is_gone  # while nobody is there, rows are not tried again and again
        return self._cleared(tried.failure) if tried.document is None else _decode(ask, tried.document)

    def _cleared(self, failure: Answer) -> Answer:
        """Take our key out of what the server says: some quote the one that they refuse."""
        key = self._headers.get("Authorization", "").removeprefix("Bearer ")
        if not key or failure.error is None:
            return failure
        said = failure.error
        code = said.code and said.code.replace(key, "[key]")
        return replace(failure, error=replace(said, message=said.message.replace(key, "[key]"), code=code))

    async def _try(self, path: str, body: bytes) -> "_Tried":
        try:
            async with self._session.post(f"{self._url}{path}", data=body) as response:
                return _judge(response, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            message = f"The upstream server cannot be reached: {reason}"
            return _Tried(may_retry=True, is_gone=True, failure=_failure(502, message))

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_S)
        headers = _Headers({"Content-Type": "application/json", **self._headers})
        self._session = aiohttp.ClientSession(timeout=timeout, headers=headers)
        return await super().__aenter__()

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._session.close()


class _Headers(dict[str, str]):
    """Headers with a key in them, which no log, no traceback and no pickle shows."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("headers with a key in them are not pickled or copied")


class _Tried(NamedTuple):
    """How one attempt went."""

    document: dict[str, Any] | None = None
    failure: Answer = Answer()
    may_retry: bool = False
    wait_s: float | None = None
    is_gone: bool = False


def _failure(status: int, message: str, code: str | None = "upstream_error") -> Answer:
    return Answer(error=Failure(message=message, status=status, code=code))


def _judge(response: aiohttp.ClientResponse, body: bytes) -> _Tried:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if response.status >= 400:
        may_retry = response.status in (408, 429) or response.status >= 500
        failure = _read_error(response.status, document, body)
        return _Tried(may_retry=may_retry, failure=failure, wait_s=_read_wait(response.headers))
    if not is_object(document):
        return _Tried(failure=_failure(502, "The upstream server answered something that is no JSON object."))
    return _Tried(document=document)


def _read_error(status: int, document: Any, body: bytes) -> Answer:
    """Give the server's own status and message."""
    error = document.get("error", document) if is_object(document) else None
    if not is_object(error):
        text = error if isinstance(error, str) else body[:500].decode("utf-8", "replace")
        return _failure(status, text or f"The upstream server answered {status}.", None)
    code = error.get("code") or error.get("type")
    message = error.get("message") or f"The upstream server answered {status}."
    return _failure(status, str(message), None if code is None else str(code))


def _read_wait(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


_OWN = frozenset({"thinking_budget"})
"""Settings that OpenAI's calls have no word for."""


def encode_ask(ask: Ask, model: str) -> bytes:
    """Give the body of the call: the row's own where it is OpenAI's, else the same in OpenAI's words."""
    if ask.is_openai:
        return msgspec.json.encode({**ask.body, "model": model})
    settings = {name: value for name, value in ask.settings.items() if name not in _OWN}
    body: dict[str, Any] = {"model": model, **settings}
    if ask.kind == "chat":
        body |= _encode_chat(ask)
    elif ask.kind == "completion":
        body["prompt"] = ask.inputs[0] if len(ask.inputs) == 1 else ask.inputs
    else:
        body |= {"input": ask.inputs} | ({"dimensions": ask.dimensions} if ask.dimensions else {})
    if ask.max_tokens is not None:
        body["max_tokens"] = ask.max_tokens
    if ask.stop:
        body["stop"] = ask.stop
    return msgspec.json.encode(body)


def _encode_chat(ask: Ask) -> dict[str, Any]:
    system = [{"role": "system", "content": ask.system}] if ask.system else []
    body: dict[str, Any] = {"messages": [*system, *map(_encode_message, ask.messages)]}
    if ask.n > 1:
        body["n"] = ask.n
    if ask.tools:
        body |= {"tools": [_encode_tool(tool) for tool in ask.tools], "tool_choice": _encode_choice(ask)}
    if ask.schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": ask.schema}}
    elif ask.json_object:
        body["response_format"] = {"type": "json_object"}
    return body


def _encode_tool(tool: Tool) -> dict[str, Any]:
    parameters: Any = tool.parameters or {"type": "object", "properties": {}}
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _encode_choice(ask: Ask) -> Any:
    if ask.wanted_tool is None:
        return ask.tool_choice
    return {"type": "function", "function": {"name": ask.wanted_tool}}


def _encode_message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
    if message.role == "assistant":
        calls = [_encode_call(call) for call in message.tool_calls]
        spoken = {"role": "assistant", "content": message.text or None}
        return {**spoken, "tool_calls": calls} if calls else {**spoken, "content": message.text}
    if not message.images and not message.documents:
        return {"role": "user", "content": message.text}
    return {"role": "user", "content": list(_parts(message))}


def _encode_call(call: ToolCall) -> dict[str, Any]:
    """Give a call with an id: a protocol without any names the result by the tool, and so do we."""
    return {
        "id": call.id or call.name,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    for url in message.images:
        yield {"type": "image_url", "image_url": {"url": url}}
    for number, data in enumerate(message.documents, start=1):
        yield {"type": "file", "file": {"filename": f"document-{number}", "file_data": data}}
    if message.text:
        yield {"type": "text", "text": message.text}


def _decode(ask: Ask, document: dict[str, Any]) -> Answer:
    """Read an answer tolerantly: servers leave out what they do not count."""
    usage = document.get("usage")
    answer = _decode_vectors(document, len(ask.inputs)) if ask.kind == "embedding" else _decode_choices(document)
    return replace(answer, **_read_usage(usage if is_object(usage) else {}))


def _read_usage(usage: dict[str, Any]) -> dict[str, int]:
    return {
        "input_tokens": _count(usage, "prompt_tokens"),
        "output_tokens": _count(usage, "completion_tokens"),
        "cached_tokens": _count(usage.get("prompt_tokens_details"), "cached_tokens"),
        "reasoning_tokens": _count(usage.get("completion_tokens_details"), "reasoning_tokens"),
    }


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if is_object(counts) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _decode_vectors(document: dict[str, Any], wanted: int) -> Answer:
    vectors: list[Any] = [item.get("embedding") for item in objects_in(document.get("data"))]
    if len(vectors) != wanted or not all(_is_vector(vector) for vector in vectors):
        return _failure(502, "The upstream server answered without the vectors.")
    return Answer(vectors=tuple(vectors))


def _is_vector(value: Any) -> TypeGuard[list[float]]:
    return is_array(value) and all(isinstance(item, int | float) for item in value)


def _decode_choices(document: dict[str, Any]) -> Answer:
    choices = [_decode_choice(choice) for choice in objects_in(document.get("choices"))]
    if not choices:
        return _failure(502, "The upstream server answered without a choice.")
    return replace(choices[0], others=tuple(choices[1:]))


def _decode_choice(choice: dict[str, Any]) -> Answer:
    message = choice.get("message")
    if not is_object(message):
        return Answer(text=str(choice.get("text") or ""), finish=_read_finish(choice))
    calls = tuple(_decode_call(call) for call in objects_in(message.get("tool_calls")))
    refusal, text = message.get("refusal"), message.get("content")
    if refusal:
        return Answer(refusal=str(refusal), finish="refusal")
    is_silent = text is None and (calls or choice.get("finish_reason") == "content_filter")
    return Answer(text=None if is_silent else str(text or ""), tool_calls=calls, finish=_read_finish(choice))


def _read_finish(choice: dict[str, Any]) -> Finish:
    return _FINISHES.get(str(choice.get("finish_reason")), "stop")


def _decode_call(call: dict[str, Any]) -> ToolCall:
    function = call.get("function")
    function = function if is_object(function) else {}
    name, arguments = str(function.get("name") or ""), str(function.get("arguments") or "{}")
    return ToolCall(name=name, arguments=arguments, id=str(call.get("id") or ""))
