"""The page about web frameworks shows the applications that the tests run, and nothing else."""

import pytest

from tests.docs.pages import files
from tests.integrations.site import EXAMPLES, SERVED

PAGE = "docs/web-frameworks.md"


@pytest.mark.parametrize("module", [served.module for served in SERVED])
def test_the_page_shows_an_example_as_it_is(module):
    shown = files(PAGE)[f"docs/examples/{module}.py"]

    assert shown == (EXAMPLES / f"{module}.py").read_text(encoding="utf-8")


def test_every_example_application_is_on_the_page_and_is_run():
    applications = {path.name for path in EXAMPLES.glob("*_app.py")}

    assert {f"{served.module}.py" for served in SERVED} == applications
    assert {path.rpartition("/")[2] for path in files(PAGE)} == applications
