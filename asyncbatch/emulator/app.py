"""The server: every dialect on its own path, guarded by keys, limits and the script of faults."""

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.to_thread
from aiohttp import web
from anyio.abc import TaskGroup

from asyncbatch.emulator.clock import Clock
from asyncbatch.emulator.data_dir import DataDir
from asyncbatch.emulator.desk import Desk
from asyncbatch.emulator.dialect import change, load_dialects
from asyncbatch.emulator.elsewhere import Elsewhere
from asyncbatch.emulator.entries import Kept, fold
from asyncbatch.emulator.families import open_family
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.faults import Fault
from asyncbatch.emulator.ghosts import Ghosts
from asyncbatch.emulator.guard import make_guard
from asyncbatch.emulator.history import Record, encode_history
from asyncbatch.emulator.hooks import Hooks, Target
from asyncbatch.emulator.routes import RouteTable
from asyncbatch.emulator.script import Script
from asyncbatch.emulator.tokens import AUDIENCE, Signer
from asyncbatch.emulator.work import Work

JSON_BYTES = 4 * 1024 * 1024  # no control call comes near it; creates that carry rows read their body themselves
SHUTDOWN_S = 0.5  # real seconds that open connections get at the end


class Service:
    """All dialects, on one clock.

    Args:
        clock: The clock that batches live by.
        faults: What goes wrong, from the start.
        limits: Changes to the documented limits, by field of `dialect.Limits`.
        pace: Changes to how long things take, by field of `life.Pace`.
        models: Patterns of further models that every endpoint knows.
        seed: Decides the order of results and the dice of faults.
        elsewhere: Who answers in the echo model's place.
        data_dir: Where everything outlives the process.
        target: Whom to tell of the ends of batches.
    """

    def __init__(  # noqa: PLR0913  the settings of `Emulator`
        self,
        *,
        clock: Clock,
        faults: Iterable[Fault] = (),
        limits: Mapping[str, Any] | None = None,
        pace: Mapping[str, Any] | None = None,
        models: Sequence[str] = (),
        seed: int = 0,
        elsewhere: Elsewhere | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        target: Target | None = None,
        audience: str = AUDIENCE,
    ) -> None:
        self.clock = clock
        self._data_dir = data_dir
        self._data: DataDir | None = None
        self._elsewhere = elsewhere
        self._faults = tuple(faults)
        self._seed = seed
        self.script = Script(self._faults, seed=seed)
        self.families: dict[str, Family] = {}
        signer = Signer(audience)
        for dialect in load_dialects().values():
            desk = Desk(dialect, clock, change(dialect.pace, pace), change(dialect.limits, limits), models, seed)
            desk.signer = signer
            self.families[dialect.name] = open_family(dialect.family, desk)
        self._hooks = Hooks(target, clock, lambda: self.script)

    @property
    def desks(self) -> list[Desk]:
        return [family.desk for family in self.families.values()]

    async def reset(self) -> None:
        """Forget everything that happened. The script of faults is again the one that the service began with."""
        stores = [desk.store for desk in self.desks]
        for store in stores:
            store.leave()
            for batch in store.batches.values():
                batch.stop_asking()
        self.clock.restart()
        self.script = Script(self._faults, seed=self._seed)
        self._hooks.forget()
        for desk in self.desks:
            desk.ghosts.forget()
            desk.restart()
        self._write_anew({})
        for store in stores:
            await anyio.to_thread.run_sync(store.remove)

    async def read_history(self) -> list[Record]:
        """Give what happened at every dialect, in order of time."""
        records = [record for desk in self.desks for record in await desk.read_history()]
        return sorted(records, key=lambda record: record.at)

    async def run(self, host: str, port: int, on_ready: Callable[[str], None]) -> None:
        """Listen until cancelled. `on_ready` gets the URL."""
        runner = web.AppRunner(self.make_app(), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
        try:
            if self._data_dir is not None:
                self._data = await anyio.to_thread.run_sync(DataDir, self._data_dir)
                self._take_up(self._data)
            await runner.setup()
            await web.TCPSite(runner, host, port).start()
            async with self._elsewhere or AsyncExitStack(), anyio.create_task_group() as tasks:
                self._employ(tasks)
                on_ready(_url(runner))
                try:
                    await anyio.sleep_forever()
                finally:
                    self._close()  # work in threads looks at its batch and ends
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()
            self._close()
            self._let_go()

    def _employ(self, tasks: TaskGroup) -> None:
        """Give every desk what does its work, and let it go on with what it has."""
        for family in self.families.values():
            desk = family.desk
            ask = functools.partial(family.open_asking, elsewhere=self._elsewhere) if self._elsewhere else None
            desk.work = Work(tasks, self.clock.now, family.examine, family.write, ask, desk.keep)
            desk.ghosts = Ghosts(tasks, self.clock)
            desk.on_batch = functools.partial(self._hooks.watch, family)
            desk.resume()
        tasks.start_soon(self._hooks.run)

    def _close(self) -> None:
        for desk in self.desks:
            desk.store.close()

    # What outlives the process

    def _take_up(self, data: DataDir) -> None:
        """Go on from what lies in the directory."""
        clock, kept = fold(data.entries)
        if clock is not None:
            records = [entry.record.at for dialect in kept.values() for entry in dialect.records]
            self.clock.go_on(clock, least=max(records, default=0.0))
        for name, family in self.families.items():
            family.desk.take_up(data, kept.get(name), family.file_kinds, family.order_kind)
        self._write_anew(kept)
        data.remove_but(desk.store.directory.name for desk in self.desks)
        self.clock.watch(lambda: data.append([self.clock.position()]))

    def _write_anew(self, kept: Mapping[str, Kept]) -> None:
        """Let the log say this and nothing else."""
        if self._data is not None:
            entries = [
                entry for name, family in self.families.items() for entry in family.desk.first_entries(kept.get(name))
            ]
            self._data.rewrite([self.clock.position(), *entries])

    def _let_go(self) -> None:
        self.clock.watch(None)
        if self._data is not None:
            self._data.close()
            self._data = None

    def make_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._index)
        app.router.add_get("/history", self._show_history)
        for family, mount in self._mounts():
            mounted = web.Application(client_max_size=JSON_BYTES)
            table = RouteTable(mounted.router)
            table.register(family.routes(), make_guard(family, table.find, lambda: self.script))
            app.add_subapp(mount, mounted)
        return app

    def _mounts(self) -> list[tuple[Family, str]]:
        families = self.families.values()
        return [(family, mount) for family in families for mount in family.desk.dialect.mounts]

    async def _index(self, request: web.Request) -> web.Response:
        origin = f"{request.scheme}://{request.host}"
        bases = {name: f"{origin}{family.desk.dialect.mount}" for name, family in self.families.items()}
        return web.json_response({"service": "asyncbatch emulator", "base_urls": bases, "now": int(self.clock.now())})

    async def _show_history(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp hands it over
        return web.Response(body=encode_history(await self.read_history()), content_type="application/json")


def _url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
