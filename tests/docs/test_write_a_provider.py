"""The page "write a provider", followed to the letter: its files written, its package installed, its commands typed.

The package is built and installed by pip into a folder that only the subprocesses see; the emulator stands in for its service.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from asyncbatch.emulator import Emulator, faults, paid_twice
from tests.docs.pages import ROOT, commands, examples, files

PAGE = "docs/write-a-provider.md"

# An isolated pip asks no index, reads no settings of the developer's, and finds hatchling where the tests have it.
PIP = [
    "pip",
    "--isolated",
    "--quiet",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "install",
    "--no-index",
    "--no-deps",
]
IN_A_HURRY = ["--poll", "0.1"]


class Shell:
    """What a reader types into: a folder with the page's files, and an environment in which the package is installed."""

    def __init__(self, folder, base_url):
        self.place = folder
        self.target = folder / "installed"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
        self.env = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "ACME_BASE_URL": base_url}
        self.env["ASYNCBATCH_HOME"] = f"{folder}-home"
        for path, text in files(PAGE).items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def type(self, words):
        match words:
            case ["cd", folder]:
                self.place /= folder
            case ["export", assignment]:
                self.env[assignment.partition("=")[0]] = "test-key"
            case ["pip", "install", what]:
                return self.python("-m", *PIP, "--no-build-isolation", "--target", str(self.target), what)
            case ["pytest"]:
                return self.python("-m", "pytest", "-p", "no:cacheprovider")
            case ["asyncbatch", *rest]:
                return self.asyncbatch(*rest)
            case _:
                raise AssertionError(f"nobody follows {words}")
        return None

    def asyncbatch(self, *words, **options):
        words = [*words, *IN_A_HURRY] if words[0] == "run" else words
        return self.python("-W", "error", "-m", "asyncbatch", *words, **options)

    def python(self, *words, target=None):
        """Run Python without the working directory on its path: what is imported is what was installed."""
        env = {**self.env, "PYTHONPATH": os.pathsep.join(map(str, [target or self.target, ROOT]))}
        return subprocess.run(
            [sys.executable, "-P", *words], cwd=self.place, env=env, capture_output=True, text=True, timeout=120
        )

    def available(self, target):
        code = "from asyncbatch import batch_provider_registry as registry; print(*registry.available())"
        return self.python("-c", code, target=target).stdout.split()

    def rows(self, name):
        lines = (self.place / name).read_text(encoding="utf-8").splitlines()
        return {row["request_id"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def service():
    with Emulator(speed=3600, models=["acme-*"]) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def followed(service, tmp_path_factory):
    """Follow the page from its first command to its last; gives the shell, and what each command has said."""
    shell = Shell(tmp_path_factory.mktemp("page"), service.base_url("openai"))
    said = {}
    for words in commands(PAGE):
        done = shell.type(words)
        if done is not None:
            assert done.returncode == 0, (words, done.stdout, done.stderr)
            said[" ".join(words)] = done.stdout + done.stderr
    return shell, said


@pytest.fixture
def shell(followed):
    return followed[0]


def test_the_page_can_be_followed_to_its_last_command(followed):
    _, said = followed

    assert list(said) == [
        "pip install .[test]",
        "pytest",
        "asyncbatch providers",
        "asyncbatch models acme",
        "asyncbatch config show acme --origin",
        "asyncbatch run requests.jsonl -m acme/acme-1 -o out.jsonl",
    ]
    assert "passed" in said["pytest"]
    assert "acme/acme-1" in said["asyncbatch models acme"]
    assert "asyncbatch_acme/acme.yaml:" in said["asyncbatch config show acme --origin"]
    assert "batch price of 2026-11-24" in said["asyncbatch run requests.jsonl -m acme/acme-1 -o out.jsonl"]


def test_every_request_of_the_page_comes_back_as_one_row(shell):
    rows = shell.rows("out.jsonl")

    assert set(rows) == {"0000000", "0000001", "0000002", "america", "oceania"}
    assert {row["status"] for row in rows.values()} == {"succeeded"}
    answer = rows["america"]["response"]["choices"][0]["message"]["content"]
    assert answer == "echo: Name a river in America."


def test_the_installed_package_is_all_that_is_left_beside_the_page_s_files(shell):
    left = {path.relative_to(shell.place.parent).as_posix() for path in shell.place.rglob("*") if path.is_file()}

    assert left - {"asyncbatch-acme/again.jsonl", "asyncbatch-acme/out.jsonl"} == set(files(PAGE))
    assert (shell.target / "asyncbatch_acme/acme.yaml").is_file()


def test_the_provider_is_listed_with_its_facts(shell):
    listed = json.loads(shell.asyncbatch("providers", "--json").stdout)["providers"]
    (acme,) = [row for row in listed if row["name"] == "acme"]

    assert acme["title"] == "Acme"
    assert (acme["has_key"], acme["max_requests"], acme["submit_safety"]) == (True, 50_000, "tagged_fenced")


def test_a_create_whose_answer_is_lost_is_found_again_by_its_tag(shell, service):
    before = [record.kind for record in service.history].count("create")
    service.add(faults.accept_then_drop())

    done = shell.asyncbatch("run", "requests.jsonl", "-m", "acme/acme-1", "-o", "again.jsonl", "--again")

    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in shell.rows("again.jsonl").values()} == {"succeeded"}
    assert [record.kind for record in service.history].count("create") == before + 1
    assert [record.status for record in service.history if record.operation == "create" and record.faults] == [None]
    assert paid_twice(service.history) == {}


def test_a_user_s_file_is_laid_over_the_facts_that_the_package_brings(shell, tmp_path):
    (text,) = (block.parsed for block in examples(PAGE, "yaml") if "acme:" in block.parsed)
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(text, encoding="utf-8")
    bad.write_text(text.replace("requests: 1000", "request: 1000"), encoding="utf-8")

    check = shell.asyncbatch("config", "check", "--json", "--config", str(good))
    models = shell.asyncbatch("models", "acme", "--json", "--config", str(good))
    mistaken = shell.asyncbatch("config", "check", "--config", str(bad))

    assert (check.returncode, json.loads(check.stdout)["unused"]) == (0, [])
    assert json.loads(models.stdout)["models"][0]["match"] == "tuned-*"
    assert mistaken.returncode == 2
    assert "bad.yaml:4: providers.acme.limits.request: unknown key" in mistaken.stderr


def test_without_the_package_the_provider_is_unknown_again(shell, tmp_path):
    target = tmp_path / "installed"
    shutil.copytree(shell.target, target)
    with_it = shell.available(target)
    shutil.rmtree(target)
    without = shell.available(target)

    done = shell.asyncbatch("run", "requests.jsonl", "-m", "acme/acme-1", "--dry-run", target=target)

    assert set(with_it) - set(without) == {"acme"}
    assert done.returncode == 2
    assert "there is no provider 'acme'; there are: " in done.stderr
