"""The fixtures that the page about the emulator shows for a conftest: here they are, and both sides live by one clock."""

from asyncbatch import BatchClient, ResultStatus
from asyncbatch.testing.runtime import virtual_runtime
from tests.docs.pages import blocks, run_block

(FIXTURES,) = (
    block for block in blocks("docs/emulator.md", "python") if "def asyncbatch_emulator_options" in block.parsed
)
run_block(FIXTURES, globals())  # pytest finds them here by name


async def test_on_the_clock_of_the_page_a_day_passes_for_both_sides(asyncbatch_emulator, clock):
    began = clock.now()
    async with BatchClient(runtime=virtual_runtime(clock)) as client:
        job = await client.submit(["Hello", "[[stall]] for ever"], model="openai/gpt-4.1-mini")
        rows = await job.results(ordered=True)

    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED, ResultStatus.EXPIRED]
    assert asyncbatch_emulator.now == clock.now() > began + 86_400
