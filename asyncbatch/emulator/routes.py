"""What each path of a dialect is for, in words that every dialect shares."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, NamedTuple, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler

Operation: TypeAlias = Literal[
    "upload", "create", "poll", "list", "cancel", "results", "delete", "file", "files", "other"
]
"""`file` asks about one file, `files` for a list of them; `results` fetches answers from wherever they lie."""

Guard: TypeAlias = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
"""What stands before every handler of a dialect. No middleware of aiohttp's, which keeps the applications that have one."""

OPERATION = web.RequestKey("operation", str)


class Route(NamedTuple):
    """A path, and what it is for.

    Attributes:
        needs_key: False where the address is the credential. Its handler says whose call it is: `request[ACCOUNT]`.
    """

    operation: Operation
    definition: web.RouteDef
    needs_key: bool = True


def route(operation: Operation, definition: web.RouteDef, *, needs_key: bool = True) -> Route:
    """Say what a path is for, as in `route("create", web.post("/batches", self._create))`."""
    return Route(operation, definition, needs_key)


class RouteTable:
    """The paths of one dialect, to be looked up by what the router found.

    Args:
        router: Is told every path.
    """

    def __init__(self, router: web.UrlDispatcher) -> None:
        self._router = router
        self._routes: dict[tuple[object, str], Route] = {}

    def register(self, items: Iterable[Route], guard: Guard) -> None:
        """Add all the paths of the dialect behind a guard, and refuse what else is asked for, behind it too."""
        for item in items:
            asked = item.definition
            guarded = web.RouteDef(asked.method, asked.path, _guarded(asked.handler, guard), asked.kwargs)
            for registered in guarded.register(self._router):
                self._routes[registered.resource, registered.method] = item
        for rest in ("", "/{rest:.*}"):
            self._router.add_route("*", rest, _guarded(self._refuse, guard))

    def find(self, request: web.Request) -> Route | None:
        """Give the path that the request asks for; None if there is none."""
        method = "GET" if request.method == "HEAD" else request.method
        return self._routes.get((request.match_info.route.resource, method))

    async def _refuse(self, request: web.Request) -> web.StreamResponse:
        """Say that there is no such path, or none for this method."""
        own = request.match_info.route.resource
        others = [resource for resource in self._router.resources() if resource is not own]
        allowed = {method for resource in others for method in (await resource.resolve(request))[1]}
        raise web.HTTPMethodNotAllowed(request.method, allowed) if allowed else web.HTTPNotFound


def _guarded(handler: Handler, guard: Guard) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        return await guard(request, handler)

    return guarded
