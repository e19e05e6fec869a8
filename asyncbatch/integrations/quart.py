"""Quart: the client while serving, a blueprint for webhooks, and `current_batches()`.

::

    app = Quart(__name__)
    app.while_serving(batches_while_serving())
    app.register_blueprint(webhook_route("/webhooks/batches"))

    @app.post("/jobs")
    async def submit():
        job = await current_batches().submit(…)
"""

from collections.abc import AsyncGenerator, Callable
from typing import Any

from asyncbatch import BatchClient
from asyncbatch.integrations._shared import answer_to, missing, opened, options_of

try:
    from quart import Blueprint, Response, current_app, request
    from werkzeug.exceptions import RequestEntityTooLarge
except ImportError as error:
    raise missing("quart") from error

__all__ = ["batches_while_serving", "current_batches", "webhook_route"]


@options_of(BatchClient)
def batches_while_serving(**options: Any) -> Callable[[], AsyncGenerator[None, None]]:
    """Give what `app.while_serving` takes: it holds a client open, with the options of `BatchClient`."""

    async def serve() -> AsyncGenerator[None, None]:
        extensions = current_app.extensions
        async with BatchClient(**options) as client:
            extensions["asyncbatch"] = client
            try:
                yield
            finally:
                del extensions["asyncbatch"]

    return serve


def current_batches() -> BatchClient:
    """Give the client of the current application.

    Raises:
        ScopeError: It was started without `batches_while_serving`.
    """
    return opened(current_app.extensions.get("asyncbatch"), "give it `app.while_serving(batches_while_serving())`")


def webhook_route(path: str = "/webhooks/batches") -> Blueprint:
    """Give the blueprint that takes webhooks of all providers."""
    blueprint = Blueprint("batches_webhook", __name__)
    blueprint.add_url_rule(path, "receive", _receive, methods=["POST"])
    return blueprint


async def _receive() -> Response:
    try:
        status = await answer_to(dict(request.headers.items()), request.body, current_batches())
    except RequestEntityTooLarge:  # longer than the application lets anything be
        status = 413
    return Response(status=status)
