"""What requests become in Mistral's words is what its official SDK knows as requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistralai.client.models import ChatCompletionRequest, EmbeddingRequest, FIMCompletionRequest

from tests.unit.codec.formats.test_mistral import ASK, MODEL, PDF, PNG, Verdict, made

pytestmark = pytest.mark.conformance

TYPES = {"fim": FIMCompletionRequest, "embedding": EmbeddingRequest}

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)
PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.builds(
        lambda detail: {"type": "image_url", "image_url": {"url": PNG, **detail}},
        st.sampled_from([{}, {"detail": "low"}]),
    ),
    st.sampled_from(
        [
            {"type": "file", "file": {"file_data": PDF, "filename": "n"}},
            {"type": "file", "file": {"file_id": "f"}},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}},
        ]
    ),
)
CONTENT = st.one_of(TEXTS, st.lists(PARTS, min_size=1, max_size=3))
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TURNS = st.one_of(
    st.builds(lambda content: {"role": "user", "content": content}, CONTENT),
    st.builds(lambda text: {"role": "system", "content": text}, TEXTS),
    st.builds(
        lambda text, calls: {"role": "assistant", "content": text, **calls},
        TEXTS,
        st.sampled_from([{}, {"tool_calls": [CALL]}]),
    ),
    st.builds(lambda text: {"role": "tool", "content": text, "tool_call_id": "c"}, TEXTS),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 99),
        "temperature": st.floats(0, 1.5),
        "seed": st.integers(0, 99),
        "stop": st.lists(TEXTS, min_size=1, max_size=2),
        "n": st.integers(2, 3),
        "tools": st.just([{"type": "function", "function": {"name": "f", "strict": True}}]),
        "tool_choice": st.sampled_from(["auto", "required", {"type": "function", "function": {"name": "f"}}]),
        "response_format": st.sampled_from([Verdict, {"type": "json_object"}]),
        "reasoning_effort": st.sampled_from(["none", "high"]),
        "prediction": st.just({"type": "content", "content": "x"}),
        "service_tier": st.sampled_from(["auto", "default"]),
    },
)


@given(st.lists(TURNS, max_size=4), FIELDS)
def test_every_chat_that_goes_out_is_one_that_the_official_sdk_knows(turns, fields):
    body = made({"messages": [*turns, *ASK], **fields})

    sent = ChatCompletionRequest.model_validate({"model": MODEL, **body}).model_dump(mode="json", by_alias=True)
    assert body.keys() <= sent.keys()
    for field in body.keys() - {"messages", "tools"}:
        assert sent[field] == body[field]
    assert [message["role"] for message in sent["messages"]] == [message["role"] for message in body["messages"]]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("fim", {"prompt": "a", "suffix": "b", "seed": 1, "stop": "c", "max_tokens": 2, "temperature": 0.5}),
        ("embedding", {"input": ["a"], "dimensions": 3, "encoding_format": "float"}),
    ],
)
def test_what_goes_out_is_a_request_that_the_official_sdk_knows(kind, body):
    sent = made(body, kind=kind)

    known = TYPES[kind].model_validate({"model": MODEL, **sent}).model_dump(mode="json", by_alias=True)
    assert {field: known[field] for field in sent} == sent
