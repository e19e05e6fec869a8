"""Azure OpenAI: addresses of one's own, the classic paths, and answers that are looser than OpenAI's.

The samples are those of the fact sheet: MicrosoftDocs/azure-ai-docs (batch how-to) and Azure/azure-rest-api-specs, compared
on 2026-11-22; their values are made up.
"""

import asyncio

import msgspec
import pytest
from aioresponses import aioresponses

from asyncbatch import (
    BatchClient,
    BatchMode,
    BatchPoller,
    BatchStatus,
    ConfigError,
    ErrorClass,
    ProviderPermanentError,
    ProviderTransientError,
    ResultStatus,
    SubmissionUnknownError,
)
from asyncbatch.catalog import load_catalog
from asyncbatch.emulator import Emulator, Fault, faults
from asyncbatch.providers._shapes.openai import decode_files, decode_page, decode_status, encode_upload
from asyncbatch.providers._shapes.openai_lines import decode_line, decode_lines
from asyncbatch.providers.azure_provider import AzureBatchProvider
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import CHAT, DAY_S, JOB, KEY, statuses, world

FACTS = load_catalog().provider("azure")
RESOURCE = "https://res.openai.azure.com"
VERSION = "2024-10-21"
CLASSIC = {"api_version": VERSION}

CREATED = (
    b'{"id":"batch_6caaf24d-54a5-46be-b1b7-518884fcbdde","object":"batch","endpoint":"/chat/completions",'
    b'"status":"validating","input_file_id":"file-f13a58f57764474bb2","output_file_id":null,"error_file_id":null,'
    b'"completion_window":"24h","created_at":1795300010,"in_progress_at":null,"expires_at":1795386405,'
    b'"finalizing_at":null,"completed_at":null,"failed_at":null,"expired_at":null,"cancelling_at":null,'
    b'"cancelled_at":null,"request_counts":{"total":0,"completed":0,"failed":0},"errors":null,"metadata":null,'
    b'"input_blob":"","output_blob":"","error_blob":""}'
)
FAILED = (
    b'{"id":"batch_1","status":"failed","completed_at":1795300060,"output_file_id":"","error_file_id":"",'
    b'"request_counts":{"total":null,"completed":null,"failed":null},"errors":{"object":"list","data":[{"code":'
    b'"token_limit_exceeded","message":"Enqueued token limit reached for deployment.","param":null,"line":null}]}}'
)
ANSWER = (
    b'{"custom_id":"task-0","response":{"body":{"id":"chatcmpl-a1","object":"chat.completion","created":1795300500,'
    b'"model":"gpt-4.1-2025-04-14","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":'
    b'"hi"},"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}],"prompt_filter_results":'
    b'[{"prompt_index":0,"content_filter_results":{}}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}},'
    b'"request_id":"ee3e6e4f","status_code":200},"error":null}'
)
FILTERED = (
    b'{"custom_id":"task-1","response":{"body":{"error":{"message":"The response was filtered ...","type":null,"param":'
    b'"prompt","code":"content_filter","status":400}},"request_id":"ee3e6e50","status_code":400},"error":null}'
)
NOT_FOUND = b'{"error":{"code":"404","message":"Resource not found","target":null,"details":[],"innererror":{}}}'


def provider(**config):
    return AzureBatchProvider({"api_key": "a-key-of-azure", "base_url": f"{RESOURCE}/openai/v1", **config})


async def prepared(requests=("hello",), *, config=None, **options):
    here = provider(**(config or {}))
    (submission,) = await here.prepare_payloads(
        **{"batch_id": JOB, "model": "my-deployment", "mode": BatchMode.CHAT, "requests": list(requests), **options}
    )
    return submission


def classic(here, **more):
    """Give the provider of a world as an account has it that goes the classic way."""
    config = {"api_key": KEY, "base_url": here.base_url, **CLASSIC, **more}
    return here._replace(provider=here.scope.create("azure", config))


def asked(emulator):
    return [record for record in emulator.history if record.kind == "request"]


# What a batch says


def test_a_batch_that_was_just_made_has_blobs_without_names_and_an_endpoint_without_a_version():
    status = decode_status(CREATED, FACTS)

    assert (status.status, status.endpoint) == (BatchStatus.VALIDATING, "/v1/chat/completions")
    assert (status.result_uris, status.input_ref) == ((), "file-f13a58f57764474bb2")
    assert (status.created_at, status.completed_at, status.expires_at) == (1795300010, None, 1795386405)


def test_a_failed_batch_has_ids_without_a_letter_counts_without_a_number_and_a_completion():
    status = decode_status(FAILED, FACTS)

    assert (status.status, status.result_uris, status.progress.total) == (BatchStatus.FAILED, (), 0)
    assert (status.completed_at, status.errors[0].code) == (1795300060, "token_limit_exceeded")
    assert FACTS.classify_batch_error(status.errors[0].code) is ErrorClass.LATER


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("Validating", BatchStatus.VALIDATING),
        ("In_Progress", BatchStatus.IN_PROGRESS),
        ("Completed", BatchStatus.COMPLETED),
        ("canceled", BatchStatus.CANCELLED),
        ("Canceled", BatchStatus.CANCELLED),
        ("cancelled", BatchStatus.CANCELLED),
        ("Canceling", BatchStatus.CANCELLING),
        ("throttled", BatchStatus.UNKNOWN),
    ],
)
def test_a_word_counts_however_it_is_spelled(word, meant):
    assert decode_status(b'{"id":"b","status":"%b"}' % word.encode(), FACTS).status is meant


def test_moments_may_be_texts_and_the_endpoint_null():
    moments = b'"created_at":"2026-11-22T10:00:10Z","completed_at":"2026-11-22T10:30:00.5+00:00"'
    status = decode_status(b'{"id":"b","status":"completed",%b,"endpoint":null}' % moments, FACTS)

    assert (status.created_at, status.completed_at, status.endpoint) == (1795341610, 1795343400.5, None)


@pytest.mark.parametrize("word", [b"data", b"value"])
def test_a_list_stands_under_either_word(word):
    page = decode_page(b'{"%b":[%b],"has_more":true}' % (word, CREATED), FACTS)
    file = b'{"id":"file-1","status":"processed","purpose":"batch","filename":"ab1-x.jsonl"}'
    files = decode_files(b'{"%b":[%b]}' % (word, file), FACTS)

    assert [status.provider_batch_id for status in page.statuses] == ["batch_6caaf24d-54a5-46be-b1b7-518884fcbdde"]
    assert page.cursor == "batch_6caaf24d-54a5-46be-b1b7-518884fcbdde"
    assert [found.ref for found in files.files] == ["file-1"]


@pytest.mark.parametrize("body", [b"{}", b'{"object":"list"}', b'{"data":null}'])
async def test_what_holds_no_list_is_not_taken_for_an_empty_one(body):
    with aioresponses() as server:
        for path in ("batches?limit=100", "files?limit=1000"):
            server.get(f"{RESOURCE}/openai/v1/{path}", body=body)
        async with provider() as here:
            for ask in (here.list_statuses, here.list_files):
                with pytest.raises(ProviderTransientError) as caught:
                    await ask()
                assert caught.value.code == "foreign_answer"


# Rows


@pytest.mark.parametrize("decode", [decode_line, lambda line, **facts: decode_lines([line], **facts)[0]])
@pytest.mark.parametrize("kind", ["openai.chat", ""], ids=["told", "not told"])
def test_a_row_has_no_id_and_says_itself_what_it_is(kind, decode):
    row = decode(ANSWER, format=kind, facts=FACTS)

    assert (row.request_id, row.status, row.text) == ("task-0", ResultStatus.SUCCEEDED, "hi")
    assert (row.format, row.usage.total_tokens) == ("openai.chat", 11)
    assert row.metadata == {"provider_request_id": "ee3e6e4f"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"object":"response"}', "openai.responses"),
        (b'{"object":"text_completion"}', "openai.completion"),
        (b'{"object":"list"}', ""),
        (b'{"object":7}', ""),
        (b'{"choices":[]}', ""),
    ],
)
def test_an_answer_that_nobody_names_is_what_it_calls_itself(body, kind):
    line = b'{"custom_id":"a","response":{"status_code":200,"body":%b},"error":null}' % body
    rows = [decode_line(line, format="", facts=FACTS), *decode_lines([line], format="", facts=FACTS)]

    assert [row.format for row in rows] == [kind] * 2
    assert [row.status for row in rows] == [ResultStatus.SUCCEEDED] * 2


def test_a_row_that_was_filtered_has_failed_for_good():
    row = decode_line(FILTERED, format="openai.chat", facts=FACTS)

    assert (row.status, row.error.code, row.error.status) == (ResultStatus.ERRORED, "content_filter", 400)
    assert row.error.retryable is False


async def test_what_is_filtered_takes_no_other_row_with_it():
    async with world("azure") as here:
        status, rows = await here.run(["hello", "[[filter]]"])
        paths = [record.path for record in asked(here.emulator)]

    assert (status.progress.completed, status.progress.failed) == (1, 1)
    assert statuses(rows) == {"0000000": "succeeded", "0000001": "errored"}
    assert {row.error.code for row in rows if row.error} == {"content_filter"}
    assert not any("api-version" in path for path in paths)


async def test_an_error_file_without_a_byte_is_no_error():
    async with world("azure") as here:
        status, rows = await here.run(["hello"])

    assert len(status.result_uris) == 2
    assert statuses(rows) == {"0000000": "succeeded"}


# Addresses and keys


@pytest.mark.parametrize(
    ("endpoint", "version", "base"),
    [
        (RESOURCE, None, f"{RESOURCE}/openai/v1"),
        (f"{RESOURCE}/", None, f"{RESOURCE}/openai/v1"),
        (f"{RESOURCE}/openai/v1/", None, f"{RESOURCE}/openai/v1"),
        (f"{RESOURCE}/openai", None, f"{RESOURCE}/openai/v1"),
        (RESOURCE, "v1", f"{RESOURCE}/openai/v1"),
        (RESOURCE, "preview", f"{RESOURCE}/openai/v1"),
        (RESOURCE, VERSION, f"{RESOURCE}/openai"),
        (f"{RESOURCE}/openai", VERSION, f"{RESOURCE}/openai"),
        (f"{RESOURCE}/openai/v1", VERSION, f"{RESOURCE}/openai"),
    ],
)
def test_the_endpoint_comes_from_its_variable_and_the_path_below_it_from_the_version(
    monkeypatch, endpoint, version, base
):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k")
    if version:
        monkeypatch.setenv("OPENAI_API_VERSION", version)
    origin = AzureBatchProvider().account.origin

    assert (origin.base_url, dict(origin.params)) == (base, {"api-version": version} if version else {})
    assert origin.secret_headers == {"api-key": "k"}


@pytest.mark.parametrize(
    ("base", "version", "meant"),
    [
        ("https://gate.example/azure", None, "https://gate.example/azure"),
        ("https://gate.example/azure", VERSION, "https://gate.example/azure"),
        (f"{RESOURCE}/openai/v1", None, f"{RESOURCE}/openai/v1"),
        (f"{RESOURCE}/openai/v1", VERSION, f"{RESOURCE}/openai"),
    ],
)
def test_a_base_url_is_taken_as_it_is_unless_it_is_that_of_the_other_way(base, version, meant):
    here = provider(base_url=base, api_version=version)

    assert here.account.origin.base_url == meant


async def test_without_an_address_nothing_is_sent_and_the_variable_is_named():
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT is not set") as caught:
        await AzureBatchProvider({"api_key": "k"}).list_statuses()

    assert caught.value.code == "config.no_base_url"
    assert "export AZURE_OPENAI_ENDPOINT=https://…" in caught.value.hint
    assert '"https://…/openai/v1"' in caught.value.hint


async def test_the_key_travels_in_a_header_of_its_own_and_the_calls_id_comes_back_in_one():
    with aioresponses() as server:
        url = f"{RESOURCE}/openai/v1/batches/b"
        server.get(url, status=404, body=NOT_FOUND, headers={"apim-request-id": "ee3e"})
        async with provider() as here:
            with pytest.raises(ProviderPermanentError, match="answered 404 404: Resource not found") as caught:
                await here.poll_status("b")
        ((call,),) = server.requests.values()

    assert (caught.value.code, caught.value.request_id) == ("404", "ee3e")
    assert call.kwargs["headers"]["api-key"] == "a-key-of-azure"
    assert "Authorization" not in call.kwargs["headers"]


# The classic way


async def test_the_classic_way_names_the_version_in_every_call_and_takes_a_batch_to_its_answers():
    async with world("azure") as here:
        older = classic(here)
        status, rows = await older.run(["hello", "[[filter]]"], tag="mine")
        page = await older.provider.list_statuses()
        count = await older.provider.delete_artifacts(status.provider_batch_id)
        calls = asked(here.emulator)
        answers = {(record.operation, record.status) for record in calls}

    assert (status.status, status.raw_status, status.metadata) == (
        BatchStatus.COMPLETED,
        "Completed",
        {"asyncbatch_tag": "mine"},
    )
    assert statuses(rows) == {"0000000": "succeeded", "0000001": "errored"}
    assert [row.text for row in rows if row.text] == ["echo: hello"]
    assert [row.usage.total_tokens > 0 for row in rows if row.usage] == [True]
    assert [found.provider_batch_id for found in page.statuses] == [status.provider_batch_id]
    assert count == 3
    assert {record.path.partition("?")[2] for record in calls if record.operation != "list"} == {
        f"api-version={VERSION}"
    }
    assert all(record.path.startswith("/azure/openai/") and "/v1" not in record.path for record in calls)
    assert {operation for operation, _ in answers} == {
        "upload",
        "file",
        "create",
        "poll",
        "results",
        "list",
        "delete",
    }
    assert {("upload", 201), ("create", 201), ("delete", 204)} <= answers


async def test_a_classic_cancel_is_spelled_with_one_letter_less():
    async with world("azure") as here:
        older = classic(here)
        batch = await older.start(["[[stall]]"])
        here.clock.advance(60)
        first = await older.provider.cancel(batch.provider_batch_id)
        status = await older.end(batch.provider_batch_id)
        again = await older.provider.cancel(batch.provider_batch_id)

    assert first.status is BatchStatus.CANCELLING
    assert (status.status, status.raw_status) == (BatchStatus.CANCELLED, "Canceled")
    assert again.status is BatchStatus.CANCELLED


async def test_a_classic_create_whose_answer_was_lost_is_found_by_its_tag():
    async with world("azure", faults=[faults.accept_then_drop()]) as here:
        older = classic(here)
        submission = await older.provider.upload((await older.prepare_one(["a"])).replace(tag="mine"))
        since = here.clock.now()
        with pytest.raises(SubmissionUnknownError):
            await older.provider.create(submission)
        match = await older.provider.find_submission(submission, since=since)

    assert (match.why, match.is_certain) == ("tag", True)


@pytest.mark.parametrize(
    ("config", "base", "query", "endpoint"),
    [
        ({}, "/openai/v1", "", "/v1/chat/completions"),
        (CLASSIC, "/openai", f"?api-version={VERSION}", "/chat/completions"),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
async def test_a_create_may_be_answered_either_way_and_without_the_name_of_its_input(
    config, base, query, endpoint, status
):
    submission = (await prepared(config=config)).replace(input_ref="file-1", tag="mine")
    answer = CREATED.replace(b"file-f13a58f57764474bb2", b"")
    with aioresponses() as server:
        server.post(f"{RESOURCE}{base}/batches{query}", status=status, body=answer)
        async with provider(**config) as here:
            batch = await here.create(submission)
        ((call,),) = server.requests.values()

    assert batch.provider_batch_id == "batch_6caaf24d-54a5-46be-b1b7-518884fcbdde"
    assert msgspec.json.decode(call.kwargs["data"]) == {
        "input_file_id": "file-1",
        "endpoint": endpoint,
        "completion_window": "24h",
        "metadata": {"asyncbatch_tag": "mine"},
    }


@pytest.mark.parametrize(
    ("config", "endpoint", "url"),
    [
        ({}, None, "/v1/chat/completions"),
        (CLASSIC, None, "/chat/completions"),
        ({"api_version": "preview"}, None, "/v1/chat/completions"),
        (CLASSIC, "/v1/responses", "/responses"),
    ],
)
async def test_lines_and_creates_spell_the_endpoint_as_the_way_has_it(config, endpoint, url):
    mode = BatchMode.CUSTOM if endpoint else BatchMode.CHAT
    requests = [{"model": "my-deployment", "input": "a"}] if endpoint else ["a"]
    submission = await prepared(requests, config=config, mode=mode, endpoint=endpoint)

    assert b'"url":"%b"' % url.encode() in bytes(submission.payloads[0])
    assert submission.endpoint == (endpoint or "/v1/chat/completions"), "which is what the catalog calls it"


async def test_the_version_may_come_from_the_environment_or_a_file_and_no_key_is_needed_to_prepare(monkeypatch):
    monkeypatch.setenv("OPENAI_API_VERSION", VERSION)
    here = AzureBatchProvider()
    (submission,) = await here.prepare_payloads(batch_id=JOB, model="d", mode=BatchMode.CHAT, requests=["a"])
    monkeypatch.delenv("OPENAI_API_VERSION")
    catalog = load_catalog({"providers": {"azure": CLASSIC}})
    other = AzureBatchProvider(catalog=catalog)
    (again,) = await other.prepare_payloads(batch_id=JOB, model="d", mode=BatchMode.CHAT, requests=["a"])

    assert bytes(submission.payloads[0]) == bytes(again.payloads[0])
    assert b'"url":"/chat/completions"' in bytes(again.payloads[0])


async def test_another_spelling_goes_into_a_file_of_yours():
    endpoints = [{"path": "/chat/completions", "mode": "chat", "format": "openai.chat"}]
    catalog = load_catalog({"providers": {"azure": {"endpoints": endpoints}}})
    here = AzureBatchProvider({"api_key": "k"}, catalog=catalog)
    (submission,) = await here.prepare_payloads(batch_id=JOB, model="d", mode=BatchMode.CHAT, requests=["a"])

    assert b'"url":"/chat/completions"' in bytes(submission.payloads[0])


@pytest.mark.parametrize(("config", "url"), [({}, "/v1/embeddings"), (CLASSIC, "/embeddings")])
async def test_another_endpoint_goes_with_the_lines_that_its_page_shows(config, url):
    section = {
        "endpoints": [{"path": "/v1/embeddings", "mode": "embedding", "format": "openai.embedding"}],
        "models": [{"match": "*embed*", "modes": ["embedding"]}],
    }
    here = AzureBatchProvider({"api_key": "k", **config}, catalog=load_catalog({"providers": {"azure": section}}))
    (submission,) = await here.prepare_payloads(
        batch_id=JOB, model="my-embedder", mode=BatchMode.EMBEDDING, requests=["a"]
    )

    assert b'"url":"%b"' % url.encode() in bytes(submission.payloads[0])
    assert here.supports_model("my-gpt", BatchMode.CHAT)


# Uploads


async def test_a_create_waits_until_its_input_is_processed():
    async with world("azure") as here:
        await here.provider.submit(await here.prepare_one(["a"]))
        slept, asks = here.clock.slept_s, here.calls("file")
        order = [record.operation for record in asked(here.emulator)]

    assert sum(slept) >= 3
    assert len(asks) == len(slept) > 1
    assert order == ["upload", *["file"] * len(asks), "create"]


async def test_a_create_that_does_not_wait_is_refused():
    facts = {"wire": {"ready_states": []}}
    async with world("azure", facts=facts) as here:
        with pytest.raises(ProviderPermanentError, match="not processed yet"):
            await here.provider.submit(await here.prepare_one(["a"]))


@pytest.mark.parametrize("state", ["error", "Error", "deleted", "deleting"])
async def test_an_upload_that_is_refused_is_deleted_and_no_batch_is_made_of_it(state):
    said = faults.Rewrite(fields={"status": state, "status_details": f"bad JSON near {KEY}"})
    async with world("azure", faults=[Fault(effect=said, operation="file")]) as here:
        with pytest.raises(ProviderPermanentError, match=f"the upload is {state.lower()}: bad JSON near") as caught:
            await here.provider.submit(await here.prepare_one(["a"]))
        deleted, created = here.accepted("delete"), here.calls("create")

    assert caught.value.code == "upload_refused"
    assert KEY not in str(caught.value)
    assert (len(deleted), created) == (1, [])


async def test_an_upload_that_is_never_processed_is_given_up_after_a_quarter_of_an_hour_and_may_be_tried_again():
    waits = Fault(effect=faults.Rewrite(fields={"status": "running"}), operation="file", times=None)
    async with world("azure", faults=[waits]) as here:
        with pytest.raises(ProviderTransientError, match="after 900 s") as caught:
            await here.provider.submit(await here.prepare_one(["a"]))
        deleted, slept = here.accepted("delete"), here.clock.slept_s

    assert caught.value.code == "upload_not_ready"
    assert sum(slept) == pytest.approx(900)
    assert max(slept) < 20
    assert len(deleted) == 1


async def test_an_upload_that_cannot_be_asked_about_is_not_left_behind():
    trouble = [faults.refuse(403, operation="file", times=None), faults.refuse(500, operation="delete", times=None)]
    for fault, deleted in ((trouble[:1], 1), (trouble, 0)):
        async with world("azure", faults=fault) as here:
            with pytest.raises(ProviderPermanentError) as caught:
                await here.provider.submit(await here.prepare_one(["a"]))
            assert caught.value.status == 403
            assert len(here.accepted("delete")) == deleted
            assert len(here.calls("delete")) == 1


async def test_an_upload_that_is_cancelled_while_it_is_waited_for_is_not_left_behind():
    loop = asyncio.get_running_loop()
    async with world("azure") as here:
        task = asyncio.create_task(here.provider.upload(await here.prepare_one(["a"])))
        cancel = faults.act(lambda: loop.call_soon_threadsafe(task.cancel), "arrived", operation="file")
        here.emulator.add(cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    assert len(here.accepted("delete")) == 1


async def test_an_upload_that_does_not_say_where_it_stands_is_taken_as_it_is():
    silent = Fault(effect=faults.Rewrite(remove=("status",)), operation="upload")
    async with world("azure", faults=[silent]) as here:
        await here.provider.upload(await here.prepare_one(["a"]))
        asks = here.calls("file")

    assert asks == []


async def test_a_state_counts_however_it_is_spelled():
    done = Fault(effect=faults.Rewrite(fields={"status": "Processed"}), operation="upload")
    async with world("azure", faults=[done]) as here:
        await here.provider.upload(await here.prepare_one(["a"]))
        asks = here.calls("file")

    assert asks == []


async def test_an_upload_says_with_dots_when_it_may_go_and_asks_for_a_fortnight_by_itself():
    async with world("azure") as here:
        uploaded = await here.provider.upload(await here.prepare_one(["a"]))
        longer = await here.provider.upload(await here.prepare_one(["a"], options={"input_expires_s": 30 * DAY_S}))
        page = await here.provider.list_files()

    assert encode_upload("a.jsonl", 1_209_600, FACTS) == {
        "purpose": "batch",
        "expires_after.anchor": "created_at",
        "expires_after.seconds": "1209600",
    }
    assert uploaded.input_expires_at == pytest.approx(here.clock.now() + 14 * DAY_S, abs=60)
    assert longer.input_expires_at == pytest.approx(here.clock.now() + 30 * DAY_S, abs=60)
    assert len(page.files) == 2


@pytest.mark.parametrize("word", ["input_expires_s", "output_expires_s"])
@pytest.mark.parametrize(("days", "is_fine"), [(13, False), (14, True), (30, True), (31, False)])
async def test_files_may_be_kept_from_two_weeks_to_thirty_days(word, days, is_fine):
    async with world("azure") as here:
        if is_fine:
            await here.start(["a"], options={word: days * DAY_S})
        else:
            with pytest.raises(ConfigError, match=r"1,209,600 to 2,592,000"):
                await here.prepare(["a"], options={word: days * DAY_S})


async def test_no_file_begins_with_a_byte_order_mark():
    submission = await prepared()

    assert submission.spool.read().startswith(b'{"custom_id"')


@pytest.mark.parametrize("word", ["input_blob", "output_folder"])
async def test_blobs_are_refused_before_anything_is_sent(word):
    async with world("azure") as here:
        with pytest.raises(ConfigError, match=f"{word} is not supported") as caught:
            await here.prepare(["a"], options={word: "https://acct.blob.core.windows.net/in/in.jsonl"})
        history = here.emulator.history

    assert caught.value.code == "blobs.unsupported"
    assert history == []


# Room, time and models


async def test_a_create_for_which_too_many_tokens_wait_is_refused_for_now():
    full = faults.refuse(400, code="token_limit_exceeded", operation="create")
    async with world("azure", faults=[full]) as here:
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        with pytest.raises(ProviderTransientError) as caught:
            await here.provider.create(submission)
        batch = await here.provider.create(submission)

    assert (caught.value.status, caught.value.code) == (400, "token_limit_exceeded")
    assert batch.status is BatchStatus.VALIDATING


async def test_a_job_outlives_creates_for_which_too_many_tokens_wait(monkeypatch):
    clock = VirtualClock()
    full = faults.refuse(400, code="token_limit_exceeded", operation="create", times=3)
    with Emulator(clock=clock.now, faults=[full]) as emulator:
        for name, value in emulator.env("azure").items():
            monkeypatch.setenv(name, value)
        async with BatchClient(runtime=virtual_runtime(clock)) as client:
            job = await client.submit(["hello"], model="azure/d")
            texts = [row.text async for row in job.results()]
        tried = [item.status for item in emulator.history if (item.kind, item.operation) == ("request", "create")]

    assert texts == ["echo: hello"]
    assert tried == [400, 400, 400, 200]


async def test_another_400_is_refused_for_good():
    async with world("azure", faults=[faults.refuse(400, operation="create")]) as here:
        submission = await here.provider.upload(await here.prepare_one(["a"]))
        with pytest.raises(ProviderPermanentError) as caught:
            await here.provider.create(submission)

    assert caught.value.code == "400", "a number, written as a text"


async def test_a_batch_that_takes_longer_than_it_was_told_is_waited_for():
    pace = {"row_s": 2 * DAY_S, "run_cap_s": None}
    async with world("azure", pace=pace) as here:
        batch = await here.start(["a"])
        async with BatchPoller(runtime=virtual_runtime(here.clock)) as poller:
            status = await poller.watch(here.provider, batch.provider_batch_id)

    assert status.status is BatchStatus.COMPLETED
    assert status.completed_at > status.expires_at + DAY_S / 2


async def test_any_deployment_may_be_named_and_answers_come_at_most_once_a_minute():
    submission = await prepared(model="gpt 4.1 (prod)")

    assert b'"model":"gpt 4.1 (prod)"' in bytes(submission.payloads[0])
    assert provider().poll_floor_s == 60
    assert FACTS.supports("anything", BatchMode.CHAT)
    assert FACTS.supports("anything", BatchMode.CUSTOM)
    assert not FACTS.supports("anything", BatchMode.EMBEDDING)
    assert await provider().list_models() is None, "the service lists models, and not deployments"


@pytest.mark.parametrize("version", [None, VERSION], ids=["v1", "classic"])
async def test_a_job_goes_through_a_client_as_with_openai(monkeypatch, version):
    with Emulator(speed=600) as emulator:
        for name, value in emulator.env("azure").items():
            monkeypatch.setenv(name, value)
        if version:
            monkeypatch.setenv("OPENAI_API_VERSION", version)
        polling = {"providers": {"azure": {"polling": {"min_interval_s": 1}}}}
        async with BatchClient(catalog=load_catalog(polling)) as client:
            job = await client.submit([CHAT, CHAT], model="azure/prod-chat")
            rows = [row async for row in job.results()]

    assert [row.text for row in rows] == ["echo: hello"] * 2
