"""What services that imitate OpenAI refuse and answer otherwise, asked as bytes over HTTP."""

import hashlib
import json
from contextlib import asynccontextmanager

import pytest

from tests.emulator.wire import CHAT, Api, chat_row, encode_lines


@asynccontextmanager
async def service(emulator, name):
    api = Api(emulator, dialect=name)
    try:
        yield api
    finally:
        await api.session.close()


def row(model="meta-llama/Llama-3.3-70B-Instruct"):
    return encode_lines([chat_row("a", model=model)])


async def order(api, model="meta-llama/Llama-3.3-70B-Instruct", **changes):
    _, file = await api.try_upload(row(model))
    body = {"input_file_id": file.get("data", file)["id"], "endpoint": CHAT, "completion_window": "24h", **changes}
    return await api.call("POST", "/batches", json=body)


@pytest.mark.parametrize("path", ["/files?limit=2", "/batches?after=batch_1"])
async def test_a_list_that_comes_whole_takes_no_parameters(emulator, path):
    async with service(emulator, "groq") as api:
        status, answer = await api.call("GET", path)

    assert status == 400
    assert answer["error"]["code"] == "unknown_parameter"


async def test_a_service_that_cannot_be_told_when_to_delete_refuses_to_be(emulator):
    expiry = (("purpose", "batch"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "7200"))
    async with service(emulator, "groq") as api:
        status, answer = await api.try_upload(row(), fields=expiry)

    assert (status, answer["error"]["param"]) == (400, "expires_after[anchor]")


@pytest.mark.parametrize(
    ("name", "spelling", "status"),
    [
        ("openai", "expires_after[{}]", 200),
        ("openai", "expires_after.{}", 400),
        ("azure", "expires_after.{}", 200),
        ("azure", "expires_after[{}]", 400),
    ],
)
async def test_a_form_says_when_its_file_may_go_in_one_spelling(emulator, name, spelling, status):
    expiry = (("purpose", "batch"), (spelling.format("anchor"), "created_at"), (spelling.format("seconds"), "1209600"))
    async with service(emulator, name) as api:
        found, answer = await api.try_upload(row(), fields=expiry)

    assert found == status
    assert status == 200 or answer["error"]["param"] == spelling.format("anchor")


@pytest.mark.parametrize(("seconds", "anchor"), [("1209599", "created_at"), ("1209600", "now")])
async def test_a_time_that_a_service_does_not_take_is_refused_by_its_name(emulator, seconds, anchor):
    expiry = (("purpose", "batch"), ("expires_after.anchor", anchor), ("expires_after.seconds", seconds))
    async with service(emulator, "azure") as api:
        status, answer = await api.try_upload(row(), fields=expiry)

    assert status == 400
    assert answer["error"]["param"] in ("expires_after.anchor", "expires_after.seconds")


async def test_a_batch_cannot_be_made_of_a_file_that_is_still_looked_through(emulator, time):
    async with service(emulator, "azure") as api:
        _, file = await api.try_upload(row())
        order = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        early, _ = await api.call("POST", "/batches", json=order)
        time.now += 3
        shown = await api.get(f"/files/{file['id']}")
        late, batch = await api.call("POST", "/batches", json=order)

    assert (file["status"], early) == ("pending", 400)
    assert (shown["status"], late) == ("processed", 200)
    assert (batch["input_blob"], batch["output_file_id"]) == ("", None)
    assert batch["expires_at"] - batch["created_at"] == 86_400


@pytest.mark.parametrize(("header", "status"), [("a-key", 200), ("", 401), ("invalid-key", 401)])
async def test_a_key_in_a_header_of_its_own_is_the_one_that_counts(emulator, header, status):
    async with service(emulator, "azure") as api:
        found, _ = await api.call("GET", "/batches", headers={"api-key": header})

    assert found == status


async def test_an_older_version_is_served_beside_the_new_one_and_is_looser(emulator, time):
    async with service(emulator, "azure") as api:
        _, file = await api.try_upload(row())
        time.now += 3
        order = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        _, batch = await api.call("POST", "/batches", json=order)
        api.base = api.base.removesuffix("/v1")
        without = await api.call("GET", f"/batches/{batch['id']}")
        shown = await api.get(f"/batches/{batch['id']}?api-version=2024-10-21")
        listed = await api.get("/batches?api-version=2024-10-21")
        async with await api.send("DELETE", f"/files/{file['id']}?api-version=2024-10-21") as deleted:
            left = await deleted.read()

    said = {"code": "404", "message": "Resource not found", "target": None, "details": [], "innererror": {}}
    assert without == (404, {"error": said})
    assert (shown["status"], shown["endpoint"]) == ("Validating", None)
    assert shown["created_at"].endswith("Z")
    assert listed == {"value": [shown], "has_more": False}
    assert (deleted.status, left) == (204, b"")


@pytest.mark.parametrize(
    ("name", "changes", "status", "word"),
    [
        ("groq", {"completion_window": "8d"}, 400, "24h to 168h"),
        ("groq", {"completion_window": "23h"}, 400, "24h to 168h"),
        ("groq", {"completion_window": "soon"}, 400, "24h to 168h"),
        ("siliconflow", {"completion_window": "2d"}, 400, "24h to 336h"),
        ("deepinfra", {"completion_window": "1h"}, 422, "Supported values"),
        ("deepinfra", {"endpoint": "/v1/nowhere"}, 422, "Supported values"),
        ("zhipu", {"endpoint": "/v4/chat/completions", "auto_delete_input_file": "no"}, 400, "true or false"),
        ("novita", {"metadata": {"a": "b"}}, 400, "Unknown parameter: 'metadata'"),
        ("nebius", {"replace": {}}, 400, "Unknown parameter: 'replace'"),
    ],
)
async def test_a_create_that_a_service_does_not_take_is_refused(emulator, name, changes, status, word):
    async with service(emulator, name) as api:
        found, answer = await order(api, **changes)

    assert found == status
    assert word in str(answer)


async def test_a_signed_address_is_for_one_file_and_takes_no_key(emulator):
    async with service(emulator, "parasail") as api:
        _, file = await api.try_upload(row())
        async with await api.send("GET", f"/files/{file['id']}/content") as led:
            address = led.headers["Location"]
        found = []
        for url, headers in ((address, {}), (f"{address}0", {}), (address, {"Authorization": "Bearer k"})):
            async with api.session.get(url, headers=headers) as answer:
                found.append((answer.status, await answer.read() == row()))

    assert led.status == 302
    assert api.base.partition("/parasail")[0] not in address, "it stands at another host"
    assert found == [(200, True), (403, False), (400, False)]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("siliconflow", {"code", "message", "data"}),
        ("deepinfra", {"detail"}),
        ("doubleword", {"message"}),
        ("groq", {"error"}),
    ],
)
async def test_errors_have_the_shape_of_the_service(emulator, name, shape):
    async with service(emulator, name) as api:
        status, answer = await api.call("GET", "/batches/batch_nobody")

    assert (status, set(answer)) == (404, shape)


@pytest.mark.parametrize(("name", "line"), [("deepinfra", 1), ("nebius", 2)])
async def test_a_failed_batch_names_the_line_at_fault_as_the_service_counts(emulator, time, name, line):
    model = "meta-llama/Llama-3.3-70B-Instruct"
    rows = encode_lines([chat_row("a", model=model), {**chat_row("b", model=model), "method": "GET"}])
    async with service(emulator, name) as api:
        _, file = await api.try_upload(rows)
        order = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        _, batch = await api.call("POST", "/batches", json=order)
        time.now += 60
        failed = await api.get(f"/batches/{batch['id']}")

    assert failed["status"] == "failed"
    assert failed["errors"]["data"][0]["line"] == line


ANNOUNCED = {"purpose": "batch-api", "file_name": "in.jsonl", "file_type": "jsonl"}


async def announce(api, **changes):
    fields = {**ANNOUNCED, **changes}
    form = {name: value for name, value in fields.items() if value is not None}
    async with await api.send("POST", "/files", data=form) as answer:
        return answer.status, answer.headers, await answer.read()


async def bring(api, address, data=b"", headers=None):
    async with api.session.put(address, data=data, headers=headers or {}) as answer:
        return answer.status


async def test_a_file_is_announced_brought_elsewhere_without_the_key_and_there_once_it_is_processed(emulator):
    data, checksum = row(), hashlib.sha256(row()).hexdigest()
    async with service(emulator, "together") as api:
        status, headers, _ = await announce(api, checksum=checksum)
        name, address = headers["X-Together-File-Id"], headers["Location"]
        early = await api.call("POST", f"/files/{name}/preprocess")
        wrong = [
            await bring(api, f"{address}0", data),
            await bring(api, address, data, {"Authorization": "Bearer k"}),
            await bring(api, address, data + b"\n"),
        ]
        brought = await bring(api, address, data)
        before = await api.call("GET", f"/files/{name}")
        processed, file = await api.call("POST", f"/files/{name}/preprocess")
        again = await api.call("POST", f"/files/{name}/preprocess")
        known, _, body = await announce(api, checksum=checksum)

    assert (status, early[0], wrong, brought, before[0]) == (302, 400, [403, 400, 400], 200, 404)
    assert api.base.partition("/together")[0] not in address, "it stands at another host"
    assert (processed, file["id"], file["bytes"], file["FileType"]) == (200, name, len(data), "jsonl")
    assert again[0] == 404
    assert (known, json.loads(body)) == (409, {"file_id": name})


@pytest.mark.parametrize("changes", [{"purpose": None}, {"file_name": None}, {"file_type": ""}, {"purpose": "batch"}])
async def test_what_is_announced_badly_is_refused(emulator, changes):
    async with service(emulator, "together") as api:
        assert (await announce(api, **changes))[0] == 400


async def test_what_was_announced_is_forgotten_by_a_reset_and_seen_by_nobody_else(emulator):
    async with service(emulator, "together") as api:
        _, headers, _ = await announce(api)
        await bring(api, headers["Location"])
        path = f"/files/{headers['X-Together-File-Id']}/preprocess"
        async with api.session.post(f"{api.base}{path}", headers={"Authorization": "Bearer other"}) as answer:
            strange = answer.status
        emulator.reset()
        gone = await api.call("POST", path), await bring(api, headers["Location"])
        _, headers, _ = await announce(api)
        empty = await bring(api, headers["Location"])
        _, file = await api.call("POST", f"/files/{headers['X-Together-File-Id']}/preprocess")

    assert (strange, gone[0][0], gone[1], empty, file["bytes"]) == (404, 404, 403, 200, 0)


async def test_a_batch_is_cancelled_once_where_the_service_says_so(emulator, time):
    async with service(emulator, "together") as api:
        _, headers, _ = await announce(api)
        await bring(api, headers["Location"], row("meta-llama/Llama-3.3-70B-Instruct-Turbo"))
        name = headers["X-Together-File-Id"]
        await api.call("POST", f"/files/{name}/preprocess")
        _, made = await api.call("POST", "/batches", json={"input_file_id": name, "endpoint": CHAT})
        path = f"/batches/{made['job']['id']}/cancel"
        first = await api.call("POST", path)
        time.now += 60
        second = await api.call("POST", path)

    assert (first[0], second[0]) == (200, 409)
    assert "CANCELLED" in second[1]["error"]


# Files that are looked at when they come, and creates that come again

RESPONSES = "/v1/responses"


def agent_row(custom_id="a", **changes):
    body = {"model": "perplexity/sonar", "input": "hello", **changes}
    return {"custom_id": custom_id, "method": "POST", "url": RESPONSES, "body": body}


async def agents_order(api, key=None, account=None, **changes):
    other = {"Authorization": f"Bearer {account}"} if account else {}
    _, file = await api.try_upload(encode_lines([agent_row()]))
    body = {"input_file_id": file["id"], "endpoint": RESPONSES, **changes}
    headers = {**({"Idempotency-Key": key} if key is not None else {}), **other}
    return await api.call("POST", "/batches", json=body, headers=headers)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (b"\n" + encode_lines([agent_row("b")]), "Line 2: This line is not parseable"),
        (b"nothing\n", "Line 2: This line is not parseable"),
        (agent_row(), "Line 2: The custom_id 'a' for this request is a duplicate"),
        ({**agent_row("b"), "method": "GET"}, "Line 2: Invalid method"),
        ({**agent_row("b"), "url": CHAT}, "Line 2: The URL provided"),
        (agent_row("b", model=None), "Line 2: Missing required parameter: 'body.model'"),
        (agent_row("b", model="openai/gpt-5"), "Line 2: All requests of a batch must have the same model"),
        (agent_row("b", stream=True), "Line 2: Streaming"),
        (agent_row("b", input=None), "Line 2: Missing required parameter: 'input'"),
        (agent_row("b", temperature=1), "Line 2: Unknown parameter: 'temperature'"),
        (agent_row("b", input=[]), "Line 2: Invalid 'input'"),
        (agent_row("b", input=3), "Line 2: Invalid 'input'"),
        (agent_row("b", input=[{"role": "user", "content": "x"}]), "Line 2: Invalid item of type None"),
        (agent_row("b", input=["x"]), "Line 2: Invalid item of type None"),
        (agent_row("b", input=[{"type": "message", "role": "user"}]), "Line 2: Invalid item of type 'message'"),
        (agent_row("b", input=[{"type": "message", "role": "tool", "content": "x"}]), "Line 2: Invalid role: 'tool'"),
        (agent_row("b", input=[{"type": "message", "role": "user", "content": []}]), "Line 2: Invalid content"),
        (agent_row("b", input=[{"type": "message", "role": "user", "content": 7}]), "Line 2: Invalid content"),
        (agent_row("b", input=[{"type": "message", "role": "user", "content": ["x"]}]), "Line 2: Invalid part"),
        (
            agent_row(
                "b", input=[{"type": "message", "role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]
            ),
            "Line 2: Invalid part",
        ),
        (
            agent_row("b", input=[{"type": "function_call_output", "call_id": "c", "output": []}]),
            "Line 2: Invalid item",
        ),
        (agent_row("b", tools=[{"type": "function", "function": {"name": "f"}}]), "Line 2: Invalid tool"),
        (agent_row("b", tools=["web_search"]), "Line 2: Invalid tool"),
        (agent_row("b", reasoning={"effort": "none"}), "Line 2: Invalid effort: 'none'"),
        (agent_row("b", reasoning={"effort": []}), "Line 2: Invalid effort: []"),
        (agent_row("b", reasoning="high"), "Line 2: Invalid 'reasoning'"),
        (agent_row("b", tools=7), "Line 2: Invalid 'tools'"),
        (agent_row("b", tools=[{"type": []}]), "Line 2: Invalid tool"),
        (agent_row("b", models="a/b"), "Line 2: Invalid 'models'"),
        (agent_row("b", response_format="json"), "Line 2: Invalid 'response_format'"),
        (agent_row("b", response_format={"type": "json_object"}), "Line 2: Expected a named json_schema"),
        (
            agent_row("b", response_format={"type": "json_schema", "json_schema": {"name": "n"}}),
            "Line 2: Expected a named",
        ),
        (agent_row("b", max_output_tokens=0), "Line 2: Invalid value for 'max_output_tokens'"),
        (agent_row("b", max_steps=101), "Line 2: Invalid value for 'max_steps'"),
        (agent_row("b", models=["a/b"] * 6), "Line 2: At most 5 models"),
    ],
)
async def test_a_bad_line_costs_the_upload_and_leaves_nothing(emulator, row, word):
    lines = encode_lines([agent_row(), row]) if not isinstance(row, bytes) else encode_lines([agent_row()]) + row
    async with service(emulator, "perplexity") as api:
        status, answer = await api.try_upload(lines)
        files = await api.get("/files")

    assert (status, answer["error"]["message"][: len(word)]) == (400, word)
    assert files["data"] == []


async def test_an_empty_file_has_no_line_that_could_be_named(emulator):
    async with service(emulator, "perplexity") as api:
        status, answer = await api.try_upload(b"")

    assert (status, answer["error"]["message"]) == (400, "The input file is empty.")


async def test_a_create_that_comes_again_under_its_key_is_the_first_one_and_keys_are_an_accounts_own(emulator):
    async with service(emulator, "perplexity") as api:
        found = [await agents_order(api, key) for key in ("k1", "k1", "k2", None, None)]
        api.key = "sk-another"
        found.append(await agents_order(api, "k1"))
        ids = [batch["id"] for _, batch in found]

    assert {(status, batch["completion_window"]) for status, batch in found} == {(200, "24h")}, "which need not be said"
    assert ids[0] == ids[1]
    assert len(set(ids)) == 5
    assert [record.kind for record in emulator.history].count("create") == 5


async def test_a_service_without_keys_has_two_batches(emulator):
    headers = {"Idempotency-Key": "k1"}
    model = "llama-3.1-8b-instant"
    async with service(emulator, "groq") as api:
        _, file = await api.try_upload(row(model))
        body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        ids = {(await api.call("POST", "/batches", json=body, headers=headers))[1]["id"] for _ in range(2)}

    assert len(ids) == 2


@pytest.mark.parametrize(
    "field", [{"output_expires_after": {"anchor": "created_at", "seconds": 7200}}, {"completion_window": "48h"}]
)
async def test_what_an_agents_create_cannot_say_is_refused(emulator, field):
    async with service(emulator, "perplexity") as api:
        status, _ = await agents_order(api, **field)

    assert status == 400


async def test_an_agent_answers_in_its_own_shape_and_its_file_is_asked_for_by_kind(emulator, time):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    rows = [
        agent_row("words"),
        agent_row("refused", input="[[refuse]]"),
        agent_row("form", response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}),
        agent_row("call", input="[[tool:look]]", tools=[{"type": "function", "name": "look"}]),
        {**agent_row("preset"), "body": {"preset": "sonar-pro", "input": "hello"}},
        {
            **agent_row("chain"),
            "body": {"models": ["xai/grok-4-1"], "input": [{"type": "message", "role": "user", "content": "hello"}]},
        },
    ]
    async with service(emulator, "perplexity") as api:
        file = await api.upload(encode_lines(rows))
        _, batch = await api.call("POST", "/batches", json={"input_file_id": file["id"], "endpoint": RESPONSES})
        time.now += 3600
        done = await api.get(f"/batches/{batch['id']}")
        path = f"/files/{done['output_file_id']}/content"
        refused, _ = await api.call("GET", path)
        async with await api.send("GET", path, headers={"Accept": "application/octet-stream"}) as answer:
            lines = [json.loads(line) for line in (await answer.read()).splitlines()]
    bodies = {line["custom_id"]: line["response"]["body"] for line in lines}
    parts = {
        name: [part for item in body["output"] for part in item.get("content", [])] for name, body in bodies.items()
    }

    assert refused == 406
    assert done["usage"]["total_tokens"] > 0
    assert {body["status"] for body in bodies.values()} == {"completed"}
    assert {part["type"] for found in parts.values() for part in found} == {"output_text"}
    assert json.loads(parts["form"][0]["text"]).keys() == {"a"}
    assert (bodies["preset"]["model"], bodies["chain"]["model"]) == ("sonar-pro", "xai/grok-4-1")
    assert bodies["words"]["usage"]["input_tokens_details"].keys() == {
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    }
    assert bodies["call"]["output"][0]["type"] == "function_call"
    assert parts["refused"][0]["text"] == "I cannot help with that."
