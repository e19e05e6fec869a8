"""xAI's own SDK goes through the whole life of a batch, and its protocol knows every field of every answer.

The SDK speaks gRPC alone, and the emulator REST: between them stands a door that translates (`xai_door.py`).
"""

import grpc
import httpx2
import pytest
import xai_sdk
from xai_sdk.chat import system, user
from xai_sdk.proto import batch_pb2, batch_pb2_grpc

from asyncbatch.emulator import faults
from tests.conformance.rows import CHAT, encode_rows
from tests.conformance.xai_door import opened

pytestmark = pytest.mark.conformance

MODEL = "grok-4.3"
DAY_S = 86_400
State = batch_pb2.BatchRequestMetadata.State


@pytest.fixture
def door(emulator):
    with opened(emulator.base_url("xai")) as address:
        yield address


@pytest.fixture
def sdk(emulator, door, monkeypatch):
    monkeypatch.setenv("XAI_API_KEY", emulator.env("xai")["XAI_API_KEY"])
    with xai_sdk.Client(api_host=door, use_insecure_channel=True) as client:
        yield client


def chat(sdk, name, prompt="hello", **settings):
    asked = sdk.chat.create(model=MODEL, batch_request_id=name, **settings)
    return asked.append(system("be brief")).append(user(prompt))


def start(sdk, prompts, name="nightly"):
    """Make a batch of chats."""
    batch = sdk.batch.create(batch_name=name)
    sdk.batch.add(batch.batch_id, [chat(sdk, name, prompt) for name, prompt in prompts.items()])
    return batch.batch_id


def counters(batch):
    state = batch.state
    return state.num_requests, state.num_pending, state.num_success, state.num_error, state.num_cancelled


def states(sdk, batch_id):
    told = sdk.batch.list_batch_requests(batch_id).batch_request_metadata
    return {item.batch_request_id: State.Name(item.state) for item in told}


def pages(ask):
    """Walk through pages of two; of some that would never end, through ten."""
    token = None
    for _ in range(10):
        page = ask(limit=2, pagination_token=token)
        token = page.pagination_token
        yield page
        if not token:
            return


def test_a_batch_goes_from_its_requests_to_answers(sdk, emulator):
    empty = sdk.batch.create(batch_name="nightly")
    sdk.batch.add(empty.batch_id, [chat(sdk, "a", max_tokens=64, temperature=0.2)])
    emulator.advance(600)
    done = sdk.batch.get(empty.batch_id)
    (result,) = sdk.batch.list_batch_results(empty.batch_id).results
    response, usage = result.response, result.response.usage

    assert (empty.name, empty.HasField("cost_breakdown"), counters(empty)) == ("nightly", False, (0, 0, 0, 0, 0))
    assert done.expire_time.seconds - done.create_time.seconds == 30 * DAY_S
    assert not done.HasField("cancel_time") and not done.HasField("input_file_id")
    assert (result.batch_request_id, result.is_success, response.content) == ("a", True, "echo: hello")
    assert (response.role, response.finish_reason, response.proto.model) == ("ROLE_ASSISTANT", "REASON_STOP", MODEL)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    assert done.cost_breakdown.total_cost_usd_ticks == usage.cost_in_usd_ticks > 0


def test_counters_and_states_tell_where_a_batch_stands(sdk, emulator):
    batch_id = start(sdk, {"a": "hello", "b": "[[error:400]]", "c": "[[stall]]"})
    added, pending = sdk.batch.get(batch_id), states(sdk, batch_id)
    emulator.advance(600)
    running = sdk.batch.get(batch_id)

    assert (counters(added), counters(running)) == ((3, 3, 0, 0, 0), (3, 1, 1, 1, 0))
    assert set(pending.values()) == {"STATE_PENDING"}
    assert states(sdk, batch_id) == {"a": "STATE_SUCCEEDED", "b": "STATE_FAILED", "c": "STATE_PENDING"}


def test_a_request_that_fails_has_an_error_and_no_answer_and_the_others_have_theirs(sdk, emulator):
    batch_id = start(sdk, {"a": "one", "b": "[[error:429]]", "c": "two"})
    emulator.advance(600)
    page = sdk.batch.list_batch_results(batch_id)
    (bad,) = page.failed

    assert {result.batch_request_id: result.response.content for result in page.succeeded} == {
        "a": "echo: one",
        "c": "echo: two",
    }
    assert (bad.batch_request_id, bad.proto.HasField("response")) == ("b", False)
    assert bad.error_message


def test_an_answer_that_is_cut_and_one_that_took_thought_say_so(sdk, emulator):
    batch_id = sdk.batch.create(batch_name="nightly").batch_id
    sdk.batch.add(batch_id, [chat(sdk, "cut", "many words", max_tokens=1), chat(sdk, "deep", "[[think:7]]")])
    emulator.advance(600)
    found = {result.batch_request_id: result.response for result in sdk.batch.list_batch_results(batch_id).results}
    usage = found["deep"].usage

    assert found["cut"].finish_reason == "REASON_MAX_LEN"
    assert usage.reasoning_tokens == 7
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + usage.reasoning_tokens


def test_a_batch_is_made_of_a_file_and_takes_nothing_more(sdk, emulator):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    file = httpx2.post(
        f"{emulator.base_url('xai')}/files",
        files={"file": ("in.jsonl", encode_rows(CHAT, {"a": body, "b": body}))},
        headers={"Authorization": f"Bearer {emulator.env('xai')['XAI_API_KEY']}"},
    ).json()
    batch = sdk.batch.create(batch_name="nightly", input_file_id=file["id"])
    with pytest.raises(grpc.RpcError) as caught:
        sdk.batch.add(batch.batch_id, [chat(sdk, "c")])
    emulator.advance(600)
    results = sdk.batch.list_batch_results(batch.batch_id).succeeded

    assert (batch.input_file_id, caught.value.code()) == (file["id"], grpc.StatusCode.FAILED_PRECONDITION)
    assert counters(sdk.batch.get(batch.batch_id)) == (2, 0, 2, 0, 0)
    assert {result.batch_request_id: result.response.content for result in results} == {
        "a": "echo: hello",
        "b": "echo: hello",
    }


def test_the_list_is_walked_page_by_page(sdk):
    made = [sdk.batch.create(batch_name=f"n{number}").batch_id for number in range(5)]
    found = [[batch.batch_id for batch in page.batches] for page in pages(sdk.batch.list)]

    assert found == [made[4:2:-1], made[2:0:-1], made[:1]]


def test_results_and_what_is_told_of_requests_are_walked_page_by_page(sdk, emulator):
    batch_id = start(sdk, {f"r{number}": f"prompt {number}" for number in range(5)})
    emulator.advance(600)
    results = list(pages(lambda **page: sdk.batch.list_batch_results(batch_id, **page)))
    told = list(pages(lambda **page: sdk.batch.list_batch_requests(batch_id, **page)))
    answered = {result.batch_request_id: result.response.content for page in results for result in page.results}
    named = [item.batch_request_id for page in told for item in page.batch_request_metadata]

    assert [len(page.results) for page in results] == [len(page.batch_request_metadata) for page in told] == [2, 2, 1]
    assert answered == {f"r{number}": f"echo: prompt {number}" for number in range(5)}
    assert named == [f"r{number}" for number in range(5)]


def test_a_cancel_stops_a_batch_and_names_what_was_not_processed(sdk, emulator):
    batch_id = start(sdk, {"a": "hello", "b": "[[stall]]"})
    emulator.advance(60)
    asked = sdk.batch.cancel(batch_id)
    emulator.advance(60)
    page = sdk.batch.list_batch_results(batch_id)
    (good,), (stopped,) = page.succeeded, page.failed

    assert (asked.cancel_time, counters(asked)) == (asked.create_time, (2, 1, 1, 0, 0))
    assert counters(sdk.batch.get(batch_id)) == (2, 0, 1, 0, 1)
    assert (good.batch_request_id, stopped.batch_request_id) == ("a", "b")
    assert stopped.error_message == "Batch cancelled"
    assert states(sdk, batch_id) == {"a": "STATE_SUCCEEDED", "b": "STATE_CANCELLED"}
    with pytest.raises(grpc.RpcError) as caught:
        sdk.batch.add(batch_id, [chat(sdk, "c")])
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_batch_that_is_not_there_is_not_found_whatever_is_asked(sdk):
    batches = sdk.batch
    for ask in (batches.get, batches.cancel, batches.list_batch_requests, batches.list_batch_results):
        with pytest.raises(grpc.RpcError) as caught:
            ask("batch_none")

        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_requests_that_are_not_fit_and_names_that_are_taken_are_refused(sdk):
    batch_id = start(sdk, {"a": "hello"})
    refused = {}
    for request in (chat(sdk, "a", "another"), sdk.chat.create(model="gpt-4.1", messages=[user("hello")])):
        with pytest.raises(grpc.RpcError) as caught:
            sdk.batch.add(batch_id, [request])
        refused[caught.value.code()] = caught.value.details()

    assert "'a'" in refused[grpc.StatusCode.FAILED_PRECONDITION]
    assert refused[grpc.StatusCode.INVALID_ARGUMENT] == "Model gpt-4.1 is not supported for batch processing."
    assert counters(sdk.batch.get(batch_id)) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.rate_limited(3.0, operation="list"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (faults.refuse(403, operation="list"), grpc.StatusCode.PERMISSION_DENIED),
        (faults.refuse(422, operation="list"), grpc.StatusCode.INVALID_ARGUMENT),
        (faults.refuse(500, operation="list"), grpc.StatusCode.INTERNAL),
    ],
)
def test_a_refusal_is_a_status_of_grpc(sdk, emulator, fault, code):
    emulator.add(fault)
    with pytest.raises(grpc.RpcError) as caught:
        sdk.batch.list()

    assert caught.value.code() is code


def test_a_bad_key_is_an_argument_like_any_other(door):
    """So it was seen in REST, with 400 and these words. One would expect UNAUTHENTICATED; what gRPC says is written nowhere."""
    with (
        xai_sdk.Client(api_key="invalid-key", api_host=door, use_insecure_channel=True) as client,
        pytest.raises(grpc.RpcError) as caught,
    ):
        client.batch.list()

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Incorrect API key provided: in***" in caught.value.details()


def test_whoever_has_no_key_is_not_known(door):
    with grpc.insecure_channel(door) as channel, pytest.raises(grpc.RpcError) as caught:
        batch_pb2_grpc.BatchMgmtStub(channel).ListBatches(batch_pb2.ListBatchesRequest())

    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_field_that_the_protocol_does_not_know_would_be_noticed(sdk, emulator):
    emulator.add(faults.Fault(effect=faults.Rewrite(fields={"status": "done"}), operation="upload"))
    with pytest.raises(grpc.RpcError) as caught:
        sdk.batch.create(batch_name="nightly")

    assert 'no field named "status"' in caught.value.details()
