"""No command says a key, on whichever stream and in whichever form, whatever goes wrong; and none lies in its home."""

import pytest

from asyncbatch.emulator import faults
from tests.cli.words import MODEL
from tests.secrets.canaries import canary, files_below, leaks

ENV, FILED, GATEWAY = canary("sk-env-"), canary("sk-"), canary("gw-")
CANARIES = (ENV, FILED, GATEWAY)
CONFIG = f"""providers:
  openai: {{polling: {{min_interval_s: 0}}, headers: {{X-Gateway: {GATEWAY}}}}}
  mistral: {{api_key: {FILED}, headers: {{X-Gateway: "${{TOKEN}}"}}}}
"""


@pytest.fixture
def home(place, asyncbatch_emulator, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", ENV)
    monkeypatch.setenv("TOKEN", GATEWAY)
    (place / "llm_config.yaml").write_text(CONFIG)
    return place


QUESTIONS = [
    ("config", "show"),
    ("config", "show", "--origins"),
    ("config", "show", "--json"),
    ("config", "check"),
    ("config", "check", "--json"),
    ("providers",),
    ("providers", "--json"),
    ("models",),
    ("models", "mistral", "--json"),
    ("ls",),
    ("ls", "--json"),
    ("status", "openai/batch_none"),
    ("status", "openai/batch_none", "--json"),
    ("results", "openai/batch_none"),
    ("cancel", "openai/batch_none"),
    ("watch", "openai/batch_none"),
    ("status", "mistral/none"),
    ("orphans", "openai"),
    ("orphans", "openai", "--json"),
    ("show", "none"),
    ("gc",),
    ("sql", "select * from jobs"),
]


def assert_clean(done):
    for text in (done.out, done.err):
        assert leaks(text, *CANARIES) == [], text


@pytest.mark.parametrize("command", QUESTIONS, ids=" ".join)
def test_no_command_says_a_key(cli, home, command):
    assert_clean(cli(*command))


def test_a_job_and_what_is_asked_about_it_say_no_key_and_leave_none_at_home(cli, run, write, home):
    write("a", "[[error:400]]")
    done = run("requests.jsonl", "-o", "rows.jsonl")
    (job,) = (line["job"] for line in cli("ls", "--json").document["jobs"])
    for command in ("show", "status", "results", "watch", "retry", "cancel"):
        for form in ((), ("--json",)):
            assert_clean(cli(command, job, *form))

    assert done.code == 3
    assert_clean(done)
    (home / "llm_config.yaml").unlink()
    for found in files_below(home):
        assert leaks(found, *CANARIES) == [], found


def test_a_key_that_is_refused_and_echoed_is_not_said(cli, write, home, asyncbatch_emulator):
    write("a")
    asyncbatch_emulator.add(faults.refuse(401, code=f"{ENV} {GATEWAY}", times=None))
    done = cli("run", "requests.jsonl", "-m", MODEL)

    assert done.code == 4
    assert_clean(done)


@pytest.mark.parametrize(
    "text",
    [
        f"providers: {{openai: {{apikey: {FILED}}}}}",
        f"providers: {{openai: {{api_key: [{FILED}]}}}}",
        f"providers: {{openai: {FILED}}}",
        f'providers: {{openai: {{api_key: "{FILED}}}}}',
        f"providers: {{openai: {{base_url: 'https://u:{FILED}@h'}}}}",
        f"providers: {{openai: {{api_key: '{FILED}\\n'}}}}",
    ],
    ids=("unknown", "list", "section", "open", "address", "break"),  # not their own words, which differ in each process
)
@pytest.mark.parametrize("command", [("config", "check"), ("config", "show"), ("status", "openai/b"), ("ls", "--json")])
def test_a_file_with_a_key_in_the_wrong_place_is_complained_about_without_it(cli, home, text, command):
    (home / "llm_config.yaml").write_text(text)

    assert_clean(cli(*command))
