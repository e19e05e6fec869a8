"""BatchClient: the front door. A registry scope, a poller and a journal in one; jobs go in, rows come out."""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias
from uuid import uuid4
from weakref import WeakKeyDictionary

import aiohttp
from msgspec.structs import replace

from asyncbatch.accounts import Accounts, WebhookAudiences, WebhookSecrets
from asyncbatch.base_provider import InputChoice, OnUnsupported, Requests
from asyncbatch.catalog import Catalog
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.admission import asked_for, complete, job_record, key_of, split_model, text_of, words_of
from asyncbatch.engine.budgets import Budgets
from asyncbatch.engine.create import Grace
from asyncbatch.engine.desk import Desk
from asyncbatch.engine.notes import Notes
from asyncbatch.engine.own_limits import OwnLimits
from asyncbatch.engine.payers import Payers
from asyncbatch.engine.rejects import Rejects
from asyncbatch.engine.rooms import Rooms
from asyncbatch.engine.run import JobRun
from asyncbatch.engine.telling import check_event
from asyncbatch.engine.tidying import delete_orphans, find_orphans
from asyncbatch.engine.tools import Tools
from asyncbatch.engine.webhooks import WebhookReceipt, Webhooks
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import ClientClosedError, ConfigError, ScopeError
from asyncbatch.intake import told_apart
from asyncbatch.job import Job, JobStatus, listed
from asyncbatch.job_results import JobResults
from asyncbatch.journal import CANCEL, Journal, SubmissionState, journal_at
from asyncbatch.planning.budgets import AccountUsage
from asyncbatch.planning.limits import LimitsGiven
from asyncbatch.planning.recovery import Recovery
from asyncbatch.planning.retry import Patience, Retry
from asyncbatch.planning.rounds import RetryRows, check_retry, word_of
from asyncbatch.planning.schedule import Polling
from asyncbatch.planning.tidying import OLD_S, Cleanup, Orphans, Tidied, check_cleanup
from asyncbatch.poller import BatchPoller
from asyncbatch.registry import BatchProviderRegistry, RegistryScope, batch_provider_registry
from asyncbatch.runtime import LoopBound, Owner, Runtime, finish, gentle, working_for
from asyncbatch.transport import Http
from asyncbatch.watching.events import EventReader

_log = logging.getLogger("asyncbatch.client")

__all__ = ["BatchClient", "Job", "JobResults", "JobStatus", "WebhookReceipt"]

Pace: TypeAlias = Literal["full", "gentle"]

Handler: TypeAlias = Callable[[Job], Awaitable[object] | object]
"""Hears of a job that has ended; what it gives is awaited where it can be."""

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
            By default the directory that `ASYNCBATCH_HOME` names, and memory where it names none.
        resume: Whether unfinished jobs of dead processes are taken up on opening.
        cleanup: What is deleted at the provider once a batch is over, unless a job says otherwise; see `submit`.
        retry: How calls that may be repeated are repeated.
        polling: How patiently batches are watched.
        recovery: How a create whose answer was lost is searched for.
        patience: How long a submission that is refused for now is tried again.
        limits: What an account may have open at once, and use in a day: `AccountLimits` for each of them, or by the name of an
            account or a provider, `*` for all. What may be open goes before the catalog's numbers; what waits says so.
        webhook_secrets: By provider, what its webhooks are signed with, `whsec_…`; several while one takes the place of
            another. By default what the variable holds that the provider's facts name, such as `OPENAI_WEBHOOK_SECRET`.
        webhook_audiences: By provider, for whom the tokens are made out that vouch for webhooks of single batches. By default
            what a variable holds, such as `GEMINI_WEBHOOK_AUDIENCE`; without any, no token is believed.
        pace: `"gentle"` works on large jobs in small pieces and rests after each, for a web server whose visitors are not to
            notice; a large job takes longer then.
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
        journal: Journal | str | os.PathLike[str] | None = None,
        resume: bool = True,
        cleanup: Cleanup = "never",
        retry: Retry | None = None,
        polling: Polling | None = None,
        recovery: Recovery | None = None,
        patience: Patience | None = None,
        limits: LimitsGiven | None = None,
        webhook_secrets: WebhookSecrets | None = None,
        webhook_audiences: WebhookAudiences | None = None,
        pace: Pace = "full",
        runtime: Runtime | None = None,
    ) -> None:
        super().__init__("the client")
        self._runtime = _paced(runtime or Runtime(), pace)
        self._polling = polling or Polling()
        self._recovery = recovery or Recovery()
        self._patience = patience or Patience()
        self._scope: RegistryScope = (registry or batch_provider_registry).open(
            session=session, http=http, catalog=catalog, retry=retry, runtime=self._runtime
        )
        self._journal = journal_at(journal, self._runtime)
        self._resumes = resume
        check_cleanup(cleanup, is_durable=self._journal.is_shared)
        self._cleanup: Cleanup = cleanup
        self._webhooks = Webhooks(webhook_secrets, webhook_audiences, self._journal, self._scope, self._runtime)
        self._payers = Payers(accounts, self._scope, self._runtime)
        self._limits = OwnLimits(limits, catalog)
        self._handlers: list[Handler] = []
        self._grace = Grace()
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
        await self._webhooks.open(self.catalog)
        self._owner = Owner("asyncbatch client", self._fail_all, self._torn_down)
        await self._owner.start()
        self._poller = BatchPoller(self._polling, runtime=self._runtime)
        self._poller.is_part = True
        await self._poller.__aenter__()
        tools = Tools(
            journal=self._journal,
            poller=self._poller,
            runtime=self._runtime,
            grace=self._grace,
            lines=WeakKeyDictionary(),
            recovery=self._recovery,
            polling=self._polling,
            patience=self._patience,
            space=self._scope.context.space,
            rooms=Rooms(
                journal=self._journal, runtime=self._runtime, patience=self._patience, limits_of=self._limits.of_job
            ),
        )
        self._desk = Desk(tools, self._owner, self._payers.of_job)
        for handler in self._handlers:
            self._desk.teller.add(partial(self._tell, handler))
        if self._resumes:
            await self._desk.resume()
        self._desk.listen()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop: creates and deletions under way get some seconds to end, batches go on at the provider. Harmless when repeated.

        What was accepted and not yet sent is not sent any more, and is named in a warning: `await job.submitted()` first.
        A disk that does not answer is waited for, and so is code that swallows its cancellation; a warning says for what.
        """
        self._is_spent = True
        self.release()
        self._fail_all(None)
        self._grace.hurry(self._recovery.settle_s)
        owner = self._owner
        steps = [owner.stop] if owner is not None else []
        await finish(*steps, *self._last_steps())
        self._owner = self._poller = None

    def _last_steps(self) -> list[Callable[[], Awaitable[object]]]:
        poller = self._poller
        return [*([poller.aclose] if poller is not None else []), self._scope.aclose, self._journal.close]

    async def _torn_down(self) -> None:
        """Close what is open, in the last moment of an event loop that ends while the client is: nobody will leave it."""
        if not self._is_spent:
            self._is_spent = True
            self.release()
            await finish(*self._last_steps())

    def events(self) -> EventReader:
        """Give what happens to all jobs from now on, event by event: `async for event in client.events()`.

        What the poller sees of batches, and what the client does with them; each names its job. It ends when the client is
        left. Whoever reads slowly loses the oldest events and is told how many; nothing waits for a reader.

        Raises:
            ScopeError: The client is not open, or on another event loop.
        """
        self.check("open it first: `async with BatchClient() as client`")
        assert self._poller is not None
        return self._poller.events()

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
        retry: RetryRows | None = None,
        max_attempts: int = 3,
        cleanup: Cleanup | None = None,
        options: Mapping[str, Any] | None = None,
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
            retry: Which requests are sent again, in a batch of their own, once a batch is over. `"transient"`: those that ended
                with an error that may pass, expired or were not answered. `"expired"`: those that expired alone. Or a function
                of a row, called in a thread for rows that are no success; it ends with its process. By default none. What was
                answered is never asked again, and a request that could not be sent again keeps the outcome it had.
            max_attempts: How often a request is sent at most, the first time included.
            cleanup: What is deleted at the provider once a batch is over and its rows are on disk; by default what the client
                was given. `"succeeded"`: input and answers of a batch whose every request has an answer. `"settled"`: of one
                whose requests have clear outcomes, good or bad.
            options: Further words for the batch. `input_expires_s`, `output_expires_s`: after how many seconds at most the
                provider deletes what was uploaded, and what it wrote. Others go to the provider as they are.
            before_sending: Awaited with (requests, refused, batches) once every row was checked; what it raises refuses the
                job, and nothing is sent.

        Raises:
            InvalidRequestsError: A row cannot be sent, or there is none. Nothing was sent.
            ConfigError: The provider, the model, the mode, the endpoint or the account is not known, or there is no key.
            BudgetExceededError: The account has used what it may in a day, as `limits=` says. Nothing was sent.
            ScopeError: The client is not open, or on another event loop.
        """
        self.check("open it first: `async with BatchClient() as client`")
        if on_bad_row not in ("error", "reject"):
            raise ConfigError(f"on_bad_row is {on_bad_row!r}", code="config.value", hint='it is "error" or "reject"')
        check_retry(retry, max_attempts)
        key, account, words = key_of(key), text_of("account", account), words_of(options, metadata)
        cleanup = cleanup if cleanup is not None else self._cleanup
        check_cleanup(cleanup, is_durable=self._journal.is_shared)
        name, model_name = split_model(model)
        provider = await self._payers.of(name, account, allow_unknown_model=allow_unknown_model)
        job_id = uuid4()
        wanted = provider.mode_for(model_name, mode, endpoint)
        rejects = Rejects(self._scope.context.space) if on_bad_row == "reject" else None
        submissions: list[PreparedSubmission] = []
        try:
            with working_for(account), told_apart(wanted=key is not None):
                submissions = await provider.prepare_payloads(
                    batch_id=job_id,
                    model=model_name,
                    mode=wanted,
                    requests=requests,
                    wire_ids="minted",
                    **asked_for(endpoint, rejects, words, on_unsupported, input_mode, replace_model=replace_model),
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
                policy=_policy(retry, max_attempts, cleanup, notifies=bool(self._handlers)),
            )
            desk = self._open_desk()
            known = await desk.same(record)
            if known is not None:
                await finish(
                    partial(provider.discard, submissions), *([rejects.discard] if rejects is not None else [])
                )
                known.take_policy(retry)
                return Job(known, desk)
            if before_sending is not None:
                await before_sending(record.request_count, refused, len(submissions))
            record, allow = await self._budgets().ask(record, provider, submissions)
            held = rejects if refused else None
            return Job(await desk.accept(record, provider, submissions, held, retry, allow), desk)
        except BaseException:
            await finish(partial(provider.discard, submissions), *([rejects.discard] if rejects is not None else []))
            raise

    def on(self, event: Literal["job_ended"], handler: Handler) -> None:
        """Have a function of yours called when a job ends, at least once, also across restarts.

        It hears of the jobs that are submitted while it is registered, whichever process brings them to their end, as soon as a
        client with a handler is open; a handler that fails is called again, later and later. So it may be called twice for one
        job: `job.id` tells. Several are called one after the other. A job that is retried by hand ends once more.

        Args:
            event: `"job_ended"`: every request of the job has its outcome.
            handler: A function of the job, as a rule an async one, which may iterate over the results. The event loop waits for
                one that is not.
        """
        check_event(event, handler)
        self._handlers.append(handler)
        if self._desk is not None:
            self._desk.teller.add(partial(self._tell, handler))

    async def _tell(self, handler: Handler, run: JobRun) -> None:
        told = handler(Job(run, self._open_desk()))
        if isawaitable(told):
            await told

    async def job(self, job_id: str) -> Job:
        """Give a job by its name, whichever process accepted it, and go on with it as soon as no other process does.

        While another process has it, it is followed: what that one brings in can be read here too.

        Raises:
            ConfigError: There is none of this id, or the account's key is not the one that it was sent with.
        """
        self.check("open it first: `async with BatchClient() as client`")
        desk = self._open_desk()
        return Job(await desk.attach(job_id), desk)

    def jobs(self) -> list[Job]:
        """Give the jobs of this client, oldest first."""
        desk = self._desk
        if desk is None:
            return []
        return [Job(run, desk) for run in sorted(desk.runs.values(), key=lambda run: run.record.created_at)]

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
        notes = Notes(self.catalog, self._recovery, self._limits, self._journal, self._runtime)
        ending = {wish.job_id for wish in await self._journal.wishes() if wish.word == CANCEL}
        found: list[JobStatus] = []
        for record in await self._journal.jobs(unfinished=unfinished):
            if key_prefix is None or (record.key or "").startswith(key_prefix):
                submissions = await self._journal.submissions(record.job_id)
                await notes.read(record, submissions)
                is_ending = record.job_id in ending
                found.append(listed(record, submissions, partial(notes.of, record), is_end_wished=is_ending))
        return found

    async def usage(self, account: str | None = None) -> AccountUsage:
        """Give what an account has open and waiting, and what its jobs of the last 24 hours used, whichever process has them.

        Nobody is asked: it is what the journal knows. `usage.limits` are those that the client was given.

        Args:
            account: Its name; None for the environment's key.
        """
        self.check("open it first: `async with BatchClient() as client`")
        return await self._budgets().usage(text_of("account", account))

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

    async def webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookReceipt:
        """Take a provider's webhook in, whichever provider signed it; `receipt.status` is what to answer.

        It only wakes: the batch that it speaks of is asked about now, by whichever process has its job. What came for the
        second time, speaks of a batch that the journal does not know, or is not believed, wakes nothing.

        Args:
            headers: Those of the request.
            body: Its bytes, as they came: not what was decoded and encoded again.

        Raises:
            ConfigError: There is no secret at all. Nothing in a request raises.
        """
        self.check("open it first: `async with BatchClient() as client`")
        return await self._webhooks.receive(headers, body, self.catalog, self._open_desk())

    async def strays(self) -> tuple[str, ...]:
        """Name what processes left behind that died before they had accepted a job; `forget` removes it."""
        self.check("open it first: `async with BatchClient() as client`")
        return await self._journal.strays()

    async def orphans(self, provider: str, *, account: str | None = None, older_than_s: float = OLD_S) -> Orphans:
        """List batches and files of an account that carry our mark and that this journal does not know; nothing is changed.

        Those of other state directories and machines that use the same key look the same: read the list before you delete.

        Args:
            provider: Its name, such as `openai`.
            account: Whose key; by default the environment's.
            older_than_s: What is younger, in seconds, is listed and not for deletion.

        Raises:
            ConfigError: The provider is not known, or there is no key.
            ProviderError: Its lists cannot be read.
        """
        self.check("open it first: `async with BatchClient() as client`")
        asked = await self._payers.of(provider, account)
        known, now = await self._journal.known(), self._runtime.now()
        found = await find_orphans(asked, known, now=now, older_than_s=older_than_s)
        return replace(found, account=account)

    async def delete_orphans(self, found: Orphans) -> Tidied:
        """Delete what `orphans` listed and may be deleted, unless the journal has come to know it since."""
        self.check("open it first: `async with BatchClient() as client`")
        provider = await self._payers.of(found.provider, found.account)
        return await delete_orphans(provider, found, await self._journal.known())

    def _budgets(self) -> Budgets:
        return Budgets(self._limits, self.catalog, self._journal, self._runtime)

    def _open_desk(self) -> Desk:
        if self._desk is None or self._is_spent:
            raise ClientClosedError("the client was closed while the job was accepted", code="client.closed")
        return self._desk

    def _fail_all(self, cause: BaseException | None) -> None:
        if self._desk is not None:
            self._desk.close(cause)


def _paced(runtime: Runtime, pace: str) -> Runtime:
    if pace not in ("full", "gentle"):
        raise ConfigError(f"pace is {pace!r}", code="config.value", hint='it is "full" or "gentle"')
    return gentle(runtime) if pace == "gentle" else runtime


def _policy(retry: RetryRows | None, max_attempts: int, cleanup: Cleanup, *, notifies: bool) -> dict[str, Any]:
    """Give what the journal keeps of what happens once a batch is over; nothing of what happens anyway."""
    again = {"retry": word_of(retry), "max_attempts": max_attempts} if retry is not None else {}
    return {**again, **({"cleanup": cleanup} if cleanup != "never" else {}), **({"notifies": True} if notifies else {})}
