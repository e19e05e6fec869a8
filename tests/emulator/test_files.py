"""Files: uploaded in slices, listed, downloaded, deleted, each account its own."""

import hashlib

import pytest


async def test_an_upload_is_a_file_object_with_its_true_size(api, time):
    file = await api.upload(b'{"a":1}\n' * 1000, filename="rows.jsonl")

    assert file == {
        "id": file["id"],
        "object": "file",
        "bytes": 8000,
        "created_at": int(time.now),
        "expires_at": int(time.now) + 30 * 86400,
        "filename": "rows.jsonl",
        "purpose": "batch",
        "status": "processed",
        "status_details": None,
    }
    assert file["id"].startswith("file-")


async def test_what_was_uploaded_comes_back_byte_by_byte(api):
    content = bytes(range(256)) * 20_000  # more than one slice either way

    file = await api.upload(content)

    assert await api.content(file["id"]) == content


async def test_a_download_says_its_length(api):
    file = await api.upload(b"x" * 700_000)

    async with await api.send("GET", f"/files/{file['id']}/content") as response:
        assert response.headers["Content-Length"] == "700000"
        assert len(await response.read()) == 700_000


async def test_the_history_has_the_hash_of_what_arrived(api, emulator):
    await api.upload(b"some bytes")

    (upload,) = [record for record in emulator.history if record.kind == "upload"]

    assert upload.input_sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert upload.file_bytes == 10


async def test_the_order_of_the_parts_does_not_matter(api):
    status, file = await api.try_upload(b"x", fields=(("expires_after[seconds]", "3600"), ("purpose", "batch")))
    assert (status, file["error"]["param"]) == (400, "expires_after[anchor]")

    fields = (("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "3600"), ("purpose", "batch"))
    file = await api.upload(b"x", fields=fields)

    assert file["expires_at"] == file["created_at"] + 3600


@pytest.mark.parametrize(
    ("fields", "filename", "param"),
    [
        ((), "in.jsonl", "purpose"),
        ((("purpose", "shopping"),), "in.jsonl", "purpose"),
        ((("purpose", "batch"),), "in.json", "file"),
        (
            (("purpose", "batch"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "60")),
            "in.jsonl",
            "expires_after[seconds]",
        ),
        (
            (("purpose", "batch"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "soon")),
            "in.jsonl",
            "expires_after[seconds]",
        ),
    ],
)
async def test_a_bad_upload_is_refused_and_leaves_nothing(api, fields, filename, param):
    status, answer = await api.try_upload(b"x", filename=filename, fields=fields)

    assert (status, answer["error"]["type"], answer["error"]["param"]) == (400, "invalid_request_error", param)
    assert (await api.get("/files"))["data"] == []


async def test_other_purposes_take_any_file_and_keep_it(api):
    file = await api.upload(b"x", filename="notes.txt", fields=(("purpose", "user_data"),))

    assert file["expires_at"] is None


async def test_an_upload_without_a_file_is_refused(api):
    boundary = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    status, answer = await api.call(
        "POST", "/files", data=boundary, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert (status, answer["error"]["param"]) == (400, "file")


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=other"])
async def test_a_body_that_is_not_what_it_says_is_refused(api, content_type):
    status, answer = await api.call("POST", "/files", data=b"--b\r\nnonsense", headers={"Content-Type": content_type})

    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


async def test_nested_parts_are_refused(api):
    body = b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n\r\n--b--\r\n"

    status, _ = await api.call("POST", "/files", data=body, headers={"Content-Type": "multipart/form-data; boundary=b"})

    assert status == 400


class TestWithALowLimit:
    @pytest.fixture
    def options(self):
        return {"limits": {"upload_bytes": 1000}}

    async def test_a_file_over_the_limit_is_refused_as_too_large(self, api):
        status, answer = await api.try_upload(b"x" * 1001)

        assert (status, answer["error"]["param"]) == (413, "file")


async def test_an_empty_file_can_be_uploaded(api):
    file = await api.upload(b"")

    assert file["bytes"] == 0
    assert await api.content(file["id"]) == b""


async def test_files_are_listed_newest_first_in_pages(api, time):
    ids = []
    for _ in range(5):
        ids.insert(0, (await api.upload(b"x"))["id"])
        time.now += 1

    first = await api.get("/files?limit=2")
    second = await api.get(f"/files?limit=2&after={first['last_id']}")
    last = await api.get(f"/files?limit=2&after={second['last_id']}")

    assert [file["id"] for page in (first, second, last) for file in page["data"]] == ids
    assert [page["has_more"] for page in (first, second, last)] == [True, True, False]
    assert first["first_id"] == ids[0]


async def test_files_can_be_listed_the_other_way_and_by_purpose(api):
    old = await api.upload(b"x")
    await api.upload(b"y", fields=(("purpose", "user_data"),))
    new = await api.upload(b"z")

    page = await api.get("/files?order=asc&purpose=batch")

    assert [file["id"] for file in page["data"]] == [old["id"], new["id"]]


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=many", "after=file-unknown"])
async def test_a_bad_page_is_refused(api, query):
    status, answer = await api.call("GET", f"/files?{query}")

    assert (status, answer["error"]["param"]) == (400, query.split("=")[0])


async def test_a_deleted_file_is_gone(api):
    file = await api.upload(b"x")

    status, answer = await api.call("DELETE", f"/files/{file['id']}")

    assert (status, answer) == (200, {"id": file["id"], "object": "file", "deleted": True})
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        status, answer = await api.call(method, f"/files/{file['id']}{path}")
        assert (status, answer["error"]["type"]) == (404, "invalid_request_error")


async def test_a_file_is_gone_when_its_time_is_over(api, time):
    file = await api.upload(b"x")

    time.now += 30 * 86400

    assert (await api.call("GET", f"/files/{file['id']}"))[0] == 404
    assert (await api.get("/files"))["data"] == []


async def test_an_account_sees_nothing_of_another(api, other):
    file = await api.upload(b"x")

    assert (await other.call("GET", f"/files/{file['id']}"))[0] == 404
    assert (await other.call("DELETE", f"/files/{file['id']}"))[0] == 404
    assert (await other.get("/files"))["data"] == []
    assert await api.content(file["id"]) == b"x"
