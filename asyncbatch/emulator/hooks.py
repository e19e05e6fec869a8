"""Webhooks: when a batch has ended, its service tells a URL, signed, until somebody there says that it was heard.

It is the emulator's URL, or those that came with the batch, which some services know: a token vouches for what goes there.
Elsewhere the signature is that of Standard Webhooks: HMAC-SHA256, in base64, over id, timestamp and body with dots between, by
the key that the secret holds in base64 after `whsec_`. Source: https://www.standardwebhooks.com
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup
from msgspec import Struct

from asyncbatch.emulator.clock import TICK_S, Clock
from asyncbatch.emulator.effects import Deliver
from asyncbatch.emulator.family import Family
from asyncbatch.emulator.faults import Call
from asyncbatch.emulator.history import Record
from asyncbatch.emulator.life import stand
from asyncbatch.emulator.script import Script
from asyncbatch.emulator.store import StoredBatch

RETRY_S = (5.0, 30.0, 120.0, 600.0)  # emulated seconds between attempts; services go on for a day or more
TIMEOUT_S = 10.0  # real seconds of one attempt

_PREFIX = "whsec_"


class Target(Struct, frozen=True, kw_only=True):
    """Where webhooks go.

    Attributes:
        key: What they are signed with.
    """

    url: str
    key: bytes


def read_target(url: str | None, secret: str | None) -> Target | None:
    """Read where webhooks go; None if nowhere.

    Raises:
        ValueError: One of both is missing, or is not what it should be.
    """
    if url is None and secret is None:
        return None
    if url is None or secret is None:
        raise ValueError("webhooks need webhook_url and webhook_secret, both")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"webhook_url is {url!r}, but must be a URL such as http://localhost:8000/webhooks")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not key:
        raise ValueError("webhook_secret must be whsec_ and base64")
    return Target(url=url, key=key)


class _Letter(Struct, kw_only=True, eq=False):
    """One event on its way; `behind` counts the later ones that it still waits for."""

    family: Family
    batch: StoredBatch
    url: str
    event: str
    id: str
    body: bytes
    copies: int = 1
    delay_s: float = 0.0
    behind: int = 0
    age_s: float = 0.0
    signature: str = "good"
    faults: tuple[str, ...] = ()


class Hooks:
    """Tells of the ends of batches, of every dialect that does so."""

    def __init__(self, target: Target | None, clock: Clock, script: Callable[[], Script]) -> None:
        self._target = target
        self._clock = clock
        self._script = script
        self._waiting: list[tuple[Family, StoredBatch]] = []
        self._held: list[_Letter] = []
        self._watched = anyio.Event()

    def watch(self, family: Family, batch: StoredBatch) -> None:
        """Tell of the end of this batch, when it comes, if anybody is to be told."""
        if self._target is not None or family.addresses_of(batch):
            self._waiting.append((family, batch))
            self._watched.set()

    def forget(self) -> None:
        """Tell of nothing that there was until now."""
        self._waiting.clear()
        self._held.clear()

    async def run(self) -> None:
        """Look for ends, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, anyio.create_task_group() as tasks:
            while True:
                if not self._waiting:
                    self._watched = anyio.Event()
                    await self._watched.wait()
                await anyio.sleep(TICK_S)
                for item in list(self._waiting):
                    await self._look(*item, tasks, session)

    async def _look(self, family: Family, batch: StoredBatch, tasks: TaskGroup, session: aiohttp.ClientSession) -> None:
        if stand(batch.course, self._clock.now()).is_over and not batch.is_gone:
            await family.desk.work.settle(batch)
            if not batch.stand(self._clock.now()).is_over:
                return  # the work is late; so is the end
        elif not batch.is_gone:
            return
        if (family, batch) in self._waiting:  # nobody has forgotten it meanwhile
            self._waiting.remove((family, batch))
            self._tell(family, batch, tasks, session)

    def _tell(self, family: Family, batch: StoredBatch, tasks: TaskGroup, session: aiohttp.ClientSession) -> None:
        now = self._clock.now()
        document = None if batch.is_gone else family.event_of(batch, batch.stand(now))
        if document is None:
            return
        event, dialect = str(document["type"]), family.desk.dialect.name
        call = Call(dialect=dialect, operation="webhook", method="POST", path=event)
        struck = [armed.fault for armed in self._script().strike(call, now)]
        effects = [fault.effect for fault in struck if isinstance(fault.effect, Deliver)]
        for url in family.addresses_of(batch) or ([self._target.url] if self._target is not None else []):
            letter = _Letter(
                family=family,
                batch=batch,
                url=url,
                event=event,
                id=family.desk.store.new_id("msg_"),
                body=msgspec.json.encode(document),
                faults=tuple(fault.kind for fault in struck),
                **_changes(effects),
            )
            if letter.behind:
                self._held.append(letter)
            else:
                tasks.start_soon(self._deliver, letter, tasks, session)

    async def _deliver(self, letter: _Letter, tasks: TaskGroup, session: aiohttp.ClientSession) -> None:
        await self._wait(letter.delay_s)
        for _ in range(letter.copies):
            await self._send(letter, session)
        for held in list(self._held):
            held.behind -= 1
            if not held.behind:
                self._held.remove(held)
                tasks.start_soon(self._deliver, held, tasks, session)

    async def _send(self, letter: _Letter, session: aiohttp.ClientSession) -> None:
        for wait_s in (0.0, *RETRY_S):
            await self._wait(wait_s)
            if letter.batch.is_gone:
                return
            status = await self._post(letter, session)
            letter.family.desk.note(self._record(letter, status))
            if status is not None and 200 <= status < 300:
                return

    async def _wait(self, seconds: float) -> None:
        await self._clock.reach(self._clock.now() + seconds, anyio.Event())

    async def _post(self, letter: _Letter, session: aiohttp.ClientSession) -> int | None:
        headers = await self._headers(letter)
        try:
            call = session.post(letter.url, data=letter.body, headers=headers, allow_redirects=False)
            async with call as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def _headers(self, letter: _Letter) -> Mapping[str, str]:
        at = self._clock.client_wall() - letter.age_s
        sent_at = str(int(at))
        signature = {} if letter.signature == "missing" else {"webhook-signature": await self._signature(letter, at)}
        named = {"webhook-id": letter.id, "webhook-timestamp": sent_at, **signature}
        return {"Content-Type": "application/json", "User-Agent": "asyncbatch-emulator", **named}

    async def _signature(self, letter: _Letter, at: float) -> str:
        is_good = letter.signature == "good"
        if letter.family.addresses_of(letter.batch):
            token = partial(letter.family.desk.signer.token, at, is_good=is_good)
            return await anyio.to_thread.run_sync(token)
        key = self._target.key if is_good and self._target is not None else b"somebody else's"
        digest = hmac.new(key, f"{letter.id}.{int(at)}.".encode() + letter.body, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(digest).decode()}"

    def _record(self, letter: _Letter, status: int | None) -> Record:
        return Record(
            kind="webhook",
            at=self._clock.now(),
            dialect=letter.family.desk.dialect.name,
            account=letter.batch.account,
            method="POST",
            path=letter.event,
            operation="webhook",
            status=status,
            object_id=letter.batch.id,
            faults=letter.faults,
        )


def _changes(effects: Iterable[Deliver]) -> dict[str, Any]:
    """Say how a webhook is delivered that all these touch."""
    changes: dict[str, Any] = {}
    for effect in effects:
        usual = Deliver()
        found = {name: getattr(effect, name) for name in effect.__struct_fields__}
        changes |= {name: value for name, value in found.items() if value != getattr(usual, name)}
    return changes
