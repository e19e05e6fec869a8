"""What makes two commands the same job: what they send, and where to. The second one goes on with the first one's."""

import hashlib
import os
from collections.abc import Mapping, Sequence

import msgspec

from asyncbatch import BatchClient, JobStatus
from asyncbatch.catalog import Catalog
from asyncbatch.cli.reporting import is_unsent

_AGAIN = "#"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what is sent. Options that only decide whether it is, such as --skip-bad, are not in it."""

    content: str
    model: str
    mode: str | None
    endpoint: str | None
    input_mode: str
    metadata: Mapping[str, str]
    address: str

    @property
    def key(self) -> str:
        return f"run:{hashlib.sha256(msgspec.json.encode(self, order='sorted')).hexdigest()}"


def address_of(catalog: Catalog, name: str) -> str:
    """Say where a provider's calls go: what an emulator answered is no answer of the real one."""
    if name not in catalog.names():
        return ""
    facts = catalog.provider(name)
    settings = catalog.settings(name, given=("api_key",)).with_environment(facts, os.environ)
    return settings.base_url or facts.base_url or ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a home knows of a command.

    Attributes:
        job: The job to go on with, or whose rows are the answer; None where there is none.
        key: The key for a new job.
        unsent: The latest job, where nothing of it was ever sent, so that a new one costs nothing twice.
    """

    job: JobStatus | None
    key: str
    unsent: JobStatus | None = None


async def look_up(client: BatchClient, key: str, *, again: bool) -> Known:
    """Find the job of a key, the latest where several were paid for. `again` asks for a new one once that is over."""
    jobs = await client.records(key_prefix=key)
    latest = jobs[-1] if jobs else None
    fresh = key if latest is None else f"{key}{_AGAIN}{_number(jobs) + 1}"
    if latest is None or not latest.is_over:
        return Known(job=latest, key=fresh)
    if is_unsent(latest):
        return Known(job=None, key=fresh, unsent=latest)
    return Known(job=None if again else latest, key=fresh)


def _number(jobs: Sequence[JobStatus]) -> int:
    return max(int((job.key or "").partition(_AGAIN)[2] or 1) for job in jobs)
