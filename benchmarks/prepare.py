"""What does it cost to turn 50,000 requests into the body of an upload, and how long is the event loop held meanwhile?

The requests come one by one from a generator. The near-limit encodes them with msgspec and writes a megabyte at a time, on the
loop, and checks nothing: neither ids, nor duplicates, nor NaN, nor limits.

Libraries that prepare and send in one go are stopped where they hand over the body, which is counted and goes nowhere.
"""

import asyncio
import os
from uuid import UUID

from benchmarks._frame import Bench, Case, Contender, Place, Target
from benchmarks._peers import (
    Uploads,
    autobatcher_client,
    curator_llm,
    curator_rows,
    inspect_batcher,
    inspect_model,
    langasync_settings,
    langchain_model,
)
from benchmarks._work import MODEL, our_provider, ready_rows, requests

_SLICE = 1024 * 1024
_SMALL = ("1 KB",)


async def ours(place: Place):
    from asyncbatch import BatchMode

    case = place.case
    async with our_provider(place) as provider:
        submissions = await provider.prepare_payloads(
            batch_id=UUID(int=1), model=MODEL, mode=BatchMode.CHAT, requests=requests(case.count, case.size),
            wire_ids="minted",
        )  # fmt: skip
        return sum(submission.request_count for submission in submissions)


async def raw(place: Place):
    import msgspec

    class Line(msgspec.Struct):
        custom_id: str
        body: dict
        method: str = "POST"
        url: str = "/v1/chat/completions"

    case, encoder, count = place.case, msgspec.json.Encoder(), 0
    path = os.path.join(place.directory, f"raw-{place.nonce}")
    buffer, one = bytearray(), bytearray()
    with open(path, "wb", buffering=0) as file:
        for number, body in enumerate(requests(case.count, case.size)):
            body["model"] = MODEL
            encoder.encode_into(Line(f"row-{number:07d}", body), one)
            buffer += one
            buffer += b"\n"
            count += 1
            if len(buffer) >= _SLICE:
                file.write(buffer)
                buffer.clear()
                await asyncio.sleep(0)
        file.write(buffer)
    os.unlink(path)
    return count


async def by_hand(place: Place):
    """A loop over `json.dumps` into a file, inside the coroutine."""
    import json

    case, count = place.case, 0
    path = os.path.join(place.directory, f"hand-{place.nonce}")
    with open(path, "w", encoding="utf-8") as file:
        for row in ready_rows(case.count, case.size):
            file.write(json.dumps(row) + "\n")
            count += 1
    os.unlink(path)
    return count


async def instructor_(place: Place):
    from instructor.batch import BatchProcessor
    from pydantic import BaseModel

    class Feeling(BaseModel):
        word: str
        quote: str

    case, path = place.case, os.path.join(place.directory, f"instructor-{place.nonce}")
    processor = BatchProcessor(f"openai/{MODEL}", Feeling)
    messages = [body["messages"] for body in requests(case.count, case.size)]
    processor.create_batch_from_messages(messages, path, max_tokens=16, temperature=0)
    with open(path, "rb") as file:
        count = sum(1 for _ in file)
    os.unlink(path)
    return count


async def mistral_sdk(place: Place):
    """As its guide has it: rows in a list, `json.dumps` into a buffer."""
    import json
    from io import BytesIO

    buffer, count = BytesIO(), 0
    for row in ready_rows(place.case.count, place.case.size):
        buffer.write(json.dumps({"custom_id": row["custom_id"], "body": row["body"]}).encode() + b"\n")
        count += 1
    return count


async def anthropic_sdk(place: Place):
    """Rows travel inside the create: all of them in a list, encoded by the SDK in one go."""
    from anthropic._utils._json import openapi_dumps

    rows = [
        {"custom_id": row["custom_id"], "params": {**row["body"], "model": "claude-haiku-4-5"}}
        for row in ready_rows(place.case.count, place.case.size)
    ]
    return openapi_dumps({"requests": rows}).count(b'"custom_id"')


async def openai_batch(place: Place):
    from openai_batch import Batch
    from openai_batch.providers import Provider

    path = os.path.join(place.directory, f"openai-batch-{place.nonce}")
    with Batch(path, provider=Provider(base_url=f"{place.url}/v1", api_key="bench")) as batch:
        for body in requests(place.case.count, place.case.size):
            batch.add_to_batch(model=MODEL, **body)
    os.unlink(path)
    return batch.n_requests


async def langasync(place: Place):
    """Its adapter alone, without the part of a chain that comes before the model."""
    from langasync.providers.openai import OpenAIProviderJobAdapter

    adapter, count = OpenAIProviderJobAdapter(langasync_settings(place)), 0

    async def upload(content):
        nonlocal count
        count = content.count("\n") + 1
        return "file-in"

    adapter._upload_batch_file = upload  # what follows is the question that makes the batch
    await adapter.create_batch(
        [body["messages"] for body in requests(place.case.count, place.case.size)], langchain_model()
    )
    return count


async def autobatcher(place: Place):
    client = autobatcher_client(place)
    client.files = uploads = Uploads()
    create = client.chat.completions.create
    asked = [asyncio.ensure_future(create(model=MODEL, **body)) for body in requests(place.case.count, place.case.size)]
    return await until(uploads, asked)


async def inspect_(place: Place):
    """Its batcher alone, without the model around it."""
    model = inspect_model(place)
    batcher = inspect_batcher(model)
    model.api.client.files = uploads = Uploads()
    asked = [
        asyncio.ensure_future(batcher.generate_for_request({"model": MODEL, **body}))
        for body in requests(place.case.count, place.case.size)
    ]
    return await until(uploads, asked)


async def until(uploads: Uploads, asked):
    """Wait for the body of the upload, or for the first of those who ask to fail."""
    done, _ = await asyncio.wait([uploads.rows, asked[0]], return_when=asyncio.FIRST_COMPLETED)
    return done.pop().result()


async def curator(place: Place):
    """Its processor's steps up to the upload: a file of its own requests, read again as those of the provider, joined.

    In a thread, because otherwise it makes the running event loop one that nests.
    """
    llm = curator_llm(place)

    def work():
        rows = curator_rows(requests(place.case.count, place.case.size))
        processor = llm._request_processor
        processor.prompt_formatter, processor.total_requests = llm.prompt_formatter, len(rows)
        processor.working_dir = os.path.join(place.directory, f"curator-{place.nonce}")
        (path,) = processor.create_request_files(rows)
        return processor.create_batch_file(processor.requests_from_generic_request_file(path, set())).count(b"\n") + 1

    return await asyncio.to_thread(work)


BENCH = Bench(
    question=__doc__,
    unit="row",
    warm=2000,
    cases=(Case(name="1 KB", count=50_000, size=1000), Case(name="4 KB", count=50_000, size=4000)),
    contenders=(
        Contender(name="asyncbatch", run=ours),
        Contender(name="msgspec slices", run=raw),
        Contender(name="json.dumps by hand", run=by_hand),
        Contender(name="mistralai's guide", run=mistral_sdk, peer="sdks", packages=("mistralai",)),
        Contender(name="anthropic", run=anthropic_sdk, peer="sdks", packages=("anthropic",), cases=_SMALL),
        Contender(name="instructor", run=instructor_, peer="instructor", packages=("instructor",), cases=_SMALL),
        Contender(name="openai-batch", run=openai_batch, peer="openai-batch", packages=("openai-batch",), cases=_SMALL),
        Contender(
            name="langasync, its adapter", run=langasync, peer="langasync", packages=("langasync",), cases=_SMALL
        ),
        Contender(name="autobatcher", run=autobatcher, peer="autobatcher", packages=("autobatcher",), cases=_SMALL),
        Contender(name="Inspect AI, its batcher", run=inspect_, peer="inspect", packages=("inspect-ai",), cases=_SMALL),
        Contender(name="Curator", run=curator, peer="curator", packages=("bespokelabs-curator",), cases=_SMALL),
    ),
    targets=(
        Target(measure="cpu_us", against="msgspec slices", limit=1.5),
        Target(measure="cpu_us", against="json.dumps by hand", limit=0.25),
        Target(measure="stall_ms", limit=10),
        Target(measure="memory_mb", limit=10),
    ),
)
