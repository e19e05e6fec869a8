"""BaseBatchProvider: what every provider promises, and what it gets for nothing.

Six methods are the specification; a class with only these, and a `PROVIDER_NAME`, registers and works. The rest has a default
here. A provider can be used alone (`async with OpenAIBatchProvider(config=…) as provider`) or through a registry scope.
"""

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeAlias
from urllib.parse import quote
from uuid import UUID

import aiohttp
import anyio
import msgspec

from asyncbatch.accounts import Account, hide, resolve_account, settings_from_config
from asyncbatch.catalog import Catalog, ProviderFacts, ProviderSettings, load_catalog, unknown_model_hint
from asyncbatch.dto import (
    Match,
    PreparedSubmission,
    ProviderResultRow,
    ProviderStatus,
    ProviderSubmitResult,
    StatusPage,
)
from asyncbatch.enums import BatchMode, ErrorClass, SubmitSafety
from asyncbatch.exceptions import (
    AmbiguousSubmissionError,
    ConfigError,
    ProviderPermanentError,
    RowProblem,
)
from asyncbatch.intake import Intake, IntakeRules, Requests, take_in
from asyncbatch.planning.retry import Retry
from asyncbatch.result_stream import Downloaded, ResultStream
from asyncbatch.runtime import Runtime
from asyncbatch.spool import RequestIds, SpoolFile, SpoolSpace
from asyncbatch.transport import Http, Profile, Sessions, Transport

__all__ = [
    "BaseBatchProvider",
    "Downloaded",
    "IntakeRules",
    "Profile",
    "ProviderContext",
    "RejectHook",
    "Requests",
    "ResultStream",
    "WireIds",
]

WireIds: TypeAlias = Literal["own", "minted"]
"""Whose ids travel: the requests' own, or ours, which every provider takes."""

RejectHook: TypeAlias = Callable[[RowProblem], None]
"""Hears of each row that cannot be sent; called in a thread."""

_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}")


class ProviderContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a scope lends to its providers: connections, runtime, a place for large bodies, facts."""

    sessions: Sessions
    runtime: Runtime
    space: SpoolSpace
    catalog: Catalog
    retry: Retry = Retry()


class BaseBatchProvider(ABC):
    """One provider, one account.

    Args:
        config: `api_key`, `base_url`, `headers`, `allow_unknown_model`, and the provider's own options, such as
            `organization`. What is absent comes from the environment, then from the catalog.
        catalog: Facts other than the built-in ones; see `load_catalog`.
        session: An aiohttp session of the application's, used when the provider is entered on its own.
        http: How bytes move, when the provider is entered on its own.
        runtime: Clock, sleep, randomness and threads; for tests.
    """

    PROVIDER_NAME: ClassVar[str] = ""

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        catalog: Catalog | None = None,
        session: aiohttp.ClientSession | None = None,
        http: Http | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._config = config = hide(config)
        self._catalog = catalog
        self._session = session
        self._http = http
        self._own_runtime = runtime or Runtime()
        self._own_context: ProviderContext | None = None
        self._context: ProviderContext | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.PROVIDER_NAME!r}>"

    # What a provider must say for itself.

    @abstractmethod
    def supports_model(self, model: str, mode: BatchMode | None = None) -> bool:
        """Whether the model can be batched, in the given mode; from the catalog, without asking anybody."""

    @abstractmethod
    async def prepare_payloads(
        self,
        *,
        batch_id: UUID,
        model: str,
        mode: BatchMode,
        requests: Requests,
        endpoint: str | None = None,
        wire_ids: WireIds = "own",
        on_reject: RejectHook | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> list[PreparedSubmission]:
        """Check requests and make them submissions, ready to send; nothing is sent.

        Args:
            batch_id: The caller's own UUID for the job.
            model: The model of every request.
            mode: What the requests ask for.
            requests: A list, an iterator or an async iterator of prompts, bodies, Structs or ready rows; read to its end.
            endpoint: The path, for mode CUSTOM.
            wire_ids: `"own"` sends the requests' ids; `"minted"` sends ours, which fit every provider.
            on_reject: Hears of each bad row, and the others go on; without it, bad rows are an error.
            options: Further words for the create call.

        Raises:
            InvalidRequestsError: A row cannot be sent, or there is none.
            ConfigError: The model, the mode or the endpoint is not known.
        """

    @abstractmethod
    async def submit(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        """Send a submission: `create(await upload(submission))`. The create is sent exactly once.

        Raises:
            SubmissionUnknownError: It may or may not have been accepted.
            ProviderTransientError: It was not accepted; it may be tried again.
            ProviderPermanentError: It was refused.
        """

    @abstractmethod
    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        """Ask where a batch stands; safe to repeat."""

    @abstractmethod
    def fetch_results(self, provider_batch_id: str) -> AsyncIterable[ProviderResultRow]:
        """Give the answers of a batch that is over: every result location, in every terminal state."""

    @abstractmethod
    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        """Ask for the end of a batch. The truth comes from polling; answers that exist are kept."""

    # What has a default.

    async def upload(self, submission: PreparedSubmission) -> PreparedSubmission:
        """Send the input and give the submission with its `input_ref`; may be repeated. Inline providers have nothing to do."""
        return submission

    async def create(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        """Send exactly one create request; never repeated by itself. Raises as `submit` does."""
        return await self.submit(submission)

    async def fence(self, submission: PreparedSubmission) -> bool:
        """Make a late create of this submission fail. False: this provider has no means to."""
        del submission
        return False

    async def find_submissions(self, submission: PreparedSubmission, *, since: float) -> list[Match]:
        """Look for batches at the provider that may be this submission, created at `since` (Unix seconds) or later."""
        del submission, since
        return []

    async def find_submission(self, submission: PreparedSubmission, *, since: float) -> Match | None:
        """Give the one batch that is certainly this submission, or None.

        Raises:
            AmbiguousSubmissionError: Several may be, or one may be and is not certain.
        """
        matches = await self.find_submissions(submission, since=since)
        certain = [match for match in matches if match.is_certain]
        if len(certain) == 1:
            return certain[0]
        if not matches:
            return None
        found = ", ".join(match.provider_batch_id for match in matches)
        message = f"{self.PROVIDER_NAME}: {len(matches)} batches may be this submission: {found}"
        raise AmbiguousSubmissionError(
            message, provider=self.PROVIDER_NAME, code="ambiguous", hint="look at them yourself"
        )

    async def list_statuses(self, *, cursor: str | None = None, limit: int | None = None) -> StatusPage:
        """Give a page of this account's batches, newest first; the caller walks with the page's cursor."""
        del cursor, limit
        message = f"{self.PROVIDER_NAME} has no list of batches"
        raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="unsupported")

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete a batch's input and output files at the provider; gives how many. Never done unasked."""
        del provider_batch_id
        return 0

    def submit_safety(self, submission: PreparedSubmission | None = None) -> SubmitSafety:
        """How surely a lost create can be found again."""
        del submission
        return self.facts.submit_safety if self.has_facts else SubmitSafety.NONE

    def classify_error(self, code: str | None) -> ErrorClass:
        """What the code of a failed batch, or of a row that never ran, means for the work behind it."""
        return self.facts.classify_batch_error(code) if self.has_facts else ErrorClass.PERMANENT

    # What a provider works with.

    @property
    def runtime(self) -> Runtime:
        return self._context.runtime if self._context else self._own_runtime

    @cached_property
    def catalog(self) -> Catalog:
        """The facts about every provider; this one's own YAML stands beside its module."""
        catalog = self._catalog or (self._context.catalog if self._context else load_catalog())
        if self.PROVIDER_NAME in catalog.names():
            return catalog
        own = self._own_yaml()
        return catalog if own is None else catalog.with_facts(own.read_text("utf-8"), file=own.name)

    @cached_property
    def has_facts(self) -> bool:
        """Whether there is a YAML about this provider; a class of six methods needs none."""
        return self.PROVIDER_NAME in self.catalog.names()

    @cached_property
    def facts(self) -> ProviderFacts:
        return self.catalog.provider(self.PROVIDER_NAME)

    @cached_property
    def account(self) -> Account:
        """Whose key pays; raises `MissingCredentialsError` where there is none."""
        return resolve_account(self.facts, self.catalog.settings(self.PROVIDER_NAME), self._argument)

    @cached_property
    def transport(self) -> Transport:
        context = self._use_context()
        return Transport(
            sessions=context.sessions,
            runtime=context.runtime,
            facts=self.facts,
            origin=self.account.origin,
            retry=context.retry,
        )

    @property
    def poll_floor_s(self) -> float:
        """Seconds the provider wants between two questions about one batch."""
        return self.facts.polling.min_interval_s if self.has_facts else 0.0

    def path(self, template: str, *ids: str) -> str:
        """Put ids that came from a server into a path; one that could steer the path elsewhere is refused."""
        for value in ids:
            if not _PLAIN_ID.fullmatch(value):
                message = f"{self.PROVIDER_NAME}: {value!r} is no id of a batch or file"
                raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="bad_id")
        return template.format(*(quote(value, safe=":") for value in ids))

    def new_file(self) -> SpoolFile:
        """Give an empty body of this provider's scope."""
        return self._use_context().space.new()

    def check_model(self, model: str, mode: BatchMode) -> None:
        """Refuse a model that no pattern matches, with the lines of YAML that would allow it."""
        if self._allows_unknown_model or self.supports_model(model, mode):
            return
        if self.has_facts and self.facts.model(model) is not None:
            has = ", ".join(item.value for item in BatchMode if self.supports_model(model, item))
            message = f"{self.PROVIDER_NAME}: {model!r} has no mode {mode.value}"
            raise ConfigError(message, code="mode.unsupported", hint=f"it has {has}")
        hint = unknown_model_hint(self.facts, model, mode) if self.has_facts else None
        message = f"{self.PROVIDER_NAME}: no model of the catalog is called {model!r}"
        raise ConfigError(message, code="model.unknown", hint=hint)

    def mode_for(self, model: str, mode: BatchMode | str | None = None, endpoint: str | None = None) -> BatchMode:
        """Give the mode: the caller's, else what the endpoint serves, else what the model can do, chat first."""
        if mode is not None:
            try:
                return BatchMode(mode.lower())
            except ValueError:
                known = ", ".join(item.value for item in BatchMode)
                raise ConfigError(f"{mode!r} is no mode", code="mode.unknown", hint=f"there are {known}") from None
        if endpoint is not None:
            serves = self.facts.endpoint_for(BatchMode.CUSTOM, endpoint).mode if self.has_facts else BatchMode.CUSTOM
            return serves if self.supports_model(model, serves) else BatchMode.CUSTOM
        can = (item for item in BatchMode if item is not BatchMode.CUSTOM and self.supports_model(model, item))
        return next(can, BatchMode.CHAT)

    async def cut(
        self,
        requests: Requests,
        rules: IntakeRules,
        *,
        batch_id: UUID,
        model: str,
        endpoint: str,
        on_reject: RejectHook | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> list[PreparedSubmission]:
        """Read requests to their end and cut them into submissions; what `prepare_payloads` of most providers comes down to."""
        intake = await take_in(requests, rules, self._use_context().space, on_reject)
        frame = PreparedSubmission(
            batch_id=batch_id,
            provider_name=self.PROVIDER_NAME,
            model=model,
            mode=rules.mode,
            endpoint=endpoint,
            wire_prefix=rules.wire_prefix,
            options=dict(options or {}),
        )
        return await self.runtime.offload(_submissions, intake, frame)

    async def discard(self, submissions: Sequence[PreparedSubmission]) -> None:
        """Give the disk space of submissions back that will not be sent any more."""
        for submission in submissions:
            if submission.spool is not None:
                await submission.spool.discard()

    # Where it lives.

    def attach(self, context: ProviderContext) -> Self:
        """Join a scope; called by the registry."""
        self._context = context
        return self

    async def __aenter__(self) -> Self:
        if self._context is None:
            context = self._use_context()
            await context.sessions.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what this provider opened for itself, even if we are cancelled meanwhile; a scope's connections stay open."""
        context, self._own_context = self._own_context, None
        vars(self).pop("transport", None)
        if context is not None:
            with anyio.CancelScope(shield=True):
                await context.sessions.close()
                await context.space.discard()

    def _use_context(self) -> ProviderContext:
        if self._context is not None:
            return self._context
        if self._own_context is None:
            runtime = self._own_runtime
            self._own_context = ProviderContext(
                sessions=Sessions(self._http, self._session),
                runtime=runtime,
                space=SpoolSpace(runtime),
                catalog=self.catalog,
            )
        return self._own_context

    @cached_property
    def _argument(self) -> ProviderSettings:
        return settings_from_config(self._config, self.facts)

    @property
    def _allows_unknown_model(self) -> bool:
        if not self.has_facts:
            return False
        return self._argument.allow_unknown_model or self.catalog.settings(self.PROVIDER_NAME).allow_unknown_model

    def _own_yaml(self) -> Path | None:
        """Give the YAML beside the class's module; None where there is none, or no file at all (an interpreter's prompt)."""
        source = getattr(sys.modules.get(type(self).__module__), "__file__", None)
        path = Path(source).with_name(f"{self.PROVIDER_NAME}.yaml") if source else None
        return path if path is not None and path.is_file() else None


def _submissions(intake: Intake, frame: PreparedSubmission) -> list[PreparedSubmission]:
    """Make each cut a submission. Blocks: small ones get their payloads in memory."""
    submissions: list[PreparedSubmission] = []
    for index, chunk in enumerate(intake.chunks):
        view = intake.file.view(chunk.offset, chunk.size)
        lines = view.read().rstrip(b"\n").split(b"\n") if intake.file.path is None else ()
        submissions.append(
            frame.replace(
                payloads=tuple(msgspec.Raw(line) for line in lines),
                spool=view,
                chunk_index=index,
                total_chunks=len(intake.chunks),
                request_ids=RequestIds(intake.ids, chunk.first_row, chunk.rows),
                request_count=chunk.rows,
                first_row=chunk.first_row,
            )
        )
    return submissions
