"""Batches that carry no mark of ours: found by time and number, confirmed by the ids of their answers, or disowned."""

import pytest

from asyncbatch import (
    BatchClient,
    BatchProviderRegistry,
    BatchStatus,
    Match,
    PreparedSubmission,
    ProviderResultRow,
    ProviderStatus,
    ProviderSubmitResult,
    ResultStatus,
    SubmissionUnknownError,
    SubmitSafety,
)
from asyncbatch.exceptions import ProviderPermanentError, ProviderTransientError
from asyncbatch.journal import Accepted, Confirmed, CreateIntended, Disowned, Fenced
from asyncbatch.planning.recovery import WINDOWS_S
from tests.engine.six import SixMethods
from tests.engine.waiting import until

DAY_S = 86_400


class Batch:
    """A batch at the service: when it was created, when it ends, whose ids its answers carry."""

    def __init__(self, clock, ids, runs_s):
        self.created_at = clock.now()
        self.ids = ids
        self.ends_at = self.created_at + runs_s


class Service:
    """What lies at the provider, of everybody who shares the account."""

    def __init__(self, clock):
        self.clock = clock
        self.batches = {}
        self.lose = 0
        self.drop = 0
        self.cancelled = []
        self.unread = 0
        self.blind = False
        self.runs_s = 600
        self.log = []

    def take(self, ids, runs_s=None):
        runs_s = self.runs_s if runs_s is None else runs_s
        name = f"b{len(self.batches) + 1}"
        self.batches[name] = Batch(self.clock, list(ids), runs_s)
        return name

    def is_over(self, name):
        return self.clock.now() >= self.batches[name].ends_at

    def status(self, name):
        status = BatchStatus.COMPLETED if self.is_over(name) else BatchStatus.IN_PROGRESS
        return ProviderStatus(provider_batch_id=name, status=status, created_at=self.batches[name].created_at)


def inferring(service):
    class Inferring(SixMethods):
        def submit_safety(self, submission=None):
            return SubmitSafety.INFERRED

        async def prepare_payloads(self, *, batch_id, model, mode, requests, **_):
            ids = list(requests)
            half = [ids[:2], ids[2:]] if len(ids) > 2 else [ids]
            return [
                PreparedSubmission(
                    batch_id=batch_id,
                    provider_name="six",
                    model=model,
                    mode=mode,
                    endpoint="/x",
                    request_ids=part,
                    request_count=len(part),
                )
                for part in half
            ]

        async def submit(self, submission):
            service.log.append("create")
            if service.drop:
                service.drop -= 1
                raise SubmissionUnknownError("nobody knows", provider="six")
            name = service.take(submission.request_ids)
            if service.lose:
                service.lose -= 1
                raise SubmissionUnknownError("nobody knows", provider="six")
            return ProviderSubmitResult(provider_batch_id=name)

        async def poll_status(self, provider_batch_id):
            if provider_batch_id not in service.batches:
                raise ProviderPermanentError("no such batch", provider="six", status=404)
            return service.status(provider_batch_id)

        async def fetch_results(self, provider_batch_id):
            for request_id in service.batches[provider_batch_id].ids:
                yield ProviderResultRow(request_id=request_id, status=ResultStatus.SUCCEEDED)

        async def cancel(self, provider_batch_id):
            service.cancelled.append(provider_batch_id)
            return service.status(provider_batch_id)

        async def find_submissions(self, submission, *, since):
            service.log.append("look")
            if service.unread:
                service.unread -= 1
                raise ProviderTransientError("not now", provider="six", status=503)
            if service.blind:
                return []
            found = []
            for name, batch in service.batches.items():
                if batch.created_at < since - 60 or len(batch.ids) != submission.request_count:
                    continue
                if not service.is_over(name):
                    found.append(
                        Match(
                            provider_batch_id=name,
                            why="time_and_count",
                            is_certain=False,
                            status=service.status(name),
                        )
                    )
                elif batch.ids == list(submission.request_ids):
                    found.append(Match(provider_batch_id=name, why="ids", is_certain=True, status=service.status(name)))
            return found

    return Inferring


@pytest.fixture
def service(clock):
    return Service(clock)


@pytest.fixture
async def client(runtime, service):
    registry = BatchProviderRegistry()
    registry.register(inferring(service))
    async with BatchClient(runtime=runtime, registry=registry) as client:
        yield client


async def kinds(client, job):
    return [type(event) for event in await client._journal.events(job.id, 0)]


async def test_a_lost_create_is_adopted_by_time_and_number_and_confirmed_by_its_answers(client, service):
    service.lose = 1
    job = await client.submit(["a", "b"], model="six/m")
    status = await job.wait()

    assert status.outcomes == {ResultStatus.SUCCEEDED: 2}
    assert list(service.batches) == ["b1"], "it was not sent a second time"
    assert [kind for kind in await kinds(client, job) if kind in (Accepted, Confirmed)] == [Accepted, Confirmed]


async def test_a_strangers_batch_is_disowned_by_its_answers_and_our_own_is_found(client, service):
    service.drop = 1
    service.take(["x", "y"], runs_s=2000)
    job = await client.submit(["a", "b"], model="six/m")
    status = await job.wait()

    assert status.outcomes == {ResultStatus.SUCCEEDED: 2}
    assert list(service.batches) == ["b1", "b2"], "it had not arrived, so it was sent again"
    happened = await kinds(client, job)
    assert (happened.count(Disowned), happened.count(Fenced), happened.count(CreateIntended)) == (1, 1, 2)


async def test_a_batch_that_is_known_to_be_another_submissions_is_no_candidate(client, service):
    service.take(["o", "p"], runs_s=0)
    first = await client.submit(["a", "b"], model="six/m")
    await first.submitted()
    service.lose = 1
    second = await client.submit(["c", "d"], model="six/m")
    await until(lambda: second.status().batches[0].provider_batch_id is not None)

    assert first.status().batches[0].provider_batch_id == "b2"
    assert second.status().batches[0].provider_batch_id == "b3"
    assert (await second.wait()).outcomes == {ResultStatus.SUCCEEDED: 2}


async def test_of_several_candidates_the_one_whose_answers_are_ours_is_adopted(client, service):
    service.lose = 1
    service.take(["x", "y"], runs_s=300)
    job = await client.submit(["a", "b"], model="six/m")
    status = await job.wait()

    assert status.outcomes == {ResultStatus.SUCCEEDED: 2}
    assert list(service.batches) == ["b1", "b2"]


async def test_several_candidates_that_run_longer_than_the_window_are_for_a_human(client, service):
    service.lose, service.runs_s = 1, DAY_S
    service.take(["x", "y"])
    service.take(["v", "w"])
    job = await client.submit(["a", "b"], model="six/m")
    with pytest.raises(SubmissionUnknownError):
        await job.submitted()
    status = await job.wait()

    assert status.outcomes == {ResultStatus.INDETERMINATE: 2}
    assert len(service.batches) == 3


async def test_a_batch_that_may_be_somebody_elses_is_not_cancelled(client, service):
    service.drop = 1
    service.take(["x", "y"], runs_s=4000)
    job = await client.submit(["a", "b"], model="six/m")
    await until(lambda: job.status().batches[0].provider_batch_id == "b1")
    await job.cancel()
    status = await job.wait()

    assert service.cancelled == []
    assert status.outcomes == {ResultStatus.CANCELLED: 2}, "it had not arrived, and is not sent again"
    assert list(service.batches) == ["b1"]


async def test_a_list_that_cannot_be_read_for_a_while_neither_confirms_nor_disowns(client, service):
    service.lose = 1
    job = await client.submit(["a", "b"], model="six/m")
    await until(lambda: job.status().batches[0].provider_batch_id == "b1")
    service.unread = 5
    status = await job.wait()

    assert status.outcomes == {ResultStatus.SUCCEEDED: 2}
    assert Disowned not in await kinds(client, job)


async def test_creates_go_one_by_one_and_wait_for_one_that_is_lost(client, service):
    service.lose = 1
    job = await client.submit(["a", "b", "c", "d"], model="six/m")
    status = await job.wait()

    assert status.outcomes == {ResultStatus.SUCCEEDED: 4}
    assert sorted(map(tuple, (batch.ids for batch in service.batches.values()))) == [("a", "b"), ("c", "d")]
    assert service.log[:3] == ["create", "look", "create"]


async def test_a_list_that_leaves_our_batch_out_does_not_disown_it_for_its_answers_are_asked(client, service):
    service.lose = 1
    job = await client.submit(["a", "b"], model="six/m")
    await until(lambda: job.status().batches[0].provider_batch_id == "b1")
    service.blind = True
    status = await job.wait()

    assert status.outcomes == {ResultStatus.SUCCEEDED: 2}
    assert list(service.batches) == ["b1"], "it was not sent a second time"
    assert Disowned not in await kinds(client, job)


async def test_creates_wait_again_while_what_became_of_a_disowned_one_is_open(client, service):
    service.drop = 1
    service.take(["x", "y"], runs_s=30)
    first = await client.submit(["a", "b"], model="six/m")
    await until(lambda: first.status().batches[0].provider_batch_id == "b1")
    service.runs_s = DAY_S
    await until(lambda: service.log.count("look") >= 3)
    second = await client.submit(["c", "d"], model="six/m")
    await first.wait()
    await second.wait()

    strangers, *ours = service.batches.values()
    assert sorted(batch.ids for batch in ours) == [["a", "b"], ["c", "d"]]
    assert all(batch.created_at >= strangers.created_at + WINDOWS_S[SubmitSafety.INFERRED] for batch in ours)


async def test_a_batch_that_may_have_been_ours_and_was_deleted_is_for_a_human(client, service):
    service.drop = 1
    service.take(["x", "y"], runs_s=4000)
    job = await client.submit(["a", "b"], model="six/m")
    await until(lambda: job.status().batches[0].provider_batch_id == "b1")
    del service.batches["b1"]
    status = await job.wait()

    assert status.outcomes == {ResultStatus.INDETERMINATE: 2}
    assert list(service.batches) == []


async def test_our_own_batch_is_found_though_the_one_that_looked_like_it_was_deleted(client, service):
    service.lose, service.blind = 1, True
    service.take(["x", "y"], runs_s=4000)
    stranger = dict(service.batches)
    job = await client.submit(["a", "b"], model="six/m")
    await until(lambda: len(service.batches) == 2)
    own = service.batches.pop("b2")
    service.blind = False
    await until(lambda: job.status().batches[0].provider_batch_id == "b1")
    service.batches = {"b2": own}
    status = await job.wait()

    assert stranger
    assert status.outcomes == {ResultStatus.SUCCEEDED: 2}
