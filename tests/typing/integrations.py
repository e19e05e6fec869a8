"""The integrations in typical use, for the type checkers: options are those of the client, and a misspelt one is found."""

from typing import Annotated, assert_type

from aiohttp import web
from fastapi import Depends, FastAPI
from litestar import Litestar
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import Request

from asyncbatch import BatchClient
from asyncbatch.integrations import aiohttp, litestar, quart, starlette


async def on_starlette(request: Request) -> None:
    Starlette(lifespan=starlette.batches_lifespan(journal="state"), routes=[starlette.webhook_route("/hook")])
    assert_type(starlette.get_client(request), BatchClient)
    starlette.batches_lifespan(jurnal="state")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def on_fastapi(batches: Annotated[BatchClient, Depends(starlette.get_client)]) -> None:
    FastAPI(lifespan=starlette.batches_lifespan(accounts={"acme": "key-of-acme"}))
    assert_type(batches, BatchClient)


async def on_litestar() -> None:
    app = Litestar([litestar.webhook_route("/hook")], plugins=[litestar.BatchesPlugin(journal="state")])
    assert_type(litestar.get_client(app.state), BatchClient)
    litestar.BatchesPlugin(jurnal="state")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def on_quart() -> None:
    app = Quart("application")
    app.while_serving(quart.batches_while_serving(journal="state"))
    app.register_blueprint(quart.webhook_route("/hook"))
    assert_type(quart.current_batches(), BatchClient)
    quart.batches_while_serving(jurnal="state")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def on_aiohttp() -> None:
    app = web.Application()
    app.cleanup_ctx.append(aiohttp.batches_context(journal="state"))
    app.add_routes([aiohttp.webhook_route("/hook")])
    assert_type(app[aiohttp.BATCHES], BatchClient)
    aiohttp.batches_context(jurnal="state")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
