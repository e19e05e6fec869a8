"""What the tests here need that is not there: packages that a file imports, and those of the group `conformance`."""

import ast
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
OURS = {"asyncbatch", "tests"}
"""What is ours is there; a wrong name has to be heard of."""


def missing_imports(path):
    """Give the packages that a file imports at its top and that cannot be."""
    return [name for name in imports(path) if name.partition(".")[0] not in OURS and not is_there(name)]


def imports(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module


def is_there(name):
    """Say whether a package can be imported, without doing so; of one that several share, as `google`, a part is meant."""
    root, _, below = name.partition(".")
    spec = find_spec(root)
    if spec is not None and spec.origin is None and below:
        spec = find_spec(f"{root}.{below.partition('.')[0]}")
    return spec is not None


def left_out():
    """Give the test files that cannot be read, and why."""
    found = {path.name: missing_imports(path) for path in sorted(HERE.glob("test_*.py"))}
    return {name: missing for name, missing in found.items() if missing}


def missing_packages():
    """Give what the group has and is not installed."""
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    names = [re.split(r"[^\w.-]", requirement)[0] for requirement in project["dependency-groups"]["conformance"]]
    return [name for name in names if not is_installed(name)]


def is_installed(name):
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
