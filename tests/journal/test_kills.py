"""A process with a journal dies, at any statement or at any write: what it acknowledged is there, and its jobs are free."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journal.journals import PLAIN, ROOT, opened
from tests.journal.worker import judge

SYSCALLS = ("pwrite64", "fsync", "fdatasync", "ftruncate")
"""Which of them is used, and how often, depends on SQLite and its mode: a fault at a call that never comes is a life whole."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=PLAIN)


def traced(fault: str, directory: Path, log: Path) -> subprocess.CompletedProcess[str]:
    """Let two jobs live while strace injects a fault into a system call of SQLite's."""
    tracer = (
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={fault.partition(':')[0]}",
        "-e",
        f"inject={fault}",
    )
    return run(*tracer, sys.executable, "-m", "tests.journal.worker", "live", str(directory), str(log))


def can_trace() -> bool:
    return shutil.which("strace") is not None and run("strace", "-qq", "-o", "/dev/null", "true").returncode == 0


# Where strace is missing or may not trace, the same faults come from `ulimit` in `test_faults.py`, and kills from the sweep.
CAN_TRACE = can_trace()


def test_a_kill_before_any_statement_loses_nothing_that_was_acknowledged(tmp_path):
    done = run(sys.executable, "-m", "tests.journal.worker", "sweep", str(tmp_path))

    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [number for number, _, problem in rounds if problem] == [], rounds
    assert len(rounds) > 150, "it died before every statement of two whole lives"
    assert [was_killed for _, was_killed, _ in rounds] == [True] * (len(rounds) - 1) + [False]


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 11, 15] if CAN_TRACE else [])
async def test_a_kill_at_a_write_loses_nothing_that_was_acknowledged(tmp_path, at):
    done = traced(f"pwrite64:signal=SIGKILL:when={at * 4}", tmp_path / "state", tmp_path / "log")

    assert done.returncode != 0
    assert await judge(tmp_path / "state", tmp_path / "log") is None


SOME = [
    f"{name}:{fault}:when={at}"
    for name in SYSCALLS
    for fault in ("signal=SIGKILL", "error=EIO", "error=ENOSPC")
    for at in (2, 5, 12)
]
EACH = [
    f"{name}:{fault}:when={at}"
    for name in SYSCALLS
    for fault in ("signal=SIGKILL", "error=EIO", "error=ENOSPC")
    for at in range(1, 41)
]


@pytest.mark.parametrize("fault", SOME if CAN_TRACE else [])
async def test_a_call_that_kills_or_fails_once_loses_nothing_and_the_next_process_goes_on(tmp_path, fault):
    done = traced(fault, tmp_path / "state", tmp_path / "log")

    # The first calls belong to the opening: nothing was promised before it.
    assert done.returncode == 0 or "KILL" in fault or "JournalError" in done.stderr, done.stderr
    assert await judge(tmp_path / "state", tmp_path / "log") is None


@pytest.mark.long
@pytest.mark.parametrize("fault", EACH if CAN_TRACE else [])
async def test_each_call_that_kills_or_fails_once_loses_nothing(tmp_path, fault):
    traced(fault, tmp_path / "state", tmp_path / "log")

    assert await judge(tmp_path / "state", tmp_path / "log") is None


@pytest.mark.parametrize(
    "fault",
    [
        "pwrite64:error=ENOSPC:when=100+",
        "pwrite64:error=EIO:when=130+",
        "fdatasync:error=EIO:when=20+",
        "fsync:error=EIO:when=20+",
    ]
    if CAN_TRACE
    else [],
)
async def test_once_the_disk_fails_for_good_nothing_more_is_acknowledged(tmp_path, fault):
    traced(fault, tmp_path / "state", tmp_path / "log")

    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    kinds = [line[0] for line in lines]
    first = kinds.index("failed") if "failed" in kinds else len(lines)
    assert "pwrite64" not in fault or first < len(lines)
    assert lines[:2] == [["accept", "job-1"], ["accept", "job-2"]]
    assert set(kinds[first:]) <= {"failed"}
    assert {line[1] for line in lines[first:]} <= {"journal.full", "journal.io", "journal.illegal_move"}
    async with opened(tmp_path / "state") as journal:
        known = [record.job_id for record in await journal.jobs()]
        assert known[:1] == ["job-1"]
        assert "job-2" in known or "forget" in kinds[:first]
