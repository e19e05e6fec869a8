"""What rounds write to the disk is gone when nobody needs it any more, also when the disk was full for a while."""

import errno
import tempfile

import pytest

from asyncbatch import BatchClient, ResultStatus, spool
from asyncbatch.emulator import Emulator
from tests.engine.flaky import Flaky, rows

CHAT = "openai/gpt-4.1-mini"
PAD, REQUESTS = "x" * 30_000, 50
"""More than a body holds in memory."""


@pytest.fixture
def emulator(clock, monkeypatch):
    with Emulator(clock=clock.now, answer=Flaky()) as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        yield emulator


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A place of our own for temporary files."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def files_in(place):
    return [path for path in place.rglob("*") if path.is_file()]


async def test_a_job_in_memory_that_is_discarded_leaves_no_body_of_any_round(runtime, catalog, emulator, temporary):
    async with BatchClient(runtime=runtime, catalog=catalog, journal="memory") as client:
        prompts = [f"{PAD}{n} fails 9" for n in range(REQUESTS)]
        job = await client.submit(rows(*prompts), model=CHAT, retry="transient", max_attempts=3)
        await job.wait()
        before = files_in(temporary)
        await job.discard()

        assert before
        assert files_in(temporary) == []


async def test_a_round_that_found_no_room_leaves_no_half_of_its_body(
    runtime, catalog, emulator, temporary, tmp_path, monkeypatch
):
    write, prepared, writes = spool._write_all, [], []

    def write_to_a_disk_that_is_full_at_times(writer, data):
        writes.extend(prepared[:1])
        if len(writes) in (3, 6, 9):  # a body moves to the disk, a line follows it, and there is no room for the next
            raise OSError(errno.ENOSPC, "No space left on device")
        write(writer, data)

    def is_wanted(row):
        prepared.append(row.request_id)
        return True

    async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state") as client:
        prompts = [f"{PAD}{n} fails 1" for n in range(REQUESTS)]
        monkeypatch.setattr(spool, "_write_all", write_to_a_disk_that_is_full_at_times)
        job = await client.submit(rows(*prompts), model=CHAT, retry=is_wanted, max_attempts=2)
        status = await job.wait()

        assert len(writes) > 9
        assert status.outcomes == {ResultStatus.SUCCEEDED: REQUESTS}
        assert files_in(temporary) == []
