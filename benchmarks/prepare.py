"""What does it cost to turn 50,000 requests into the body of an upload, and how long is the event loop held meanwhile?

The requests come one by one from a generator. The near-limit encodes them with msgspec and writes a megabyte at a time, on the
loop, and checks nothing: neither ids, nor duplicates, nor NaN, nor limits.
"""

import asyncio
import os
from uuid import UUID

from benchmarks._frame import Bench, Case, Contender, Place, Target
from benchmarks._work import MODEL, our_provider, ready_rows, requests

_SLICE = 1024 * 1024


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
        Contender(name="anthropic", run=anthropic_sdk, peer="sdks", packages=("anthropic",), cases=("1 KB",)),
        Contender(name="instructor", run=instructor_, peer="instructor", packages=("instructor",), cases=("1 KB",)),
    ),
    targets=(
        Target(measure="cpu_us", against="msgspec slices", limit=1.5),
        Target(measure="cpu_us", against="json.dumps by hand", limit=0.25),
        Target(measure="stall_ms", limit=10),
        Target(measure="memory_mb", limit=10),
    ),
)
