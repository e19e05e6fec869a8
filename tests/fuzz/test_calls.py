"""Whole calls: what was recorded of each provider, one answer bent, told through a socket. Only errors of ours come out."""

import asyncio
import json

import pytest
from hypothesis import strategies as st

from asyncbatch import AsyncBatchError, ResultStatus
from tests.fuzz.budget import SIZES, World, run
from tests.fuzz.mutations import BENT, bent
from tests.fuzz.recordings import WAYS, Raw, is_lines, recording, replay, rows_in, ways_to_bend, with_rows

CALLS = ("submit", "poll", "list", "find", "cancel", "fetch", "files", "delete")
OF_A_CALL, OF_ROWS, OF_HEADS = 14, 60, 40
HEADERS = (
    *(
        "Content-Length: {}",
        "Transfer-Encoding: {}",
        "Content-Encoding: {}",
        "Content-Range: bytes {}",
        "Content-Type: {}",
    ),
    *(
        "Retry-After: {}",
        "retry-after-ms: {}",
        "Date: {}",
        "ETag: {}",
        "Location: {}",
        "x-should-retry: {}",
        "x-request-id: {}",
    ),
    *(
        "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: {}",
        "anthropic-ratelimit-requests-remaining: {}",
    ),
    *(
        "x-goog-upload-status: {}",
        "x-goog-upload-url: {}",
        "x-goog-upload-size-received: {}",
        "Connection: {}",
        "Set-Cookie: {}",
    ),
)
WORDS = st.sampled_from(
    ["", "0", "1", "-1", "1e99", "nan", "chunked", "gzip", "br", "x", "/", "//", "http://[", "bytes", "9" * 50]
)
VALUES = WORDS | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=12)
STATUSES = st.sampled_from(
    [100, 101, 199, 200, 201, 204, 206, 301, 304, 307, 400, 401, 404, 409, 416, 429, 500, 503, 599, 999]
)


async def outcome(calls, call):
    """Give what a call gave, or the error of ours that it raised; anything else comes through."""
    before = len(asyncio.all_tasks())
    try:
        async with asyncio.timeout(20):
            return await calls[call]()
    except AsyncBatchError as error:
        return error
    finally:
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) <= before + 1, "but for the server's own for this connection"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_answered_a_call_gives_or_raises_what_it_says(way, size):
    with World(replay(way)) as world:
        player, calls = world.here

        def holds(call, at, data):
            said = player.recording.calls.get(call) or player.recording.calls["poll"]
            at %= len(said)
            body = data.draw(ways_to_bend(said[at].body))
            player.play(call if call in player.recording.calls else "poll", {at: body})
            world.run(outcome(calls, player.call))

        run(
            holds,
            size,
            OF_A_CALL * len(CALLS),
            {"call": st.sampled_from(CALLS), "at": st.integers(0, 5), "data": st.data()},
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_a_row_that_is_bent_costs_itself_alone(way, size):
    with World(replay(way)) as world:
        player, calls = world.here
        rows, said = player.recording.rows, player.recording.calls["fetch"]
        player.play("fetch", {})
        whole = {row.request_id: row for row in world.run(calls["fetch"]())}
        assert len(rows) == len(whole) == 4
        is_file = {at: is_lines(said[at].body) for at, _ in rows}

        def holds(victim, row):
            at, true = rows[victim]
            if not is_file[at] and not _is_one_value(row):
                return  # in a document, this would bend all that follows
            body = said[at].body
            changed = [row if line == true else line for line in rows_in(body)]
            player.play("fetch", {at: with_rows(body, changed)})
            found = world.run(outcome(calls, "fetch"))
            assert not isinstance(found, AsyncBatchError), found
            others = [item for item in whole.values() if _id_of(item) not in true]
            assert len(others) == 3
            assert all(item in found for item in others)
            assert len(found) <= 4

        lines = [row for _, row in rows]
        given = {"victim": st.integers(0, 3), "row": bent(lines) | st.sampled_from(BENT)}
        run(holds, size, OF_ROWS, given)


@pytest.mark.parametrize("row", [b"NaN", b"-Infinity", b"True", b"null", b'"x"', b"[]", b"{}", b"9" * 5_000])
def test_an_odd_value_in_place_of_an_answer_that_a_batch_holds_costs_no_other(row):
    with World(replay("gemini")) as world:
        player, calls = world.here
        (at, _), *others = player.recording.rows
        player.play(
            "fetch", {at: with_rows(player.recording.calls["fetch"][at].body, [row, *(other for _, other in others)])}
        )
        found = world.run(calls["fetch"]())

    assert len([item for item in found if item.status is not ResultStatus.UNDECODABLE]) == 3


def _id_of(row):
    return f'"{row.request_id}"'.encode()


def _is_one_value(row):
    try:
        json.loads(row)
    except (ValueError, RecursionError):
        return False
    return not row.isspace()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["gemini file", "openai"])
def test_whatever_head_an_answer_has_a_call_gives_or_raises_what_it_says(way, size):
    with World(replay(way)) as world:
        player, calls = world.here

        def holds(call, at, status, headers, body):
            said = player.recording.calls[call]
            head = "\r\n".join([f"HTTP/1.1 {status} So", *(name.format(value) for name, value in headers)])
            player.play(call, {at % len(said): Raw(head.encode("latin-1") + b"\r\n\r\n" + body)})
            world.run(outcome(calls, call))

        heads = st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=4)
        bodies = st.sampled_from([b"", b"{}", b"<html>", b"5\r\nhello\r\n0\r\n\r\n", *recording(way)[0].bodies("poll")])
        given = {
            "call": st.sampled_from(CALLS),
            "at": st.integers(0, 5),
            "status": STATUSES,
            "headers": heads,
            "body": bodies,
        }
        run(holds, size, OF_HEADS, given)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_recorded_is_understood(way):
    with World(replay(way)) as world:
        player, calls = world.here
        for call in player.recording.calls:
            player.play(call, {})
            assert not isinstance(world.run(outcome(calls, call)), AsyncBatchError), call
        player.play("fetch", {})
        rows = world.run(calls["fetch"]())

    assert sorted(row.status for row in rows) == [ResultStatus.ERRORED, *[ResultStatus.SUCCEEDED] * 3]
