"""The pytest plugin: one fixture for tests with and without a loop, that costs nothing until it is used."""

import os
import subprocess
import sys
import urllib.request

import pytest

from asyncbatch.testing.plugin import asyncbatch_emulator, asyncbatch_emulator_options

__all__ = ["asyncbatch_emulator", "asyncbatch_emulator_options"]  # fixtures: pytest finds them here by name


def test_a_synchronous_test_gets_a_running_emulator(asyncbatch_emulator):
    with urllib.request.urlopen(asyncbatch_emulator.url + "/", timeout=10) as response:
        assert response.status == 200


async def test_an_asynchronous_test_gets_one_too(asyncbatch_emulator):
    assert asyncbatch_emulator.history == []


def test_the_environment_leads_there(asyncbatch_emulator):
    assert os.environ["OPENAI_BASE_URL"] == asyncbatch_emulator.base_url("openai")
    assert os.environ["OPENAI_API_KEY"]


def test_the_environment_is_as_before_when_the_test_is_over():
    assert "OPENAI_BASE_URL" not in os.environ


class TestWithOtherOptions:
    @pytest.fixture
    def asyncbatch_emulator_options(self):
        return {"clock": lambda: 1000.0}

    def test_a_conftest_can_change_how_it_is_made(self, asyncbatch_emulator):
        assert asyncbatch_emulator.now == 1000.0


def test_loading_the_plugin_imports_no_server():
    code = "import sys, asyncbatch.testing.plugin; print('aiohttp' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
