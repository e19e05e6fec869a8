"""FastAPI and Starlette: the client in the lifespan's state, a route for webhooks, and a dependency.

::

    app = FastAPI(lifespan=batches_lifespan())
    app.router.routes.append(webhook_route("/webhooks/batches"))

    @app.post("/jobs")
    async def submit(prompts: list[str], batches: Annotated[BatchClient, Depends(get_client)]) -> ...
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, TypeAlias

from asyncbatch import BatchClient
from asyncbatch.integrations._shared import answer_to, missing, opened, options_of

try:
    from starlette.requests import ClientDisconnect, HTTPConnection, Request
    from starlette.responses import Response
    from starlette.routing import Route
except ImportError as error:
    raise missing("starlette") from error

__all__ = ["batches_lifespan", "get_client", "webhook_route"]

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[dict[str, BatchClient]]]


@options_of(BatchClient)
def batches_lifespan(**options: Any) -> Lifespan:
    """Give a lifespan that holds a client open, with the options of `BatchClient`.

    An application with more to open enters it in its own: `async with batches_lifespan()(app) as state: yield {**state, …}`.
    """

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncGenerator[dict[str, BatchClient]]:
        async with BatchClient(**options) as client:
            yield {"batches": client}

    return lifespan


def get_client(connection: HTTPConnection) -> BatchClient:
    """Give the client to a handler: `Depends(get_client)` in FastAPI, `get_client(request)` in Starlette.

    Raises:
        ScopeError: The application was started without `batches_lifespan`.
    """
    return opened(getattr(connection.state, "batches", None), "give it `lifespan=batches_lifespan()`")


def webhook_route(path: str = "/webhooks/batches") -> Route:
    """Give the route that takes webhooks of all providers; it belongs into `app.router.routes`."""
    return Route(path, _receive, methods=["POST"], name="batches_webhook", include_in_schema=False)


async def _receive(request: Request) -> Response:
    try:
        async with aclosing(request.stream()) as chunks:
            status = await answer_to(request.headers, chunks, get_client(request))
    except ClientDisconnect:  # in the middle of its body; nobody hears the answer
        status = 400
    return Response(status_code=status)
