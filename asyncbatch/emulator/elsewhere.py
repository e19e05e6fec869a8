"""Answers that come from elsewhere: a function of the caller's in place of the echo model."""

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeAlias

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from asyncbatch.emulator import echo
from asyncbatch.emulator.model import Answer, Ask, Failure

AT_ONCE = 8  # asks under way, over all batches and dialects

Answered: TypeAlias = Answer | str | dict[str, Any] | None
AnswerFunction: TypeAlias = Callable[[Ask], Answered | Awaitable[Answered]]
"""Gives a whole `Answer`; or its text; or an object that becomes JSON text; or None, and the echo model answers."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Answer)

_log = logging.getLogger(__name__)


class Elsewhere(ABC):
    """Somebody who answers in the echo model's place, and may take their time. Open while the server runs."""

    @abstractmethod
    async def answer(self, ask: Ask) -> Answer:
        """Answer; whatever goes wrong is an answer with an error."""

    async def __aenter__(self) -> Self:
        self.room = anyio.CapacityLimiter(AT_ONCE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:  # noqa: B027  not everybody holds something
        """Let go of what was held."""


class FunctionModel(Elsewhere):
    """Calls a function for chats and completions; it runs in a thread, or if it is asynchronous, on the server's loop."""

    def __init__(self, function: AnswerFunction) -> None:
        self._function = function

    async def answer(self, ask: Ask) -> Answer:
        if ask.kind == "embedding":
            return echo.answer(ask)
        try:
            async with self.room:
                return complete(ask, await self._call(ask))
        except Exception as error:  # noqa: BLE001  the caller's own code: its error is told, and is one row's alone
            _log.exception("the answer function failed at a row")
            message = str(error) or type(error).__name__
            return Answer(error=Failure(message=message, status=500, code="server_error"))

    async def _call(self, ask: Ask) -> Any:
        """Call it. A thread that is still at it when nobody wants the answer any more is left behind."""
        answered = await anyio.to_thread.run_sync(self._function, ask, abandon_on_cancel=True, limiter=self._threads)
        return await answered if inspect.isawaitable(answered) else answered

    async def __aenter__(self) -> Self:
        self._threads = anyio.CapacityLimiter(AT_ONCE)
        return await super().__aenter__()


def complete(ask: Ask, answered: Any) -> Answer:
    """Make an answer of what a function gave, with the choices that were asked for and a count of its tokens."""
    if answered is None:
        return echo.answer(ask)
    if isinstance(answered, dict):
        answered = msgspec.json.encode(answered).decode()
    if isinstance(answered, str):
        choices = len(ask.inputs) if ask.kind == "completion" else ask.n
        answered = Answer(text=answered, others=(Answer(text=answered),) * (choices - 1))
    if not isinstance(answered, Answer):
        raise TypeError(f"the answer function gave {type(answered).__name__}; it gives Answer, str, dict or None")
    is_counted = answered.error is not None or answered.input_tokens or answered.output_tokens
    return answered if is_counted else _counted(ask, answered)


def encode_answer(answer: Answer) -> bytes:
    """Encode an answer to be kept; what cannot be read again, because its fields are not what they should be, is an error."""
    try:
        data = _ENCODER.encode(answer)
        _DECODER.decode(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        _log.warning("an answer cannot be kept: %s", error)
        return _ENCODER.encode(
            Answer(error=Failure(message=f"The answer cannot be kept: {error}", code="server_error"))
        )
    return data


def decode_answer(data: bytes) -> Answer:
    return _DECODER.decode(data)


def _counted(ask: Ask, answer: Answer) -> Answer:
    """Count the tokens as the echo model does."""
    calls = ["".join(call.arguments for call in choice.tool_calls) for choice in answer.choices]
    texts = [choice.text or choice.refusal or call for choice, call in zip(answer.choices, calls, strict=True)]
    made = sum(map(echo.count_tokens, texts))
    return replace(answer, input_tokens=echo.count_asked(ask), output_tokens=made)
