"""The public face: its names are pinned, found on first use, and cost next to nothing to import."""

import inspect
import json
import os
import subprocess
import sys

import pytest

import asyncbatch

NAMES = [
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


def modules_after(statement):
    """Name what a fresh interpreter has loaded after one statement."""
    code = f"import sys; {statement}; import json; print(json.dumps(sorted(sys.modules)))"
    # Without what a coverage run would load into it.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    return set(json.loads(done.stdout))


def test_the_public_names_are_these():
    assert sorted(asyncbatch.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_found_on_first_use_and_says_what_it_is(name):
    value = getattr(asyncbatch, name)

    assert inspect.getdoc(value)
    assert name in dir(asyncbatch)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'BatchManager'"):
        asyncbatch.BatchManager


def test_everything_can_be_imported_by_star():
    space = {}

    exec("from asyncbatch import *", space)

    assert set(NAMES) <= set(space)


def test_importing_the_face_imports_nothing_else():
    loaded = modules_after("import asyncbatch")

    assert "asyncbatch" in loaded
    assert not {name for name in loaded if name.startswith("asyncbatch.")}
    assert not loaded & {"aiohttp", "anyio", "asyncio", "msgspec", "yaml"}


@pytest.mark.parametrize("module", ["asyncbatch.cli", "asyncbatch.testing.plugin"])
def test_the_command_line_and_the_pytest_plugin_load_without_aiohttp(module):
    loaded = modules_after(f"import {module}")

    assert module in loaded
    assert "aiohttp" not in loaded


def test_the_vocabulary_loads_without_the_network_stack():
    loaded = modules_after("from asyncbatch import BatchMode, UsageInfo, normalize_provider_status")

    assert not loaded & {"aiohttp", "anyio", "sqlite3", "click", "rich"}
