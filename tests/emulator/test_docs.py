"""The page about the emulator names everything that one can ask it for."""

import inspect
from pathlib import Path
from typing import get_args

import pytest

from asyncbatch.emulator import Emulator, Fault, faults
from asyncbatch.emulator.dialect import Limits
from asyncbatch.emulator.effects import Effect, Step
from asyncbatch.emulator.life import Pace

PAGE = (Path(__file__).parents[2] / "docs/emulator.md").read_text(encoding="utf-8")
FAULTS = [
    name
    for name, value in inspect.getmembers(faults, inspect.isfunction)
    if not name.startswith("_") and "match" in inspect.signature(value).parameters
]
CONDITIONS = sorted(set(Fault.__struct_fields__) - {"effect"})
EFFECTS = [effect.__name__ for effect in get_args(Effect)]
STEPS = [f'"{step}"' for step in get_args(Step)]
SETTINGS = sorted(set(inspect.signature(Emulator).parameters))


NAMES = [*FAULTS, *CONDITIONS, *EFFECTS, *STEPS, *SETTINGS, *Limits.__struct_fields__, *Pace.__struct_fields__]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_names_it(name):
    assert f"`{name}" in PAGE


def test_there_are_faults_to_name():
    assert {"accept_then_drop", "missing_output", "full_queue"} <= set(FAULTS)
