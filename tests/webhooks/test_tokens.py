"""Webhooks of single batches: a token vouches for them, signed by a key of the sender's that has to be fetched."""

import json
import logging
import sys

import anyio
import pytest
from aiohttp import web

from asyncbatch import BatchClient, ConfigError, ProviderError, load_catalog
from asyncbatch.accounts import webhook_audiences
from asyncbatch.emulator import faults
from asyncbatch.emulator.tokens import Signer, can_sign
from asyncbatch.engine.webhook_keys import AGAIN_S, KEPT_S
from asyncbatch.planning.webhook_tokens import MOST_KEYS, check_token, read_keys, read_token
from asyncbatch.planning.webhooks import Refusal
from tests.engine.waiting import until
from tests.webhooks.conftest import PATIENT
from tests.webhooks.signing import NOW, OTHER, SECRET, event, signed
from tests.webhooks.test_receipts import ENDED_S
from tests.webhooks.tokens import AUDIENCE, claims, jwk, token, vouched

FLASH = "gemini/gemini-2.5-flash"


def said(batch_id, name="batch.succeeded"):
    return {"type": name, "version": "v1", "timestamp": "2026-11-22T10:09:00Z", "data": {"id": batch_id}}


# What a token has to say


def judged(text, key=None, now=NOW, audiences=(AUDIENCE,)):
    found = read_token({"Webhook-Signature": text})
    if found is None or isinstance(found, Refusal):
        return found
    return check_token(found, key or jwk("one"), audiences, now)


@pytest.mark.parametrize(
    "claimed",
    [
        claims(NOW),
        claims(NOW, iat=None),
        claims(NOW, exp=None),
        claims(NOW, aud=["somebody", AUDIENCE]),
        claims(NOW - 500),
        claims(NOW, nbf=int(NOW) + 10),
        claims(NOW, exp=NOW + 0.5),
        claims(NOW, nbf="soon"),
    ],
)
def test_a_good_token_gives_what_it_claims(claimed):
    assert judged(token(claimed)) == claimed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (lambda: token(claims(NOW), header={"alg": "none", "kid": "one"}), "not signed by RS256"),
        (lambda: token(claims(NOW), header={"alg": "HS256", "kid": "one"}), "not signed by RS256"),
        (lambda: token(claims(NOW), header={"alg": "RS512", "kid": "one"}), "not signed by RS256"),
        (lambda: token(claims(NOW), header={"alg": "RS256"}), "by which key"),
        (lambda: token(claims(NOW), header={"alg": "RS256", "kid": 7}), "has no header"),
        (lambda: token(claims(NOW), header={"alg": "RS256", "kid": "a\nb"}), "by which key"),
        (lambda: "aaaa.bbbb.cccc", "has no header"),
        (lambda: token(claims(NOW), "two", header={"alg": "RS256", "kid": "one"}), "not signed by the key"),
        (lambda: token(claims(NOW))[:-8] + "AAAAAAAA", "not signed by the key"),
        (lambda: token(claims(NOW, aud="somebody")), "for somebody else"),
        (lambda: token(claims(NOW, aud=None)), "for nobody"),
        (lambda: token(claims(NOW, exp=int(NOW) - 301)), "has expired"),
        (lambda: token(claims(NOW, iat=int(NOW) - 301, exp=None)), "an old one"),
        (lambda: token(claims(NOW, iat=int(NOW) + 301)), "a time to come"),
        (lambda: token(claims(NOW, nbf=int(NOW) + 301)), "a time to come"),
        (lambda: token(claims(NOW, iat=None, exp=None)), "of when it is"),
        (lambda: token(claims(NOW, iat=True, exp="soon")), "of when it is"),
        (lambda: token(claims(NOW, iat=None, exp=float("nan"))), "of when it is"),  # which would never pass
        (lambda: token(claims(NOW, iat=None, exp=float("inf"))), "of when it is"),
        (lambda: token(claims(NOW, iat=None, exp=10**400)), "of when it is"),  # which no float can hold
        (lambda: token(claims(NOW, iat=-(10**400), exp=None)), "of when it is"),
    ],
)
def test_a_bad_token_is_refused_and_none_of_it_is_said(text, reason):
    refused = judged(text())

    assert isinstance(refused, Refusal)
    assert (refused.status, reason in refused.reason) == (401, True), refused


@pytest.mark.parametrize(
    "key", [{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "RSA", "kid": "one"}, {}, jwk("one", kty="EC")]
)
def test_a_key_that_is_none_verifies_nothing(key):
    assert judged(token(claims(NOW)), {"kid": "one", **key}).status == 401


def test_a_short_key_is_not_believed():
    refused = judged(token(claims(NOW), "short", bits=1024), jwk("short", bits=1024))

    assert "too short" in refused.reason


@pytest.mark.parametrize("text", ["", "v1,abc", "a.b", "a.b.c.d", "a.b.c v1,x", f"a.{'b' * 9000}.c", "é.b.c"])
def test_whatever_is_no_token_is_left_to_the_secrets(text):
    assert judged(text) is None


def test_a_token_shows_none_of_itself():
    found = read_token({"webhook-signature": token(claims(NOW))})

    assert repr(found) == "Token(kid='one')"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"keys": 1}', None),
        (b"\xff", None),
        (b'{"keys": []}', []),
        (
            json.dumps({"keys": [{"kty": "RSA", "kid": ["one"]}, {"kty": "RSA", "kid": {}}, jwk("one")]}).encode(),
            ["one"],
        ),
        (json.dumps({"keys": [jwk("one"), {"kty": "EC", "kid": "two"}, {"kty": "RSA"}]}).encode(), ["one"]),
        (
            json.dumps({"keys": [jwk("one", kid=f"k{n}") for n in range(100)]}).encode(),
            [f"k{n}" for n in range(MOST_KEYS)],
        ),
    ],
)
def test_a_set_of_keys_is_read_by_name_and_is_no_longer_than_one_has_to_be(body, names):
    found = read_keys(body)

    assert (found if found is None else list(found)) == names


# The keys, over real HTTP


class Keys:
    """A server of public keys, which counts who asks."""

    def __init__(self):
        self.keys = [jwk("one")]
        self.asked = []
        self.answer = None

    async def show(self, request):
        self.asked.append(dict(request.headers))
        return self.answer() if self.answer is not None else web.json_response({"keys": self.keys})


@pytest.fixture
async def keys(monkeypatch):
    keys, app = Keys(), web.Application()
    app.router.add_get("/.well-known/jwks.json", keys.show)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield keys
    await runner.cleanup()


@pytest.fixture
async def client(runtime, keys):
    async with BatchClient(runtime=runtime, polling=PATIENT, webhook_audiences={"gemini": AUDIENCE}) as client:
        yield client


async def receive(client, clock, by="one", **options):
    return await client.webhook(*vouched(said("batches/b1"), clock.now(), token(claims(clock.now()), by, **options)))


async def test_keys_are_fetched_once_without_any_credential_and_kept_for_an_hour(client, clock, keys):
    first = [(await receive(client, clock)).status for _ in range(5)]
    clock.advance(KEPT_S - 10)
    await receive(client, clock)
    once = len(keys.asked)
    clock.advance(10)
    await receive(client, clock)

    assert first == [200] * 5
    assert (once, len(keys.asked)) == (1, 2)
    assert not any("x-goog-api-key" in {name.lower() for name in headers} for headers in keys.asked)


async def test_a_new_key_is_found_and_one_that_nobody_has_is_looked_for_once_a_minute(client, clock, keys):
    await receive(client, clock)
    keys.keys = [jwk("two")]
    clock.advance(AGAIN_S)
    changed = await receive(client, clock, "two")
    old = await receive(client, clock, "one")
    asked = len(keys.asked)
    forged = [(await receive(client, clock, header={"alg": "RS256", "kid": f"nobody-{n}"})).status for n in range(20)]
    unasked = len(keys.asked)
    clock.advance(AGAIN_S)
    await receive(client, clock, header={"alg": "RS256", "kid": "nobody"})

    assert (changed.status, old.status) == (200, 401)
    assert (asked, unasked, len(keys.asked)) == (2, 2, 3)
    assert forged == [401] * 20


async def test_many_at_once_fetch_once(client, clock, keys):
    found = []

    async def one():
        found.append((await receive(client, clock)).status)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one)

    assert (found, len(keys.asked)) == ([200] * 10, 1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500),
        lambda: web.Response(status=404),
        lambda: web.Response(text="no keys"),
        lambda: web.Response(text=json.dumps({"keys": [], "more": "x" * 70_000})),
        lambda: web.Response(status=302, headers={"location": "http://127.0.0.1:9/keys"}),
    ],
)
async def test_while_keys_cannot_be_had_a_sender_is_told_to_come_again(client, clock, keys, caplog, answer):
    keys.answer = answer
    first = [(await receive(client, clock)).status for _ in range(3)]
    keys.answer = None
    clock.advance(AGAIN_S)
    then = await receive(client, clock)
    keys.answer = answer
    clock.advance(KEPT_S)
    old = await receive(client, clock)

    assert first == [503] * 3
    assert len(keys.asked) == 3
    assert (then.status, old.status) == (200, 200), "keys that are there are better than none"
    assert "cannot be fetched for now" in caplog.text


# What becomes of them


async def test_one_that_comes_again_is_known_by_its_token_whatever_its_id_says(client, clock):
    text = token(claims(clock.now()))
    receipts = [await client.webhook(*vouched(said("batches/b1"), clock.now(), text)) for _ in range(2)]
    clock.advance(10)
    fresh = await client.webhook(
        *vouched(said("batches/b1"), clock.now(), token(claims(clock.now())), **{"webhook-id": "msg_same"})
    )
    clock.advance(10)
    same = await client.webhook(
        *vouched(said("batches/b1"), clock.now(), token(claims(clock.now())), **{"webhook-id": "msg_same"})
    )

    assert [receipt.is_new for receipt in (*receipts, fresh, same)] == [True, False, True, False]


async def test_what_the_token_says_of_the_event_comes_over_the_body(client, clock):
    claimed = claims(clock.now(), **said("batches/claimed"))
    receipt = await client.webhook(*vouched(said("batches/forged"), clock.now(), token(claimed)))

    assert receipt.provider_batch_id == "batches/claimed"


@pytest.mark.parametrize(
    ("status", "make"),
    [
        (401, lambda at: vouched(said("b"), at - 301, token(claims(at)))),
        (400, lambda at: vouched(said("b"), at, **{"webhook-id": ""})),
        (400, lambda at: vouched(b"no JSON", at)),
        (401, lambda at: vouched(said("b"), at, token(claims(at, aud="somebody")))),
        (401, lambda at: vouched(said("b"), at, token(claims(at), header={"alg": "none", "kid": "one"}))),
        (401, lambda at: signed(said("b"), at=at, secret=SECRET)),
        (413, lambda at: vouched(b"x" * 1_000_001, at)),
    ],
)
async def test_what_is_not_believed_is_answered_so_and_logged_without_its_token(client, clock, caplog, status, make):
    headers, body = make(clock.now())
    with caplog.at_level(logging.DEBUG):
        receipt = await client.webhook(headers, body)

    assert (receipt.status, receipt.is_new, receipt.woke) == (status, False, False)
    assert headers["webhook-signature"] not in caplog.text


async def test_secrets_and_tokens_stand_beside_each_other(runtime, keys, clock):
    given = {"webhook_secrets": {"openai": OTHER}, "webhook_audiences": {"gemini": [AUDIENCE, "the next"]}}
    async with BatchClient(runtime=runtime, **given) as client:
        by_secret = await client.webhook(*signed(event("batch_1"), at=clock.now(), secret=OTHER))
        by_token = await receive(client, clock)

    assert (by_secret.event, by_token.event) == ("batch.completed", "batch.succeeded")


async def test_without_an_audience_no_token_is_believed(runtime, clock, keys):
    async with BatchClient(runtime=runtime, webhook_secrets={"gemini": SECRET}) as client:
        receipt = await receive(client, clock)

    assert (receipt.status, keys.asked) == (401, [])


async def test_the_audience_may_come_from_the_environment(runtime, clock, keys, monkeypatch):
    monkeypatch.setenv("GEMINI_WEBHOOK_AUDIENCE", f"somebody {AUDIENCE}")
    async with BatchClient(runtime=runtime) as client:
        assert (await receive(client, clock)).status == 200


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"openai": "x"}, "webhook.provider"),
        ({"nobody": "x"}, "webhook.provider"),
        ({"gemini": ""}, "webhook.audience"),
        ({"gemini": [7]}, "webhook.audience"),
        ("gemini", "webhook.audiences"),
    ],
)
async def test_an_audience_that_is_none_is_refused_when_the_client_is_opened(runtime, given, code):
    with pytest.raises(ConfigError) as caught:
        async with BatchClient(runtime=runtime, webhook_audiences=given):
            pass

    assert caught.value.code == code


def test_what_is_given_comes_over_the_variable():
    facts = {"gemini": load_catalog().provider("gemini").webhooks}
    env = {"GEMINI_WEBHOOK_AUDIENCE": "a b"}

    assert webhook_audiences(None, facts, env) == {"gemini": ("a", "b")}
    assert webhook_audiences({"gemini": "c"}, facts, env) == {"gemini": ("c",)}
    assert webhook_audiences(None, facts, {}) == {}


@pytest.mark.parametrize("module", ["jwt", "jwt.algorithms"])
async def test_what_is_not_installed_is_named_with_its_remedy(runtime, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match="needs PyJWT") as caught:
        async with BatchClient(runtime=runtime, webhook_audiences={"gemini": AUDIENCE}):
            pass

    assert caught.value.hint == "pip install 'asyncbatch[webhooks]'"


# From the create to the answers, with the emulator


@pytest.fixture
async def door(open_client, emulator):
    """An application with the route for webhooks."""
    receipts, app = [], web.Application()
    async with open_client(webhook_secrets=None, webhook_audiences={"gemini": "emulator"}) as client:

        async def take(request):
            receipts.append(await client.webhook(request.headers, await request.read()))
            return web.Response(status=receipts[-1].status)

        app.router.add_post("/hooks", take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield client, receipts, f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
        await runner.cleanup()


@pytest.mark.parametrize("input_mode", ["file", "inline"])
async def test_a_batch_that_names_an_address_is_told_of_there(door, clock, input_mode):
    client, receipts, url = door
    job = await client.submit(["one"], model=FLASH, input_mode=input_mode, options={"webhook_url": url})
    (batch_id,) = await job.submitted()
    clock.advance(ENDED_S)
    rows = await job.results()
    await until(lambda: receipts)

    assert [(item.status, item.job_id, item.provider_batch_id, item.woke) for item in receipts] == [
        (200, job.id, batch_id, True)
    ]
    assert [row.text for row in rows] == ["echo: one"]


async def test_it_comes_twice_late_and_forged_and_does_what_it_should(door, clock, emulator):
    client, receipts, url = door
    emulator.add(faults.webhook(signature="bad", copies=1, times=1), faults.webhook(copies=2, times=1, first=2))
    forged = await client.submit(["one"], model=FLASH, options={"webhook_url": url})
    await forged.submitted()
    clock.advance(ENDED_S)
    await until(lambda: receipts)
    twice = await client.submit(["two"], model=FLASH, options={"webhook_url": url})
    await twice.submitted()
    clock.advance(ENDED_S)
    await until(lambda: sum(item.job_id == twice.id for item in receipts) == 2)

    assert (receipts[0].status, receipts[0].woke) == (401, False)
    assert [item.is_new for item in receipts if item.job_id == twice.id] == [True, False]


async def test_only_a_provider_that_knows_such_addresses_takes_one(door):
    client, _, url = door
    with pytest.raises(ConfigError, match="whom to tell") as caught:
        await client.submit(["one"], model="openai/gpt-4.1-mini", options={"webhook_url": url})
    with pytest.raises(ConfigError, match="webhook_url is 'ftp") as wrong:
        await client.submit(["one"], model=FLASH, options={"webhook_url": "ftp://x"})

    assert (caught.value.code, wrong.value.code) == ("webhook.unsupported", "config.value")


async def test_the_emulator_makes_tokens_out_for_whom_it_is_told(clock):
    signer = Signer("me")
    text, keys = signer.token(clock.now()), read_keys(json.dumps(signer.key_set()).encode())

    assert judged(text, keys["emulator-1"], clock.now(), ["me"])["aud"] == "me"
    assert judged(text, keys["emulator-1"], clock.now(), ["you"]).status == 401
    assert judged(signer.token(clock.now(), is_good=False), keys["emulator-1"], clock.now(), ["me"]).status == 401


async def test_an_emulator_that_cannot_sign_refuses_a_batch_that_names_an_address(door, monkeypatch):
    client, _, url = door
    monkeypatch.setitem(sys.modules, "cryptography", None)
    job = await client.submit(["one"], model=FLASH, options={"webhook_url": url}, input_mode="inline")

    assert not can_sign()
    with pytest.raises(ProviderError, match="cryptography, which is not installed"):
        await job.submitted()
