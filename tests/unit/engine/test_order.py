"""Where requests lie, in the order in which they were handed in."""

from hypothesis import given
from hypothesis import strategies as st

from asyncbatch.engine.order import REJECTS, InputOrder


def walked(order, longest):
    found, place = [], 0
    while place < len(order):
        source, at, length = order.stretch(place, longest)
        assert 0 < length <= longest
        found += [(source, at + n) for n in range(length)]
        place += length
    return found


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 9), st.integers(1, 50))
def test_each_request_stands_at_its_place(is_refused, rows, longest):
    """The same, by going through all of them."""
    refused = [row for row, is_bad in enumerate(is_refused) if is_bad]
    sent = len(is_refused) - len(refused)
    counts = [min(rows, sent - first) for first in range(0, sent, rows)]
    expected, numbers = [], iter(range(sent))
    for row, is_bad in enumerate(is_refused):
        if is_bad:
            expected.append((REJECTS, refused.index(row)))
        else:
            expected.append(divmod(next(numbers), rows))

    order = InputOrder(counts, refused, len(refused))

    assert walked(order, longest) == expected
    assert [order.stretch(place, 1)[:2] for place in range(len(order))] == expected


def test_those_whose_place_nobody_says_come_last():
    assert walked(InputOrder([2], [0], 3), 5) == [(REJECTS, 0), (0, 0), (0, 1), (REJECTS, 1), (REJECTS, 2)]
    assert walked(InputOrder([2], [0, 3], 1), 5) == [(REJECTS, 0), (0, 0), (0, 1)]
