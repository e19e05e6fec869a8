"""The shapes of xAI's batches, and the pure functions between them and ours.

A batch has no word for where it stands: counters tell, and they grow while a file is read, and go back after a cancel. How many
requests there have to be stands in its name, which is ours. Moments are bare dates. Source: xai-org/xai-proto:batch.proto, and
the behaviour noted in `docs/providers/xai.md`.
"""

import re
from typing import Any, NamedTuple, cast

import msgspec

from asyncbatch import answers
from asyncbatch.catalog import ProviderFacts
from asyncbatch.codec.lines import undecodable
from asyncbatch.codec.rpc import Fault, decode_count
from asyncbatch.codec.slices import LineFrame
from asyncbatch.codec.times import decode_time
from asyncbatch.dto import (
    BatchErrorItem,
    FilePage,
    Match,
    PreparedSubmission,
    Progress,
    ProviderResultRow,
    ProviderStatus,
    RemoteFile,
    RowError,
    StatusPage,
    UsageInfo,
)
from asyncbatch.enums import BatchStatus, ErrorClass, ResultStatus
from asyncbatch.wire_provider import UNREADABLE

DAY_S = 86_400.0
RESULTS = "/batches/{}/results"

_GRACE_S = 2 * DAY_S
"""After the day on which a batch expires, until we take it that nothing of it will run any more."""
_STEADY_S = 20.0
"""For so long counters that went back have been seen to stay wrong."""
_TICKS_PER_USD = 1e10
_SHOWN = 80
_SHOWN_BYTES = 200
_NAME = re.compile(r"(?P<tag>.+)\.n(?P<count>\d{1,7})\.(?P<endpoint>[a-z0-9-]+)", re.ASCII)
_NULL = msgspec.Raw(b"null")
_ID = "batch_request_id"
_SAYS = (
    r"(?:the |this |your )?(?:batch|request)(?: \S*[_\d]\S*)?(?: (?:was|is|has|had|been|already))* {}"
    r"(?:$|[.,:;!]| (?:after|as|at|because|before|by|due|on|since|while)\b)"
)
"""What a text says that tells of the end of a batch: this, and nothing in front of it, for a text may quote anything."""
_TEXTS = (
    (re.compile(_SAYS.format("cancell?ed"), re.IGNORECASE), "batch_cancelled"),
    (re.compile(_SAYS.format("expired"), re.IGNORECASE), "batch_expired"),
)
_ENDS = {
    "batch_cancelled": ResultStatus.CANCELLED,
    "CANCELLED": ResultStatus.CANCELLED,
    "batch_expired": ResultStatus.EXPIRED,
}


_PLACES = {
    "/v1/chat/completions": "chat_get_completion",
    "/v1/responses": "responses",
    "/v1/images/generations": "image_generation",
    "/v1/images/edits": "image_edit",
    "/v1/videos/generations": "video_generation",
    "/v1/videos/extensions": "video_extension",
}
"""Where the body of a request stands that is added to a batch."""


# The wire's shapes, of any types where a wrong one must not hide an end.


class _Batch(msgspec.Struct, frozen=True):
    batch_id: str
    name: Any = None
    create_time: Any = None
    expire_time: Any = None
    cancel_time: Any = None
    cancel_by_xai_message: Any = None
    state: Any = None
    cost_breakdown: Any = None
    input_file_id: Any = None


class _Added(msgspec.Struct, frozen=True):
    batch_id: Any = None


class _Page(msgspec.Struct, frozen=True):
    batches: list[msgspec.Raw] | None = None
    pagination_token: str | None = None


class _Results(msgspec.Struct, frozen=True):
    """What a page of results says beside them, which are cut out of it."""

    results: list[msgspec.Raw] | None = None
    pagination_token: str | None = None


class File(msgspec.Struct, frozen=True):
    id: str
    bytes: int | None = None
    filename: str | None = None
    created_at: Any = None
    expires_at: Any = None


class _Files(msgspec.Struct, frozen=True):
    data: list[File]
    pagination_token: str | None = None


class _Line(msgspec.Struct, frozen=True, gc=False):
    batch_request_id: Any = None
    batch_result: msgspec.Raw = msgspec.Raw()
    error_message: msgspec.Raw = msgspec.Raw()


class _Result(msgspec.Struct, frozen=True, gc=False):
    response: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Shape(msgspec.Struct, frozen=True, gc=False):
    choices: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()


class _Totalled(msgspec.Struct, frozen=True, gc=False):
    usage: dict[str, msgspec.Raw] = {}


_READ_BATCH = msgspec.json.Decoder(_Batch)
_READ_ADDED = msgspec.json.Decoder(_Added)
_READ_PAGE = msgspec.json.Decoder(_Page)
_READ_RESULTS = msgspec.json.Decoder(_Results)
_READ_FILE = msgspec.json.Decoder(File)
_READ_FILES = msgspec.json.Decoder(_Files)
_READ_LINE = msgspec.json.Decoder(_Line)
_READ_RESULT = msgspec.json.Decoder(_Result)
_READ_PLACES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_READ_SHAPE = msgspec.json.Decoder(_Shape)
_READ_TOTAL = msgspec.json.Decoder(_Totalled)
_READ_FAULT = msgspec.json.Decoder(Fault)
_READ_TEXT = msgspec.json.Decoder(str)


# A batch


class Mark(NamedTuple):
    """What the name of a batch says, where it is ours.

    Attributes:
        tag: Our tag, or what stands for it.
        expected: How many requests were sent.
        endpoint: Where to, in a word.
    """

    tag: str | None = None
    expected: int | None = None
    endpoint: str | None = None


class Counters(NamedTuple):
    """How many requests a batch has; those that are in none of the others are on their way."""

    requests: int = 0
    pending: int = 0
    success: int = 0
    error: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        return self.success + self.error + self.cancelled


def encode_name(submission: PreparedSubmission) -> str:
    """Name a batch: with our tag, how many requests it has to have, and where they go."""
    tag = submission.tag or f"asyncbatch-{submission.batch_id}-{submission.chunk_index:04d}"
    return f"{tag}.n{submission.request_count}.{_word_for(submission.endpoint)}"


def decode_name(name: Any) -> Mark:
    """Read the name of a batch; one that others gave says nothing."""
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    return Mark(found["tag"], int(found["count"]), found["endpoint"]) if found else Mark()


def _word_for(endpoint: str) -> str:
    return endpoint.removeprefix("/v1/").replace("/", "-")


def decode_counters(state: Any) -> Counters | None:
    """Read the counters, of which those that are zero may be left out; None where the state is something else."""
    if state is None:
        return Counters()
    if not isinstance(state, dict):
        return None
    given = cast("dict[str, Any]", state)
    found = [decode_count(given.get(f"num_{name}")) or 0 for name in Counters._fields]
    return Counters(*found)


def word_of(
    counters: Counters,
    *,
    expected: int | None = None,
    has_file: bool = True,
    is_cancelled: bool = False,
    is_stopped: bool = False,
    is_past: bool = False,
) -> str:
    """Say where a batch stands.

    Args:
        counters: What it counts.
        expected: How many requests were sent; None if nobody knows.
        has_file: Whether they were sent in a file.
        is_cancelled: Whether somebody has asked for its end.
        is_stopped: Whether xAI has ended it.
        is_past: Whether its time was over long ago.
    """
    if is_stopped:
        return "stopped"
    if is_cancelled:
        return "cancelling" if counters.pending else "cancelled"
    # Counters that are zero may be left out: that none is pending may be told by saying nothing, so the others have to add up.
    is_whole = counters.requests >= (expected or 0) and counters.ended >= counters.requests
    if counters.requests and not counters.pending and is_whole:
        return "done"
    if is_past:
        return "expired"
    if not counters.requests:
        return "reading" if has_file else "empty"
    return "pending" if counters.pending else "growing"


def decode_status(body: bytes | msgspec.Raw, facts: ProviderFacts, now: float) -> ProviderStatus:
    """Read a batch. Raises one of `UNREADABLE` where it is none."""
    batch = _READ_BATCH.decode(body)
    mark, counters = decode_name(batch.name), decode_counters(batch.state)
    why, expires_at = _text(batch.cancel_by_xai_message), decode_time(batch.expire_time)
    created_at = decode_time(batch.create_time)
    ends_at = expires_at if expires_at is not None or created_at is None else created_at + facts.window_s
    counted = counters or Counters()
    word = word_of(
        counted,
        expected=mark.expected,
        has_file=bool(batch.input_file_id),
        is_cancelled=decode_time(batch.cancel_time) is not None,
        is_stopped=bool(why),
        is_past=ends_at is not None and now >= ends_at + _GRACE_S,
    )
    # What is no counters is a word that nobody knows, and no end, whatever it looks like.
    status = BatchStatus.UNKNOWN if counters is None else facts.normalize_status(word)
    return ProviderStatus(
        provider_batch_id=batch.batch_id,
        status=status,
        raw_status=word if counters is not None else str(batch.state)[:_SHOWN],
        progress=Progress(total=counted.requests, completed=counted.success, failed=counted.error + counted.cancelled),
        error_message=why or None,
        errors=(BatchErrorItem(code="stopped_by_xai", message=why),) if why else (),
        created_at=created_at,
        expires_at=expires_at,
        result_uris=(RESULTS.format(batch.batch_id),) if status.is_terminal else (),
        endpoint=_endpoint_of(mark, facts),
        input_ref=_text(batch.input_file_id) or None,
        metadata={**({"name": batch.name} if batch.name else {}), **_cost_of(batch.cost_breakdown)},
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _endpoint_of(mark: Mark, facts: ProviderFacts) -> str | None:
    return next((item.path for item in facts.endpoints if _word_for(item.path) == mark.endpoint), None)


def _cost_of(given: Any) -> dict[str, float]:
    cost = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    ticks = decode_count(cost.get("total_cost_usd_ticks"))
    return {} if ticks is None else {"cost_usd": ticks / _TICKS_PER_USD}


def decode_page(body: bytes, facts: ProviderFacts, now: float) -> StatusPage:
    """Read a page of the list. Raises one of `UNREADABLE` where it is none: nothing but an empty one has no batches."""
    page = _READ_PAGE.decode(body)
    if page.batches is None and body.strip() != b"{}":
        raise ValueError("it has no batches, and is not empty")
    statuses = tuple(decode_status(item, facts, now) for item in page.batches or ())
    return StatusPage(statuses=statuses, cursor=page.pagination_token or None)


def match_of(submission: PreparedSubmission, status: ProviderStatus) -> Match | None:
    """Say whether a batch is this submission; one that was made for requests is none until it has them."""
    if submission.is_inline and not status.progress.total and status.status is not BatchStatus.UNKNOWN:
        return None
    if submission.tag and decode_name(status.metadata.get("name")).tag == submission.tag:
        return Match(provider_batch_id=status.provider_batch_id, why="tag", is_certain=True, status=status)
    if submission.input_ref and submission.input_ref in (status.input_ref, status.provider_batch_id):
        return Match(provider_batch_id=status.provider_batch_id, why="input", is_certain=True, status=status)
    return None


def encode_create(submission: PreparedSubmission) -> bytes:
    """Give the body of a create: over an uploaded file, or of a batch without any, to which requests are added."""
    about = {} if submission.is_inline else {"input_file_id": submission.input_ref}
    return msgspec.json.encode({"name": encode_name(submission), **about})


def added_frame(endpoint: str) -> LineFrame | None:
    """Give what stands around the id and the body of a request that is added to a batch; None where it cannot be."""
    place = _PLACES.get(endpoint)
    if place is None:
        return None
    between = b',"batch_request":{"%b":' % place.encode()
    return LineFrame(before=b'{"batch_request_id":', between=between, after=b"}}\n")


def is_added(body: bytes, submission: PreparedSubmission) -> bool:
    """Whether an answer says that requests were added: with nothing, or with the batch they were added to."""
    try:
        return _READ_ADDED.decode(body).batch_id == submission.input_ref or body.strip() == b"{}"
    except UNREADABLE:
        return False


def is_created(body: bytes, submission: PreparedSubmission) -> bool:
    """Whether an answer to a create is a batch with an id, and made of our input where it says of which."""
    try:
        batch = _READ_BATCH.decode(body)
    except UNREADABLE:
        return False
    return bool(batch.batch_id) and batch.input_file_id in (None, "", submission.input_ref)


class Steadiness:
    """Whether the counters of a batch that is over are to be believed: those of what was sent at once, others when they stay.

    Those that do not even add up are not, for as long as anybody looks; but of a batch whose time is over nothing else comes.
    """

    def __init__(self) -> None:
        self._seen: Progress | None = None
        self._since = 0.0

    def is_steady(self, status: ProviderStatus, now: float) -> bool:
        """Say it of the newest look."""
        counted = status.progress
        if counted != self._seen:
            self._seen, self._since = counted, now
        is_known = decode_name(status.metadata.get("name")).expected == counted.total == counted.done
        is_plain = status.status in (BatchStatus.COMPLETED, BatchStatus.FAILED) and is_known
        has_stayed = now - self._since >= _STEADY_S and counted.done >= counted.total
        return is_plain or status.status is BatchStatus.EXPIRED or has_stayed


# Files


def encode_upload(expires_s: int | None) -> dict[str, str]:
    """Give the fields that stand in front of the file: its end is not heard behind it."""
    return {**({} if expires_s is None else {"expires_after": str(expires_s)}), "purpose": "batch"}


def decode_file(body: bytes) -> File:
    """Read the answer to an upload. Raises one of `UNREADABLE` where it is none."""
    return _READ_FILE.decode(body)


def decode_files(body: bytes) -> FilePage:
    """Read a page of the list of files; what a file is for says nothing here."""
    page = _READ_FILES.decode(body)
    return FilePage(files=tuple(map(_remote, page.data)), cursor=page.pagination_token or None)


def _remote(file: File) -> RemoteFile:
    return RemoteFile(
        ref=file.id,
        name=file.filename or "",
        size=file.bytes,
        created_at=decode_time(file.created_at),
        expires_at=decode_time(file.expires_at),
    )


# Results


def decode_next(rest: bytes) -> str | None:
    """Read where the next page of results begins, from a page without them. Raises one of `UNREADABLE` where it is none.

    Nothing but an empty one names no results: any other object would pass for the last page.
    """
    page = _READ_RESULTS.decode(rest)
    if page.results is None and rest.strip() != b"{}":
        raise ValueError("it has no results, and is not empty")
    return page.pagination_token or None


def decode_line(line: bytes, *, facts: ProviderFacts) -> ProviderResultRow:
    """Read a result; what cannot be read becomes an UNDECODABLE row with its raw bytes."""
    try:
        item = _READ_LINE.decode(line)
        result = _READ_RESULT.decode(item.batch_result) if _is_given(item.batch_result) else _Result()
        places = _READ_PLACES.decode(result.response) if _is_given(result.response) else {}
        if not line.isascii():
            line.decode()  # the answer's own bytes are carried raw, and nobody else looks whether they are UTF-8
    except UNREADABLE as error:
        return undecodable(line, str(error), _ID)
    refusal = places.pop("error", msgspec.Raw())  # whose shape is that of an answer
    answer = next(((name, body) for name, body in places.items() if bytes(memoryview(body)[:1]) == b"{"), None)
    if answer is not None:
        return _succeeded(item, *answer)
    fault = next((given for given in (result.error, refusal, item.error_message) if _is_given(given)), None)
    if fault is None:
        return undecodable(line, "it holds neither a response nor an error", _ID)
    return _failed(item, fault, facts)


def _is_given(value: msgspec.Raw) -> bool:
    return bool(value) and value != _NULL


def _succeeded(item: _Line, name: str, body: msgspec.Raw) -> ProviderResultRow:
    kind = _format_of(name, body)
    return ProviderResultRow(
        request_id=_text(item.batch_request_id),
        status=ResultStatus.SUCCEEDED,
        body=body.copy(),
        format=kind,
        usage=_usage_of(kind, body),
    )


def _format_of(name: str, body: msgspec.Raw) -> str:
    """Say what an answer is by the word it stands under; those of two endpoints stand under the same, and look different."""
    for kind in ("image", "video"):
        if name.startswith(kind):
            return f"openai.{kind}"
    shape = _READ_SHAPE.decode(body)
    return "openai.responses" if shape.output and not shape.choices else "openai.chat"


def _usage_of(kind: str, body: msgspec.Raw) -> UsageInfo | None:
    """Read the tokens; reasoning stands beside those of a completion here, and among them elsewhere.

    Where the total leaves no room for it, it is among them already.
    """
    usage = answers.usage(kind, body)
    if usage is None or kind != "openai.chat" or not usage.reasoning_tokens:
        return usage
    completion = usage.completion_tokens + usage.reasoning_tokens
    least = usage.prompt_tokens + completion
    if usage.total_tokens < least and _is_given(_READ_TOTAL.decode(body).usage.get("total_tokens", _NULL)):
        return usage
    return msgspec.structs.replace(usage, completion_tokens=completion, total_tokens=max(usage.total_tokens, least))


def _failed(item: _Line, fault: msgspec.Raw, facts: ProviderFacts) -> ProviderResultRow:
    """Read why a request has no answer: a text, or a fault as gRPC has it."""
    body = fault.copy()
    code, message = _fault_of(bytes(body))
    is_retryable = facts.classify_batch_error(code) is not ErrorClass.PERMANENT
    return ProviderResultRow(
        request_id=_text(item.batch_request_id),
        status=_ENDS.get(code, ResultStatus.ERRORED),
        body=body,
        error=RowError(code=code, message=message, retryable=is_retryable),
    )


def _fault_of(body: bytes) -> tuple[str, str]:
    try:
        text = _READ_TEXT.decode(body)
    except UNREADABLE:
        try:
            fault = _READ_FAULT.decode(body)
        except UNREADABLE:
            return "error", body[:_SHOWN_BYTES].decode("utf-8", "replace")
        return fault.word, fault.text
    return next((code for pattern, code in _TEXTS if pattern.match(text, 0, _SHOWN_BYTES)), "error"), text
