"""From the ids that travelled back to positions."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.codec.requests import mint_id
from asyncbatch.dto import PreparedSubmission, ProviderResultRow
from asyncbatch.engine.places import all_places_of, place_of, place_of_row, places_of
from asyncbatch.enums import BatchMode, ResultStatus

SUBMISSION = PreparedSubmission(
    batch_id=uuid4(), provider_name="openai", model="m", mode=BatchMode.CHAT, endpoint="/v1/chat/completions"
)


def minted(first: int, count: int):
    return place_of(SUBMISSION.replace(wire_prefix="8f3a-", first_row=first, request_count=count), [])


@given(first=st.integers(0, 10**8), count=st.integers(1, 1000), data=st.data())
def test_a_minted_id_leads_back_to_its_row(first, count, data):
    position = data.draw(st.integers(0, count - 1))

    assert minted(first, count)(f"8f3a-{mint_id(first + position)}") == position


@pytest.mark.parametrize(
    "wire_id",
    [
        "8f3a-0000099",  # of the submission before
        "8f3a-0000103",  # of the one after
        "0000100",
        "ffff-0000100",
        "8f3a-",
        "8f3a-mine",
        "8f3a--100",
        "8f3a-1e2",
        "8f3a-" + "9" * 5000,
        "8f3a-\u0661\u0660\u0662",  # 102 in Arabic digits
        "",
    ],
)
def test_any_other_id_is_not_ours(wire_id):
    place = minted(100, 3)

    assert place("8f3a-0000102") == 2
    assert place(wire_id) is None


def test_ids_of_the_requests_own_are_looked_up():
    place = place_of(SUBMISSION.replace(request_count=2), ["a", "b"])

    assert [place("b"), place("a"), place("c")] == [1, 0, None]


@given(refused=st.sets(st.integers(0, 60)), data=st.data())
def test_refused_rows_count_on_the_wire_and_not_in_the_positions(refused, data):
    accepted = [row for row in range(80) if row not in refused]
    first = data.draw(st.integers(0, len(accepted) - 1))
    count = data.draw(st.integers(1, len(accepted) - first))
    frame = SUBMISSION.replace(wire_prefix="n-", first_row=first, request_count=count, refused_rows=sorted(refused))
    place = place_of(frame, [])

    found = {row: place(f"n-{mint_id(row)}") for row in range(90)}

    ours = accepted[first : first + count]
    assert {row: position for row, position in found.items() if position is not None} == {
        row: position for position, row in enumerate(ours)
    }


def answered(**fields):
    return ProviderResultRow(**{"request_id": "", "status": ResultStatus.SUCCEEDED} | fields)


def test_answers_that_lost_every_id_are_placed_by_their_order_where_their_number_is_the_same():
    place = place_of(SUBMISSION.replace(request_count=3), ["a", "b", "c"])

    placed = [place_of_row(answered(metadata={"position": n, "positions": 3}), place, 3) for n in range(3)]
    assert placed == [0, 1, 2]


@pytest.mark.parametrize(
    "row",
    [
        answered(metadata={"position": 0, "positions": 2}),
        answered(metadata={"position": 3, "positions": 3}),
        answered(metadata={"position": "0", "positions": 3}),
        answered(metadata={"positions": 3}),
        answered(),
        answered(request_id="stranger", metadata={"position": 0, "positions": 3}),
    ],
)
def test_an_order_that_proves_nothing_places_nothing(row):
    place = place_of(SUBMISSION.replace(request_count=3), ["a", "b", "c"])

    assert place_of_row(row, place, 3) is None


class TestALaterRound:
    """Only some of the requests were sent."""

    WHOLE = SUBMISSION.replace(wire_prefix="8f3a-", request_count=10)

    def place(self, sent, request_id="", **metadata):
        row = ProviderResultRow(request_id=request_id, status=ResultStatus.SUCCEEDED, metadata=metadata)
        return places_of(self.WHOLE, [], sent)(row)

    def test_an_id_leads_to_its_position_in_the_submission(self):
        assert self.place([2, 5, 9], f"8f3a-{mint_id(5)}") == 5

    def test_an_id_that_was_not_in_this_round_is_not_ours(self):
        assert self.place([2, 5, 9], f"8f3a-{mint_id(4)}") is None

    def test_answers_that_are_counted_are_counted_among_those_that_were_sent(self):
        assert self.place([2, 5, 9], position=1, positions=3) == 5
        assert self.place([2, 5, 9], position=1, positions=10) is None

    def test_the_first_round_sends_all(self):
        assert self.place(None, f"8f3a-{mint_id(4)}") == 4
        assert self.place(None, position=1, positions=10) == 1


OURS = st.integers(0, 40).map(lambda number: f"8f3a-{mint_id(number)}")
THEIRS = st.sampled_from(
    ["", "8f3a-", "ffff-0000012", "8f3a-mine", "8f3a-\u0663", "8f3a-" + "9" * 5000, "0000012", "8f3a-12"]
)


@given(
    st.lists(OURS, max_size=12) | st.lists(OURS | THEIRS, max_size=12),
    st.sampled_from([{}, {"first_row": 5}, {"refused_rows": (2, 7)}, {"wire_prefix": None}]),
    st.none() | st.sets(st.integers(0, 29), min_size=1).map(sorted),
)
def test_the_positions_of_many_rows_are_those_of_each(wire_ids, changes, sent):
    whole = SUBMISSION.replace(**{"wire_prefix": "8f3a-", "request_count": 30} | changes)
    ids = [f"8f3a-{mint_id(number)}" for number in range(30)]
    rows = [ProviderResultRow(request_id=wire_id, status=ResultStatus.SUCCEEDED) for wire_id in wire_ids]
    place = places_of(whole, ids, sent)

    assert list(all_places_of(whole, ids, sent)(rows)) == [place(row) for row in rows]
