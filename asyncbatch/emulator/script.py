"""The faults of a running emulator: which calls they have touched so far, and what they make of answers."""

import random
from collections.abc import Iterable
from typing import Any

from asyncbatch.emulator.dialect import load_dialects
from asyncbatch.emulator.effects import EndlessList, Lag, change_item
from asyncbatch.emulator.faults import Call, Fault
from asyncbatch.emulator.json_values import is_array, is_object
from asyncbatch.emulator.looks import Looks, find_value


class ArmedFault:
    """A fault of the running script, with what it has counted so far."""

    def __init__(self, fault: Fault, dice: random.Random) -> None:
        self.fault = fault
        self._dice = dice
        self._calls = 0
        self._began_at: float | None = None

    def strikes(self, now: float) -> bool:
        """Count one matching call, and say whether it is touched."""
        self._calls += 1
        fault = self.fault
        if self._calls < fault.first or (fault.times is not None and self._calls >= fault.first + fault.times):
            return False
        self._began_at = now if self._began_at is None else self._began_at
        is_past = fault.for_s is not None and now > self._began_at + fault.for_s
        return not is_past and self._dice.random() < fault.chance

    def strikes_answer(self, document: dict[str, Any], now: float, looks: Looks) -> bool:
        """Say whether an answer that says this is touched."""
        if not self.fault.looks_at_answers:
            return True
        return self._is_for_answer(document, looks) and self.strikes(now)

    def _is_for_answer(self, document: dict[str, Any], looks: Looks) -> bool:
        if self.fault.completed and not looks.is_completed(document):
            return False
        return all(_says(document, path, value) for path, value in (self.fault.where or {}).items())


def _says(document: dict[str, Any], path: str, value: Any) -> bool:
    try:
        return bool(find_value(document, path) == value)
    except KeyError:
        return False


class Script:
    """The faults that are armed; added to and taken from at any time, from any thread."""

    def __init__(self, faults: Iterable[Fault], *, seed: int = 0) -> None:
        self._dice = random.Random(seed)
        self._armed: list[ArmedFault] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        for fault in faults:
            _check(fault)
        self._armed += [ArmedFault(fault, self._dice) for fault in faults]

    def remove(self, *faults: Fault) -> None:
        self._armed = [armed for armed in self._armed if armed.fault not in faults]

    def strike(self, call: Call, now: float) -> list[ArmedFault]:
        """Give the faults that touch this call; those that look at answers come along, and are counted there."""
        matching = [armed for armed in self._armed if armed.fault.is_for(call)]
        return [armed for armed in matching if armed.fault.looks_at_answers or armed.strikes(now)]


def _check(fault: object) -> None:
    """Refuse what could never strike: a test would pass for nothing."""
    if not isinstance(fault, Fault):
        raise TypeError(f"{fault!r} is no fault; the functions of `asyncbatch.emulator.faults` make some")
    dialects = load_dialects()
    if fault.dialect != "*" and fault.dialect not in dialects:
        raise ValueError(f"the emulator has no dialect {fault.dialect!r}; it speaks {', '.join(dialects)}")


def spoil_document(document: Any, armed: ArmedFault, now: float, looks: Looks) -> Any:
    """Give the JSON answer as the fault leaves it."""
    if is_array(document):  # a list with nothing around it
        return spoil_document({"data": document}, armed, now, looks)["data"]
    if not is_object(document):
        return document
    items, effect = looks.items_of(document), armed.fault.effect
    if items is None:
        return _spoil_item(document, armed, now, looks)
    if isinstance(effect, EndlessList):
        return looks.as_endless(document)
    if isinstance(effect, Lag):
        items = [item for item in items if not is_object(item) or looks.created_at_of(item) < now - effect.seconds]
    return looks.with_items(document, [_spoil_item(item, armed, now, looks) for item in items])


def _spoil_item(item: Any, armed: ArmedFault, now: float, looks: Looks) -> Any:
    if not is_object(item) or not armed.strikes_answer(item, now, looks):
        return item
    return change_item(item, armed.fault.effect, looks)
