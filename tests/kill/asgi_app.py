"""A web application that runs batches, as anybody might write one: a client for each worker, all on one state directory.

- `POST /jobs/KEY`, with a JSON array of prompts: submits, or gives the job that the key has.
- `GET /jobs/ID`: attaches, and says how far it is, and whether another worker has it.
- `GET /jobs/ID/rows`: attaches, waits for the end, and gives the rows.

Every answer names the process that gave it. The environment says where the state is; see `test_asgi.py`.
"""

import json
import os
import time

import anyio

from asyncbatch import BatchClient
from asyncbatch.exceptions import AsyncBatchError
from asyncbatch.planning.recovery import Recovery
from asyncbatch.planning.schedule import Polling
from asyncbatch.runtime import Runtime

FAST = 50
"""Seconds of the application in a real one: services ask for up to ten between two questions."""


def new_client():
    real, start = Runtime(), time.time()
    runtime = Runtime(
        now=lambda: start + (real.now() - start) * FAST,
        sleep=lambda seconds: anyio.sleep(seconds / FAST),
    )
    return BatchClient(
        journal=os.environ["ASGI_STATE"],
        runtime=runtime,
        polling=Polling(first_s=1.0, factor=1.0, max_s=2.0, jitter=0.0),
        recovery=Recovery(window_s=25.0, reads=2, gap_s=2.5, watch_s=25.0),
    )


class App:
    def __init__(self):
        self.client = None

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http":
            await self.answer(scope, receive, send)

    async def live(self, receive, send):
        """Hold the client open from the first message of the server to the last."""
        await receive()
        async with new_client() as self.client:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, scope, receive, send):
        try:
            status, told = 200, await self.do(scope["method"], scope["path"].strip("/").split("/"), receive)
        except AsyncBatchError as error:
            status, told = 409, {"error": error.code}
        body = json.dumps({"pid": os.getpid(), **told}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def do(self, method, path, receive):
        if method == "POST":
            job = await self.client.submit(json.loads(await read(receive)), model=os.environ["ASGI_MODEL"], key=path[1])
            return self.told(job)
        job = await self.client.job(path[1])
        if path[2:] != ["rows"]:
            return self.told(job)
        await job.wait()
        rows = [(row.request_id, row.status.value, row.text) async for row in job.results(ordered=True)]
        return {**self.told(job), "rows": rows}

    def told(self, job):
        status = job.status()
        is_sent = all(batch.provider_batch_id is not None for batch in status.batches)
        return {"job_id": job.id, "is_sent": is_sent, "is_over": status.is_over, "follows": self.client.follows(job.id)}


async def read(receive):
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body, is_more = body + message.get("body", b""), message.get("more_body", False)
    return body


app = App()
