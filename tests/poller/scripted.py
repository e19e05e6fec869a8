"""A provider of six methods whose batches live as a script says: no YAML, no network, one question a step."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from asyncbatch.base_provider import BaseBatchProvider
from asyncbatch.dto import PreparedSubmission, ProviderResultRow, ProviderStatus, ProviderSubmitResult
from asyncbatch.enums import BatchStatus, ResultStatus


class ScriptedProvider(BaseBatchProvider):
    """Each batch gives the steps of its life one by one: a status, an error to raise, or a function; the last repeats."""

    PROVIDER_NAME = "scripted"

    def __init__(self, config: Any = None, *, lives: Mapping[str, Sequence[Any]] | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self.lives = {name: list(life) for name, life in (lives or {}).items()}
        self.asked: list[tuple[str, float]] = []

    def times(self, name: str) -> list[float]:
        return [at for asked, at in self.asked if asked == name]

    def supports_model(self, model: str, mode: Any = None) -> bool:
        return model == "any"

    async def prepare_payloads(self, *, batch_id: Any, model: str, mode: Any, requests: Any, **more: Any) -> Any:
        return [
            PreparedSubmission(
                batch_id=batch_id,
                provider_name=self.PROVIDER_NAME,
                model=model,
                mode=mode,
                endpoint="",
                request_ids=[str(number) for number, _ in enumerate(requests)],
            )
        ]

    async def submit(self, submission: PreparedSubmission) -> ProviderSubmitResult:
        name = f"batch-{uuid4().hex}"
        self.lives[name] = [BatchStatus.IN_PROGRESS, BatchStatus.COMPLETED]
        return ProviderSubmitResult(provider_batch_id=name, status=BatchStatus.VALIDATING)

    async def poll_status(self, provider_batch_id: str) -> ProviderStatus:
        self.asked.append((provider_batch_id, self.runtime.now()))
        life = self.lives[provider_batch_id]
        step = life.pop(0) if len(life) > 1 else life[0]
        if callable(step) and not isinstance(step, type):
            step = await step()
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, ProviderStatus):
            return step
        return ProviderStatus(provider_batch_id=provider_batch_id, status=step, raw_status=step.value)

    async def fetch_results(self, provider_batch_id: str) -> Any:
        for number in range(2):
            yield ProviderResultRow(request_id=str(number), status=ResultStatus.SUCCEEDED)

    async def cancel(self, provider_batch_id: str) -> ProviderStatus:
        self.lives[provider_batch_id] = [BatchStatus.CANCELLED]
        return ProviderStatus(provider_batch_id=provider_batch_id, status=BatchStatus.CANCELLING)
