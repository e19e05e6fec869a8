"""Scripted faults: which calls they touch, and what those calls get."""

import email.utils

import aiohttp
import pytest

from asyncbatch.emulator import Emulator, Fault, faults, paid_twice
from tests.emulator.wire import Api, chat_row, encode_lines

ROWS = [chat_row("a"), chat_row("b")]


def creates(emulator):
    return [record for record in emulator.history if record.kind == "create"]


async def test_accept_then_drop_loses_the_answer_but_not_the_batch(api, emulator):
    emulator.add(faults.accept_then_drop())
    file = await api.upload(encode_lines(ROWS))

    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"], metadata={"tag": "t1"})

    (batch,) = (await api.get("/batches"))["data"]
    assert batch["metadata"] == {"tag": "t1"}
    assert [record.status for record in emulator.history if record.method == "POST"][-1] is None


async def test_a_stalled_call_is_answered_in_the_end(api, emulator):
    emulator.add(faults.stall(0.01), faults.stall(0.01, operation="list"))
    file = await api.upload(encode_lines(ROWS))

    batch = await api.create(file["id"])

    assert [item["id"] for item in (await api.get("/batches"))["data"]] == [batch["id"]]


async def test_a_fault_that_is_removed_strikes_no_more_and_leaves_the_others(api, emulator):
    gone, left = faults.refuse(503, operation="list", times=None), faults.refuse(404, operation="poll", times=None)
    batch = await api.start(ROWS)
    emulator.add(gone, left)
    async with await api.send("GET", "/batches") as response:
        assert response.status == 503

    emulator.remove(gone, faults.drop())

    assert (await api.get("/batches"))["data"]
    async with await api.send("GET", f"/batches/{batch['id']}") as response:
        assert response.status == 404


async def test_an_answer_may_be_changed_and_cut_in_either_order(api, emulator):
    batch = await api.start(ROWS)
    emulator.add(faults.cut_body(400, operation="poll"), faults.unknown_status("paused"))

    async with await api.send("GET", f"/batches/{batch['id']}") as response:
        beginning = await response.content.readany()
        with pytest.raises(aiohttp.ClientPayloadError):
            beginning += await response.read()

    assert len(beginning) == 400
    assert b'"paused"' in beginning


async def test_a_create_after_a_lost_answer_pays_twice_and_the_history_shows_it(api, emulator):
    emulator.add(faults.accept_then_drop())
    file = await api.upload(encode_lines(ROWS))
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create(file["id"])

    assert paid_twice(emulator.history) == {}
    await api.create(file["id"])

    ((_, sha256),) = paid_twice(emulator.history)
    assert sha256 == creates(emulator)[0].input_sha256
    assert [record.is_paid for record in creates(emulator)] == [True, True]


async def test_drop_before_leaves_nothing(api, emulator):
    emulator.add(faults.drop(path="/batches", method="POST"))

    with pytest.raises(aiohttp.ClientConnectionError):
        await api.create("file-1")

    assert creates(emulator) == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_accept_then_error_says_no_and_means_yes(api, emulator, status):
    emulator.add(faults.accept_then_error(status))

    answer = await api.try_create("file-1")

    assert (answer[0], answer[1]["error"]["type"]) == (status, "server_error")
    assert len(creates(emulator)) == 1


@pytest.mark.parametrize("status", [401, 403, 408, 409, 425, 429, 500])
async def test_refuse_says_no_and_means_it(api, emulator, status):
    emulator.add(faults.refuse(status, code="some_code", path="/batches"))

    answer = await api.try_create("file-1")

    assert (answer[0], answer[1]["error"]["code"]) == (status, "some_code")
    assert creates(emulator) == []


async def test_rate_limited_says_when_to_come_back(api, emulator):
    emulator.add(faults.rate_limited(2.5), faults.rate_limited(60, as_date=True, first=2))

    async with await api.send("GET", "/batches") as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "2.5")
    async with await api.send("GET", "/batches") as response:
        at = email.utils.parsedate_to_datetime(response.headers["Retry-After"]).timestamp()
        assert at == pytest.approx(emulator.now + 60, abs=1)
    assert (await api.call("GET", "/batches"))[0] == 200


@pytest.mark.parametrize(("when", "count"), [("before", 0), ("after", 1)])
async def test_html_200_is_no_answer_of_the_service(api, emulator, when, count):
    emulator.add(faults.html_200(when=when))

    async with await api.send(
        "POST",
        "/batches",
        json={"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    ) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert b"<!doctype html>" in await response.read()
    assert len(creates(emulator)) == count


async def test_cut_body_promises_more_than_it_sends(api, emulator):
    emulator.add(faults.cut_body(16))

    with pytest.raises(aiohttp.ClientPayloadError):
        await api.try_create("file-1")

    assert len(creates(emulator)) == 1


async def test_a_download_can_be_cut_and_then_be_whole(api, emulator):
    file = await api.upload(b"x" * 1_000_000)
    emulator.add(faults.cut_body(300_000, path="/files/*/content"))

    async with await api.send("GET", f"/files/{file['id']}/content") as response:
        assert response.headers["Content-Length"] == "1000000"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert len(await api.content(file["id"])) == 1_000_000


async def test_missing_output_lasts_for_some_polls(api, emulator):
    emulator.add(faults.missing_output(polls=2))
    batch = await api.start(ROWS)
    await api.batch(batch["id"])  # not completed yet, so not counted
    emulator.advance(600)

    polls = [await api.batch(batch["id"]) for _ in range(3)]

    assert [poll["status"] for poll in polls] == ["completed"] * 3
    assert [poll["output_file_id"] is None for poll in polls] == [True, True, False]


async def test_missing_output_lasts_for_some_seconds_from_when_it_is_seen(api, emulator):
    emulator.add(faults.missing_output(seconds=30))
    batch = await api.start(ROWS)
    emulator.advance(600)

    first = await api.batch(batch["id"])
    emulator.advance(30)
    second = await api.batch(batch["id"])
    emulator.advance(1)
    third = await api.batch(batch["id"])

    assert [poll["output_file_id"] is None for poll in (first, second, third)] == [True, True, False]


async def test_the_file_of_errors_alone_can_be_missing(api, emulator):
    emulator.add(Fault(effect=faults.HideResults(which="errors"), operation="poll", completed=True, times=1))
    batch = await api.start([*ROWS, chat_row("c", "[[error]]")])
    emulator.advance(600)
    first, second = await api.batch(batch["id"]), await api.batch(batch["id"])

    assert first["output_file_id"] == second["output_file_id"] is not None
    assert (first["error_file_id"], second["error_file_id"] is None) == (None, False)


async def test_an_endless_list_names_the_same_page_again(api, emulator):
    await api.create("file-1")
    emulator.add(faults.endless_list())
    first = await api.get("/batches")

    assert (first["data"], first["has_more"]) == ([], True)
    assert (await api.get(f"/batches?after={(await api.create('file-2'))['id']}"))["last_id"] == first["last_id"]


async def test_an_operation_is_named_alike_in_every_dialect(api, emulator):
    emulator.add(
        faults.refuse(500, operation="create"),
        faults.refuse(501, operation="list"),
        faults.refuse(502, operation="files"),
        faults.cut_body(5, operation="file"),
    )
    file = await api.upload(encode_lines(ROWS))
    found = [(await api.try_create(file["id"]))[0]]
    found += [(await api.call("GET", path))[0] for path in ("/batches", "/files", "/batches", "/files")]
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.get(f"/files/{file['id']}")

    assert found == [500, 501, 502, 200, 200]


def test_a_path_takes_the_place_of_the_usual_operation_and_an_operation_that_of_the_usual_method():
    plain = faults.html_200()
    by_path = faults.html_200(path="/batches/*", method="GET")
    by_operation = faults.html_200(operation="poll")

    assert (plain.operation, plain.method, plain.path) == ("create", "POST", "*")
    assert (by_path.operation, by_path.method, by_path.path) == ("*", "GET", "/batches/*")
    assert (by_operation.operation, by_operation.method) == ("poll", "*")


async def test_list_lag_hides_what_is_young(api, emulator):
    emulator.add(faults.list_lag(60))
    old = await api.create("file-1")
    emulator.advance(50)
    new = await api.create("file-1")

    seen = []
    for seconds in (0, 20, 50):
        emulator.advance(seconds)
        seen.append([batch["id"] for batch in (await api.get("/batches"))["data"]])

    assert seen == [[], [old["id"]], [new["id"], old["id"]]]
    assert (await api.batch(new["id"]))["id"] == new["id"]


async def test_flap404_denies_what_exists(api, emulator):
    batch = await api.create("file-1")
    emulator.add(faults.flap404(polls=2))

    statuses = [(await api.call("GET", f"/batches/{batch['id']}"))[0] for _ in range(3)]

    assert statuses == [404, 404, 200]


async def test_unknown_status_is_shown_in_polls_and_lists(api, emulator):
    batch = await api.create("file-1")
    emulator.add(faults.unknown_status("paused"), faults.unknown_status("resting", path="/batches", times=None))

    assert [(await api.batch(batch["id"]))["status"] for _ in range(2)] == ["paused", "validating"]
    assert (await api.get("/batches"))["data"][0]["status"] == "resting"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_names_another_address(api, emulator, status):
    emulator.add(faults.redirect("http://127.0.0.1:9/elsewhere", status))

    async with await api.send("GET", "/batches") as response:
        assert (response.status, response.headers["Location"]) == (status, "http://127.0.0.1:9/elsewhere")


async def test_stall_keeps_the_client_waiting(api, emulator):
    emulator.add(faults.stall(3600, path="/batches"))

    with pytest.raises(TimeoutError):
        await api.send("GET", "/batches", timeout=aiohttp.ClientTimeout(total=0.05))

    assert (await api.call("GET", "/batches"))[0] == 200


async def test_a_full_queue_shows_only_later(api, emulator):
    emulator.add(faults.full_queue(after_s=120))
    batch = await api.start(ROWS)

    emulator.advance(119)
    before = await api.batch(batch["id"])
    emulator.advance(1)
    after = await api.batch(batch["id"])

    assert (before["status"], after["status"]) == ("validating", "failed")
    assert after["errors"]["data"][0]["code"] == "token_limit_exceeded"
    assert [record.is_paid for record in creates(emulator)] == [False]


async def test_a_rewrite_can_take_a_field_away(api, emulator):
    emulator.add(Fault(effect=faults.Rewrite(fields={"metadata": {}}, remove=("id",)), path="/batches", method="POST"))

    answer = await api.create("file-1")

    assert "id" not in answer
    assert answer["metadata"] == {}


async def test_a_rewrite_leaves_what_is_no_object_alone(api, emulator):
    file = await api.upload(b"[1, 2]\n")
    emulator.add(Fault(effect=faults.Rewrite(fields={"a": 1}), times=None))

    assert await api.content(file["id"]) == b"[1, 2]\n"


async def test_any_answer_can_be_scripted(api, emulator):
    emulator.add(Fault(effect=faults.Answer(status=200, body=b"[1]"), path="/batches"))

    assert await api.call("GET", "/batches") == (200, [1])


async def test_a_rewrite_does_not_choke_on_a_scripted_array(api, emulator):
    emulator.add(
        Fault(effect=faults.Answer(status=200, body=b"[1]", when="after"), path="/batches"),
        Fault(effect=faults.Rewrite(fields={"a": 1}), path="/batches"),
    )

    assert await api.call("GET", "/batches") == (200, [1])


async def test_faults_strike_the_calls_they_are_for(api, emulator):
    emulator.add(faults.refuse(500, path="/batches", method="GET", first=2, times=2))

    statuses = [(await api.call("GET", path))[0] for path in ("/files", *["/batches"] * 4)]

    assert statuses == [200, 200, 500, 500, 200]


async def test_a_fault_for_another_dialect_does_not_strike(api, emulator):
    emulator.add(faults.refuse(500, dialect="groq"))

    assert (await api.call("GET", "/batches"))[0] == 200


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: faults.drop(operation="creat"), ValueError, "operation 'creat'.* create, poll"),
        (lambda: faults.refuse(500, dialect="opnai"), ValueError, "dialect 'opnai'; it speaks .*openai"),
        (lambda: "drop", TypeError, "'drop' is no fault"),
    ],
)
def test_a_fault_that_could_never_strike_is_refused(emulator, make, error, words):
    with pytest.raises(error, match=words):
        emulator.add(make())
    with pytest.raises(error, match=words), Emulator(faults=[make()]):
        pass


async def test_faults_compose(api, emulator):
    emulator.add(faults.unknown_status("paused"), faults.cut_body(30, path="/batches/*"))
    batch = await api.create("file-1")

    with pytest.raises(aiohttp.ClientPayloadError):
        await api.batch(batch["id"])

    (request,) = [record for record in emulator.history if record.kind == "request" and record.method == "GET"]
    assert request.faults == ("show_status", "cut")


class TestByChance:
    @pytest.fixture
    def options(self):
        return {"faults": [faults.refuse(502, times=None, chance=0.3)], "seed": 7}

    async def test_a_chance_strikes_now_and_then_and_the_seed_decides_when(self, api, emulator):
        async def polls():
            return [(await api.call("GET", "/batches"))[0] for _ in range(40)]

        first = await polls()
        emulator.reset()
        second = await polls()

        assert first == second
        assert 0 < first.count(502) < 40


class TestRateLimits:
    @pytest.fixture
    def options(self):
        return {"limits": {"requests_per_min": 3}}

    async def test_each_account_has_its_own_minute(self, api, other, emulator):
        statuses = [(await api.call("GET", "/batches"))[0] for _ in range(4)]

        assert statuses == [200, 200, 200, 429]
        assert (await other.call("GET", "/batches"))[0] == 200

    async def test_the_refusal_says_how_long_it_lasts(self, api, emulator):
        for _ in range(3):
            await api.get("/batches")
            emulator.advance(10)

        async with await api.send("GET", "/batches") as response:
            answer = await response.json()
            assert (response.status, response.headers["Retry-After"]) == (429, "30")
        emulator.advance(30)

        assert answer["error"] == {
            "message": "Rate limit reached for requests.",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
        assert (await api.call("GET", "/batches"))[0] == 200


@pytest.mark.parametrize("key", ["", "invalid-key"])
async def test_a_bad_key_is_refused_in_the_documented_shape(emulator, key):
    api = Api(emulator, key=key)

    status, answer = await api.call("GET", "/batches")
    await api.session.close()

    assert status == 401
    assert (answer["error"]["type"], answer["error"]["code"]) == ("invalid_request_error", "invalid_api_key")


@pytest.mark.parametrize("authorization", [None, "Basic abc", "Bearer"])
async def test_a_request_without_a_bearer_token_is_refused(emulator, authorization):
    headers = {"Authorization": authorization} if authorization else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(emulator.base_url("openai") + "/batches", json={}) as response:
            assert response.status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/assistants", 404),
        ("GET", "", 404),
        ("POST", "/", 404),
        ("PUT", "/batches", 405),
        ("PUT", "/files/a", 405),
    ],
)
async def test_an_unknown_path_is_an_error_in_the_documented_shape(api, method, path, status):
    found, answer = await api.call(method, path)

    assert found == status
    assert answer["error"]["type"] == "invalid_request_error"


async def test_every_answer_has_a_request_id(api):
    async with await api.send("GET", "/batches") as one, await api.send("GET", "/nothing") as two:
        assert one.headers["x-request-id"] != two.headers["x-request-id"]
