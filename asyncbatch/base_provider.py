"""BaseBatchProvider: what every provider promises, and what it gets for nothing.

Six methods are the specification; a class with only these, and a `PROVIDER_NAME`, registers and works. The rest has a default
here. A provider can be used alone (`async with OpenAIBatchProvider(config=…) as provider`) or through a registry scope.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Collection, Mapping
from typing import Any, Literal, TypeAlias
from uuid import UUID

from asyncbatch.catalog import unknown_model_hint
from asyncbatch.codec.rows import OPENAI_URLS
from asyncbatch.dto import (
    FilePage,
    Match,
    PreparedSubmission,
    ProviderResultRow,
    ProviderStatus,
    ProviderSubmitResult,
    StatusPage,
)
from asyncbatch.enums import BatchMode, ErrorClass, InputChoice, OnUnsupported, SubmitSafety
from asyncbatch.exceptions import (
    AmbiguousSubmissionError,
    ConfigError,
    ProviderPermanentError,
)
from asyncbatch.intake import IntakeRules
from asyncbatch.provider_kit import ProviderContext, ProviderKit, RejectHook
from asyncbatch.pulling import Requests
from asyncbatch.result_stream import Downloaded, ResultStream
from asyncbatch.transport import Profile

__all__ = [
    "BaseBatchProvider",
    "Downloaded",
    "InputChoice",
    "IntakeRules",
    "OnUnsupported",
    "Profile",
    "ProviderContext",
    "RejectHook",
    "Requests",
    "ResultStream",
    "WireIds",
]

WireIds: TypeAlias = Literal["own", "minted"]
"""Whose ids travel: the requests' own, or ours, which every provider takes."""


class BaseBatchProvider(ProviderKit, ABC):
    """One provider, one account.

    Args:
        config: `api_key`, `base_url`, `headers`, `allow_unknown_model`, `allow_http`, and the provider's own options, such as
            `organization`. What is absent comes from the environment, then from the catalog. `api_key` may be an async
            function that gives a token.
        catalog: Facts other than the built-in ones; see `load_catalog`.
        session: An aiohttp session of the application's, used when the provider is entered on its own.
        http: How bytes move, when the provider is entered on its own.
        runtime: Clock, sleep, randomness and threads; for tests.
    """

    # What a provider must say for itself.

    @abstractmethod
    def supports_model(self, model: str, mode: BatchMode | None = None) -> bool:
        """Whether the model can be batched, in the given mode; from the catalog, without asking anybody."""

    @abstractmethod
    async def prepare_payloads(  # noqa: PLR0913 each is the caller's choice, and has a default
        self,
        *,
        batch_id: UUID,
        model: str,
        mode: BatchMode,
        requests: Requests,
        endpoint: str | None = None,
        wire_ids: WireIds = "own",
        on_reject: RejectHook | None = None,
        on_unsupported: OnUnsupported = "error",
        input_mode: InputChoice = "auto",
        options: Mapping[str, Any] | None = None,
        replace_model: bool = False,
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
            on_unsupported: `"drop"` sends requests without what the provider cannot express, and says what was left out.
            input_mode: How requests travel, where the provider knows several ways.
            options: Further words for the create call, and two of ours: `input_expires_s` and `output_expires_s`, the seconds
                that files may stay at the provider.
            replace_model: Send requests that name another model to this one; without it, they are refused.

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
        """Ask for the end of a batch. The truth comes from polling; answers that exist are kept.

        Raises:
            ProviderPermanentError: With code `cancel.unsupported`: this provider cannot, and asking again is of no use.
        """

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

    async def poll_page(self, *, cursor: str | None = None) -> StatusPage:
        """Give a page of `list_page_size` batches to the poller: as `list_statuses`, but asked for once, as a poll is."""
        return await self.list_statuses(cursor=cursor)

    @property
    def has_list(self) -> bool:
        """Whether `list_statuses` gives anything."""
        return type(self).list_statuses is not BaseBatchProvider.list_statuses

    @property
    def list_page_size(self) -> int:
        """Batches on a page of the list."""
        most = self.facts.limits.list_page if self.has_facts else None
        return int(most.value) if most is not None else 100

    @property
    def is_list_whole(self) -> bool:
        """Whether the list says of a batch that is over all that `poll_status` does; else each end is asked about once more."""
        return self.has_facts and self.facts.polling.is_list_whole

    # What lies at the provider, and goes when somebody asks for it.

    async def delete_artifacts(self, provider_batch_id: str) -> int:
        """Delete the input and the answers of a batch that is over; gives how many things were there. Never done unasked.

        What is gone already is as good, so it may be repeated.

        Raises:
            ProviderTransientError: With code `not_ended`: it still runs.
        """
        del provider_batch_id
        return 0

    async def delete_file(self, ref: str) -> bool:
        """Delete a file, such as an `input_ref`; gives whether it was there. Never done unasked."""
        del ref
        return False

    async def list_files(self, *, cursor: str | None = None, limit: int | None = None) -> FilePage:
        """Give a page of the files of this account that batches read or write; the caller walks with the page's cursor."""
        del cursor, limit
        message = f"{self.PROVIDER_NAME} has no list of files"
        raise ProviderPermanentError(message, provider=self.PROVIDER_NAME, code="unsupported")

    async def list_models(self) -> tuple[str, ...] | None:
        """Name the models that this account may ask for, by the provider's own list; None where it has none."""
        return None

    @property
    def has_tags(self) -> bool:
        """Whether `tag_of` tells which batches are ours."""
        return self.submit_safety() not in (SubmitSafety.INFERRED, SubmitSafety.NONE)

    @property
    def names_inputs(self) -> bool:
        """Whether a batch of the list says, from its first moment, which file it is made of (`input_ref`)."""
        return False

    def tag_of(self, status: ProviderStatus) -> str | None:
        """Give what stands in a batch's place for our tag; None where there is nothing, or no such place."""
        del status
        return None

    def is_left(self, status: ProviderStatus, files: Collection[str]) -> bool:
        """Whether anything of a batch that is over is left for `delete_artifacts`, where these files are all there are."""
        del status, files
        return True

    # What the engine asks.

    def submit_safety(self, submission: PreparedSubmission | None = None) -> SubmitSafety:
        """How surely a lost create can be found again."""
        del submission
        return self.facts.submit_safety if self.has_facts else SubmitSafety.NONE

    def classify_error(self, code: str | None) -> ErrorClass:
        """What the code of a failed batch, or of a row that never ran, means for the work behind it."""
        return self.facts.classify_batch_error(code) if self.has_facts else ErrorClass.PERMANENT

    def check_model(self, model: str, mode: BatchMode) -> None:
        """Refuse a model that no pattern matches, with the lines of YAML that would allow it."""
        if self._allows_unknown_model or self.supports_model(model, mode):
            return
        if self.has_facts and self.facts.model(model) is not None:
            has = ", ".join(item.value for item in BatchMode if self.supports_model(model, item))
            message = f"{self.PROVIDER_NAME}: {model!r} has no mode {mode.value}"
            raise ConfigError(message, code="mode.unsupported", hint=f"it has {has}")
        hint = unknown_model_hint(self.facts, model, mode) if self.has_facts else None
        message = f"{self.PROVIDER_NAME}: no model of the catalog is called {model!r}; allow_unknown_model=True sends it anyway"
        raise ConfigError(message, code="model.unknown", hint=hint)

    def mode_for(self, model: str, mode: BatchMode | str | None = None, endpoint: str | None = None) -> BatchMode:
        """Give the mode: the caller's, else what the endpoint serves, else what the model can do, chat first."""
        if mode is not None:
            try:
                return BatchMode(str(mode).lower())
            except ValueError:
                known = ", ".join(item.value for item in BatchMode)
                raise ConfigError(f"{mode!r} is no mode", code="mode.unknown", hint=f"there are {known}") from None
        if endpoint is not None:
            serves = self.facts.endpoint_for(BatchMode.CUSTOM, endpoint).mode if self.has_facts else BatchMode.CUSTOM
            # A path of the provider's own, rather than OpenAI's for the mode, says that the bodies are its own as well.
            is_ours = OPENAI_URLS.get(serves) == endpoint and self.supports_model(model, serves)
            return serves if is_ours else BatchMode.CUSTOM
        can = (item for item in BatchMode if item is not BatchMode.CUSTOM and self.supports_model(model, item))
        return next(can, BatchMode.CHAT)
