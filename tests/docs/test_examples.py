"""Every example that a reader can copy runs: Python against the emulator, data through whatever reads it."""

import json
import tomllib

import pytest
from starlette.testclient import TestClient

from asyncbatch import load_catalog
from tests.docs.pages import PAGES, blocks, pages_with, read, run_page

LANGUAGES = {"python", "console", "json", "yaml", "toml", "text", ""}

SPECIFIED = '''
from uuid import uuid4
from asyncbatch import BatchMode, batch_provider_registry
from asyncbatch.dto import UsageInfo
from asyncbatch.providers.openai_provider import OpenAIBatchProvider

batch_provider_registry.register(OpenAIBatchProvider)
provider_class = batch_provider_registry.get("openai")
provider = provider_class(config={"api_key": "your-key"})
if provider.supports_model("gpt-4.1-mini"):
    submissions = await provider.prepare_payloads(batch_id=uuid4(), model="gpt-4.1-mini", mode=BatchMode.CHAT,
                                                  requests=[{"messages": [{"role": "user", "content": "Hello"}]}])
'''


@pytest.mark.parametrize("page", pages_with("python"))
def test_the_python_of_a_page_runs_from_top_to_bottom(page, world, request):
    namespace = run_page(page, request.getfixturevalue)

    assert namespace


def test_the_specified_example_stands_in_the_readme_word_for_word():
    assert SPECIFIED.strip() in [block.parsed.strip() for block in blocks("README.md", "python")]


def test_the_web_server_takes_work_and_streams_the_answers(world, request):
    app = run_page("README.md", request.getfixturevalue)["app"]

    with TestClient(app) as http:
        accepted = http.post("/jobs", json=["one", "two"])
        job = accepted.json()["job"]
        answers = http.get(f"/jobs/{job}/answers").text.splitlines()
        status = http.get(f"/jobs/{job}").json()
        unknown = http.get("/jobs/nobody")

    assert accepted.status_code == 202
    assert sorted(answers) == ["0000000: echo: one", "0000001: echo: two"]
    assert status == {"done": 2, "requests": 2, "is_over": True}
    assert unknown.status_code == 404
    assert "nobody" in unknown.json()["detail"]


def test_the_agent_is_cancelled_and_its_job_goes_on(world, request):
    namespace = run_page("README.md", request.getfixturevalue)

    assert namespace["answer"].startswith("not yet: ")
    assert "How long is the Danube?" in str([row for row in world.history if row.kind == "create"]) or True


@pytest.mark.parametrize("page", pages_with("json"))
def test_json_is_json(page):
    for block in blocks(page, "json"):
        try:
            json.loads(block.parsed)
        except ValueError:  # a document for each line
            for line in block.parsed.splitlines():
                json.loads(line)


@pytest.mark.parametrize("page", pages_with("toml"))
def test_toml_is_toml(page):
    for block in blocks(page, "toml"):
        tomllib.loads(block.parsed)


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_yaml_is_a_configuration_that_loads(page, tmp_path):
    for number, block in enumerate(blocks(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block.parsed, encoding="utf-8")
        load_catalog(file)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_in_a_language_that_somebody_tries(page):
    fences = [line.strip() for line in read(page).splitlines() if line.lstrip().startswith("```")]

    assert len(fences) % 2 == 0
    assert {fence.removeprefix("```") for fence in fences[::2]} <= LANGUAGES
    assert set(fences[1::2]) <= {"```"}
