"""The contenders of `end_to_end` that are libraries for batches, each from the requests to their answers in its own way."""

import asyncio
import os

from benchmarks._frame import Place
from benchmarks._peers import (
    LOOK_S,
    autobatcher_client,
    curator_llm,
    curator_rows,
    inspect_batcher,
    inspect_model,
    langasync_settings,
    langchain_model,
)
from benchmarks._work import MODEL, requests


async def autobatcher(place: Place):
    async with autobatcher_client(place) as client:
        create = client.chat.completions.create
        asked = [create(model=MODEL, **body) for body in requests(place.case.count, place.case.size)]
        answers = await asyncio.gather(*asked)
    return [len(answers), sum(answer.usage.total_tokens for answer in answers)]


async def langasync(place: Place):
    """Its results have no tokens: these are taken from what its adapter gives to it."""
    from langasync import batch_chain

    chain, tokens = batch_chain(langchain_model(), langasync_settings(place)), 0
    handle = await chain.submit([body["messages"] for body in requests(place.case.count, place.case.size)])
    get_results = handle.batch_api_adapter.get_results

    async def with_tokens(job):
        nonlocal tokens
        items = await get_results(job)
        tokens = sum(item.usage["total_tokens"] for item in items)
        return items

    handle.batch_api_adapter.get_results = with_tokens
    while (found := await handle.get_results()).results is None:
        await asyncio.sleep(LOOK_S)
    return [len(found.results), tokens]


async def langasync_adapter(place: Place):
    """The same without a chain around it, and without the job that it keeps on disk."""
    from langasync.providers.interface import BatchStatus
    from langasync.providers.openai import OpenAIProviderJobAdapter

    adapter = OpenAIProviderJobAdapter(langasync_settings(place))
    inputs = [body["messages"] for body in requests(place.case.count, place.case.size)]
    job = await adapter.create_batch(inputs, langchain_model())
    while (await adapter.get_status(job)).status != BatchStatus.COMPLETED:
        await asyncio.sleep(LOOK_S)
    items = await adapter.get_results(job)
    return [sum(item.success for item in items), sum(item.usage["total_tokens"] for item in items)]


async def inspect_(place: Place):
    async with inspect_model(place) as model:
        asked = (body["messages"][0]["content"] for body in requests(place.case.count, place.case.size))
        answers = await asyncio.gather(*(model.generate(text) for text in asked))
    return [len(answers), sum(answer.usage.total_tokens for answer in answers)]


async def inspect_batcher_(place: Place):
    """The same without its model around it: no messages of its own, no transcript, no events."""
    model = inspect_model(place)
    batcher = inspect_batcher(model)
    asked = [{"model": MODEL, **body} for body in requests(place.case.count, place.case.size)]
    answers = await asyncio.gather(*(batcher.generate_for_request(request) for request in asked))
    await model.api.aclose()
    return [len(answers), sum(answer.usage.total_tokens for answer in answers)]


async def curator(place: Place):
    llm = curator_llm(place)

    def work():
        rows = curator_rows(requests(place.case.count, place.case.size))
        return llm(rows, working_dir=os.path.join(place.directory, f"curator-{place.nonce}"))

    found = await asyncio.to_thread(work)
    return [len(found.dataset), found.token_usage.total]


async def openai_batch(place: Place):
    """It ends with a file of answers; to read it is the user's.

    A `Batch` that has written a file cannot send it (it reads what it has just closed), so a second one does, as in its CLI.
    """
    import json

    from openai_batch import Batch
    from openai_batch.providers import Provider

    path = os.path.join(place.directory, f"openai-batch-{place.nonce}")
    provider = Provider(base_url=f"{place.url}/v1", api_key="bench")

    def work():
        with Batch(path, provider=provider) as batch:
            for body in requests(place.case.count, place.case.size):
                batch.add_to_batch(model=MODEL, **body)
        Batch(path, output_file=f"{path}.out", provider=provider).submit_wait_download(interval=LOOK_S)
        with open(f"{path}.out", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        os.unlink(path)
        os.unlink(f"{path}.out")
        return [len(rows), sum(row["response"]["body"]["usage"]["total_tokens"] for row in rows)]

    return await asyncio.to_thread(work)


async def instructor(place: Place):
    import json
    import time

    from instructor.batch import BatchProcessor
    from pydantic import BaseModel

    class Feeling(BaseModel):
        word: str
        quote: str

    os.environ.update(OPENAI_API_KEY="bench", OPENAI_BASE_URL=f"{place.url}/v1")
    path = os.path.join(place.directory, f"instructor-{place.nonce}")

    def work():
        processor = BatchProcessor(f"openai/{MODEL}", Feeling)
        messages = [body["messages"] for body in requests(place.case.count, place.case.size)]
        processor.create_batch_from_messages(messages, path, max_tokens=16, temperature=0)
        batch_id = processor.submit_batch(path)
        while processor.get_batch_status(batch_id)["status"] != "completed":
            time.sleep(LOOK_S)
        text = processor.provider.retrieve_results(batch_id)
        results = processor.parse_results(text)
        tokens = sum(json.loads(line)["response"]["body"]["usage"]["total_tokens"] for line in text.splitlines())
        os.unlink(path)
        return [sum(result.success for result in results), tokens]

    return await asyncio.to_thread(work)
