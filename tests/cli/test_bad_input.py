"""Bad input gets an error that names the line, the value and the next step; nothing is sent, and nothing is lost."""

import json

import pytest

from asyncbatch.emulator import faults
from tests.cli.words import QUICK, sent

GOOD = b'{"custom_id": "good", "body": {"messages": [{"role": "user", "content": "hello"}]}}'


@pytest.fixture(autouse=True)
def nothing_is_sent(asyncbatch_emulator):
    yield
    assert not sent(asyncbatch_emulator)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (b"not json", "not_json", "it is not JSON: Expecting value at character 1: 'not json'"),
        (b'{"messages": [', "not_json", "it is not JSON"),
        (b'{"a": 1}}', "not_json", "Extra data at character 9"),
        (b"[" * 100_000, "not_json", "it is not JSON"),
        (b'"\xff"', "not_json", "it is not UTF-8 text: byte 2 is 0xff"),
        (b"3", "not_an_object", "a line is an object or a text in quotes, not '3'"),
        (b"null", "not_an_object", "not 'null'"),
        (b'[{"messages": []}]', "not_an_object", "jq -c '.[]' FILE"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', "nan", "NaN"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}', "nan", "infinity"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "surrogate", "\\ud800"),
        (b'"\\udfff"', "surrogate", "\\udfff"),
        (b'{"custom_id": "good", "body": {"messages": [1]}}', "duplicate_id", "'good' was used before, by line 1"),
        (b'{"custom_id": "", "body": {"messages": [1]}}', "bad_id", "custom_id is empty"),
        (b'{"custom_id": 7, "body": {"messages": [1]}}', "bad_id", "custom_id is 7, not a text"),
        (b'{"custom_id": "x"}', "no_body", "no body"),
        (b'{"custom_id": "x", "body": "text"}', "not_an_object", "body is the text 'text'"),
        (b'{"prompt": "x"}', "missing_field", "a chat request needs messages; this one has prompt"),
        (b'{"model": "gpt-4o", "messages": [1]}', "mixed_models", "'gpt-4o', but this job is for 'gpt-4.1-mini'"),
        (b'{"messages": [1], "stream": true}', "streaming", "stream"),
    ],
)
def test_a_bad_line_is_named_with_its_number_its_value_and_the_next_step(run, place, line, code, words):
    (place / "requests.jsonl").write_bytes(GOOD + b"\n\n" + line + b"\n")

    done = run("requests.jsonl", "-o", "out.jsonl", "--json")

    error = done.document["error"]
    assert done.code == 2
    assert error["code"] == code
    assert error["problems"][0]["line"] == 3
    assert error["problems"][0]["row"] == 1
    assert "1 request of requests.jsonl cannot be sent, so nothing was sent" in done.err
    assert "  line 3" in done.err
    assert words in done.err
    assert "hint: mend them, or let the others go with --skip-bad" in done.err
    assert not list(place.glob("out*"))


def test_a_request_above_the_size_limit_is_named(run, place):
    (place / "llm_config.yaml").write_text(QUICK.replace("{openai: {", "{openai: {limits: {file_bytes: 1000}, "))
    (place / "requests.jsonl").write_bytes(GOOD + b"\n" + json.dumps("x" * 2000).encode())

    done = run("requests.jsonl")

    assert done.code == 2
    assert "line 2" in done.err
    assert "a request may have 1,000" in done.err


def test_twenty_bad_lines_are_shown_and_all_are_counted(run, write):
    write(*[b"broken"] * 33)

    done = run("requests.jsonl")

    assert "33 requests of requests.jsonl cannot be sent" in done.err
    assert done.err.count("\n  line ") == 20
    assert "  and 13 more" in done.err


@pytest.mark.parametrize("data", [b"", b"\n  \n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(run, place, data):
    (place / "requests.jsonl").write_bytes(data)

    done = run("requests.jsonl")

    assert done.code == 2
    assert "error: requests.jsonl is empty" in done.err
    assert "hint: one request a line" in done.err


def test_a_file_in_another_encoding_is_refused(run, place):
    (place / "requests.jsonl").write_bytes('"hello"\n'.encode("utf-16"))

    done = run("requests.jsonl")

    assert done.code == 2
    assert "requests.jsonl is UTF-16 text" in done.err
    assert "hint: save it as UTF-8" in done.err


def test_a_directory_is_refused(run, place):
    (place / "requests").mkdir()

    done = run("requests")

    assert done.code == 2
    assert "requests is a directory" in done.err
    assert "hint: " in done.err


def test_a_file_that_is_not_there_is_refused(run):
    done = run("requests.jsonl")

    assert done.code == 2
    assert "there is no file requests.jsonl" in done.err


def test_a_file_that_cannot_be_read_is_refused(run, place):
    (place / "requests.jsonl").symlink_to("requests.jsonl")

    done = run("requests.jsonl")

    assert done.code == 2
    assert "requests.jsonl cannot be read: Too many levels of symbolic links" in done.err


class TestOutput:
    """What lies where the output should go is never touched."""

    def test_an_output_that_exists_is_refused(self, run, write, place):
        (place / "out.jsonl").write_text("precious")
        write("hello")

        done = run("requests.jsonl", "-o", "out.jsonl")

        assert done.code == 2
        assert "out.jsonl exists" in done.err
        assert (place / "out.jsonl").read_text() == "precious"

    def test_the_rows_of_an_interrupted_run_are_not_overwritten(self, run, write, place):
        (place / "out.jsonl.partial").write_text("precious")
        write("hello")

        done = run("requests.jsonl", "-o", "out.jsonl")

        assert done.code == 2
        assert "out.jsonl.partial exists" in done.err
        assert (place / "out.jsonl.partial").read_text() == "precious"

    def test_a_directory_is_no_output(self, run, write, place):
        (place / "out").mkdir()
        write("hello")

        done = run("requests.jsonl", "-o", "out")

        assert done.code == 2
        assert "out is a directory" in done.err
        assert "out/results.jsonl" in done.err

    def test_the_directory_of_the_output_must_exist(self, run, write):
        write("hello")

        done = run("requests.jsonl", "-o", "results/out.jsonl")

        assert done.code == 2
        assert "there is no directory results" in done.err
        assert "mkdir -p results" in done.err

    def test_a_name_that_cannot_be_written_is_refused(self, run, write):
        write("hello")

        done = run("requests.jsonl", "-o", "x" * 400)

        assert done.code == 2
        assert "cannot be written" in done.err


class TestNames:
    """Providers, models and modes that are not known."""

    @pytest.fixture(autouse=True)
    def requests(self, write):
        write("hello")

    def test_no_model_at_all(self, cli):
        done = cli("run", "requests.jsonl")

        assert done.code == 2
        assert "-m is missing" in done.err

    @pytest.mark.parametrize("model", ["gpt-4.1-mini", "/gpt-4.1-mini", "openai/", "/"])
    def test_a_model_without_its_provider(self, run, model):
        done = run("requests.jsonl", model=model)

        assert done.code == 2
        assert "names no provider" in done.err
        assert "PROVIDER/MODEL" in done.err

    def test_a_provider_that_is_not_known(self, run):
        done = run("requests.jsonl", model="opnai/gpt-4.1-mini")

        assert done.code == 2
        assert "there is no provider 'opnai'" in done.err
        assert "openai" in done.err

    @pytest.mark.parametrize("option", [[], ["--dry-run"]])
    def test_a_model_that_is_not_known_comes_with_the_lines_that_would_allow_it(self, run, option):
        done = run("requests.jsonl", *option, model="openai/llama-9")

        assert done.code == 2
        assert "no model of the catalog is called 'llama-9'" in done.err
        assert "--any-model" in done.err
        assert 'models: [{match: "llama-9", modes: [chat]}]' in done.err

    def test_any_model_allows_it(self, run):
        assert run("requests.jsonl", "--any-model", "--dry-run", model="openai/llama-9").code == 0

    def test_a_mode_that_the_model_has_not(self, run):
        done = run("requests.jsonl", "--mode", "embedding")

        assert done.code == 2
        assert "has no mode embedding" in done.err
        assert "it has chat" in done.err

    def test_a_mode_that_does_not_exist(self, run):
        done = run("requests.jsonl", "--mode", "poetry")

        assert done.code == 2
        assert "'poetry' is not one of" in done.err

    def test_an_endpoint_that_is_not_listed(self, run):
        done = run("requests.jsonl", "--endpoint", "/v1/poems")

        assert done.code == 2
        assert "no endpoint '/v1/poems'" in done.err
        assert "/v1/responses" in done.err

    def test_metadata_that_is_no_pair(self, run):
        done = run("requests.jsonl", "--metadata", "team")

        assert done.code == 2
        assert "'team' is no KEY=VALUE" in done.err


class TestAccess:
    """Keys and addresses."""

    @pytest.fixture(autouse=True)
    def requests(self, write):
        write("hello")

    def test_no_key_gives_exit_code_4_and_names_the_variable(self, run, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY")

        done = run("requests.jsonl", "-o", "out.jsonl", "--json")

        assert done.code == 4
        assert done.document["error"]["code"] == "auth.missing"
        assert "OPENAI_API_KEY is not set" in done.err
        assert "hint: export OPENAI_API_KEY=…" in done.err

    def test_a_key_that_is_refused_gives_exit_code_4(self, run, monkeypatch, asyncbatch_emulator):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
        asyncbatch_emulator.add(faults.refuse(401, times=None))

        done = run("requests.jsonl")

        assert done.code == 4
        assert "OPENAI_API_KEY" in done.err
        assert "secret" not in done.err + done.out

    def test_a_host_where_nobody_listens_gives_exit_code_1(self, run, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")

        done = run("requests.jsonl")

        assert done.code == 1
        assert "http://127.0.0.1:9" in done.err
        assert "hint: is anything listening there?" in done.err

    def test_an_address_that_is_none_is_refused(self, run, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", "example.com")

        assert run("requests.jsonl").code == 2

    def test_a_configuration_file_that_is_wrong_is_refused(self, run, place):
        (place / "llm_config.yaml").write_text("providers:\n  openai:\n    limts: {requests: 1}\n")

        done = run("requests.jsonl")

        assert done.code == 2
        assert "llm_config.yaml:3: providers.openai.limts" in done.err

    def test_a_configuration_file_that_is_not_there_is_refused(self, run):
        done = run("requests.jsonl", "--config", "nowhere.yaml")

        assert done.code == 2
        assert "nowhere.yaml: cannot be read" in done.err
