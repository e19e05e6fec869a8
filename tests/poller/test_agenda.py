"""Who is asked about when: places that mean nothing any more are passed over, and cleared away before they pile up."""

import random

import pytest

from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from asyncbatch.watching.agenda import Agenda
from asyncbatch.watching.handle import BatchHandle, Watch
from tests.poller.scripted import ScriptedProvider


@pytest.fixture
def watches():
    provider = ScriptedProvider(runtime=virtual_runtime(VirtualClock()))
    return [Watch(BatchHandle(provider, f"b{number}"), 0.0, 0.0) for number in range(200)]


@pytest.fixture
def agenda(watches):
    agenda = Agenda()
    for number, watch in zip(random.Random(1).sample(range(200), 200), watches, strict=True):
        agenda.put(watch, float(number))
    return agenda


def all_in_order(agenda):
    found = []
    while agenda.earliest() is not None:
        due = agenda.earliest()
        found.append((due, agenda.pop()))
    return found


@pytest.mark.parametrize("horizon", [-1.0, 0.0, 3.0, 24.0, 25.0, 26.0, 199.0, 1000.0])
def test_who_is_due_by_then_is_named_whether_they_are_few_or_nearly_all(agenda, watches, horizon):
    assert {watch.due for watch in agenda.until(horizon)} == {float(at) for at in range(200) if at <= horizon}
    assert len(agenda.until(horizon)) == len(set(agenda.until(horizon)))


@pytest.mark.parametrize("horizon", [5.0, 150.0])
def test_former_places_are_nobodys(agenda, watches, horizon):
    for watch in watches[:50]:
        agenda.put(watch, 500.0)
    for watch in watches[50:60]:
        agenda.remove(watch)

    named = agenda.until(horizon)

    assert named
    assert not {watch.batch_id for watch in named} & {f"b{number}" for number in range(60)}


def test_many_who_are_taken_off_leave_no_places_behind(agenda, watches):
    gone, rest = watches[:150], watches[150:]
    agenda.remove_all(gone)

    assert len(agenda._heap) == 50
    assert {watch.due for watch in gone} == {None}
    assert {watch.batch_id for _, watch in all_in_order(agenda)} == {watch.batch_id for watch in rest}


def test_they_come_in_the_order_in_which_they_are_due_after_others_were_taken_off(agenda, watches):
    agenda.remove_all(watches[:150])
    expected = sorted((watch.due, watch.batch_id) for watch in watches[150:])

    assert [(due, watch.batch_id) for due, watch in all_in_order(agenda)] == expected


def test_who_was_taken_off_may_come_back(agenda, watches):
    agenda.remove_all(watches)
    assert agenda.earliest() is None
    assert agenda.put(watches[7], 3.0)
    assert not agenda.put(watches[8], 4.0)

    assert [watch.batch_id for _, watch in all_in_order(agenda)] == ["b7", "b8"]
