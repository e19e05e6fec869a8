"""Each example application of the docs, under the server that it would run under, in processes that share a state directory."""

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import subprocess
import sys
import time

import pytest

from asyncbatch.emulator import paid_twice
from tests.integrations.site import DONE_S, PATIENCE_S, ROOT, SECRET, SERVED, Site, until

PROMPTS = ["a river", "a lake"]
ACME = {"X-Tenant": "acme"}


@pytest.fixture(params=SERVED, ids=str)
def site(request, tmp_path):
    with Site(request.param, tmp_path) as site:
        yield site


def submit(worker, prompts=PROMPTS, headers=None, **more):
    return worker.ask("POST", "/jobs", {"prompts": prompts, **more}, headers)


def sent(site, worker, count=1):
    """Wait until the worker's jobs have their batches."""
    assert until(lambda: worker.ask("GET", "/") and site.batches() == count)
    assert len(site.creates()) == count
    return site.creates()


def page_by_page(worker, job, limit):
    """Read the results as a browser would: with the cursor of the last page, until there is no more."""
    rows, path = [], f"/jobs/{job}/results?limit={limit}"
    for _ in range(10):
        page = worker.get(path)
        assert len(page["rows"]) <= limit
        rows += page["rows"]
        if page["is_over"]:
            return rows
        path = f"/jobs/{job}/results?limit={limit}&after={page['after']}"
    raise AssertionError(f"there is always more: {rows}")


def test_a_worker_is_killed_and_the_other_ends_its_job(site):
    owner, other = site.start(2)
    status, told = submit(owner, key="morning")
    assert (status, submit(other, key="morning")) == (202, (202, told)), other.said()
    job = told["job"]
    sent(site, owner)
    assert other.get(f"/jobs/{job}") == {"job": job, "requests": 2, "outcomes": {}, "is_over": False}

    owner.kill()
    site.clock.advance(DONE_S)
    until(lambda: other.get(f"/jobs/{job}")["is_over"])

    rows = page_by_page(other, job, limit=1)
    assert sorted((row["id"], row["status"], row["text"]) for row in rows) == [
        ("0000000", "succeeded", "echo: a river"),
        ("0000001", "succeeded", "echo: a lake"),
    ]
    assert other.get(f"/jobs/{job}")["outcomes"] == {"succeeded": 2}
    connection, events = other.watch(f"/jobs/{job}/events")
    assert events.headers.get_content_type() == "text/event-stream"
    assert b"event: ended" in events.read()
    connection.close()
    other.stop()
    assert len(site.creates()) == 1
    assert paid_twice(site.emulator.history) == {}
    assert site.is_in_order()
    assert other.said() == ""


def test_a_cursor_from_before_a_retry_is_gone(site):
    (worker,) = site.start()
    job = submit(worker, ["fine", "[[error:500]] poor"])[1]["job"]
    sent(site, worker)
    site.clock.advance(DONE_S)
    until(lambda: worker.get(f"/jobs/{job}")["is_over"])
    cursor = worker.get(f"/jobs/{job}/results?limit=1")["after"]
    worker.stop()
    again = [sys.executable, "-m", "asyncbatch", "retry", job, "--only", "errored", "--detach", "--yes"]
    done = subprocess.run(again, env=site.env, cwd=ROOT, capture_output=True, text=True, check=False)
    (next_worker,) = site.start()

    assert done.returncode in (0, 130), done.stderr
    assert next_worker.ask("GET", f"/jobs/{job}/results?after={cursor}")[0] == 410, next_worker.said()
    assert next_worker.ask("GET", f"/jobs/{job}/results?after=nowhere")[0] == 400
    next_worker.stop()


def test_what_is_asked_wrongly_is_refused_and_a_tenant_sees_its_own_jobs_alone(site):
    (worker,) = site.start()
    status, told = submit(worker, ["fine", {"model": "another", "messages": []}])
    assert status == 422, worker.said()
    assert "row 1" in json.dumps(told)
    assert submit(worker, [])[0] == 422
    assert worker.ask("POST", "/jobs", {"key": "no prompts"})[0] in (400, 422)
    assert worker.ask("POST", "/jobs", b"{")[0] in (400, 422)
    assert submit(worker, headers={"X-Tenant": "nobody"})[0] == 409
    assert site.creates() == []

    _, ours = submit(worker, key="k")
    _, theirs = submit(worker, key="k", headers=ACME)
    assert submit(worker, ["other"], key="k", headers=ACME)[0] == 409
    for path in ("", "/results", "/events"):
        assert worker.ask("GET", f"/jobs/{theirs['job']}{path}")[0] == 404
        assert worker.ask("GET", f"/jobs/nobody{path}")[0] == 404
    assert worker.get(f"/jobs/{theirs['job']}", **ACME)["job"] == theirs["job"] != ours["job"]
    for bad in ("limit=0", "limit=many", "after=nowhere"):
        assert worker.ask("GET", f"/jobs/{ours['job']}/results?{bad}")[0] in (400, 422), (bad, worker.said())
    assert len({record.account for record in sent(site, worker, count=2)}) == 2
    worker.stop()
    assert worker.said() == ""


def test_a_tenant_who_has_used_up_his_day_is_told_when_to_come_again_and_nobody_else_is(site):
    site.pace["SERVED_BUDGET"] = "3"
    (worker,) = site.start()
    assert submit(worker)[0] == 202

    with contextlib.closing(worker.connect()) as connection:
        connection.request("POST", "/jobs", json.dumps({"prompts": PROMPTS}), {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 429, (answer.read(), worker.said())
        assert b"3" in answer.read()
    assert 0 < int(answer.headers["Retry-After"]) <= 86_400
    assert submit(worker, headers=ACME)[0] == 202


def test_viewers_may_leave_and_one_who_stays_does_not_hold_the_shutdown(site):
    (worker,) = site.start()
    job = submit(worker)[1]["job"]
    leaving, events = worker.watch(f"/jobs/{job}/events")
    assert events.readline().startswith((b"event:", b"id:", b"data:"))
    events.close()
    leaving.close()
    sent(site, worker)
    assert not worker.get(f"/jobs/{job}")["is_over"]
    assert worker.said() == ""

    staying, events = worker.watch(f"/jobs/{job}/events")
    events.readline()
    worker.stop()

    staying.close()
    assert site.is_in_order()


def signed(body, secret=SECRET, at=None, name="evt_1"):
    """Sign a body as the Standard Webhooks guide says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    at = str(int(time.time() if at is None else at))
    digest = hmac.digest(key, f"{name}.{at}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": name,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def event(batch):
    said = {"id": "evt_1", "object": "event", "type": "batch.completed", "created_at": 0, "data": {"id": batch}}
    return json.dumps(said).encode()


def test_a_webhook_wakes_the_job_that_another_worker_has(site):
    """Nobody would ask about the batch for an hour; whatever is not believed leaves it so."""
    site.pace = {"SERVED_SPEED": "1", "SERVED_POLL_S": "3600"}
    owner, other = site.start(2)
    job = submit(owner)[1]["job"]
    (create,) = sent(site, owner)
    site.clock.advance(DONE_S)

    def send(body, headers):
        return other.ask("POST", "/webhooks/batches", body, headers)

    body = event(create.object_id)
    large = b" " * ((1 << 20) + 1)
    assert send(body, signed(body, secret="whsec_" + base64.b64encode(b"a guess").decode())) == (401, b"")
    assert send(body, signed(body, at=time.time() - 3600)) == (401, b"")
    assert send(event("batch_of_others"), signed(body)) == (401, b"")
    assert send(body, {}) == (400, b"")
    assert send(large, signed(large)) == (413, b"")
    assert other.ask("GET", "/webhooks/batches")[0] == 405
    with socket.create_connection(("127.0.0.1", other.port), PATIENCE_S) as leaving:
        leaving.sendall(b"POST /webhooks/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nnot all of it")
    assert not owner.get(f"/jobs/{job}")["is_over"]

    assert send(body, signed(body)) == (200, b""), other.said()

    until(lambda: owner.get(f"/jobs/{job}")["is_over"])
    assert send(body, signed(body)) == (200, b"")  # it comes again, and is nothing new
    owner.stop()
    other.stop()
    assert owner.said() == ""
    assert all("a webhook is refused" in line for line in other.said().splitlines()), other.said()
