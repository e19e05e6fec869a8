"""The neutral ask and answer, between the protocols and whoever answers: the echo model, a function, a live server.

A family maps its protocol to an `Ask` and an `Answer` to its protocol, and nothing else. Asks that mean the same are
equal in whatever dialect they came, and so are their answers.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from asyncbatch.emulator.json_values import is_object
from asyncbatch.emulator.markers import Marker

Kind: TypeAlias = Literal["chat", "completion", "embedding", "other"]
"""What is asked for. `other` is the family's own business; nobody but the family answers it."""

Finish: TypeAlias = Literal["stop", "length", "tool_calls", "refusal"]


class ToolCall(Struct, frozen=True, kw_only=True):
    """A call of a tool that the model makes, or made earlier.

    Attributes:
        id: Empty where the family makes one up in its own form.
        arguments: JSON text.
    """

    name: str
    arguments: str = "{}"
    id: str = ""

    def read_arguments(self) -> dict[str, Any]:
        """Decode the arguments, for protocols that carry them as an object. A live model's need not be one: then none."""
        try:
            decoded = msgspec.json.decode(self.arguments)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return {}
        return decoded if is_object(decoded) else {}


class Message(Struct, frozen=True, kw_only=True):
    """One turn of a conversation; a tool's result is a message of its own, whatever the protocol makes of it.

    Attributes:
        text: All text parts, joined by line breaks.
        images: The pictures, as URLs or `data:` URLs.
        documents: Other files, likewise.
        tool_call_id: Of a tool's result: the call that it answers; or the tool's name where calls have no ids.
    """

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    images: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class Tool(Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    parameters: Any = None


class Ask(Struct, frozen=True, kw_only=True):
    """One row, as whoever answers sees it.

    Attributes:
        system: What system and developer messages say, joined by line breaks; they are not among `messages`.
        wanted_tool: The one tool that has to be called, if the caller named it.
        schema: The JSON schema that the answer has to satisfy, if there is one.
        inputs: Of a completion its prompts, of an embedding its texts; either may be lists of tokens.
        dimensions: Of an embedding's vectors, if the row says so; else `model_dimensions`, the model's own.
        settings: Sampling settings under OpenAI's names: temperature, top_p, seed, reasoning_effort and their like.
        body: The row's body as the protocol has it.
        is_openai: Whether that is OpenAI's own, which a live server of that kind takes as it is.
        markers: What the prompt asks for in double brackets. The row writer sets this, and what follows.
        mark: A text of letters and digits, other for each row, that ids can be made of.
        at: When the row is answered, in seconds since the epoch.
        variant: Is added to the answer, so that a second one differs from the first.
    """

    kind: Kind
    model: str
    system: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    wanted_tool: str | None = None
    schema: Any = None
    json_object: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    inputs: tuple[str | tuple[int, ...], ...] = ()
    dimensions: int | None = None
    model_dimensions: int | None = None
    settings: Mapping[str, Any] = {}
    body: Mapping[str, Any] = {}
    is_openai: bool = False
    markers: tuple[Marker, ...] = ()
    mark: str = ""
    at: float = 0.0
    variant: str = ""

    def marker(self, name: str) -> Marker | None:
        return next((marker for marker in self.markers if marker.name == name), None)

    @property
    def prompt(self) -> str:
        """The last thing that the user says."""
        said = (item for item in reversed(self.messages) if item.role == "user")
        return next((item.text for item in said if item.text or item.images or item.documents), "")


class Failure(Struct, frozen=True, kw_only=True):
    """Why a row has no answer: what its error row says."""

    message: str
    status: int = 500
    code: str | None = None
    param: str | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What was answered to one ask.

    Attributes:
        text: None where the answer is a refusal, or nothing but calls of tools.
        input_tokens: All that went in, those from a cache among them.
        output_tokens: All that came out, those of reasoning among them, over all choices.
        vectors: Of an embedding: one for each input.
        others: Further choices, where `n` or several prompts asked for them; their token counts mean nothing.
        error: Set where there is no answer; the rest then means nothing.
    """

    text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    finish: Finish = "stop"
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    vectors: tuple[list[float], ...] = ()
    others: tuple["Answer", ...] = ()
    error: Failure | None = None

    @property
    def choices(self) -> tuple["Answer", ...]:
        return (self, *self.others)
