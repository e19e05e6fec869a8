"""OpenRouter's batches at the emulator, asked as bytes over HTTP: nothing of ours is between the two.

Source: the fact sheet, and openrouter 1.3.84.
"""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from asyncbatch.emulator import Emulator
from tests.emulator.wire import Api

CHAT = "/v1/chat/completions"
MODEL = "openai/gpt-4.1-mini:batch"


@asynccontextmanager
async def service(emulator, key="sk-or-test"):
    api = Api(emulator, key=key, dialect="openrouter")
    try:
        yield api
    finally:
        await api.session.close()


def request(custom_id="a", prompt="hello", **changes):
    return {"custom_id": custom_id, "body": {"messages": [{"role": "user", "content": prompt}], **changes}}


async def create(api, *requests, endpoint=CHAT, model=MODEL, **more):
    body = {"endpoint": endpoint, "model": model, **more, "requests": list(requests) or [request()]}
    return await api.call("POST", "/batches", json=body)


async def run(api, time, *requests, **more):
    _, batch = await create(api, *requests, **more)
    time.now += 3600
    return await api.get(f"/batches/{batch['id']}")


async def test_a_batch_is_accepted_before_anything_is_looked_at(emulator, time):
    async with service(emulator) as api:
        status, batch = await create(api, request("a"), request("b"), completion_window="24h")

    assert status == 202
    assert batch == {
        "id": batch["id"],
        "object": "batch",
        "endpoint": CHAT,
        "model": "openai/gpt-4.1-mini",
        "provider": None,
        "status": "validating",
        "completion_window": "24h",
        "created_at": int(time.now),
        "expires_at": int(time.now) + 86_400,
        "finalized_at": None,
        "request_counts": {"total": 2, "completed": 0, "failed": 0},
        "usage": None,
        "error": None,
        "results": None,
    }
    assert batch["id"].startswith(f"batch-{int(time.now)}-")


@pytest.mark.parametrize("late", ["endpoint", "model", "callback_url"])
async def test_what_comes_after_the_requests_comes_too_late(emulator, late):
    words = {"endpoint": CHAT, "model": MODEL, "callback_url": "https://hooks.example/x"}
    body = {
        **{name: value for name, value in words.items() if name != late},
        "requests": [request()],
        late: words[late],
    }
    async with service(emulator) as api:
        status, answer = await api.call("POST", "/batches", data=json.dumps(body))

    assert (status, answer["error"]["message"]) == (400, f"{late} must appear before requests in the request body")


async def test_other_words_may_come_last(emulator):
    body = {"endpoint": CHAT, "model": MODEL, "requests": [request()], "completion_window": "24h", "provider": None}
    async with service(emulator) as api:
        status, _ = await api.call("POST", "/batches", data=json.dumps(body))

    assert status == 202


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"endpoint": "/v1/nowhere"}, 400, "endpoint"),
        ({"model": "openai/gpt-4.1-mini"}, 400, "no batch variant"),
        ({"model": 7}, 400, "no batch variant"),
        ({"model": "nameless:batch"}, 404, "No endpoints found"),
        ({"completion_window": "48h"}, 400, "24h"),
        ({"metadata": {}}, 400, "Unrecognized key: metadata"),
        ({"provider": {"order": []}}, 400, "only `only`"),
        ({"provider": "openai"}, 400, "only `only`"),
    ],
)
async def test_a_create_that_is_not_taken_is_refused_with_a_number_for_a_code(emulator, changes, status, word):
    async with service(emulator) as api:
        found, answer = await create(api, **changes)
        listed = await api.get("/batches")

    assert (found, answer["error"]["code"]) == (status, status)
    assert word in answer["error"]["message"]
    assert listed["data"] == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"endpoint":', b'{"requests": {}}', b'{"endpoint":"/v1/chat/completions"}']
)
async def test_what_is_no_create_is_refused(emulator, body):
    async with service(emulator) as api:
        status, answer = await api.call("POST", "/batches", data=body)

    assert (status, answer["error"]["code"]) == (400, 400)


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([request(), request()], "duplicate"),
        ([request("x" * 65)], "1 to 64"),
        ([request("")], "1 to 64"),
        ([{"custom_id": "a", "body": []}], "a custom_id and a body"),
        ([{**request(), "method": "POST"}], "a custom_id and a body"),
        ([request(model="openai/gpt-4.1-mini")], "is not the batch's"),
        ([request(stream=True)], "streaming"),
    ],
)
async def test_what_is_wrong_with_a_request_is_found_later_and_fails_the_batch(emulator, time, rows, word):
    async with service(emulator) as api:
        failed = await run(api, time, *rows)

    assert (failed["status"], failed["results"], failed["usage"]) == ("failed", [], None)
    assert word in failed["error"]["message"]
    assert failed["finalized_at"] > failed["created_at"]


async def test_a_request_may_name_the_batchs_own_model(emulator, time):
    async with service(emulator) as api:
        done = await run(api, time, request(model=MODEL))

    assert (done["status"], done["provider"]) == ("completed", "OpenAI")
    assert done["results"][0]["response"]["body"]["model"] == "openai/gpt-4.1-mini"


async def test_each_result_has_an_answer_or_an_error_and_an_error_has_a_word(emulator, time):
    prompts = {"fine": "hello", "bad": "[[error:400]]", "busy": "[[error:429]]", "broken": "[[error:500]]"}
    async with service(emulator) as api:
        done = await run(api, time, *(request(name, prompt) for name, prompt in prompts.items()))
    results = {result["custom_id"]: result for result in done["results"]}

    assert done["request_counts"] == {"total": 4, "completed": 1, "failed": 3}
    assert results["fine"]["response"]["body"]["choices"][0]["message"]["content"] == "echo: hello"
    assert results["fine"]["error"] is None
    assert {name: results[name]["response"] for name in ("bad", "busy", "broken")} == dict.fromkeys(
        ("bad", "busy", "broken")
    )
    assert [results[name]["error"]["error_type"] for name in ("bad", "busy", "broken")] == [
        "invalid_request",
        "rate_limit_exceeded",
        "server",
    ]


async def test_a_body_that_its_endpoint_would_not_take_fails_alone(emulator, time):
    rows = [request(), {"custom_id": "b", "body": {"messages": []}}, {"custom_id": "c", "body": {}}]
    async with service(emulator) as api:
        done = await run(api, time, *rows)
    ends = {result["custom_id"]: result["error"] is None for result in done["results"]}

    assert (done["status"], ends) == ("completed", {"a": True, "b": False, "c": False})


@pytest.mark.parametrize(
    ("endpoint", "body", "look"),
    [
        ("/v1/responses", {"input": "hello"}, lambda body: body["output"][0]["content"][0]["text"]),
        (
            "/v1/messages",
            {"max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
            lambda body: body["content"][0]["text"],
        ),
        ("/v1/embeddings", {"input": "hello"}, lambda body: len(body["data"][0]["embedding"])),
    ],
)
async def test_every_endpoint_answers_in_its_own_shape(emulator, time, endpoint, body, look):
    async with service(emulator) as api:
        done = await run(api, time, {"custom_id": "a", "body": body}, endpoint=endpoint)

    assert look(done["results"][0]["response"]["body"]) in ("echo: hello", 1024)


async def test_a_message_that_is_none_is_refused_alone(emulator, time):
    async with service(emulator) as api:
        done = await run(api, time, {"custom_id": "a", "body": {"messages": "x"}}, endpoint="/v1/messages")

    assert done["results"][0]["error"]["error_type"] == "invalid_request"


async def test_what_an_expired_batch_has_reached_is_there_and_the_rest_has_no_result(time):
    with Emulator(clock=time, pace={"row_s": 10_000, "run_cap_s": None}) as emulator:
        async with service(emulator) as api:
            _, batch = await create(api, *(request(f"r{n}") for n in range(10)))
            time.now += 100_000
            expired = await api.get(f"/batches/{batch['id']}")

    assert (expired["status"], len(expired["results"])) == ("expired", 8)
    assert expired["request_counts"] == {"total": 10, "completed": 8, "failed": 2}


async def test_there_is_no_cancel(emulator):
    async with service(emulator) as api:
        _, batch = await create(api)
        async with await api.send("POST", f"/batches/{batch['id']}/cancel") as answer:
            status = answer.status

    assert status in (404, 405)


async def test_only_what_is_over_is_deleted_and_then_it_is_nowhere(emulator, time):
    async with service(emulator) as api:
        _, batch = await create(api)
        early, _ = await api.call("DELETE", f"/batches/{batch['id']}")
        time.now += 3600
        status, deleted = await api.call("DELETE", f"/batches/{batch['id']}")
        again, _ = await api.call("DELETE", f"/batches/{batch['id']}")
        gone, _ = await api.call("GET", f"/batches/{batch['id']}")
        listed = await api.get("/batches")

    assert (early, status, again, gone) == (409, 200, 404, 404)
    assert deleted["deletion"] == {"openrouter": "deleted", "upstream": {"provider": "OpenAI", "status": "deleted"}}
    assert listed["data"] == []


async def test_after_a_month_a_batch_is_gone(emulator, time):
    async with service(emulator) as api:
        done = await run(api, time)
        time.now = done["finalized_at"] + 30 * 86_400 - 1
        there, _ = await api.call("GET", f"/batches/{done['id']}")
        time.now += 2
        gone, answer = await api.call("GET", f"/batches/{done['id']}")

    assert (there, gone, answer["error"]["code"]) == (200, 410, 410)


async def test_the_list_is_newest_first_in_pages_and_never_has_results(emulator, time):
    async with service(emulator) as api:
        made = []
        for _ in range(5):
            made.append((await create(api))[1]["id"])
            time.now += 3600
        first = await api.get("/batches?limit=3")
        rest = await api.get(f"/batches?limit=3&after={first['last_id']}")
    items = [*first["data"], *rest["data"]]

    assert [item["id"] for item in items] == made[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert {item["results"] for item in items} == {None}


async def test_the_list_is_asked_by_time_and_by_status(emulator, time):
    async with service(emulator) as api:
        _, old = await create(api)
        time.now += 3600
        _, new = await create(api)
        asked = ("status=completed", "status=validating&status=completed", "created_after=soon")
        found = {query: await api.call("GET", f"/batches?{query}") for query in asked}
        between = await api.call("GET", f"/batches?created_before={_iso(time.now)}")
        after = await api.call("GET", f"/batches?created_after={_iso(old['created_at'])}")

    def ids(answer):
        return [item["id"] for item in answer[1]["data"]]

    assert ids(found["status=completed"]) == [old["id"]]
    assert ids(found["status=validating&status=completed"]) == [new["id"], old["id"]]
    assert found["created_after=soon"][0] == 400
    assert (ids(between), ids(after)) == ([old["id"]], [new["id"]])


def _iso(at):
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+", "%2B")


@pytest.mark.parametrize("limit", ["0", "101", "x"])
async def test_a_page_has_its_bounds(emulator, limit):
    async with service(emulator) as api:
        status, _ = await api.call("GET", f"/batches?limit={limit}")

    assert status == 400


async def test_a_batch_is_its_accounts_own_and_bad_keys_are_refused(emulator):
    async with service(emulator) as api:
        _, batch = await create(api)
        api.key = "sk-or-another"
        status, _ = await api.call("GET", f"/batches/{batch['id']}")
        listed = await api.get("/batches")
        api.key = "invalid-key"
        refused, answer = await api.call("GET", "/batches")

    assert (status, listed["data"], refused, answer["error"]["code"]) == (404, [], 401, 401)


async def test_no_more_than_the_limit_of_bytes_is_read(time):
    with Emulator(clock=time, limits={"inline_bytes": 2_000}) as emulator:
        async with service(emulator) as api:
            status, answer = await create(api, request(prompt="x" * 3_000))

    assert (status, answer["error"]["code"]) == (413, 413)


async def test_a_batch_outlives_the_emulators_process(tmp_path, time):
    with Emulator(clock=time, data_dir=tmp_path) as emulator:
        async with service(emulator) as api:
            _, batch = await create(api, request("a"), request("b"))
            _, gone = await create(api)
            time.now += 3600
            await api.call("DELETE", f"/batches/{gone['id']}")
    with Emulator(clock=time, data_dir=tmp_path) as emulator:
        async with service(emulator) as api:
            done = await api.get(f"/batches/{batch['id']}")
            listed = await api.get("/batches")

    assert (done["status"], len(done["results"])) == ("completed", 2)
    assert [item["id"] for item in listed["data"]] == [batch["id"]]
