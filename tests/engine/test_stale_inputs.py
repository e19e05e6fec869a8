"""A provider that deletes uploads after a while: what waited long for its create is uploaded anew."""

import pytest

from asyncbatch import (
    AccountLimits,
    BatchClient,
    BatchProviderRegistry,
    ProviderSubmitResult,
    ProviderTransientError,
    ResultStatus,
)
from tests.engine.six import SixMethods

HOUR_S = 3600


class Forgetful(SixMethods):
    """Keeps an upload for 30 hours, and refuses creates for a while."""

    KEEPS_S = 30 * HOUR_S

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.uploads = []
        self.created_from = []

    async def upload(self, submission):
        self.uploads.append(self.runtime.now())
        return submission.replace(
            input_ref=f"file-{len(self.uploads)}", input_expires_at=self.runtime.now() + self.KEEPS_S
        )

    async def create(self, submission):
        if self.runtime.now() - self.uploads[0] < self.BUSY_S:
            raise ProviderTransientError("too many batches", provider="six", status=429)
        self.created_from.append(submission.input_ref)
        return await self.submit(submission)


@pytest.mark.parametrize(("busy_s", "uploads"), [(HOUR_S, 1), (10 * HOUR_S, 2)])
async def test_an_upload_that_goes_within_a_day_is_made_again_before_the_create(runtime, busy_s, uploads):
    made = []

    class Kept(Forgetful):
        BUSY_S = busy_s

        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    registry = BatchProviderRegistry()
    registry.register(Kept)
    async with BatchClient(runtime=runtime, registry=registry) as client:
        job = await client.submit(["a", "b"], model="six/m")
        status = await job.wait()

    assert status.outcomes[ResultStatus.SUCCEEDED] == 1
    assert len(made[0].uploads) == uploads
    assert made[0].created_from == [f"file-{uploads}"]


async def test_what_is_uploaded_anew_takes_no_room_that_another_has_by_then(runtime):
    class Counted(Forgetful):
        BUSY_S = 6 * HOUR_S  # it has to be uploaded anew by the time it is taken
        open, most = set(), 0

        async def create(self, submission):
            await super().create(submission)
            name = f"b{len(self.created_from)}"
            self.open.add(name)
            Counted.most = max(Counted.most, len(self.open))
            return ProviderSubmitResult(provider_batch_id=name)

        async def poll_status(self, provider_batch_id):
            status = await super().poll_status(provider_batch_id)
            if status.status.is_terminal:
                self.open.discard(provider_batch_id)
            return status

    registry = BatchProviderRegistry()
    registry.register(Counted)
    async with BatchClient(runtime=runtime, registry=registry, limits=AccountLimits(open_batches=1)) as client:
        jobs = [await client.submit(["a", "b"], model="six/m") for _ in range(3)]
        ended = [await job.wait() for job in jobs]

    assert {status.outcomes[ResultStatus.SUCCEEDED] for status in ended} == {1}
    assert Counted.most == 1
