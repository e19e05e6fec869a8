"""Over real HTTP: the emulator sends webhooks as a service does, twice, late and out of order; each does what it should."""

import pytest
from aiohttp import web

from asyncbatch import BatchClient, Polling, ResultStatus, load_catalog
from asyncbatch.emulator import Emulator, faults
from tests.webhooks.signing import SECRET

NEVER = Polling(first_s=2_000_000, factor=1, max_s=2_000_000, jitter=0)
"""Without webhooks, nobody would look for weeks."""

ONE_EACH = {"providers": {name: {"limits": {"requests": 1}} for name in ("openai", "gemini")}}


class Door:
    """The one route of an application, and what became of each webhook."""

    def __init__(self):
        self.receipts = []
        self.client = None

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/webhooks", self.receive)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/webhooks"
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()

    async def receive(self, request):
        receipt = await self.client.webhook(request.headers, await request.read())
        self.receipts.append(receipt)
        return web.Response(status=receipt.status)


async def run(script, monkeypatch, polling=NEVER, model="openai/gpt-4.1-mini", rows=4):
    async with Door() as door:
        service = Emulator(speed=3600, webhook_url=door.url, webhook_secret=SECRET, faults=script)
        async with service as emulator:
            for name, value in emulator.env(model.partition("/")[0]).items():
                monkeypatch.setenv(name, value)
            secrets = {"openai": SECRET, "gemini": SECRET}
            catalog = load_catalog(ONE_EACH)
            async with BatchClient(webhook_secrets=secrets, polling=polling, catalog=catalog) as client:
                door.client = client
                job = await client.submit([f"row {number}" for number in range(rows)], model=model)
                found = [row.status for row in await job.results()]
                # What is sent once more after this finds nobody.
                history = [record for record in emulator.history if record.kind == "webhook"]
        assert found == [ResultStatus.SUCCEEDED] * rows
        return door.receipts, history


@pytest.mark.parametrize("model", ["openai/gpt-4.1-mini", "gemini/gemini-2.5-flash"])
async def test_webhooks_alone_bring_every_batch_in(model, monkeypatch):
    receipts, history = await run([], monkeypatch, model=model)

    assert [receipt.status for receipt in receipts] == [200] * 4
    assert all(receipt.is_new and receipt.woke for receipt in receipts)
    assert len({receipt.provider_batch_id for receipt in receipts}) == 4
    assert {record.path for record in history} <= {"batch.completed", "batch.succeeded"}


async def test_redelivered_late_and_overtaken_ones_each_do_what_they_should(monkeypatch):
    script = [
        faults.webhook(copies=3, first=1),
        faults.webhook(delay_s=1800, first=2),
        faults.webhook(behind=1, first=3),
    ]
    receipts, _ = await run(script, monkeypatch)

    woken = [receipt.provider_batch_id for receipt in receipts if receipt.woke]
    assert {receipt.status for receipt in receipts} == {200}
    assert len(woken) == len(set(woken)) == 4
    assert all(receipt.woke is receipt.is_new for receipt in receipts)
    assert sum(not receipt.is_new for receipt in receipts) <= 2


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.webhook(signature="bad", times=None), 401),
        (faults.webhook(signature="missing", times=None), 400),
        (faults.webhook(age_s=3600, times=None), 401),
        (faults.webhook(age_s=-3600, times=None), 401),
    ],
)
async def test_what_is_not_believed_is_replaced_by_polling(fault, status, monkeypatch):
    receipts, history = await run([fault], monkeypatch, polling=Polling(first_s=0.1, max_s=0.5), rows=1)

    assert {receipt.status for receipt in receipts} <= {status}
    assert not any(receipt.woke for receipt in receipts)
    assert {record.status for record in history} <= {status, None}


async def test_webhooks_that_never_come_are_replaced_by_polling(monkeypatch):
    receipts, history = await run(
        [faults.webhook(copies=0, times=None)], monkeypatch, polling=Polling(first_s=0.1, max_s=0.5)
    )

    assert receipts == []
    assert history == []
