"""Every test that a page names is there, so no promise outlives its proof."""

import ast
import re

import pytest

from asyncbatch import InputMode, load_catalog
from tests.docs.pages import PAGES, ROOT, read

NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)((?:::\w+)*)`")
PROMISES = "docs/reliability.md"


def is_there(path, names):
    file = ROOT / path
    body = ast.parse(file.read_text(encoding="utf-8")).body if file.exists() else None
    for name in names:
        found = [node for node in body or () if getattr(node, "name", None) == name]
        if not found:
            return False
        body = found[0].body
    return body is not None


@pytest.mark.parametrize("page", [page for page in PAGES if NAMED.search(read(page))])
def test_every_test_that_a_page_names_is_there(page):
    named = [(path, names.split("::")[1:]) for path, names in NAMED.findall(read(page))]

    assert [(path, *names) for path, names in named if not is_there(path, names)] == []


def test_every_promise_names_a_test():
    kept, _, later = read(PROMISES).partition("## Later")
    rows = [line for line in kept.splitlines() if line.startswith("| **")]

    assert rows
    assert later
    assert [row for row in rows if not NAMED.search(row)] == []


def test_how_surely_a_create_is_found_stands_there_as_the_catalog_has_it():
    lines = [line for line in read(PROMISES).splitlines() if re.search("`(NAMED|TAGGED|INFERRED)", line)]
    rows = [[cell.strip(" `") for cell in line.split("|")[1:4]] for line in lines]
    told = {name: (file, inline) for names, file, inline in rows for name in names.split(", ")}
    catalog = load_catalog()

    for facts in map(catalog.provider, catalog.names()):
        by_way = {
            InputMode.FILE: facts.submit_safety,
            InputMode.INLINE: facts.inline_submit_safety or facts.submit_safety,
        }
        known = tuple(by_way[way].name if way in facts.inputs else "no" for way in by_way)
        assert told[facts.title] == known


def test_a_test_that_is_not_there_would_be_noticed():
    assert is_there("tests/docs/test_promises.py", ["test_every_promise_names_a_test"])
    assert not is_there("tests/docs/test_promises.py", ["test_that_nobody_wrote"])
    assert not is_there("tests/docs/test_nothing.py", [])


def test_each_of_the_eighty_four_failures_has_its_test_or_says_why_it_cannot_happen():
    rows = [line.split("|") for line in read("docs/failures.md").splitlines() if re.match(r"\| \d", line)]

    assert [int(cells[1]) for cells in rows] == list(range(1, 85))
    holes = [cells[1] for cells in rows if not NAMED.search(cells[4]) and "cannot happen here: " not in cells[3]]
    assert holes == []
