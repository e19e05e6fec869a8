"""Gemini's files: resumable uploads, what becomes of them, and the names that nobody can ask for."""

import base64
import hashlib

import aiohttp
import pytest

from asyncbatch.emulator import faults
from tests.emulator.gemini_wire import PIECE, GeminiApi, chat, encode_lines, file_rows


@pytest.fixture
async def api(emulator):
    api = GeminiApi(emulator)
    yield api
    await api.session.close()


@pytest.fixture
async def other(emulator):
    api = GeminiApi(emulator, key="other")
    yield api
    await api.session.close()


async def test_a_file_arrives_in_chunks_at_an_address_without_a_key(api, emulator):
    content = b"x" * (2 * PIECE + 5)
    url = await api.begin(len(content), file={"display_name": "in", "mimeType": "application/jsonl", "size_bytes": 7})
    first = await api.command(url, "upload", 0, content[:PIECE])
    second = await api.command(url, "upload", PIECE, content[PIECE : 2 * PIECE])
    status, state, _, answer = await api.command(url, "upload, finalize", 2 * PIECE, content[2 * PIECE :])
    file = answer["file"]

    assert url.startswith(f"{emulator.url}/gemini/upload/v1/files?")
    assert "upload_id=" in url
    assert "key=" not in url
    assert first[:2] == second[:2] == (200, "active")
    assert (status, state) == (200, "final")
    assert file["sizeBytes"] == str(len(content))
    assert base64.b64decode(file["sha256Hash"]) == hashlib.sha256(content).digest()
    assert file["uri"] == f"{emulator.url}/gemini/v1/{file['name']}"
    (record,) = [record for record in emulator.history if record.kind == "upload"]
    assert (record.object_id, record.input_sha256) == (file["name"], hashlib.sha256(content).hexdigest())
    assert {record.account for record in emulator.history} == {record.account}


async def test_a_file_is_processed_for_a_moment_and_lives_for_48_hours(api, emulator):
    file = await api.upload(b"x", ready=False)
    path = f"/v1/{file['name']}"
    states = [file["state"], (await api.get(path))["state"]]
    emulator.advance(1)
    states.append((await api.get(path))["state"])
    emulator.advance(48 * 3600 - 2)
    listed = await api.get("/v1/files")
    emulator.advance(1)
    status, answer = await api.call("GET", path)

    assert states == ["PROCESSING", "PROCESSING", "ACTIVE"]
    assert [item["name"] for item in listed["files"]] == [file["name"]]
    assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert await api.get("/v1/files") == {}


class TestPaceWithoutValidation:
    @pytest.fixture
    def options(self):
        return {"pace": {"validating_s": 0}}

    async def test_a_file_is_active_at_once(self, api):
        assert (await api.upload(b"x", ready=False))["state"] == "ACTIVE"


async def test_an_upload_tells_how_much_of_it_has_come(api):
    url = await api.begin(PIECE + 1)
    before = await api.command(url, "query")
    await api.command(url, "upload", 0, b"x" * PIECE)
    middle = await api.command(url, "query")
    wrong = await api.command(url, "upload, finalize", 0, b"x" * (PIECE + 1))
    _, _, _, done = await api.command(url, "upload, finalize", PIECE, b"x")
    after = await api.command(url, "query")

    assert before == (200, "active", "0", None)
    assert middle == (200, "active", str(PIECE), None)
    assert wrong[:2] == (400, "active")
    assert str(PIECE) in wrong[3]["error"]["message"]
    assert after == (200, "final", str(PIECE + 1), done)


async def test_an_upload_whose_last_answer_was_lost_is_found_again(api, emulator):
    url = await api.begin(3)
    emulator.add(faults.accept_then_drop(operation="upload"))
    with pytest.raises(aiohttp.ClientError):
        await api.command(url, "upload, finalize", 0, b"abc")
    status, state, size, answer = await api.command(url, "query")

    assert (status, state, size) == (200, "final", "3")
    assert (await api.get(f"/v1/{answer['file']['name']}"))["sizeBytes"] == "3"


async def test_a_chunk_that_breaks_off_counts_as_far_as_it_came(api):
    size = 8 * PIECE
    url = await api.begin(size)

    async def broken():
        yield b"x" * (6 * PIECE)
        raise OSError("the line is cut")

    headers = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0", "Content-Length": str(size)}
    with pytest.raises((aiohttp.ClientError, OSError)):
        async with api.send("POST", url, headers=headers, data=broken()):
            pass
    _, state, received, _ = await api.command(url, "query")
    status, last, _, answer = await api.command(url, "upload, finalize", received, b"x" * (size - int(received)))

    assert state == "active"
    assert 0 <= int(received) <= 6 * PIECE
    assert (status, last, answer["file"]["sizeBytes"]) == (200, "final", str(size))


@pytest.mark.parametrize(
    ("command", "offset", "data", "text"),
    [
        ("upload", 1, b"x" * PIECE, "offset is 1"),
        ("upload", None, b"x" * PIECE, "offset is missing"),
        ("upload", 0, b"x", "multiple"),
        ("upload, finalize", 0, b"x" * PIECE, f"but {PIECE} have been"),
        ("upload, finalize", 0, b"x" * (2 * PIECE + 1), "beyond"),
        ("finalize", None, b"", "but 0 have been"),
        ("upload, cancel", 0, b"", "Unknown command"),
        ("start", None, b"", "Unknown command"),
    ],
)
async def test_a_command_that_does_not_fit_is_refused(api, command, offset, data, text):
    url = await api.begin(2 * PIECE)

    status, state, _, answer = await api.command(url, command, offset, data)

    assert (status, state) == (400, "active")
    assert text in answer["error"]["message"]


async def test_a_chunk_says_how_long_it_is(api):
    url = await api.begin(3)

    async def pieces():
        yield b"abc"

    status, _, _, answer = await api.command(url, "upload, finalize", 0, pieces())

    assert (status, "Content-Length" in answer["error"]["message"]) == (400, True)


async def test_a_cancelled_upload_takes_nothing_more(api, emulator):
    url = await api.begin(PIECE)
    await api.command(url, "upload", 0, b"x" * PIECE)
    cancelled = await api.command(url, "cancel")
    refused = await api.command(url, "finalize")

    assert cancelled[:2] == (200, "cancelled")
    assert refused[:2] == (400, "cancelled")
    assert await api.get("/v1/files") == {}
    store = emulator._running.service.families["gemini"].desk.store
    assert list(store.directory.iterdir()) == []


async def test_a_file_that_is_final_takes_nothing_more(api):
    url = await api.begin(1)
    await api.command(url, "upload, finalize", 0, b"x")

    assert (await api.command(url, "upload, finalize", 0, b"x"))[:2] == (400, "final")


async def test_an_empty_file_can_be_uploaded(api):
    url = await api.begin(0)
    _, state, _, answer = await api.command(url, "finalize")

    assert state == "final"
    assert "sizeBytes" not in answer["file"]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"X-Goog-Upload-Protocol": "multipart"}, "resumable"),
        ({"X-Goog-Upload-Command": "upload"}, "start"),
        ({"X-Goog-Upload-Header-Content-Length": "many"}, "number of bytes"),
        ({"X-Goog-Upload-Header-Content-Length": "2000000001"}, "2000000000"),
        ({"mime_type": ""}, "Content-Type"),
        ({"file": {"displayName": "x" * 513}}, "512"),
        ({"file": {"name": "files/Upper"}}, "lowercase"),
        ({"file": {"name": "files/" + "a" * 41}}, "40"),
        ({"file": {"colour": "red"}}, 'Unknown name "colour"'),
    ],
)
async def test_an_upload_that_does_not_fit_is_not_begun(api, headers, text):
    status, _, answer = await api.start(1, **headers)

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert text in answer["error"]["message"]


async def test_an_upload_begins_with_an_object(api):
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}

    assert (await api.call("POST", "/upload/v1/files", headers=headers, data=b"{"))[0] == 400


async def test_a_name_is_taken_once(api):
    file = await api.upload(b"x", file={"name": "files/mine"})
    status, _, answer = await api.start(1, file={"name": "files/mine"})

    assert file["name"] == "files/mine"
    assert (status, answer["error"]["status"]) == (409, "ALREADY_EXISTS")


async def test_an_upload_needs_a_key_to_begin_and_its_address_to_go_on(api):
    missing = await api.start(1, **{"x-goog-api-key": None})
    bad = await api.start(1, **{"x-goog-api-key": "invalid"})
    unknown = await api.command(f"{api.base}/upload/v1/files?upload_id=x", "query")

    assert [missing[0], bad[0], unknown[0]] == [403, 400, 404]


async def test_an_upload_does_not_outlive_a_reset(api, emulator):
    url = await api.begin(1)
    emulator.reset()

    assert (await api.command(url, "upload, finalize", 0, b"x"))[0] == 404
    assert (await api.upload(b"x"))["sizeBytes"] == "1"


async def test_a_file_is_its_owners_alone(api, other):
    file = await api.upload(b"x")

    assert await other.get("/v1/files") == {}
    assert (await other.call("GET", f"/v1/{file['name']}"))[0] == 403
    assert (await other.try_create({"fileName": file["name"]}))[0] == 404


async def test_a_deleted_file_is_gone_and_an_unknown_one_is_forbidden(api):
    file = await api.upload(b"x")
    first = await api.call("DELETE", f"/v1/{file['name']}")
    status, again = await api.call("DELETE", f"/v1/{file['name']}")

    assert first == (200, {})
    assert (status, again["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert (await api.try_create({"fileName": file["name"]}))[0] == 404


async def test_a_batch_keeps_its_input_though_the_file_is_deleted(api):
    file = await api.upload(encode_lines(file_rows(chat())))
    batch = await api.create({"fileName": file["name"]})
    await api.call("DELETE", f"/v1/{file['name']}")

    assert len(await api.lines(await api.finish(batch))) == 1


async def test_results_can_be_downloaded_and_nothing_else(api):
    done = await api.finish(await api.from_file(file_rows(chat())))
    name = done["response"]["responsesFile"]
    statuses = {}
    for method, path in (
        ("GET", f"/v1/{name}"),
        ("DELETE", f"/v1/{name}"),
        ("GET", f"/v1/{name}:download"),
        ("GET", f"/v1beta/{name}:download?alt=media"),
        ("GET", f"/download/v1beta/{name}:download?alt=media"),
    ):
        async with api.send(method, path) as response:
            statuses[method, path] = response.status

    assert len(name.removeprefix("files/")) == 42
    assert list(statuses.values()) == [400, 400, 400, 200, 200]
    listed = await api.get("/v1/files")
    assert name not in [item["name"] for item in listed["files"]]


async def test_what_was_uploaded_cannot_be_downloaded(api):
    file = await api.upload(b"x")
    uploaded = await api.call("GET", f"/v1/{file['name']}:download?alt=media")
    unknown = await api.call("GET", "/v1/files/x:download?alt=media")

    assert (uploaded[0], uploaded[1]["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert (unknown[0], unknown[1]["error"]["status"]) == (404, "NOT_FOUND")


async def test_files_are_listed_in_pages(api):
    names = [(await api.upload(b"x"))["name"] for _ in range(12)]
    first = await api.get("/v1/files")
    second = await api.get(f"/v1/files?pageToken={first['nextPageToken']}")

    assert [item["name"] for item in first["files"] + second["files"]] == names[::-1]
    assert (len(first["files"]), "nextPageToken" in second) == (10, False)
