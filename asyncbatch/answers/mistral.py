"""Answers in Mistral's formats: chat and fim (alike), embedding, ocr, transcription, moderation, classification.

Source: mistralai/platform-docs-public:openapi.yaml (ChatCompletionResponse, ContentChunk, OCRResponse,
TranscriptionResponse). Embeddings and usage have OpenAI's shape.
"""

import msgspec

from asyncbatch.answers import ToolCall, UsageInfo, openai
from asyncbatch.answers._tolerant import joined, object_text, read, read_each


class _Chunk(msgspec.Struct, frozen=True, gc=False):
    type: str = "text"
    text: str | None = None


class _Function(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw()


class _Call(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None
    function: _Function = _Function()


class _Message(msgspec.Struct, frozen=True, gc=False):
    content: str | list[msgspec.Raw] | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct, frozen=True, gc=False):
    message: _Message | None = None


class _Chat(msgspec.Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None


class _Page(msgspec.Struct, frozen=True, gc=False):
    markdown: str | None = None


class _Document(msgspec.Struct, frozen=True, gc=False):
    pages: list[_Page] | None = None


class _Transcript(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None


_CALL = msgspec.json.Decoder(_Call)
_CHAT = msgspec.json.Decoder(_Chat)
_CHUNK = msgspec.json.Decoder(_Chunk)
_DOCUMENT = msgspec.json.Decoder(_Document)
_STRING = msgspec.json.Decoder(str)
_TRANSCRIPT = msgspec.json.Decoder(_Transcript)


def _message(body: bytes) -> _Message:
    chat = read(_CHAT, body)
    return (chat.choices[0].message if chat and chat.choices else None) or _Message()


def text(kind: str, body: bytes) -> str | None:
    if kind == "ocr":
        return _pages(body)
    if kind == "transcription":
        transcript = read(_TRANSCRIPT, body)
        return transcript.text if transcript else None
    message = _message(body)
    if not isinstance(message.content, str):
        return _chunks(message.content)
    return message.content or (None if message.tool_calls else "")  # beside a tool call, "" is no answer


def _chunks(content: list[msgspec.Raw] | None) -> str | None:
    """Join the text chunks: a reasoning model's thinking comes in chunks of its own, which are not text."""
    chunks = read_each(_CHUNK, content)
    return joined([chunk.text for chunk in chunks if chunk.type == "text" and chunk.text is not None])


def _pages(body: bytes) -> str | None:
    """Give the document that was read, its pages parted by blank lines."""
    document = read(_DOCUMENT, body)
    pages = [page.markdown for page in (document.pages or [] if document else []) if page.markdown is not None]
    return "\n\n".join(pages) if pages else None


def tool_calls(kind: str, body: bytes) -> tuple[ToolCall, ...]:
    del kind
    calls = read_each(_CALL, _message(body).tool_calls)
    return tuple(
        ToolCall(id=call.id or "", name=call.function.name, arguments=_arguments(call.function.arguments))
        for call in calls
    )


def _arguments(raw: msgspec.Raw) -> str:
    """Give the arguments' JSON text: it may come in a string, as the model wrote it, or as the object it means."""
    written = read(_STRING, raw)
    return object_text(raw) if written is None else written


def embeddings(kind: str, body: bytes) -> list[list[float]]:
    return openai.embeddings(kind, body)


def embedding(kind: str, body: bytes) -> list[float] | None:
    return openai.embedding(kind, body)


def usage(kind: str, body: bytes | msgspec.Raw) -> UsageInfo | None:
    """Read OpenAI's spelling; a document that was read is counted in pages, which are no tokens."""
    return openai.usage(kind, body)
