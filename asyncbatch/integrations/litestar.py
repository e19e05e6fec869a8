"""Litestar: a plugin that holds the client open and hands it out as `batches`, and a route for webhooks.

::

    app = Litestar([submit, webhook_route("/webhooks/batches")], plugins=[BatchesPlugin()])

    @post("/jobs")
    async def submit(data: list[str], batches: BatchClient) -> ...
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from asyncbatch import BatchClient
from asyncbatch.integrations._shared import answer_to, initialised_with, missing, opened

try:
    from litestar import Litestar, MediaType, Request, Response, post
    from litestar.config.app import AppConfig
    from litestar.datastructures import State
    from litestar.di import Provide
    from litestar.exceptions import InternalServerException
    from litestar.handlers import HTTPRouteHandler
    from litestar.plugins import InitPlugin
except ImportError as error:
    raise missing("litestar") from error

__all__ = ["BatchesPlugin", "get_client", "webhook_route"]


class BatchesPlugin(InitPlugin):
    """Holds a client open while the application runs, with the options of `BatchClient`; handlers ask for `batches`."""

    @initialised_with(BatchClient)
    def __init__(self, **options: Any) -> None:
        self._options = options

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.lifespan.append(self._open)  # pyright: ignore[reportUnknownMemberType]  Litestar's own annotation is half a one
        app_config.dependencies["batches"] = Provide(get_client, sync_to_thread=False)
        return app_config

    @asynccontextmanager
    async def _open(self, app: Litestar) -> AsyncGenerator[None]:
        async with BatchClient(**self._options) as client:
            app.state.batches = client
            try:
                yield
            finally:
                del app.state.batches


def get_client(state: State) -> BatchClient:
    """Give the client of an application's state; the plugin provides it as the dependency `batches`.

    Raises:
        ScopeError: The application was started without the plugin.
    """
    return opened(state.get("batches"), "give it `plugins=[BatchesPlugin()]`")


def webhook_route(path: str = "/webhooks/batches") -> HTTPRouteHandler:
    """Give the route that takes webhooks of all providers: their signature is what a session and a CSRF token are to others."""

    @post(
        path,
        status_code=200,
        name="batches_webhook",
        include_in_schema=False,
        request_max_body_size=None,  # ours is smaller
        opt={"exclude_from_auth": True, "exclude_from_csrf": True},
    )
    async def receive(request: Request[Any, Any, Any]) -> Response[bytes]:
        try:
            async with aclosing(request.stream()) as chunks:
                status = await answer_to(request.headers, chunks, get_client(request.app.state))
        except (
            InternalServerException
        ):  # so it calls a sender who left in the middle of the body; nobody hears the answer
            status = 400
        return Response(b"", status_code=status, media_type=MediaType.TEXT)

    return receive
