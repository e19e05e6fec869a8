"""The facts of a provider from elsewhere: a YAML beside its own module, wherever that is."""

import sys
from importlib import import_module

import pytest

from asyncbatch.catalog import load_catalog
from asyncbatch.enums import SubmitSafety
from asyncbatch.exceptions import ConfigError

FACTS = """\
name: acme
title: Acme
checked: 2026-11-20
docs: https://docs.acme.example/batches
base_url: https://api.acme.example/v1
credentials: {env: ACME_API_KEY, header: authorization, scheme: Bearer}
submit_safety: tagged
window_s: 3600
status: {}
limits: {requests: 10}
endpoints: [{path: /v1/chat/completions, mode: chat, format: openai.chat}]
models: [{match: "acme-*", modes: chat}]
polling: {min_interval_s: 30}
"""
THREE_LINES = """\
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
class Acme(OpenAIBatchProvider):
    PROVIDER_NAME = "acme"
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write the files of a package and give its class."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(files, module="acme_for_kit.provider"):
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / "acme_for_kit" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return import_module(module).Acme

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "acme_for_kit"]:
        del sys.modules[name]


def test_three_lines_and_a_yaml_are_a_provider_of_openai_s_protocol(package):
    provider = package({"provider.py": THREE_LINES, "acme.yaml": FACTS})(catalog=load_catalog())

    assert provider.facts.title == "Acme"
    assert provider.submit_safety() is SubmitSafety.TAGGED
    assert provider.supports_model("acme-1")
    assert not provider.supports_model("gpt-4.1")


def test_a_class_derived_elsewhere_has_the_facts_of_the_one_it_derives_from(package):
    package({"provider.py": THREE_LINES, "acme.yaml": FACTS})
    derived = type("Derived", (sys.modules["acme_for_kit.provider"].Acme,), {"__module__": __name__})

    assert derived().facts.title == "Acme"


def test_a_user_s_file_is_laid_over_them(package):
    catalog = load_catalog({"providers": {"acme": {"limits": {"requests": 3}}}})

    provider = package({"provider.py": THREE_LINES, "acme.yaml": FACTS})(catalog=catalog)

    assert provider.facts.limits.requests.value == 3


def test_every_account_shares_the_facts_that_were_read_once(package):
    acme = package({"provider.py": THREE_LINES, "acme.yaml": FACTS})

    assert acme({"api_key": "one"}).facts is acme({"api_key": "two"}).facts


def test_a_yaml_that_was_left_out_of_the_package_is_told_by_where_it_is_looked_for(package):
    provider = package({"provider.py": THREE_LINES})()

    with pytest.raises(
        ConfigError, match=r"no facts about a provider 'acme' \(acme\.yaml is read from beside .*kit\.p"
    ):
        _ = provider.facts


def test_a_yaml_that_names_another_provider_is_an_error(package):
    provider = package({"provider.py": THREE_LINES, "acme.yaml": FACTS.replace("name: acme", "name: acne")})()

    with pytest.raises(ConfigError, match=r"acme_for_kit/acme\.yaml: name: expected 'acme', the PROVIDER_NAME of Acme"):
        _ = provider.facts


def test_a_mistake_in_it_names_its_file_and_line(package):
    provider = package(
        {"provider.py": THREE_LINES, "acme.yaml": FACTS.replace("checked: 2026-11-20", "checked: now")}
    )()

    with pytest.raises(ConfigError, match=r"acme_for_kit/acme\.yaml:3: checked: "):
        _ = provider.facts
