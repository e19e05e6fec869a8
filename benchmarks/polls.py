"""What does asking about many batches one by one cost, 64 questions in flight, and how long is the event loop held meanwhile?

Every batch is asked about five times, and over at the fifth; a contender ends when all of them are. Each SDK speaks to the
routes of its own provider, with that provider's answers. Inspect AI and autobatcher have pollers of their own, which ask about
ten at a time and about one after the other; they are told of batches that somebody else made, fetch nothing, and do not pause
between two rounds.
"""

import asyncio
from collections import deque

from benchmarks._frame import Bench, Case, Contender, Place, Target
from benchmarks._peers import autobatcher_client, inspect_batcher, inspect_model
from benchmarks._work import IN_FLIGHT, openai_client, our_provider, polling, raw_session

TIMES = 5
_SMALL = ("1,000 batches",)
_ASKED = ("1,000 batches", "10,000 batches")
_FEWER = ("100 batches",)


def names(place: Place, prefix: str = "batch_"):
    return [f"{prefix}{TIMES}_{place.nonce}_{number}" for number in range(place.case.count // TIMES)]


async def asked_until_over(ids, ask):
    """Ask about each in turn, so many at once, until `ask` says that it is over; what everybody who polls by hand writes."""
    waiting, over = deque(ids), 0

    async def work():
        nonlocal over
        while waiting:
            batch_id = waiting.popleft()
            if await ask(batch_id):
                over += 1
            else:
                waiting.append(batch_id)

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return over


async def ours(place: Place):
    from asyncbatch import BatchPoller

    policy = polling(sweeps=False, first_s=0, factor=1, max_s=0, concurrency=IN_FLIGHT)
    async with our_provider(place) as provider, BatchPoller(policy) as poller:
        handles = await poller.watch_many(provider, names(place))
        return len([handle async for handle in poller.as_completed(handles)])


async def raw(place: Place):
    import msgspec

    class Batch(msgspec.Struct):
        id: str
        status: str

    decoder = msgspec.json.Decoder(Batch)
    async with raw_session(place) as session:

        async def ask(name):
            async with session.get(f"/v1/batches/{name}") as response:
                return decoder.decode(await response.read()).status == "completed"

        return await asked_until_over(names(place), ask)


async def openai_sdk(place: Place, **more):
    async with openai_client(place, **more) as client:

        async def ask(name):
            return (await client.batches.retrieve(name)).status == "completed"

        return await asked_until_over(names(place), ask)


async def anthropic_sdk(place: Place):
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(api_key="bench", base_url=place.url) as client:

        async def ask(name):
            return (await client.messages.batches.retrieve(name)).processing_status == "ended"

        return await asked_until_over(names(place, "msgbatch_"), ask)


async def google_sdk(place: Place):
    from google import genai

    client = genai.Client(api_key="bench", http_options={"base_url": place.url, "api_version": "v1beta"})

    async def ask(name):
        return (await client.aio.batches.get(name=f"batches/{name}")).state.name == "JOB_STATE_SUCCEEDED"

    return await asked_until_over(names(place, "batches_"), ask)


async def mistral_sdk(place: Place):
    from mistralai.client import Mistral

    async with Mistral(api_key="bench", server_url=place.url) as client:

        async def ask(name):
            return (await client.batch.jobs.get_async(job_id=name)).status == "SUCCESS"

        return await asked_until_over(names(place), ask)


async def litellm_sdk(place: Place):
    import litellm

    async def ask(name):
        more = {"api_key": "bench", "api_base": f"{place.url}/v1"}
        return (await litellm.aretrieve_batch(name, custom_llm_provider="openai", **more)).status == "completed"

    return await asked_until_over(names(place), ask)


async def any_llm(place: Place):
    from any_llm import AnyLLM

    client = AnyLLM.create("openai", api_key="bench", api_base=f"{place.url}/v1")

    async def ask(name):
        return (await client.aretrieve_batch(name)).status == "completed"

    return await asked_until_over(names(place), ask)


async def inspect_(place: Place):
    from inspect_ai.model._providers.util.batch import Batch

    async def no_file(_file_id):
        return b""

    model = inspect_model(place)
    batcher = inspect_batcher(model)
    batcher._download_result_file = no_file
    watched = batcher._inflight_batches = {name: Batch(id=name, requests={}) for name in names(place)}
    count = len(watched)
    while watched:  # the loop of its worker
        await batcher._check_inflight_batches()
    await model.api.aclose()
    return count


async def autobatcher(place: Place):
    from autobatcher.client import _ActiveBatch

    async def no_file(_batch, _file_id):
        return False

    async with autobatcher_client(place, poll_interval_seconds=0) as client:
        client._fetch_partial_results = no_file
        client._active_batches = [
            _ActiveBatch(
                batch_id=name, endpoint="/v1/chat/completions", input_file_id="file-in", output_file_id="",
                error_file_id="", request_count=0, requests={}, created_at=0,
            )
            for name in names(place)
        ]  # fmt: skip
        count = len(client._active_batches)
        await client._poll_batches()
        return count - len(client._active_batches)


BENCH = Bench(
    question=__doc__,
    unit="poll",
    warm=IN_FLIGHT * TIMES,
    cases=(
        Case(name="100 batches", count=100 * TIMES),
        Case(name="1,000 batches", count=1000 * TIMES),
        Case(name="10,000 batches", count=10_000 * TIMES),
    ),
    contenders=(
        Contender(name="asyncbatch", run=ours),
        Contender(name="aiohttp + msgspec", run=raw),
        Contender(name="google-genai", run=google_sdk, peer="sdks", packages=("google-genai",), cases=_SMALL),
        Contender(name="AsyncOpenAI", run=openai_sdk, peer="sdks", packages=("openai",), cases=_SMALL),
        Contender(name="AsyncAnthropic", run=anthropic_sdk, peer="sdks", packages=("anthropic",), cases=_SMALL),
        Contender(name="mistralai", run=mistral_sdk, peer="sdks", packages=("mistralai",), cases=_SMALL),
        Contender(name="litellm", run=litellm_sdk, peer="litellm", packages=("litellm",), cases=_FEWER),
        Contender(name="any-llm", run=any_llm, peer="any-llm", packages=("any-llm-sdk",), cases=_SMALL),
        Contender(
            name="Inspect AI, ten at a time", run=inspect_, peer="inspect", packages=("inspect-ai",), cases=_ASKED
        ),
        Contender(
            name="autobatcher, one at a time",
            run=autobatcher,
            peer="autobatcher",
            packages=("autobatcher",),
            cases=_ASKED,
        ),
    ),
    targets=(
        Target(measure="cpu_us", against="aiohttp + msgspec", limit=1.3, cases=_ASKED),
        Target(measure="cpu_us", against="google-genai", limit=1 / 3),
        Target(measure="cpu_us", against="AsyncOpenAI", limit=1 / 12),
        Target(measure="stall_ms", limit=20, cases=("10,000 batches",)),
    ),
)
