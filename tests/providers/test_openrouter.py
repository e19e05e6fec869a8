"""OpenRouter: requests in the create, answers in the batch, and neither a mark nor a cancel.

Source: openrouter.ai/docs/batch-quickstart, openrouter 1.3.84 (components/batch*.py); compared on 2026-11-26. Samples have the
documented shape; their values are made up.
"""

import json

import pytest
from aioresponses import CallbackResult, aioresponses
from hypothesis import example, given, settings

from asyncbatch import (
    BatchClient,
    BatchMode,
    BatchPoller,
    BatchStatus,
    ConfigError,
    InvalidRequestsError,
    ProviderPermanentError,
    ProviderTransientError,
    ResultStatus,
    SubmissionUnknownError,
    UsageInfo,
)
from asyncbatch.catalog import cannot_of, load_catalog
from asyncbatch.emulator import Fault, faults, paid_twice
from asyncbatch.emulator.effects import Answer
from asyncbatch.exceptions import UNCANCELLABLE
from asyncbatch.providers._shapes.openrouter import (
    RESULTS,
    decode_page,
    decode_result,
    decode_status,
    encode_envelope,
    encode_line,
    is_created,
)
from asyncbatch.providers.openrouter_provider import OpenRouterBatchProvider, _cut_piece
from asyncbatch.spool import PIECE_BYTES
from asyncbatch.testing.runtime import virtual_runtime
from asyncbatch.unmarked_provider import is_candidate
from asyncbatch.wire_provider import UNREADABLE
from tests.engine.waiting import until
from tests.fuzz.mutations import bent
from tests.providers.world import CHAT, JOB, statuses, world

FACTS = load_catalog().provider("openrouter")
BASE = "https://openrouter.ai/api/v1"

CREATED = (
    b'{"id":"batch-1795300000-ab12cd","object":"batch","endpoint":"/v1/chat/completions","model":"openai/gpt-4.1-mini",'
    b'"provider":"OpenAI","status":"validating","completion_window":"24h","created_at":1795300000,"expires_at":1795386400,'
    b'"finalized_at":null,"request_counts":{"total":1,"completed":0,"failed":0},"usage":null,"error":null,"results":null}'
)
RESULT = (
    b'{"id":"r-1","custom_id":"r1","response":{"status_code":200,"request_id":"gen-1","body":{"id":"gen-1","object":'
    b'"chat.completion","created":1795300400,"model":"openai/gpt-4.1-mini","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,'
    b'"total_tokens":11,"cost":0.0001}}},"error":null}'
)
ERRORED = b'{"id":"r-2","custom_id":"r2","response":null,"error":{"message":"slow down","type":"error","param":null%b}}'
COMPLETED = (
    CREATED.replace(b'"validating"', b'"completed"')
    .replace(b'"finalized_at":null', b'"finalized_at":1795300500')
    .replace(b'"completed":0', b'"completed":1')
    .replace(b'"usage":null', b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"cost":0.0001}')
)


async def prepared(*requests, model="openai/gpt-4.1-mini", mode=BatchMode.CHAT, **options):
    provider = OpenRouterBatchProvider({"api_key": "sk-or-test"})
    (submission,) = await provider.prepare_payloads(
        batch_id=JOB, model=model, mode=mode, requests=list(requests) or ["hello"], **options
    )
    return submission


async def sent_by(here, requests=("a",), **options):
    """Give the bytes of a create as they come out of the wire."""
    submission = await here.prepare_one(list(requests), **options)
    head, tail = encode_envelope(submission, here.provider.facts)
    return head, b"".join([piece async for piece in submission.spool.chunks()]), tail


# What is asked


async def test_everything_stands_before_the_requests_for_the_service_reads_as_it_comes():
    head, tail = encode_envelope(await prepared(options={"provider": {"only": ["openai"]}}), FACTS)

    assert head == (
        b'{"endpoint":"/v1/chat/completions","model":"openai/gpt-4.1-mini:batch","completion_window":"24h",'
        b'"provider":{"only":["openai"]},"requests":['
    )
    assert tail == b"]}"


@pytest.mark.parametrize("model", ["openai/gpt-4.1-mini", "openai/gpt-4.1-mini:batch"])
async def test_a_model_may_be_named_with_or_without_its_batch_variant(model):
    head, _ = encode_envelope(await prepared({**CHAT, "model": model}, model=model), FACTS)

    assert json.loads(head + b"]}")["model"] == "openai/gpt-4.1-mini:batch"


def test_a_request_names_no_model_and_is_otherwise_the_very_bytes():
    body = b'{"messages":[{"role":"user","content":"h\\u00e9"}],"model":"a/b","seed":12345678901234567890,"top_p":1.0}'

    assert encode_line(b'"r1"', body) == (
        b'{"custom_id":"r1","body":{"messages":[{"role":"user","content":"h\\u00e9"}],"seed":12345678901234567890,"top_p":1.0}}\n'
    )
    assert encode_line(b'"r1"', b'{"input": "x"}') == b'{"custom_id":"r1","body":{"input": "x"}}\n'


async def test_a_request_for_another_model_is_refused_before_anything_is_sent():
    with pytest.raises(InvalidRequestsError, match="its model is 'openai/gpt-5', but this job is for"):
        await prepared({**CHAT, "model": "openai/gpt-5"})


@pytest.mark.parametrize("word", ["endpoint", "model", "requests"])
async def test_words_that_the_job_says_itself_are_refused_among_the_options(word):
    with pytest.raises(ConfigError, match=f"options name {word}") as caught:
        await prepared(options={word: "x"})

    assert caught.value.code == "config.value"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"completion_window": "48h"}, "config.value"),
        ({"metadata": {"a": "b"}}, "bad_metadata"),
        ({"webhook_url": "https://hooks.example/x"}, "webhook.unsupported"),
        ({"input_expires_s": 3600}, "expiry.unsupported"),
        ({"output_expires_s": 3600}, "expiry.unsupported"),
    ],
)
async def test_what_a_create_cannot_say_is_refused(options, code):
    with pytest.raises(ConfigError) as caught:
        await prepared(options=options)

    assert caught.value.code == code


async def test_a_callback_of_ones_own_travels_before_the_requests():
    head, _ = encode_envelope(await prepared(options={"callback_url": "https://hooks.example/x"}), FACTS)

    assert b'"callback_url":"https://hooks.example/x","requests":[' in head


async def test_more_than_a_batch_takes_becomes_several_and_ids_are_short():
    async with world("openrouter") as here:
        sizes = [item.request_count for item in await here.prepare(["a"] * 5_001)]
        with pytest.raises(InvalidRequestsError, match="does not fit this provider's rule"):
            await here.prepare([{"custom_id": "x" * 65, "body": CHAT}])
        fits = await here.prepare_one([{"custom_id": "x" * 64, "body": CHAT}])

    assert sizes == [5_000, 1]
    assert list(fits.request_ids) == ["x" * 64]


async def test_a_create_is_one_document_in_which_the_rows_are_the_last_thing():
    async with world("openrouter") as here:
        head, rows, tail = await sent_by(here, ["a", "b"])
        document = json.loads(head + rows.rstrip(b"\n").replace(b"\n", b",") + tail)

    assert list(document) == ["endpoint", "model", "completion_window", "requests"]
    assert [item["custom_id"] for item in document["requests"]] == ["0000000", "0000001"]
    assert all(item["body"].keys() == {"messages"} for item in document["requests"])


# What it answers


def test_a_batch_is_read_and_its_answers_are_a_place_once_they_are_there():
    status = decode_status(CREATED, FACTS)
    over = decode_status(COMPLETED.replace(b'"results":null', b'"results":[]'), FACTS)

    assert (status.status, status.progress.total, status.result_uris) == (BatchStatus.VALIDATING, 1, ())
    assert (status.created_at, status.expires_at, status.usage) == (1795300000, 1795386400, None)
    assert (over.status, over.result_uris, over.completed_at) == (BatchStatus.COMPLETED, (RESULTS,), 1795300500)
    assert over.usage == UsageInfo(prompt_tokens=9, completion_tokens=2, total_tokens=11)
    assert over.results_expire_at == 1795300500 + 30 * 86_400


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b'{"message":"no such model"}', "no such model"),
        (b'"no such model"', "no such model"),
        (b'{"code":400}', ""),
        (b"[1]", "[1]"),
    ],
)
def test_a_failed_batch_says_why_however_that_is_written(given, message):
    failed = CREATED.replace(b'"validating"', b'"failed"').replace(b'"error":null', b'"error":' + given)
    status = decode_status(failed, FACTS)

    assert (status.status, status.error_message) == (BatchStatus.FAILED, message)


@pytest.mark.parametrize("counts", [b"null", b"[]", b'{"total":"1"}', b'{"total":null,"completed":{}}'])
@pytest.mark.parametrize("usage", [b"null", b"{}", b"7", b'{"prompt_tokens":"many"}', b'{"total_tokens":0}'])
def test_counts_and_tokens_that_cannot_be_read_hide_no_end(counts, usage):
    odd = COMPLETED.replace(b'{"total":1,"completed":1,"failed":0}', counts)
    odd = odd.replace(b'{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"cost":0.0001}', usage)
    status = decode_status(odd, FACTS)

    assert (status.status, status.usage) == (BatchStatus.COMPLETED, None)
    assert status.progress.total in (0, 1)


def test_what_a_batch_has_used_is_known_at_its_end():
    running = COMPLETED.replace(b'"completed","completion', b'"in_progress","completion')

    assert (decode_status(running, FACTS).status, decode_status(running, FACTS).usage) == (
        BatchStatus.IN_PROGRESS,
        None,
    )


def test_an_expiry_that_nobody_knows_is_none():
    assert decode_status(CREATED.replace(b"1795386400", b"null"), FACTS).expires_at is None


def test_a_page_leads_to_the_next_by_its_last_id():
    page = b'{"object":"list","data":[%b],"first_id":"a","last_id":"batch-1-x","has_more":%b}'

    assert decode_page(page % (CREATED, b"true"), FACTS).cursor == "batch-1-x"
    assert decode_page(page % (CREATED, b"false"), FACTS).cursor is None
    nameless = page.replace(b'"last_id":"batch-1-x",', b"") % (CREATED, b"true")
    assert decode_page(nameless, FACTS).cursor == "batch-1795300000-ab12cd"
    assert decode_page(b'{"data":[],"has_more":true}', FACTS).cursor is None


@pytest.mark.parametrize(
    ("body", "is_batch"),
    [
        (CREATED, True),
        (b'{"id":"batch-1","status":"validating"}', True),
        (b'{"id":"","status":"validating"}', False),
        (b'{"id":"model-1","object":"model","status":"x"}', False),
        (b'{"error":{"code":500,"message":"x"}}', False),
        (b"<html>", False),
    ],
)
def test_what_a_create_was_answered_is_a_batch_or_nothing_certain(body, is_batch):
    assert is_created(body) is is_batch


def row(line, kind="openai.chat"):
    return decode_result(line, format=kind, facts=FACTS)


def test_an_answer_keeps_what_it_cost():
    answered = row(RESULT)

    assert (answered.request_id, answered.status, answered.text) == ("r1", ResultStatus.SUCCEEDED, "hi")
    assert answered.usage == UsageInfo(prompt_tokens=9, completion_tokens=2, total_tokens=11)
    assert answered.response["usage"]["cost"] == 0.0001


@pytest.mark.parametrize(
    ("more", "code", "retryable"),
    [
        (b',"error_type":"rate_limit_exceeded"', "rate_limit_exceeded", True),
        (b',"error_type":"provider_overloaded"', "provider_overloaded", True),
        (b',"error_type":"provider_unavailable"', "provider_unavailable", True),
        (b',"error_type":"server"', "server", True),
        (b',"error_type":"timeout"', "timeout", True),
        (b',"error_type":"context_length_exceeded"', "context_length_exceeded", False),
        (b',"error_type":"payment_required"', "payment_required", False),
        (b"", "error", False),
        (b',"error_type":null,"code":"odd"', "error", False),
    ],
)
def test_an_error_has_a_word_for_its_kind_and_some_pass(more, code, retryable):
    refused = row(ERRORED % more)

    assert (refused.request_id, refused.status, refused.error.message) == ("r2", ResultStatus.ERRORED, "slow down")
    assert (refused.error.code, refused.error.retryable, refused.error.status) == (code, retryable, None)


def test_an_error_without_any_word_and_one_with_a_status_are_read_too():
    bare = row(b'{"custom_id":"r2","error":{"message":"x"}}')
    told = row(
        b'{"custom_id":"r2","response":{"status_code":429,"body":{"error":{"code":429,"message":"slow"}}},"error":null}'
    )
    coded = row(b'{"custom_id":"r2","response":null,"error":{"code":503,"message":"busy"}}')

    assert (bare.error.code, bare.error.retryable) == ("error", False)
    assert (told.error.status, told.error.code, told.error.retryable) == (429, "429", True)
    assert (coded.error.status, coded.error.retryable) == (503, True)


@pytest.mark.parametrize("line", [b'{"custom_id":"r9"', b'{"custom_id":"r9"}', b'{"custom_id":"r9","error":null}'])
def test_a_result_that_cannot_be_read_is_a_row_all_the_same(line):
    unread = row(line)

    assert (unread.request_id, unread.status, unread.error.code) == ("r9", ResultStatus.UNDECODABLE, "undecodable")


async def test_messages_and_responses_answer_in_their_own_shape():
    asked = {
        "/v1/messages": ({**CHAT, "max_tokens": 50}, "anthropic.messages"),
        "/v1/responses": ({"input": "hello"}, "openai.responses"),
    }
    async with world("openrouter") as here:
        found = {}
        for path in asked:
            _, (answer,) = await here.run([asked[path][0]], mode=BatchMode.CUSTOM, endpoint=path)
            found[path] = (answer.text, answer.format)

    assert found == {path: ("echo: hello", kind) for path, (_, kind) in asked.items()}


async def test_a_large_batch_is_read_in_pieces_and_never_as_a_whole(monkeypatch):
    pieces = []

    def noted(document, offset, *others):
        pieces.append(offset)
        return _cut_piece(document, offset, *others)

    monkeypatch.setattr("asyncbatch.providers.openrouter_provider._cut_piece", noted)
    async with world("openrouter") as here:
        batch = await here.start([f"{n} {'x' * 900}" for n in range(700)])
        here.pass_window()
        status = await here.provider.poll_status(batch.provider_batch_id)
        polled = pieces.copy()
        rows = await here.rows(batch.provider_batch_id)

    assert (status.status, status.progress.completed) == (BatchStatus.COMPLETED, 700)
    assert polled == [number * PIECE_BYTES for number in range(len(polled))]
    assert len(polled) >= 2, "a poll passes over the answers"
    assert len({row.request_id for row in rows}) == len(rows) == 700


async def test_answers_are_fetched_once_though_they_were_late():
    async with world("openrouter", faults=[faults.missing_output(polls=2)]) as here:
        batch = await here.start(["a", "b"])
        here.pass_window()
        rows = await here.rows(batch.provider_batch_id)
        polls = here.calls("poll")

    assert statuses(rows) == {"0000000": "succeeded", "0000001": "succeeded"}
    assert polls == [200, 200, 200]


async def test_a_batch_that_was_cut_on_its_way_is_asked_for_again_and_no_row_comes_twice():
    async with world("openrouter", faults=[faults.cut_body(600, operation="poll")]) as here:
        batch = await here.start([f"prompt {n}" for n in range(20)])
        here.pass_window()
        rows = await here.rows(batch.provider_batch_id)

    assert sorted(row.request_id for row in rows) == [f"{n:07d}" for n in range(20)]


async def test_no_batch_and_no_answer_stays_on_disk_that_nobody_reads():
    made = []
    broken = Fault(
        effect=Answer(status=200, body=b'{"results":[{"custom_id":"a"}', when="before"), operation="poll", first=2
    )
    async with world("openrouter", faults=[broken]) as here:
        new_file = here.provider.new_file
        here.provider.new_file = lambda: made.append(new_file()) or made[-1]
        batch = await here.start(["a"])
        here.pass_window()
        await here.provider.poll_status(batch.provider_batch_id)
        polled = [file.size for file in made]
        with pytest.raises(ProviderTransientError):
            await here.rows(batch.provider_batch_id)
        failed = [file.size for file in made]

    assert (polled, failed) == ([0], [0, 0, 0])


async def test_another_document_in_a_batchs_place_is_no_reading():
    page = Fault(effect=Answer(status=200, body=b"[1, 2", when="before"), operation="poll")
    async with world("openrouter", faults=[page]) as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.poll_status(batch.provider_batch_id)

    assert caught.value.code == "foreign_answer"


# What has no cancel


async def test_a_batch_that_runs_is_not_cancelled_and_one_that_is_over_is_shown():
    async with world("openrouter") as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderPermanentError, match="it goes on to its end, and is paid for") as caught:
            await here.provider.cancel(batch.provider_batch_id)
        here.pass_window()
        status = await here.provider.cancel(batch.provider_batch_id)

    assert caught.value.code == UNCANCELLABLE
    assert caught.value.hint == "wait for it, or leave it: nothing more is sent"
    assert status.status is BatchStatus.COMPLETED
    assert "cancel a batch" in cannot_of(FACTS)


async def test_a_job_that_is_cancelled_sends_no_more_says_what_goes_on_and_ends_with_the_answers_that_are_paid_for(
    caplog,
):
    facts = {"limits": {"inline_requests": 2, "open_batches": 1}}
    async with world("openrouter", facts=facts, pace={"row_s": 3600, "run_cap_s": None}) as here:
        client = BatchClient(catalog=here.scope.catalog, runtime=virtual_runtime(here.clock))
        config = {"api_key": "emulator-key", "base_url": here.base_url}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENROUTER_API_KEY", config["api_key"])
            patch.setenv("OPENROUTER_BASE_URL", config["base_url"])
            async with client:
                job = await client.submit([f"prompt {n}" for n in range(4)], model="openrouter/echo-1")
                await until(lambda: any(batch.provider_batch_id for batch in job.status().batches))
                with pytest.raises(ProviderPermanentError, match="cannot cancel") as caught:
                    await job.cancel()
                notes = [batch.note for batch in job.status().batches if batch.provider_batch_id]
                rows = {row.request_id: row async for row in job.results()}
        creates, history = here.accepted("create"), here.emulator.history

    ends = sorted((row.status.value, row.error.code if row.error else None) for row in rows.values())
    assert (caught.value.code, notes) == (UNCANCELLABLE, ["goes on to its end: its provider cancels nothing"])
    assert len(creates) == 1
    assert ends == [("cancelled", "not_sent")] * 2 + [("succeeded", None)] * 2
    assert paid_twice(history) == {}
    assert "asked for again" not in caplog.text


# What is new, what is due, what is gone


async def test_a_new_batch_that_is_not_shown_yet_is_no_loss():
    async with world("openrouter", faults=[faults.flap404(3)]) as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderPermanentError) as new:
            await here.provider.poll_status(batch.provider_batch_id)
        here.clock.advance(61)
        with pytest.raises(ProviderPermanentError) as old:
            await here.provider.poll_status(batch.provider_batch_id)
        async with BatchPoller(runtime=virtual_runtime(here.clock)) as poller:
            status = await poller.watch(here.provider, batch.provider_batch_id)

    assert (new.value.status, new.value.hint) == (404, "a new batch is shown some seconds late: ask again")
    assert (old.value.status, old.value.hint) == (404, None)
    assert status.status is BatchStatus.COMPLETED, "whoever watches it believes in it for half an hour"


async def test_an_id_of_another_shape_tells_no_time():
    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch_1", status=404, body=b'{"error":{"code":404,"message":"gone"}}')
        async with OpenRouterBatchProvider({"api_key": "sk-or-test"}) as provider:
            with pytest.raises(ProviderPermanentError) as caught:
                await provider.poll_status("batch_1")

    assert (caught.value.status, caught.value.code, caught.value.hint) == (404, "404", None)


async def test_answers_that_are_not_paid_for_are_waited_for_and_nothing_is_lost():
    bill = {"error": {"code": 402, "message": "Insufficient credits"}, "results": None, "status": "completed"}
    due = Fault(effect=Answer(status=402, body=json.dumps(bill).encode(), when="before"), operation="poll", times=4)
    async with world("openrouter") as here:
        batch = await here.start(["a"])
        here.pass_window()
        here.emulator.add(due)
        with pytest.raises(ProviderTransientError, match="Insufficient credits") as polled:
            await here.provider.poll_status(batch.provider_batch_id)
        with pytest.raises(ProviderTransientError) as fetched:
            await here.rows(batch.provider_batch_id)
        async with BatchPoller(runtime=virtual_runtime(here.clock)) as poller:
            status = await poller.watch(here.provider, batch.provider_batch_id)
        rows = await here.rows(batch.provider_batch_id)

    for caught in (polled.value, fetched.value):
        assert (caught.status, caught.code) == (402, "payment_due")
        assert "add credits" in caught.hint
    assert (status.status, statuses(rows)) == (BatchStatus.COMPLETED, {"0000000": "succeeded"})


async def test_an_empty_purse_at_the_create_is_final():
    async with world("openrouter", faults=[faults.refuse(402, operation="create")]) as here:
        with pytest.raises(ProviderPermanentError) as caught:
            await here.start(["a"])

    assert (caught.value.status, here.accepted("create")) == (402, [])


async def test_after_a_month_the_batch_is_gone_and_that_is_no_empty_batch():
    async with world("openrouter") as here:
        batch = await here.start(["a"])
        here.clock.advance(31 * 86_400)
        with pytest.raises(ProviderPermanentError) as caught:
            await here.rows(batch.provider_batch_id)
        gone = await here.provider.delete_artifacts(batch.provider_batch_id)

    assert caught.value.status == 410
    assert gone == 1


async def test_what_runs_is_not_deleted_and_what_is_over_goes_with_its_answers():
    async with world("openrouter") as here:
        batch = await here.start(["a"])
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.delete_artifacts(batch.provider_batch_id)
        here.pass_window()
        counts = [await here.provider.delete_artifacts(batch.provider_batch_id) for _ in range(2)]
        listed = (await here.provider.list_statuses()).statuses
        with pytest.raises(ProviderPermanentError) as late:
            await here.rows(batch.provider_batch_id)

    assert caught.value.code == "not_ended"
    assert (counts, listed) == ([1, 0], ())
    assert late.value.status == 404


async def test_a_delete_that_is_refused_although_the_batch_is_over_is_told_as_it_is():
    refusal = faults.refuse(409, operation="delete")
    async with world("openrouter", faults=[refusal]) as here:
        batch = await here.start(["a"])
        here.pass_window()
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.delete_artifacts(batch.provider_batch_id)

    assert caught.value.status == 409


# A create whose answer is lost


def candidate(**changes):
    words = json.loads(CREATED) | changes
    return decode_status(json.dumps(words).encode(), FACTS)


@pytest.mark.parametrize(
    ("changes", "is_ours"),
    [
        ({}, True),
        ({"model": "openai/gpt-4.1-mini-2025-04-14"}, True),
        ({"model": "another/model"}, True),
        ({"request_counts": {"total": 0}}, True),
        ({"request_counts": {"total": 2}}, False),
        ({"endpoint": "/v1/embeddings"}, False),
        ({"endpoint": None}, True),
        ({"created_at": 1795299999}, False),
        ({"created_at": None}, True),
    ],
)
async def test_whose_a_batch_may_be_is_told_by_time_number_and_path_and_never_by_a_models_name(changes, is_ours):
    assert is_candidate(candidate(**changes), await prepared(), 1795300000) is is_ours


async def test_a_lost_create_of_a_job_is_found_by_the_ids_of_its_answers_and_not_paid_twice():
    lost = [faults.accept_then_drop()]
    requests = [{"custom_id": f"order-{n}", "body": CHAT} for n in range(2)]
    async with world("openrouter", faults=lost) as here:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in here.emulator.env("openrouter").items():
                patch.setenv(name, value)
            async with BatchClient(catalog=here.scope.catalog, runtime=virtual_runtime(here.clock)) as client:
                job = await client.submit(requests, model="openrouter/echo-1")
                rows = [row async for row in job.results()]
        created, history = here.accepted("create"), here.emulator.history

    assert statuses(rows) == {"order-0": "succeeded", "order-1": "succeeded"}
    assert (len(created), paid_twice(history)) == (1, {})


async def test_a_candidate_that_runs_has_no_ids_yet_and_is_not_asked_for_them():
    async with world("openrouter", faults=[faults.accept_then_drop()]) as here:
        submission = await here.prepare_one(["a"])
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        found = await here.provider.find_submissions(submission, since=since)
        polls = here.calls("poll")

    assert ([match.why for match in found], polls) == (["time_and_count"], [])


async def test_a_candidate_that_holds_no_id_stays_one_and_one_of_long_ago_is_none():
    async with world("openrouter", faults=[faults.accept_then_drop(), faults.missing_output()]) as here:
        submission = await here.prepare_one(["a"])
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await here.provider.create(submission)
        here.pass_window()
        hidden = await here.provider.find_submissions(submission, since=since)
        late = await here.provider.find_submissions(submission, since=since - 2_000)

    assert [(match.why, match.is_certain) for match in hidden] == [("time_and_count", False)]
    assert late == [], "created half an hour after that create was sent"


# Keys and addresses


async def test_the_key_travels_to_the_address_of_today():
    seen = []

    def note(url, **request):
        seen.append((str(url), request["headers"]["authorization"]))
        return CallbackResult(body=CREATED)

    with aioresponses() as server:
        server.get(f"{BASE}/batches/batch-1795300000-ab12cd", callback=note)
        async with OpenRouterBatchProvider({"api_key": "sk-or-test"}) as provider:
            status = await provider.poll_status("batch-1795300000-ab12cd")

    assert (status.status, seen) == (
        BatchStatus.VALIDATING,
        [(f"{BASE}/batches/batch-1795300000-ab12cd", "Bearer sk-or-test")],
    )


# Whatever comes


@settings(max_examples=150, deadline=None)
@given(
    bent([json.loads(CREATED), json.loads(COMPLETED) | {"results": [json.loads(RESULT)], "error": {"message": "x"}}])
)
def test_a_batch_is_read_or_cannot_be_read_and_nothing_else_happens(body):
    try:
        status = decode_status(body, FACTS)
    except UNREADABLE:
        return

    assert status.result_uris in ((), (RESULTS,))
    assert status.progress.total >= 0
    assert status.error_message is None or isinstance(status.error_message, str)


@settings(max_examples=200, deadline=None)
@given(bent([json.loads(RESULT), json.loads(ERRORED % b',"error_type":"server"')]))
@example(b'{"custom_id":"r9","error":"in one word"}')
@example(b'{"custom_id":"r9","error":{"code":[],"type":{},"message":1}}')
def test_a_result_is_a_row_whatever_is_in_it(line):
    found = row(line)

    assert isinstance(found.request_id, str)
    assert (found.error is None) is (found.status is ResultStatus.SUCCEEDED)
    assert found.error is None or (isinstance(found.error.code, str) and isinstance(found.error.message, str))
