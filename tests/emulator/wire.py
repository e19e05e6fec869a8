"""A client that speaks to the emulator as bytes over HTTP, and rows for it: nothing of ours is between the two."""

import io
import json

import aiohttp

CHAT = "/v1/chat/completions"


def chat_row(custom_id, prompt="hello", **changes):
    body = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": prompt}], **changes}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


def encode_lines(rows):
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


class Api:
    """OpenAI's endpoints, one method each; `call` gives status and decoded body."""

    def __init__(self, emulator, key="sk-test", dialect="openai"):
        self.emulator = emulator
        self.base = emulator.base_url(dialect)
        self.key = key
        self.session = aiohttp.ClientSession()

    async def send(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return await self.session.request(
            method, f"{self.base}{path}", headers=headers, allow_redirects=False, **options
        )

    async def call(self, method, path, **options):
        async with await self.send(method, path, **options) as response:
            return response.status, await response.json()

    async def get(self, path):
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        return answer

    async def try_upload(self, content, filename="in.jsonl", fields=(("purpose", "batch"),)):
        form = aiohttp.FormData()
        for name, value in fields:
            form.add_field(name, value)
        form.add_field("file", io.BytesIO(content), filename=filename)
        return await self.call("POST", "/files", data=form)

    async def upload(self, content, **options):
        status, answer = await self.try_upload(content, **options)
        assert status == 200, answer
        return answer

    async def try_create(self, file_id, endpoint=CHAT, **more):
        order = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h", **more}
        return await self.call("POST", "/batches", json=order)

    async def create(self, file_id, endpoint=CHAT, **more):
        status, answer = await self.try_create(file_id, endpoint, **more)
        assert status == 200, answer
        return answer

    async def start(self, rows, endpoint=CHAT, **more):
        """Upload rows and create a batch of them."""
        return await self.create((await self.upload(encode_lines(rows)))["id"], endpoint, **more)

    async def batch(self, batch_id):
        return await self.get(f"/batches/{batch_id}")

    async def run(self, rows, endpoint=CHAT):
        """Take rows to the end of their batch."""
        batch = await self.start(rows, endpoint)
        self.emulator.advance(3600)
        return await self.batch(batch["id"])

    async def content(self, file_id):
        async with await self.send("GET", f"/files/{file_id}/content") as response:
            assert response.status == 200
            return await response.read()

    async def lines(self, file_id):
        if file_id is None:
            return []
        return [json.loads(line) for line in (await self.content(file_id)).split(b"\n") if line]

    async def results(self, batch):
        """Give output and error lines, by id."""
        output, errors = await self.lines(batch["output_file_id"]), await self.lines(batch["error_file_id"])
        return {line["custom_id"]: line for line in output}, {line["custom_id"]: line for line in errors}

    async def answers(self, rows, endpoint=CHAT):
        """Take rows to their answers: the body of each, by id."""
        output, errors = await self.results(await self.run(rows, endpoint))
        return {custom_id: line["response"]["body"] for custom_id, line in {**output, **errors}.items()}


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1_795_300_000.0

    def __call__(self):
        return self.now
