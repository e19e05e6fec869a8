"""A client that speaks Mistral's protocol as bytes over HTTP, and rows for it: nothing of ours is between the two."""

import io
import json

import aiohttp

CHAT = "/v1/chat/completions"
MODEL = "mistral-small-latest"
NOBODY = "00000000-0000-4000-8000-000000000000"
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "abcdefgh1", "function": {"name": "f", "arguments": "{}"}}
MODELS = {
    "/v1/embeddings": "mistral-embed",
    "/v1/fim/completions": "codestral-latest",
    "/v1/moderations": "mistral-moderation-latest",
    "/v1/chat/moderations": "mistral-moderation-latest",
    "/v1/classifications": "ft:classifier",
    "/v1/chat/classifications": "ft:classifier",
    "/v1/ocr": "mistral-ocr-latest",
    "/v1/conversations": "mistral-medium-latest",
    "/v1/audio/transcriptions": "voxtral-mini-latest",
}


def said(content="hi", role="user", **more):
    return {"role": role, "content": content, **more}


def row(custom_id="a", prompt="hi", **changes):
    body = {"messages": [said(prompt)], **changes}
    return {"custom_id": custom_id, "body": {name: value for name, value in body.items() if value is not ...}}


def encode_lines(rows):
    return b"".join(item if isinstance(item, bytes) else json.dumps(item).encode() + b"\n" for item in rows)


class Api:
    """The service as bytes over HTTP; `call` gives status and decoded body."""

    def __init__(self, emulator, key="k"):
        self.emulator = emulator
        self.base = emulator.base_url("mistral")
        self.session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"} if key else {})

    async def call(self, method, path, **options):
        async with self.session.request(method, f"{self.base}{path}", **options) as response:
            return response.status, await response.json()

    async def get(self, path):
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        return answer

    async def try_upload(self, content, filename="in.jsonl", **fields):
        form = aiohttp.FormData()
        for name, value in {"purpose": "batch", **fields}.items():
            form.add_field(name, value)
        form.add_field("file", io.BytesIO(content), filename=filename)
        return await self.call("POST", "/v1/files", data=form)

    async def upload(self, content, **options):
        status, answer = await self.try_upload(content, **options)
        assert status == 200, answer
        return answer

    async def try_create(self, endpoint=CHAT, **order):
        body = {"endpoint": endpoint, "model": MODELS.get(endpoint, MODEL), **order}
        return await self.call(
            "POST", "/v1/batch/jobs", json={name: item for name, item in body.items() if item is not ...}
        )

    async def create(self, endpoint=CHAT, **order):
        status, answer = await self.try_create(endpoint, **order)
        assert status == 200, answer
        return answer

    async def start(self, rows, endpoint=CHAT, **more):
        """Upload rows and create a job of them."""
        return await self.create(endpoint, input_files=[(await self.upload(encode_lines(rows)))["id"]], **more)

    async def job(self, job, query=""):
        return await self.get(f"/v1/batch/jobs/{job['id']}{query}")

    async def run(self, rows, endpoint=CHAT, **more):
        """Take rows to the end of their job."""
        job = await self.start(rows, endpoint, **more)
        self.emulator.advance(3600)
        return await self.job(job)

    async def content(self, file_id):
        async with self.session.get(f"{self.base}/v1/files/{file_id}/content") as response:
            assert response.status == 200
            return await response.read()

    async def lines(self, file_id):
        return [] if file_id is None else [json.loads(line) for line in (await self.content(file_id)).splitlines()]

    async def bodies(self, rows, endpoint=CHAT, **more):
        """Take rows to their answers: the body of each, by id."""
        done = await self.run(rows, endpoint, **more)
        return {line["custom_id"]: line["response"]["body"] for line in await self.lines(done["output_file"])}

    async def body(self, body, endpoint=CHAT, **more):
        return (await self.bodies([{"custom_id": "a", "body": body}], endpoint, **more))["a"]
