"""The routes of `docs/results.md` under a real server, and the page that shows a job in a real browser, where there is one."""

import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager

import anyio
import anyio.to_thread
import pytest
import uvicorn
from starlette.testclient import TestClient

from asyncbatch import BatchClient, BatchView, JobStatus
from asyncbatch.emulator import Emulator, faults
from asyncbatch.journal import SubmissionState
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.docs.pages import ROOT, blocks, read, run_block
from tests.engine.event_source import EventSource

MODEL = "openai/gpt-4.1-mini"
HTML = ROOT / "docs" / "examples" / "events.html"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--virtual-time-budget=20000",
    "--dump-dom",
]


@pytest.fixture
def app(world, tmp_path):
    """The application of the page, in the directory of the world, with the HTML beside it."""
    shutil.copy(HTML, tmp_path / "events.html")
    (routes,) = (block for block in blocks("docs/results.md", "python") if "FastAPI(" in block.parsed)
    namespace = {}
    run_block(routes, namespace)
    return namespace["app"]


def submitted(*prompts, **options):
    """Have a job that is over, as another process left it."""

    async def submit():
        async with BatchClient(journal="state") as client:
            job = await client.submit(list(prompts), model=MODEL, **options)
            await job.wait()
            return job.id

    return anyio.run(submit)


def test_rows_come_page_by_page_and_one_by_its_id(app):
    job = submitted("one", "two", 7, on_bad_row="reject")
    with TestClient(app) as http:
        pages, after = [], ""
        while True:
            page = http.get(f"/jobs/{job}/rows", params={"after": after, "limit": 2}).json()
            pages.append(page["rows"])
            after = page["cursor"]
            if page["is_over"]:
                break
        one = http.get(f"/jobs/{job}/rows/0000001").json()
        wrong = [
            http.get(path)
            for path in (
                f"/jobs/{job}/rows?after=x",
                f"/jobs/{job}/rows?limit=0",
                f"/jobs/{job}/rows/nobody",
                "/jobs/nobody/rows",
            )
        ]

    assert [len(rows) for rows in pages] == [2, 1]
    assert sorted(row["id"] for rows in pages for row in rows) == ["0000000", "0000001", "0000002"]
    assert one == {"status": "succeeded", "text": "echo: two"}
    assert [answer.status_code for answer in wrong] == [400, 422, 404, 404]
    assert wrong[0].json()["code"] == "cursor.bad"
    assert wrong[2].json()["code"] == "request.unknown"


def test_the_stream_is_one_that_a_browser_reads(app):
    job = submitted("one", "two")
    with TestClient(app) as http:
        answer = http.get(f"/jobs/{job}/events")
        source = EventSource()
        source.feed(answer.content)
        again = EventSource()
        again.feed(http.get(f"/jobs/{job}/events", headers={"Last-Event-ID": source.seen[0][2]}).content)

    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert [kind for kind, _, _ in source.seen] == ["status", "ended"]
    assert json.loads(source.seen[-1][1])["outcomes"] == {"succeeded": 2}
    assert [kind for kind, _, _ in again.seen] == ["ended"]


def told(heading):
    """Give the words in code that stand in a table of the page, by its column."""
    (table,) = re.findall(rf"^\| {heading} \|.*?\n\n", read("docs/results.md"), re.DOTALL | re.MULTILINE)
    lines = [line.split(" | ") for line in table.strip().splitlines()[2:]]
    return [set(re.findall(r"`(\w+)`", " ".join(column))) for column in zip(*lines, strict=True)]


def test_every_field_of_a_status_is_told_and_none_besides():
    ours, _ = told("field of the status")
    batchs, meanings = told("field of each of `batches`")

    assert ours == {*JobStatus.__struct_fields__, "done", "succeeded"}
    assert batchs == set(BatchView.__struct_fields__)
    assert set(SubmissionState) <= meanings


async def test_the_live_number_grows_before_the_first_outcome_and_ends_with_all(monkeypatch):
    (block,) = (block for block in blocks("docs/results.md", "python") if "def answered" in block.parsed)
    namespace = {}
    run_block(block, namespace)
    clock = VirtualClock()
    with Emulator(clock=clock.now, pace={"row_s": 60}) as emulator:
        for name, value in emulator.env("openai").items():
            monkeypatch.setenv(name, value)
        async with BatchClient(runtime=virtual_runtime(clock)) as client:
            job = await client.submit(["one", "two", "three", 7], model=MODEL, on_bad_row="reject")
            looks = [(namespace["answered"](now), now.done) async for now in looked(job)]

    assert looks == sorted(looks)
    assert any(live > done == 1 for live, done in looks)
    assert looks[-1] == (4, 4)


async def looked(job):
    """Give the job as it stands at each of its events."""
    async for _ in job.stream_events():
        yield job.status()


def test_the_page_writes_text_and_never_markup():
    page = HTML.read_text(encoding="utf-8")

    assert "innerHTML" not in page
    assert "insertAdjacentHTML" not in page
    assert "document.write" not in page
    assert page.count("textContent") >= 5
    assert not re.search(r"(?:src|href)\s*=", page)
    assert "source.close()" in page


@contextmanager
def served(app):
    """Run an application under a real server, on a port of its own; gives its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    started, startup = threading.Event(), server.startup

    async def start(sockets=None):
        await startup(sockets)
        started.set()

    server.startup = start
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(30)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


if BROWSER is not None:

    def shown(address, profile):
        """Give the document as it stands in a browser once nothing moves any more."""
        command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def test_a_browser_follows_a_job_of_another_worker_to_its_end(app, world, tmp_path):
        with served(app) as address:
            async with BatchClient(journal="state") as client:
                job = await client.submit(["one", "two"], model=MODEL)
                page = await anyio.to_thread.run_sync(shown, f"{address}/jobs/{job.id}/page", tmp_path / "profile")
                status = await job.wait()

        assert '<h1 id="job">openai/gpt-4.1-mini</h1>' in page
        assert "2 of 2 requests, 2 with an answer, over" in page
        assert f"<td>{status.batches[0].provider_batch_id}</td><td>settled</td>" in page

    async def test_what_a_provider_writes_is_text_in_the_browser(app, world, tmp_path):
        evil = "<img src=x onerror=\"document.title='owned'\">"
        world.add(faults.refuse(400, code=evil, operation="create", times=None))
        with served(app) as address:
            async with BatchClient(journal="state") as client:
                job = await client.submit(["one"], model=MODEL)
                page = await anyio.to_thread.run_sync(shown, f"{address}/jobs/{job.id}/page", tmp_path / "profile")

        assert "&lt;img src=x onerror=" in page
        assert "<img" not in page
        assert "<title>A job</title>" in page
