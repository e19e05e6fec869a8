"""A body that is read in one thread while another writes to it: each reader sees what was written whole, and no half."""

import threading

import msgspec
import pytest

from asyncbatch import spool
from asyncbatch.dto import ProviderResultRow
from asyncbatch.engine.ledger import Ledger
from asyncbatch.enums import ResultStatus
from asyncbatch.spool import IN_MEMORY_BYTES, SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime

WAITED_S = 60.0
"""Far longer than any thread needs; a test that fails says so in the end."""


@pytest.fixture
async def space(tmp_path):
    space = SpoolSpace(virtual_runtime(), tmp_path)
    yield space
    await space.discard()


class Thread:
    """Work in a thread whose failure reaches the test."""

    def __init__(self, work):
        self._work = work
        self._failure = None
        self.done = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self.done = self._work()
        except Exception as error:  # raised to whoever waits
            self._failure = error

    def result(self):
        self._thread.join(WAITED_S)
        assert not self._thread.is_alive(), "it does not end"
        if self._failure is not None:
            raise self._failure
        return self.done


class Turn:
    """A lock that says when somebody else asks for it than the one who writes."""

    def __init__(self, lock, asked):
        self._lock = lock
        self._asked = asked
        self._writer = None

    def __enter__(self):
        if self._writer is None:
            self._writer = threading.get_ident()
        elif self._writer != threading.get_ident():
            self._asked.set()
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


@pytest.mark.parametrize("size", [IN_MEMORY_BYTES - 1, IN_MEMORY_BYTES + 1])
def test_a_reader_that_comes_in_the_middle_of_a_write_neither_breaks_it_nor_sees_a_half(space, monkeypatch, size):
    write, asked, readers = spool._write_all, threading.Event(), []
    before, after = b"a" * size, b"b" * 1000
    file = space.new()
    file.append(before)
    file._turn = Turn(file._turn, asked)

    def read():
        try:
            return file.read()
        finally:
            asked.set()

    def write_slowly(writer, data):
        write(writer, data[: len(data) // 2])
        readers.append(Thread(read))
        assert asked.wait(WAITED_S)  # it has come: it waits, or has been here
        write(writer, data[len(data) // 2 :])

    with monkeypatch.context() as patch:
        patch.setattr(spool, "_write_all", write_slowly)
        file.append(after)
    (seen,) = (reader.result() for reader in readers)

    assert seen in (before, before + after)
    assert file.read() == before + after


ROWS, FIRST, STEP = 24_000, 8_000, 128
BODY = msgspec.Raw(b'{"x":"' + b"y" * 300 + b'"}')


def row(number):
    return ProviderResultRow(request_id=str(number), status=ResultStatus.SUCCEEDED, body=BODY, format="x")


def positions(answers):
    return [int(answer.request_id) for answer in answers]


def test_rows_that_are_final_are_read_while_those_of_a_later_round_are_entered(space):
    ids = [f"r{number}" for number in range(ROWS)]
    ledger = Ledger(ROWS, space.new())
    ledger.add([row(number) for number in range(FIRST)], positions, ids)
    final, is_over = ledger.size, threading.Event()

    def read():
        counted = []
        while not is_over.is_set() or not counted:
            offset, count = 0, 0
            while offset < final:
                found, offset = ledger.read(offset, final)
                count += len(found)
            counted.append(count)
        return set(counted)

    readers = [Thread(read) for _ in range(2)]
    try:
        for first in range(FIRST, ROWS, STEP):
            ledger.add([row(number) for number in range(first, min(first + STEP, ROWS))], positions, ids)
    finally:
        is_over.set()
    seen = [reader.result() for reader in readers]

    assert seen == [{FIRST}] * 2
    assert ledger.counts() == {ResultStatus.SUCCEEDED: ROWS}
