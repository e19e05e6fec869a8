"""The account of requests: whatever comes, in whatever slices, each request ends in exactly one outcome."""

from collections import Counter
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.dto import ProviderResultRow, RowError, UsageInfo
from asyncbatch.engine.ledger import Ledger
from asyncbatch.enums import ResultStatus
from asyncbatch.exceptions import JournalError, StorageError
from asyncbatch.spool import PIECE_BYTES, SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime

R = ResultStatus


def ledger_of(count: int) -> tuple[Ledger, list[str]]:
    return Ledger(count, SpoolSpace(virtual_runtime()).new()), [f"mine-{position}" for position in range(count)]


def wire(count: int, wire_id: str) -> int | None:
    prefix, _, number = wire_id.partition("-")
    return int(number) if prefix == "w" and int(number) < count else None


def row(
    position: int | str, status: ResultStatus = R.SUCCEEDED, body: bytes = b'{"a":1}', **fields
) -> ProviderResultRow:
    wire_id = f"w-{position}" if isinstance(position, int) else position
    return ProviderResultRow(request_id=wire_id, status=status, body=msgspec.Raw(body), **fields)


def add(ledger: Ledger, ids: list[str], *rows: ProviderResultRow) -> list[str]:
    return ledger.add(rows, lambda rows: [wire(len(ids), row.request_id) for row in rows], ids)


def missing(position: int, request_id: str) -> ProviderResultRow:
    return ProviderResultRow(request_id=request_id, status=R.MISSING, error=RowError(code="missing"))


def rows_of(ledger: Ledger) -> list[ProviderResultRow]:
    rows, offset = [], 0
    while offset < ledger.size:
        piece, offset = ledger.read(offset)
        rows += piece
    return rows


def settled(ledger: Ledger, ids: list[str]) -> dict[str, ProviderResultRow]:
    ledger.close(missing, ids)
    rows = rows_of(ledger)
    assert sorted(row.request_id for row in rows) == sorted(ids)
    return {row.request_id: row for row in rows}


def test_answers_are_kept_whole_under_the_requests_own_ids():
    ledger, ids = ledger_of(3)
    usage = UsageInfo(prompt_tokens=1, total_tokens=1)
    answer = row(
        2, body='{"text":"\u2028 é"}'.encode(), format="openai.chat", usage=usage, metadata={"provider_request_id": "r"}
    )
    error = row(0, R.ERRORED, b"", error=RowError(code="c", message="m", retryable=True, status=500))

    assert add(ledger, ids, answer, error) == []

    assert ledger.counts() == {R.SUCCEEDED: 1, R.ERRORED: 1}
    assert settled(ledger, ids) == {
        "mine-2": msgspec.structs.replace(answer, request_id="mine-2"),
        "mine-0": msgspec.structs.replace(error, request_id="mine-0"),
        "mine-1": missing(1, "mine-1"),
    }
    assert ledger.usage == usage
    assert ledger.is_closed
    assert len(ledger) == 3


def test_answers_that_are_not_ours_are_counted_and_kept_out():
    ledger, ids = ledger_of(1)

    assert add(ledger, ids, row("x-0"), row(0), row("w-7")) == ["x-0", "w-7"]

    assert ledger.strays == 2
    assert set(settled(ledger, ids)) == {"mine-0"}


ANSWER, OTHER = row(0, body=b'{"a":1}'), row(0, body=b'{"a":2}')
EXPIRED = row(0, R.EXPIRED, b"", error=RowError(code="batch_expired"))
CANCELLED = row(0, R.CANCELLED, b"", error=RowError(code="batch_cancelled"))
ERROR, OTHER_ERROR = (row(0, R.ERRORED, b"", error=RowError(code=code, message=code)) for code in ("a", "b"))
BROKEN = row(0, R.UNDECODABLE, b"{\xff", error=RowError(code="undecodable", message="?"))


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (ANSWER, ANSWER, R.SUCCEEDED),
        (ANSWER, OTHER, R.CONFLICT),
        (ANSWER, ERROR, R.CONFLICT),
        (ERROR, ANSWER, R.CONFLICT),
        (ERROR, ERROR, R.ERRORED),
        (ERROR, OTHER_ERROR, R.CONFLICT),
        (ANSWER, EXPIRED, R.SUCCEEDED),
        (EXPIRED, ANSWER, R.SUCCEEDED),
        (CANCELLED, ERROR, R.ERRORED),
        (ERROR, CANCELLED, R.ERRORED),
        (EXPIRED, EXPIRED, R.EXPIRED),
        (ANSWER, BROKEN, R.CONFLICT),
    ],
)
@pytest.mark.parametrize("slices", [1, 2], ids=["together", "one after the other"])
def test_two_answers_to_one_request_become_one_outcome(first, second, outcome, slices):
    ledger, ids = ledger_of(2)

    for rows in ([first, second],) if slices == 1 else ([first], [second]):
        add(ledger, ids, *rows)

    assert ledger.counts() == {outcome: 1}
    assert settled(ledger, ids)["mine-0"].status is outcome


def test_both_sides_of_a_conflict_are_kept_as_they_came():
    ledger, ids = ledger_of(4)
    conflicts = [(ANSWER, OTHER), (ANSWER, ERROR), (BROKEN, ANSWER), (ANSWER, row(0, R.ERRORED, b""))]
    for position, sides in enumerate(conflicts):
        add(ledger, ids, *(msgspec.structs.replace(side, request_id=f"w-{position}") for side in sides))

    kept = settled(ledger, ids)

    assert [kept[request_id].response for request_id in ids] == [
        [{"a": 1}, {"a": 2}],
        [{"a": 1}, {"code": "a", "message": "a"}],
        ["{\ufffd", {"a": 1}],
        [{"a": 1}, None],
    ]
    assert kept["mine-0"].error.code == "conflict"
    assert "one succeeded, one errored" in kept["mine-1"].error.message
    assert kept["mine-0"].text is None


def test_a_third_answer_does_not_end_a_conflict():
    ledger, ids = ledger_of(1)

    add(ledger, ids, ANSWER, OTHER, ANSWER)
    add(ledger, ids, EXPIRED, ANSWER)

    assert settled(ledger, ids)["mine-0"].response == [{"a": 1}, {"a": 2}]


def test_the_usage_of_a_request_counts_once():
    ledger, ids = ledger_of(3)
    one = UsageInfo(total_tokens=1)

    add(ledger, ids, row(0, usage=one), row(0, usage=one), row(1, R.EXPIRED, b""), row(1, usage=one))
    add(ledger, ids, row(0, body=b'{"b":2}', usage=one), row(2))

    assert ledger.usage == UsageInfo(total_tokens=2)


def test_rows_larger_than_a_piece_are_read_whole():
    ledger, ids = ledger_of(3)
    large = b'"' + b"x" * (2 * PIECE_BYTES) + b'"'

    add(ledger, ids, row(0), row(1, body=large), row(2))

    assert bytes(settled(ledger, ids)["mine-1"].body) == large


def test_reading_at_the_end_gives_nothing_and_stays_there():
    ledger, ids = ledger_of(1)
    settled(ledger, ids)

    assert ledger.read(ledger.size) == ([], ledger.size)


def test_rows_can_be_read_while_more_come_in_and_none_is_given_twice():
    ledger, ids = ledger_of(2)
    add(ledger, ids, row(0))

    first, offset = ledger.read(0)
    add(ledger, ids, row(1))
    second, offset = ledger.read(offset)

    assert [row.request_id for row in (*first, *second)] == ids
    assert offset == ledger.size


def test_a_large_account_is_closed_in_slices():
    ledger, ids = ledger_of(40_000)
    sizes: list[int] = []

    def fill(position: int, request_id: str) -> ProviderResultRow:
        sizes.append(ledger.size)
        return missing(position, request_id)

    ledger.close(fill, ids)

    assert ledger.counts() == {R.MISSING: 40_000}
    assert len(set(sizes)) > 3
    assert [row.request_id for row in rows_of(ledger)] == ids


def test_an_account_that_does_not_add_up_is_an_error():
    ledger, ids = ledger_of(2)
    add(ledger, ids, row(0), row(1))
    ledger._outcomes[1] = 250  # an outcome that does not exist, as a fault of ours would leave it

    with pytest.raises(JournalError, match="1 outcomes for 2 requests") as caught:
        ledger.close(missing, ids)

    assert caught.value.code == "ledger.mismatch"


async def test_a_discarded_account_gives_its_disk_space_back():
    ledger, ids = ledger_of(1)
    add(ledger, ids, row(0))

    await ledger.discard()

    assert ledger.size == 0


COUNT = 5
ROWS = st.builds(
    row,
    st.integers(0, COUNT - 1) | st.sampled_from(["x-0", "w-99"]),
    st.sampled_from([R.SUCCEEDED, R.ERRORED, R.EXPIRED, R.CANCELLED, R.UNDECODABLE]),
    st.sampled_from([b'{"a":1}', b'{"a":2}', b'"' + b"x" * 300 + b'"']),
    error=st.none() | st.builds(RowError, code=st.sampled_from(["a", "b"])),
    usage=st.none() | st.just(UsageInfo(total_tokens=1)),
)


@given(st.lists(ROWS, max_size=30), st.lists(st.integers(0, 30)))
def test_outcomes_partition_the_requests_however_answers_are_sliced(rows, borders):
    whole, ids = ledger_of(COUNT)
    add(whole, ids, *rows)
    sliced, _ = ledger_of(COUNT)
    cuts = sorted({0, len(rows), *(border % (len(rows) + 1) for border in borders)})
    for start, stop in pairwise(cuts):
        add(sliced, ids, *rows[start:stop])

    outcomes = settled(sliced, ids)

    assert outcomes == settled(whole, ids)
    assert sliced.usage == whole.usage
    assert sliced.counts() == Counter(row.status for row in outcomes.values())
    assert sliced.strays == sum(row.request_id in ("x-0", "w-99") for row in rows)
    answered = {wire(COUNT, row.request_id) for row in rows} - {None}
    assert {int(name[5:]) for name, row in outcomes.items() if row.status is not R.MISSING} == answered


# A disk that refuses


class Full:
    """A body that takes no more for now; the disk behind a large one."""

    def __init__(self, file, room):
        self._file = file
        self.room = room

    def __getattr__(self, name):
        return getattr(self._file, name)

    def append(self, data):
        if self._file.size + len(data) > self.room:
            raise StorageError("the disk is full")
        self._file.append(data)


def full_ledger(count, room):
    file = Full(SpoolSpace(virtual_runtime()).new(), room)
    return Ledger(count, file), [f"mine-{position}" for position in range(count)], file


def test_answers_that_the_disk_refuses_change_no_account_and_can_be_added_again():
    ledger, ids, file = full_ledger(4, 200)
    usage = UsageInfo(total_tokens=3)
    add(ledger, ids, row(0, usage=usage), row(1, R.EXPIRED, b""))
    before, size = ledger.counts(), ledger.size
    late = [row(2, body=b'"' + b"x" * 300 + b'"', usage=usage), row(1, usage=usage), row(0, body=b"2"), row("x-1")]

    with pytest.raises(StorageError):
        add(ledger, ids, *late)
    assert (ledger.counts(), ledger.size, ledger.usage, ledger.strays) == (before, size, usage, 0)
    assert [found.request_id for found in rows_of(ledger)] == ["mine-0", "mine-1"]

    file.room = 10_000
    assert add(ledger, ids, *late) == ["x-1"]

    assert ledger.counts() == {R.SUCCEEDED: 2, R.CONFLICT: 1}
    assert ledger.usage == UsageInfo(total_tokens=9)
    assert ledger.strays == 1
    assert {name: found.status for name, found in settled(ledger, ids).items()} == {
        "mine-0": R.CONFLICT,
        "mine-1": R.SUCCEEDED,
        "mine-2": R.SUCCEEDED,
        "mine-3": R.MISSING,
    }


@pytest.mark.parametrize("room", [0, PIECE_BYTES + 10_000], ids=["at once", "after a piece"])
def test_an_account_that_the_disk_kept_from_closing_can_be_closed_later(room):
    ledger, ids, file = full_ledger(20_000, room)
    with pytest.raises(StorageError):
        ledger.close(missing, ids)
    assert not ledger.is_closed
    assert ledger.counts().get(R.MISSING, 0) == len(rows_of(ledger))

    file.room = 100_000_000
    ledger.close(missing, ids)

    assert ledger.is_closed
    assert ledger.counts() == {R.MISSING: 20_000}
    assert [found.request_id for found in rows_of(ledger)] == ids


# Read back


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([R.SUCCEEDED, R.EXPIRED, R.ERRORED]), st.integers(0, 3))))
def test_an_account_that_was_closed_is_the_same_when_it_is_read_back(answers):
    ledger, ids = ledger_of(10)
    for position, status, size in answers:
        usage = UsageInfo(prompt_tokens=size) if size else None
        add(ledger, ids, row(position, status, b'{"a":%d}' % size, usage=usage))
    before = settled(ledger, ids)
    again = Ledger.load(10, ledger._file)

    assert (again.counts(), again.usage, len(again)) == (ledger.counts(), ledger.usage, 10)
    assert {row.request_id: row for row in rows_of(again)} == before


def test_an_account_with_rows_larger_than_a_piece_is_read_back():
    ledger, ids = ledger_of(3)
    add(ledger, ids, row(0, body=b'"%b"' % (b"x" * 3 * PIECE_BYTES)), row(1))
    settled(ledger, ids)

    assert Ledger.load(3, ledger._file).counts() == {R.SUCCEEDED: 2, R.MISSING: 1}


@pytest.mark.parametrize("cut", [1, 5])
def test_an_account_that_was_cut_off_is_an_error_and_no_shorter_account(cut):
    ledger, ids = ledger_of(3)
    add(ledger, ids, row(0), row(1))
    settled(ledger, ids)
    ledger._file.cut(ledger._file.size - cut)

    with pytest.raises(JournalError, match="cut off"):
        Ledger.load(3, ledger._file)


def test_an_account_that_was_never_closed_or_is_another_submissions_does_not_add_up():
    ledger, ids = ledger_of(3)
    add(ledger, ids, row(0), row(1))

    with pytest.raises(JournalError, match="2 outcomes for 3 requests"):
        Ledger.load(3, ledger._file)
    with pytest.raises(JournalError, match="position 1 among 1"):
        Ledger.load(1, ledger._file)


class TestRounds:
    """Some requests are asked again; what is held of the others stays."""

    def begun(self):
        """Three requests: one answered, one that failed and cost something, one that expired."""
        ledger, ids = ledger_of(3)
        cost = UsageInfo(prompt_tokens=2, completion_tokens=1, total_tokens=3)
        add(ledger, ids, row(0, usage=cost), row(1, R.ERRORED, usage=cost, error=RowError(code="busy")))
        ledger.close(lambda _, name: ProviderResultRow(request_id=name, status=R.EXPIRED), ids)
        size = ledger.size
        ledger.reopen([1, 2])
        return ledger, ids, size

    def test_a_request_that_is_asked_again_has_no_outcome_meanwhile(self):
        ledger, _, size = self.begun()

        assert ledger.counts() == {R.SUCCEEDED: 1}
        assert [item.request_id for item in ledger.read(0, size)[0]] == ["mine-0"]

    def test_the_answer_of_the_later_round_is_the_outcome_and_both_were_paid_for(self):
        ledger, ids, _ = self.begun()
        add(ledger, ids, row(1, usage=UsageInfo(prompt_tokens=5, completion_tokens=5, total_tokens=10)))
        found = settled(ledger, ids)

        assert [found[name].status for name in ids] == [R.SUCCEEDED, R.SUCCEEDED, R.MISSING]
        assert ledger.usage.total_tokens == 3 + 3 + 10

    def test_a_later_round_that_was_not_sent_gives_the_outcomes_back(self):
        ledger, ids, size = self.begun()
        ledger.restore()
        found = settled(ledger, ids)

        assert [found[name].status for name in ids] == [R.SUCCEEDED, R.ERRORED, R.EXPIRED]
        assert found["mine-1"].error.code == "busy"
        assert found["mine-1"].usage is not None
        assert ledger.usage.total_tokens == 6
        assert ledger.read(0, size)[0] + ledger.read(size)[0] == rows_of(ledger)

    def test_an_answer_that_came_is_not_given_up_for_the_outcome_before(self):
        ledger, ids, _ = self.begun()
        add(ledger, ids, row(2, body=b"{}"))
        ledger.restore()

        assert [item.status for item in ledger.pick([0, 1, 2])] == [R.SUCCEEDED, R.ERRORED, R.SUCCEEDED]

    def test_nothing_beyond_what_is_final_is_handed_out(self):
        ledger, ids, size = self.begun()
        add(ledger, ids, row(1), row(2))

        assert ledger.read(0, size) == ([ledger.pick([0])[0]], size)

    @pytest.mark.parametrize("how", ["answered", "not sent"])
    def test_it_is_read_back_as_it_was(self, how):
        ledger, ids, _ = self.begun()
        if how == "answered":
            add(ledger, ids, row(1, usage=UsageInfo(total_tokens=10)))
        else:
            ledger.restore()
        ledger.close(missing, ids)
        again = Ledger.load(3, ledger._file)

        assert again.counts() == ledger.counts()
        assert again.usage == ledger.usage
        assert again.pick([0, 1, 2]) == ledger.pick([0, 1, 2])

    def test_what_a_process_that_died_had_begun_to_write_counts_for_nothing(self, tmp_path):
        ledger, ids, size = self.begun()
        ledger.keep_at(tmp_path / "rows")
        add(ledger, ids, row(1, body=b"[1,2,3]"))
        ledger._file.flush()
        space = SpoolSpace(virtual_runtime())
        again = Ledger.load(3, space.kept(tmp_path / "rows"), size)
        again.reopen([1, 2])
        assert again.counts() == {R.SUCCEEDED: 1}
        again.restore()
        again.close(missing, ids)
        again.keep_at(tmp_path / "rows")

        assert Ledger.load(3, space.kept(tmp_path / "rows")).counts() == {R.SUCCEEDED: 1, R.ERRORED: 1, R.EXPIRED: 1}

    def test_how_many_ended_how_can_be_told_without_some(self):
        ledger, ids = ledger_of(3)
        add(ledger, ids, row(0), row(1, R.ERRORED))
        ledger.close(missing, ids)

        assert ledger.counts_without([1]) == {R.SUCCEEDED: 1, R.MISSING: 1}
