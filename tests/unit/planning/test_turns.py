"""Owners take turns, and each is served in the order of asking."""

import pytest

from asyncbatch.planning.turns import Rotation


def waiting(*asked):
    rotation = Rotation()
    for owner, item in asked:
        rotation.add(owner, item)
    return rotation


def served(rotation, may=lambda _: True):
    found = []
    while (item := rotation.next(may)) is not None:
        found.append(item[1])
    return found


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ([], []),
        ([("a", 1), ("a", 2), ("a", 3)], [1, 2, 3]),
        ([("a", 1), ("a", 2), ("a", 3), ("b", 4)], [1, 4, 2, 3]),
        ([("a", 1), ("a", 2), ("b", 3), ("b", 4), ("c", 5)], [1, 3, 5, 2, 4]),
        ([(None, 1), (None, 2), ("a", 3)], [1, 3, 2]),
    ],
)
def test_owners_take_turns(asked, order):
    assert served(waiting(*asked)) == order


def test_who_may_not_is_passed_over_and_keeps_his_turn():
    rotation = waiting(("a", 1), (None, 2), ("b", 3))

    assert rotation.next(lambda owner: owner == "b") == ("b", 3)
    assert rotation.next(lambda owner: owner == "b") is None
    assert len(rotation) == 2
    assert served(rotation) == [1, 2]


def test_who_has_had_a_turn_comes_after_all_who_wait():
    rotation = waiting(("a", 1), ("a", 2))
    rotation.next(lambda _: True)
    rotation.add("b", 3)

    assert served(rotation) == [2, 3], "the rest of a was there before b"


def test_the_next_of_one_owner():
    rotation = waiting(("a", 1), ("b", 2), ("a", 3))

    assert [rotation.next_of(owner) for owner in ("a", "a", "a", "c")] == [1, 3, None, None]
    assert served(rotation) == [2]


def test_what_is_dropped_is_not_served_and_costs_nobody_a_turn():
    rotation = waiting(("a", 1), ("a", 2), ("b", 3))
    rotation.drop("a", 1)
    rotation.drop("b", 3)

    assert served(rotation) == [2]
