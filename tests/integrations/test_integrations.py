"""What every integration does, in one process: the client opened and closed with the application, handed out, and woken."""

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from litestar import Litestar
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from asyncbatch import BatchClient, ScopeError
from asyncbatch.integrations import _shared
from asyncbatch.integrations import aiohttp as for_aiohttp
from asyncbatch.integrations import litestar as for_litestar
from asyncbatch.integrations import quart as for_quart
from asyncbatch.integrations import starlette as for_starlette
from asyncbatch.integrations._shared import BODY_BYTES

SECRET = {"openai": "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw=="}
CHUNK = b"x" * 65536


class Running(NamedTuple):
    """An application that runs: `client()` is what a handler is given, `post` sends it chunks at `/hook`."""

    client: Any
    post: Any


@asynccontextmanager
async def on_starlette(options):
    lifespan = for_starlette.batches_lifespan(**options) if options is not None else None
    app = Starlette(lifespan=lifespan, routes=[for_starlette.webhook_route("/hook")])
    async with app.router.lifespan_context(app) as state:
        scope = {"type": "http", "state": dict(state or {})}
        yield Running(lambda: for_starlette.get_client(HTTPConnection(scope)), partial(asgi, app, scope["state"]))


@asynccontextmanager
async def on_litestar(options):
    plugins = [for_litestar.BatchesPlugin(**options)] if options is not None else []
    app = Litestar([for_litestar.webhook_route("/hook")], plugins=plugins, logging_config=None)  # it is the tests' own
    async with app.lifespan():
        yield Running(lambda: for_litestar.get_client(app.state), partial(asgi, app, {}))
    assert app.state.get("batches") is None


@asynccontextmanager
async def on_quart(options):
    app = Quart(__name__)
    if options is not None:
        app.while_serving(for_quart.batches_while_serving(**options))
    app.register_blueprint(for_quart.webhook_route("/hook"))
    await app.startup()
    try:
        async with app.app_context():
            yield Running(for_quart.current_batches, partial(asgi, app, {}))
    finally:
        await app.shutdown()
    assert "asyncbatch" not in app.extensions


@asynccontextmanager
async def on_aiohttp(options):
    app = web.Application()
    if options is not None:
        app.cleanup_ctx.append(for_aiohttp.batches_context(**options))
    app.add_routes([for_aiohttp.webhook_route("/hook")])
    async with TestServer(app) as server, TestClient(server) as http:

        async def post(chunks):
            async with http.post("/hook", data=chunks) as answer:
                return answer.status, await answer.read()

        yield Running(lambda: app[for_aiohttp.BATCHES], post)


async def asgi(app, state, chunks):
    """Send an application what a server would, a chunk at a time; one that is None is a sender who has left."""
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http"}
    scope |= {"method": "POST", "path": "/hook", "raw_path": b"/hook", "root_path": "", "query_string": b""}
    scope |= {"headers": [(b"host", b"test")], "client": ("127.0.0.1", 1), "server": ("test", 80), "state": state}
    sent, is_read = [], []

    async def receive():
        await anyio.lowlevel.checkpoint()
        chunk = await anext(chunks, b"")
        if chunk is None:
            return {"type": "http.disconnect"}
        if chunk == b"":
            if is_read:
                await anyio.sleep_forever()
            is_read.append(True)
        return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return (sent[0]["status"], b"".join(message["body"] for message in sent[1:])) if sent else None


each = pytest.mark.parametrize(
    "running", [on_starlette, on_litestar, on_quart, on_aiohttp], ids=["starlette", "litestar", "quart", "aiohttp"]
)


async def is_open(client):
    """Whether a client does what a client does."""
    try:
        await client.records()
    except ScopeError:
        return False
    return True


@each
async def test_the_client_is_open_while_the_application_runs_and_has_its_options(running, tmp_path):
    async with running({"journal": tmp_path / "state"}) as app:
        client = app.client()
        assert isinstance(client, BatchClient)
        assert app.client() is client
        assert await is_open(client)

    assert not await is_open(client)
    assert (tmp_path / "state" / "journal.sqlite3").exists()


@each
async def test_the_client_is_closed_when_the_application_breaks(running):
    clients = []

    async def life():
        async with running({"journal": "memory"}) as app:
            clients.append(app.client())
            raise OSError("the application breaks")

    with pytest.raises((OSError, ExceptionGroup)):  # Litestar's own task group wraps it
        await life()
    assert not await is_open(clients[0])


@each
async def test_an_option_that_no_client_has_ends_the_start(running):
    with pytest.raises((TypeError, ExceptionGroup)) as caught:
        async with running({"jurnal": "memory"}):
            raise AssertionError("it was started")

    (error,) = getattr(caught.value, "exceptions", [caught.value])
    assert isinstance(error, TypeError)
    assert "jurnal" in str(error)


@pytest.mark.parametrize(
    ("running", "remedy"),
    [(on_starlette, "batches_lifespan"), (on_litestar, "BatchesPlugin"), (on_quart, "batches_while_serving")],
)
async def test_an_application_without_a_client_is_told_how_it_gets_one(running, remedy):
    async with running(None) as app:
        with pytest.raises(ScopeError, match=remedy):
            app.client()


async def bodies(*chunks):
    for chunk in chunks:
        yield chunk


@each
async def test_a_webhook_that_nobody_signed_is_answered_in_a_word(running):
    async with running({"journal": "memory", "webhook_secrets": SECRET}) as app:
        answer = await app.post(bodies(b"{", b"}"))

    assert answer == (400, b"")


@each
async def test_a_webhook_that_cannot_be_checked_is_answered_and_the_log_says_what_to_set(running, caplog):
    async with running({"journal": "memory"}) as app:
        answer = await app.post(bodies(b"{}"))

    assert answer == (500, b"")
    assert "OPENAI_WEBHOOK_SECRET" in caplog.text


@each
async def test_a_webhook_without_an_end_is_read_up_to_the_cap(running):
    read = 0

    async def endless():
        nonlocal read
        for _ in range(1000):
            read += len(CHUNK)
            yield CHUNK
        raise AssertionError("all of it was read")

    async with running({"journal": "memory", "webhook_secrets": SECRET}) as app:
        answer = await app.post(endless())

    assert answer == (413, b"")
    assert read >= BODY_BYTES


@each
async def test_a_body_that_does_not_come_to_its_end_is_answered_all_the_same(running, monkeypatch):
    monkeypatch.setattr(_shared, "BODY_S", 0.05)
    left = anyio.Event()

    async def unfinished():
        yield b"{"
        await left.wait()

    async with running({"journal": "memory", "webhook_secrets": SECRET}) as app:
        with anyio.fail_after(20):
            answer = await app.post(unfinished())
        left.set()

    assert answer == (408, b"")


@pytest.mark.parametrize("running", [on_starlette, on_litestar, on_quart])
async def test_a_sender_who_leaves_in_the_middle_of_a_webhook_is_no_error(running):
    async with running({"journal": "memory", "webhook_secrets": SECRET}) as app:
        answer = await app.post(bodies(b"{", None))

    assert answer in (None, (400, b""))


@pytest.mark.parametrize("extra", ["starlette", "litestar", "quart"])
def test_a_framework_that_is_missing_is_named_with_what_installs_it(extra):
    code = f"import sys; sys.modules[{extra!r}] = None; import asyncbatch.integrations.{extra}"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert f"pip install 'asyncbatch[{extra}]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["starlette", "litestar", "quart", "aiohttp"])
def test_an_integration_imports_no_framework_but_its_own(name):
    code = f"import sys, asyncbatch.integrations.{name}; print(*(name for name in sys.modules if '.' not in name))"
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)

    assert set(done.stdout.split()) & {"starlette", "litestar", "quart", "fastapi"} == {name} - {"aiohttp"}
