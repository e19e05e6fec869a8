"""The README and the pages of `docs/`, as what a reader can try: their code blocks, in order."""

import asyncio
import inspect
import os
import re
import shlex
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = {
    page.relative_to(ROOT).as_posix(): page
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
}


LANGUAGES = {"python", "console", "json", "toml", "yaml", "text", ""}

_TITLE = re.compile(r"^`([\w.-]+(?:/[\w.-]+)+)`:\s*\Z", re.MULTILINE)


def read(name: str) -> str:
    return PAGES[name].read_text(encoding="utf-8")


def blocks(name: str, language: str, evaluate: Callable[[Example], None] | None = None) -> list[Example]:
    """Give the fenced blocks of a page in one language."""
    parser = CodeBlockParser(language=language, evaluator=evaluate or (lambda _: None))
    return list(Document.parse(os.fspath(PAGES[name]), parser).examples())


def pages_with(language: str) -> list[str]:
    return [name for name in PAGES if blocks(name, language)]


def title(block: Example) -> str | None:
    """Give the path of the file that a block shows, if it does: the line before it is the path in backticks, with a colon."""
    found = _TITLE.search(block.document.text[: block.start])
    return found[1] if found else None


def examples(name: str, language: str) -> list[Example]:
    """Give the blocks of a page that are no files: each stands for itself."""
    return [block for block in blocks(name, language) if title(block) is None]


def files(name: str) -> dict[str, str]:
    """Give the files that a page shows, by their path."""
    found = ((title(block), block.parsed) for language in LANGUAGES - {""} for block in blocks(name, language))
    return {path: text for path, text in found if path is not None}


def run_page(name: str, fixture: Callable[[str], Any]) -> dict[str, Any]:
    """Run the Python blocks of a page in order, in one namespace, and the tests that they define; gives the namespace."""
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in examples(name, "python"):
        before = set(namespace)
        run_block(block, namespace)
        for test in sorted(namespace.keys() - before):
            if test.startswith("test_"):
                run_test(namespace[test], fixture)
    return namespace


def run_block(block: Example, namespace: dict[str, Any]) -> None:
    """Run a block that may `await` at its top level, as `python -m asyncio` lets one do."""
    first_line = block.line + 1  # the fence itself is a line
    source = "\n" * (first_line - 1) + block.parsed  # so that a traceback names the page and its line
    code = compile(source, block.path, "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    running = eval(code, namespace)
    if inspect.iscoroutine(running):
        asyncio.run(running)


def run_test(test: Callable[..., Any], fixture: Callable[[str], Any]) -> None:
    """Run a test that a page shows, with the fixtures it asks for."""
    running = test(**{name: fixture(name) for name in inspect.signature(test).parameters})
    if inspect.iscoroutine(running):
        asyncio.run(running)


def commands(name: str) -> Iterator[list[str]]:
    """Give the commands that a page tells the reader to type, each as words; what stands before a pipe, or after it."""
    for block in blocks(name, "console"):
        text = block.parsed.replace("\\\n", " ")
        for line in text.splitlines():
            if line.startswith("$ "):
                yield from _split(line[2:])


def _split(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "|"]:
        if not word.strip("|&;"):
            if words:
                yield words
            words = []
        else:
            words.append(word)
