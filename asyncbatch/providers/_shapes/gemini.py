"""The shapes of Gemini's batches, and the pure functions between them and ours.

A batch is a long-running operation, and what is known of it stands in the operation's `metadata`. Proto JSON writes int64 as
text and leaves out what is zero or empty; faults are google.rpc.Status.

Sources: https://ai.google.dev/api/batch-api, googleapis/python-genai 3.6 (batches.py, files.py, types.py), and the behaviour
noted in `docs/providers/gemini.md`.
"""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from asyncbatch import answers
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.lines import salvage_id, undecodable
from asyncbatch.codec.options import encode_webhook, wire_options
from asyncbatch.codec.rpc import Fault, decode_count
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import (
    BatchErrorItem,
    Match,
    PreparedSubmission,
    Progress,
    ProviderResultRow,
    ProviderStatus,
    RowError,
)
from asyncbatch.enums import BatchStatus, ErrorClass, ResultStatus
from asyncbatch.wire_provider import UNREADABLE, without_empty

GENERATE, EMBED = "/models:generateContent", "/models:embedContent"
_RESPONSES = ("inlinedResponses", "inlinedResponses")
HELD = (
    ("metadata", "output", *_RESPONSES),
    ("response", *_RESPONSES),
    ("metadata", "inputConfig", "requests", "requests"),
)
"""What may be large in an operation: its answers, in two places at once, and the requests that it came from."""
_PLACES = (0, 1)


# The wire's shapes, of any types where a wrong one must not hide an end.


class _Output(msgspec.Struct, frozen=True, rename="camel"):
    responses_file: str | None = None
    inlined_responses: msgspec.Raw = msgspec.Raw()


class _Counts(msgspec.Struct, frozen=True, rename="camel"):
    request_count: Any = None
    successful_request_count: Any = None
    failed_request_count: Any = None


class _Input(msgspec.Struct, frozen=True, rename="camel"):
    file_name: str | None = None


class _Batch(msgspec.Struct, frozen=True, rename="camel"):
    type: str = msgspec.field(default="", name="@type")
    name: str | None = None
    model: str | None = None
    display_name: str | None = None
    state: Any = None
    create_time: Any = None
    end_time: Any = None
    batch_stats: _Counts | None = None
    output: _Output | None = None
    input_config: _Input | None = None


class _Operation(msgspec.Struct, frozen=True):
    name: str | None = None
    metadata: _Batch | None = None
    done: bool | None = None
    response: _Output | None = None
    error: Fault | None = None


class _InputLine(msgspec.Struct, frozen=True, gc=False):
    key: msgspec.Raw
    request: msgspec.Raw


class _Line(msgspec.Struct, frozen=True, gc=False):
    key: Any = None
    metadata: Any = None
    response: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    position: Any = None


class _Shape(msgspec.Struct, frozen=True):
    embedding: msgspec.Raw = msgspec.Raw()
    embeddings: msgspec.Raw = msgspec.Raw()


_READ_OPERATION = msgspec.json.Decoder(_Operation)
_READ_INPUT_LINE = msgspec.json.Decoder(_InputLine)
_READ_LINE = msgspec.json.Decoder(_Line)
_READ_FAULT = msgspec.json.Decoder(Fault)
_READ_SHAPE = msgspec.json.Decoder(_Shape)
_NOTHING = (b"", b"null")
_SHOWN_BYTES = 200


# A batch


def decode_status(body: bytes, facts: ProviderFacts) -> ProviderStatus:
    """Read an operation. Raises one of `UNREADABLE` where it is none."""
    operation = _READ_OPERATION.decode(body)
    batch, counts = operation.metadata or _Batch(), (operation.metadata and operation.metadata.batch_stats) or _Counts()
    status, word = _state_of(operation, batch, facts)
    name = operation.name or batch.name or ""
    created_at, ended_at = decode_time(batch.create_time), decode_time(batch.end_time)
    fault = (
        None
        if operation.error is None or status is BatchStatus.COMPLETED
        else BatchErrorItem(code=operation.error.word, message=operation.error.text)
    )
    return ProviderStatus(
        provider_batch_id=name,
        status=status,
        raw_status=word,
        progress=Progress(
            total=decode_count(counts.request_count) or 0,
            completed=decode_count(counts.successful_request_count) or 0,
            failed=decode_count(counts.failed_request_count) or 0,
        ),
        error_message=fault.message if fault else None,
        errors=(fault,) if fault else (),
        created_at=created_at,
        completed_at=ended_at,
        expires_at=created_at + facts.window_s if created_at else None,
        results_expire_at=ended_at + facts.retention.output_s if ended_at and facts.retention.output_s else None,
        result_uris=_places_of(operation, batch, name),
        endpoint=_endpoint_of(batch),
        input_ref=batch.input_config.file_name if batch.input_config else None,
        metadata={key: value for key, value in (("displayName", batch.display_name), ("model", batch.model)) if value},
    )


def _state_of(operation: _Operation, batch: _Batch, facts: ProviderFacts) -> tuple[BatchStatus, str]:
    """Read the state's word; where it says nothing, an operation that is done has ended the way its error tells."""
    word = str(batch.state or "")
    status = facts.normalize_status(word)
    if status is not BatchStatus.UNKNOWN or not operation.done:
        return status, word
    if operation.error is None:
        return BatchStatus.COMPLETED, word or "done"
    ended = BatchStatus.CANCELLED if operation.error.word == "CANCELLED" else BatchStatus.FAILED
    return ended, word or operation.error.word


def _places_of(operation: _Operation, batch: _Batch, name: str) -> tuple[str, ...]:
    """Name the file of answers, or the batch itself where it holds them; what is said twice is one place."""
    outputs = [output for output in (batch.output, operation.response) if output is not None]
    files = without_empty([output.responses_file for output in outputs])
    if files:
        return files[:1]
    return (name,) if any(bytes(output.inlined_responses) not in _NOTHING for output in outputs) else ()


def _endpoint_of(batch: _Batch) -> str | None:
    if batch.type.endswith("EmbedContentBatch") or "embedding" in (batch.model or ""):
        return EMBED
    return GENERATE if batch.type or batch.model else None


def is_created(body: bytes, submission: PreparedSubmission) -> bool:
    """Whether an answer to a create is a batch with a name, and made of our input where it says of which."""
    try:
        operation = _READ_OPERATION.decode(body)
    except UNREADABLE:
        return False
    given = operation.metadata.input_config if operation.metadata else None
    is_ours = given is None or given.file_name in (None, "", submission.input_ref)
    return is_ours and (operation.name or "").removeprefix("batches/") not in ("", operation.name)


def name_of(submission: PreparedSubmission) -> str:
    """Give the name that every batch needs: our tag, or one that is made of the job."""
    return submission.tag or f"asyncbatch-{submission.batch_id}-{submission.chunk_index:04d}"


def encode_create(submission: PreparedSubmission, config: Mapping[str, Any], facts: ProviderFacts) -> bytes:
    """Give the body of a create; what it is made of stands at its end, and no option replaces that or the name."""
    options = wire_options(submission.options) | encode_webhook(facts, submission.options)
    rest = {key: value for key, value in options.items() if key not in ("displayName", "inputConfig")}
    return msgspec.json.encode({"batch": {**rest, "displayName": name_of(submission), "inputConfig": config}})


def encode_envelope(submission: PreparedSubmission, facts: ProviderFacts) -> tuple[bytes, bytes]:
    """Give what stands before and after the requests of an inline create, which stay in the spool."""
    tail = b"]}}}}"
    return encode_create(submission, {"requests": {"requests": []}}, facts).removesuffix(tail), tail


def match_of(submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
    if submission.tag and status.metadata.get("displayName") == submission.tag:
        return Match(provider_batch_id=status.provider_batch_id, why="tag", is_certain=True, status=status)
    if submission.input_ref and status.input_ref == submission.input_ref:
        return Match(provider_batch_id=status.provider_batch_id, why="input", is_certain=True, status=status)
    return None


# Answers


def decode_line(line: bytes, *, format: str, facts: ProviderFacts, unkeyed: int = 0) -> ProviderResultRow:  # noqa: A002
    """Read one answer of a file or of a batch; what cannot be read becomes an UNDECODABLE row with its raw bytes.

    Args:
        line: The answer.
        format: How to read what it carries; "" where the batch does not tell, and then its shape does.
        facts: Which errors may pass.
        unkeyed: How many answers its batch has, where not one of them has a key: then the position says whose it is.
    """
    try:
        item = _READ_LINE.decode(line)
        if not line.isascii():
            line.decode()  # the answer's own bytes are carried raw, and nobody else looks whether they are UTF-8
    except UNREADABLE as error:
        return undecodable(line, str(error), "key")
    has_error = bytes(item.error) not in _NOTHING
    if bytes(item.response) not in _NOTHING and not (has_error and bytes(item.response) == b"{}"):
        row = _answered(item, format or _format_of(item.response))
    elif has_error:
        row = _failed(item, format, facts)
    else:
        return undecodable(line, "it holds neither a response nor an error", "key")
    if row.request_id or not isinstance(item.position, int) or not 0 <= item.position < unkeyed:
        return row
    return msgspec.structs.replace(row, metadata={"position": item.position, "positions": unkeyed})


def _answered(item: _Line, format: str) -> ProviderResultRow:  # noqa: A002
    """Give an answer; one that was blocked is an answer too, and its body says why."""
    body = item.response.copy()
    usage = answers.usage(format, bytes(body))
    return ProviderResultRow(
        request_id=_key_of(item), status=ResultStatus.SUCCEEDED, body=body, format=format, usage=usage
    )


def _failed(item: _Line, format: str, facts: ProviderFacts) -> ProviderResultRow:  # noqa: A002
    """Give a failure; the body is the fault, whose details may say more than its message."""
    body = item.error.copy()
    try:
        fault = _READ_FAULT.decode(body)
    except UNREADABLE:
        fault = Fault(message=bytes(body)[:_SHOWN_BYTES].decode("utf-8", "replace"))
    is_retryable = facts.classify_batch_error(fault.word) is not ErrorClass.PERMANENT
    error = RowError(code=fault.word, message=fault.text, retryable=is_retryable)
    return ProviderResultRow(
        request_id=_key_of(item), status=ResultStatus.ERRORED, body=body, format=format, error=error
    )


def _key_of(item: _Line) -> str:
    metadata: Any = item.metadata
    echoed: Any = cast("dict[str, Any]", metadata).get("key") if isinstance(metadata, dict) else None
    key = item.key if item.key is not None else echoed
    return str(key) if isinstance(key, str | int | float) else ""


def _format_of(response: msgspec.Raw) -> str:
    try:
        shape = _READ_SHAPE.decode(response)
    except UNREADABLE:
        return "gemini.generate"
    return "gemini.embed" if shape.embedding or shape.embeddings else "gemini.generate"


class InlineAnswers:
    """The answers that a batch holds itself, as lines with their positions; the same ones in a second place are passed over."""

    def __init__(self) -> None:
        self._is_keyed = False
        self._place: int | None = None
        self._count = 0

    @property
    def unkeyed(self) -> int:
        """How many they are, where not one of them names the request that it answers; else 0."""
        return 0 if self._is_keyed else self._count

    def lines(self, items: list[tuple[int, bytes]]) -> bytes:
        """Give the next of them; `items` are what an `ItemCutter` for `HELD` found."""
        taken: list[bytes] = []
        for place, item in items:
            if self._place is None and place in _PLACES:
                self._place = place
            if place == self._place:
                taken.append(self._line(item))
        return b"".join(taken)

    def _line(self, item: bytes) -> bytes:
        self._is_keyed = self._is_keyed or _has_key(item)
        position = self._count
        self._count += 1
        if not item.startswith(b"{"):
            return item + b"\n"
        members = item[:-1].rstrip()
        # At its end, for of a key that comes twice the last one counts: none that the answer brings itself.
        return b'%b%b"position":%d}\n' % (members, b"," if members != b"{" else b"", position)


def _has_key(item: bytes) -> bool:
    try:
        return bool(_key_of(_READ_LINE.decode(item)))
    except UNREADABLE:
        return bool(salvage_id(item, "key"))


def encode_line(wire_id: bytes, body: bytes, *, is_inline: bool) -> bytes:
    """Give a request as it stands in a file or, with the id among what is echoed, in a create."""
    template = (
        b'{"request":%(body)b,"metadata":{"key":%(key)b}}\n' if is_inline else b'{"key":%(key)b,"request":%(body)b}\n'
    )
    return template % {b"key": wire_id, b"body": body}


def inline_line(line: bytes) -> bytes:
    """Give the line of a file as it stands in a create."""
    item = _READ_INPUT_LINE.decode(line)
    return encode_line(bytes(item.key), bytes(item.request), is_inline=True).rstrip(b"\n")
