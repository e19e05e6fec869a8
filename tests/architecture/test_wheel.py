"""What we ship: the package with its YAML and `py.typed`, and nothing from beside it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_package_is_in_the_wheel(shipped):
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "asyncbatch").rglob("*") if path.is_file()}
    ours = {name for name in files if "__pycache__" not in name}

    assert ours <= shipped
    assert {"asyncbatch/py.typed", "asyncbatch/providers/openai.yaml"} <= shipped


def test_the_wheel_holds_nothing_but_the_package_and_its_papers(shipped):
    tops = {name.split("/")[0] for name in shipped}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"asyncbatch"}
    assert any(name.endswith("licenses/LICENSE") for name in shipped)
