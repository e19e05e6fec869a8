"""Mistral's objects on the wire: files, jobs and lists, made from what the store holds. Pure.

Source: the fact sheet of Mistral's batch jobs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from asyncbatch.emulator.counts import Counts, count_rows
from asyncbatch.emulator.families.mistral_files import MistralFile
from asyncbatch.emulator.life import Phase
from asyncbatch.emulator.store import StoredBatch, StoredFile, Written


def encode_model(name: str) -> dict[str, Any]:
    """Give a model of the list. Source: https://docs.mistral.ai/api/endpoint/models."""
    capabilities = {"completion_chat": not name.startswith(("mistral-embed", "mistral-ocr", "mistral-moderation"))}
    card = {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "mistralai", "type": "base"}
    return {**card, "capabilities": capabilities, "aliases": []}


def encode_file(file: StoredFile) -> dict[str, Any]:
    assert isinstance(file, MistralFile)
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "sample_type": file.sample_type,
        "source": source_of(file),
        "num_lines": file.lines,
        "mimetype": mimetype_of(file),
        "signature": file.sha256[:8] or None,
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "visibility": file.visibility,
    }


def source_of(file: MistralFile) -> str:
    return "mistral" if file.sample_type in {"batch_result", "batch_error"} else "upload"


def mimetype_of(file: StoredFile) -> str:
    return "application/jsonl" if file.filename.endswith(".jsonl") else "application/octet-stream"


def encode_job(
    batch: StoredBatch,
    words: Mapping[Phase, str],
    now: float,
    *,
    outputs: Sequence[Any] | None = None,
    is_new: bool = False,
) -> dict[str, Any]:
    """Give a job. The answer to its create has seen nothing of it yet: it counts nothing, and says that it waits."""
    stand = batch.stand(now)
    phase = Phase.VALIDATING if is_new else stand.phase
    counts = Counts() if phase is Phase.VALIDATING else count_rows(batch, now)
    written = batch.written if batch.written and phase.is_over else Written()
    return {
        "id": batch.id,
        "object": "batch",
        "input_files": batch.order.input_files,
        "metadata": batch.order.metadata,
        "endpoint": batch.order.endpoint,
        "model": batch.order.model,
        "agent_id": batch.order.agent_id,
        "output_file": written.output.id if written.output else None,
        "error_file": written.errors.id if written.errors else None,
        "errors": _encode_errors(batch, phase, written),
        "outputs": outputs,
        "status": words[phase],
        "created_at": int(batch.course.created_at),
        "started_at": None if is_new else _whole(stand.since.get(Phase.IN_PROGRESS)),
        "completed_at": int(stand.since[phase]) if phase.is_over else None,
        "total_requests": counts.total,
        "completed_requests": counts.succeeded + counts.errored,
        "succeeded_requests": counts.succeeded,
        "failed_requests": counts.errored,
    }


def _whole(at: float | None) -> int | None:
    return None if at is None else int(at)


def _encode_errors(batch: StoredBatch, phase: Phase, written: Written) -> list[dict[str, Any]]:
    """Say why the job failed, or what its failed rows say."""
    if phase is Phase.FAILED and batch.problem is not None:
        return [{"message": batch.problem.message, "count": 1}]
    messages = written.errors.messages if isinstance(written.errors, MistralFile) else ()
    return [{"message": message, "count": count} for message, count in messages]


def encode_list(found: Sequence[dict[str, Any]], total: int | None) -> dict[str, Any]:
    return {"data": list(found), "object": "list", "total": total}
