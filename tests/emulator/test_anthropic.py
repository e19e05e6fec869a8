"""Message batches: created whole, checked row by row when they run, and one stream of results."""

import base64
import json
from collections import Counter

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from asyncbatch.emulator import Emulator, Fault, faults, paid_twice
from asyncbatch.emulator.families.anthropic_asks import ask_message
from asyncbatch.emulator.families.openai_asks import ask_chat
from asyncbatch.emulator.model import Ask

OLD, NEW = "2023-06-01", "2026-10-21"
BATCHES = "/v1/messages/batches"
PNG = base64.b64encode(b"a picture").decode()
PDF = base64.b64encode(b"%PDF-1").decode()
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOL = {"name": "get_weather", "description": "d", "input_schema": {"type": "object", "required": ["city"]}}
RUNNING = {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}


def say(prompt="hi", **changes):
    body = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}]}
    return {name: value for name, value in {**body, **changes}.items() if value is not ...}


def row(custom_id="a", prompt="hi", **changes):
    return {"custom_id": custom_id, "params": say(prompt, **changes)}


def tool_use(call_id="t1"):
    return {"type": "tool_use", "id": call_id, "name": "get_weather", "input": {"city": "Graz"}}


def tool_result(call_id="t1", **more):
    return {"type": "tool_result", "tool_use_id": call_id, **more}


def dialogue(*turns):
    """Give turns, of which the user has the first."""
    return [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(turns)]


class Api:
    """The service as bytes over HTTP; `call` gives status and decoded body, and keeps the headers."""

    def __init__(self, emulator, headers=None):
        self.emulator = emulator
        self.base = emulator.base_url("anthropic")
        self.session = aiohttp.ClientSession(headers=headers or {"x-api-key": "k", "anthropic-version": OLD})
        self.headers = {}

    async def send(self, method, path, **options):
        return await self.session.request(method, f"{self.base}{path}", **options)

    async def call(self, method, path, **options):
        async with await self.send(method, path, **options) as response:
            self.headers = response.headers
            return response.status, await response.json()

    async def get(self, path):
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        return answer

    async def create(self, *rows, **options):
        status, answer = await self.call("POST", BATCHES, json={"requests": rows}, **options)
        assert status == 200, answer
        return answer

    async def batch(self, batch):
        return await self.get(f"{BATCHES}/{batch['id']}")

    async def content(self, batch):
        async with self.session.get(batch["results_url"]) as response:
            assert response.status == 200
            self.headers = response.headers
            return await response.read()

    async def lines(self, batch):
        return [json.loads(line) for line in (await self.content(batch)).splitlines()]

    async def run(self, *rows, **options):
        """Take rows to the end of their batch: it, and its lines by id."""
        batch = await self.create(*rows, **options)
        self.emulator.advance(3600)
        done = await self.batch(batch)
        return done, {line["custom_id"]: line["result"] for line in await self.lines(done)}

    async def result(self, **params):
        _, results = await self.run({"custom_id": "a", "params": params})
        return results["a"]

    async def refusal(self, params, **options):
        """Give the error of the one row that has these parameters."""
        _, results = await self.run({"custom_id": "a", "params": params}, **options)
        result = results["a"]
        assert result["type"] == "errored", result
        assert (result["error"]["type"], result["error"]["request_id"]) == ("error", None)
        return result["error"]["error"]


@pytest.fixture
async def api(emulator):
    api = Api(emulator)
    yield api
    await api.session.close()


@pytest.fixture
async def other(emulator):
    api = Api(emulator, {"x-api-key": "other", "anthropic-version": OLD})
    yield api
    await api.session.close()


class TestLife:
    async def test_a_batch_goes_from_its_rows_to_one_stream_of_results(self, api, emulator):
        batch = await api.create(row("a", "one"), row("b", max_tokens=...))
        running = await api.batch(batch)
        emulator.advance(0.04)
        done = await api.batch(batch)
        lines = {line["custom_id"]: line for line in await api.lines(done)}

        assert batch["id"].startswith("msgbatch_")
        assert batch == running
        assert (batch["type"], batch["processing_status"]) == ("message_batch", "in_progress")
        assert batch["request_counts"] == RUNNING
        assert [batch[name] for name in ("ended_at", "results_url", "archived_at", "cancel_initiated_at")] == [None] * 4
        assert done["processing_status"] == "ended"
        assert done["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 0}
        assert done["results_url"] == f"{emulator.url}/anthropic{BATCHES}/{batch['id']}/results"
        assert lines["a"]["result"]["message"]["content"] == [{"type": "text", "text": "echo: one"}]
        assert lines["b"] == {
            "custom_id": "b",
            "result": {
                "type": "errored",
                "error": {
                    "type": "error",
                    "error": {
                        "details": None,
                        "type": "invalid_request_error",
                        "message": "max_tokens: Field required",
                    },
                    "request_id": None,
                },
            },
        }
        assert api.headers["Content-Type"] == "application/x-jsonl"

    async def test_times_are_texts_in_utc(self, api, emulator):
        batch = await api.create(row())
        emulator.advance(10)
        done = await api.batch(batch)

        assert done["created_at"] == "2026-11-21T22:26:40.000000Z"
        assert done["expires_at"] == "2026-11-22T22:26:40.000000Z"
        assert done["ended_at"] == "2026-11-21T22:26:40.020000Z"

    async def test_counts_stand_still_until_the_end(self, api, emulator):
        batch = await api.create(*(row(str(number)) for number in range(100)))
        emulator.advance(1.5)

        assert (await api.batch(batch))["request_counts"] == {**RUNNING, "processing": 100}

    async def test_a_poll_of_what_runs_says_when_to_come_back(self, api, emulator):
        batch = await api.create(row())
        at_create = api.headers.get("Retry-After")
        await api.batch(batch)
        running = api.headers.get("Retry-After")
        emulator.advance(10)
        await api.batch(batch)

        assert (at_create, running, api.headers.get("Retry-After")) == (None, "10", None)

    async def test_results_come_in_any_order(self, api, emulator):
        batch = await api.create(*(row(str(number)) for number in range(50)))
        emulator.advance(3600)
        ids = [line["custom_id"] for line in await api.lines(await api.batch(batch))]

        assert ids != sorted(ids, key=int)
        assert sorted(ids, key=int) == [str(number) for number in range(50)]

    async def test_there_are_no_results_before_the_end(self, api):
        batch = await api.create(row())
        status, answer = await api.call("GET", f"{BATCHES}/{batch['id']}/results")

        assert (status, answer["error"]["type"]) == (404, "not_found_error")

    async def test_results_are_gone_after_29_days(self, api, emulator):
        batch = await api.create(row())
        emulator.advance(29 * 86_400 - 1)
        kept = await api.batch(batch)
        assert len(await api.lines(kept)) == 1
        emulator.advance(1)
        archived = await api.batch(batch)
        status, answer = await api.call("GET", f"{BATCHES}/{batch['id']}/results")

        assert (kept["archived_at"], archived["archived_at"]) == (None, "2026-12-20T22:26:40.000000Z")
        assert archived["processing_status"] == "ended"
        assert (status, answer["error"]["type"]) == (404, "not_found_error")

    async def test_a_batch_of_which_nothing_is_left_has_an_empty_stream(self, api):
        done, results = await api.run(row("a", "[[missing]]"))

        assert (done["request_counts"]["succeeded"], results) == (1, {})

    async def test_a_batch_that_does_not_end_in_a_day_expires_with_what_it_has(self, api, emulator):
        batch = await api.create(row("a"), row("b", "[[stall]]"), row("c", max_tokens=0))
        emulator.advance(86_400)
        done = await api.batch(batch)
        results = {line["custom_id"]: line["result"]["type"] for line in await api.lines(done)}

        assert done["processing_status"] == "ended"
        assert done["ended_at"] == done["expires_at"]
        assert done["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 1}
        assert results == {"a": "succeeded", "b": "expired", "c": "errored"}

    async def test_another_account_sees_nothing_of_it(self, api, other, emulator):
        batch = await api.create(row())
        emulator.advance(10)
        path = f"{BATCHES}/{batch['id']}"
        calls = [("GET", path), ("GET", f"{path}/results"), ("POST", f"{path}/cancel"), ("DELETE", path)]

        assert [(await other.call(*call))[0] for call in calls] == [404] * 4
        assert (await other.get(BATCHES))["data"] == []


class TestCreate:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "JSON"),
            (b"{", "JSON"),
            (b"[]", "Expected `object`"),
            (b"\xff", "JSON"),
            ({}, "requests: Field required"),
            ({"requests": {}}, "Expected `array"),
            ({"requests": None}, "requests: Field required"),
            ({"requests": []}, "requests: List should have at least 1 item"),
            ({"requests": [row()], "model": "m"}, "model: Extra inputs are not permitted"),
            ({"requests": [row(), 7]}, "requests.1: Input should be an object"),
            ({"requests": [{"params": say()}]}, "requests.0.custom_id: Field required"),
            ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
            ({"requests": [{"custom_id": "a", "params": "hi"}]}, "requests.0.params: Input should be an object"),
            ({"requests": [{**row(), "method": "POST"}]}, "requests.0.method: Extra inputs are not permitted"),
            ({"requests": [row("a"), row("b"), row("a")]}, "requests.2.custom_id: 'a' is not unique"),
        ],
    )
    async def test_a_bad_list_is_refused_and_there_is_no_batch(self, api, body, message):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, answer = await api.call("POST", BATCHES, data=data)

        assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")
        assert message in answer["error"]["message"]
        assert (await api.get(BATCHES))["data"] == []
        assert list(api.emulator._running.service.families["anthropic"].desk.store.directory.iterdir()) == []

    @pytest.mark.parametrize("name", ["", "a" * 65, "a:b", "a.b", "a/b", "ä", "a b", "a\n", 7, None])
    async def test_a_name_has_to_be_plain(self, api, name):
        status, answer = await api.call("POST", BATCHES, json={"requests": [row(name)]})

        assert status == 400
        assert answer["error"]["message"].startswith("requests.0.custom_id: String should match")

    @pytest.mark.parametrize("name", ["a", "A-1_z", "0" * 64, "3f2b1c1e-7c44-4a57-9a43-7d1b2f0a9c11"])
    async def test_a_plain_name_is_taken(self, api, name):
        assert (await api.create(row(name)))["request_counts"]["processing"] == 1

    @pytest.mark.parametrize("options", [{"limits": {"rows": 2}}])
    async def test_too_many_rows_are_refused(self, api):
        await api.create(row("a"), row("b"))
        status, answer = await api.call("POST", BATCHES, json={"requests": [row("a"), row("b"), row("c")]})

        assert (status, answer["error"]["message"]) == (400, "requests: List should have at most 2 items")

    @pytest.mark.parametrize("options", [{"limits": {"inline_bytes": 1000}}])
    async def test_a_body_that_is_too_large_is_refused(self, api):
        status, answer = await api.call("POST", BATCHES, json={"requests": [row("a", "x" * 1000)]})

        assert (status, answer["error"]["type"]) == (413, "request_too_large")

    async def test_the_documented_limits_hold(self, emulator):
        limits = emulator._running.service.families["anthropic"].desk.limits

        assert (limits.rows, limits.inline_bytes, limits.file_bytes) == (100_000, 256_000_000, None)

    async def test_what_is_wrong_with_parameters_shows_when_the_row_runs(self, api):
        done, results = await api.run({"custom_id": "a", "params": {}}, row("b", stream=True), row("c"))

        assert done["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 0, "expired": 0}
        assert {name: result["type"] for name, result in results.items()} == {
            "a": "errored",
            "b": "errored",
            "c": "succeeded",
        }


class TestAccess:
    @pytest.mark.parametrize("headers", [{}, {"x-api-key": "invalid"}, {"Authorization": "Basic k"}])
    async def test_a_call_without_a_good_key_is_refused(self, emulator, headers):
        api = Api(emulator, {**headers, "anthropic-version": OLD})
        status, answer = await api.call("GET", BATCHES)
        await api.session.close()

        assert (status, answer["error"]["type"]) == (401, "authentication_error")

    async def test_the_key_may_come_as_a_bearer_token(self, api, emulator):
        batch = await api.create(row())
        bearer = Api(emulator, {"Authorization": "Bearer k", "anthropic-version": OLD})
        found = (await bearer.get(BATCHES))["data"]
        await bearer.session.close()

        assert found == [batch]

    @pytest.mark.parametrize("version", [None, "2024-01-01", ""])
    async def test_a_call_without_a_known_version_is_refused(self, emulator, version):
        api = Api(emulator, {"x-api-key": "k"} if version is None else {"x-api-key": "k", "anthropic-version": version})
        calls = [("GET", BATCHES), ("POST", BATCHES), ("GET", f"{BATCHES}/b"), ("GET", "/v1/models")]
        answers = [await api.call(*call) for call in calls]
        await api.session.close()

        assert [(status, answer["error"]["type"]) for status, answer in answers] == [(400, "invalid_request_error")] * 4
        assert all(answer["error"]["message"].startswith("anthropic-version: ") for _, answer in answers)

    async def test_the_request_id_stands_in_the_header_and_in_the_error(self, api):
        _, answer = await api.call("GET", f"{BATCHES}/none")

        assert answer["request_id"] == api.headers["request-id"]
        assert answer["request_id"].startswith("req_")
        assert api.headers["anthropic-organization-id"]

    @pytest.mark.parametrize("options", [{"limits": {"requests_per_min": 1}}])
    async def test_too_many_calls_in_a_minute_have_to_wait(self, api):
        await api.get(BATCHES)
        status, answer = await api.call("GET", BATCHES)

        assert (status, answer["error"]["type"], answer["error"]["details"]) == (429, "rate_limit_error", None)
        assert api.headers["Retry-After"] == "60"

    async def test_what_is_not_there_is_an_error_of_the_same_form(self, api):
        status, answer = await api.call("GET", "/v1/nothing")

        assert (status, answer["type"], answer["error"]["type"]) == (404, "error", "not_found_error")


class TestLists:
    async def test_pages_go_to_older_batches_and_back(self, api):
        ids = [(await api.create(row()))["id"] for _ in range(5)][::-1]
        first = await api.get(f"{BATCHES}?limit=2")
        second = await api.get(f"{BATCHES}?limit=2&after_id={first['last_id']}")
        last = await api.get(f"{BATCHES}?limit=2&after_id={second['last_id']}")
        back = await api.get(f"{BATCHES}?limit=3&before_id={last['first_id']}")
        top = await api.get(f"{BATCHES}?limit=3&before_id={back['first_id']}")

        pages = [[batch["id"] for batch in page["data"]] for page in (first, second, last, back, top)]
        assert pages == [ids[:2], ids[2:4], ids[4:], ids[1:4], ids[:1]]
        assert [page["has_more"] for page in (first, second, last, back, top)] == [True, True, False, True, False]
        assert (first["first_id"], first["last_id"]) == (ids[0], ids[1])

    async def test_a_page_has_20_batches_unless_told_otherwise(self, api):
        for _ in range(21):
            await api.create(row())

        assert len((await api.get(BATCHES))["data"]) == 20
        assert len((await api.get(f"{BATCHES}?limit=1000"))["data"]) == 21

    async def test_an_empty_list_names_nothing(self, api):
        assert await api.get(BATCHES) == {"data": [], "has_more": False, "first_id": None, "last_id": None}

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=", "after_id=none", "before_id=none"]
    )
    async def test_a_bad_query_is_refused(self, api, query):
        status, answer = await api.call("GET", f"{BATCHES}?{query}")

        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")

    async def test_the_two_directions_exclude_each_other(self, api):
        batch = await api.create(row())
        status, _ = await api.call("GET", f"{BATCHES}?after_id={batch['id']}&before_id={batch['id']}")

        assert status == 400


class TestCancel:
    async def test_a_cancelled_batch_keeps_what_was_done(self, api, emulator):
        batch = await api.create(*(row(str(number)) for number in range(100)))
        emulator.advance(1)
        path = f"{BATCHES}/{batch['id']}/cancel"
        status, canceling = await api.call("POST", path)
        emulator.advance(5)
        _, again = await api.call("POST", path)
        emulator.advance(5)
        done = await api.batch(batch)
        types = Counter(line["result"]["type"] for line in await api.lines(done))

        assert (status, canceling["processing_status"]) == (200, "canceling")
        assert canceling["request_counts"] == {**RUNNING, "processing": 100}
        assert canceling["results_url"] is None
        assert again == canceling
        assert (done["processing_status"], done["cancel_initiated_at"]) == ("ended", canceling["cancel_initiated_at"])
        assert done["request_counts"] == {"processing": 0, "succeeded": 50, "errored": 0, "canceled": 50, "expired": 0}
        assert types == {"succeeded": 50, "canceled": 50}

    async def test_a_batch_that_is_cancelled_at_once_has_done_nothing(self, api, emulator):
        batch = await api.create(row("a"), row("b"))
        await api.call("POST", f"{BATCHES}/{batch['id']}/cancel")
        emulator.advance(10)
        done = await api.batch(batch)

        assert done["request_counts"]["canceled"] == 2
        assert {line["custom_id"]: line["result"] for line in await api.lines(done)} == {
            "a": {"type": "canceled"},
            "b": {"type": "canceled"},
        }

    async def test_what_is_over_stays_as_it_is(self, api, emulator):
        done, _ = await api.run(row())
        status, answer = await api.call("POST", f"{BATCHES}/{done['id']}/cancel")

        assert (status, answer) == (200, done)
        assert [record.kind for record in emulator.history if record.kind == "cancel"] == []


class TestDelete:
    async def test_what_runs_cannot_be_deleted(self, api):
        batch = await api.create(row())
        status, answer = await api.call("DELETE", f"{BATCHES}/{batch['id']}")

        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert (await api.batch(batch))["id"] == batch["id"]

    async def test_what_is_deleted_is_gone(self, api):
        kept, _ = await api.run(row())
        done, _ = await api.run(row())
        path = f"{BATCHES}/{done['id']}"
        status, answer = await api.call("DELETE", path)
        calls = [("GET", path), ("GET", f"{path}/results"), ("POST", f"{path}/cancel"), ("DELETE", path)]

        assert (status, answer) == (200, {"id": done["id"], "type": "message_batch_deleted"})
        assert [(await api.call(*call))[0] for call in calls] == [404] * 4
        assert [batch["id"] for batch in (await api.get(BATCHES))["data"]] == [kept["id"]]

    async def test_the_history_remembers_what_was_paid_for_it(self, api, emulator):
        for _ in range(2):
            done, _ = await api.run(row())
            await api.call("DELETE", f"{BATCHES}/{done['id']}")

        assert len(paid_twice(emulator.history)) == 1
        assert [record.kind for record in emulator.history if record.kind != "request"] == ["create", "delete"] * 2


class TestAnswers:
    async def test_a_message_is_whole(self, api):
        result = await api.result(**say("hi", system="be brief"))

        message = result["message"]
        assert message.pop("id").startswith("msg_")
        assert result["type"] == "succeeded"
        assert message == {
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5",
            "content": [{"type": "text", "text": "echo: hi"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            "diagnostics": None,
            "usage": {
                "input_tokens": 3,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 2,
                "output_tokens_details": {"thinking_tokens": 0},
                "server_tool_use": None,
                "service_tier": "batch",
                "inference_geo": None,
            },
        }

    async def test_tokens_of_the_cache_are_counted_apart_and_thoughts_are_not(self, api):
        message = (await api.result(**say("[[cached:7]][[think:3]]")))["message"]

        assert [block["type"] for block in message["content"]] == ["thinking", "text"]
        usage = message["usage"]
        assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (6, 7)
        assert (usage["output_tokens"], usage["output_tokens_details"]["thinking_tokens"]) == (8 + 3, 3)

    async def test_thoughts_can_be_left_out(self, api):
        thinking = {"type": "adaptive", "display": "omitted"}
        message = (await api.result(**say("[[think:3]]", thinking=thinking)))["message"]

        assert message["content"][0]["thinking"] == ""
        assert message["content"][0]["signature"]

    async def test_an_answer_that_is_too_long_is_cut(self, api):
        message = (await api.result(**say("a long prompt", max_tokens=2)))["message"]

        assert (message["stop_reason"], message["content"][0]["text"]) == ("max_tokens", "echo: a ")
        assert message["usage"]["output_tokens"] == 2

    @pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
    async def test_a_tool_is_called_with_an_object(self, api, choice):
        tool = {**TOOL, "input_schema": SCHEMA}
        message = (await api.result(**say(tools=[tool], tool_choice=choice)))["message"]

        (block,) = message["content"]
        assert block.pop("id").startswith("toolu_")
        assert block == {"type": "tool_use", "name": "get_weather", "input": {"a": 0}, "caller": {"type": "direct"}}
        assert message["stop_reason"] == "tool_use"

    async def test_no_tool_is_called_where_none_is_wanted(self, api):
        message = (await api.result(**say(tools=[TOOL], tool_choice={"type": "none"})))["message"]

        assert message["stop_reason"] == "end_turn"

    async def test_structure_comes_as_text(self, api):
        wanted = {"format": {"type": "json_schema", "schema": SCHEMA}}
        message = (await api.result(**say(output_config=wanted)))["message"]

        assert json.loads(message["content"][0]["text"]) == {"a": 0}

    async def test_a_refusal_is_a_row_that_succeeded(self, api):
        result = await api.result(**say("[[refuse]]"))

        assert (result["type"], result["message"]["stop_reason"]) == ("succeeded", "refusal")
        assert result["message"]["content"][0]["text"] == "I cannot help with that."
        assert result["message"]["stop_details"]["type"] == "refusal"


class TestMarkers:
    @pytest.mark.parametrize(
        ("marker", "kind"),
        [
            ("[[error]]", "invalid_request_error"),
            ("[[error:403]]", "permission_error"),
            ("[[error:404]]", "not_found_error"),
            ("[[error:413]]", "request_too_large"),
            ("[[error:418]]", "invalid_request_error"),
            ("[[error:429]]", "rate_limit_error"),
            ("[[error:500]]", "api_error"),
            ("[[error:504]]", "timeout_error"),
            ("[[error:529]]", "overloaded_error"),
        ],
    )
    async def test_an_error_has_the_type_that_its_status_has(self, api, marker, kind):
        error = await api.refusal(say(marker))

        assert (error["type"], error["details"]) == (kind, None)

    async def test_the_stream_can_hold_what_nobody_expects(self, api, emulator):
        prompts = ("duplicate", "conflict", "stranger", "missing", "expire")
        batch = await api.create(*(row(name, f"[[{name}]]") for name in prompts))
        emulator.advance(10)
        done = await api.batch(batch)
        lines = await api.lines(done)

        assert done["request_counts"] == {"processing": 0, "succeeded": 4, "errored": 0, "canceled": 0, "expired": 1}
        found = {name: [line for line in lines if line["custom_id"] == name] for name in prompts}
        assert found["duplicate"][0] == found["duplicate"][1]
        first, second = (line["result"]["message"]["content"] for line in found["conflict"])
        assert first != second
        assert (len(found["stranger"]), found["missing"]) == (1, [])
        assert found["expire"] == [{"custom_id": "expire", "result": {"type": "expired"}}]
        assert len([line for line in lines if line["custom_id"].startswith("stranger-")]) == 1

    async def test_a_line_can_be_garbage(self, api, emulator):
        batch = await api.create(row("a", "[[garbage]]"))
        emulator.advance(10)
        (line,) = (await api.content(await api.batch(batch))).splitlines()

        with pytest.raises(ValueError, match=r"."):
            json.loads(line)


GOOD = {
    "text blocks": say([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]),
    "images": say(
        [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        ]
    ),
    "documents": say(
        [
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}, "title": "t"},
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
            {"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}},
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}, "citations": {"enabled": True}},
        ]
    ),
    "a result of a search": say(
        [{"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "a"}]}]
    ),
    "a system message": say(
        messages=[{"role": "user", "content": "a"}, {"role": "system", "content": "b"}],
        system=[{"type": "text", "text": "c"}],
    ),
    "a call and its result": say(
        messages=dialogue(
            "a",
            [{"type": "thinking", "thinking": "", "signature": "s"}, {**tool_use(), "caller": {"type": "direct"}}],
            [tool_result(content=[{"type": "text", "text": "sun"}]), {"type": "text", "text": "so?"}],
        ),
        tools=[TOOL],
    ),
    "two calls, answered in two messages": say(
        messages=[
            *dialogue("a", [tool_use("t1"), tool_use("t2")]),
            {"role": "user", "content": [tool_result("t1", is_error=True)]},
            {"role": "user", "content": [tool_result("t2", content="sun")]},
        ],
        tools=[TOOL],
    ),
    "an answer that is begun": say(messages=dialogue("a", "The answer is (")),
    "what a server's tool left": say(
        messages=dialogue("a", [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}])
    ),
    "tools of the service": say(tools=[TOOL, {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]),
    "a strict tool": say(tools=[{"type": "custom", "name": "f", "strict": True, "input_schema": SCHEMA}]),
    "sampling": say(temperature=1, top_p=0.5, top_k=3, stop_sequences=["END"]),
    "thinking": say(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=1025),
    "adaptive thinking": say(thinking={"type": "adaptive"}, output_config={"effort": "xhigh"}),
    "no thinking": say(thinking={"type": "disabled"}),
    "thinking between tools": say(thinking={"type": "between_tools"}),
    "all the rest": say(
        metadata={"user_id": "u"},
        service_tier="standard_only",
        speed=None,
        inference_geo="us",
        stream=False,
        cache_control={"type": "ephemeral"},
        max_tokens=300_000,
    ),
    "a nested schema": say(
        output_config={
            "format": {
                "type": "json_schema",
                "schema": {
                    "$defs": {"n": SCHEMA},
                    "anyOf": [{"$ref": "#/$defs/n"}, {"type": "array", "minItems": 1, "items": {"enum": ["x", None]}}],
                },
            }
        }
    ),
}


def structured(**changes):
    """Ask for an object that has one property, changed."""
    schema = {**SCHEMA, "properties": {"a": {"type": "integer", **changes}}}
    return say(output_config={"format": {"type": "json_schema", "schema": schema}})


def said(*blocks):
    return say(list(blocks))


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
BAD = {
    "model: Field required": say(model=...),
    "max_tokens: Field required": say(max_tokens=...),
    "messages: Field required": say(messages=...),
    "max_tokens: Expected `int`": say(max_tokens="9"),
    "max_tokens: Expected `int` >= 1": say(max_tokens=-1),
    "max_tokens: 0 is not supported": say(max_tokens=0),
    "max_tokens: Expected `int`, got `bool`": say(max_tokens=True),
    "max_tokens: 300001 >": say(max_tokens=300_001),
    "messages: expected 1": say(messages=[]),
    "messages: Expected `array`": say(messages="hi"),
    "messages.0: Expected `object`": say(messages=["hi"]),
    "messages.0.role: Invalid": say(messages=[{"role": "tool", "content": "a"}]),
    "messages.0.role: Field required": say(messages=[{"content": "a"}]),
    "messages.0.content: Field required": say(messages=[{"role": "user"}]),
    "messages.0.name: Extra inputs": say(messages=[{"role": "user", "content": "a", "name": "n"}]),
    "messages.0: messages must have non-empty": say(" "),
    "messages.1: messages must have non-empty": say(messages=dialogue("a", [])),
    "messages.0.content: Expected": say(None),
    "messages.0.content.0: text content": said({"type": "text", "text": " "}),
    "messages.0.content.0.text: Field required": said({"type": "text"}),
    "messages.0.content.0.type: Field required": said({"text": "a"}),
    "messages.0.content.1.type: Invalid value": said({"type": "text", "text": "a"}, {"type": "image_url"}),
    "messages.0.content.0.source.media_type: Invalid": said(
        {"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": PNG}}
    ),
    "messages.0.content.0.source.data: Invalid base64": said(
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": f"data:;base64,{PNG}"}}
    ),
    "messages.0.content.0.source.url: Expected": said({"type": "image", "source": {"type": "url", "url": "file:///a"}}),
    "messages.0.content.0.source.type: Invalid": said({"type": "image", "source": {"type": "text"}}),
    "messages.0.content.0.detail: Extra inputs": said({**IMAGE, "detail": "low"}),
    "messages.0.content.0.source.media_type: Invalid enum value 'image/png'": said(
        {"type": "document", "source": IMAGE["source"]}
    ),
    "messages.1.content.0: a system message": say(messages=[*dialogue("a"), {"role": "system", "content": [IMAGE]}]),
    "messages.0.content.0: blocks of this type": said(tool_use()),
    "messages.1.content.0: blocks of this type": say(messages=dialogue("a", [tool_result()])),
    "messages.0: unexpected `tool_use_id` found in `tool_result` blocks: t1": said(tool_result()),
    "messages.2: unexpected `tool_use_id` found in `tool_result` blocks: t2": say(
        messages=dialogue("a", [tool_use("t1")], [tool_result("t1"), tool_result("t2")])
    ),
    "messages.4: unexpected": say(
        messages=dialogue("a", [tool_use("t1")], [tool_result("t1")], "b", [tool_result("t1")])
    ),
    "messages.2: `tool_use` ids were found without": say(messages=dialogue("a", [tool_use()], "b")),
    "messages.1: `tool_use` ids were found without": say(messages=dialogue("a", [tool_use()])),
    "messages.1: `tool_use` ids must be unique": say(messages=dialogue("a", [tool_use(), tool_use()])),
    "messages.2: each `tool_use` must have a single": say(
        messages=dialogue("a", [tool_use()], [tool_result(), tool_result()])
    ),
    "messages.1.content.0.input: Expected `object`": say(messages=dialogue("a", [{**tool_use(), "input": "{}"}])),
    "messages.2.content.0.tool_result.content.0: text": say(
        messages=dialogue("a", [tool_use()], [tool_result(content=[{"type": "text", "text": ""}])])
    ),
    "system.0: text content": say(system=[{"type": "text", "text": ""}]),
    "system.0.type: Invalid": say(system=[IMAGE]),
    "tools.0.custom.name: Expected `str` matching": say(tools=[{**TOOL, "name": "get weather"}]),
    "tools.0.custom.input_schema: Field required": say(tools=[{"name": "f"}]),
    "tools.0.custom.input_schema.type: Input should be 'object'": say(tools=[{"name": "f", "input_schema": {}}]),
    "tools.0.custom.parameters: Extra inputs": say(tools=[{**TOOL, "parameters": {}}]),
    "tools.0.type: 'function'": say(tools=[{"type": "function", "function": {"name": "f"}}]),
    "tools.0.custom: for 'object' type": say(tools=[{**TOOL, "strict": True}]),
    "tools.1.name: tool names must be unique": say(tools=[TOOL, TOOL]),
    "tool_choice: may only": say(tool_choice={"type": "auto"}),
    "tool_choice: tool 'g' not found": say(tools=[TOOL], tool_choice={"type": "tool", "name": "g"}),
    "tool_choice.type: Invalid": say(tools=[TOOL], tool_choice={"type": "required"}),
    "tool_choice: Expected `object`": say(tools=[TOOL], tool_choice="auto"),
    "tool_choice.name: Field required": say(tools=[TOOL], tool_choice={"type": "tool"}),
    "stop_sequences.1: each": say(stop_sequences=["a", "\n"]),
    "stop_sequences: Expected `array`": say(stop_sequences="a"),
    "temperature: Expected `float` <= 1.0": say(temperature=1.5),
    "temperature: Expected `float`, got `null`": say(temperature=None),
    "top_p: Expected": say(top_p=2),
    "top_k: Expected": say(top_k=-1),
    "thinking.type: Invalid": say(thinking={"type": "on"}),
    "thinking.budget_tokens: Field required": say(thinking={"type": "enabled"}),
    "thinking.budget_tokens: Expected `int` >= 1024": say(thinking={"type": "enabled", "budget_tokens": 5}),
    "max_tokens: must be greater than thinking": say(
        max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 2000}
    ),
    "output_config.effort: Invalid": say(output_config={"effort": "minimal"}),
    "output_config.format.type: Invalid": say(output_config={"format": {"type": "json_object"}}),
    "output_config.format.name: Extra": say(
        output_config={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}
    ),
    "output_config.format.schema: for 'object' type, 'additionalProperties'": structured(type="object"),
    "output_config.format.schema: for 'integer' type, minimum": structured(minimum=1),
    "output_config.format.schema: for 'string' type, minLength, maxLength": structured(
        type="string", minLength=1, maxLength=2
    ),
    "output_config.format.schema: for 'array' type, 'minItems'": structured(type="array", minItems=2),
    "output_config.format.schema: 'oneOf'": structured(oneOf=[]),
    "output_config.format.schema: for 'number' type, multipleOf": structured(
        anyOf=[{"type": "number", "multipleOf": 2}]
    ),
    "output_config.format.schema: for 'array' type, maxItems": structured(items={"type": ["array"], "maxItems": 2}),
    "output_config.format.schema: for 'object' type, maxProperties": structured(
        allOf=[{**SCHEMA, "maxProperties": 2}],
    ),
    "output_config.format.schema: 'enum'": structured(enum=[{}]),
    "metadata.team: Extra inputs": say(metadata={"team": "t"}),
    "service_tier: Invalid": say(service_tier="batch"),
    "cache_control.ttl: Invalid": say(cache_control={"type": "ephemeral", "ttl": "1d"}),
    "stream: streaming": say(stream=True),
    "stream: Expected `bool`": say(stream="no"),
    "fallbacks: not supported": say(fallbacks=["claude-haiku-4-5"]),
    "billing_policy.bill_to: user_profile": say(billing_policy={"type": "billing_policy", "bill_to": "user_profile"}),
    "response_format: Extra inputs are not permitted": say(response_format={"type": "json_object"}),
    "n: Extra inputs are not permitted": say(n=2),
    "mcp_servers: Extra inputs are not permitted": say(mcp_servers=[]),
}


class TestChecks:
    async def test_what_the_service_takes_is_answered(self, api):
        rows = [{"custom_id": f"r{number}", "params": params} for number, params in enumerate(GOOD.values())]
        _, results = await api.run(*rows)

        names = dict(zip((item["custom_id"] for item in rows), GOOD, strict=True))
        errors = {names[name]: result for name, result in results.items() if result["type"] != "succeeded"}
        assert errors == {}

    async def test_what_it_does_not_take_is_named(self, api):
        rows = [{"custom_id": f"r{number}", "params": params} for number, params in enumerate(BAD.values())]
        done, results = await api.run(*rows)

        assert done["request_counts"]["errored"] == len(BAD)
        found = [results[item["custom_id"]]["error"]["error"] for item in rows]
        wrong = {
            message: error["message"]
            for message, error in zip(BAD, found, strict=True)
            if not error["message"].startswith(message) or error["type"] != "invalid_request_error"
        }
        assert wrong == {}

    async def test_an_unknown_model_is_not_found(self, api):
        error = await api.refusal(say(model="gpt-4.1"))

        assert (error["type"], error["message"]) == ("not_found_error", "model: gpt-4.1")

    @pytest.mark.parametrize("options", [{"models": ["own-*"]}])
    async def test_further_models_can_be_made_known(self, api):
        assert (await api.result(**say(model="own-1")))["message"]["model"] == "own-1"

    @pytest.mark.parametrize(
        ("message", "params"),
        [
            ("temperature: ", say(temperature=1)),
            ("top_p: ", say(top_p=None)),
            ("top_k: ", say(top_k=1)),
            (
                "messages.1.content.0: documents",
                say(messages=dialogue("a", [GOOD["documents"]["messages"][0]["content"][0]])),
            ),
            ("messages.0.content.0.citations: ", said({"type": "text", "text": "a", "citations": [{"type": "c"}]})),
        ],
    )
    async def test_the_new_version_refuses_what_the_old_one_took(self, api, message, params):
        error = await api.refusal(params, headers={"anthropic-version": NEW})

        assert error["type"] == "invalid_request_error"
        assert error["message"].startswith(message)
        if params.get("top_p", ...) is not None:
            assert (await api.result(**params))["type"] == "succeeded"

    async def test_the_new_version_takes_all_the_rest(self, api):
        good = {name: params for name, params in GOOD.items() if name != "sampling"}
        rows = [{"custom_id": f"r{number}", "params": params} for number, params in enumerate(good.values())]
        done, _ = await api.run(*rows, headers={"anthropic-version": NEW})

        assert done["request_counts"]["succeeded"] == len(good)

    async def test_a_beta_brings_parameters_with_it(self, api):
        params = say(mcp_servers=[], context_management={})
        _, results = await api.run(
            {"custom_id": "a", "params": params},
            {"custom_id": "b", "params": {**params, "n": 2}},
            {"custom_id": "c", "params": {**params, "fallbacks": []}},
            headers={"anthropic-beta": "mcp-client-2025-11-20"},
        )

        assert {name: result["type"] for name, result in results.items()} == {
            "a": "succeeded",
            "b": "errored",
            "c": "errored",
        }


URL = "https://a.example/b.png"
SAME = {  # a chat of OpenAI's -> the parameters that mean the same
    "a conversation": (
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": "c"},
                {"role": "user", "content": "d"},
            ],
            "temperature": 0.5,
            "stop": ["x"],
        },
        {
            "system": "be brief",
            "messages": dialogue([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "c", "d"),
            "temperature": 0.5,
            "stop_sequences": ["x"],
        },
    ),
    "tools": (
        {
            "messages": [
                {"role": "user", "content": "a"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "t1",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city":"Graz"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "t1", "content": "sun"},
                {"role": "user", "content": "and?"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "get_weather", "description": "d", "parameters": TOOL["input_schema"]},
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        },
        {
            "messages": dialogue("a", [tool_use()], [tool_result(content="sun"), {"type": "text", "text": "and?"}]),
            "tools": [TOOL],
            "tool_choice": {"type": "tool", "name": "get_weather"},
        },
    ),
    "a tool of any kind, and nothing but results": (
        {
            "messages": [
                {"role": "user", "content": "a"},
                {
                    "role": "assistant",
                    "content": "b",
                    "tool_calls": [
                        {
                            "id": "t1",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city":"Graz"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "t1", "content": "sun"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "get_weather", "description": "d", "parameters": TOOL["input_schema"]},
                }
            ],
            "tool_choice": "required",
        },
        {
            "messages": dialogue("a", [{"type": "text", "text": "b"}, tool_use()], [tool_result(content="sun")]),
            "tools": [TOOL],
            "tool_choice": {"type": "any"},
        },
    ),
    "pictures, documents and structure": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                        {"type": "image_url", "image_url": {"url": URL}},
                        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}},
                    ],
                }
            ],
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
            "reasoning_effort": "high",
        },
        {
            "messages": dialogue(
                [
                    {"type": "text", "text": "a"},
                    IMAGE,
                    {"type": "image", "source": {"type": "url", "url": URL}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                    },
                ]
            ),
            "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
        },
    ),
}


class TestAsks:
    @pytest.mark.parametrize(("chat", "params"), SAME.values(), ids=SAME)
    def test_what_means_the_same_is_equal_in_both_dialects(self, chat, params):
        common = {"model": "m", "max_tokens": 9}

        assert replace(ask_message({**common, **params}), body={}) == replace(ask_chat({**common, **chat}), body={})

    def test_the_services_own_tools_are_not_the_models_to_call(self):
        ask = ask_message(say(tools=[{"type": "web_search_20250305", "name": "web_search"}, TOOL]))

        assert [tool.name for tool in ask.tools] == ["get_weather"]

    def test_what_the_system_says_in_between_is_joined(self):
        ask = ask_message(GOOD["a system message"])

        assert (ask.system, [message.text for message in ask.messages]) == ("c\nb", ["a"])

    def test_documents_of_every_kind_have_an_address(self):
        (message,) = ask_message(GOOD["documents"]).messages
        text = f"data:text/plain;base64,{base64.b64encode(b'a').decode()}"

        assert message.documents == (
            f"data:application/pdf;base64,{PDF}",
            text,
            text,
            "https://a.example/b.pdf",
            "file_1",
        )

    def test_an_ask_can_be_written_as_json(self):
        ask = ask_message(GOOD["a call and its result"])

        assert msgspec.json.decode(msgspec.json.encode(ask), type=Ask).messages == ask.messages


class TestModels:
    async def test_models_are_listed_in_pages(self, api):
        first = await api.get("/v1/models?limit=3")
        second = await api.get(f"/v1/models?limit=1000&after_id={first['last_id']}")
        names = [model["id"] for page in (first, second) for model in page["data"]]

        assert (len(first["data"]), first["has_more"], second["has_more"]) == (3, True, False)
        assert len(names) == len(set(names)) > 3
        assert "claude-haiku-4-5-20251001" in names

    async def test_a_model_says_that_it_takes_batches(self, api):
        model = await api.get("/v1/models/claude-haiku-4-5-20251001")

        assert (model["type"], model["display_name"], model["line"]) == ("model", "Claude Haiku 4 5", "haiku")
        assert model["capabilities"]["batch"] == {"supported": True}

    async def test_an_unknown_model_is_not_found(self, api):
        status, answer = await api.call("GET", "/v1/models/gpt-5")

        assert (status, answer["error"]["type"]) == (404, "not_found_error")


class TestFaults:
    async def test_a_lost_create_is_found_in_the_list_and_was_paid(self, api, emulator):
        emulator.add(faults.accept_then_drop())
        with pytest.raises(aiohttp.ClientError):
            await api.create(row())
        emulator.advance(10)

        (batch,) = (await api.get(BATCHES))["data"]
        assert sum(batch["request_counts"].values()) == 1
        assert [record.is_paid for record in emulator.history if record.kind == "create"] == [True]

    async def test_polls_flap_and_show_what_nobody_knows(self, api, emulator):
        batch = await api.create(row())
        emulator.add(faults.flap404())
        status, answer = await api.call("GET", f"{BATCHES}/{batch['id']}")
        emulator.add(faults.unknown_status("paused"))

        assert (status, answer["error"]["type"]) == (404, "not_found_error")
        assert (await api.batch(batch))["processing_status"] == "paused"

    async def test_results_and_counts_are_late_only_where_there_should_be_some(self, api, emulator):
        emulator.add(faults.missing_output(polls=1), Fault(effect=faults.HideCounts(), completed=True))
        batch = await api.create(row())
        await api.batch(batch)
        emulator.advance(10)
        first, second = await api.batch(batch), await api.batch(batch)

        assert (first["results_url"], first["request_counts"]) == (None, None)
        assert second["results_url"]
        assert second["request_counts"]["succeeded"] == 1

    async def test_lists_lag_and_never_end(self, api, emulator):
        await api.create(row())
        emulator.add(faults.list_lag(60))
        young = await api.get(BATCHES)
        emulator.advance(61)
        old = await api.get(BATCHES)
        emulator.add(faults.endless_list())
        endless = await api.get(BATCHES)
        further = await api.get(f"{BATCHES}?after_id={endless['last_id']}")

        assert (len(young["data"]), len(old["data"])) == (0, 1)
        assert (endless["data"], endless["has_more"]) == ([], True)
        assert further == endless

    async def test_results_can_be_cut(self, api, emulator):
        done, _ = await api.run(row())
        emulator.add(faults.cut_body(5, operation="results"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await api.content(done)

        assert len(await api.lines(done)) == 1

    async def test_a_full_queue_refuses_the_create(self, api, emulator):
        emulator.add(faults.full_queue())
        status, answer = await api.call("POST", BATCHES, json={"requests": [row()]})

        assert (status, answer["error"]["type"]) == (429, "rate_limit_error")
        assert (await api.get(BATCHES))["data"] == []

    async def test_an_error_can_name_its_cause(self, api, emulator):
        emulator.add(faults.refuse(429, code="enforced_spend_limit_reached"), faults.rate_limited(7, first=2))
        _, spent = await api.call("GET", BATCHES)
        _, limited = await api.call("GET", BATCHES)

        assert spent["error"]["details"] == {"error_code": "enforced_spend_limit_reached"}
        assert "Retry-After" in api.headers
        assert limited["error"]["details"] is None

    async def test_every_call_has_its_operation(self, api, emulator):
        done, _ = await api.run(row())
        await api.get(BATCHES)
        await api.call("POST", f"{BATCHES}/{done['id']}/cancel")
        await api.call("DELETE", f"{BATCHES}/{done['id']}")
        await api.get("/v1/models")

        operations = [record.operation for record in emulator.history if record.kind == "request"]
        assert operations == ["create", "poll", "results", "list", "cancel", "delete", "other"]


def test_the_environment_leads_an_sdk_here():
    with Emulator() as emulator:
        env = emulator.env("anthropic")

        assert env == {"ANTHROPIC_BASE_URL": f"{emulator.url}/anthropic", "ANTHROPIC_API_KEY": "emulator-key"}


async def test_a_fast_clock_asks_to_come_back_sooner():
    with Emulator(speed=60) as emulator:
        api = Api(emulator)
        batch = await api.create(row("a", "[[stall]]"))
        await api.batch(batch)
        await api.session.close()

        assert api.headers["Retry-After"] == "1"
