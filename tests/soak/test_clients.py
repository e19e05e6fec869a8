"""A client that lives for many days: every request is answered once, and nothing is kept of jobs that were forgotten."""

import logging

import pytest

from asyncbatch.emulator import Emulator
from tests.soak.waves import Quick, Waves, troubles

JOBS = 40
"""In a wave, of a few requests each."""
SPARE = 12
"""What each account at each provider may hold of something, and connections that are kept for a while."""
PIECES = 4
"""The most that an account holds of one class: its settings, its headers and what it was given are three mappings."""
LEFT_OVER = 1.02


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    logging.disable()
    monkeypatch.setattr("asyncbatch.poller._TIDY", 16)  # handles of batches that are over go soon
    yield
    logging.disable(logging.NOTSET)


async def lived(place, days, each_job=None):
    """Live for so many days; gives what was wrong, and what there was at the end of each."""
    clock, left = Quick(), []
    with Emulator(clock=clock.now, faults=list(troubles())) as emulator:
        waves = Waves(emulator, clock, place)
        waves.client.on("job_ended", waves.hear)
        async with waves.client:
            for _ in range(days):
                await waves.one(JOBS)
                emulator.reset()
                clock.next_day()
                left.append(waves.left())
    return waves.wrong, left


def grown_of(left):
    """Name what there is more of at the end than after the first days."""
    first, last = left[1], left[-1]
    for name in ("tasks", "threads", "descriptors", "files"):
        if getattr(last, name) > getattr(first, name) + SPARE:
            yield f"{getattr(last, name)} {name}, and {getattr(first, name)} at first"
    # Accounts come and go with their jobs: all of them may be there at the end, and none at first.
    for was, came, spare in ((first.rows, last.rows, SPARE), (first.own, last.own, PIECES * SPARE)):
        yield from (f"{came[key]} {key}, and {was.get(key)} at first" for key in came if came[key] > was[key] + spare)
    if last.blocks > LEFT_OVER * first.blocks:
        yield f"{last.blocks} pieces of memory, and {first.blocks} at first"


@pytest.mark.timeout(900)
async def test_a_client_that_lives_for_days_answers_everything_and_keeps_nothing_of_what_was_forgotten(tmp_path):
    wrong, left = await lived(tmp_path, 6)

    assert wrong == []
    assert list(grown_of(left)) == []
    assert {table for table, count in left[-1].rows.items() if count} <= {"meta", "sqlite_sequence"}


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_client_lives_for_three_months(tmp_path):
    wrong, left = await lived(tmp_path, 90)

    assert wrong == []
    assert list(grown_of(left)) == []
