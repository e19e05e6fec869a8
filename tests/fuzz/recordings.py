"""What the emulator answers to each provider, recorded once in memory, and a server that says it again or bends it."""

import asyncio
import functools
import json
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from aiohttp import web

from asyncbatch import BatchMode, Http, Retry
from asyncbatch.emulator import Emulator
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.fuzz.mutations import bent, bent_bytes
from tests.providers.world import CHAT, JOB, MODEL, small_catalog
from tests.transport.wire import listen, read_request

PROVIDERS = ("anthropic", "gemini", "mistral", "openai", "xai")
WAYS = ("anthropic", "gemini", "gemini file", "mistral", "mistral inline", "openai", "xai", "xai inline")
"""A provider, with the way that requests travel where that is not the usual one."""
HOPS = {"connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "date", "host"}
AT_PROXY = "{here}"
ROWS = [CHAT, {"messages": [{"role": "user", "content": "[[error:400]] hello"}]}, CHAT, CHAT]
KEY = "sk-fuzz-0123456789"


class Said(NamedTuple):
    """One exchange."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes
    asked: bytes
    asked_headers: dict[str, str]


class Recording(NamedTuple):
    """All that a provider was told in its life, and by which of our calls."""

    cancelled_id: str
    batch_id: str
    calls: dict[str, list[Said]]

    def bodies(self, *calls):
        found = [said.body for call in calls or self.calls for said in self.calls.get(call, ()) if said.status < 300]
        return list(dict.fromkeys(body for body in found if body))

    @property
    def rows(self):
        """Give each row of the answers with the exchange in which it came: a line of a file, or an element of a document."""
        last = {said.path: at for at, said in enumerate(self.calls["fetch"])}  # a document may be looked into twice
        return [(at, row) for at in last.values() for row in rows_in(self.calls["fetch"][at].body)]


def is_lines(body):
    """Whether a body is a file of rows, and not a document that may be written over several lines."""
    try:
        return body.endswith(b"\n") and all(json.loads(line) for line in body.split(b"\n") if line)
    except ValueError:
        return False


def ways_to_bend(body):
    is_document = body[:1] in (b"{", b"[") and not is_lines(body)
    return bent([body]) if is_document else bent_bytes([body])


def rows_in(body):
    if is_lines(body):
        return [line for line in body.split(b"\n") if line]
    document = json.loads(body) if body else None
    found = list_in(document)
    return [json.dumps(item, separators=(",", ":")).encode() for item in found or ()]


def list_in(document):
    """Find the rows that stand in the description of a batch."""
    if isinstance(document, list):
        return document if len(document) == len(ROWS) and isinstance(document[0], dict) else None
    items = document.values() if isinstance(document, dict) else ()
    return next((found for found in map(list_in, items) if found), None)


def with_rows(body, rows):
    """Give the same answer with other rows."""
    if is_lines(body):
        return b"\n".join(row.replace(b"\n", b" ") for row in rows) + b"\n"
    document = json.loads(body)
    list_in(document)[:] = ["\x03"]
    return json.dumps(document).encode().replace(b'"\\u0003"', b",".join(rows))


@asynccontextmanager
async def recorder(emulator):
    """Stand between a client and the emulator, and remember what passes."""
    heard = []

    async def handle(request):
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOPS}
        async with session.request(
            request.method, f"{emulator.url}{request.rel_url}", data=body, headers=headers, allow_redirects=False
        ) as answer:
            said = await answer.read()
            kept = {
                name: v.replace(emulator.url, AT_PROXY)
                for name, v in answer.headers.items()
                if name.lower() not in HOPS
            }
            heard.append(Said(request.method, request.path_qs, answer.status, kept, said, body, headers))
            here = f"http://{request.host}"
            return web.Response(
                status=answer.status, body=said, headers={k: v.replace(AT_PROXY, here) for k, v in kept.items()}
            )

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        try:
            yield "http://{}:{}".format(*runner.addresses[0][:2]), heard
        finally:
            await runner.cleanup()


@asynccontextmanager
async def provider_at(name, url, clock=None):
    clock = clock or VirtualClock()
    http = Http(control_total_s=10.0, poll_total_s=10.0, read_s=10.0, create_answer_s=10.0, header_s=10.0)
    options = {
        "runtime": virtual_runtime(clock),
        "http": http,
        "retry": Retry(attempts=1),
        "catalog": small_catalog(name),
    }
    async with BatchProviderRegistry().open(**options) as scope:
        yield scope.create(name, {"api_key": KEY, "base_url": url})


async def submission_of(provider, way):
    asked = {"batch_id": JOB, "model": MODEL, "mode": BatchMode.CHAT, "requests": ROWS}
    (submission,) = await provider.prepare_payloads(**asked, input_mode=way.partition(" ")[2] or "auto")
    return submission.replace(tag="asyncbatch-tag-1")


async def rows_of(provider, batch_id):
    return [row async for row in provider.fetch_results(batch_id)]


def calls_of(provider, submission, batch_id):
    """Give the calls of the contract, in an order in which they work."""
    return {
        "submit": lambda: provider.submit(submission),
        "poll": lambda: provider.poll_status(batch_id()),
        "list": provider.list_statuses,
        "find": lambda: provider.find_submissions(submission, since=0.0),
        "cancel": lambda: provider.cancel(batch_id()),
        "fetch": lambda: rows_of(provider, batch_id()),
        "files": provider.list_files,
        "delete": lambda: provider.delete_artifacts(batch_id()),
    }


async def _record(way):
    clock, name = VirtualClock(), way.partition(" ")[0]
    with Emulator(clock=clock.now, models=["echo-*"]) as emulator:
        mount = emulator.base_url(name).removeprefix(emulator.url)
        async with recorder(emulator) as (url, heard), provider_at(name, f"{url}{mount}", clock) as provider:
            submission = await submission_of(provider, way)
            ids, found = [], {}
            for call in ("submit", "cancel", "submit", "poll", "list", "find", "fetch", "files", "delete"):
                if call == "fetch":
                    clock.advance(2e5)
                if call == "files" and name == "anthropic":
                    continue
                del heard[:]
                told = await calls_of(provider, submission, lambda: ids[-1])[call]()
                if call == "submit":
                    ids.append(told.provider_batch_id)
                found[call] = list(heard)
            return Recording(*ids, found), mount


@functools.cache
def recording(way):
    """Give what a provider was told; made once for a process."""
    return asyncio.run(_record(way))


class Raw(bytes):
    """A whole answer, head and all."""


class Replay:
    """Says what was recorded of a call, one exchange of it bent: `bend` maps the number of the exchange to a body."""

    def __init__(self, way):
        self.recording, self.mount = recording(way)
        self.said = []
        self.bend = {}
        self.url = ""
        self.call = ""

    def play(self, call, bend):
        """Answer this call from now on, with the bodies, or whole answers, that are bent."""
        self.call = call
        self.said = list(enumerate(self.recording.calls[call]))
        self.bend = bend

    async def serve(self, reader, writer):
        while not writer.is_closing() and (asked := await read_request(reader)):
            at, said = self._find(asked)
            bent = self.bend.get(at)
            if isinstance(bent, Raw):
                writer.write(bent)
                await writer.drain()
                writer.close()
                return
            writer.write(self._written(said, said.body if bent is None else bent))
            await writer.drain()

    def _find(self, asked):
        """Give the next exchange of this method and path; the last one again where there is no other."""
        fits = [
            item for item in self.said if (item[1].method, item[1].path.partition("?")[0]) == (asked.method, asked.path)
        ]
        if not fits:
            return -1, Said(asked.method, asked.target, 404, {}, b'{"error":{"message":"no such thing"}}', b"", {})
        if len(fits) > 1:
            self.said.remove(fits[0])
        return fits[0]

    def _written(self, said, body):
        headers = {**said.headers, "Content-Length": str(len(body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {said.status} So", *(f"{k}: {v.replace(AT_PROXY, self.url)}" for k, v in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    @property
    def batch_id(self):
        return self.recording.cancelled_id if self.call == "cancel" else self.recording.batch_id


def replay(way):
    """Give how to open a provider whose service says what was recorded; that gives the service, and the calls."""
    player, name = Replay(way), way.partition(" ")[0]

    @asynccontextmanager
    async def opened():
        async with listen(player.serve, limit=2**20) as player.url:
            async with provider_at(name, player.url + player.mount) as provider:
                submission = await submission_of(provider, way)
                yield player, calls_of(provider, submission, lambda: player.batch_id)

    return opened
