"""The emulator's own parsers: whatever a client sends, it answers, refuses in its dialect's words, and goes on."""

import asyncio
import logging
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import strategies as st

from asyncbatch.emulator import Emulator
from tests.fuzz.budget import SIZES, World, run
from tests.fuzz.mutations import BENT
from tests.fuzz.recordings import HOPS, WAYS, recording, ways_to_bend

EXAMPLES = 60
KINDS = st.sampled_from(
    [
        "application/json",
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "",
        "a/b; charset=nope",
    ]
)
QUERY = st.dictionaries(
    st.sampled_from(
        ["limit", "after", "after_id", "pageSize", "pageToken", "page", "page_size", "order_by", "key", "inline"]
    ),
    st.sampled_from(["", "-1", "0", "9" * 30, "x", "1e9", "%00", "\u2028", "٣"]),
    max_size=2,
)
STEPS = st.sampled_from(
    ["", "..", "%2e%2e", "x" * 3_000, "%00", "%ff", "a?b", ":cancel", "\u2028", "batches", "files", "content"]
)


@asynccontextmanager
async def opened():
    with Emulator(models=["echo-*"]) as emulator:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            yield emulator, session


def asked_of(way):
    """Give the requests that a provider made, with bodies or without."""
    return [said for call in recording(way)[0].calls.values() for said in call]


async def answer_of(session, url, said, body, changes):
    headers = {name: value for name, value in said.asked_headers.items() if name.lower() not in HOPS} | changes
    try:
        async with asyncio.timeout(20), session.request(said.method, url, data=body, headers=headers) as answer:
            return answer.status, await answer.read()
    except (aiohttp.ClientError, ValueError):  # a request that cannot be sent, or a connection that it was refused on
        return None, b""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_a_request_that_is_bent_is_answered_or_refused(way, size, caplog):
    caplog.set_level(logging.ERROR)
    requests = asked_of(way)
    with World(opened) as world:
        emulator, session = world.here

        def holds(at, query, step, kind, data):
            said = requests[at % len(requests)]
            path = said.path.partition("?")[0] + (f"/{step}" if step else "")
            body = data.draw(ways_to_bend(said.asked) | st.sampled_from(BENT))
            tail = "&".join(f"{name}={value}" for name, value in query.items())
            changes = {} if kind is None else {"Content-Type": kind}
            status, told = world.run(answer_of(session, f"{emulator.url}{path}?{tail}", said, body, changes))
            assert status is None or status < 500, (status, said.method, path, body, told)

        given = {"at": st.integers(0, 30), "query": QUERY, "step": STEPS, "kind": st.none() | KINDS, "data": st.data()}
        run(holds, size, EXAMPLES, given)
        assert world.run(answer_of(session, emulator.url, requests[-1]._replace(method="GET"), b"", {}))[0] == 200
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
