"""The page of figures says what was measured, and the benchmarks can be run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_and_its_chart_are_made_of_the_results_that_are_kept():
    script = "from benchmarks._page import *; f = results(); p = PAGE.read_text(encoding='utf-8')"
    check = "assert f and written(p, f) == p and chart(f) == CHART.read_text(encoding='utf-8')"

    subprocess.run([sys.executable, "-c", f"{script}\n{check}"], cwd=ROOT, check=True)


def test_every_benchmark_has_its_line_in_the_readme():
    readme = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")

    assert all(f"| `{name}.py` |" in readme for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_and_its_contenders_agree(name):
    answer = json.loads(run("benchmarks", name, "--json", "--rounds", "1", "--scale", "0.002"))

    assert [case["failed"] for case in answer["cases"]] == [{}] * len(answer["cases"])
    assert all("asyncbatch" in case["figures"] for case in answer["cases"])
