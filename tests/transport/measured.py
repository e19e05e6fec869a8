"""One call of each kind, and a program that makes one and says by how much its memory grew."""

import asyncio
import json
import re
import sys
from pathlib import Path

from asyncbatch import Http, Retry
from asyncbatch.exceptions import AsyncBatchError
from asyncbatch.runtime import Runtime
from tests.transport.wire import here

CALLS = ("create", "poll", "list", "cancel", "delete", "upload", "download", "fetch", "peek")
CAPS = Http(control_total_s=2, poll_total_s=2, header_s=2, read_s=2, file_bytes=4 * 2**20)


async def made(call, client):
    provider, transport = client.provider, client.transport
    match call:
        case "create":
            return await client.create()
        case "poll":
            return await provider.poll_status("batch_1")
        case "list":
            return await provider.list_statuses()
        case "cancel":
            return await provider.cancel("batch_1")
        case "delete":
            return await transport.delete("/files/file-1")
        case "upload":
            return await provider.upload(await client.prepared())
        case "download":
            return await client.fetch()
        case "fetch":
            return await transport.fetch("/batches", client.new_file())
        case _:
            return await transport.peek("/batches", 64)


def memory_mb(name):
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024


async def measure(url, call):
    async with here(url, http=CAPS, retry=Retry(attempts=1), runtime=Runtime()) as client:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
        before, ended = memory_mb("VmRSS"), "well"
        try:
            await made(call, client)
        except AsyncBatchError as error:
            ended = str(error)
        sys.stdout.write(json.dumps({"grown_mb": memory_mb("VmHWM") - before, "ended": ended}))


if __name__ == "__main__":
    asyncio.run(measure(*sys.argv[1:]))
