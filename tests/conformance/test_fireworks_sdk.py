"""Fireworks' own SDK goes through the whole life of a batch, and knows every answer and every error."""

import json

import fireworks
import httpx
import pytest
from fireworks.types import BatchInferenceJob, Dataset
from openai.types.chat import ChatCompletion

from asyncbatch.emulator import faults
from tests.conformance.rows import chat

pytestmark = pytest.mark.conformance

UNKNOWN = {"expireTime", "lifecycle"}
"""Fields that were seen on the wire, and that the SDK does not have."""
MODEL = "accounts/fireworks/models/llama-v3p1-8b-instruct"


@pytest.fixture
def sdk(emulator, monkeypatch):
    """The SDK as anybody would make it: from the environment."""
    for name, value in emulator.env("fireworks").items():
        monkeypatch.setenv(name, value)
    with fireworks.Fireworks(max_retries=0) as client:
        yield client


def strict(value):
    """Validate what the SDK merely copied, and see that it knows every field: it builds its models without looking."""
    kind = type(value)
    known = {field.alias or name for name, field in kind.model_fields.items()}
    assert set(value.model_dump(by_alias=True)) - known <= UNKNOWN
    return kind.model_validate_json(value.model_dump_json(by_alias=True), strict=True)


def encoded(rows):
    return "".join(json.dumps({"custom_id": name, "body": body}) + "\n" for name, body in rows.items()).encode()


def upload(sdk, emulator, rows, name="in-1"):
    made = sdk.datasets.create(dataset_id=name, dataset={"user_uploaded": {}, "example_count": str(len(rows))})
    assert isinstance(strict(made), Dataset)
    data = encoded(rows)
    uploaded = sdk.datasets.upload(name, file=("in.jsonl", data))
    emulator.advance(5)
    assert (uploaded.id, uploaded.bytes, uploaded.object) == (name, len(data), "file")
    return strict(sdk.datasets.get(name))


def create(sdk, emulator, rows, name="job-1", **more):
    dataset = upload(sdk, emulator, rows, f"in-{name}")
    return sdk.batch_inference_jobs.create(
        batch_inference_job_id=name,
        model=MODEL,
        input_dataset_id=dataset.name,
        output_dataset_id=f"accounts/acme/datasets/out-{name}",
        **more,
    )


def answers(sdk, name="out-job-1"):
    """Give the rows of each file, fetched as whoever has their addresses does."""
    urls = sdk.datasets.get_download_endpoint(name).filename_to_signed_urls
    return {file.rpartition("/")[2]: httpx.get(url).text.splitlines() for file, url in urls.items()}


def test_a_batch_goes_from_upload_to_answers(sdk, emulator):
    parameters = {"max_tokens": 64, "temperature": 0.2, "extra_body": '{"stop":["END"]}'}
    rows = {"a": chat("hello"), "b": chat("[[error:400]]")}
    job = create(sdk, emulator, rows, display_name="nightly", inference_parameters=parameters)
    assert isinstance(strict(job), BatchInferenceJob)
    assert (job.state, job.display_name, job.status.code) == ("JOB_STATE_VALIDATING", "nightly", "OK")
    assert job.inference_parameters.extra_body == '{"stop":["END"]}'

    emulator.advance(600)
    done = strict(sdk.batch_inference_jobs.get("job-1"))
    found = answers(sdk)
    (good,), (bad,) = [list(map(json.loads, found[name])) for name in ("BIJOutputSet.jsonl", "error-data")]

    assert (done.state, done.job_progress.total_processed_requests) == ("JOB_STATE_COMPLETED", 2)
    assert (done.job_progress.successfully_processed_requests, done.job_progress.failed_requests) == (1, 1)
    assert ChatCompletion.model_validate(good["response"]).choices[0].message.content == "echo: hello"
    assert (bad["custom_id"], bad["error"]["code"]) == ("b", 400)
    assert strict(sdk.datasets.get("out-job-1")).source_job_name == done.name


def test_the_list_is_walked_page_by_page(sdk, emulator):
    for number in range(5):
        create(sdk, emulator, {"a": chat("hello")}, f"job-{number}")
    newest = [strict(job).name[-1] for job in sdk.batch_inference_jobs.list(page_size=2, order_by="create_time desc")]
    oldest = [job.name[-1] for job in sdk.batch_inference_jobs.list(page_size=2)]
    datasets = [strict(dataset).name.rpartition("/")[2] for dataset in sdk.datasets.list(page_size=2)]

    assert newest == ["4", "3", "2", "1", "0"]
    assert oldest == newest[::-1]
    assert [name for name in datasets if name.startswith("in-")] == [f"in-job-{number}" for number in range(5)]


def test_a_large_file_goes_to_a_signed_address(sdk, emulator):
    sdk.datasets.create(dataset_id="in-1", dataset={"user_uploaded": {}, "example_count": "1"})
    data = encoded({"a": chat("hello")})
    urls = sdk.datasets.get_upload_endpoint("in-1", filename_to_size={"in.jsonl": str(len(data))})
    headers = {"Content-Type": "application/octet-stream", "X-Goog-Content-Length-Range": f"{len(data)},{len(data)}"}
    put = httpx.put(urls.filename_to_signed_urls["in.jsonl"], content=data, headers=headers)
    sdk.datasets.validate_upload("in-1", body={})
    emulator.advance(5)

    assert put.status_code == 200
    assert strict(sdk.datasets.get("in-1")).state == "READY"


def test_a_batch_is_deleted_and_gone(sdk, emulator):
    create(sdk, emulator, {"a": chat("[[stall]]")})
    emulator.advance(60)
    sdk.batch_inference_jobs.delete("job-1")
    seen = strict(sdk.batch_inference_jobs.get("job-1")).state
    emulator.advance(60)

    assert seen == "JOB_STATE_DELETING"
    with pytest.raises(fireworks.NotFoundError):
        sdk.batch_inference_jobs.get("job-1")


def test_one_bad_row_fails_the_batch_and_a_dataset_can_be_deleted(sdk, emulator):
    create(sdk, emulator, {"a": {"messages": [{"role": "narrator", "content": "x"}]}})
    emulator.advance(600)
    failed = strict(sdk.batch_inference_jobs.get("job-1"))
    sdk.datasets.delete("in-job-1")

    assert (failed.state, failed.status.code, failed.job_progress) == ("JOB_STATE_FAILED", "INVALID_ARGUMENT", None)
    for name in ("in-job-1", "out-job-1"):
        with pytest.raises(fireworks.NotFoundError):
            sdk.datasets.get_download_endpoint(name)


def test_a_name_that_is_taken_is_a_conflict_and_says_so(sdk, emulator):
    create(sdk, emulator, {"a": chat("hello")})
    with pytest.raises(fireworks.ConflictError) as caught:
        sdk.batch_inference_jobs.create(
            batch_inference_job_id="job-1", model=MODEL, input_dataset_id="accounts/acme/datasets/in-job-1"
        )

    assert caught.value.body["code"] == 6


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (faults.rate_limited(3.0, operation="create"), fireworks.RateLimitError, 8),
        (faults.refuse(500, operation="create"), fireworks.InternalServerError, 13),
        (faults.refuse(503, operation="create"), fireworks.InternalServerError, 14),
        (faults.refuse(403, operation="create"), fireworks.PermissionDeniedError, 7),
    ],
)
def test_a_refusal_is_the_sdks_own_error(sdk, emulator, fault, error, code):
    emulator.add(fault)
    with pytest.raises(error) as caught:
        create(sdk, emulator, {"a": chat("hello")})

    assert (caught.value.body["code"], caught.value.body["details"]) == (code, [])


def test_a_bad_key_is_refused(emulator):
    url = emulator.env("fireworks")["FIREWORKS_BASE_URL"]
    with (
        fireworks.Fireworks(api_key="invalid-key", account_id="acme", base_url=url, max_retries=0) as client,
        pytest.raises(fireworks.PermissionDeniedError) as caught,
    ):
        client.batch_inference_jobs.list()

    assert caught.value.body["error"]["code"] == "UNAUTHORIZED"


def test_the_models_are_listed(sdk):
    names = [model.name for model in sdk.models.list(account_id="fireworks", page_size=2)]

    assert MODEL in names
    assert len(names) == 3
