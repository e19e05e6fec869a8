"""asyncbatch: the batch client you can put inside a web server.

One asyncio-native interface over every LLM provider's batch API: nothing accepted is lost, nothing is paid for twice, every
request ends in exactly one outcome. The names below are the public face; each is imported on its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncbatch._version import __version__ as __version__
    from asyncbatch.base_provider import BaseBatchProvider, ResultStream
    from asyncbatch.catalog import Catalog, load_catalog, normalize_provider_status
    from asyncbatch.client import BatchClient
    from asyncbatch.dto import (
        BatchErrorItem,
        FilePage,
        Match,
        PreparedSubmission,
        Progress,
        ProviderResultRow,
        ProviderStatus,
        ProviderSubmitResult,
        RemoteFile,
        RowError,
        StatusPage,
        ToolCall,
        UsageInfo,
    )
    from asyncbatch.engine.webhooks import WebhookReceipt
    from asyncbatch.enums import BatchMode, BatchStatus, ErrorClass, InputMode, ResultStatus, SubmitSafety
    from asyncbatch.exceptions import (
        AmbiguousSubmissionError,
        AsyncBatchError,
        BudgetExceededError,
        ClientClosedError,
        ConfigError,
        InvalidRequestsError,
        JournalError,
        MissingCredentialsError,
        PollerClosedError,
        ProviderError,
        ProviderNotRegisteredError,
        ProviderPermanentError,
        ProviderTransientError,
        RowProblem,
        ScopeError,
        StorageError,
        SubmissionUnknownError,
    )
    from asyncbatch.job import BatchView, Job, JobStatus
    from asyncbatch.job_events import JobEvent
    from asyncbatch.job_pages import JobPage
    from asyncbatch.planning.budgets import AccountUsage
    from asyncbatch.planning.recovery import Recovery
    from asyncbatch.planning.retry import Patience, Retry
    from asyncbatch.planning.room import AccountLimits
    from asyncbatch.planning.schedule import Polling
    from asyncbatch.planning.tidying import Orphan, Orphans, Tidied
    from asyncbatch.poller import BatchHandle, BatchPoller
    from asyncbatch.registry import BatchProviderRegistry, RegistryScope, batch_provider_registry
    from asyncbatch.runtime import Runtime
    from asyncbatch.signed_post import SignedPost
    from asyncbatch.transport import Http
    from asyncbatch.watching.events import (
        AccountChanged,
        BatchEnded,
        BatchFetched,
        BatchGivenUp,
        BatchOverdue,
        BatchProgressed,
        BatchSubmitted,
        BatchUnreadable,
        EventReader,
        EventsMissed,
        SubmissionFailed,
    )
    from asyncbatch.watching.statistics import AccountStatistics, PollStatistics
    from asyncbatch.wire_provider import WireProvider

__all__ = [
    "AccountChanged",
    "AccountLimits",
    "AccountStatistics",
    "AccountUsage",
    "AmbiguousSubmissionError",
    "AsyncBatchError",
    "BaseBatchProvider",
    "BatchClient",
    "BatchEnded",
    "BatchErrorItem",
    "BatchFetched",
    "BatchGivenUp",
    "BatchHandle",
    "BatchMode",
    "BatchOverdue",
    "BatchPoller",
    "BatchProgressed",
    "BatchProviderRegistry",
    "BatchStatus",
    "BatchSubmitted",
    "BatchUnreadable",
    "BatchView",
    "BudgetExceededError",
    "Catalog",
    "ClientClosedError",
    "ConfigError",
    "ErrorClass",
    "EventReader",
    "EventsMissed",
    "FilePage",
    "Http",
    "InputMode",
    "InvalidRequestsError",
    "Job",
    "JobEvent",
    "JobPage",
    "JobStatus",
    "JournalError",
    "Match",
    "MissingCredentialsError",
    "Orphan",
    "Orphans",
    "Patience",
    "PollStatistics",
    "PollerClosedError",
    "Polling",
    "PreparedSubmission",
    "Progress",
    "ProviderError",
    "ProviderNotRegisteredError",
    "ProviderPermanentError",
    "ProviderResultRow",
    "ProviderStatus",
    "ProviderSubmitResult",
    "ProviderTransientError",
    "Recovery",
    "RegistryScope",
    "RemoteFile",
    "ResultStatus",
    "ResultStream",
    "Retry",
    "RowError",
    "RowProblem",
    "Runtime",
    "ScopeError",
    "SignedPost",
    "StatusPage",
    "StorageError",
    "SubmissionFailed",
    "SubmissionUnknownError",
    "SubmitSafety",
    "Tidied",
    "ToolCall",
    "UsageInfo",
    "WebhookReceipt",
    "WireProvider",
    "batch_provider_registry",
    "load_catalog",
    "normalize_provider_status",
]

_WHERE = {
    "_version": ("__version__",),
    "base_provider": ("BaseBatchProvider", "ResultStream"),
    "catalog": ("Catalog", "load_catalog", "normalize_provider_status"),
    "client": ("BatchClient",),
    "dto": (
        "BatchErrorItem",
        "FilePage",
        "Match",
        "PreparedSubmission",
        "Progress",
        "ProviderResultRow",
        "ProviderStatus",
        "ProviderSubmitResult",
        "RemoteFile",
        "RowError",
        "StatusPage",
        "ToolCall",
        "UsageInfo",
    ),
    "engine.webhooks": ("WebhookReceipt",),
    "enums": ("BatchMode", "BatchStatus", "ErrorClass", "InputMode", "ResultStatus", "SubmitSafety"),
    "exceptions": (
        "AmbiguousSubmissionError",
        "AsyncBatchError",
        "BudgetExceededError",
        "ClientClosedError",
        "ConfigError",
        "InvalidRequestsError",
        "JournalError",
        "MissingCredentialsError",
        "PollerClosedError",
        "ProviderError",
        "ProviderNotRegisteredError",
        "ProviderPermanentError",
        "ProviderTransientError",
        "RowProblem",
        "ScopeError",
        "StorageError",
        "SubmissionUnknownError",
    ),
    "job": ("BatchView", "Job", "JobStatus"),
    "job_events": ("JobEvent",),
    "job_pages": ("JobPage",),
    "planning.budgets": ("AccountUsage",),
    "planning.recovery": ("Recovery",),
    "planning.retry": ("Patience", "Retry"),
    "planning.room": ("AccountLimits",),
    "planning.schedule": ("Polling",),
    "planning.tidying": ("Orphan", "Orphans", "Tidied"),
    "poller": ("BatchHandle", "BatchPoller"),
    "registry": ("BatchProviderRegistry", "RegistryScope", "batch_provider_registry"),
    "runtime": ("Runtime",),
    "signed_post": ("SignedPost",),
    "transport": ("Http",),
    "watching.events": (
        "AccountChanged",
        "BatchEnded",
        "BatchFetched",
        "BatchGivenUp",
        "BatchOverdue",
        "BatchProgressed",
        "BatchSubmitted",
        "BatchUnreadable",
        "EventReader",
        "EventsMissed",
        "SubmissionFailed",
    ),
    "watching.statistics": ("AccountStatistics", "PollStatistics"),
    "wire_provider": ("WireProvider",),
}
_MODULES = {name: f"asyncbatch.{module}" for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'asyncbatch' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
