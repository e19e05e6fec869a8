"""Answers as a stream: downloaded once, decoded in pieces, given back when nobody needs them any more."""

import asyncio
import gc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.dto import ProviderResultRow
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import ProviderPermanentError, ScopeError, StorageError
from asyncbatch.result_stream import Downloaded, ResultStream
from asyncbatch.spool import PIECE_BYTES, SpoolFile, SpoolSpace
from asyncbatch.testing.runtime import run_inline, virtual_runtime


class Service:
    """A place to download from: files of lines, and how often they were asked for."""

    def __init__(self, *files: bytes, lost: ProviderPermanentError | None = None, offload=run_inline) -> None:
        self.runtime = msgspec.structs.replace(virtual_runtime(), offload=offload)
        self.lost = lost
        self.space = SpoolSpace(self.runtime)
        self.contents = files
        self.downloads = 0
        self.kept: list[SpoolFile] = []
        self.fails = False

    async def fetch(self) -> Downloaded:
        self.downloads += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ZeroDivisionError("no connection")
        files = tuple(self.space.new() for _ in self.contents)
        for file, content in zip(files, self.contents, strict=True):
            file.append(content)
        self.kept += files
        return Downloaded(files=files, decode=decode, lost=self.lost)

    def stream(self) -> ResultStream:
        return ResultStream(self.fetch, self.runtime)

    @property
    def held_bytes(self) -> int:
        return sum(file.size for file in self.kept)


def decode(line: bytes) -> ProviderResultRow:
    return ProviderResultRow(request_id=line.decode(), status=ResultStatus.SUCCEEDED, body=msgspec.Raw(line))


def names(rows: list[ProviderResultRow]) -> list[str]:
    return [row.request_id for row in rows]


async def test_rows_of_every_file_come_in_order_and_the_files_go_after_the_last():
    service = Service(b"a\nb\n", b"", b"c")

    rows = [row async for row in service.stream()]

    assert names(rows) == ["a", "b", "c"]
    assert service.downloads == 1
    assert service.held_bytes == 0


async def test_nothing_is_downloaded_before_the_first_row_is_asked_for():
    service = Service(b"a\n")
    stream = service.stream()
    rows = aiter(stream)
    assert service.downloads == 0

    assert (await anext(rows)).request_id == "a"

    assert service.downloads == 1
    assert service.held_bytes == 2  # held until the end was seen
    with pytest.raises(StopAsyncIteration):
        await anext(rows)
    assert service.held_bytes == 0


async def test_a_stream_can_be_awaited_for_a_list():
    assert names(await Service(b"a\nb\n").stream()) == ["a", "b"]


async def test_a_batch_without_any_file_has_no_rows():
    assert await Service().stream() == []


async def test_two_files_are_not_joined_at_their_border():
    assert names(await Service(b"no newline at the end", b"next\n").stream()) == ["no newline at the end", "next"]


async def test_a_stream_that_is_iterated_again_is_downloaded_again():
    service = Service(b"a\n")
    stream = service.stream()

    assert names(await stream) == names(await stream) == ["a"]

    assert service.downloads == 2


async def test_entered_it_is_downloaded_once_and_given_back_at_the_end():
    service = Service(b"a\nb\n")

    async with service.stream() as stream:
        assert names([row async for row in stream]) == ["a", "b"]
        assert names(await stream) == ["a", "b"]
        assert service.downloads == 1
        assert service.held_bytes == 4

    assert service.held_bytes == 0


async def test_leaving_early_gives_the_files_back():
    service = Service(b"a\nb\n")

    async with service.stream() as rows:
        async for row in rows:
            assert row.request_id == "a"
            break

    assert service.held_bytes == 0
    await rows.aclose()


async def test_several_consumers_share_one_download_and_the_files_stay_for_the_slowest():
    service = Service(b"".join(b"%07d\n" % n for n in range(2 * PIECE_BYTES // 8)))
    stream = service.stream()

    fast, slow = aiter(stream), aiter(stream)
    first, second = await asyncio.gather(anext(fast), anext(slow))
    rest = [row async for row in fast]
    assert service.held_bytes > 0
    slow_rest = [row async for row in slow]

    assert service.downloads == 1
    assert first.request_id == second.request_id == "0000000"
    assert names(rest) == names(slow_rest)
    assert service.held_bytes == 0


async def test_a_download_that_fails_is_made_anew_by_whoever_asks_next():
    service = Service(b"a\n")
    stream = service.stream()
    service.fails = True
    with pytest.raises(ZeroDivisionError):
        await stream

    service.fails = False

    assert names(await stream) == ["a"]
    assert service.held_bytes == 0


async def test_an_iterator_that_was_dropped_leaves_no_warning_and_its_files_go_with_the_scope():
    service = Service(b"a\nb\n")
    rows = aiter(service.stream())
    await anext(rows)

    del rows
    gc.collect()
    await asyncio.sleep(0)
    await service.space.discard()

    with pytest.raises(ScopeError):
        service.space.new()


LINES = st.lists(st.text(st.sampled_from("ab\u2028\u0085\r\x0bé "), min_size=1).filter(str.strip), max_size=20)


@given(LINES, st.sampled_from([0, PIECE_BYTES - 3, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES - 2]), st.booleans())
async def test_where_pieces_of_a_file_end_makes_no_difference(lines, padding, ends_with_newline):
    lines = ["x" * padding, *lines] if padding else lines
    content = "\n".join(lines) + "\n" * ends_with_newline

    assert names(await Service(content.encode()).stream()) == lines


async def test_rows_come_in_slices_for_those_who_handle_many_at_once():
    service = Service(b"".join(b"%07d\n" % n for n in range(3 * PIECE_BYTES // 8)), b"\n\n", b"last")

    slices = [rows async for rows in service.stream().slices()]

    assert [len(rows) for rows in slices] == [PIECE_BYTES // 8] * 3 + [1]
    assert service.held_bytes == 0


# A file that is lost


async def gather(items, kept):
    """Keep what comes before an iteration ends, or fails."""
    async for item in items:
        kept.append(item)


GONE = ProviderPermanentError("no such file", status=404)


async def test_the_rows_of_the_files_that_came_are_given_before_the_loss_of_another_is_told():
    service = Service(b"a\nb\n", b"c\n", lost=GONE)
    rows = []

    with pytest.raises(ProviderPermanentError, match="no such file"):
        await gather(service.stream(), rows)

    assert names(rows) == ["a", "b", "c"]
    assert service.held_bytes == 0


async def test_slices_end_with_the_loss_too():
    service, slices = Service(b"a\nb\n", lost=GONE), []

    with pytest.raises(ProviderPermanentError, match="no such file"):
        await gather(service.stream().slices(), slices)

    assert list(map(names, slices)) == [["a", "b"]]


async def test_an_await_tells_the_loss_rather_than_give_a_part_for_the_whole():
    with pytest.raises(ProviderPermanentError, match="no such file"):
        await Service(b"a\n", lost=GONE).stream()


async def test_a_loss_is_told_to_everybody_who_reads_to_the_end():
    service = Service(b"a\n", lost=GONE)
    async with service.stream() as stream:
        for _ in range(2):
            with pytest.raises(ProviderPermanentError, match="no such file"):
                await stream

    assert service.downloads == 1
    assert service.held_bytes == 0


# Giving the files back


async def offload_late(func, *args):
    for _ in range(3):
        await asyncio.sleep(0)
    return func(*args)


async def test_a_native_cancel_does_not_keep_a_stream_from_giving_every_file_back():
    service = Service(b"a\n", b"b\n", offload=offload_late)
    stream = service.stream()
    async with stream:
        await stream
        task = asyncio.create_task(stream.aclose())
        for _ in range(100):
            await asyncio.sleep(0)
            task.cancel()

        assert task.cancelled()
        assert service.held_bytes == 0


async def test_a_file_that_could_not_be_given_back_is_given_back_by_the_next_closing():
    service = Service(b"a\n", b"b\n")
    stream = service.stream()
    async with stream:
        await stream
        stuck = service.kept[0]
        clear = stuck.clear

        def refuse():
            stuck.clear = clear
            raise StorageError("not now")

        stuck.clear = refuse
        with pytest.raises(StorageError, match="not now"):
            await stream.aclose()
        assert [file.size for file in service.kept] == [2, 0]

        await stream.aclose()

    assert service.held_bytes == 0
