"""What does it cost to download 50,000 answers and decode them to typed rows with their tokens?

Everybody looks at each answer's text length and adds up the tokens. The near-limit reads with aiohttp and decodes with msgspec,
in slices, on the loop; it keeps no file, and what it cannot read would end it.
"""

import asyncio
import os

from benchmarks._frame import Bench, Case, Contender, Place, Target
from benchmarks._peers import inspect_batcher, inspect_model, langasync_settings
from benchmarks._work import openai_client, our_provider, raw_session

_SMALL = ("1.5 KB",)


def file_of(place: Place):
    return f"file-{place.case.count}-{place.case.size}"


async def ours(place: Place):
    rows = tokens = 0
    async with our_provider(place) as provider:
        async for row in provider.fetch_results(f"batch-{place.case.count}-{place.case.size}"):
            rows += row.status == "succeeded"
            tokens += row.usage.total_tokens
    return [rows, tokens]


async def in_slices(place: Place):
    rows = tokens = 0
    async with our_provider(place) as provider:
        async for found in provider.fetch_results(f"batch-{place.case.count}-{place.case.size}").slices():
            for row in found:
                rows += row.status == "succeeded"
                tokens += row.usage.total_tokens
    return [rows, tokens]


async def raw(place: Place):
    import msgspec

    class Details(msgspec.Struct):
        cached_tokens: int = 0

    class Usage(msgspec.Struct):
        prompt_tokens: int
        completion_tokens: int
        total_tokens: int
        prompt_tokens_details: Details | None = None

    class Message(msgspec.Struct):
        content: str | None = None

    class Choice(msgspec.Struct):
        message: Message

    class Body(msgspec.Struct):
        choices: list[Choice]
        usage: Usage | None = None

    class Response(msgspec.Struct):
        status_code: int
        body: Body

    class Line(msgspec.Struct):
        custom_id: str
        response: Response | None = None

    decoder, rows, tokens, rest = msgspec.json.Decoder(Line), 0, 0, b""
    async with raw_session(place) as session, session.get(f"/v1/files/{file_of(place)}/content") as response:
        async for piece in response.content.iter_any():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                row = decoder.decode(line)
                rows += row.response.status_code == 200
                tokens += row.response.body.usage.total_tokens
            await asyncio.sleep(0)
    return [rows, tokens]


async def openai_json(place: Place):
    """The whole file in memory, then `json.loads` of each line."""
    import json

    rows = tokens = 0
    async with openai_client(place) as client:
        content = await client.files.content(file_of(place))
        for line in content.text.splitlines():
            row = json.loads(line)
            rows += row["response"]["status_code"] == 200
            tokens += row["response"]["body"]["usage"]["total_tokens"]
    return [rows, tokens]


async def openai_pydantic(place: Place):
    """The whole file in memory, then the SDK's own type for each answer."""
    import json

    from openai.types.chat import ChatCompletion

    rows = tokens = 0
    async with openai_client(place) as client:
        content = await client.files.content(file_of(place))
        for line in content.text.splitlines():
            response = json.loads(line)["response"]
            rows += response["status_code"] == 200
            tokens += ChatCompletion.model_validate(response["body"]).usage.total_tokens
    return [rows, tokens]


async def any_llm(place: Place):
    from any_llm import AnyLLM

    client = AnyLLM.create("openai", api_key="bench", api_base=f"{place.url}/v1")
    found = await client.aretrieve_batch_results(f"batch-{place.case.count}-{place.case.size}")
    results = found.results
    return [len(results), sum(item.result.usage.total_tokens for item in results)]


async def openai_batch(place: Place):
    """It is synchronous, and ends with a file; to read it is the user's."""
    import json

    from openai_batch import Batch
    from openai_batch.providers import Provider

    path = os.path.join(place.directory, f"openai-batch-{place.nonce}")
    provider = Provider(base_url=f"{place.url}/v1", api_key="bench")
    batch_id, rows, tokens = f"batch-{place.case.count}-{place.case.size}", 0, 0
    Batch(batch_id=batch_id, output_file=path, provider=provider).download()
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows += row["response"]["status_code"] == 200
            tokens += row["response"]["body"]["usage"]["total_tokens"]
    os.unlink(path)
    return [rows, tokens]


async def langasync(place: Place):
    """Its adapter alone, whose items have tokens; the results that a job gives have none."""
    from datetime import UTC, datetime

    from langasync.providers.interface import Provider, ProviderJob
    from langasync.providers.openai import OpenAIProviderJobAdapter

    batch_id = f"batch-{place.case.count}-{place.case.size}"
    job = ProviderJob(id=batch_id, provider=Provider.OPENAI, created_at=datetime.now(tz=UTC))
    items = await OpenAIProviderJobAdapter(langasync_settings(place)).get_results(job)
    return [sum(item.success for item in items), sum(item.usage["total_tokens"] for item in items)]


async def inspect_(place: Place):
    """Its batcher's way from a file to typed answers by their ids."""
    model = inspect_model(place)
    found = await inspect_batcher(model)._handle_batch_result(None, {"result_uris": [file_of(place)]})
    await model.api.aclose()
    return [len(found), sum(answer.usage.total_tokens for answer in found.values())]


BENCH = Bench(
    question=__doc__,
    unit="row",
    warm=1000,
    cases=(Case(name="1.5 KB", count=50_000, size=1500), Case(name="8 KB", count=50_000, size=8000)),
    contenders=(
        Contender(name="asyncbatch", run=ours),
        Contender(name="asyncbatch, slices", run=in_slices),
        Contender(name="aiohttp + msgspec", run=raw),
        Contender(name="AsyncOpenAI + json", run=openai_json, peer="sdks", packages=("openai",)),
        Contender(name="AsyncOpenAI + pydantic", run=openai_pydantic, peer="sdks", packages=("openai",)),
        Contender(name="any-llm", run=any_llm, peer="any-llm", packages=("any-llm-sdk",), cases=_SMALL),
        Contender(name="openai-batch", run=openai_batch, peer="openai-batch", packages=("openai-batch",), cases=_SMALL),
        Contender(
            name="langasync, its adapter", run=langasync, peer="langasync", packages=("langasync",), cases=_SMALL
        ),
        Contender(name="Inspect AI, its batcher", run=inspect_, peer="inspect", packages=("inspect-ai",), cases=_SMALL),
    ),
    targets=(
        Target(measure="cpu_us", against="aiohttp + msgspec", limit=1.5),
        Target(measure="cpu_us", against="AsyncOpenAI + pydantic", limit=0.1),
        Target(measure="stall_ms", limit=10),
        Target(measure="memory_mb", limit=10),
    ),
)
