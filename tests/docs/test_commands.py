"""Every command that a page tells the reader to type exists, with every option on it."""

import importlib.util
import re
import tomllib

import click
import pytest

from tests.docs.pages import PAGES, ROOT, commands, pages_with, read

INLINE = re.compile(r"`(asyncbatch [^`\n]+)`")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def check_asyncbatch(words):
    from asyncbatch.cli.commands import cli

    command, context = cli, click.Context(cli, info_name="asyncbatch")
    for word in words:
        if word.startswith("-"):
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            assert word.partition("=")[0] in {*known, "--help", "--version"}, f"{context.command_path} has no {word}"
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            assert found is not None, f"{context.command_path} has no command {word}"
            command, context = found, click.Context(found, info_name=word, parent=context)


def check_dev(words):
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    dev = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dev)

    assert words[0] in dev.VERBS
    assert all(word in dev.__doc__ for word in words[1:] if word.startswith("--"))


def check_install(words):
    if words[-1].startswith("."):  # the package that a page shows, which the page's own test installs
        return
    named = re.fullmatch(r"asyncbatch(?:\[([\w,]+)\])?", words[-1])

    assert named, f"{words[-1]} is not this project"
    extras = set((named[1] or "").split(",")) - {""}
    assert extras <= set(PYPROJECT["project"]["optional-dependencies"])


CHECKS = {
    ("asyncbatch",): check_asyncbatch,
    ("python3", "dev.py"): check_dev,
    ("pip", "install"): check_install,
}
OTHERS = {"export", "echo", "cd", "git", "head", "jq", "cat", "pytest", "curl"}
"""Programs of others, whose options are theirs."""


@pytest.mark.parametrize("page", pages_with("console"))
def test_what_a_page_tells_to_type_can_be_typed(page):
    for words in commands(page):
        start = next((start for start in CHECKS if tuple(words[: len(start)]) == start), None)
        if start is None:
            assert words[0] in OTHERS, words
        else:
            CHECKS[start](words[len(start) :])


@pytest.mark.parametrize("page", [page for page in PAGES if INLINE.search(read(page))])
def test_commands_named_in_the_text_exist(page):
    for line in INLINE.findall(read(page)):
        check_asyncbatch(line.split()[1:])


def test_a_command_that_is_not_there_would_be_noticed():
    with pytest.raises(AssertionError, match="asyncbatch has no command runn"):
        check_asyncbatch(["runn", "x.jsonl"])
    with pytest.raises(AssertionError, match="asyncbatch run has no --modle"):
        check_asyncbatch(["run", "x.jsonl", "--modle=m"])
