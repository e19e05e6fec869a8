"""A provider costs one module, one YAML, one dialect, one test file and one page; no list names the providers."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "asyncbatch/providers").glob("[!_]*_provider.py"))
NAMES = [module.stem.removesuffix("_provider") for module in MODULES]


def test_the_baseline_is_among_them():
    assert "openai" in NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "path",
    [
        "asyncbatch/providers/{}.yaml",
        "asyncbatch/emulator/dialects/{}.yaml",
        "tests/providers/test_{}.py",
        "docs/providers/{}.md",
    ],
)
def test_a_provider_has_its_whole_kit(name, path):
    assert (ROOT / path.format(name)).is_file()


@pytest.mark.parametrize("folder", ["asyncbatch/providers", "asyncbatch/emulator/dialects"])
def test_no_facts_lie_about_without_a_provider(folder):
    assert {path.stem for path in (ROOT / folder).glob("*.yaml")} == set(NAMES)
