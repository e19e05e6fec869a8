"""BatchClient: the front door. A registry scope, a poller and a journal in one; jobs go in, rows come out."""

import contextlib
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary

import aiohttp
import anyio
import msgspec

from asyncbatch.accounts import Accounts, credentials_of, hide
from asyncbatch.base_provider import BaseBatchProvider, InputChoice, OnUnsupported, Requests
from asyncbatch.catalog import Catalog
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.admission import asked_for, complete, digest_of, split_model
from asyncbatch.engine.create import Creates
from asyncbatch.engine.opening import follow, new_run, old_run
from asyncbatch.engine.rejects import Rejects
from asyncbatch.engine.run import JobRun
from asyncbatch.engine.tools import Tools
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import AsyncBatchError, ClientClosedError, ConfigError, JournalError, ScopeError
from asyncbatch.job import Job, JobResults, JobStatus
from asyncbatch.journal import JobRecord, Journal, journal_at
from asyncbatch.planning.recovery import Recovery
from asyncbatch.planning.retry import Patience, Retry
from asyncbatch.planning.schedule import Polling
from asyncbatch.poller import BatchPoller
from asyncbatch.registry import BatchProviderRegistry, RegistryScope, batch_provider_registry
from asyncbatch.runtime import LoopBound, Owner, Runtime, finish
from asyncbatch.transport import Http

_log = logging.getLogger("asyncbatch.client")

__all__ = ["BatchClient", "Job", "JobResults", "JobStatus"]

BeforeSending: TypeAlias = Callable[[int, int, int], Awaitable[None]]
"""Hears, once all rows were checked and before the job is accepted, of requests, refused ones among them, and batches."""


class BatchClient(LoopBound):
    """Submit jobs, watch them, collect their answers.

    It is opened once (in a lifespan, a fixture, an exit stack; it may be opened in one task and closed in another) and shared
    by all. Leaving it stops the watching, never a batch: what was created goes on at the provider.

    Args:
        accounts: Credentials by account name; without them every job uses the environment's key. The journal keeps an account's
            name and a fingerprint of its key, never the key.
        catalog: Facts with your own laid over them: `load_catalog("llm_config.yaml")`.
        registry: Whose provider classes; the process's by default.
        session: The application's own aiohttp session; it stays open.
        http: Time limits, caps, proxy.
        journal: Where jobs are remembered: a directory, which other processes may share, or `"memory"`, which ends with the
            client. In a directory, a job outlives its process: whoever opens a client on it goes on with what is unfinished.
        resume: Whether unfinished jobs of dead processes are taken up on opening.
        retry: How calls that may be repeated are repeated.
        polling: How patiently batches are watched.
        recovery: How a create whose answer was lost is searched for.
        patience: How long a submission that is refused for now is tried again.
        runtime: Clock, sleep, randomness and threads; for tests.
    """

    def __init__(  # noqa: PLR0913 the settings of the front door, each with a default
        self,
        *,
        accounts: Accounts | None = None,
        catalog: Catalog | None = None,
        registry: BatchProviderRegistry | None = None,
        session: aiohttp.ClientSession | None = None,
        http: Http | None = None,
        journal: Journal | str | os.PathLike[str] = "memory",
        resume: bool = True,
        retry: Retry | None = None,
        polling: Polling | None = None,
        recovery: Recovery | None = None,
        patience: Patience | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        super().__init__("the client")
        self._accounts = hide(accounts)
        self._runtime = runtime or Runtime()
        self._polling = polling or Polling()
        self._recovery = recovery or Recovery()
        self._patience = patience or Patience()
        self._scope: RegistryScope = (registry or batch_provider_registry).open(
            session=session, http=http, catalog=catalog, retry=retry, runtime=self._runtime
        )
        self._journal = journal_at(journal, self._runtime)
        self._resumes = resume
        # Jobs keep their provider alive; a tenant whose jobs are over costs nothing.
        self._providers: WeakValueDictionary[tuple[type[BaseBatchProvider], str, bool], BaseBatchProvider] = (
            WeakValueDictionary()
        )
        self._jobs: dict[str, JobRun] = {}
        self._creates = Creates()
        self._is_spent = False
        self._owner: Owner | None = None
        self._poller: BatchPoller | None = None
        self._tools: Tools | None = None

    async def __aenter__(self) -> Self:
        if self.is_bound or self._is_spent:
            state = "was closed before" if self._is_spent else "is open already"
            raise ScopeError(f"this client {state}", code="scope.open", hint="make one client and share it")
        self.bind()
        try:
            await self._journal.open()
            await self._scope.__aenter__()
            self._owner = Owner("asyncbatch client", self._fail_all)
            await self._owner.start()
            self._poller = BatchPoller(self._polling, runtime=self._runtime)
            await self._poller.__aenter__()
        except BaseException:
            await self.aclose()
            raise
        self._tools = Tools(
            journal=self._journal,
            poller=self._poller,
            runtime=self._runtime,
            creates=self._creates,
            lines=WeakKeyDictionary(),
            recovery=self._recovery,
            polling=self._polling,
            patience=self._patience,
        )
        if self._resumes:
            await self._resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop: creates under way get some seconds to end, batches go on at the provider. Harmless when repeated.

        What was accepted and not yet sent is not sent any more, and is named in a warning: `await job.submitted()` first.
        """
        self._is_spent = True
        self._tools = None
        self.release()
        self._fail_all(None)
        self._creates.hurry(self._recovery.settle_s)
        owner, poller = self._owner, self._poller
        steps = [owner.stop] if owner is not None else []
        steps += [poller.aclose] if poller is not None else []
        await finish(*steps, self._scope.aclose, self._journal.close)
        self._owner = self._poller = None

    @property
    def catalog(self) -> Catalog:
        return self._scope.catalog

    async def submit(  # noqa: PLR0913 each is the caller's choice
        self,
        requests: Requests,
        *,
        model: str,
        mode: BatchMode | str | None = None,
        endpoint: str | None = None,
        account: str | None = None,
        on_bad_row: Literal["error", "reject"] = "error",
        on_unsupported: OnUnsupported = "error",
        input_mode: InputChoice = "auto",
        replace_model: bool = False,
        metadata: Mapping[str, str] | None = None,
        allow_unknown_model: bool = False,
        before_sending: BeforeSending | None = None,
        key: str | None = None,
    ) -> Job:
        """Accept a job: every request checked, spooled and recorded. Uploads and creates run in the client's own tasks.

        Cancelling the caller afterwards (a browser that leaves, a timeout) cancels nothing at the provider.

        Args:
            requests: A list, an iterator or an async iterator of prompts, bodies, Structs or ready rows with a `custom_id`.
            model: `provider/model`, such as `openai/gpt-4.1-mini`.
            mode: What the requests ask for; by default what the endpoint serves, or what the model can do, chat first.
            endpoint: The path, for mode CUSTOM, such as `/v1/responses`.
            account: Whose key pays; by default the environment's.
            on_bad_row: `"reject"` lets the good rows go; the bad ones end REJECTED.
            on_unsupported: What becomes of a request that asks for something the provider cannot express, such as `seed` where
                there is none: `"error"` refuses it by name, `"drop"` sends it without, and `job.status().dropped` says so.
            input_mode: How requests travel, `"file"` or `"inline"`, where the provider knows both; `"auto"` is its usual way.
            replace_model: Send requests that name another model, as a file for another provider does, to `model`; without it,
                they are refused.
            metadata: Kept with each batch at the provider.
            allow_unknown_model: Send a model that no pattern of the catalog matches.
            key: Your own name for the job. The same key with the same requests, model and options gives the same job back, in
                whatever process; with others it is refused, and nothing is sent.
            before_sending: Awaited with (requests, refused, batches) once every row was checked; what it raises refuses the
                job, and nothing is sent.

        Raises:
            InvalidRequestsError: A row cannot be sent, or there is none. Nothing was sent.
            ConfigError: The provider, the model, the mode, the endpoint or the account is not known, or there is no key.
            ScopeError: The client is not open, or on another event loop.
        """
        self.check("open it first: `async with BatchClient() as client`")
        if on_bad_row not in ("error", "reject"):
            raise ConfigError(f"on_bad_row is {on_bad_row!r}", code="config.value", hint='it is "error" or "reject"')
        name, model_name = split_model(model)
        provider = await self._provider(name, account, allow_unknown_model=allow_unknown_model)
        job_id = uuid4()
        wanted = provider.mode_for(model_name, mode, endpoint)
        rejects = Rejects(self._scope.context.space) if on_bad_row == "reject" else None
        submissions: list[PreparedSubmission] = []
        try:
            submissions = await provider.prepare_payloads(
                batch_id=job_id,
                model=model_name,
                mode=wanted,
                requests=requests,
                wire_ids="minted",
                **asked_for(endpoint, rejects, metadata, on_unsupported, input_mode, replace_model=replace_model),
            )
            submissions = complete(submissions)
            refused = len(rejects) if rejects is not None else 0
            record = self._record(
                provider,
                submissions,
                job_id=job_id.hex,
                key=key,
                model=model_name,
                mode=wanted,
                endpoint=submissions[0].endpoint if submissions else endpoint or "",
                account=account,
                rejected_count=refused,
                options={"allow_unknown_model": allow_unknown_model} if allow_unknown_model else {},
            )
            known = await self._job_of(record)
            if known is not None:
                await finish(
                    partial(provider.discard, submissions), *([rejects.discard] if rejects is not None else [])
                )
                return known
            if before_sending is not None:
                await before_sending(record.request_count, refused, len(submissions))
            return await self._accept(record, provider, submissions, rejects if refused else None)
        except BaseException:
            await finish(partial(provider.discard, submissions), *([rejects.discard] if rejects is not None else []))
            raise

    def job(self, job_id: str) -> Job:
        """Give a job that this client has; `ConfigError` if it has none of this id."""
        if job_id not in self._jobs:
            hint = "client.jobs() lists them; `await client.attach(job_id)` finds one of another process, or of an earlier one"
            raise ConfigError(f"this client has no job {job_id!r}", code="job.unknown", hint=hint)
        return Job(self._jobs[job_id], self._forget)

    async def attach(self, job_id: str) -> Job:
        """Give a job of the journal, whoever accepted it, and go on with it as soon as no other process does.

        Raises:
            ConfigError: There is none of this id, or the account's key is not the one that it was sent with.
        """
        self.check("open it first: `async with BatchClient() as client`")
        if job_id not in self._jobs:
            record = await self._journal.job(job_id)
            if record is None:
                raise ConfigError(f"there is no job {job_id!r}", code="job.unknown")
            await self._take_up(record)
        return Job(self._jobs[job_id], self._forget)

    def jobs(self) -> list[Job]:
        """Give the jobs of this client, oldest first."""
        return [Job(run, self._forget) for run in self._jobs.values()]

    async def _accept(
        self,
        record: JobRecord,
        provider: BaseBatchProvider,
        submissions: list[PreparedSubmission],
        rejects: Rejects | None,
    ) -> Job:
        tools, owner = self._tools, self._owner
        if tools is None or owner is None:
            raise ClientClosedError("the client was closed while the job was accepted", code="client.closed")
        space = self._scope.context.space
        try:
            run = await new_run(record, provider, submissions, rejects, tools, space)
            with anyio.CancelScope(
                shield=True
            ):  # from here on the job is promised: it is recorded and running, or neither
                await self._journal.accept(record, [part.record for part in run.parts])
                self._check_running(tools, owner)
        except BaseException:
            await finish(partial(self._journal.forget, record.job_id))
            raise
        self._jobs[record.job_id] = run
        self._drive(run)
        return Job(run, self._forget)

    def _check_running(self, tools: Tools, owner: Owner) -> None:
        if self._tools is not tools or not owner.is_running:  # closed meanwhile: nobody would run what was promised
            raise ClientClosedError("the client was closed while the job was accepted", code="client.closed")

    def _drive(self, run: JobRun) -> None:
        assert self._owner is not None
        for index, drive in enumerate(run.drives()):
            self._owner.spawn(drive, name=f"asyncbatch job {run.record.job_id[:8]} part {index}")

    async def _resume(self) -> None:
        """Go on with what is unfinished and nobody's; what cannot be taken up is said, and stays as it is."""
        for stray in await self._journal.strays():
            with contextlib.suppress(JournalError):  # somebody is just accepting it
                await self._journal.forget(stray)
        for record in await self._journal.jobs(unfinished=True):
            try:
                await self._take_up(record)
            except AsyncBatchError as error:
                _log.warning("job %s is left as it is: %s", record.job_id, error)

    async def _take_up(self, record: JobRecord) -> None:
        tools, owner = self._tools, self._owner
        assert tools is not None
        assert owner is not None
        unknown = bool(record.options.get("allow_unknown_model"))
        provider = await self._provider(record.provider, record.account, allow_unknown_model=unknown)
        if provider.has_facts and provider.account.fingerprint != record.fingerprint:
            message = f"job {record.job_id} was sent with another key of {record.provider}, or to another address"
            raise ConfigError(message, code="auth.scope_mismatch", hint="give the one that it was sent with")
        is_ours = await self._journal.claim(record.job_id)
        run = await old_run(record, provider, tools, self._scope.context.space)
        self._jobs[record.job_id] = run
        if run.is_over or is_ours:
            self._drive(run)
        else:
            owner.spawn(
                partial(self._follow, run, tools), name=f"asyncbatch job {record.job_id[:8]} of another process"
            )

    async def _follow(self, run: JobRun, tools: Tools) -> None:
        try:
            if await follow(run, tools, self._scope.context.space):
                self._drive(run)
        except AsyncBatchError as error:
            run.close(error)

    async def _job_of(self, record: JobRecord) -> Job | None:
        """Give the job of a key, if there is one of the same requests; refuse the key for any others."""
        known = await self._journal.job_of(record.key) if record.key is not None else None
        if known is None:
            return None
        if known.digest != record.digest:
            message = f"the key {record.key!r} was given to other requests, or for another model: job {known.job_id}"
            raise ConfigError(
                message, code="key.reused", hint="nothing was sent; give these requests a key of their own"
            )
        return await self.attach(known.job_id)

    def _record(
        self, provider: BaseBatchProvider, submissions: list[PreparedSubmission], *, rejected_count: int, **fields: Any
    ) -> JobRecord:
        first = next(iter(submissions), None)
        options = dict(fields.pop("options"))
        if first is not None:
            options |= {"create": dict(first.options), "dropped": dict(first.dropped)}
        record = JobRecord(
            provider=provider.PROVIDER_NAME,
            fingerprint=provider.account.fingerprint if provider.has_facts else "",
            created_at=self._runtime.now(),
            request_count=sum(item.request_count for item in submissions) + rejected_count,
            rejected_count=rejected_count,
            options={name: value for name, value in options.items() if value},
            **fields,
        )
        return msgspec.structs.replace(record, digest=digest_of(record, first.digest if first else ""))

    async def _provider(self, name: str, account: str | None, *, allow_unknown_model: bool) -> BaseBatchProvider:
        """Give the provider of an account; one whose key is the same as before is the same object, and shares its limits."""
        config = hide(await credentials_of(self._accounts, account, name) or {})
        if allow_unknown_model:
            config["allow_unknown_model"] = True
        provider = self._scope.create(name, config)
        fingerprint = await self._runtime.offload(_fingerprint, provider, account, config)
        return self._providers.setdefault((type(provider), fingerprint, allow_unknown_model), provider)

    async def _forget(self, run: JobRun) -> None:
        await run.discard()
        self._jobs.pop(run.record.job_id, None)
        await self._journal.forget(run.record.job_id)

    def _fail_all(self, cause: BaseException | None) -> None:
        for run in self._jobs.values():
            if not run.is_sent:
                unsent = sum(part.record.request_count for part in run.parts if not part.is_sent)
                _log.warning("job %s: the client is closed before %d requests were sent", run.record.job_id, unsent)
            state = "its rows lay with the client" if run.is_over else "batches that were created go on at the provider"
            message = f"the client of job {run.record.job_id} was closed"
            closed = ClientClosedError(message, code="client.closed", hint=state)
            closed.__cause__ = cause
            run.close(closed)


def _fingerprint(provider: BaseBatchProvider, account: str | None, config: Mapping[str, Any]) -> str:
    """Say which key it is; raises where there is none. A provider without facts is told apart by what it was given."""
    if provider.has_facts:
        return provider.account.fingerprint
    given = sorted((key, str(value)) for key, value in config.items())
    return hashlib.sha256(f"{account}\n{given}".encode()).hexdigest()
