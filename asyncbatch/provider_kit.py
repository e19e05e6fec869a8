"""What a provider works with: its facts, its account, its transport, and the scope that it lives in.

The contract itself stands in `base_provider.py`; nothing here knows what a batch is.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias
from uuid import UUID

import aiohttp
import msgspec

from asyncbatch.accounts import Account, options_of, resolve_account, settings_from_config
from asyncbatch.catalog import Catalog, ProviderFacts, ProviderSettings, load_catalog
from asyncbatch.dto import PreparedSubmission
from asyncbatch.exceptions import BAD_ID, ConfigError, ProviderPermanentError, RowProblem
from asyncbatch.intake import Intake, IntakeRules, take_in
from asyncbatch.planning.retry import Retry
from asyncbatch.pulling import Requests
from asyncbatch.request_ids import RequestIds
from asyncbatch.runtime import Runtime, finish
from asyncbatch.secrecy import OfThisProcess, hide
from asyncbatch.spool import SpoolFile, SpoolSpace
from asyncbatch.transport import Http, Sessions, Transport

RejectHook: TypeAlias = Callable[[RowProblem], None]
"""Hears of each row that cannot be sent; called in a thread."""

_SHOWN = 80
"""Letters of a name that is none."""
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}")


class ProviderContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a scope lends to its providers: connections, runtime, a place for large bodies, facts."""

    sessions: Sessions
    runtime: Runtime
    space: SpoolSpace
    catalog: Catalog
    retry: Retry = Retry()

    async def aclose(self) -> None:
        """Close the connections and remove the bodies, whatever cancels us meanwhile; harmless when repeated."""
        await finish(self.sessions.close, self.space.discard)


class ProviderKit(OfThisProcess):
    """The tools of one provider for one account; see `BaseBatchProvider` for the arguments."""

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
        if own is None:
            return catalog
        file = f"{own.parent.name}/{own.name}"
        whole = catalog.with_facts(own.read_text("utf-8"), file=file)
        if self.PROVIDER_NAME not in whole.names():
            message = f"{file}: name: expected {self.PROVIDER_NAME!r}, the PROVIDER_NAME of {type(self).__name__}"
            raise ConfigError(message, code="config.invalid")
        return whole

    @cached_property
    def has_facts(self) -> bool:
        """Whether there is a YAML about this provider; a class of six methods needs none."""
        return self.PROVIDER_NAME in self.catalog.names()

    @cached_property
    def facts(self) -> ProviderFacts:
        if not self.has_facts:
            message = f"there are no facts about a provider {self.PROVIDER_NAME!r}"
            hint = f"{self.PROVIDER_NAME}.yaml is read from beside the module {type(self).__module__}"
            raise ConfigError(message, code="provider.unknown", hint=hint)
        return self.catalog.provider(self.PROVIDER_NAME)

    @cached_property
    def account(self) -> Account:
        """Whose key pays; raises `MissingCredentialsError` where there is none."""
        argument = self._argument
        given = [name for name in ("api_key", "base_url") if getattr(argument, name)]
        given += ["api_key"] if argument.source is not None else []
        file = self.catalog.settings(self.PROVIDER_NAME, given=[*given, *argument.options])
        return resolve_account(self.facts, file, argument)

    def take_tokens_of(self, other: "ProviderKit") -> None:
        """Ask for tokens where the same account says now that they come from; what gave them before may be closed."""
        mine, theirs = self.account.origin.tokens, other.account.origin.tokens
        if mine is not None and theirs is not None:
            mine.take_source_of(theirs)

    @cached_property
    def account_options(self) -> Mapping[str, str]:
        """The account's further settings, which are known without its key."""
        argument = self._argument
        given = ("api_key", "base_url", "headers", *argument.options)
        file = self.catalog.settings(self.PROVIDER_NAME, given=given)
        return options_of(self.facts, file, argument)

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

    @property
    def rests_until(self) -> float:
        """When the account has requests again, Unix seconds, by what its answers say; 0 where they say nothing."""
        transport: Transport | None = vars(self).get("transport")
        return 0.0 if transport is None else transport.rests_until

    @property
    def window_s(self) -> float | None:
        """Seconds in which the provider promises to end a batch; None where it promises nothing."""
        return float(self.facts.window_s) if self.has_facts else None

    def path(self, template: str, *ids: str) -> str:
        """Put ids that came from a server into a path; one that could steer the path elsewhere is refused."""
        for value in ids:
            if not _PLAIN_ID.fullmatch(value):
                shown = "an address" if "://" in value else repr(value[:_SHOWN])  # a signed one is a key
                message = f"{self.PROVIDER_NAME}: {shown} is no id of a batch or file"
                raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code=BAD_ID)
        return template.format(*ids)  # of such characters none has to be quoted

    def new_file(self) -> SpoolFile:
        """Give an empty body of this provider's scope."""
        return self._use_context().space.new()

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
        try:
            return await self.runtime.offload(_submissions, intake, frame)
        except BaseException:
            await finish(intake.discard)
            raise

    async def respooled(self, submission: PreparedSubmission, remake: Callable[[bytes], bytes]) -> PreparedSubmission:
        """Give a small submission, which lies in memory, with every line made anew; the former body is given back."""
        former = submission.spool
        if former is None or not submission.payloads:
            return submission
        lines = [remake(bytes(line)) for line in submission.payloads]
        file = self.new_file()
        await self.runtime.offload(file.append, b"".join(line + b"\n" for line in lines))
        await former.discard()
        return submission.replace(spool=file.view(), payloads=tuple(msgspec.Raw(line) for line in lines))

    async def discard(self, submissions: Sequence[PreparedSubmission]) -> None:
        """Give the disk space of submissions back that will not be sent any more; their ids go with the last of a job."""
        for submission in submissions:
            if submission.spool is not None:
                await submission.spool.discard()
            if isinstance(submission.request_ids, RequestIds):
                await submission.request_ids.discard()

    # Where it lives.

    def attach(self, context: ProviderContext) -> Self:
        """Join a scope; called by the registry."""
        self._context = context
        return self

    async def __aenter__(self) -> Self:
        if self._context is None:
            context = self._use_context()
            await context.sessions.open(context.runtime)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what this provider opened for itself, whatever cancels us meanwhile; a scope's connections stay open."""
        if self._own_context is not None:
            await finish(partial(self._close, self._own_context))

    async def _close(self, context: ProviderContext) -> None:
        await context.aclose()
        if self._own_context is context:
            self._own_context = None
            vars(self).pop("transport", None)

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
        secrets = ("api_key", "base_url", "headers", *self.facts.options)  # not asked for here, and perhaps not there
        file = self.catalog.settings(self.PROVIDER_NAME, given=secrets)
        return self._argument.allow_unknown_model or file.allow_unknown_model

    def _own_yaml(self) -> Path | None:
        """Give the YAML beside the class's module, or beside that of a class it derives from; None where there is none."""
        for kind in type(self).__mro__:
            source = getattr(sys.modules.get(kind.__module__), "__file__", None)  # an interpreter's prompt has none
            path = Path(source).with_name(f"{self.PROVIDER_NAME}.yaml") if source else None
            if path is not None and path.is_file():
                return path
        return None


def _submissions(intake: Intake, frame: PreparedSubmission) -> list[PreparedSubmission]:
    """Make each cut a submission. Blocks: small ones get their payloads in memory."""
    submissions: list[PreparedSubmission] = []
    frame = frame.replace(refused_rows=intake.refused, dropped=intake.dropped, digest=intake.digest)
    for index, chunk in enumerate(intake.chunks):
        view = intake.file.view(chunk.offset, chunk.size)
        lines = view.read().rstrip(b"\n").split(b"\n") if intake.file.path is None else ()
        submissions.append(
            frame.replace(
                payloads=tuple(map(msgspec.Raw, lines)),
                spool=view,
                chunk_index=index,
                total_chunks=len(intake.chunks),
                request_ids=RequestIds(intake.ids, chunk.first_row, chunk.rows),
                request_count=chunk.rows,
                first_row=chunk.first_row,
            )
        )
    return submissions
