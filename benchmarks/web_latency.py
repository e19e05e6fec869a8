"""How long do the visitors of a web server wait while a batch of 200 MB is submitted and fetched in the same process?

An aiohttp server answers one trivial route; a visitor in another process asks two hundred times a second. `idle` is the second
before the work begins. The near-limit does the work with aiohttp and with msgspec in a thread, a slice at a time.
"""

import asyncio
import contextlib
import json
import os
import sys

from benchmarks._frame import Bench, Case, Contender, Place, Target, cores
from benchmarks._measure import note
from benchmarks._work import IN_FLIGHT, MODEL, catalog, polling, raw_session, requests

_IDLE_S = 1.0
_SLICE_ROWS = 128


@contextlib.asynccontextmanager
async def visited():
    """Serve, and be visited; tells how long visitors waited at first, and then while the block ran."""
    from aiohttp import web

    async def page(_request):
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = str(runner.addresses[0][1])
    core = cores()[1]
    words = [sys.executable, "-m", "benchmarks._visitor", port, *([] if core is None else [str(core)])]
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    visitor = await asyncio.create_subprocess_exec(*words, **pipes)

    async def told(word):
        visitor.stdin.write(b"\n")
        found = json.loads(await visitor.stdout.readline())
        for key in ("p50", "p99", "max"):
            note(f"{word}{key}_ms", found[key])
        return found["p99"]

    try:
        await asyncio.sleep(0.5)
        await told("start_")
        await asyncio.sleep(_IDLE_S)
        idle = await told("idle_")
        yield
        note("p99_times_idle", await told("") / idle)
    finally:
        visitor.stdin.close()
        await visitor.wait()
        await runner.cleanup()


async def gentle(place: Place):
    return await ours(place, pace="gentle")


async def ours(place: Place, **more):
    from asyncbatch import BatchClient
    from asyncbatch.transport import Http

    rows = 0
    os.environ.update(OPENAI_API_KEY="bench", OPENAI_BASE_URL=f"{place.url}/v1")
    async with (
        BatchClient(
            journal="memory",
            polling=polling(first_s=0.02, max_s=0.1),
            http=Http(limit_per_account=IN_FLIGHT),
            catalog=catalog(),
            **more,
        ) as client,
        visited(),
    ):
        job = await client.submit(requests(place.case.count, place.case.size), model=f"openai/{MODEL}")
        async for row in job.results():
            rows += row.status == "succeeded"
    return rows


async def raw(place: Place):
    from itertools import islice

    import msgspec

    class Request(msgspec.Struct):
        custom_id: str
        body: dict
        method: str = "POST"
        url: str = "/v1/chat/completions"

    class Response(msgspec.Struct):
        status_code: int

    class Line(msgspec.Struct):
        custom_id: str
        response: Response | None = None

    encoder, decoder, case = msgspec.json.Encoder(), msgspec.json.Decoder(Line), place.case
    path = os.path.join(place.directory, f"raw-{place.nonce}")

    def encode(file, some, first):
        lines = (encoder.encode(Request(f"row-{first + at:07d}", body)) for at, body in enumerate(some))
        file.write(b"\n".join([*lines, b""]))

    def decode(data):
        return sum(decoder.decode(line).response.status_code == 200 for line in data)

    async with visited(), raw_session(place) as session:
        given, first = requests(case.count, case.size), 0
        with open(path, "wb", buffering=0) as file:
            while some := list(islice(given, _SLICE_ROWS)):
                await asyncio.to_thread(encode, file, some, first)
                first += len(some)
        size = os.path.getsize(path)
        front = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        tail = b"\r\n--frontier--\r\n"

        async def form():
            yield front
            with open(path, "rb", buffering=0) as file:
                while piece := await asyncio.to_thread(file.read, 256 * 1024):
                    yield piece
            yield tail

        kind = {
            "Content-Type": "multipart/form-data; boundary=frontier",
            "Content-Length": str(len(front) + size + len(tail)),
        }
        async with session.post("/v1/files", data=form(), headers=kind) as response:
            file_id = (await response.json())["id"]
        create = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        async with session.post("/v1/batches", json=create) as response:
            batch = await response.json()
        async with session.get(f"/v1/batches/{batch['id']}") as response:
            batch = await response.json()
        rows, rest = 0, b""
        async with session.get(f"/v1/files/{batch['output_file_id']}/content") as response:
            async for piece in response.content.iter_any():
                *lines, rest = (rest + piece).split(b"\n")
                rows += await asyncio.to_thread(decode, lines)
    os.unlink(path)
    return rows


BENCH = Bench(
    question=__doc__,
    unit="row",
    warm=200,
    cases=(Case(name="200 MB", count=49_000, size=4000),),
    contenders=(
        Contender(name="asyncbatch", run=ours),
        Contender(name="asyncbatch, gentle", run=gentle),
        Contender(name="aiohttp + msgspec in a thread", run=raw),
    ),
    targets=(
        Target(measure="p99_ms", limit=10),
        Target(measure="p99_ms", against="aiohttp", limit=1.5),
        Target(measure="p99_times_idle", limit=2, of="asyncbatch, gentle"),
    ),
)
