"""What does it cost to know where 10,000 batches of one account stand, by pages of its list?

The list is walked three times, and the batches are over at the end of the third. `pages` are `list_statuses` alone; the poller
decides for itself between the list and single questions.
"""

from benchmarks._frame import Bench, Case, Contender, Place, Target
from benchmarks._work import IN_FLIGHT, openai_client, our_provider, polling, raw_session

WALKS = 3


def key_of(place: Place):
    return f"sweep.{place.case.count // WALKS}.{WALKS}.{place.nonce}"


async def pages(place: Place):
    over = 0
    async with our_provider(place, key=key_of(place)) as provider:
        for _ in range(WALKS):
            cursor = None
            while True:
                page = await provider.list_statuses(cursor=cursor)
                over += sum(status.status.is_terminal for status in page.statuses)
                cursor = page.cursor
                if cursor is None:
                    break
    return over


async def poller(place: Place):
    from asyncbatch import BatchPoller

    # Longer than a walk takes: who is read by one is not due again before its end. Not much longer, for the clock that looks
    # for stalls a thousand times a second is on the bill too.
    policy = polling(first_s=1.0, factor=1, max_s=1.0, concurrency=IN_FLIGHT)
    count = place.case.count // WALKS
    async with our_provider(place, key=key_of(place)) as provider, BatchPoller(policy) as watching:
        handles = await watching.watch_many(provider, (f"batch_{place.nonce}_{number}" for number in range(count)))
        return len([handle async for handle in watching.as_completed(handles)])


async def raw(place: Place):
    import msgspec

    class Batch(msgspec.Struct):
        id: str
        status: str

    class Page(msgspec.Struct):
        data: list[Batch]
        has_more: bool
        last_id: str

    decoder, over = msgspec.json.Decoder(Page), 0
    async with raw_session(place, key=key_of(place)) as session:
        for _ in range(WALKS):
            after = ""
            while True:
                async with session.get(f"/v1/batches?limit=100{after}") as response:
                    page = decoder.decode(await response.read())
                over += sum(batch.status == "completed" for batch in page.data)
                after = f"&after={page.last_id}"
                if not page.has_more:
                    break
    return over


async def openai_sdk(place: Place):
    over = 0
    async with openai_client(place) as client:
        client.api_key = key_of(place)
        for _ in range(WALKS):
            async for batch in client.batches.list(limit=100):
                over += batch.status == "completed"
    return over


BENCH = Bench(
    question=__doc__,
    unit="batch and walk",
    warm=100 * WALKS,
    cases=(Case(name="10,000 batches", count=10_000 * WALKS),),
    contenders=(
        Contender(name="asyncbatch", run=poller),
        Contender(name="asyncbatch, pages", run=pages),
        Contender(name="aiohttp + msgspec", run=raw),
        Contender(name="AsyncOpenAI, list", run=openai_sdk, peer="sdks", packages=("openai",)),
    ),
    targets=(
        Target(measure="cpu_us", against="aiohttp + msgspec", limit=1.5),
        Target(measure="cpu_us", against="aiohttp + msgspec", limit=1.5, of="asyncbatch, pages"),
        Target(measure="cpu_us", against="AsyncOpenAI", limit=0.1),
        Target(measure="stall_ms", limit=20),
    ),
)
