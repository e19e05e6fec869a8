"""What a protocol of another family gets from the emulator: rows in a create, checks there, faults that know its shapes."""

import hashlib
import io
import json
from collections import Counter

import aiohttp
import pytest

from asyncbatch.emulator import Emulator, Fault, app, emulator, faults, paid_twice
from tests.emulator import toy


@pytest.fixture
def limits():
    return {}


@pytest.fixture
def server(time, limits, monkeypatch):
    dialects = lambda: {"toy": toy.DIALECT}
    monkeypatch.setattr(app, "load_dialects", dialects)
    monkeypatch.setattr(emulator, "load_dialects", dialects)
    monkeypatch.setattr(app, "open_family", lambda name, desk: toy.Protocol(desk))
    with Emulator(clock=time, limits=limits) as server:
        yield server


class Api:
    def __init__(self, server, session):
        self.server = server
        self.session = session

    async def call(self, method, path, **options):
        async with self.session.request(method, f"{self.server.base_url('toy')}{path}", **options) as response:
            return response.status, await response.json()

    async def create(self, *says, **more):
        rows = [
            say if isinstance(say, dict) else {"key": f"r{n}", "request": {"say": say}} for n, say in enumerate(says)
        ]
        return await self.call("POST", "/v1/tasks", json={"task": {"name": "t", "input": {"rows": rows, **more}}})

    async def show(self, task):
        status, shown = await self.call("GET", f"/v1/tasks/{task['id']}")
        assert status == 200
        return shown

    async def results(self, task):
        async with self.session.get(task["results"]) as response:
            return [json.loads(line) for line in (await response.read()).split(b"\n") if line]


@pytest.fixture
async def api(server):
    async with aiohttp.ClientSession(headers={"x-key": "k"}) as session:
        yield Api(server, session)


async def test_rows_that_come_with_the_create_are_answered_in_one_place(api, server):
    status, task = await api.create(
        "a", "[[error:429]]", "[[expire]]", "[[cached:7]][[think:3]]", {"key": "x", "request": {}}
    )
    server.advance(10)
    done = await api.show(task)
    lines = await api.results(done)

    assert (status, task["meta"]["state"], done["meta"]["state"]) == (200, "running", "over")
    assert [line["key"] for line in lines] == ["r0", "r1", "r2", "r3", "x"]
    assert lines[0]["text"] == "echo: a"
    assert [line.get("error") for line in lines] == [None, "rate_limit_exceeded", "expired", None, "mute"]
    assert lines[3]["tokens"] == [6 + 7, 8 + 3, 7, 3]
    assert Counter(done["counts"]) == Counter(total=5, succeeded=2, errored=2, expired=1, cancelled=0, pending=0)


async def test_the_address_of_the_results_is_whole(api, server):
    _, task = await api.create("a")
    server.advance(10)

    assert (await api.show(task))["results"] == f"{server.url}/toy/v1/tasks/{task['id']}/results"


@pytest.mark.parametrize(
    ("rows", "code", "text"),
    [
        ([{"key": 1}], "bad_row", "a key and a request"),
        ([7], "invalid_json_line", "JSON"),
        ([], "empty_file", "empty"),
        (["a"] * 6, "too_many_tasks", "more than 5"),
        ([{"key": "r", "request": {}}] * 2, "duplicate_custom_id", "'r'"),
    ],
)
async def test_a_bad_row_is_refused_at_the_create_and_there_is_no_batch(api, server, rows, code, text):
    body = {
        "task": {
            "input": {
                "rows": rows
                if rows and not isinstance(rows[0], str)
                else [{"key": f"r{n}", "request": {"say": say}} for n, say in enumerate(rows)]
            }
        }
    }
    status, answer = await api.call("POST", "/v1/tasks", json=body)

    assert (status, answer["problem"]) == (400, code)
    assert text in answer["text"]
    assert (await api.call("GET", "/v1/tasks"))[1]["tasks"] == []
    assert [record.kind for record in server.history] == ["request", "request"]


async def test_the_history_knows_rows_that_were_bought_twice_however_they_were_spelt(api, server):
    rows = [{"key": "a", "request": {"say": "é\n"}}]
    line = json.dumps(rows[0], ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    for text in (
        json.dumps({"Task": {"input": {"rows": rows}}}, indent=2, ensure_ascii=False),
        json.dumps({"task": {"input": {"rows": rows}, "name": "n"}}, ensure_ascii=False),
    ):
        assert (await api.call("POST", "/v1/tasks", data=text.encode()))[0] == 200
    server.advance(10)

    (((_, sha256), creates),) = paid_twice(server.history).items()
    assert sha256 == hashlib.sha256(line).hexdigest()
    assert [(record.operation, record.file_bytes) for record in creates] == [("create", len(line))] * 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"task": {"input": {"rows": {}}}}',
        b'{"task": {"input": []}}',
        b'{"task": 7}',
        b"{}",
        b"\xff",
    ],
)
async def test_a_body_without_rows_is_refused(api, body):
    assert (await api.call("POST", "/v1/tasks", data=body))[0] == 400


async def test_a_body_that_is_too_large_is_refused_whether_or_not_it_tells_its_size(api, server):
    async def pieces():
        for _ in range(3):
            yield b" " * 5000

    status, _ = await api.create("x" * 10_000)
    streamed, _ = await api.call("POST", "/v1/tasks", data=pieces())

    assert (status, streamed) == (413, 413)


async def test_nothing_is_kept_of_what_was_refused(api, server):
    await api.create({"key": 1})
    await api.create("x" * 10_000)
    (service,) = [server._running.service]

    assert list(service.families["toy"].desk.store.directory.iterdir()) == []


async def test_more_than_four_megabytes_fit_where_the_limit_allows(api, server):
    server._running.service.families["toy"].desk.limits = toy.Limits(inline_bytes=20_000_000)
    rows = [{"key": f"r{n}", "request": {"say": "x" * 3_000_000}} for n in range(3)]
    body = io.BytesIO(json.dumps({"task": {"input": {"rows": rows}}}).encode())
    _, task = await api.call("POST", "/v1/tasks", data=body)
    server.advance(10)

    assert (await api.show(task))["counts"]["succeeded"] == 3


async def test_keys_are_refused_in_the_familys_own_way(server):
    async with aiohttp.ClientSession() as session:
        api = Api(server, session)
        missing = await api.call("GET", "/v1/tasks")
        bad = await api.call("GET", "/v1/tasks", headers={"x-key": "invalid"})

    assert [(status, answer["problem"]) for status, answer in (missing, bad)] == [
        (400, "KEY_MISSING"),
        (400, "KEY_INVALID"),
    ]


async def test_an_address_can_be_the_credential(api, server):
    await api.create("a")
    async with aiohttp.ClientSession() as session:
        found = await Api(server, session).call("GET", "/open/k")

    assert found == (200, {"tasks": 1})
    assert len({record.account for record in server.history}) == 1


async def test_the_request_id_has_the_familys_header_and_stands_in_the_error(api):
    async with api.session.get(f"{api.server.base_url('toy')}/v1/tasks/none") as response:
        answer = await response.json()

    assert answer["id"] == response.headers["request-id"] != ""
    assert "x-request-id" not in response.headers


async def test_every_call_has_its_operation_in_the_history(api, server):
    _, task = await api.create("a")
    await api.show(task)
    await api.call("GET", "/v1/tasks")
    await api.call("POST", f"/v1/tasks/{task['id']}:stop")
    await api.results(await api.show(task))
    await api.call("GET", "/nothing")
    async with api.session.head(f"{server.base_url('toy')}/v1/tasks/{task['id']}"):
        pass

    operations = [record.operation for record in server.history if record.kind == "request"]
    assert operations == ["create", "poll", "list", "cancel", "poll", "results", "other", "poll"]


async def test_what_is_over_is_not_cancelled(api, server):
    _, task = await api.create("a")
    server.advance(10)
    await api.show(task)
    await api.call("POST", f"/v1/tasks/{task['id']}:stop")

    assert (await api.show(task))["counts"]["succeeded"] == 1
    assert "cancel" not in [record.kind for record in server.history]


async def test_phases_that_take_no_time_are_never_seen(api, server, time):
    _, task = await api.create("a", "b")
    seen = [(await api.show(task))["counts"]["pending"]]
    for _ in range(2):
        server.advance(1)
        seen.append((await api.show(task))["counts"]["pending"])

    assert seen == [2, 1, 0]
    assert (await api.show(task))["meta"]["state"] == "over"


class TestFaults:
    async def test_a_lost_create_is_one_in_every_dialect(self, api, server):
        server.add(faults.accept_then_drop())
        with pytest.raises(aiohttp.ClientError):
            await api.create("a")

        assert len((await api.call("GET", "/v1/tasks"))[1]["tasks"]) == 1

    async def test_polls_flap_and_show_what_nobody_knows(self, api, server):
        _, task = await api.create("a")
        server.add(faults.flap404(), faults.unknown_status("paused"))
        flapping, _ = await api.call("GET", f"/v1/tasks/{task['id']}")
        paused = await api.call("GET", f"/v1/tasks/{task['id']}")

        assert flapping == 404
        assert (await api.show(task))["meta"]["state"] == "running"
        assert paused[0] == 200

    async def test_results_are_late_only_where_there_should_be_some(self, api, server):
        server.add(faults.missing_output(polls=1), Fault(effect=faults.HideCounts(), completed=True))
        _, task = await api.create("a")
        await api.show(task)
        server.advance(10)
        first, second = await api.show(task), await api.show(task)

        assert (first["results"], "counts" in first) == (None, False)
        assert (second["results"] is None, "counts" in second) == (False, True)

    async def test_lists_lag_and_never_end(self, api, server):
        await api.create("a")
        server.add(faults.list_lag(60), faults.endless_list(first=3))
        young = (await api.call("GET", "/v1/tasks"))[1]
        server.advance(61)
        old = (await api.call("GET", "/v1/tasks"))[1]
        endless = (await api.call("GET", "/v1/tasks"))[1]

        assert [len(young["tasks"]), len(old["tasks"])] == [0, 1]
        assert endless == {"tasks": [], "next": "again"}

    async def test_fields_have_dotted_names(self, api, server):
        where = {"meta.state": "running"}
        change = faults.Rewrite(
            fields={"meta.state": "odd", "meta.x.y": 1, "id.z": 1}, remove=("meta.born", "counts.total")
        )
        _, task = await api.create("a")
        server.add(Fault(effect=change, where=where), Fault(effect=faults.Rewrite(), where={"meta.none": 1}))
        shown = await api.show(task)

        assert shown["meta"] == {"state": "odd", "x": {"y": 1}}
        assert shown["id"] == task["id"]
        assert "total" not in shown["counts"]

    async def test_errors_have_no_status_to_change(self, api, server):
        server.add(faults.unknown_status("paused"))
        status, answer = await api.call("GET", "/v1/tasks/none")

        assert (status, sorted(answer)) == (404, ["id", "problem", "text", "wait"])

    async def test_a_wait_stands_in_the_body_too(self, api, server):
        server.add(faults.rate_limited(31))
        async with api.session.get(f"{server.base_url('toy')}/v1/tasks") as response:
            answer = await response.json()

        assert (response.headers["Retry-After"], answer["wait"]) == ("31", 31)

    async def test_results_can_be_cut(self, api, server):
        _, task = await api.create("a")
        server.advance(10)
        server.add(faults.cut_body(5, operation="results"))
        done = await api.show(task)
        with pytest.raises(aiohttp.ClientPayloadError):
            await api.results(done)

        assert len(await api.results(done)) == 1
