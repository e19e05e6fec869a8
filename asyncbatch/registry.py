"""BatchProviderRegistry: provider classes by name, and scopes in which their providers share connections.

The registry itself holds the class table and nothing else; `open` gives a scope with its own sessions, bound to the running
event loop. Built-in providers are found by name in `asyncbatch.providers`, those of others by the entry-point group
`asyncbatch.providers`: no list anywhere names them.
"""

import asyncio
import threading
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from inspect import isabstract
from pkgutil import iter_modules
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

import aiohttp
import anyio

from asyncbatch.base_provider import BaseBatchProvider, ProviderContext
from asyncbatch.catalog import Catalog, load_catalog
from asyncbatch.exceptions import ConfigError, ProviderNotRegisteredError, ScopeError
from asyncbatch.planning.retry import Retry
from asyncbatch.runtime import Runtime, finish
from asyncbatch.secrecy import OfThisProcess, hide
from asyncbatch.spool import SpoolSpace
from asyncbatch.transport import Http, Sessions

ProviderClass = TypeVar("ProviderClass", bound=type[BaseBatchProvider])

_PACKAGE = "asyncbatch.providers"
_GROUP = "asyncbatch.providers"
_SUFFIX = "_provider"


class BatchProviderRegistry(OfThisProcess):
    """Provider classes by name.

    `async with registry` opens a scope with the defaults; entered again on the same event loop it gives the same scope, which
    closes when the last one leaves. For a scope of your own, use `open`.
    """

    def __init__(self) -> None:
        self._classes: dict[str, type[BaseBatchProvider]] = {}
        self._brought: dict[str, type[BaseBatchProvider]] = {}  # looking through every package takes milliseconds
        self._shared: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()
        self._lock = threading.Lock()  # two event loops in two threads may share the registry

    def register(self, provider_class: ProviderClass, *, replace: bool = False) -> ProviderClass:
        """Make a class known under its `PROVIDER_NAME`; gives the class, so that it may be used as a decorator.

        Raises:
            TypeError: It is no class, or none that derives from `BaseBatchProvider`.
            ValueError: It has no usable name, or another class has it already and `replace` was not said.
        """
        name = _checked_name(provider_class)
        known = self._classes.get(name)
        if known is not None and known is not provider_class and not replace:
            raise ValueError(
                f"{name!r} is taken by {known.__module__}.{known.__qualname__}; say replace=True to take it over"
            )
        self._classes[name] = provider_class
        return provider_class

    def unregister(self, name: str) -> None:
        """Forget what was registered under a name; a built-in of that name is found again.

        Raises:
            ProviderNotRegisteredError: Nothing was registered under it.
        """
        if self._classes.pop(name, None) is None:
            raise self._unknown(name)

    def clear(self) -> None:
        """Forget everything that was registered."""
        self._classes.clear()
        self._brought.clear()

    def list(self) -> list[str]:
        """Name what was registered."""
        return sorted(self._classes)

    def available(self) -> "tuple[str, ...]":
        """Name what was registered, what is built in, and what other packages bring."""
        package = import_module(_PACKAGE)
        names = (module.name for module in iter_modules(package.__path__))
        built_in = {name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)}
        foreign = {point.name for point in entry_points(group=_GROUP)}
        return tuple(sorted({*self._classes, *built_in, *foreign}))

    def is_registered(self, name: str) -> bool:
        """Whether `get` would find it."""
        return self._find(name) is not None

    def get(self, name: str) -> type[BaseBatchProvider]:
        """Give the class of a name.

        Raises:
            ProviderNotRegisteredError: There is none; the message lists those there are.
            ConfigError: The package that brings it cannot be loaded, or its entry point names something else.
        """
        found = self._find(name)
        if found is None:
            raise self._unknown(name)
        return found

    def open(
        self,
        *,
        session: aiohttp.ClientSession | None = None,
        http: Http | None = None,
        catalog: Catalog | None = None,
        retry: Retry | None = None,
        runtime: Runtime | None = None,
    ) -> "RegistryScope":
        """Give a scope to be entered with `async with`.

        Args:
            session: The application's own aiohttp session; it stays open when the scope is left.
            http: Time limits, caps, proxy.
            catalog: Facts other than the built-in ones; see `load_catalog`.
            retry: How calls that may be repeated are repeated.
            runtime: Clock, sleep, randomness and threads; for tests.
        """
        return RegistryScope(self, session=session, http=http, catalog=catalog, retry=retry, runtime=runtime)

    def create(self, name: str, config: Mapping[str, Any] | None = None) -> BaseBatchProvider:
        """Providers are made by a scope, which owns their connections; here it only says so.

        Raises:
            ScopeError: Always.
        """
        del config
        hint = f'async with batch_provider_registry as registry: provider = registry.create("{name}")'
        raise ScopeError("the registry makes providers in a scope of its own", code="scope.closed", hint=hint)

    async def __aenter__(self) -> "RegistryScope":
        loop = asyncio.get_running_loop()
        with self._lock:
            shared = self._shared.setdefault(loop, _Shared(self.open()))
            shared.users += 1
        try:
            async with shared.opening:  # whoever comes second waits until the first has opened it
                if not shared.scope.is_open:
                    await shared.scope.__aenter__()
        except BaseException:
            await self._leave(loop)
            raise
        return shared.scope

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(asyncio.get_running_loop())

    async def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            shared = self._shared.get(loop)
            if shared is None:
                raise ScopeError("the registry was not entered on this event loop", code="scope.other_loop")
            shared.users -= 1
            if shared.users:
                return
            del self._shared[loop]
        await shared.scope.aclose()

    def _find(self, name: str) -> type[BaseBatchProvider] | None:
        if name in self._classes:
            return self._classes[name]
        return self._brought.get(name) or _built_in(name) or self._bring(name)

    def _bring(self, name: str) -> type[BaseBatchProvider] | None:
        for point in entry_points(group=_GROUP, name=name):
            self._brought[name] = _load(point)
            return self._brought[name]
        return None

    def _unknown(self, name: str) -> ProviderNotRegisteredError:
        known = ", ".join(self.available())
        message = f"there is no provider {name!r}; there are: {known}"
        near = get_close_matches(name, self.available(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "register its class, or install the package that brings it"
        return ProviderNotRegisteredError(message, provider=name, code="provider.unknown", hint=hint)


def _checked_name(candidate: Any) -> str:
    """Give the name of a class that can be registered; whoever calls may have no type checker."""
    if not isinstance(candidate, type) or not issubclass(candidate, BaseBatchProvider):
        raise TypeError(f"{candidate!r} is no class that derives from BaseBatchProvider")
    if isabstract(candidate):
        missing = ", ".join(sorted(candidate.__abstractmethods__))
        raise TypeError(f"{candidate.__name__} does not implement {missing}")
    name: Any = candidate.PROVIDER_NAME
    if not isinstance(name, str) or not name:
        raise ValueError(f"{candidate.__name__} has no PROVIDER_NAME")
    if "/" in name or name != name.strip():
        raise ValueError(f"{candidate.__name__}: {name!r} is no name: it stands before the / of `provider/model`")
    return name


def _built_in(name: str) -> type[BaseBatchProvider] | None:
    module = f"{_PACKAGE}.{name}{_SUFFIX}"
    if not name.isidentifier() or name.startswith("_") or find_spec(module) is None:
        return None
    return _class_of(vars(import_module(module)), name)


def _load(point: EntryPoint) -> type[BaseBatchProvider]:
    """Load the class that another package brings; whatever is wrong there is told as one kind of error."""
    try:
        loaded: type[BaseBatchProvider] = point.load()
        name = _checked_name(loaded)
    except Exception as error:
        message = f"the provider {point.name!r} cannot be loaded from {point.value}: {type(error).__name__}: {error}"
        hint = "mend or remove the package that brings it"
        raise ConfigError(message, code="provider.broken", hint=hint) from error
    if name != point.name:
        message = f"the entry point {point.name!r} names {point.value}, whose PROVIDER_NAME is {name!r}"
        raise ConfigError(message, code="provider.broken", hint="both have to be the same")
    return loaded


def _class_of(names: Mapping[str, Any], name: str) -> type[BaseBatchProvider] | None:
    classes = (item for item in names.values() if isinstance(item, type) and issubclass(item, BaseBatchProvider))
    return next((item for item in classes if name == item.PROVIDER_NAME and not isabstract(item)), None)


def _load_catalog() -> Catalog:
    return load_catalog()


class RegistryScope(OfThisProcess):
    """Providers that share connections: open on one event loop, from entering to leaving.

    It may be entered in one task and left in another.
    """

    def __init__(
        self,
        registry: BatchProviderRegistry,
        *,
        session: aiohttp.ClientSession | None = None,
        http: Http | None = None,
        catalog: Catalog | None = None,
        retry: Retry | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.runtime = runtime or Runtime()
        self._registry = registry
        self._catalog = catalog
        self._retry = retry or Retry()
        self._sessions = Sessions(http, session)
        self._context: ProviderContext | None = None
        self._likes: dict[str, type[BaseBatchProvider]] = {}

    async def __aenter__(self) -> Self:
        if self._context is not None:
            raise ScopeError("this scope is open already", code="scope.open", hint="open another one: registry.open()")
        catalog = self._catalog if self._catalog is not None else await self.runtime.offload(_load_catalog)
        await self._sessions.open(self.runtime)
        space = SpoolSpace(self.runtime)
        self._context = ProviderContext(
            sessions=self._sessions, runtime=self.runtime, space=space, catalog=catalog, retry=self._retry
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections and remove the spooled bodies, whatever cancels us meanwhile; harmless when repeated."""
        if self._context is not None:
            await finish(partial(self._close, self._context))

    async def _close(self, context: ProviderContext) -> None:
        await context.aclose()
        if self._context is context:
            self._context = None

    @property
    def is_open(self) -> bool:
        return self._context is not None

    @property
    def context(self) -> ProviderContext:
        """What the scope lends; raises `ScopeError` outside of it."""
        self._sessions.check("open it first: `async with registry.open() as scope`")
        assert self._context is not None
        return self._context

    @property
    def catalog(self) -> Catalog:
        return self.context.catalog

    def create(self, name: str, config: Mapping[str, Any] | None = None) -> BaseBatchProvider:
        """Make a provider that lives in this scope.

        Args:
            name: A registered or built-in name.
            config: See `BaseBatchProvider`; without a key in it, the environment's is used, when the first call needs it.
        """
        config = hide(config)  # tracebacks that print local variables shall not show a key
        context = self.context
        return self.get(name)(config=config).attach(context)

    def get(self, name: str) -> type[BaseBatchProvider]:
        """Give the class of a name; see `BatchProviderRegistry.get`. One that only the user's file knows has one here."""
        like = self._like(name)
        if like is None:
            return self._registry.get(name)
        if name not in self._likes:
            base = self._registry.get(like)
            self._likes[name] = type(base.__name__, (base,), {"PROVIDER_NAME": name, "__module__": base.__module__})
        return self._likes[name]

    def list(self) -> "list[str]":
        """Name what was registered."""
        return self._registry.list()

    def available(self) -> tuple[str, ...]:
        """Name what was registered, what is built in, what other packages bring, and what only the user's file knows."""
        known = self._context.catalog.names() if self._context is not None else ()
        return tuple(sorted({*self._registry.available(), *filter(self._like, known)}))

    def is_registered(self, name: str) -> bool:
        """Whether `get` would find it."""
        return self._like(name) is not None or self._registry.is_registered(name)

    def _like(self, name: str) -> str | None:
        """Name whose protocol a provider speaks that only the user's file knows; what is registered comes first."""
        if self._context is None or self._registry.is_registered(name):
            return None
        return self._context.catalog.like(name)


class _Shared:
    """The scope that everybody who enters the registry on one event loop shares, and how many they are."""

    def __init__(self, scope: RegistryScope) -> None:
        self.scope = scope
        self.users = 0
        self.opening = anyio.Lock()


batch_provider_registry = BatchProviderRegistry()
"""The registry of this process."""
