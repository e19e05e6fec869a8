"""What services that imitate OpenAI refuse and answer otherwise, asked as bytes over HTTP."""

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
