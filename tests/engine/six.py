"""A provider of somebody else's, as small as the specification allows."""

from asyncbatch import (
    BaseBatchProvider,
    BatchStatus,
    PreparedSubmission,
    ProviderResultRow,
    ProviderStatus,
    ProviderSubmitResult,
    ResultStatus,
    SubmissionUnknownError,
)


class SixMethods(BaseBatchProvider):
    """A provider of somebody else's: the specification's six methods, no YAML, and a create that is always lost."""

    PROVIDER_NAME = "six"
    LOST = False

    def supports_model(self, model, mode=None):
        return model == "m"

    async def prepare_payloads(self, *, batch_id, model, mode, requests, **_):
        ids = [f"r{number}" for number, _ in enumerate(requests)]
        return [
            PreparedSubmission(
                batch_id=batch_id,
                provider_name="six",
                model=model,
                mode=mode,
                endpoint="/x",
                request_ids=ids,
                request_count=len(ids),
            )
        ]

    async def submit(self, submission):
        if self.LOST:
            raise SubmissionUnknownError("nobody knows", provider="six")
        return ProviderSubmitResult(provider_batch_id="b1")

    async def poll_status(self, provider_batch_id):
        return ProviderStatus(provider_batch_id=provider_batch_id, status=BatchStatus.COMPLETED)

    async def fetch_results(self, provider_batch_id):
        yield ProviderResultRow(request_id="r1", status=ResultStatus.SUCCEEDED)
        yield ProviderResultRow(request_id="stranger", status=ResultStatus.SUCCEEDED)

    async def cancel(self, provider_batch_id):
        return await self.poll_status(provider_batch_id)
