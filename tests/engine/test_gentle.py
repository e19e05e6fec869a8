"""Gentle work: in small pieces, with a rest after each, and the same in the end."""

import time

import pytest

from asyncbatch import BatchClient, ConfigError
from asyncbatch.runtime import GENTLE_BYTES, Runtime, gentle
from asyncbatch.spool import SpoolFile

CHAT = "openai/gpt-4.1-mini"


async def test_after_each_piece_of_work_it_rests_for_about_as_long_and_never_long():
    rests = []

    async def sleep(seconds):
        rests.append(seconds)

    def work(seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
        return seconds

    runtime = gentle(Runtime(sleep=sleep))
    assert [await runtime.offload(work, seconds) for seconds in (0.002, 0.3, 0.0)] == [0.002, 0.3, 0.0]

    first, second = rests
    assert first > 0
    assert 0.002 < second <= 0.05, "it rests for a moment, however long the work took"


async def test_what_fails_is_rested_after_too():
    rests = []

    async def sleep(seconds):
        rests.append(seconds)

    runtime = gentle(Runtime(sleep=sleep))
    with pytest.raises(ZeroDivisionError):
        await runtime.offload(lambda: time.sleep(0.002) or 1 / 0)
    await runtime.offload(int)

    assert len(rests) == 1


async def test_a_gentle_client_gives_the_same_rows_and_works_in_small_pieces(emulator, runtime, monkeypatch):
    written = []
    append = SpoolFile.append
    monkeypatch.setattr(SpoolFile, "append", lambda file, data: written.append(len(data)) or append(file, data))
    prompts = [f"{number} " + "x" * 3000 for number in range(200)]
    async with BatchClient(runtime=runtime, pace="gentle") as client:
        job = await client.submit(prompts, model=CHAT)
        rows = await job.results()

    assert {row.text.split()[1] for row in rows} == {prompt.split()[0] for prompt in prompts}
    assert len(rows) == len(prompts)
    prepared = written[: next(at for at, _ in enumerate(written) if sum(written[: at + 1]) > 600_000) + 1]
    assert len(prepared) > 10
    assert max(prepared[1:]) < 2 * GENTLE_BYTES


def test_another_pace_is_refused():
    with pytest.raises(ConfigError, match="pace is") as caught:
        BatchClient(pace="slow")
    assert "gentle" in str(caught.value.hint)
