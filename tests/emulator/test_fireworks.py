"""Datasets and batch inference jobs as Fireworks has them: names of the client's, signed addresses, a DELETE for a cancel."""

import json

import aiohttp
import pytest

from asyncbatch.emulator import Emulator, faults, paid_twice

MODEL = "accounts/fireworks/models/llama-v3p1-8b-instruct"
LINES = [
    {"custom_id": "r1", "body": {"messages": [{"role": "user", "content": "hi"}]}},
    {"custom_id": "r2", "body": {"messages": [{"role": "user", "content": "[[error:400]]"}]}},
]


def row(prompt="hi", custom_id="r1", **body):
    return {"custom_id": custom_id, "body": {"messages": [{"role": "user", "content": prompt}], **body}}


def encoded(rows):
    return b"".join(item if isinstance(item, bytes) else json.dumps(item).encode() + b"\n" for item in rows)


class Api:
    """The service as bytes over HTTP."""

    def __init__(self, emulator, key="k", account="acme"):
        self.emulator = emulator
        self.base = emulator.base_url("fireworks")
        self.account = account
        self.session = aiohttp.ClientSession()
        self.headers = {"Authorization": f"Bearer {key}"}

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.session.close()

    async def call(self, method, path, **options):
        url = f"{self.base}/accounts/{self.account}{path}"
        async with self.session.request(method, url, headers=self.headers, **options) as response:
            return response.status, await response.json()

    async def get(self, path):
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        return answer

    async def make(self, name="in-1", **dataset):
        body = {"datasetId": name, "dataset": {"userUploaded": {}, "exampleCount": "2", **dataset}}
        return await self.call("POST", "/datasets", json=body)

    async def fill(self, name="in-1", rows=LINES, **fields):
        form = aiohttp.FormData()
        for key, value in fields.items():
            form.add_field(key, value)
        form.add_field("file", encoded(rows), filename="in.jsonl")
        return await self.call("POST", f"/datasets/{name}:upload", data=form)

    async def dataset(self, name="in-1", rows=LINES):
        assert (await self.make(name))[0] == 200
        assert (await self.fill(name, rows))[0] == 200
        self.emulator.advance(2)

    def order(self, **changes):
        body = {
            "model": MODEL,
            "inputDatasetId": f"accounts/{self.account}/datasets/in-1",
            "outputDatasetId": f"accounts/{self.account}/datasets/out-1",
            **changes,
        }
        return {name: value for name, value in body.items() if value is not ...}

    async def create(self, name="job-1", **changes):
        params = {} if name is None else {"batchInferenceJobId": name}
        return await self.call("POST", "/batchInferenceJobs", params=params, json=self.order(**changes))

    async def job(self, name="job-1"):
        return await self.get(f"/batchInferenceJobs/{name}")

    async def run(self, rows=LINES, **changes):
        await self.dataset(rows=rows)
        status, answer = await self.create(**changes)
        assert status == 200, answer
        self.emulator.advance(600)
        return await self.job()

    async def urls(self, name="out-1"):
        return (await self.get(f"/datasets/{name}:getDownloadEndpoint"))["filenameToSignedUrls"]

    async def fetch(self, url, method="GET", **options):
        """Call an address as whoever has it does."""
        async with self.session.request(method, url, **options) as response:
            return response.status, await response.read()

    async def answers(self):
        """Give the rows of both files."""
        found = {}
        for name, url in (await self.urls()).items():
            status, body = await self.fetch(url)
            assert status == 200
            found[name.rpartition("/")[2]] = [json.loads(line) for line in body.splitlines()]
        return found


@pytest.fixture
async def api(emulator):
    async with Api(emulator) as api:
        yield api


def code_of(answer):
    return answer[0], answer[1]["code"]


class TestDatasets:
    async def test_one_is_made_filled_and_ready_a_moment_later(self, api, emulator):
        status, made = await api.make(displayName="rows of ours")
        _, uploaded = await api.fill()
        early = (await api.get("/datasets/in-1"))["state"]
        emulator.advance(2)
        ready = await api.get("/datasets/in-1")

        assert (status, made["name"], made["state"]) == (200, "accounts/acme/datasets/in-1", "UPLOADING")
        assert (made["displayName"], made["exampleCount"]) == ("rows of ours", "2")
        assert uploaded | {"created_at": 0} == {
            "id": "in-1",
            "object": "file",
            "bytes": len(encoded(LINES)),
            "created_at": 0,
            "filename": "in.jsonl",
            "purpose": "dataset",
        }
        assert (early, ready["state"], ready["status"]["code"]) == ("UPLOADING", "READY", "OK")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            [],
            {"datasetId": "in-1"},
            {"datasetId": "in-1", "dataset": {}},
            {"datasetId": "in-1", "dataset": {"exampleCount": 2}},
            {"datasetId": "in-1", "dataset": {"exampleCount": "two"}},
            {"datasetId": "in-1", "dataset": {"exampleCount": "2", "colour": "red"}},
            {"datasetId": "In_1", "dataset": {"exampleCount": "2"}},
            {"datasetId": "-in", "dataset": {"exampleCount": "2"}},
            {"datasetId": "x" * 64, "dataset": {"exampleCount": "2"}},
            {"dataset_id": "in-1", "dataset": {"exampleCount": "2"}},
            {"datasetId": 7, "dataset": {"exampleCount": "2"}},
            {"datasetId": "in-1", "dataset": {"exampleCount": "2", "displayName": 7}},
        ],
    )
    async def test_what_is_not_as_documented_is_refused(self, api, body):
        assert code_of(await api.call("POST", "/datasets", json=body)) == (400, 3)

    async def test_a_body_that_is_no_json_is_refused(self, api):
        assert code_of(await api.call("POST", "/datasets", data=b"{")) == (400, 3)

    async def test_a_name_is_taken_once_until_it_is_deleted(self, api):
        await api.make()
        assert code_of(await api.make()) == (409, 6)
        assert await api.call("DELETE", "/datasets/in-1") == (200, {})
        assert code_of(await api.call("DELETE", "/datasets/in-1")) == (404, 5)
        assert (await api.make())[0] == 200

    async def test_it_is_filled_once(self, api):
        await api.dataset()
        assert code_of(await api.fill()) == (400, 9)
        assert code_of(await api.call("POST", "/datasets/in-1:validateUpload", json={})) == (400, 9)
        assert code_of(await api.fill("in-2")) == (404, 5)

    async def test_a_field_beside_the_file_is_refused_and_leaves_nothing(self, api, emulator):
        await api.make()
        assert code_of(await api.fill(purpose="batch")) == (400, 3)
        assert (await api.fill())[0] == 200

    async def test_an_input_can_be_fetched_too(self, api):
        await api.make()
        assert await api.urls("in-1") == {}
        await api.fill()
        api.emulator.advance(2)
        ((name, url),) = (await api.urls("in-1")).items()

        assert name == "dataset/in-1/in.jsonl"
        assert await api.fetch(url) == (200, encoded(LINES))

    async def test_one_that_is_deleted_before_it_is_read_fails_its_job(self, api):
        await api.dataset()
        await api.create()
        await api.call("DELETE", "/datasets/in-1")
        api.emulator.advance(600)

        assert (await api.job())["status"]["code"] == "NOT_FOUND"


class TestLargeUploads:
    async def offer(self, api, size):
        asked = {"filenameToSize": {"in.jsonl": size}}
        return await api.call("POST", "/datasets/in-1:getUploadEndpoint", json=asked)

    async def address(self, api, size):
        _, answer = await self.offer(api, str(size))
        return answer["filenameToSignedUrls"]["in.jsonl"]

    def headers(self, size):
        return {"Content-Type": "application/octet-stream", "X-Goog-Content-Length-Range": f"{size},{size}"}

    async def test_rows_go_to_an_address_and_are_validated_then(self, api):
        await api.make()
        data = encoded(LINES)
        url = await self.address(api, len(data))
        put = await api.fetch(url, "PUT", data=data, headers=self.headers(len(data)))
        before = (await api.get("/datasets/in-1"))["state"]
        validated = await api.call("POST", "/datasets/in-1:validateUpload", json={})
        api.emulator.advance(2)

        assert (put[0], before, validated) == (200, "UPLOADING", (200, {}))
        assert (await api.get("/datasets/in-1"))["state"] == "READY"
        assert "localhost" in url

    @pytest.mark.parametrize(
        "changes",
        [
            {"Authorization": "Bearer k"},
            {"Content-Type": "application/jsonl"},
            {"X-Goog-Content-Length-Range": "0,10"},
        ],
    )
    async def test_an_address_takes_exactly_what_was_signed(self, api, changes):
        await api.make()
        data = encoded(LINES)
        url = await self.address(api, len(data))
        headers = {**self.headers(len(data)), **changes}
        status, body = await api.fetch(url, "PUT", data=data, headers=headers)

        assert status == 400
        assert body.startswith(b"<?xml")
        assert code_of(await api.call("POST", "/datasets/in-1:validateUpload", json={})) == (400, 9)

    async def test_another_length_is_refused(self, api):
        await api.make()
        url = await self.address(api, 10)
        assert (await api.fetch(url, "PUT", data=b"x" * 11, headers=self.headers(10)))[0] == 400

    async def test_an_address_ends_after_ten_minutes_and_is_good_for_one_thing(self, api):
        await api.make()
        url = await self.address(api, 2)
        wrong = [
            await api.fetch(url.replace("size=2", "size=3"), "PUT", data=b"abc", headers=self.headers(3)),
            await api.fetch(url),
        ]
        api.emulator.advance(600)
        late = await api.fetch(url, "PUT", data=b"ab", headers=self.headers(2))

        assert [status for status, _ in wrong] == [403, 403]
        assert (late[0], b"ExpiredToken" in late[1]) == (400, True)

    async def test_a_dataset_that_is_gone_takes_nothing(self, api):
        await api.make()
        url = await self.address(api, 2)
        await api.call("DELETE", "/datasets/in-1")
        assert (await api.fetch(url, "PUT", data=b"ab", headers=self.headers(2)))[0] == 400

    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"filenameToSize": {}},
            {"filenameToSize": {"a": 5}},
            {"filenameToSize": {"a": "five"}},
            {"filenameToSize": {"a": "1", "b": "2"}},
            {"filenameToSize": {"a": "1"}, "more": 1},
        ],
    )
    async def test_what_is_not_as_documented_is_refused(self, api, asked):
        await api.make()
        assert code_of(await api.call("POST", "/datasets/in-1:getUploadEndpoint", json=asked)) == (400, 3)


class TestCreates:
    async def test_a_job_looks_as_documented(self, api):
        await api.dataset()
        status, job = await api.create(displayName="nightly", inferenceParameters={"maxTokens": 64, "temperature": 0.2})

        assert status == 200
        assert job == {
            "name": "accounts/acme/batchInferenceJobs/job-1",
            "displayName": "nightly",
            "createTime": job["createTime"],
            "createdBy": job["createdBy"],
            "expireTime": job["expireTime"],
            "state": "JOB_STATE_VALIDATING",
            "status": {"code": "OK", "message": ""},
            "model": MODEL,
            "inputDatasetId": "accounts/acme/datasets/in-1",
            "outputDatasetId": "accounts/acme/datasets/out-1",
            "inferenceParameters": {"maxTokens": 64, "temperature": 0.2},
            "jobProgress": None,
            "updateTime": job["createTime"],
            "precision": "PRECISION_UNSPECIFIED",
            "continuedFromJobName": "",
            "lifecycle": {"validatedTime": None, "runStartTime": None, "endTime": None},
        }
        assert job["createTime"].endswith("Z")

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"model": ...}, (400, 3)),
            ({"model": "llama-v3p1-8b-instruct"}, (404, 5)),
            ({"model": "accounts/fireworks/models/unheard-of"}, (404, 5)),
            ({"model": "accounts/acme/models/llama-v3p1-8b-instruct"}, (404, 5)),
            ({"inputDatasetId": ...}, (400, 3)),
            ({"inputDatasetId": "in-1"}, (404, 5)),
            ({"inputDatasetId": "accounts/acme/datasets/in-9"}, (404, 5)),
            ({"outputDatasetId": "out-1"}, (400, 3)),
            ({"outputDatasetId": "accounts/other/datasets/out-1"}, (400, 3)),
            ({"outputDatasetId": "accounts/acme/datasets/Out"}, (400, 3)),
            ({"outputDatasetId": "accounts/acme/datasets/in-1"}, (400, 3)),
            ({"metadata": {}}, (400, 3)),
            ({"displayName": 7}, (400, 3)),
            ({"inferenceParameters": {"max_tokens": 1}}, (400, 3)),
            ({"inferenceParameters": {"maxTokens": "1"}}, (400, 3)),
            ({"inferenceParameters": {"n": True}}, (400, 3)),
            ({"inferenceParameters": {"extraBody": {"stop": []}}}, (400, 3)),
            ({"inferenceParameters": {"extraBody": "stop"}}, (400, 3)),
            ({"continuedFromJobName": "accounts/acme/batchInferenceJobs/job-0"}, (400, 3)),
        ],
    )
    async def test_what_does_not_fit_is_refused_and_nothing_is_created(self, api, changes, expected):
        await api.dataset()
        assert code_of(await api.create(**changes)) == expected
        assert [record for record in api.emulator.history if record.kind == "create"] == []

    async def test_a_dataset_that_is_not_ready_is_refused(self, api):
        await api.make()
        await api.fill()
        assert code_of(await api.create()) == (400, 9)

    async def test_a_name_can_be_taken_once_even_by_a_job_that_is_gone(self, api):
        await api.dataset()
        await api.create()
        again = await api.create()
        await api.call("DELETE", "/batchInferenceJobs/job-1")
        api.emulator.advance(60)

        assert code_of(again) == code_of(await api.create()) == (409, 6)
        assert paid_twice(api.emulator.history) == {}

    @pytest.mark.parametrize("name", ["Job", "job_1", "-job", "job-", "", "x" * 64])
    async def test_a_name_that_is_none_is_refused(self, api, name):
        await api.dataset()
        assert code_of(await api.create(name)) == (400, 3)

    async def test_a_job_without_a_name_gets_one_and_a_dataset_for_its_answers(self, api):
        await api.dataset()
        _, job = await api.create(None, outputDatasetId=...)
        name = job["name"].rpartition("/")[2]

        assert len(name) == 16
        assert job["outputDatasetId"] == f"accounts/acme/datasets/{name}-output"

    async def test_what_the_job_says_holds_for_rows_that_say_nothing(self, api):
        parameters = {"maxTokens": 1, "n": 2, "extraBody": '{"stop":["x"]}'}
        rows = [row("one two"), row("one two", "r2", n=1, max_tokens=50)]
        await api.run(rows, inferenceParameters=parameters, systemPrompt="Be brief.")
        found = {line["custom_id"]: line["response"] for line in (await api.answers())["BIJOutputSet.jsonl"]}

        assert [len(found[name]["choices"]) for name in ("r1", "r2")] == [2, 1]
        assert [found[name]["choices"][0]["finish_reason"] for name in ("r1", "r2")] == ["length", "stop"]

    async def test_a_model_of_an_account_is_known_if_the_emulator_was_told(self):
        with Emulator(models=["mine-*"]) as emulator:
            async with Api(emulator) as api:
                await api.dataset()
                status, _ = await api.create(model="accounts/acme/models/mine-1")

        assert status == 200


class TestLife:
    async def test_each_phase_has_its_word_and_its_counts(self, api, emulator):
        await api.dataset(rows=[row(), row("[[error:500]]", "r2"), row("[[stall]]", "r3")])
        await api.create()
        emulator.advance(60)
        running = await api.job()

        assert running["state"] == "JOB_STATE_RUNNING"
        assert running["jobProgress"] == {
            "percent": 100,
            "epoch": 0,
            "totalInputRequests": 2,
            "totalProcessedRequests": 2,
            "successfullyProcessedRequests": 1,
            "failedRequests": 1,
            "outputRows": 1,
            "inputTokens": 0,
            "outputTokens": 0,
            "cachedInputTokenCount": 0,
        }

    async def test_answers_are_flat_and_errors_lie_beside_them(self, api):
        job = await api.run()
        found = await api.answers()

        assert (job["state"], job["jobProgress"]["percent"]) == ("JOB_STATE_COMPLETED", 100)
        assert job["jobProgress"]["inputTokens"] > 0
        assert job["lifecycle"]["endTime"] == job["updateTime"]
        (good,), (bad,) = found["BIJOutputSet.jsonl"], found["error-data"]
        assert good.keys() == {"custom_id", "response"}
        assert good["response"].keys() == {"id", "object", "created", "model", "choices", "usage"}
        assert (good["response"]["model"], good["response"]["object"]) == (MODEL, "chat.completion")
        assert bad == {"custom_id": "r2", "error": {"message": "The prompt asked for status 400.", "code": 400}}

    async def test_the_file_of_errors_is_there_and_may_be_empty(self, api):
        await api.run([row()])

        assert (await api.answers())["error-data"] == []

    async def test_the_dataset_of_answers_is_one_like_others_and_can_be_deleted(self, api):
        await api.run()
        shown = await api.get("/datasets/out-1")
        deleted = [await api.call("DELETE", "/datasets/out-1") for _ in range(2)]
        gone = await api.call("GET", "/datasets/out-1:getDownloadEndpoint")

        assert (shown["state"], shown["sourceJobName"]) == ("READY", "accounts/acme/batchInferenceJobs/job-1")
        assert deleted[0] == (200, {})
        assert code_of(deleted[1]) == code_of(gone) == (404, 5)

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ([row(), b"{no json}\n"], "row 2: it is no JSON object"),
            ([row(), row()], "row 2: duplicate custom_id 'r1'"),
            ([row(custom_id="")], "row 1: custom_id is missing"),
            ([{"custom_id": "a"}], "row 1: body is missing"),
            ([{**row(), "method": "POST"}], "row 1: unknown field 'method'"),
            ([{"custom_id": "a", "body": {"messages": [{"role": "narrator", "content": "x"}]}}], "row 1: "),
            ([{"custom_id": "a", "body": {}}], "row 1: "),
            ([row(stream=True)], "row 1: stream is not supported"),
            ([b""], "the dataset is empty"),
        ],
    )
    async def test_one_bad_row_fails_the_whole_job(self, api, rows, says):
        job = await api.run(rows)

        assert (job["state"], job["status"]["code"], job["jobProgress"]) == (
            "JOB_STATE_FAILED",
            "INVALID_ARGUMENT",
            None,
        )
        assert job["status"]["message"].startswith(says)
        assert code_of(await api.call("GET", "/datasets/out-1:getDownloadEndpoint")) == (404, 5)

    async def test_more_rows_or_bytes_than_are_allowed_fail_the_job(self):
        found = []
        for limits in ({"rows": 1}, {"file_bytes": 100}):
            with Emulator(limits=limits) as emulator:
                async with Api(emulator) as api:
                    found.append((await api.run())["status"]["message"])

        assert found == [
            "row 2: the dataset has more than 1 rows",
            f"the dataset has {len(encoded(LINES))} bytes; 100 are allowed",
        ]

    async def test_a_doomed_job_says_what_there_was_too_much_of(self, api, emulator):
        emulator.add(faults.full_queue())
        job = await api.run()

        assert (job["state"], job["status"]["code"]) == ("JOB_STATE_FAILED", "RESOURCE_EXHAUSTED")

    async def test_an_expired_job_keeps_what_was_done(self, api, emulator):
        await api.run([row(), row("[[stall]]", "r2")])
        emulator.advance(2 * 86_400)

        assert (await api.job())["state"] == "JOB_STATE_EXPIRED"
        assert {name: len(rows) for name, rows in (await api.answers()).items()} == {
            "BIJOutputSet.jsonl": 1,
            "error-data": 0,
        }

    async def test_a_job_that_runs_is_deleted_in_steps_and_leaves_nothing(self, api, emulator):
        await api.dataset(rows=[row(), row("[[stall]]", "r2")])
        await api.create()
        emulator.advance(60)
        deleted, seen = await api.call("DELETE", "/batchInferenceJobs/job-1"), []
        for _ in range(2):
            seen.append((await api.job())["state"])
            emulator.advance(6)

        assert deleted == (200, {})
        assert seen == ["JOB_STATE_DELETING", "JOB_STATE_DELETING_CLEANING_UP"]
        assert code_of(await api.call("GET", "/batchInferenceJobs/job-1")) == (404, 5)
        assert code_of(await api.call("DELETE", "/batchInferenceJobs/job-1")) == (404, 5)
        assert (await api.get("/batchInferenceJobs"))["batchInferenceJobs"] == []
        assert code_of(await api.call("GET", "/datasets/out-1")) == (404, 5)

    async def test_the_record_of_a_job_that_is_over_goes_and_its_answers_stay(self, api):
        await api.run()
        assert await api.call("DELETE", "/batchInferenceJobs/job-1") == (200, {})
        assert code_of(await api.call("GET", "/batchInferenceJobs/job-1")) == (404, 5)
        assert set(await api.answers()) == {"BIJOutputSet.jsonl", "error-data"}

    async def test_a_life_outlives_the_process(self, tmp_path):
        with Emulator(data_dir=tmp_path) as emulator:
            async with Api(emulator) as api:
                await api.dataset()
                await api.make("in-2")
                await api.create()
        with Emulator(data_dir=tmp_path) as emulator:
            async with Api(emulator) as api:
                emulator.advance(600)
                job, left = await api.job(), await api.get("/datasets/in-2")
                answers = await api.answers()

        assert (job["state"], left["state"]) == ("JOB_STATE_COMPLETED", "UPLOADING")
        assert len(answers["BIJOutputSet.jsonl"]) == 1


class TestAddresses:
    async def test_an_address_lasts_ten_minutes_and_wants_no_key(self, api, emulator):
        await api.run()
        url = (await api.urls())["dataset/out-1/BIJOutputSet.jsonl"]
        with_key = await api.fetch(url, headers=api.headers)
        forged = await api.fetch(url.replace("Signature=", "Signature=0"))
        emulator.advance(599)
        last = await api.fetch(url)
        emulator.advance(1)
        late = await api.fetch(url)

        assert [status for status, _ in (with_key, forged, last, late)] == [400, 403, 200, 400]
        assert b"ExpiredToken" in late[1]
        assert "X-Goog-Expires=599" in url

    async def test_what_is_not_there_any_more_cannot_be_fetched(self, api):
        await api.dataset()
        ((_, url),) = (await api.urls("in-1")).items()
        await api.call("DELETE", "/datasets/in-1")

        assert (await api.fetch(url))[0] == 404

    async def test_they_are_asked_for_with_a_get(self, api):
        await api.run()
        status, _ = await api.call("POST", "/datasets/out-1:getDownloadEndpoint")
        assert status == 405


class TestLists:
    async def make_jobs(self, api, count=5):
        await api.dataset()
        for number in range(count):
            assert (await api.create(f"job-{number}", outputDatasetId=...))[0] == 200
            api.emulator.advance(10)

    async def names(self, api, **params):
        status, page = await api.call("GET", "/batchInferenceJobs", params=params)
        assert status == 200, page
        return [item["name"][-1] for item in page["batchInferenceJobs"]], page["nextPageToken"], page["totalSize"]

    async def test_the_oldest_comes_first_unless_another_order_is_asked_for(self, api):
        await self.make_jobs(api, 3)

        assert await self.names(api) == (["0", "1", "2"], "", 3)
        assert (await self.names(api, orderBy="create_time desc"))[0] == ["2", "1", "0"]
        assert (await self.names(api, orderBy="name desc"))[0] == ["2", "1", "0"]
        assert (await self.names(api, orderBy="name"))[0] == ["0", "1", "2"]

    async def test_pages_follow_each_other(self, api):
        await self.make_jobs(api)
        first, token, _ = await self.names(api, pageSize="2", orderBy="create_time desc")
        second, rest, _ = await self.names(api, pageSize="2", orderBy="create_time desc", pageToken=token)
        third, end, _ = await self.names(api, pageSize="1000", orderBy="create_time desc", pageToken=rest)

        assert (first, second, third, end) == (["4", "3"], ["2", "1"], ["0"], "")

    async def test_what_cannot_be_asked_for_is_refused(self, api):
        await self.make_jobs(api, 3)
        _, token, _ = await self.names(api, pageSize="2")
        asked = [
            {"pageSize": "many"},
            {"pageToken": "nowhere"},
            {"pageToken": "AAAA"},
            {"pageToken": token, "orderBy": "name"},
            {"orderBy": "colour"},
            {"orderBy": "name up"},
        ]
        found = [await api.call("GET", "/batchInferenceJobs", params=params) for params in asked]

        assert [code_of(answer) for answer in found] == [(400, 3)] * len(asked)

    async def test_datasets_are_listed_with_those_of_answers(self, api):
        await api.run()
        page = await api.get("/datasets")

        assert [item["name"][-5:] for item in page["datasets"]] == ["/in-1", "out-1"]
        assert page["totalSize"] == 2

    async def test_models_are_those_of_the_service(self, api):
        async with Api(api.emulator, account="fireworks") as public:
            models = (await public.get("/models"))["models"]

        assert MODEL in [model["name"] for model in models]
        assert (await api.get("/models"))["models"] == []


class TestAccounts:
    async def test_a_bad_key_is_refused_in_words_of_its_own(self, emulator):
        async with Api(emulator, key="invalid-key") as api:
            status, answer = await api.call("GET", "/batchInferenceJobs")

        assert status == 403
        assert answer["error"].keys() == {"message", "param", "code", "type"}
        assert (answer["error"]["code"], answer["error"]["type"]) == ("UNAUTHORIZED", "error")
        assert answer["request_id"]

    async def test_accounts_do_not_see_each_other(self, api, emulator):
        await api.run()
        for another in ({"key": "other"}, {"account": "other"}):
            async with Api(emulator, **another) as other:
                assert (await other.get("/batchInferenceJobs"))["batchInferenceJobs"] == []
                assert (await other.get("/datasets"))["datasets"] == []
                assert code_of(await other.call("GET", "/batchInferenceJobs/job-1")) == (404, 5)
                assert code_of(await other.call("GET", "/datasets/out-1")) == (404, 5)

    async def test_a_name_that_another_key_has_taken_is_taken(self, api, emulator):
        await api.run()
        async with Api(emulator, key="other") as other:
            assert code_of(await other.make("in-1")) == (409, 6)
            assert code_of(await other.make("out-1")) == (409, 6)
