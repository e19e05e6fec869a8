"""The end of a job told to a web server: signed, repeated until it is taken, and never to an address inside."""

import json
import socket

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from asyncbatch import BatchClient, ConfigError, SignedPost
from asyncbatch.planning.webhooks import Genuine, verify
from asyncbatch.signed_post import NotTakenError
from asyncbatch.transport.addresses import PublicResolver
from tests.engine.conftest import answered_by, catalog, clock, emulator, limits, pace, runtime  # noqa: F401 fixtures
from tests.engine.waiting import until
from tests.webhooks.signing import NOW, OTHER, SECRET

CHAT = "openai/gpt-4.1-mini"


class Receiver:
    """A web server that answers as it is told and remembers what it got."""

    def __init__(self):
        self.got = []
        self.answers = []

    async def take(self, request):
        self.got.append((dict(request.headers), await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 302 else None)


@pytest.fixture
async def receiver():
    receiver, app = Receiver(), web.Application()
    app.router.add_post("/{tail:.*}", receiver.take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


@pytest.fixture
def open_client(runtime, catalog, emulator, tmp_path):  # noqa: F811
    return lambda: BatchClient(runtime=runtime, catalog=catalog, journal=tmp_path / "state")


def post_to(url, **options):
    return SignedPost(url, **{"secret": SECRET, "allow_private": True, "now": lambda: NOW, **options})


async def test_it_is_signed_and_says_how_the_job_ended(open_client, receiver):
    async with open_client() as client:
        client.on("job_ended", post_to(receiver.url))
        job = await client.submit(["a", "[[error:400]]"], model=CHAT, key="nightly")
        await until(lambda: receiver.got)
    ((headers, body),) = receiver.got
    told = json.loads(body)

    assert verify(headers, body, {"us": [SECRET]}, NOW) == Genuine(webhook_id=f"{job.id}.0", senders=("us",))
    assert told["type"] == "job.ended"
    assert told["data"] == {
        "job_id": job.id,
        "key": "nightly",
        "account": None,
        "model": CHAT,
        "requests": 2,
        "outcomes": {"succeeded": 1, "errored": 1},
    }


async def test_what_is_not_taken_is_sent_again_under_the_same_name(open_client, receiver):
    receiver.answers = [500, 302, 404]
    async with open_client() as client:
        client.on("job_ended", post_to(receiver.url))
        await client.submit(["a"], model=CHAT)
        await until(lambda: len(receiver.got) == 4)

    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


async def test_a_receiver_that_is_gone_is_told_no_more_and_a_job_may_have_none(open_client, receiver):
    receiver.answers = [410]
    async with open_client() as client:
        client.on("job_ended", post_to(lambda job: receiver.url if job.status().key == "told" else None))
        for key in ("silent", "told"):
            await (await client.submit(["a"], model=CHAT, key=key)).wait()
        await until(lambda: receiver.got)
        for _ in range(1000):
            if not await client._journal.wishes():
                break

        assert await client._journal.wishes() == ()
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hooks.example/x", "is not https"),
        ("https://127.0.0.1/x", "is not a public address"),
        ("https://10.1.2.3/x", "is not a public address"),
        ("https://169.254.169.254/latest/meta-data", "is not a public address"),
        ("https://[::1]/x", "is not a public address"),
        ("https://[::ffff:127.0.0.1]/x", "is not a public address"),
        ("https://127.1/x", "is not a public address"),
        ("https://2130706433/x", "is not a public address"),
        ("https://user:word@hooks.example/", "is no address to post to"),
        ("ftp://hooks.example/x", "is no address to post to"),
        ("/hook", "is no address to post to"),
    ],
)
async def test_an_address_that_leads_inside_or_nowhere_is_refused(url, words):
    with pytest.raises(ConfigError, match=words):
        SignedPost(url, secret=SECRET)


async def test_a_name_that_resolves_to_an_address_inside_is_refused_when_it_is_looked_up():
    resolver = PublicResolver()
    with pytest.raises(OSError, match="localhost is not a public address"):
        await resolver.resolve("localhost", 443)
    await resolver.close()


async def inside(self, host, port=0, family=socket.AF_INET):
    return [{"hostname": host, "host": "10.0.0.7", "port": port, "family": family, "proto": 0, "flags": 0}]


async def test_a_private_receiver_is_not_reached_by_a_name_of_its_own(open_client, monkeypatch):
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT)
        await job.wait()
        with pytest.raises(ConfigError, match="not a public address"):
            SignedPost("https://localhost/hook", secret=SECRET)
        post = SignedPost("https://hooks.example/hook", secret=SECRET)
        monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", inside)  # as its owner's name server may answer
        with pytest.raises(NotTakenError, match="not a public address"):
            await post(job)


async def test_each_customer_may_have_a_secret_of_his_own(open_client, receiver):
    async with open_client() as client:
        job = await client.submit(["a"], model=CHAT)
        await job.wait()
        await post_to(receiver.url, secret=lambda job: OTHER)(job)
        with pytest.raises(ConfigError, match="the secret is none"):
            await post_to(receiver.url, secret=lambda job: "whsec_")(job)
    ((headers, body),) = receiver.got

    assert isinstance(verify(headers, body, {"us": [OTHER]}, NOW), Genuine)


async def test_what_is_no_secret_is_refused():
    with pytest.raises(ConfigError, match="the secret is none"):
        SignedPost("https://hooks.example/x", secret="whsec_")
    assert SECRET not in repr(post_to("https://hooks.example/x"))
