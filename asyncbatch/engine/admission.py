"""What is settled before a job is promised: which model is meant, what the provider is told, that its parts add up."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from asyncbatch.base_provider import BaseBatchProvider, InputChoice, OnUnsupported
from asyncbatch.codec.requests import mint_id, shown
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.keeping import input_of
from asyncbatch.engine.rejects import Rejects
from asyncbatch.exceptions import ConfigError
from asyncbatch.journal import JobRecord, SubmissionRecord


def submission_record(index: int, submission: PreparedSubmission, place: Path | None) -> SubmissionRecord:
    name, offset, size = input_of(submission, place)
    return SubmissionRecord(
        index=index,
        request_count=submission.request_count,
        first_row=submission.first_row,
        wire_prefix=submission.wire_prefix,
        input_name=name,
        input_offset=offset,
        input_bytes=size,
        is_inline=submission.is_inline,
    )


def job_record(
    provider: BaseBatchProvider,
    submissions: Sequence[PreparedSubmission],
    *,
    rejected_count: int,
    policy: Mapping[str, Any],
    **fields: Any,
) -> JobRecord:
    """Give what the journal is told of a job; `fields` are those of `JobRecord` that the caller knows.

    `policy` says what happens once the batches are over: whoever comes back with another one means the same job.
    """
    first = next(iter(submissions), None)
    options = dict(fields.pop("options"))
    if first is not None:
        options |= {"create": dict(first.options), "dropped": dict(first.dropped)}
    record = JobRecord(
        provider=provider.PROVIDER_NAME,
        fingerprint=provider.account.fingerprint if provider.has_facts else "",
        request_count=sum(item.request_count for item in submissions) + rejected_count,
        rejected_count=rejected_count,
        options={name: value for name, value in options.items() if value},
        **fields,
    )
    # What was asked for: the requests, and everything else that decides what is sent.
    what = (record.provider, record.model, record.mode.value, record.endpoint, record.account, record.options)
    given = msgspec.json.encode((first.digest if first else "", what), order="deterministic")
    digest = hashlib.sha256(given).hexdigest()
    return msgspec.structs.replace(record, digest=digest, options={**record.options, **policy})


def asked_for(
    endpoint: str | None,
    rejects: Rejects | None,
    options: Mapping[str, Any],
    on_unsupported: OnUnsupported,
    input_mode: InputChoice,
    *,
    replace_model: bool,
) -> dict[str, Any]:
    """Give the further words for a provider: one of somebody else's may know fewer, and is told only what was asked for."""
    words: dict[str, Any] = {
        "endpoint": endpoint,
        "on_reject": rejects.take if rejects is not None else None,
        "options": dict(options) or None,
        "on_unsupported": on_unsupported if on_unsupported != "error" else None,
        "input_mode": input_mode if input_mode != "auto" else None,
        "replace_model": replace_model or None,
    }
    return {name: value for name, value in words.items() if value is not None}


def complete(submissions: Sequence[PreparedSubmission]) -> list[PreparedSubmission]:
    """Fill in what a provider of somebody else's may have left out: how many requests there are, and what they are called.

    Raises:
        ConfigError: It names another number of requests than it has.
    """
    completed: list[PreparedSubmission] = []
    first = 0
    for index, item in enumerate(submissions):
        count = item.request_count or len(item.request_ids) or len(item.payloads)
        ids = item.request_ids or [mint_id(first + position) for position in range(count)]
        if len(ids) != count or not count:
            message = f"{item.provider_name}: submission {index} has {count} requests and {len(ids)} request ids"
            raise ConfigError(
                message, code="provider.submission", hint="prepare_payloads gives one id for each request"
            )
        completed.append(
            item.replace(request_count=count, request_ids=ids, chunk_index=index, first_row=item.first_row or first)
        )
        first += count
    return completed


def split_model(model: Any) -> tuple[str, str]:
    """Part `provider/model`; the model's own name may hold further slashes."""
    if not isinstance(model, str):
        raise ConfigError(f"model is {model!r}, no text", code="model.no_provider", hint="write provider/model")
    provider, slash, name = model.partition("/")
    if model != model.strip():
        hint = "write provider/model, and nothing around it"
        raise ConfigError(f"model is {model!r}, with space around it", code="model.no_provider", hint=hint)
    if slash and provider and not name:
        hint = "write provider/model: what stands behind the slash is missing"
        raise ConfigError(f"{model!r} names no model", code="model.no_provider", hint=hint)
    if not slash or not provider:
        hint = f"write provider/model, such as openai/{name or provider or 'gpt-4.1-mini'}"
        raise ConfigError(f"{model!r} names no provider", code="model.no_provider", hint=hint)
    return provider, name


def text_of(name: str, value: Any) -> str | None:
    """Give a word of the caller's own as the plain text that is written down; None for None.

    Raises:
        ConfigError: It is no text, or has half of a character, which nobody can write down.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {shown(value)}, no text", code="config.value", hint="make it one, as str() does")
    try:
        value.encode()
    except UnicodeEncodeError:
        message = f"{name} is {shown(value)}, and half of a character cannot be written down"
        raise ConfigError(message, code="config.value", hint="see where it was cut") from None
    return str.__str__(value)  # of a kind of text of the caller's own, such as an enum's


def key_of(value: Any) -> str | None:
    """Give the caller's own name for a job as the plain text that is written down; None for None.

    Raises:
        ConfigError: It is none.
    """
    if value == "":
        raise ConfigError("key is empty", code="config.value", hint="it is a name of your own for the job, or left out")
    return text_of("key", value)


def words_of(options: Any, metadata: Any) -> dict[str, Any]:
    """Give the further words for a batch, which are written down and sent as JSON.

    Raises:
        ConfigError: They cannot be.
    """
    words, given = dict(_named("options", options)), _named("metadata", metadata)
    texts = {text_of("a name in metadata", name): text_of(f"metadata[{name!r}]", text) for name, text in given.items()}
    if texts:
        words["metadata"] = texts
    try:
        msgspec.json.encode(words)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"options cannot be sent as JSON: {error}", code="config.value") from error
    return words


def _named(name: str, given: Any) -> Mapping[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"{name} is {shown(given)}", code="config.value", hint="it is a mapping of names")
    return cast("Mapping[str, Any]", given or {})
