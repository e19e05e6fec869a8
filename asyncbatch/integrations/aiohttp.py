"""aiohttp: the client in a cleanup context, a route for webhooks, and the key under which the application has the client.

::

    app = web.Application()
    app.cleanup_ctx.append(batches_context())
    app.add_routes([webhook_route("/webhooks/batches")])

    async def submit(request):
        job = await request.app[BATCHES].submit(…)
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from asyncbatch import BatchClient
from asyncbatch.integrations._shared import answer_to, opened, options_of

__all__ = ["BATCHES", "batches_context", "webhook_route"]

BATCHES = web.AppKey("batches", BatchClient)
"""The application's client: `request.app[BATCHES]`, and `request.config_dict[BATCHES]` in an application within it."""

_SLICE_BYTES = 1 << 16


@options_of(BatchClient)
def batches_context(**options: Any) -> Callable[[web.Application], AbstractAsyncContextManager[None]]:
    """Give what `app.cleanup_ctx` takes: it holds a client open, with the options of `BatchClient`."""

    @asynccontextmanager
    async def context(app: web.Application) -> AsyncGenerator[None]:
        async with BatchClient(**options) as client:
            app[BATCHES] = client
            yield

    return context


def webhook_route(path: str = "/webhooks/batches") -> web.RouteDef:
    """Give the route that takes webhooks of all providers, for `app.add_routes`."""
    return web.post(path, _receive, name="batches_webhook")


async def _receive(request: web.Request) -> web.Response:
    client = opened(request.config_dict.get(BATCHES), "give it `app.cleanup_ctx.append(batches_context())`")
    try:
        status = await answer_to(request.headers, request.content.iter_chunked(_SLICE_BYTES), client)
    except (ConnectionError, web.RequestPayloadError, ContentEncodingError):
        # The sender left in the middle of its body, and nobody hears the answer; or the body is not what its header says.
        status = 400
    return web.Response(status=status)
