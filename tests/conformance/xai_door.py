"""A gRPC door to xAI's batches: the official SDK comes in, and what it asks goes on to the emulator as REST has it.

Behind both stands one service. Fields go through under their names, and answers are parsed strictly: each that the emulator
sends is one that the official protocol knows, and of its type. Translated is where REST is known to have it otherwise, and
nothing else; of what a batch may hold, that is chat, in texts.
"""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import httpx2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict, ParseDict
from xai_sdk.proto import batch_pb2, batch_pb2_grpc

MIDNIGHT = "T00:00:00Z"
FINISHES = {"stop": "REASON_STOP", "length": "REASON_MAX_LEN"}
CODES = {
    "Client specified an invalid argument": grpc.StatusCode.INVALID_ARGUMENT,
    "Some requested entity was not found": grpc.StatusCode.NOT_FOUND,
    "The caller does not have permission to execute the specified operation": grpc.StatusCode.PERMISSION_DENIED,
    "Some resource has been exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "The system is not in a state required for the operation's execution": grpc.StatusCode.FAILED_PRECONDITION,
    "Internal error": grpc.StatusCode.INTERNAL,
    "The service is currently unavailable": grpc.StatusCode.UNAVAILABLE,
    "The request does not have valid authentication credentials": grpc.StatusCode.UNAUTHENTICATED,
}
"""The `code` of an error in REST is how tonic, a gRPC library, describes a status (hyperium/tonic:tonic/src/status.rs)."""


@contextmanager
def opened(base_url):
    """Open the door to a dialect's address, and give its own; both sides of it are closed in the end."""
    with httpx2.Client(base_url=base_url) as rest, ThreadPoolExecutor(max_workers=1) as threads:
        server = grpc.server(threads)
        batch_pb2_grpc.add_BatchMgmtServicer_to_server(Door(rest), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(grace=None).wait()


class Door(batch_pb2_grpc.BatchMgmtServicer):
    def __init__(self, rest):
        self.rest = rest

    def CreateBatch(self, request, context):
        answer = self.ask(context, "POST", "/batches", json=fields_of(request))
        return parsed(decode_batch(answer), batch_pb2.Batch())

    def GetBatch(self, request, context):
        return parsed(decode_batch(self.ask(context, "GET", f"/batches/{request.batch_id}")), batch_pb2.Batch())

    def CancelBatch(self, request, context):
        return parsed(decode_batch(self.ask(context, "POST", f"/batches/{request.batch_id}:cancel")), batch_pb2.Batch())

    def ListBatches(self, request, context):
        answer = self.ask(context, "GET", "/batches", params=fields_of(request))
        batches = [decode_batch(batch) for batch in answer["batches"]]
        return parsed({**answer, "batches": batches}, batch_pb2.ListBatchesResponse())

    def AddBatchRequests(self, request, context):
        added = [encode_request(item) for item in fields_of(request)["batch_requests"]]
        path = f"/batches/{request.batch_id}/requests"
        return parsed(self.ask(context, "POST", path, json={"batch_requests": added}), Empty())

    def ListBatchRequestMetadata(self, request, context):
        answer = self.ask(context, "GET", f"/batches/{request.batch_id}/requests", params=page_of(request))
        told = [decode_metadata(item) for item in answer["batch_request_metadata"]]
        return parsed({**answer, "batch_request_metadata": told}, batch_pb2.ListBatchRequestMetadataResponse())

    def ListBatchResults(self, request, context):
        answer = self.ask(context, "GET", f"/batches/{request.batch_id}/results", params=page_of(request))
        results = [decode_result(item) for item in answer["results"]]
        return parsed({**answer, "results": results}, batch_pb2.ListBatchResultsResponse())

    def ask(self, context, method, path, **more):
        """Ask as the caller, and end the call as gRPC does where REST refuses."""
        headers = {name: value for name, value in context.invocation_metadata() if name == "authorization"}
        response = self.rest.request(method, path, headers=headers, **more)
        answer = response.json()
        if not response.is_success:
            context.abort(CODES[answer["code"]], answer["error"])
        return answer


def fields_of(message):
    return MessageToDict(message, preserving_proto_field_name=True)


def page_of(request):
    """The batch is named by the path."""
    return without(fields_of(request), "batch_id")


def parsed(fields, message):
    return ParseDict(fields, message, ignore_unknown_fields=False)


def without(fields, *names):
    return {name: value for name, value in fields.items() if name not in names}


# Requests


def encode_request(item):
    """REST puts what is asked one level deeper, under a word that names what it calls."""
    asked = item["completion_request"]
    messages = [encode_message(message) for message in asked["messages"]]
    wrapped = {"chat_get_completion": {**asked, "messages": messages}}
    return {**without(item, "completion_request"), "batch_request": wrapped}


def encode_message(message):
    """REST has OpenAI's messages: roles are plain words, and a part says what it is."""
    role = message["role"].removeprefix("ROLE_").lower()
    return {**message, "role": role, "content": [{"type": "text", **part} for part in message["content"]]}


# Answers


def decode_batch(batch):
    """REST tells the days of a batch, where gRPC tells moments. Whatever is no bare date is no moment with this behind it."""
    days = {name: batch[name] and batch[name] + MIDNIGHT for name in ("create_time", "expire_time", "cancel_time")}
    return {**batch, **days}


def decode_metadata(item):
    """The states have plain words in REST."""
    return {**item, "state": f"STATE_{item['state'].upper()}"}


def decode_result(item):
    """REST puts the outcome one level deeper."""
    return {**without(item, "batch_result"), **decode_outcome(item["batch_result"])}


def decode_outcome(outcome):
    """An error is a plain text in REST, which says nothing of its status. An answer stands under the word of its request."""
    if "error" in outcome:
        unknown, _ = grpc.StatusCode.UNKNOWN.value
        return {**outcome, "error": {"code": unknown, "message": outcome["error"]}}
    response = outcome["response"]
    completion = decode_completion(response["chat_get_completion"])
    return {
        **outcome,
        "response": {**without(response, "chat_get_completion"), "completion_response": completion},
    }


def decode_completion(body):
    """REST has OpenAI's answers: a time in seconds, choices for outputs, plain words for what gRPC has enums for."""
    assert body["object"] == "chat.completion"
    return {
        **without(body, "object", "choices"),
        "created": dt.datetime.fromtimestamp(body["created"], dt.UTC).isoformat(),
        "outputs": [decode_choice(choice) for choice in body["choices"]],
        "usage": decode_usage(body["usage"]),
        "service_tier": f"SERVICE_TIER_{body['service_tier'].upper()}",
    }


def decode_choice(choice):
    """A refusal has a field of its own in REST alone."""
    said = without(choice["message"], "refusal")
    message = {**said, "role": f"ROLE_{said['role'].upper()}"}
    return {**choice, "message": message, "finish_reason": FINISHES[choice["finish_reason"]]}


def decode_usage(usage):
    """Details stand beside the sums in gRPC, which does not count sounds."""
    asked, said = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    assert set(asked) | set(said) == {"cached_tokens", "reasoning_tokens", "audio_tokens"}
    return {
        **without(usage, "prompt_tokens_details", "completion_tokens_details"),
        "cached_prompt_text_tokens": asked["cached_tokens"],
        "reasoning_tokens": said["reasoning_tokens"],
    }
