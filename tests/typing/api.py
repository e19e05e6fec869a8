"""Typical uses, for the type checkers: checked by mypy and pyright, both strict, and never run."""

from typing import Any, assert_type
from uuid import uuid4

from asyncbatch import (
    BaseBatchProvider,
    BatchClient,
    BatchMode,
    BatchPoller,
    BatchStatus,
    JobPage,
    PreparedSubmission,
    ProviderResultRow,
    ProviderStatus,
    ProviderSubmitResult,
    ResultStatus,
    UsageInfo,
    batch_provider_registry,
    normalize_provider_status,
)
from asyncbatch.providers.openai_provider import OpenAIBatchProvider

REQUESTS: list[dict[str, Any]] = [{"messages": [{"role": "user", "content": "Hello"}]}]


async def the_specified_example() -> None:
    batch_provider_registry.register(OpenAIBatchProvider)
    provider_class = batch_provider_registry.get("openai")
    provider = provider_class(config={"api_key": "your-key"})
    if provider.supports_model("gpt-4.1-mini"):
        submissions = await provider.prepare_payloads(
            batch_id=uuid4(), model="gpt-4.1-mini", mode=BatchMode.CHAT, requests=REQUESTS
        )
        assert_type(submissions, list[PreparedSubmission])


async def a_provider_by_hand(submission: PreparedSubmission) -> None:
    async with batch_provider_registry as registry:
        openai = registry.create("openai")
        assert_type(openai, BaseBatchProvider)
        submitted = await openai.submit(submission)
        assert_type(submitted, ProviderSubmitResult)
        async with BatchPoller() as poller:
            handle = poller.watch(openai, submitted.provider_batch_id)
            assert_type(handle.status, BatchStatus)
            assert_type(await handle, ProviderStatus)
            async for batch in poller.as_completed([handle]):
                async for row in batch.results():
                    assert_type(row, ProviderResultRow)


async def a_job() -> None:
    async with BatchClient() as client:
        job = await client.submit(REQUESTS, model="openai/gpt-4.1-mini")
        await job.submitted()
        async for row in job.results():
            assert_type(row.request_id, str)
            assert_type(row.status, ResultStatus)
            assert_type(row.usage, UsageInfo | None)
        for page in (job.results(after=None), job.results(limit=9), job.results(ordered=True, after="x", limit=9)):
            assert_type(page, JobPage)
            assert_type(await page, list[ProviderResultRow])
            assert_type(page.cursor, str)
        assert_type(await job.result("r"), ProviderResultRow | None)
        async for event in job.stream_events(heartbeat_s=5, last_event_id=None):
            assert_type(event.encode(), bytes)


def a_word_of_the_provider() -> None:
    assert_type(normalize_provider_status("openai", "in_progress"), BatchStatus)
