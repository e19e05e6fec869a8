"""Answers in the shape of Responses from others than OpenAI. Shapes: the types of perplexityai 0.46.1; values are made up."""

import pytest

from asyncbatch import answers
from asyncbatch.answers import ToolCall, UsageInfo, openai, responses
from tests.unit.answers.hostile import BODIES

SEARCHED = (
    b'{"id":"resp_1","object":"response","created_at":1795300400,"model":"perplexity/sonar","status":"completed","error":null,'
    b'"output":[{"type":"search_results","queries":["sea"],"results":[{"id":1,"url":"https://sea.example","title":"Sea"}]},'
    b'{"type":"sandbox_read_file","call_id":"c0","file_path":"a.txt","content":"three lines"},'
    b'{"type":"function_call","id":"fc_1","call_id":"call_1","name":"look","arguments":"{}","status":"completed"},'
    b'{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":['
    b'{"type":"output_text","text":"Three ","annotations":[]},{"type":"output_text","text":"waves."}]}],'
    b'"usage":{"input_tokens":75,"output_tokens":12,"total_tokens":87,"input_tokens_details":'
    b'{"cache_creation_input_tokens":2,"cache_read_input_tokens":5},"cost":{"currency":"USD","input_cost":0.1,'
    b'"output_cost":0.2,"total_cost":0.3}}}'
)
USED = UsageInfo(
    prompt_tokens=75,
    completion_tokens=12,
    total_tokens=87,
    cache_creation_input_tokens=2,
    cache_read_input_tokens=5,
)


@pytest.mark.parametrize("name", ["responses.chat", "responses.agent"])
def test_what_was_searched_and_read_is_no_text_and_hides_none(name):
    assert answers.text(name, SEARCHED) == "Three waves."
    assert answers.tool_calls(name, SEARCHED) == (ToolCall(id="call_1", name="look", arguments="{}"),)
    assert answers.usage(name, SEARCHED) == USED
    assert answers.usages(name, [SEARCHED, b"{}"]) == [USED, None]


def test_it_is_read_as_openais_own():
    assert responses.text("agent", SEARCHED) == openai.text("responses", SEARCHED)
    assert (responses.embedding("agent", SEARCHED), responses.embeddings("agent", SEARCHED)) == (None, [])


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_of_another_shape_has_nothing_and_is_no_error(body):
    for read in (responses.text, responses.tool_calls, responses.usage, responses.embedding, responses.embeddings):
        assert not read("agent", body)
