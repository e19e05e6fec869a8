"""The command line as a program: signals, pipes, terminals, help, and what it costs to load."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from asyncbatch import __version__
from asyncbatch.cli import demonstration
from asyncbatch.emulator import faults
from tests.cli.words import MODEL, QUICK, read_until, rows_in, sent


def interrupt(process):
    """Press Ctrl-C, and again if it came in the instant before the program began to listen."""
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            continue
        return


class TestInterrupt:
    """Ctrl-C leaves the batches running and says how to come back; a second one leaves at once."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_prints_the_commands_that_go_on_and_exits_130(
        self, start, cli, write, place, asyncbatch_emulator, number
    ):
        write("slow [[stall]]")
        process = start("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02", "--home", "memory")
        read_until(process.stderr, b"in_progress")

        process.send_signal(number)
        out, err = process.communicate()

        assert process.returncode == 130
        assert out == b""
        assert b"1 batch left running" in err
        assert b"asyncbatch cancel openai/BATCH_ID" in err
        (results,) = [line.split()[1:] for line in err.decode().split("\n") if line.startswith("  asyncbatch results ")]
        assert "cancel" not in [record.kind for record in asyncbatch_emulator.history]
        asyncbatch_emulator.advance(100_000)
        assert cli(*results).code == 3
        assert rows_in(place / "out-1.jsonl")[0]["status"] == "expired"

    def test_rows_that_were_written_stay_and_are_told_of(self, start, write, place):
        (place / "llm_config.yaml").write_text(QUICK.replace("{openai: {", "{openai: {limits: {requests: 1}, "))
        write("quick", "slow [[stall]]")
        process = start("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.02")
        read_until(process.stderr, b"batch 1/2")
        while not rows_in(place / "out.jsonl.partial"):
            assert process.poll() is None

        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

        assert process.returncode == 130
        assert b"1 row of batches that ended before are in out.jsonl.partial" in err

    def test_a_create_that_is_under_way_gets_its_time_and_a_second_ctrl_c_does_not_wait(
        self, start, write, asyncbatch_emulator
    ):
        asyncbatch_emulator.add(faults.stall(60, when="after", method="POST", path="*/batches", times=None))
        write("hello")
        process = start("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl")
        read_until(process.stderr, b"creating")
        while "create" not in sent(asyncbatch_emulator):
            assert process.poll() is None

        process.send_signal(signal.SIGINT)
        read_until(process.stderr, b"Ctrl-C again leaves at once")
        interrupt(process)
        _, err = process.communicate()

        assert process.returncode == 130
        assert b"Whether batch 1 with its 1 request was created is not known: whoever goes on looks for it" in err

    def test_while_standard_input_is_read_it_ends_at_once_and_nothing_was_sent(self, start, place, asyncbatch_emulator):
        process = start("run", "-", "-m", MODEL, "-o", "out.jsonl")
        process.stdin.write(b'"one"\n')
        process.stdin.flush()
        while not (place / "out.jsonl.partial").exists():
            assert process.poll() is None

        process.send_signal(signal.SIGINT)
        err = process.stderr.read()

        assert process.wait() == 130
        assert b"nothing was sent" in err
        assert not (place / "out.jsonl.partial").exists()
        assert not sent(asyncbatch_emulator)

    def test_parts_that_had_no_batch_yet_are_counted(self, start, write, asyncbatch_emulator):
        asyncbatch_emulator.add(faults.stall(60, method="POST", path="*/files", times=None))
        write("hello", "world")
        process = start("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--home", "memory")
        read_until(process.stderr, b"uploading")

        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

        assert process.returncode == 130
        assert b"2 requests had no batch yet and will not be sent" in err
        assert b"left running" not in err

    def test_waiting_for_results_can_be_interrupted(self, start, run, write):
        write("slow [[stall]]")
        batch = run("requests.jsonl", "--timeout", "0.2", "-o", "o.jsonl", "--json").document["batches"][0]
        name = f"openai/{batch['provider_batch_id']}"
        process = start("results", name, "--wait", "--poll", "0.02", "-o", "later.jsonl")
        read_until(process.stderr, b"in_progress")

        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

        assert process.returncode == 130
        assert f"stopped; {name} goes on".encode() in err


class TestPipes:
    """Between other programs."""

    def test_requests_come_through_a_pipe_and_rows_leave_through_another(self, start):
        process = start("run", "-", "-m", MODEL, "--poll", "0.02")

        out, err = process.communicate(b'"one"\n"two\xe2\x80\xa8"\n')

        assert process.returncode == 0, err
        assert sorted(json.loads(line)["request_id"] for line in out.split(b"\n") if line) == ["0000000", "0000001"]

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_a_reader_that_leaves_early_ends_it_quietly_with_exit_code_1(self, start, write, unbuffered):
        write(*(f"prompt {number}" for number in range(2000)))
        process = start("run", "requests.jsonl", "-m", MODEL, "--poll", "0.02", "--quiet", unbuffered=unbuffered)
        process.stdout.close()

        err = process.stderr.read()

        assert process.wait() == 1
        assert err == b""

    @pytest.mark.parametrize(
        "command",
        [["models"], ["providers", "--json"], ["config", "show", "-q"], ["--help"], ["run", "--help"], ["--version"]],
    )
    def test_the_other_commands_take_it_as_quietly_when_a_reader_leaves(self, start, command):
        ours, theirs = os.pipe()
        os.close(ours)
        process = start(*command, stdout=theirs)
        os.close(theirs)

        _, err = process.communicate()

        assert (process.returncode, err) == (1, b"")

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    def test_a_full_disk_leaves_the_batches_and_gives_exit_code_1(self, start, write, unbuffered):
        write("hello")
        with open("/dev/full", "wb") as full:
            args = ("run", "requests.jsonl", "-m", MODEL, "--poll", "0.02", "--home", "memory")
            process = start(*args, stdout=full, unbuffered=unbuffered)
        err = process.stderr.read()

        assert process.wait() == 1
        assert b"1 batch left" in err
        assert b"  asyncbatch results openai/batch_" in err
        assert b"No space left on device" in err
        assert b"Traceback" not in err
        assert b"Exception ignored" not in err

    @pytest.mark.parametrize(
        "command", [["models"], ["models", "--json"], ["status", "openai/batch_1", "--json"], ["--help"]]
    )
    def test_a_full_disk_is_told_by_the_other_commands_too(self, start, command):
        with open("/dev/full", "wb") as full:
            process = start(*command, stdout=full)
        err = process.stderr.read()

        assert process.wait() == 1
        assert err.startswith(b"error: ")
        assert b"Traceback" not in err
        assert b"Exception ignored" not in err

    def test_a_report_that_cannot_be_written_does_not_hide_where_the_rows_are(self, start, write, place):
        write("hello")
        with open("/dev/full", "wb") as full:
            process = start(
                "run", "requests.jsonl", "-m", MODEL, "--poll", "0.02", "-o", "o.jsonl", "--json", stdout=full
            )
        err = process.stderr.read()

        assert process.wait() == 1
        assert b"1 row in o.jsonl\n" in err
        assert b".partial" not in err
        assert len(rows_in(place / "o.jsonl")) == 1

    def test_a_stderr_that_takes_nothing_does_not_keep_the_rows_from_their_file(self, start, write, place):
        write("hello")
        with open("/dev/full", "wb") as full:
            process = start("run", "requests.jsonl", "-m", MODEL, "--poll", "0.02", "-o", "out.jsonl", stderr=full)
        process.communicate()

        assert process.returncode == 0
        assert len(rows_in(place / "out.jsonl")) == 1

    @pytest.mark.parametrize(("args", "closed"), [(["-"], 0), (["requests.jsonl"], 1)])
    def test_a_stream_that_is_closed_is_named(self, start, write, asyncbatch_emulator, args, closed):
        write("hello")
        process = start("run", *args, "-m", MODEL, preexec_fn=lambda: os.close(closed))
        _, err = process.communicate()

        assert process.returncode == 2
        assert f"standard {['input', 'output'][closed]} is closed" in err.decode()
        assert not sent(asyncbatch_emulator)

    def test_words_that_could_steer_a_terminal_are_taken_out(self, start, write):
        write({"custom_id": "\x1b[2J", "body": {"messages": [1], "stream": True}})

        process = start("run", "requests.jsonl", "-m", MODEL)
        _, err = process.communicate()

        assert process.returncode == 2
        assert b"\x1b" not in err


class TestTerminal:
    """With somebody in front of it."""

    def run(self, start, *args, answer=b""):
        """Run a command whose stdin and stderr are a terminal; gives its exit code, stdout and what the terminal got.

        A question is answered when it comes; an answer of b"\\x03" is a Ctrl-C.
        """
        ours, theirs = pty.openpty()
        process = start(*args, stdin=theirs, stderr=theirs)
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 65536):
                seen += piece
                if seen.endswith(b"[y/N]: "):
                    interrupt(process) if answer == b"\x03" else os.write(ours, answer)
        except OSError:  # Linux says so when the other end of a terminal is closed
            pass
        os.close(ours)
        return process.wait(), process.stdout.read(), seen.decode()

    def test_a_bar_shows_the_job(self, start, write, monkeypatch):
        monkeypatch.setenv("TERM", "xterm")
        write("hello", "world")

        code, _, seen = self.run(start, "run", "requests.jsonl", "-m", MODEL, "--poll", "0.02", "-o", "out.jsonl")

        assert code == 0
        assert "2/2" in seen
        assert "1/1 batches" in seen
        assert "batch 1/1 batch_" not in seen

    def test_plain_lines_can_be_had_there_too(self, start, write, monkeypatch):
        monkeypatch.setenv("TERM", "xterm")
        write("hello")

        _, _, seen = self.run(start, "run", "requests.jsonl", "-m", MODEL, "--poll", "0.02", "--plain")

        assert "batch 1/1 batch_" in seen

    @pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 2), (b"\n", 2), (b"\x03", 130)])
    def test_a_dear_job_is_asked_about(self, start, write, asyncbatch_emulator, answer, code):
        write("hello")
        args = ["run", "requests.jsonl", "-m", MODEL, "--poll", "0.02", "--confirm-over", "0", "--plain"]

        found, out, seen = self.run(start, *args, answer=answer)

        assert "Send them? [y/N]" in seen
        assert found == code
        assert bool(out) == bool(sent(asyncbatch_emulator)) == (code == 0)

    @pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 2)])
    def test_cancelling_is_asked_about(self, start, run, write, asyncbatch_emulator, answer, code):
        write("slow [[stall]]")
        batch = run("requests.jsonl", "--timeout", "0.2", "-o", "o.jsonl", "--json").document["batches"][0]

        found, _, seen = self.run(start, "cancel", f"openai/{batch['provider_batch_id']}", answer=answer)

        assert "will not be answered. [y/N]" in seen
        assert found == code
        assert ("cancel" in [record.kind for record in asyncbatch_emulator.history]) == (code == 0)


@contextmanager
def live_server():
    """A server that speaks OpenAI's chat; gives its base URL, and what it was asked."""
    calls = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            calls.append((self.path, self.headers["Authorization"], body["model"]))
            answer = json.dumps({"choices": [{"message": {"content": "from afar"}, "finish_reason": "stop"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", calls
        finally:
            server.shutdown()
            thread.join()


def run_one_row(base_url, model="any-model"):
    """Take one row through a batch, over plain HTTP; gives the text of its answer."""

    def call(path, body=None, content_type="application/json"):
        headers = {"Authorization": "Bearer k", "Content-Type": content_type}
        with urllib.request.urlopen(urllib.request.Request(base_url + path, body, headers), timeout=30) as answer:
            return json.load(answer)

    order = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    row = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": order})
    part = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    form = part.format("purpose", "", "batch") + part.format("file", '; filename="a.jsonl"', row) + "--b--\r\n"
    file = call("/files", form.encode(), "multipart/form-data; boundary=b")
    create = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = call("/batches", json.dumps(create).encode())
    while batch["status"] != "completed":
        batch = call(f"/batches/{batch['id']}")
    return call(f"/files/{batch['output_file_id']}/content")["response"]["body"]["choices"][0]["message"]["content"]


class TestEmulator:
    """`asyncbatch emulator`"""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_says_where_it_is_and_ends_in_good_order(self, start, number):
        process = start("emulator", "--port", "0", "--json")
        ready = json.loads(process.stdout.readline())

        process.send_signal(number)
        _, err = process.communicate()

        assert process.returncode == 0
        assert ready["type"] == "emulator_ready"
        assert ready["env"]["OPENAI_BASE_URL"].startswith(ready["url"])
        assert f"export OPENAI_BASE_URL={ready['env']['OPENAI_BASE_URL']}" in err.decode()
        assert f"export OPENAI_API_KEY={ready['env']['OPENAI_API_KEY']}" in err.decode()

    def test_a_port_that_is_taken_is_named(self, cli, asyncbatch_emulator):
        port = asyncbatch_emulator.url.rpartition(":")[2]

        done = cli("emulator", "--port", port)

        assert done.code == 1
        assert f"port {port} on 127.0.0.1 is taken" in done.err
        assert "--port 0" in done.err

    def test_a_host_that_is_not_ours_is_named(self, cli):
        done = cli("emulator", "--host", "192.0.2.1", "--port", "0")

        assert done.code == 1
        assert "192.0.2.1" in done.err

    @pytest.mark.parametrize("option", [["--speed", "0"], ["--port", "70000"], ["--speed", "fast"]])
    def test_settings_that_make_no_sense_are_refused(self, cli, option):
        assert cli("emulator", *option).code == 2

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            (["--upstream", "localhost:11434"], "http://localhost:11434/v1"),
            (["--upstream-model", "llama3.2"], "without --upstream"),
        ],
    )
    def test_an_upstream_that_is_none_is_refused_with_what_to_do(self, cli, option, words):
        done = cli("emulator", "--port", "0", *option)

        assert done.code == 2
        assert words in done.err

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            (["--webhook-url", "http://localhost/x"], "--webhook-url and --webhook-secret, both"),
            (["--webhook-url", "localhost/x", "--webhook-secret", "whsec_c2VjcmV0"], "--webhook-url is 'localhost/x'"),
            (["--webhook-url", "http://localhost/x", "--webhook-secret", "hush"], "--webhook-secret must be whsec_"),
        ],
    )
    def test_webhooks_without_an_address_or_a_secret_are_refused(self, cli, option, words):
        done = cli("emulator", "--port", "0", *option)

        assert done.code == 2
        assert words in done.err
        assert "hush" not in done.err

    def test_whom_it_tells_of_the_ends_of_batches_is_said_and_the_secret_is_not(self, start):
        url = "http://localhost:9/webhooks"
        process = start("emulator", "--port", "0", "--json", "--webhook-url", url, "--webhook-secret", "whsec_c2VjcmV0")
        json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()

        assert f"the ends of batches are told to {url}" in err.decode()
        assert "c2VjcmV0" not in err.decode()

    def test_it_knows_models_of_ones_own(self, start):
        process = start(
            "emulator", "--port", "0", "--speed", "1000", "--json", "--model", "acme-*", "--model", "llama3.2"
        )
        ready = json.loads(process.stdout.readline())
        text = run_one_row(ready["env"]["OPENAI_BASE_URL"], model="acme-large")
        process.send_signal(signal.SIGTERM)
        process.communicate()

        assert text == "echo: hi"

    def test_answers_can_come_from_a_live_server_with_its_key(self, start, monkeypatch):
        monkeypatch.setenv("ASYNCBATCH_UPSTREAM_KEY", "secret-of-upstream")
        with live_server() as (url, calls):
            process = start(
                "emulator",
                "--port",
                "0",
                "--speed",
                "1000",
                "--json",
                "--upstream",
                url,
                "--upstream-model",
                "llama3.2",
            )
            ready = json.loads(process.stdout.readline())
            text = run_one_row(ready["env"]["OPENAI_BASE_URL"])
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate()

        assert text == "from afar"
        assert calls == [("/v1/chat/completions", "Bearer secret-of-upstream", "llama3.2")]
        assert f"answers come from {url}" in err.decode()
        assert "secret" not in err.decode()


class TestDemo:
    """`asyncbatch demo`"""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr(demonstration, "_LASTS_S", 0.2)

    def test_it_shows_every_kind_of_end_and_what_to_try_next(self, cli):
        done = cli("demo", "--requests", "600")

        assert done.code == 0
        outcomes = {line.split()[0]: line.split()[1] for line in done.err.split("\n") if len(line.split()) > 1}
        assert (outcomes["succeeded"], outcomes["errored"]) == ("597", "1")
        assert (outcomes["missing"], outcomes["rejected"], outcomes["all"]) == ("1", "1", "600")
        assert "echo: What is the weather in " in done.err
        assert "\n  asyncbatch run requests.jsonl -m openai/" in done.err

    def test_it_kills_its_own_command_in_the_middle_and_the_same_command_goes_on(self, cli, monkeypatch):
        monkeypatch.setattr(demonstration, "_LASTS_S", 5.0)

        done = cli("demo", "--requests", "80")

        assert done.code == 0
        before, _, after = done.err.partition("kill -9: process ")
        assert "4 batches at openai/gpt-4.1-mini" in before
        assert "going on with job " in after
        assert "4 batches at openai/gpt-4.1-mini" not in after
        assert "the emulator has seen 4 batches in all: nothing was lost, nothing was paid for twice" in after
        assert ["all", "80", "4", "batches"] in [line.split()[:4] for line in after.split("\n")]

    def test_what_to_try_next_can_be_called_from_a_checkout_too(self, cli, place, monkeypatch):
        program = place / ".venv" / "bin" / "asyncbatch"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", os.defpath)
        program.with_name("python").symlink_to(sys.executable)
        monkeypatch.setattr(sys, "executable", str(program.with_name("python")))

        done = cli("demo", "--requests", "8")

        assert "\n  .venv/bin/asyncbatch run requests.jsonl -m openai/" in done.err
        assert "\n  .venv/bin/asyncbatch emulator" in done.err

    def test_without_any_script_the_module_is_named(self, cli, place, monkeypatch):
        monkeypatch.setenv("PATH", os.defpath)
        (place / "python").symlink_to(sys.executable)
        monkeypatch.setattr(sys, "executable", str(place / "python"))

        assert f"\n  {place}/python -m asyncbatch run requests.jsonl" in cli("demo", "--requests", "8").err

    def test_it_never_talks_to_anybody_but_its_own_emulator(self, cli, monkeypatch, asyncbatch_emulator):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-a-real-key-0123456789")

        done = cli("demo", "--requests", "8", "--json")

        assert done.document["requests"] == 8
        assert not asyncbatch_emulator.history


def test_help_names_the_commands_and_the_exit_codes(cli):
    done = cli("--help")

    assert done.code == 0
    commands = ["cancel", "config", "demo", "emulator", "gc", "ls", "models", "orphans", "providers", "results"]
    commands += ["resume", "retry", "run", "show", "sql", "status", "submit", "watch"]
    assert [name for name in commands if f"  {name} " in done.out] == commands
    assert [code for code in (0, 1, 2, 3, 4, 8, 130) if f"    {code}  " in done.out] == [0, 1, 2, 3, 4, 8, 130]


def test_run_lists_its_exit_codes_too(cli):
    assert "8    still running when --timeout ended" in cli("run", "--help").out


def test_the_version_is_the_package_s(cli):
    assert cli("--version").out.split()[-1] == __version__


def test_the_package_can_be_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "asyncbatch", "rum"], capture_output=True, text=True)

    assert done.returncode == 2
    assert "No such command 'rum'" in done.stderr
    assert "asyncbatch --help" in done.stderr


def test_no_command_at_all_shows_the_help_and_gives_exit_code_2(cli):
    done = cli()

    assert done.code == 2
    assert done.out == ""
    assert "Commands:" in done.err


def test_a_command_or_option_that_does_not_exist_is_refused(cli):
    wrong, option = cli("rum"), cli("run", "--jsn", "--json")

    assert wrong.code == 2
    assert "No such command 'rum'" in wrong.err
    assert option.code == 2
    assert option.document["error"]["code"] == "usage"


@pytest.mark.parametrize("name", ["click", "rich"])
def test_without_the_extra_it_says_which_command_installs_it(name):
    code = f"import sys; sys.modules[{name!r}] = None; from asyncbatch.cli import main; sys.exit(main(['--help']))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 2
    assert done.stdout == ""
    assert name in done.stderr
    assert "pip install 'asyncbatch[cli]'" in done.stderr


def test_help_and_completion_load_nothing_heavier_than_click():
    code = (
        "import sys; from asyncbatch.cli import main; main(['run', '--help']);"
        "print(sorted({'aiohttp', 'anyio', 'asyncio', 'msgspec', 'yaml', 'rich'} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip().split("\n")[-1] == "[]"


def test_120_000_requests_become_120_000_rows_each_id_once(start, write, place, monkeypatch):
    """Three batches at OpenAI's limits, at an emulator in another process, found through the environment."""
    (place / "llm_config.yaml").unlink()
    server = start("emulator", "--port", "0", "--speed", "3600", "--json", "--quiet")
    for variable, value in json.loads(server.stdout.readline())["env"].items():
        monkeypatch.setenv(variable, value)
    line = '{{"custom_id": "my-{0}", "body": {{"messages": [{{"role": "user", "content": "number {0}"}}]}}}}\n'
    with (place / "requests.jsonl").open("w") as file:
        file.writelines(line.format(number) for number in range(120_000))

    process = start("run", "requests.jsonl", "-m", MODEL, "-o", "out.jsonl", "--poll", "0.2")
    _, err = process.communicate()

    ids = [row["request_id"] for row in rows_in(place / "out.jsonl")]
    assert process.returncode == 0, err
    assert b"120,000 requests, " in err
    assert b" 3 batches at openai/gpt-4.1-mini" in err
    assert len(ids) == 120_000
    assert set(ids) == {f"my-{number}" for number in range(120_000)}
