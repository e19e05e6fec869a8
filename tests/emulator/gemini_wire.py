"""A client that speaks Gemini's protocol to the emulator as bytes over HTTP, and rows for it."""

import json

import aiohttp

MODEL = "gemini-2.5-flash"
EMBEDDER = "gemini-embedding-001"
CREATE = f"/v1/models/{MODEL}:batchGenerateContent"
EMBED = f"/v1/models/{EMBEDDER}:asyncBatchEmbedContent"
PIECE = 262_144


def said(text="hello", role="user"):
    return {"role": role, "parts": [{"text": text}]}


def chat(prompt="hello", **changes):
    return {"contents": [said(prompt)], **changes}


def encode_lines(rows):
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def file_rows(*bodies):
    return [{"key": f"r{number}", "request": body} for number, body in enumerate(bodies)]


def inline_rows(*bodies):
    return [{"request": body, "metadata": {"key": f"r{number}"}} for number, body in enumerate(bodies)]


class GeminiApi:
    """Gemini's endpoints, one method each; `call` gives status and decoded body."""

    def __init__(self, emulator, key="k"):
        self.emulator = emulator
        self.base = emulator.base_url("gemini")
        self.key = key
        self.session = aiohttp.ClientSession()

    def send(self, method, path, **options):
        headers = {"x-goog-api-key": self.key, **options.pop("headers", {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        url = path if path.startswith("http") else self.base + path
        return self.session.request(method, url, headers=headers, **options)

    async def call(self, method, path, **options):
        async with self.send(method, path, **options) as response:
            return response.status, await response.json()

    async def get(self, path):
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        return answer

    # Uploads

    async def start(self, size, *, file=None, mime_type="application/jsonl", **headers):
        described = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(size),
            "X-Goog-Upload-Header-Content-Type": mime_type,
            **headers,
        }
        async with self.send("POST", "/upload/v1/files", headers=described, json={"file": file or {}}) as response:
            body = await response.read()
            return response.status, response.headers, json.loads(body) if body else None

    async def begin(self, size, **more):
        status, headers, answer = await self.start(size, **more)
        assert status == 200, answer
        return headers["x-goog-upload-url"]

    async def command(self, url, command, offset=None, data=b""):
        """Send a command without a key; gives HTTP status, upload status, size received and body."""
        headers = {"X-Goog-Upload-Command": command, "x-goog-api-key": None}
        if offset is not None:
            headers["X-Goog-Upload-Offset"] = str(offset)
        async with self.send("POST", url, headers=headers, data=data) as response:
            body = await response.read()
            heads = [response.headers.get(f"x-goog-upload-{name}") for name in ("status", "size-received")]
            return response.status, *heads, json.loads(body) if body else None

    async def upload(self, content, *, ready=True, **more):
        url = await self.begin(len(content), **more)
        status, _, _, answer = await self.command(url, "upload, finalize", 0, content)
        assert status == 200, answer
        if ready:
            self.emulator.advance(1)
        return answer["file"]

    # Batches

    async def try_create(self, source, path=CREATE, **batch):
        return await self.call("POST", path, json={"batch": {"displayName": "tag", "inputConfig": source, **batch}})

    async def create(self, source, path=CREATE, **batch):
        status, answer = await self.try_create(source, path, **batch)
        assert status == 200, answer
        return answer

    async def from_file(self, rows, path=CREATE, **batch):
        return await self.create({"fileName": (await self.upload(encode_lines(rows)))["name"]}, path, **batch)

    async def inline(self, rows, path=CREATE, **batch):
        return await self.create({"requests": {"requests": rows}}, path, **batch)

    async def batch(self, batch):
        return await self.get(f"/v1/{batch['name']}")

    async def finish(self, batch):
        self.emulator.advance(600)
        return await self.batch(batch)

    async def lines(self, batch):
        path = f"/v1/{batch['response']['responsesFile']}:download?alt=media"
        async with self.send("GET", path) as response:
            assert response.status == 200
            return [json.loads(line) for line in (await response.read()).split(b"\n") if line]

    async def answers(self, *bodies, path=CREATE):
        """Take inlined requests to their answers, in order."""
        done = await self.finish(await self.inline(inline_rows(*bodies), path))
        return done["response"]["inlinedResponses"]["inlinedResponses"]
