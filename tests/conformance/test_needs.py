"""A test file whose SDK is not installed is left out; whoever runs these tests, as `python3 dev.py check`, has to have all."""

import pytest

from tests.conformance.needs import left_out, missing_imports, missing_packages

pytestmark = pytest.mark.conformance


def test_every_package_of_the_group_is_installed():
    assert missing_packages() == []


def test_no_file_is_left_out():
    assert left_out() == {}


def test_a_file_whose_sdk_is_missing_says_which_and_another_needs_nothing(tmp_path):
    (tmp_path / "lone.py").write_text("import json\nimport nowhere\nfrom elsewhere.types import Batch\n")
    (tmp_path / "fine.py").write_text("import pytest\nfrom tests.conformance.no_such_file import CHAT\n")

    assert missing_imports(tmp_path / "lone.py") == ["nowhere", "elsewhere.types"]
    assert missing_imports(tmp_path / "fine.py") == []
