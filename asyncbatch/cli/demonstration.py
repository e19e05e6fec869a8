"""`asyncbatch demo`: the main job against an emulator in this process. No key and no network is needed, and nothing is paid."""

from collections.abc import Iterator
from typing import Any

import anyio

from asyncbatch import BatchClient, Polling
from asyncbatch.catalog import load_catalog
from asyncbatch.cli.endings import Exit
from asyncbatch.cli.following import Followed
from asyncbatch.cli.money import price_of
from asyncbatch.cli.reporting import count_of, report_end
from asyncbatch.cli.talk import Talk, printable, program
from asyncbatch.cli.writing import Nowhere
from asyncbatch.dto import ProviderResultRow
from asyncbatch.emulator import Emulator

_PROVIDER, _MODEL = "openai", "gpt-4.1-mini"
_BATCHES = 4
_LASTS_S = 4.0
_PACE = {"validating_s": 5.0, "row_s": 0.0, "run_cap_s": 100.0, "finalizing_s": 5.0}
_PLACES = ["Lima", "Oslo", "Cairo", "Hanoi", "Quito", "Tunis", "Sofia", "Accra", "Turin", "Osaka"]
_SHOWN = 3

_NEXT = """\
What happened: the requests were checked, cut into batches, uploaded, created, watched and fetched over real HTTP, as on the
real service. A few of them asked for trouble, so that you see how it is told.

Try next:
  echo '"Say hello in French"' > requests.jsonl
  {program} run requests.jsonl -m openai/gpt-4.1-mini -o results.jsonl

It takes your OPENAI_API_KEY. Without one, export the variables that this prints in another terminal:
  {program} emulator"""


def make_requests(count: int) -> Iterator[Any]:
    """Give prompts, a few of which end badly."""
    for number in range(count):
        place = _PLACES[number % len(_PLACES)]
        if number % 500 == 250:
            yield f"What is the weather in {place}? [[error:400]]"
        elif number == 7:
            yield f"What is the weather in {place}? [[missing]]"
        elif number == 11:
            yield {"messages": [{"role": "user", "content": "How warm is it?"}], "temperature": float("nan")}
        else:
            yield f"What is the weather in {place} on day {number}?"


def run_demo(count: int, talk: Talk) -> int:
    """Run the demonstration; gives the exit code."""
    try:
        return anyio.run(_demo, count, talk)
    except KeyboardInterrupt:
        talk.say("stopped")
        return Exit.DETACHED


async def _demo(count: int, talk: Talk) -> int:
    per_batch = max(1, -(-count // _BATCHES))
    row_s = 90.0 / per_batch
    speed = (10.0 + 90.0) / _LASTS_S
    followed, samples = Followed(Nowhere()), list[ProviderResultRow]()
    facts = {"limits": {"requests": per_batch}, "polling": {"min_interval_s": 0.1}}
    catalog = load_catalog({"providers": {_PROVIDER: facts}}, env={})
    async with Emulator(speed=speed, pace=_PACE | {"row_s": row_s}) as emulator:
        # An argument comes over the environment: whatever keys and addresses it holds, the demo talks to the emulator.
        account = {"api_key": emulator.env(_PROVIDER)["OPENAI_API_KEY"], "base_url": emulator.base_url(_PROVIDER)}
        talk.say(f"{count_of(count, 'request')} for {_PROVIDER}/{_MODEL}, at an emulator on {emulator.url}")
        polling = Polling(first_s=0.2, factor=1.1, max_s=0.5)
        async with BatchClient(accounts={"demo": account}, catalog=catalog, polling=polling) as client:
            job = await client.submit(
                make_requests(count), model=f"{_PROVIDER}/{_MODEL}", account="demo", on_bad_row="reject"
            )
            await followed.collect(job, talk, lambda row: _sample(samples, row))
            report_end(job.status(), followed, price_of(catalog, _PROVIDER, _MODEL), talk)
    for row in samples:
        talk.say(
            f"  {row.request_id}  {row.status.value}  {printable(row.text or (row.error.message if row.error else ''))}"
        )
    talk.say("\n" + _NEXT.format(program=program()))
    return Exit.OK


def _sample(samples: list[ProviderResultRow], row: ProviderResultRow) -> None:
    if len(samples) < _SHOWN and row.status.is_success:
        samples.append(row)
