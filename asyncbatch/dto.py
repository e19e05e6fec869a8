"""What users hold: frozen msgspec Structs, from a submission ready to send to a result row.

Absent and null differ. Bodies that we only carry stay raw bytes and are decoded when asked for.

There are as many rows as requests, and as many statuses as batches, so what they are made of (`gc=False`) is freed when nobody
holds it and never walked by the garbage collector: who put a row into its own metadata would keep it for good.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload
from uuid import UUID

import msgspec

from asyncbatch import answers
from asyncbatch.answers import ToolCall, UsageInfo
from asyncbatch.enums import BatchMode, BatchStatus, ResultStatus

__all__ = [
    "BadRow",
    "BatchErrorItem",
    "Blob",
    "FilePage",
    "Match",
    "PreparedSubmission",
    "Progress",
    "ProviderResultRow",
    "ProviderStatus",
    "ProviderSubmitResult",
    "RemoteFile",
    "RowError",
    "StatusPage",
    "ToolCall",
    "UsageInfo",
]

T = TypeVar("T")


class Blob(Protocol):
    """A large body that somebody else owns: bytes on disk, or in memory while they are few."""

    @property
    def size(self) -> int:
        """Length in bytes; it does not change any more."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Read the body from its start, in pieces of at most 1 MiB, without blocking the event loop."""
        ...

    async def discard(self) -> None:
        """Give back the disk space; harmless when repeated. Only the owner calls it."""
        ...


class BadRow(msgspec.Struct, frozen=True, kw_only=True):
    """Stands among the requests for one that its reader could not even make out, such as a line that is not JSON.

    It is refused like any other bad row: with its place, in `InvalidRequestsError` or as a REJECTED outcome.

    Attributes:
        code: A short stable word, such as `not_json`.
        message: What is wrong, with the offending value.
    """

    code: str
    message: str


class PreparedSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """One chunk of a job in a provider's format, ready to send.

    Attributes:
        batch_id: The caller's own UUID for the job.
        provider_name: Which provider's format this is.
        model: The model of every request in it.
        mode: What the requests ask for.
        endpoint: The provider's path for each request, such as `/v1/chat/completions`.
        payloads: The encoded requests, one JSON document each, while they are small (1 MiB in all); else empty.
        spool: The same bytes as one body, one request a line; it is what travels.
        chunk_index: Position among the submissions of this job, from 0.
        total_chunks: How many submissions the job has.
        request_ids: The request ids, in order: a lazy sequence that reads the spool's index.
        request_count: How many requests are in it.
        first_row: Position of its first request among those of the whole job that were not refused, from 0.
        row_span: Over how many rows, from the first on, its requests are strewn, where they are some of one that is sent
            again; 0 where they follow each other.
        wire_prefix: What stands before the row number in the ids on the wire; None where the wire carries the request ids.
        refused_rows: Rows of the whole input that were refused, ascending: the numbers on the wire count them too.
        tag: Our mark on the attempt at the provider; None until somebody sets it.
        is_inline: Whether the requests travel in the create itself rather than in a file.
        input_ref: Where the provider keeps the uploaded input; None before `upload`, and for what travels inline.
        input_expires_at: When the provider deletes that input, Unix seconds; None where it does not tell.
        dropped: Fields that the provider cannot express and that were left out, with the number of rows; see `on_unsupported`.
        digest: A hash of the ids and bodies of the whole job: the same requests give the same one. Made where a job has a key,
            by which others may come to be compared with it; else empty.
        options: Further words for the create call, as the provider spells them; never a credential.
    """

    batch_id: UUID
    provider_name: str
    model: str
    mode: BatchMode
    endpoint: str
    payloads: tuple[msgspec.Raw, ...] = ()
    spool: Blob | None = None
    chunk_index: int = 0
    total_chunks: int = 1
    request_ids: Sequence[str] = ()
    request_count: int = 0
    first_row: int = 0
    row_span: int = 0
    wire_prefix: str | None = None
    refused_rows: Sequence[int] = ()
    tag: str | None = None
    is_inline: bool = False
    input_ref: str | None = None
    input_expires_at: float | None = None
    dropped: Mapping[str, int] = {}
    digest: str = ""
    options: Mapping[str, Any] = {}

    def replace(self, **changes: Any) -> "PreparedSubmission":
        """Give a copy with some fields changed; the spool is shared, not copied."""
        return msgspec.structs.replace(self, **changes)


class ProviderSubmitResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider answered to a create.

    Attributes:
        provider_batch_id: The batch's name at the provider.
        status: Its state, normalised.
        raw_status: The provider's own word for it.
        submitted_at: Unix seconds, by the provider's clock where it tells, else by ours.
        metadata: What the provider keeps with the batch, our tag among it.
    """

    provider_batch_id: str
    status: BatchStatus = BatchStatus.UNKNOWN
    raw_status: str = ""
    submitted_at: float | None = None
    metadata: Mapping[str, Any] = {}


_MOST_COUNTED = 10**12
"""What a service counts beyond it is nonsense, with which nobody can reckon in 64 bits."""


class Progress(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Counts for display: providers report them late and in jumps, and some set them back."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        if 0 <= self.total <= _MOST_COUNTED >= self.completed >= 0 <= self.failed <= _MOST_COUNTED:
            return
        for name in self.__struct_fields__:
            msgspec.structs.force_setattr(self, name, min(max(getattr(self, name), 0), _MOST_COUNTED))

    @property
    def done(self) -> int:
        return self.completed + self.failed


class BatchErrorItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One reason why a whole batch failed.

    Attributes:
        code: The provider's code, such as `invalid_json_line`.
        message: The provider's words.
        line: The offending line of the input, from 1, where the provider names one.
        param: The offending field, where the provider names one.
    """

    code: str = ""
    message: str = ""
    line: int | None = None
    param: str | None = None


class ProviderStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a batch stands.

    Attributes:
        provider_batch_id: The batch's name at the provider.
        status: Its state, normalised; UNKNOWN for a word we do not know.
        raw_status: The provider's own word.
        progress: Counts, for display.
        error_message: Why the batch failed, in one line; None where it did not.
        errors: Every reason the provider gives.
        created_at: Unix seconds.
        completed_at: Unix seconds at which the batch came to its end, whatever the end.
        expires_at: Unix seconds at which the provider stops working on it.
        results_expire_at: Unix seconds at which the answers are deleted, where the provider tells.
        result_uris: Where answers lie: every place, errors too.
        usage: Tokens of the whole batch, where the provider adds them up.
        endpoint: The path the batch was created for, where the provider tells.
        input_ref: The uploaded input, where the provider tells.
        metadata: What the provider keeps with the batch.
        retry_after: Seconds the provider asks us to wait before the next question.
    """

    provider_batch_id: str
    status: BatchStatus
    raw_status: str = ""
    progress: Progress = Progress()
    error_message: str | None = None
    errors: tuple[BatchErrorItem, ...] = ()
    created_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None
    results_expire_at: float | None = None
    result_uris: tuple[str, ...] = ()
    usage: UsageInfo | None = None
    endpoint: str | None = None
    input_ref: str | None = None
    metadata: Mapping[str, Any] = {}
    retry_after: float | None = None


class RowError(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a request has no answer.

    Attributes:
        code: The provider's code, or ours.
        message: The provider's words, or ours.
        retryable: Whether the same request may succeed when it is submitted again.
        status: The HTTP status of the row, where it has one.
    """

    code: str = ""
    message: str = ""
    retryable: bool = False
    status: int | None = None


class ProviderResultRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one request ended: exactly one outcome for each request.

    Attributes:
        request_id: The request's id.
        status: Its outcome.
        body: The provider's own answer, raw JSON bytes; empty where there is none.
        format: How to read the body, such as `openai.chat`; empty where there is none.
        error: Why there is no answer; None for a success.
        usage: Tokens, where the answer tells.
        metadata: What else the provider says about the row, such as its own id for the call.
    """

    request_id: str
    status: ResultStatus
    body: msgspec.Raw = msgspec.Raw()
    format: str = ""
    error: RowError | None = None
    usage: UsageInfo | None = None
    metadata: Mapping[str, Any] = {}

    @property
    def response(self) -> Any:
        """The provider's own answer, decoded; None where there is none. Raises `msgspec.DecodeError` if it is broken."""
        return _decoded(self.body) if self.body else None

    @property
    def text(self) -> str | None:
        """The answer's text; None where it has none (an error, a tool call, an embedding)."""
        return answers.text(self.format, bytes(self.body)) if self._answered else None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls the model asks for."""
        return answers.tool_calls(self.format, bytes(self.body)) if self._answered else ()

    @property
    def embedding(self) -> list[float] | None:
        """The (first) embedding."""
        return answers.embedding(self.format, bytes(self.body)) if self._answered else None

    @property
    def embeddings(self) -> list[list[float]]:
        """Every embedding of the row, in the order of its inputs."""
        return answers.embeddings(self.format, bytes(self.body)) if self._answered else []

    @property
    def _answered(self) -> bool:
        return self.status is ResultStatus.SUCCEEDED

    @overload
    def decode(self) -> Any: ...
    @overload
    def decode(self, model: type[T]) -> T: ...
    def decode(self, model: Any = None) -> Any:
        """Decode the answer's text as JSON into `model`: a Struct, a dataclass, a TypedDict or a pydantic model.

        Raises:
            ValueError: There is no text, it is not JSON, or it does not fit. (`msgspec.ValidationError` and pydantic's own
                error are both ValueErrors.)
        """
        text = self.text
        if text is None:
            why = f"it ended {self.status.value}"
            if self._answered:
                why = "its answer is a tool call" if self.tool_calls else "its answer has none: look at row.response"
            raise ValueError(f"request {self.request_id!r} has no text to decode: {why}")
        if model is None:
            return _decoded(text)
        if hasattr(model, "model_validate_json"):  # pydantic, which is never imported unless the caller did
            return model.model_validate_json(text)
        return _decoded(text, model)


def _decoded(data: str | msgspec.Raw, model: Any = Any) -> Any:
    """Decode JSON; all that it may be besides is one kind of error."""
    try:
        return msgspec.json.decode(data, type=model)
    except msgspec.DecodeError:
        raise
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except ValueError as error:  # no UTF-8, or a number of more digits than Python reads
        raise msgspec.DecodeError(str(error)) from None


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A batch at the provider that may be ours.

    Attributes:
        provider_batch_id: The batch's name.
        why: What matches: `tag`, `input`, `ids` (our nonce in the ids of its answers), or `time_and_count`.
        is_certain: Whether it can only be ours.
        status: Its state, as the list showed it.
    """

    provider_batch_id: str
    why: str
    is_certain: bool
    status: ProviderStatus


class StatusPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of batches, newest first.

    Attributes:
        statuses: The batches on it.
        cursor: What to ask for next; None at the end.
    """

    statuses: tuple[ProviderStatus, ...] = ()
    cursor: str | None = None


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file at a provider, of those that batches read and write.

    Attributes:
        ref: What the provider calls it, as `input_ref` and `result_uris` do.
        name: The name that it was given.
        size: Length in bytes, where the provider tells.
        created_at: Unix seconds.
        expires_at: When the provider deletes it, Unix seconds; None where it does not tell.
    """

    ref: str
    name: str = ""
    size: int | None = None
    created_at: float | None = None
    expires_at: float | None = None


class FilePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of files.

    Attributes:
        files: The files on it.
        cursor: What to ask for next; None at the end.
    """

    files: tuple[RemoteFile, ...] = ()
    cursor: str | None = None
