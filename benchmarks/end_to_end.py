"""What do 50,000 requests cost from a generator to their answers: encoded, sent, created, watched, fetched, decoded?

A request has about 1 KB, an answer 1.5 KB. The near-limit is written by hand for the happy path: msgspec slices to a file,
aiohttp, msgspec slices back, a dict of ids. It survives no crash, no lost answer and no bad row.

Everybody makes one batch of all. Libraries that are synchronous work in a thread, as an async program has to use them: that
shortens their stalls, and changes little else. instructor asks for objects and is answered with objects; its results have no
tokens, which are read from the answers beside it. Curator pauses for a second after an upload, which its wall time shows.
"""

import asyncio
import os

from benchmarks._end_to_end_peers import (
    autobatcher,
    curator,
    inspect_,
    inspect_batcher_,
    instructor,
    langasync,
    langasync_adapter,
    openai_batch,
)
from benchmarks._frame import Bench, Case, Contender, Place, Target
from benchmarks._work import IN_FLIGHT, MODEL, catalog, openai_client, polling, raw_session, ready_rows, requests

_SLICE = 1024 * 1024


async def ours(place: Place, journal=None):
    from asyncbatch import BatchClient
    from asyncbatch.transport import Http

    rows = tokens = 0
    os.environ.update(OPENAI_API_KEY="bench", OPENAI_BASE_URL=f"{place.url}/v1")
    async with BatchClient(
        journal=journal or "memory",
        polling=polling(first_s=0.02, max_s=0.1),
        http=Http(limit_per_account=IN_FLIGHT),
        catalog=catalog(),
    ) as client:
        job = await client.submit(requests(place.case.count, place.case.size), model=f"openai/{MODEL}")
        async for row in job.results():
            rows += row.status == "succeeded"
            tokens += row.usage.total_tokens
    return [rows, tokens]


async def on_disk(place: Place):
    return await ours(place, journal=os.path.join(place.directory, f"journal-{place.nonce}"))


async def raw(place: Place):
    import msgspec

    class Usage(msgspec.Struct):
        prompt_tokens: int
        completion_tokens: int
        total_tokens: int

    class Body(msgspec.Struct):
        usage: Usage | None = None

    class Response(msgspec.Struct):
        status_code: int
        body: Body

    class Line(msgspec.Struct):
        custom_id: str
        response: Response | None = None

    class Request(msgspec.Struct):
        custom_id: str
        body: dict
        method: str = "POST"
        url: str = "/v1/chat/completions"

    case, encoder, decoder = place.case, msgspec.json.Encoder(), msgspec.json.Decoder(Line)
    path = os.path.join(place.directory, f"raw-{place.nonce}")
    buffer, one, ids = bytearray(), bytearray(), {}
    with open(path, "wb", buffering=0) as file:
        for number, body in enumerate(requests(case.count, case.size)):
            body["model"] = MODEL
            row_id = f"row-{number:07d}"
            ids[row_id] = number
            encoder.encode_into(Request(row_id, body), one)
            buffer += one
            buffer += b"\n"
            if len(buffer) >= _SLICE:
                file.write(buffer)
                buffer.clear()
                await asyncio.sleep(0)
        file.write(buffer)
    size = os.path.getsize(path)
    front = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    tail = b"\r\n--frontier--\r\n"

    async def form():
        yield front
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(256 * 1024):
                yield piece
                await asyncio.sleep(0)
        yield tail

    kind = {
        "Content-Type": "multipart/form-data; boundary=frontier",
        "Content-Length": str(len(front) + size + len(tail)),
    }
    rows, tokens, rest = 0, 0, b""
    async with raw_session(place) as session:
        async with session.post("/v1/files", data=form(), headers=kind) as response:
            file_id = (await response.json())["id"]
        create = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        async with session.post("/v1/batches", json=create) as response:
            batch = await response.json()
        while batch["status"] != "completed":
            await asyncio.sleep(0.02)
            async with session.get(f"/v1/batches/{batch['id']}") as response:
                batch = await response.json()
        async with session.get(f"/v1/files/{batch['output_file_id']}/content") as response:
            async for piece in response.content.iter_any():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    row = decoder.decode(line)
                    ids.pop(row.custom_id)
                    rows += row.response.status_code == 200
                    tokens += row.response.body.usage.total_tokens
                await asyncio.sleep(0)
    os.unlink(path)
    return [rows, tokens]


async def openai_by_hand(place: Place):
    import json

    path = os.path.join(place.directory, f"hand-{place.nonce}")
    with open(path, "w", encoding="utf-8") as file:
        for row in ready_rows(place.case.count, place.case.size):
            file.write(json.dumps(row) + "\n")
    answers = {}
    async with openai_client(place) as client:
        with open(path, "rb") as file:
            uploaded = await client.files.create(file=file, purpose="batch")
        batch = await client.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        while batch.status != "completed":
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)
        content = await client.files.content(batch.output_file_id)
        for line in content.text.splitlines():
            row = json.loads(line)
            answers[row["custom_id"]] = row["response"]
    os.unlink(path)
    return [len(answers), sum(answer["body"]["usage"]["total_tokens"] for answer in answers.values())]


async def litellm_sdk(place: Place):
    import json

    import litellm

    where = {"custom_llm_provider": "openai", "api_key": "bench", "api_base": f"{place.url}/v1"}
    path = os.path.join(place.directory, f"litellm-{place.nonce}.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        for row in ready_rows(place.case.count, place.case.size):
            file.write(json.dumps(row) + "\n")
    with open(path, "rb") as file:
        uploaded = await litellm.acreate_file(file=file, purpose="batch", **where)
    batch = await litellm.acreate_batch(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id=uploaded.id, **where
    )
    while batch.status != "completed":
        await asyncio.sleep(0.02)
        batch = await litellm.aretrieve_batch(batch.id, **where)
    content = await litellm.afile_content(file_id=batch.output_file_id, **where)
    answers = {}
    for line in content.text.splitlines():
        row = json.loads(line)
        answers[row["custom_id"]] = row["response"]
    os.unlink(path)
    return [len(answers), sum(answer["body"]["usage"]["total_tokens"] for answer in answers.values())]


async def any_llm(place: Place):
    import json

    from any_llm import AnyLLM

    path = os.path.join(place.directory, f"any-{place.nonce}.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        for row in ready_rows(place.case.count, place.case.size):
            file.write(json.dumps(row) + "\n")
    client = AnyLLM.create("openai", api_key="bench", api_base=f"{place.url}/v1")
    batch = await client.acreate_batch(path, endpoint="/v1/chat/completions")
    while batch.status != "completed":
        await asyncio.sleep(0.02)
        batch = await client.aretrieve_batch(batch.id)
    found = (await client.aretrieve_batch_results(batch.id)).results
    os.unlink(path)
    return [len(found), sum(item.result.usage.total_tokens for item in found)]


BENCH = Bench(
    question=__doc__,
    unit="row",
    warm=1500,
    cases=(Case(name="50,000 requests", count=50_000, size=1000),),
    contenders=(
        Contender(name="asyncbatch", run=ours),
        Contender(name="asyncbatch, on disk", run=on_disk),
        Contender(name="aiohttp + msgspec", run=raw),
        Contender(name="AsyncOpenAI by hand", run=openai_by_hand, peer="sdks", packages=("openai",)),
        Contender(name="litellm", run=litellm_sdk, peer="litellm", packages=("litellm",)),
        Contender(name="any-llm", run=any_llm, peer="any-llm", packages=("any-llm-sdk",)),
        Contender(name="openai-batch", run=openai_batch, peer="openai-batch", packages=("openai-batch",)),
        Contender(name="langasync", run=langasync, peer="langasync", packages=("langasync",)),
        Contender(name="langasync, its adapter", run=langasync_adapter, peer="langasync", packages=("langasync",)),
        Contender(name="autobatcher", run=autobatcher, peer="autobatcher", packages=("autobatcher",)),
        Contender(name="Inspect AI", run=inspect_, peer="inspect", packages=("inspect-ai",)),
        Contender(name="Inspect AI, its batcher", run=inspect_batcher_, peer="inspect", packages=("inspect-ai",)),
        Contender(name="instructor", run=instructor, peer="instructor", packages=("instructor",)),
        Contender(name="Curator", run=curator, peer="curator", packages=("bespokelabs-curator",)),
    ),
    targets=(
        Target(measure="cpu_us", against="aiohttp + msgspec", limit=1.5),
        Target(measure="cpu_us", against="aiohttp + msgspec", limit=2, of="asyncbatch, on disk"),
        Target(measure="cpu_us", against="AsyncOpenAI", limit=1 / 3),
        Target(measure="stall_ms", limit=20),
        Target(measure="memory_mb", limit=60),
    ),
)
