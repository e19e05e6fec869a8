"""What each path of a dialect is for, in words that every dialect shares."""

from typing import Literal, NamedTuple, TypeAlias

from aiohttp import web

Operation: TypeAlias = Literal[
    "upload", "create", "poll", "list", "cancel", "results", "delete", "file", "files", "other"
]
"""`file` asks about one file, `files` for a list of them; `results` fetches answers from wherever they lie."""

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
    """The paths of one dialect, to be looked up by what the router found."""

    def __init__(self) -> None:
        self._routes: dict[tuple[object, str], Route] = {}

    def register(self, item: Route, router: web.UrlDispatcher) -> None:
        for registered in item.definition.register(router):
            self._routes[registered.resource, registered.method] = item

    def find(self, request: web.Request) -> Route | None:
        """Give the path that the request asks for; None if there is none."""
        method = "GET" if request.method == "HEAD" else request.method
        return self._routes.get((request.match_info.route.resource, method))
