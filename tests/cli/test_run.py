"""`asyncbatch run`: from a file of requests to a file of outcomes."""

import gzip
import io
import json
import os
import sys
import threading

import pytest

from asyncbatch.cli.reading import RequestFile
from asyncbatch.emulator import faults
from tests.cli.words import QUICK, rows_in, sent

GOOD = b'{"custom_id": "good", "body": {"messages": [{"role": "user", "content": "hello"}]}}'


def test_prompts_bodies_and_ready_rows_all_become_one_outcome_each(run, write, place):
    chat = {"messages": [{"role": "user", "content": "a body"}]}
    write("a prompt", chat, {"custom_id": "mine", "body": chat | {"temperature": 0.5}})

    done = run("requests.jsonl", "-o", "out.jsonl")

    rows = {row["request_id"]: row for row in rows_in(place / "out.jsonl")}
    assert done.code == 0
    assert sorted(rows) == ["0000000", "0000001", "mine"]
    assert rows["0000000"]["response"]["choices"][0]["message"]["content"] == "echo: a prompt"
    assert not (place / "out.jsonl.partial").exists()


def test_an_outcome_has_these_fields_and_the_provider_s_own_answer(run, write):
    write("hello")

    done = run("requests.jsonl")

    (row,) = done.rows
    assert list(row) == ["v", "request_id", "status", "text", "tool_calls", "response", "error", "usage"]
    assert row["v"] == 1
    assert row["status"] == "succeeded"
    assert row["error"] is None
    assert row["response"]["object"] == "chat.completion"
    assert (row["text"], row["tool_calls"]) == (row["response"]["choices"][0]["message"]["content"], [])
    assert row["usage"]["total_tokens"] == row["response"]["usage"]["total_tokens"]


def test_a_file_for_another_model_goes_to_the_one_of_m_where_that_is_asked_for(run, write, place, asyncbatch_emulator):
    (place / "llm_config.yaml").write_text(QUICK.replace("openai", "anthropic"))
    ask = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": ask}
    write(row, row | {"custom_id": "b"})
    arguments = ("requests.jsonl", "-o", "out.jsonl", "--replace-model")

    refused = run(*arguments[:-1], model="anthropic/claude-haiku-4-5")
    assert (refused.code, sent(asyncbatch_emulator)) == (2, [])
    assert "'gpt-4.1-mini', but this job is for 'claude-haiku-4-5'" in refused.err
    assert "--replace-model sends all of them to the model of -m" in refused.err

    dry = run(*arguments, "--dry-run", model="anthropic/claude-haiku-4-5")
    assert (dry.code, sent(asyncbatch_emulator)) == (0, [])

    done = run(*arguments, model="anthropic/claude-haiku-4-5")
    rows = {row["request_id"]: row for row in rows_in(place / "out.jsonl")}
    assert done.code == 0
    assert sorted(rows) == ["a", "b"]
    assert {row["response"]["model"] for row in rows.values()} == {"claude-haiku-4-5"}


def test_rows_go_to_stdout_and_talk_to_stderr(run, write):
    write("hello", "world")

    done = run("requests.jsonl")

    assert [row["v"] for row in done.rows] == [1, 1]
    assert "2 requests, 16 bytes → 1 batch at openai/gpt-4.1-mini" in done.err
    assert "request_id" not in done.err


def test_before_sending_it_says_what_the_input_costs_and_that_this_is_an_estimate(run, write):
    write("x" * 40_000)

    done = run("requests.jsonl")

    announced = done.err.split("\n")[0]
    assert "1 request, 40.0 kB → 1 batch" in announced
    assert "≈ $0.0020 for the input (batch price of " in announced  # 40 kB are about 10,000 tokens, at 0.2 $ a million


def test_a_price_that_is_not_known_is_said_to_be_unknown(run, write):
    write("hello")

    assert "price not known" in run("requests.jsonl", model="openai/chatgpt-4o-latest").err


@pytest.mark.parametrize(("model", "meant"), [("gpt-4.1-mni", "gpt-4.1-mini"), ("gpt-5-nan", "gpt-5-nano")])
def test_a_name_that_only_a_broad_pattern_fits_is_pointed_out(write, run, model, meant):
    write("hi")

    assert f"did you mean {meant!r}?" in run("requests.jsonl", model=f"openai/{model}").err


def test_a_name_that_is_known_is_not(write, run):
    write("hi")

    assert "did you mean" not in run("requests.jsonl", model="openai/gpt-4.1-mini").err


@pytest.mark.parametrize("out", [".", "/", "", "nodir/"])
def test_an_output_that_names_no_file_is_refused(write, run, place, out):
    write("hi")

    done = run("requests.jsonl", "-o", out)

    assert done.code == 2
    assert "names a directory, no file" in done.err
    assert not (place / "nodir").exists()


def test_a_base_url_without_its_path_is_pointed_out(write, run, monkeypatch, asyncbatch_emulator):
    monkeypatch.setenv("OPENAI_BASE_URL", asyncbatch_emulator.url)
    write("hi")

    done = run("requests.jsonl")

    assert done.code == 2
    assert f"there are no batches at {asyncbatch_emulator.url}: neither their list nor that of files" in done.err
    assert "does the base URL end in /v1? `asyncbatch doctor -m openai` looks closer; nothing was sent" in done.err
    assert [record.method for record in asyncbatch_emulator.history if record.method != "GET"] == []


def test_line_separators_inside_a_text_do_not_end_a_line(run, write):
    text = "a\u2028b\u2029c\x85d\x0be"
    write(text)

    (row,) = run("requests.jsonl").rows

    assert row["response"]["choices"][0]["message"]["content"] == f"echo: {text}"


@pytest.mark.parametrize(
    "data",
    [b'\xef\xbb\xbf"a"\n"b"\n', b'"a"\r\n"b"\r\n', b'"a"\n\n  \n"b"', b'\n"a"\n"b"\n\n'],
    ids=["byte order mark", "CRLF", "blank lines and no last line feed", "blank first line"],
)
def test_what_editors_do_to_files_does_no_harm(run, place, data):
    (place / "requests.jsonl").write_bytes(data)

    assert [row["request_id"] for row in sorted(run("requests.jsonl").rows, key=str)] == ["0000000", "0000001"]


def test_a_thread_that_waits_for_standard_input_ends_when_the_input_is_closed(monkeypatch):
    """Ctrl-C leaves such a thread behind, and the process waits for it."""
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb"), os.fdopen(ours, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        source = RequestFile("-")
        source.open()
        read = []
        reader = threading.Thread(target=lambda: read.append(source._read()))
        reader.start()

        source.close()
        reader.join(60)

    assert read == [b""]


def test_a_gzip_file_is_read_as_it_is(run, place):
    (place / "requests.jsonl.gz").write_bytes(gzip.compress(b'"a"\n"b"\n'))

    assert len(run("requests.jsonl.gz").rows) == 2


def test_a_gzip_file_that_was_cut_off_is_refused(run, place, asyncbatch_emulator):
    (place / "requests.jsonl.gz").write_bytes(gzip.compress(b'"a"\n' * 1000)[:-9])

    done = run("requests.jsonl.gz")

    assert done.code == 2
    assert "requests.jsonl.gz cannot be read" in done.err
    assert not sent(asyncbatch_emulator)


def test_lines_longer_than_a_piece_of_the_file_stay_whole(run, write):
    long = "x" * 2_500_000
    write(long, "short", long)

    done = run("requests.jsonl")

    assert sorted(len(row["response"]["choices"][0]["message"]["content"]) for row in done.rows) == [11, 1006, 1006]


def test_a_dash_reads_standard_input(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'"one"\n"two"\n')))

    assert len(run("-").rows) == 2


def test_outcomes_that_are_no_successes_give_exit_code_3_and_say_why(run, write, place):
    write("fine", "bad [[error:429]]", "lost [[missing]]", "late [[expire]]")

    done = run("requests.jsonl", "-o", "out.jsonl")

    statuses = {row["request_id"][-1]: row for row in rows_in(place / "out.jsonl")}
    assert done.code == 3
    assert [statuses[name]["status"] for name in "0123"] == ["succeeded", "errored", "missing", "expired"]
    assert statuses["1"]["error"] == {
        "code": "rate_limit_exceeded",
        "message": "The prompt asked for status 429.",
        "retryable": True,
    }
    assert statuses["1"]["response"]["error"]["message"] == "The prompt asked for status 429."
    assert "1 rate_limit_exceeded: The prompt asked for status 429." in done.err


def test_an_answer_that_is_no_json_is_kept_as_a_text(run, write):
    write("x [[garbage]]")

    (row,) = [row for row in run("requests.jsonl").rows if row["status"] == "undecodable"]

    assert row["response"] is None
    assert row["raw"]


def test_the_output_keeps_the_provider_s_bytes(run, write, place):
    write("é\u2028")

    run("requests.jsonl", "-o", "out.jsonl")

    assert "echo: é\u2028".encode() in (place / "out.jsonl").read_bytes()


def test_a_job_beyond_the_limits_becomes_several_batches(run, write, place):
    (place / "llm_config.yaml").write_text(QUICK.replace("{openai: {", "{openai: {limits: {requests: 2}, "))
    write(*(f"prompt {number}" for number in range(5)))

    done = run("requests.jsonl", "-o", "out.jsonl")

    assert done.code == 0
    assert "→ 3 batches" in done.err
    assert sorted(row["request_id"] for row in rows_in(place / "out.jsonl")) == [f"{n:07d}" for n in range(5)]


def test_a_table_at_the_end_counts_outcomes_tokens_money_and_time(run, write):
    write("hello", "bad [[error:400]]")

    done = run("requests.jsonl", "-o", "out.jsonl")

    lines = [line.split() for line in done.err.split("\n")]
    assert ["succeeded", "1"] in lines
    assert any(line[:3] == ["all", "2", "1"] and "tokens" in line and line[-1] == "s" for line in lines)
    assert "2 rows in out.jsonl" in done.err


def test_without_a_terminal_each_change_of_status_is_a_line(run, write):
    write("hello")

    done = run("requests.jsonl", "-o", "out.jsonl")

    lines = [line for line in done.err.split("\n") if line.startswith("batch 1/1 batch_")]
    assert "completed, 1/1" in lines[-1]
    assert len(lines) == len(set(lines))


def test_quiet_says_nothing(run, write):
    write("hello")

    done = run("requests.jsonl", "--quiet", "-o", "out.jsonl")

    assert (done.code, done.out, done.err) == (0, "", "")


def test_json_gives_one_document(run, write):
    write("hello", "bad [[error:400]]")

    done = run("requests.jsonl", "--json", "-o", "out.jsonl")

    document = done.document
    assert done.code == document["exit_code"] == 3
    assert document["v"] == 1
    assert document["type"] == "job_ended"
    assert document["outcomes"] == {"succeeded": 1, "errored": 1}
    assert document["out"] == "out.jsonl"
    assert document["requests"] == 2
    assert document["cost_usd"] > 0
    assert document["usage"]["prompt_tokens"] > 0
    assert document["batches"][0]["provider_batch_id"].startswith("batch_")


def test_jsonl_gives_a_stream_of_events(run, write):
    write("hello")

    done = run("requests.jsonl", "--jsonl", "-o", "out.jsonl")

    events = done.rows
    assert [event["v"] for event in events] == [1] * len(events)
    assert events[0]["type"] == "job_accepted"
    assert events[-1]["type"] == "job_ended"
    assert {event["status"] for event in events if event["type"] == "batch_status"} >= {"completed"}


def test_json_needs_another_place_for_the_rows(run, write, asyncbatch_emulator):
    write("hello")

    done = run("requests.jsonl", "--json")

    assert done.code == 2
    assert done.document["error"]["code"] == "output.missing"
    assert not sent(asyncbatch_emulator)


def test_metadata_travels_with_the_batch(run, write, asyncbatch_emulator):
    write("hello")

    run("requests.jsonl", "--metadata", "team=search", "--metadata", "note=a=b")

    (create,) = [record for record in asyncbatch_emulator.history if record.kind == "create"]
    assert create.metadata["team"] == "search"
    assert create.metadata["note"] == "a=b"


def test_an_endpoint_of_its_own_takes_bodies_as_they_are(run, write):
    write({"input": "hello"})

    done = run("requests.jsonl", "--endpoint", "/v1/responses")

    assert done.code == 0
    assert done.rows[0]["response"]["object"] == "response"


def test_embeddings_are_asked_for_by_their_model(run, write):
    write("a text")

    (row,) = run("requests.jsonl", model="openai/text-embedding-3-small").rows

    assert row["response"]["data"][0]["object"] == "embedding"


def test_a_dry_run_checks_everything_and_sends_nothing(run, write, asyncbatch_emulator, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    write("hello", "world")

    done = run("requests.jsonl", "--dry-run", "--json")

    assert done.code == 0
    assert "nothing was sent" in done.err
    assert (done.document["type"], done.document["requests"], done.document["batches"]) == ("plan", 2, 1)
    assert not asyncbatch_emulator.history


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("openai/gpt-4.1-mini", ["--mode", "chat"]),
        ("openai/text-embedding-3-small", []),
        ("openai/text-embedding-3-small", ["--endpoint", "/v1/embeddings"]),
        ("openai/gpt-4.1-mini", ["--endpoint", "/v1/chat/completions", "--metadata", "a=b"]),
    ],
)
def test_a_dry_run_chooses_the_mode_as_the_real_one_does(run, write, model, options):
    write("hello")

    assert run("requests.jsonl", "--dry-run", *options, model=model).code == 0
    assert run("requests.jsonl", *options, model=model).code == 0


def test_a_dry_run_names_bad_rows_and_counts_those_that_would_be_skipped(run, write):
    write("hello", b"broken")

    refused, skipped = run("requests.jsonl", "--dry-run"), run("requests.jsonl", "--dry-run", "--skip-bad", "--json")

    assert refused.code == 2
    assert "line 2" in refused.err
    assert skipped.code == 0
    assert skipped.document["rejected"] == 1


def test_a_job_that_outlives_the_timeout_is_left_running(run, write, place):
    write("slow [[stall]]")

    done = run("requests.jsonl", "--timeout", "0.2", "-o", "out.jsonl", "--home", "memory")

    assert done.code == 8
    assert "still running after 0.2 s" in done.err
    assert "asyncbatch status openai/batch_" in done.err
    assert not (place / "out.jsonl").exists()
    assert not (place / "out.jsonl.partial").exists()


def test_a_program_is_told_how_to_come_back(run, write):
    write("slow [[stall]]")

    done = run("requests.jsonl", "--timeout", "0.2", "-o", "out.jsonl", "--json", "--home", "memory")

    assert done.code == 8
    assert done.document["type"] == "detached"
    assert done.document["commands"][1].startswith("asyncbatch results openai/batch_")


def test_rows_that_ended_before_the_timeout_are_kept_and_told_of(run, write, place):
    (place / "llm_config.yaml").write_text(QUICK.replace("{openai: {", "{openai: {limits: {requests: 1}, "))
    write("quick", "slow [[stall]]")

    done = run("requests.jsonl", "--timeout", "2", "-o", "out.jsonl")

    assert done.code == 8
    assert "1 row of batches that ended before are in out.jsonl.partial" in done.err
    assert [row["request_id"] for row in rows_in(place / "out.jsonl.partial")] == ["0000000"]


def test_a_batch_that_the_provider_refuses_leaves_no_output(run, write, place, asyncbatch_emulator):
    asyncbatch_emulator.add(faults.refuse(400, method="POST", path="*/batches", times=None))
    write("hello")

    done = run("requests.jsonl", "-o", "out.jsonl", "--json")

    assert done.code == 1
    assert "400" in done.err
    assert json.loads(done.out.strip().split("\n")[-1])["type"] == "error"
    assert not (place / "out.jsonl").exists()
    assert not (place / "out.jsonl.partial").exists()


def test_a_key_that_stops_working_leaves_the_batch_and_says_how_to_come_back(run, write, asyncbatch_emulator):
    asyncbatch_emulator.add(faults.refuse(401, method="GET", path="*/batches/*", times=None))
    write("hello")

    done = run("requests.jsonl", "-o", "out.jsonl", "--home", "memory")

    assert done.code == 4
    assert "asyncbatch results openai/batch_" in done.err


def test_an_outage_at_the_first_question_is_no_reason_to_give_up(run, write, asyncbatch_emulator):
    asyncbatch_emulator.add(faults.refuse(503, method="GET", path="*/batches", times=2))
    write("hello")

    assert run("requests.jsonl").code == 0


def test_a_key_that_may_not_list_batches_can_still_create_them(run, write, asyncbatch_emulator):
    asyncbatch_emulator.add(faults.refuse(403, method="GET", path="*/batches", times=None))
    write("hello")

    assert run("requests.jsonl").code == 0


def test_bad_lines_can_be_skipped_and_end_rejected(run, place):
    (place / "requests.jsonl").write_bytes(b"broken\n" + GOOD + b'\n{"a": NaN}\n')

    done = run("requests.jsonl", "--skip-bad", "-o", "out.jsonl")

    rows = {row["request_id"]: row for row in rows_in(place / "out.jsonl")}
    assert done.code == 3
    assert "2 rows cannot be sent and will end rejected" in done.err
    assert {name: row["status"] for name, row in rows.items()} == {
        "0000000": "rejected",
        "good": "succeeded",
        "0000002": "rejected",
    }
    assert rows["0000000"]["error"]["code"] == "not_json"
    assert rows["0000000"]["response"] is None


def test_a_file_of_bad_lines_alone_is_still_reported_row_by_row_when_they_are_skipped(run, write, place):
    write(b"broken", b"as well")

    done = run("requests.jsonl", "--skip-bad", "-o", "out.jsonl")

    assert done.code == 3
    assert [row["status"] for row in rows_in(place / "out.jsonl")] == ["rejected", "rejected"]


class TestMoney:
    """Above a price somebody has to say yes."""

    @pytest.mark.parametrize(
        ("rows", "code"),
        [
            ([json.dumps("x" * 2000).encode()], "too_large"),
            ([b'{"messages": [1], "temperature": NaN}'], "nan"),
            ([GOOD, GOOD], "duplicate_id"),
            ([b"broken"], "not_json"),
        ],
    )
    def test_what_is_wrong_with_the_rows_comes_before_money_and_before_the_provider_is_asked(
        self, run, place, asyncbatch_emulator, rows, code
    ):
        (place / "llm_config.yaml").write_text(QUICK.replace("{openai: {", "{openai: {limits: {file_bytes: 1000}, "))
        (place / "requests.jsonl").write_bytes(b"\n".join(rows))

        done = run("requests.jsonl", "--confirm-over", "0", "-o", "out.jsonl", "--json")

        assert done.code == 2
        assert done.document["error"]["code"] == code
        assert not asyncbatch_emulator.history

    def test_money_comes_before_the_provider_is_asked(self, run, write, asyncbatch_emulator):
        write("hello")

        run("requests.jsonl", "--confirm-over", "0")

        assert not asyncbatch_emulator.history

    def test_a_job_of_refused_rows_alone_costs_nothing_and_asks_nobody(self, run, write, asyncbatch_emulator):
        write(b"broken")

        done = run("requests.jsonl", "--skip-bad", "--confirm-over", "0")

        assert (done.code, len(done.rows)) == (3, 1)
        assert not asyncbatch_emulator.history

    def test_without_anybody_to_ask_a_dear_job_is_refused(self, run, write, asyncbatch_emulator):
        write("hello")

        done = run("requests.jsonl", "--confirm-over", "0")

        assert done.code == 2
        assert "needs a yes" in done.err
        assert "--yes" in done.err
        assert not sent(asyncbatch_emulator)

    @pytest.mark.parametrize("consent", [["--yes"], ["--max-cost", "1"]])
    def test_a_yes_or_a_limit_lets_it_go(self, run, write, consent):
        write("hello")

        assert run("requests.jsonl", "--confirm-over", "0", *consent).code == 0

    def test_above_the_limit_nothing_is_sent(self, run, write, place, asyncbatch_emulator):
        write("x" * 40_000)

        done = run("requests.jsonl", "--max-cost", "0.001", "-o", "out.jsonl", "--yes")

        assert done.code == 2
        assert "more than --max-cost 0.001" in done.err
        assert not sent(asyncbatch_emulator)
        assert not (place / "out.jsonl.partial").exists()

    def test_a_limit_cannot_be_kept_without_a_price(self, run, write, asyncbatch_emulator):
        write("hello")

        done = run("requests.jsonl", "--max-cost", "5", model="openai/chatgpt-4o-latest")

        assert done.code == 2
        assert "the price of this model is not known" in done.err
        assert not sent(asyncbatch_emulator)
