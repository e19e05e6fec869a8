"""Every example that a reader can copy runs: Python against the emulator, data through whatever reads it."""

import json
import re
import tomllib

import pytest
from starlette.testclient import TestClient

from asyncbatch import load_catalog
from tests.docs.pages import LANGUAGES, PAGES, ROOT, blocks, examples, files, pages_with, read, run_block, run_page

SPECIFIED = """
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
"""


@pytest.mark.parametrize("page", pages_with("python"))
def test_the_python_of_a_page_runs_from_top_to_bottom(page, world, request):
    namespace = run_page(page, request.getfixturevalue)

    assert namespace


def test_the_specified_example_stands_in_the_readme_word_for_word():
    assert SPECIFIED.strip() in [block.parsed.strip() for block in blocks("README.md", "python")]


def run_example(words):
    """Run the one example of the README that holds these words, by itself."""
    (example,) = (block for block in blocks("README.md", "python") if words in block.parsed)
    namespace = {}
    run_block(example, namespace)
    return namespace


def test_the_web_server_takes_work_and_streams_the_answers(world):
    with TestClient(run_example("FastAPI(")["app"]) as http:
        accepted = http.post("/jobs", json=["one", "two"])
        job = accepted.json()["job"]
        looks = (http.get(f"/jobs/{job}").json() for _ in range(2000))
        assert any(look["is_over"] for look in looks)
        answers = http.get(f"/jobs/{job}/answers").text.splitlines()
        status = http.get(f"/jobs/{job}").json()
        unknown = http.get("/jobs/nobody")

    assert accepted.status_code == 202
    assert sorted(answers) == ["0000000: echo: one", "0000001: echo: two"]
    assert status == {"done": 2, "requests": 2, "is_over": True}
    assert unknown.status_code == 404
    assert "nobody" in unknown.json()["detail"]


def test_the_watching_script_sees_the_batches_of_both_accounts(world, capsys):
    run_example("key-of-search")

    payers = {record.account for record in world.history if record.kind == "create"}
    printed = capsys.readouterr().out.splitlines()
    assert len(payers) == 2
    assert sorted(line.split()[0] for line in printed) == ["ads", "search"]
    assert all(line.endswith(" completed") for line in printed)


def test_the_agent_is_cancelled_and_its_job_goes_on(world, capsys):
    run_example("TaskGroup")

    assert capsys.readouterr().out.startswith("not yet: ")
    assert len([record for record in world.history if record.kind == "create"]) == 1


@pytest.mark.parametrize("page", pages_with("json"))
def test_json_is_json(page):
    for block in blocks(page, "json"):
        try:
            json.loads(block.parsed)
        except ValueError:  # a document for each line
            for line in block.parsed.splitlines():
                json.loads(line)


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_yaml_is_a_configuration_that_loads(page, tmp_path):
    for number, block in enumerate(examples(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block.parsed, encoding="utf-8")
        load_catalog(file)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_in_a_language_that_somebody_tries(page):
    fences = [line.strip() for line in read(page).splitlines() if line.lstrip().startswith("```")]

    assert len(fences) % 2 == 0
    assert {fence.removeprefix("```") for fence in fences[::2]} <= LANGUAGES
    assert set(fences[1::2]) <= {"```"}


def test_files_that_a_page_shows_are_followed_by_a_test_of_its_own():
    assert [page for page in PAGES if files(page)] == ["docs/web-frameworks.md", "docs/write-a-provider.md"]
    assert all(not examples(page, "toml") for page in PAGES)


def test_a_broken_example_fails_where_it_stands(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\nnumber = 1\n```\n\n```python\nimport asyncio\n\nawait asyncio.sleep(0)\n1 / (number - 1)\n```\n"
    )
    monkeypatch.setitem(PAGES, "page.md", page)

    with pytest.raises(ZeroDivisionError) as caught:
        run_page("page.md", {}.get)

    assert (str(caught.traceback[-1].path), caught.traceback[-1].lineno + 1) == (str(page), 11)


def test_a_test_on_a_page_is_run_with_its_fixtures(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("```python\nasync def test_it(number):\n    assert number == 2\n```\n")
    monkeypatch.setitem(PAGES, "page.md", page)

    with pytest.raises(AssertionError):
        run_page("page.md", {"number": 1}.get)


def test_the_picture_of_the_house_is_the_one_that_is_checked():
    (picture,) = re.findall(r"^```\ncli\n.*?^```$", read("docs/concepts.md"), re.DOTALL | re.MULTILINE)
    drawn = [set(re.split(r"\s{2,}", line)[0].split(", ")) for line in picture.splitlines()[1:-1] if line[0] != "-"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (
        contract["layers"] for contract in project["tool"]["importlinter"]["contracts"] if contract["id"] == "layers"
    )
    there = [{name for name in layer.split(" | ") if name[0] not in "(_"} for layer in layers]

    assert drawn == there
