"""Rows in the order of the requests, wherever they lie and whenever their batch ended."""

import pytest

from asyncbatch import BatchClient, ResultStatus
from asyncbatch.emulator import faults

CHAT = "openai/gpt-4.1-mini"
NAN = {"messages": [{"role": "user", "content": "hot?"}], "temperature": float("nan")}


@pytest.fixture
def limits():
    return {"requests": 2}


@pytest.mark.parametrize(
    "bad",
    [(), (0,), (6,), (0, 1), (2, 3), (1, 4), (5, 6), (0, 1, 2, 3, 4, 5), range(7)],
    ids=lambda bad: "refused " + (" ".join(map(str, bad)) or "none"),
)
@pytest.mark.parametrize("is_kept", [False, True], ids=["in memory", "read back"])
async def test_refused_rows_stand_at_their_places(emulator, runtime, catalog, tmp_path, bad, is_kept):
    given = [NAN if n in bad else f"row {n}" for n in range(7)]
    async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state") as client:
        job = await client.submit(given, model=CHAT, on_bad_row="reject")
        found = [row async for row in job.results(ordered=True)]
    if is_kept:
        async with BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state") as client:
            found = await (await client.job(job.id)).results(ordered=True)

    assert [row.request_id for row in found] == [f"{n:07d}" for n in range(7)]
    assert [row.status is ResultStatus.REJECTED for row in found] == [n in bad for n in range(7)]
    assert [row.text for row in found] == [None if n in bad else f"echo: row {n}" for n in range(7)]


async def test_a_batch_that_ends_early_waits_for_those_before_it(client):
    job = await client.submit(["slow [[stall]]", "a", "b", "c"], model=CHAT)
    as_they_come = [row.request_id async for row in job.results()]
    ordered = [row.request_id async for row in job.results(ordered=True)]

    assert set(as_they_come[:2]) == {"0000002", "0000003"}
    assert ordered == ["0000000", "0000001", "0000002", "0000003"]


async def test_hundreds_of_rows_and_refusals_in_turn(client):
    given = [NAN if n % 3 == 1 else f"row {n}" for n in range(1000)]
    job = await client.submit(given, model=CHAT, on_bad_row="reject")
    found = [row.request_id async for row in job.results(ordered=True)]

    assert found == [f"{n:07d}" for n in range(1000)]


async def test_what_cannot_be_sent_is_raised_in_order_too(client, emulator):
    emulator.add(faults.refuse(400, operation="create", times=None))
    job = await client.submit(["a"], model=CHAT)

    with pytest.raises(Exception, match="400"):
        await job.results(ordered=True)
