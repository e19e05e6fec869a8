"""What does an upload of 200 MB from the spool cost, and how long does it hold the event loop?

The file lies on disk, and travels as the one file of a multipart form. The near-limit streams it with aiohttp from a generator
that reads 256 KiB and gives way after each.
"""

import asyncio
import os
from pathlib import Path
from uuid import UUID

from benchmarks._frame import Bench, Case, Contender, Place, Target
from benchmarks._work import MODEL, openai_client, our_provider, raw_session

_PIECE = 256 * 1024


def source(place: Place):
    """Give the path of the file; made by whoever comes first."""
    path = os.path.join(place.directory, f"source-{place.case.count}.jsonl")
    if not os.path.exists(path):
        front, back = b'{"custom_id":"row-0000001","body":{"text":"', b'"}}\n'
        line = front + b"x" * (place.case.size - len(front) - len(back)) + back
        with open(path + ".part", "wb") as file:
            for _ in range(place.case.count):
                file.write(line)
        os.replace(path + ".part", path)
    return path


async def ours(place: Place):
    from asyncbatch import BatchMode, PreparedSubmission

    path = source(place)
    async with our_provider(place, key="bench-drop") as provider:
        file = provider.new_file()
        file.lie_at(Path(path))
        submission = PreparedSubmission(
            batch_id=UUID(int=1), provider_name="openai", model=MODEL, mode=BatchMode.CHAT,
            endpoint="/v1/chat/completions", spool=file.view(), request_count=place.case.count,
        )  # fmt: skip
        await provider.upload(submission)
        return file.size


async def raw(place: Place):
    path = source(place)
    size = os.path.getsize(path)
    front = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    tail = b"\r\n--frontier--\r\n"

    async def body():
        yield front
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                yield piece
                await asyncio.sleep(0)
        yield tail

    kind = {
        "Content-Type": "multipart/form-data; boundary=frontier",
        "Content-Length": str(len(front) + size + len(tail)),
    }
    async with raw_session(place, key="bench-drop") as session:
        async with session.post("/v1/files", data=body(), headers=kind) as response:
            return (await response.json())["bytes"]


async def openai_sdk(place: Place):
    async with openai_client(place) as client:
        client.api_key = "bench-drop"
        return (await client.files.create(file=Path(source(place)), purpose="batch")).bytes


async def litellm_sdk(place: Place):
    import litellm

    with open(source(place), "rb") as file:
        answer = await litellm.acreate_file(
            file=file, purpose="batch", custom_llm_provider="openai", api_key="bench-drop", api_base=f"{place.url}/v1"
        )
    return answer.bytes


BENCH = Bench(
    question=__doc__,
    unit="KB",
    warm=1000,
    setup=source,
    cases=(Case(name="200 MB", count=200_000, size=1000),),
    contenders=(
        Contender(name="asyncbatch", run=ours),
        Contender(name="aiohttp", run=raw),
        Contender(name="AsyncOpenAI", run=openai_sdk, peer="sdks", packages=("openai",)),
        Contender(name="litellm", run=litellm_sdk, peer="litellm", packages=("litellm",)),
    ),
    targets=(
        Target(measure="mb_per_cpu_s", against="aiohttp", limit=0.9, is_floor=True),
        Target(measure="stall_ms", limit=10),
        Target(measure="memory_mb", limit=10),
    ),
)
