"""Providers of others: the specification's six methods, no more, and the ways in which they fall short."""

import collections

import pytest

from asyncbatch import (
    BatchClient,
    BatchProviderRegistry,
    BatchStatus,
    ConfigError,
    Match,
    Progress,
    ProviderStatus,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.engine.recover import recover
from asyncbatch.journal import Fenced
from asyncbatch.planning.recovery import Recovery
from tests.engine.six import SixMethods


def registry_of(provider_class):
    registry = BatchProviderRegistry()
    registry.register(provider_class)
    return registry


async def run(runtime, provider_class, requests=("a", "b", "c"), **words):
    async with BatchClient(runtime=runtime, registry=registry_of(provider_class)) as client:
        job = await client.submit(list(requests), model="six/m", **words)
        rows = await job.results()
        return rows, job.status()


async def test_a_provider_of_six_methods_runs_jobs(runtime):
    rows, _ = await run(runtime, SixMethods)

    assert collections.Counter(row.status for row in rows) == {ResultStatus.SUCCEEDED: 1, ResultStatus.MISSING: 2}


async def test_a_provider_may_know_only_the_words_of_the_specification(runtime):
    class Terse(SixMethods):
        async def prepare_payloads(self, *, batch_id, model, mode, requests, wire_ids="own"):
            return await super().prepare_payloads(batch_id=batch_id, model=model, mode=mode, requests=requests)

    rows, _ = await run(runtime, Terse)

    assert len(rows) == 3


async def test_submissions_without_a_count_have_as_many_requests_as_ids(runtime):
    class Countless(SixMethods):
        async def prepare_payloads(self, **words):
            return [item.replace(request_count=0) for item in await super().prepare_payloads(**words)]

    rows, status = await run(runtime, Countless)

    assert sorted(row.request_id for row in rows) == ["r0", "r1", "r2"]
    assert status.requests == 3


async def test_submissions_without_ids_have_theirs_minted(runtime):
    class Nameless(SixMethods):
        async def prepare_payloads(self, **words):
            return [item.replace(request_ids=()) for item in await super().prepare_payloads(**words)]

    rows, _ = await run(runtime, Nameless)

    assert sorted(row.request_id for row in rows) == ["0000000", "0000001", "0000002"]


@pytest.mark.parametrize("changes", [{"request_count": 7}, {"request_count": 0, "request_ids": ()}])
async def test_submissions_that_do_not_add_up_are_refused(runtime, changes):
    class Wrong(SixMethods):
        async def prepare_payloads(self, **words):
            return [item.replace(**changes) for item in await super().prepare_payloads(**words)]

    with pytest.raises(ConfigError, match="six: submission 0 has"):
        await run(runtime, Wrong)


async def test_a_reading_that_is_none_at_all_ends_this_watch_and_no_other(runtime):
    class Broken(SixMethods):
        async def poll_status(self, provider_batch_id):
            return None

    registry = registry_of(Broken)
    async with BatchClient(runtime=runtime, registry=registry) as client:
        broken = await client.submit(["a"], model="six/m")
        with pytest.raises(TypeError, match="gave NoneType, no ProviderStatus"):
            await broken.wait()
        registry.register(type("Whole", (SixMethods,), {}), replace=True)
        whole = await client.submit(["a", "b"], model="six/m")
        assert (await whole.wait()).done == 2


async def test_a_socket_that_fails_once_ends_no_watch(runtime):
    readings = iter([OSError("connection reset"), OSError("connection reset")])

    class Flaky(SixMethods):
        async def poll_status(self, provider_batch_id):
            for error in readings:
                raise error
            return await super().poll_status(provider_batch_id)

    _, status = await run(runtime, Flaky)

    assert status.is_over
    assert status.error is None


class Losing(SixMethods):
    """Its creates are lost, its list shows what a test says, and it has a fence."""

    FOUND: tuple = ()
    PROGRESS = Progress()
    creates = 0
    is_fenced = False

    def submit_safety(self, submission=None):
        return SubmitSafety.TAGGED_FENCED

    async def submit(self, submission):
        type(self).creates += 1
        raise SubmissionUnknownError("nobody knows", provider="six")

    async def fence(self, submission):
        type(self).is_fenced = True
        return True

    async def find_submissions(self, submission, *, since):
        if not self.is_fenced:
            return []
        status = ProviderStatus(provider_batch_id="b1", status=BatchStatus.IN_PROGRESS)
        return [Match(provider_batch_id="b1", why="tag", is_certain=True, status=status)]

    async def poll_status(self, provider_batch_id):
        return ProviderStatus(
            provider_batch_id=provider_batch_id, status=BatchStatus.FAILED, raw_status="failed", progress=self.PROGRESS
        )

    async def fetch_results(self, provider_batch_id):
        for row in ():
            yield row


async def test_a_batch_found_after_the_fence_that_ran_something_is_not_bought_again(runtime):
    class Partial(Losing):
        PROGRESS = Progress(total=2, completed=1)

    rows, _ = await run(runtime, Partial, ["a", "b"])

    assert Partial.creates == 1
    assert {row.error.code for row in rows} == {"batch_failed"}


async def test_a_reading_counts_for_the_moment_it_began_at(runtime, clock):
    """A list that takes minutes to answer may show the state of minutes ago."""
    began = []

    class Slow(SixMethods):
        def submit_safety(self, submission=None):
            return SubmitSafety.TAGGED

        async def find_submissions(self, submission, *, since):
            began.append(clock.now())
            clock.advance(400)
            return []

    started = clock.now()
    (submission,) = await Slow().prepare_payloads(batch_id=None, model="m", mode=None, requests=["a"])
    notes = []

    async def before_fence():
        raise AssertionError("it has no fence")

    event = await recover(
        submission,
        started,
        provider=Slow(),
        runtime=runtime,
        policy=Recovery(),
        tell=notes.append,
        before_fence=before_fence,
    )

    assert isinstance(event, Fenced)
    assert began[-1] - started >= 900
    assert notes[0] == "checking whether a create arrived, 15:00 left"
    assert notes[-1] != notes[0]
