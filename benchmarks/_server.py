"""The server of all benchmarks: four providers' routes answered with canned bytes, in a process and on a core of its own.

It parses no more of a request than its first line and its length, keeps an upload only where a batch is made of it, and
sends files with `sendfile`, so that the client is the bottleneck; `GET /bench/cpu` tells what it cost, and `_capacity.py`
shows what it can do. The key of a call says what kind of account it is:

    sweep.COUNT.ROUNDS.NONCE    has COUNT batches, which are over once their list was walked ROUNDS times
    anything else               batches are over at their first question, or as their ids say

A batch named `batch_N_…` is over at its N-th question. A file named `file-ROWS-BYTES` has so many answers of so many bytes;
that of a batch has an answer for each request that was uploaded.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from functools import cache

PAGE = 100
_BUFFER = 1024 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"\r\n(?:authorization: *bearer|x-api-key:|x-goog-api-key:) *([^\r]+)", re.IGNORECASE)
_BOUNDARY = re.compile(rb"boundary=\"?([^\"\r;]+)")
_IDS = re.compile(rb'"custom_id": ?"([^"]+)"')
_NEEDS = re.compile(rb"^(?:batch|msgbatch|batches)_?(\d+)_")
_CREATED = int(time.time()) - 600
_OLDER_S = 2  # in a list, each batch is so much older than the one before it


def _batch(name, status, **more):
    counts = {"total": 50000, "completed": 1200, "failed": 0}
    none = dict.fromkeys(("errors", "error_file_id", "in_progress_at", "finalizing_at", "failed_at", "expired_at"))
    return {
        "id": name, "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-abc123", **none,
        "completion_window": "24h", "status": status, "created_at": _CREATED,
        "output_file_id": "file-out" if status == "completed" else None, "expires_at": _CREATED + 86400,
        "completed_at": _CREATED + 300 if status == "completed" else None, "cancelling_at": None, "cancelled_at": None,
        "request_counts": counts, "metadata": {"customer": "user-17", "note": "nightly"}, **more,
    }  # fmt: skip


def _message_batch(name, status):
    counts = {"processing": 100, "succeeded": 50, "errored": 0, "canceled": 0, "expired": 0}
    return {
        "id": name, "type": "message_batch", "processing_status": status, "request_counts": counts,
        "ended_at": None, "created_at": "2026-11-01T18:37:24.100435Z", "expires_at": "2026-11-02T18:37:24.100435Z",
        "archived_at": None, "cancel_initiated_at": None, "results_url": None,
    }  # fmt: skip


def _operation(name, state):
    stats = {"requestCount": "100", "pendingRequestCount": "50", "successfulRequestCount": "50"}
    kind = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
    metadata = {
        "@type": kind, "model": "models/gemini-2.5-flash", "displayName": "nightly", "name": f"batches/{name}",
        "createTime": "2026-11-01T18:37:24.100435562Z", "updateTime": "2026-11-01T18:37:25.100435562Z",
        "batchStats": stats, "state": state,
    }  # fmt: skip
    return {"name": f"batches/{name}", "metadata": metadata}


def _mistral_job(name, status):
    return {
        "id": name, "object": "batch", "input_files": ["5f0c2a6e-0000-4000-8000-000000000000"], "metadata": {},
        "endpoint": "/v1/chat/completions", "model": "mistral-small-latest", "agent_id": None, "output_file": None,
        "error_file": None, "errors": [], "status": status, "created_at": _CREATED, "total_requests": 100,
        "completed_requests": 50, "succeeded_requests": 50, "failed_requests": 0, "started_at": None,
        "completed_at": None, "outputs": None,
    }  # fmt: skip


def _file(name, size):
    answer = {"id": name, "object": "file", "bytes": size, "created_at": _CREATED, "filename": "input.jsonl",
              "purpose": "batch", "status": "processed"}  # fmt: skip
    return json.dumps(answer).encode()


_SHAPES = {  # by the beginning of a path: the object, and its words for running and over
    b"/v1/batches/": (_batch, "in_progress", "completed"),
    b"/v1/messages/batches/": (_message_batch, "in_progress", "ended"),
    b"/v1beta/batches/": (_operation, "BATCH_STATE_RUNNING", "BATCH_STATE_SUCCEEDED"),
    b"/v1/batch/jobs/": (_mistral_job, "RUNNING", "SUCCESS"),
}


@cache
def _template(prefix, is_over):
    make, running, over = _SHAPES[prefix]
    return json.dumps(make("@NAME@", over if is_over else running)).encode().split(b"@NAME@")


def _object(prefix, name, is_over):
    return name.join(_template(prefix, is_over))


def line_of(row_id, size, *, is_object=False):
    """Give an answer of about so many bytes; its text is that of an object where such a one was asked for."""
    usage = {"prompt_tokens": 210, "completion_tokens": 180, "total_tokens": 390,
             "prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip

    def whole(text):
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        body = {"id": "chatcmpl-AbCdEfGh", "object": "chat.completion", "created": _CREATED, "model": "gpt-4.1-mini",
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
                "usage": usage, "service_tier": "default", "system_fingerprint": "fp_1234"}  # fmt: skip
        response = {"status_code": 200, "request_id": "req_0123456789", "body": body}
        return {"id": "batch_req_0123456789", "custom_id": row_id, "response": response, "error": None}

    words = 'The answer, with a "quotation" and a line\nbreak, goes on. '

    def shaped(text):
        return json.dumps({"word": "good", "quote": text}) if is_object else text

    room = max(0, size - len(json.dumps(whole(shaped("")))) - 1)
    text = (words * (room // len(words) + 1))[:room]
    return json.dumps(whole(shaped(text))).encode() + b"\n"


class Files:
    """What can be downloaded, on disk; made once."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory()
        self._made = {}
        self.uploads = {}
        self.batches = {}

    def path_of(self, name):
        if name not in self._made:
            is_object = False
            if name.startswith(b"file-out-"):
                source = self.uploads.pop(self.batches[name.removeprefix(b"file-out-")])
                ids = _IDS.findall(source)
                size = 1500
                is_object = b'"response_format"' in source[:4096]
            else:
                _, rows, size = name.split(b"-")
                ids, size = [b"row-%07d" % number for number in range(int(rows))], int(size)
            before, after = line_of("@ID@", size, is_object=is_object).split(b"@ID@")
            path = os.path.join(self._directory.name, str(len(self._made)))
            with open(path, "wb") as file:
                for first in range(0, len(ids), 1000):
                    file.write(b"".join([before + row_id + after for row_id in ids[first : first + 1000]]))
            self._made[name] = path, os.path.getsize(path)
        return self._made[name]

    def forget(self, name):
        made = self._made.pop(name, None)
        if made and name.startswith(b"file-out-"):
            os.unlink(made[0])

    def upload(self, body):
        name = b"file-in-%d" % len(self.batches)
        self.batches[name] = name
        if body is not None:
            self.uploads[name] = body
        return name


class Lists:
    """The accounts whose batches are listed, page by page, and how often they were walked."""

    def __init__(self):
        self._walked = {}
        self._singly = {}

    def page(self, key, query):
        _, count, rounds, nonce = key.split(b".")
        count, first = int(count), 0
        if b"after=" in query:
            first = int(query.split(b"after=")[1].split(b"&")[0].rsplit(b"_", 1)[1]) + 1
        else:
            self._walked[key] = self._walked.get(key, 0) + 1
        until = min(first + PAGE, count)
        return _page(nonce, first, until, until < count, self._walked.get(key, 0) >= int(rounds))

    def asked(self, key):
        """Say whether a batch is over; as many single questions as there are batches count as one walk."""
        _, count, rounds, _ = key.split(b".")
        self._singly[key] = self._singly.get(key, 0) + 1
        return self._walked.get(key, 0) + self._singly[key] // int(count) >= int(rounds)


def _page(nonce, first, until, has_more, is_over):
    names = [b"batch_%b_%d" % (nonce, number) for number in range(first, until)]
    created = b'"created_at": %d' % _CREATED
    items = b",".join(
        [
            _object(b"/v1/batches/", name, is_over).replace(
                created, b'"created_at": %d' % (_CREATED - _OLDER_S * (first + at))
            )
            for at, name in enumerate(names)
        ]
    )
    ends = b'"first_id":"%b","last_id":"%b","has_more":%b' % (names[0], names[-1], b"true" if has_more else b"false")
    return b'{"object":"list","data":[%b],%b}' % (items, ends)


class Connection(asyncio.BufferedProtocol):
    def __init__(self, files, lists, asked):
        self._files, self._lists, self._asked = files, lists, asked
        self._buffer = memoryview(bytearray(_BUFFER))
        self._filled = 0
        self._left = 0
        self._body = bytearray()
        self._is_kept = False
        self._whole = 0
        self._head = b""

    def connection_made(self, transport):
        self._transport = transport

    def get_buffer(self, _hint):
        return self._buffer[self._filled :]

    def buffer_updated(self, size):
        if self._left:  # nothing but a body: counted, and kept only where it is wanted
            self._take(self._buffer[:size])
            if not self._left:
                self._answer()
            return
        self._filled += size
        while True:
            data = bytes(self._buffer[: min(self._filled, 65536)])
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = data[:end]
            found = _LENGTH.search(self._head)
            self._left = self._whole = int(found[1]) if found else 0
            if b"\r\nexpect: 100" in self._head.lower():
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._body = bytearray()
            self._is_kept = b" /v1/files " not in self._head[:64] or b"bench-drop" not in self._head
            rest = bytes(self._buffer[end + 4 : self._filled])
            self._filled = 0
            if self._left:
                more = rest[self._left :]
                self._take(memoryview(rest)[: self._left])
                rest = more
            self._buffer[: len(rest)] = rest
            self._filled = len(rest)
            if self._left:
                return
            self._answer()
            if not self._filled:
                return

    def _take(self, piece):
        self._left -= len(piece)
        if self._is_kept or len(self._body) < 4096:
            self._body += piece

    def _answer(self):
        method, path, _ = self._head[: self._head.index(b"\r\n")].split(b" ")
        path, _, query = path.partition(b"?")
        if path.endswith(b"/content"):
            self._send_file(path.split(b"/")[-2])
            return
        body = self._reply(method, path, query)
        status = b"200 OK" if body is not None else b"404 Not Found"
        self._send(body or b'{"error":{"message":"there is no such thing"}}', status)

    def _send(self, body, status=b"200 OK"):
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self._transport.write(head + body)

    def _reply(self, method, path, query):
        if path == b"/bench/cpu":
            return b"%f" % time.process_time()
        if method == b"POST":
            return self._posted(path)
        if method == b"DELETE":
            self._files.forget(path.rsplit(b"/", 1)[1])
            return b'{"id":"x","object":"file","deleted":true}'
        if path == b"/v1/batches":
            key = _KEY.search(self._head)[1]
            return self._lists.page(key, query) if key.startswith(b"sweep.") else None
        for prefix in _SHAPES:
            if path.startswith(prefix):
                return self._batch(prefix, path.removeprefix(prefix))
        if path.startswith(b"/v1/files/"):
            return _file(path.removeprefix(b"/v1/files/").decode(), 0)
        return None

    def _batch(self, prefix, name):
        if name in self._files.batches:
            body = json.dumps(_batch(name.decode(), "completed", output_file_id="file-out-" + name.decode()))
            return body.encode()
        key = _KEY.search(self._head)[1]
        if key.startswith(b"sweep."):
            return _object(prefix, name, self._lists.asked(key))
        needs = _NEEDS.match(name)
        if needs is None:
            rows = name.decode().partition("batch-")[2]  # batch-ROWS-BYTES is over, and has such a file
            return json.dumps(_batch(name.decode(), "completed", output_file_id=f"file-{rows}")).encode()
        self._asked[name] = times = self._asked.get(name, 0) + 1
        if times < int(needs[1]):
            return _object(prefix, name, False)
        del self._asked[name]
        return _object(prefix, name, True)

    def _posted(self, path):
        body = self._body
        if path == b"/v1/files":
            start = body.find(b"\r\n\r\n", body.find(b"filename=")) + 4
            size = self._whole - start - len(_BOUNDARY.search(self._head)[1]) - 8
            name = self._files.upload(bytes(body[start : start + size]) if self._is_kept else None)
            return _file(name.decode(), size)
        if path == b"/v1/batches":
            asked = json.loads(body)
            source = asked["input_file_id"].encode()
            name = b"batch-of-%b" % source
            self._files.batches[name] = source
            metadata = asked.get("metadata") or {}
            answer = _batch(name.decode(), "validating", input_file_id=source.decode(), metadata=metadata)
            return json.dumps(answer).encode()
        return None

    def _send_file(self, name):
        task = asyncio.ensure_future(self._stream(name))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _stream(self, name):
        path, size = self._files.path_of(name)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size
        self._transport.write(head)
        with open(path, "rb") as file:
            await asyncio.get_running_loop().sendfile(self._transport, file, 0, size)
        if name.startswith(b"file-out-"):
            self._files.forget(name)


async def _serve():
    files, lists, asked = Files(), Lists(), {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(files, lists, asked), "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the benchmark is over, however it ends
    server.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(_serve())
