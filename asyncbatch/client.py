"""BatchClient: the front door. A registry scope, a poller and a journal in one; jobs go in, rows come out."""

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

from asyncbatch.accounts import Accounts, credentials_of, hide
from asyncbatch.base_provider import BaseBatchProvider, InputChoice, OnUnsupported, Requests
from asyncbatch.catalog import Catalog
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.admission import asked_for, complete, job_record, split_model
from asyncbatch.engine.create import Creates
from asyncbatch.engine.desk import Desk
from asyncbatch.engine.rejects import Rejects
from asyncbatch.engine.tools import Tools
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import ClientClosedError, ConfigError, ScopeError
from asyncbatch.job import Job, JobResults, JobStatus, listed
from asyncbatch.journal import JobRecord, Journal, SubmissionRecord, SubmissionState, journal_at
from asyncbatch.planning.recovery import CHECKING, Recovery, time_left, window_of
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
        self._creates = Creates()
        self._is_spent = False
        self._owner: Owner | None = None
        self._poller: BatchPoller | None = None
        self._desk: Desk | None = None

    async def __aenter__(self) -> Self:
        if self.is_bound or self._is_spent:
            state = "was closed before" if self._is_spent else "is open already"
            raise ScopeError(f"this client {state}", code="scope.open", hint="make one client and share it")
        self.bind()
        try:
            await self._open()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def _open(self) -> None:
        await self._journal.open()
        await self._scope.__aenter__()
        self._owner = Owner("asyncbatch client", self._fail_all)
        await self._owner.start()
        self._poller = BatchPoller(self._polling, runtime=self._runtime)
        await self._poller.__aenter__()
        tools = Tools(
            journal=self._journal,
            poller=self._poller,
            runtime=self._runtime,
            creates=self._creates,
            lines=WeakKeyDictionary(),
            recovery=self._recovery,
            polling=self._polling,
            patience=self._patience,
        )
        self._desk = Desk(tools, self._owner, self._scope.context.space, self._provider_of)
        if self._resumes:
            await self._desk.resume()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop: creates under way get some seconds to end, batches go on at the provider. Harmless when repeated.

        What was accepted and not yet sent is not sent any more, and is named in a warning: `await job.submitted()` first.
        """
        self._is_spent = True
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
            record = job_record(
                provider,
                submissions,
                created_at=self._runtime.now(),
                job_id=job_id.hex,
                key=key,
                model=model_name,
                mode=wanted,
                endpoint=submissions[0].endpoint if submissions else endpoint or "",
                account=account,
                rejected_count=refused,
                options={"allow_unknown_model": allow_unknown_model} if allow_unknown_model else {},
            )
            desk = self._open_desk()
            known = await desk.same(record)
            if known is not None:
                await finish(
                    partial(provider.discard, submissions), *([rejects.discard] if rejects is not None else [])
                )
                return Job(known, desk.forget)
            if before_sending is not None:
                await before_sending(record.request_count, refused, len(submissions))
            return Job(await desk.accept(record, provider, submissions, rejects if refused else None), desk.forget)
        except BaseException:
            await finish(partial(provider.discard, submissions), *([rejects.discard] if rejects is not None else []))
            raise

    def job(self, job_id: str) -> Job:
        """Give a job that this client has; `ConfigError` if it has none of this id."""
        if self._desk is None or job_id not in self._desk.runs:
            hint = "client.jobs() lists them; `await client.attach(job_id)` finds one of another process, or of an earlier one"
            raise ConfigError(f"this client has no job {job_id!r}", code="job.unknown", hint=hint)
        return Job(self._desk.runs[job_id], self._desk.forget)

    async def attach(self, job_id: str) -> Job:
        """Give a job of the journal, whoever accepted it, and go on with it as soon as no other process does.

        Raises:
            ConfigError: There is none of this id, or the account's key is not the one that it was sent with.
        """
        self.check("open it first: `async with BatchClient() as client`")
        desk = self._open_desk()
        return Job(await desk.attach(job_id), desk.forget)

    def jobs(self) -> list[Job]:
        """Give the jobs of this client, oldest first."""
        return [Job(run, self._desk.forget) for run in self._desk.runs.values()] if self._desk else []

    def follows(self, job_id: str) -> bool:
        """Whether another process has this job, and we only watch it; nobody has one that is over."""
        desk = self._desk
        return desk is not None and job_id in desk.followed and not desk.runs[job_id].is_over

    async def records(self, *, unfinished: bool = False, key_prefix: str | None = None) -> list[JobStatus]:
        """List the jobs of the journal, oldest first, as it knows them: nobody is asked, and none is taken up.

        Args:
            unfinished: Only those that are not over.
            key_prefix: Only those whose key begins with this.
        """
        self.check("open it first: `async with BatchClient() as client`")
        return [
            listed(record, await self._journal.submissions(record.job_id), partial(self._note, record))
            for record in await self._journal.jobs(unfinished=unfinished)
            if key_prefix is None or (record.key or "").startswith(key_prefix)
        ]

    async def forget(self, job_id: str) -> None:
        """Drop a job of the journal that is over, its rows and its key too, whether this client has it or not.

        Raises:
            ConfigError: The job is not over.
            JournalError: Another process is busy with it.
        """
        self.check("open it first: `async with BatchClient() as client`")
        if any(item.state is not SubmissionState.SETTLED for item in await self._journal.submissions(job_id)):
            hint = "wait for it, or cancel it, before it is forgotten"
            raise ConfigError(f"job {job_id} is still running", code="job.running", hint=hint)
        desk = self._open_desk()
        if job_id in desk.runs:
            await desk.forget(desk.runs[job_id])
        else:
            await self._journal.forget(job_id)

    async def strays(self) -> tuple[str, ...]:
        """Name what processes left behind that died before they had accepted a job; `forget` removes it."""
        self.check("open it first: `async with BatchClient() as client`")
        return await self._journal.strays()

    def _note(self, record: JobRecord, submission: SubmissionRecord) -> str | None:
        """Say what is going on with a create that nobody knows of, whoever looks for it."""
        if submission.state is not SubmissionState.CREATE_UNKNOWN:
            return None
        facts = self.catalog.provider(record.provider) if record.provider in self.catalog.names() else None
        if facts is None or submission.intended_at is None:
            return CHECKING
        safety = (submission.is_inline and facts.inline_submit_safety) or facts.submit_safety
        ends_at = submission.intended_at + window_of(self._recovery, safety)
        return f"{CHECKING}{time_left(ends_at - self._runtime.now())}"

    def _open_desk(self) -> Desk:
        if self._desk is None or self._is_spent:
            raise ClientClosedError("the client was closed while the job was accepted", code="client.closed")
        return self._desk

    def _fail_all(self, cause: BaseException | None) -> None:
        if self._desk is not None:
            self._desk.close(cause)

    async def _provider_of(self, record: JobRecord, needs_key: bool) -> BaseBatchProvider:
        unknown = bool(record.options.get("allow_unknown_model"))
        if not needs_key:
            return self._scope.create(record.provider, {"allow_unknown_model": True} if unknown else {})
        return await self._provider(record.provider, record.account, allow_unknown_model=unknown)

    async def _provider(self, name: str, account: str | None, *, allow_unknown_model: bool) -> BaseBatchProvider:
        """Give the provider of an account; one whose key is the same as before is the same object, and shares its limits."""
        config = hide(await credentials_of(self._accounts, account, name) or {})
        if allow_unknown_model:
            config["allow_unknown_model"] = True
        provider = self._scope.create(name, config)
        fingerprint = await self._runtime.offload(_fingerprint, provider, account, config)
        return self._providers.setdefault((type(provider), fingerprint, allow_unknown_model), provider)


def _fingerprint(provider: BaseBatchProvider, account: str | None, config: Mapping[str, Any]) -> str:
    """Say which key it is; raises where there is none. A provider without facts is told apart by what it was given."""
    if provider.has_facts:
        return provider.account.fingerprint
    given = sorted((key, str(value)) for key, value in config.items())
    return hashlib.sha256(f"{account}\n{given}".encode()).hexdigest()
