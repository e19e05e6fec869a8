"""Whatever a user awaits of a job is cancelled at every turn of the loop: the job is whole, and goes on."""

import asyncio

import pytest

from tests.cancel.scene import Plot
from tests.cancel.turns import WAYS, run_counted, sweep

CLOSELY = (*range(13), *range(14, 51, 4))
"""Turn by turn where most begins; `--long` takes each of 500."""
IN_PART = (0, 1, 2, 3, 5, 8, 13, 21, 34)
LONG = range(501)
UNLIKE = ("task.cancel", "anyio scope")
"""Ways that have nothing in common; the others come down to the first."""
EAGER = hasattr(asyncio, "eager_task_factory")
"""From Python 3.12 on, an application may let its tasks begin where they are made."""


async def nothing(scene, client, _):
    return None


async def submitted(scene, client, _):
    return await scene.submit(client)


async def on_its_way(scene, client, _):
    job = await scene.submit(client)
    await job.submitted()
    return job


async def over(scene, client, _):
    job = await scene.submit(client)
    await job.wait()
    return job


async def submit(scene, client, _):
    return await scene.submit(client)


async def submit_with_key(scene, client, _):
    return await scene.submit(client, key="nightly")


async def submit_again(scene, client, _):
    return await scene.submit(client, key="nightly")


async def read_one_by_one(scene, client, job):
    return [row.request_id async for row in job.results()]


async def attach(scene, client, job):
    return await client.job(job.id)


IMPORTANT = {
    "submit": Plot(prepare=nothing, act=submit),
    "wait": Plot(prepare=submitted, act=lambda scene, client, job: job.wait()),
    "results": Plot(prepare=submitted, act=read_one_by_one),
}
OTHERS = {
    "attach": Plot(prepare=submitted, act=attach, is_left=True),
    "attach to a job that is over": Plot(prepare=over, act=attach, is_left=True),
    "submit with a key": Plot(prepare=nothing, act=submit_with_key),
    "submit with a key that has a job": Plot(prepare=submit_with_key, act=submit_again),
    "submitted": Plot(prepare=submitted, act=lambda scene, client, job: job.submitted()),
    "await results": Plot(prepare=on_its_way, act=lambda scene, client, job: job.results()._all()),
    "results of a job that is over": Plot(prepare=over, act=read_one_by_one),
    "cancel": Plot(prepare=on_its_way, act=lambda scene, client, job: job.cancel(), cancels=True),
    "cancel at once": Plot(
        prepare=submitted, act=lambda scene, client, job: job.cancel(), cancels=True, may_not_wait=True
    ),
    "discard": Plot(prepare=over, act=lambda scene, client, job: job.discard(), forgets=True),
    "forget": Plot(prepare=over, act=lambda scene, client, job: client.forget(job.id), forgets=True),
    "records": Plot(prepare=submitted, act=lambda scene, client, job: client.records()),
    "strays": Plot(prepare=submitted, act=lambda scene, client, job: client.strays()),
}


def played(scene, way, plot, at, *, is_eager=False, provider="openai"):
    """Sweep a plot; give how often it was cancelled."""

    def play(turn):
        return run_counted(lambda turns: scene(provider).play(turns, way, turn, plot), is_eager=is_eager)

    return sweep(play, at)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", IMPORTANT)
def test_cancelling_what_matters_most_at_any_turn_leaves_the_job_whole(scene, name, way):
    assert played(scene, way, IMPORTANT[name], CLOSELY if way in UNLIKE else IN_PART) > 6


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OTHERS)
def test_cancelling_anything_else_at_a_turn_leaves_the_job_whole(scene, name, way):
    plot = OTHERS[name]
    # What waits under a shield alone has nothing that a scope could cancel.
    may_be_too_quick = plot.may_not_wait or way == "anyio scope"

    assert played(scene, way, plot, IN_PART if way in UNLIKE else IN_PART[::2]) > 0 or may_be_too_quick


if EAGER:

    @pytest.mark.parametrize("way", ["task.cancel", "task.cancel, twice", "anyio scope"])
    @pytest.mark.parametrize("name", IMPORTANT)
    def test_the_same_with_eager_tasks(scene, name, way):
        assert played(scene, way, IMPORTANT[name], IN_PART, is_eager=True) > 3


@pytest.mark.parametrize("way", ["task.cancel", "anyio scope"])
@pytest.mark.parametrize("provider", ["anthropic", "gemini", "mistral"])
def test_the_same_where_requests_travel_otherwise(scene, provider, way):
    assert played(scene, way, IMPORTANT["wait"], (*IN_PART, 55, 89), provider=provider) > 3


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "is_eager", [False, True] if EAGER else [False], ids=lambda is_eager: "eager tasks" if is_eager else "tasks"
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*IMPORTANT, *OTHERS])
def test_cancelling_anything_at_every_turn_leaves_the_job_whole(scene, name, way, is_eager):
    played(scene, way, (IMPORTANT | OTHERS)[name], LONG, is_eager=is_eager)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("provider", ["anthropic", "gemini", "mistral"])
def test_cancelling_a_wait_at_every_turn_where_requests_travel_otherwise(scene, provider, way):
    played(scene, way, IMPORTANT["wait"], LONG, provider=provider)
