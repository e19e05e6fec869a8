"""A job in which every second answer is spoilt, on disk: the others are right, and each request has one outcome."""

import json
from collections import Counter

import msgspec

from asyncbatch import BatchClient, Polling, ResultStatus
from tests.providers.test_isolation import DEEP, LINES, VALUES, spoilt
from tests.transport.wire import answer, serve

GOOD = json.dumps(LINES["openai chat"][2]).encode()
SPOILT = [line for _, line in spoilt(LINES["openai chat"][2], VALUES | DEEP)]


def service():
    """Give a service that answers every second request as it should."""
    ids, batch = [], {"id": "batch_1", "object": "batch", "status": "completed", "endpoint": "/v1/chat/completions"}

    async def serving(talk, asked):
        match asked.method, asked.path:
            case "POST", "/v1/files":
                lines = [line for line in asked.body.split(b"\n") if line.startswith(b'{"custom_id"')]
                ids[:] = [msgspec.json.decode(line)["custom_id"].encode() for line in lines]
                said = {"id": "file-in", "bytes": sum(len(line) + 1 for line in lines)}
            case "GET", "/v1/files/file-out/content":
                lines = [GOOD if place % 2 else SPOILT[place // 2] for place in range(len(ids))]
                body = b"".join(line.replace(b"w-1", own) + b"\n" for line, own in zip(lines, ids, strict=True))
                return await talk.say(answer(body))
            case "GET", "/v1/batches":
                said = {"data": [batch | {"output_file_id": "file-out"}], "has_more": False}
            case _:
                said = batch | {"output_file_id": "file-out"}
        return await talk.say(answer(json.dumps(said).encode()))

    return serving


async def test_every_second_answer_is_spoilt_and_no_other_is_worse_for_it(tmp_path, monkeypatch):
    count = 2 * len(SPOILT)
    async with serve(service()) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        async with BatchClient(journal=tmp_path / "state", polling=Polling(first_s=0.05, max_s=0.2)) as client:
            job = await client.submit(["hello"] * count, model="openai/gpt-4.1-mini")
            rows = [row async for row in job.results(ordered=True)]
        async with BatchClient(journal=tmp_path / "state") as client:
            again = [row async for row in (await client.job(job.id)).results(ordered=True)]

    assert len(rows) == count
    assert {row.status for row in rows[1::2]} == {ResultStatus.SUCCEEDED}
    assert {row.text for row in rows[1::2]} == {"hi"}
    ends = Counter(row.status for row in rows[::2])
    assert set(ends) <= {ResultStatus.SUCCEEDED, ResultStatus.ERRORED, ResultStatus.UNDECODABLE, ResultStatus.MISSING}
    assert ends[ResultStatus.UNDECODABLE] > len(SPOILT) / 4
    assert again == rows
