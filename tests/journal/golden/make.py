"""Write the journal of this version down as SQL: `python -m tests.journal.golden.make schema-N`, once for each schema.

What it holds is the same each time. A file that was released is never made anew.
"""

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path

import msgspec

from asyncbatch.journal import (
    CancelAsked,
    Disowned,
    Fenced,
    FenceIntended,
    Indeterminate,
    Refused,
    Retried,
    SubmissionRecord,
    Uploaded,
    UploadIntended,
    Voided,
)
from asyncbatch.runtime import Runtime
from tests.journal.journals import job, life, opened, tables

HERE = Path(__file__).parent
LIFE = life("golden")

LIVES = {
    "planned": [],
    "uploading": LIFE[:1],
    "uploaded": LIFE[:2],
    "creating": LIFE[:3],
    "create unknown": LIFE[:4],
    "submitted": LIFE[:5],
    "ended": LIFE[:6],
    "settled": LIFE,
    "refused for now": [*LIFE[:3], Refused(why="busy", is_final=False)],
    "refused": [Refused(why="no", is_final=True)],
    "fenced": [*LIFE[:4], FenceIntended(), Fenced()],
    "voided": [*LIFE[:5], Voided(), UploadIntended(), Uploaded(input_ref="file-2", expires_at=99.0)],
    "disowned": [*LIFE[:5], Disowned()],
    "indeterminate": [*LIFE[:4], Indeterminate(why="nobody knows")],
    "retried": [*LIFE[:6], Retried(requests=1, rows_bytes=80, outcomes={"succeeded": 2}, not_before=10.0)],
    "retried by hand": [*LIFE, Retried(requests=1, rows_bytes=80, outcomes={"succeeded": 2}, is_by_hand=True)],
    "cancel asked": [*LIFE[:5], CancelAsked()],
}
"""A job for each; the tag and the batch of its only submission end in its name."""

LIVES_AT = {1: list(LIVES)[:14], 2: list(LIVES), 3: list(LIVES)}
"""Those that a schema can hold."""


def named(event, name: str):
    """Give an event as it happened to this job, since no two attempts have one tag and no two submissions one batch."""
    fields = {"mark": f"mark-{name}"} if hasattr(event, "mark") else {}
    fields |= {"provider_batch_id": f"batch-{name}"} if hasattr(event, "provider_batch_id") else {}
    return msgspec.structs.replace(event, **fields)


async def live(directory: Path) -> None:
    async with opened(directory, Runtime(now=lambda: 1_800_000_000.0)) as journal:
        for number, (name, events) in enumerate(LIVES.items()):
            record = job(name.replace(" ", "-"), key=f"key of {name}", created_at=float(number))
            await journal.accept(record, [SubmissionRecord(index=0, request_count=3, wire_prefix="w-")])
            for event in events:
                await journal.move(record.job_id, 0, named(event, name))
        await journal.saw("msg_golden", 1_800_000_000.0)
    with tables(directory) as sql:
        sql.execute("UPDATE lease SET owner = 'golden', pid = 1, started = 1, boot_id = 'golden'")


def dump(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        header = [
            f"PRAGMA {name}={connection.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in ("application_id", "user_version")
        ]
        lines = [*header, *connection.iterdump()]
    connection.close()
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as base:
        asyncio.run(live(Path(base) / "state"))
        (HERE / f"{sys.argv[1]}.sql").write_text(dump(Path(base) / "state" / "journal.sqlite3"), encoding="utf-8")
