"""Formats find their family; a family nobody knows has no opinion."""

import msgspec
import pytest

from asyncbatch import answers
from asyncbatch.answers import ToolCall, UsageInfo

CHAT = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'
VECTORS = b'{"data":[{"index":0,"embedding":[0.5]}]}'


def test_a_format_is_read_by_its_family():
    assert answers.text("openai.chat", CHAT) == "hi"
    assert answers.tool_calls("openai.chat", CHAT) == ()
    assert answers.embedding("openai.embedding", VECTORS) == [0.5]
    assert answers.embeddings("openai.embedding", VECTORS) == [[0.5]]
    assert answers.usage("openai.chat", CHAT) == UsageInfo(prompt_tokens=1, completion_tokens=2, total_tokens=3)


@pytest.mark.parametrize(
    ("format_", "body"),
    [
        ("nobody.chat", CHAT),
        ("", CHAT),
        (".", CHAT),
        ("../openai.chat", CHAT),
        ("__init__.chat", CHAT),
        ("os.path", CHAT),
        ("openai.chat", b""),
        ("openai.embedding", b""),
    ],
)
def test_an_unknown_family_or_an_absent_body_has_no_text_no_calls_no_vectors_and_no_usage(format_, body):
    assert answers.text(format_, body) is None
    assert answers.tool_calls(format_, body) == ()
    assert answers.embedding(format_, body) is None
    assert answers.embeddings(format_, body) == []
    assert answers.usage(format_, body) is None


def test_usage_adds_up_field_by_field():
    one = UsageInfo(prompt_tokens=1, total_tokens=2, cache_read_input_tokens=3)
    other = UsageInfo(prompt_tokens=10, reasoning_tokens=4, cache_creation_input_tokens=5, completion_tokens=6)

    assert one + other == UsageInfo(
        prompt_tokens=11,
        completion_tokens=6,
        total_tokens=2,
        cache_creation_input_tokens=5,
        cache_read_input_tokens=3,
        reasoning_tokens=4,
    )


def test_a_tool_calls_arguments_are_decoded_on_demand():
    class Where(msgspec.Struct):
        city: str

    call = ToolCall(id="c1", name="weather", arguments='{"city":"Oslo"}')

    assert call.decode() == {"city": "Oslo"}
    assert call.decode(Where) == Where("Oslo")


@pytest.mark.parametrize("arguments", ["", "{broken", "[1]", '"text"'])
def test_broken_arguments_are_an_error_only_when_they_are_decoded(arguments):
    call = ToolCall(id="c1", name="weather", arguments=arguments)

    with pytest.raises(msgspec.DecodeError):
        call.decode()


USAGES = {
    "openai.chat": b'{"usage":{"prompt_tokens":%b,"completion_tokens":1}}',
    "mistral.chat": b'{"usage":{"prompt_tokens":1,"completion_tokens":%b}}',
    "anthropic.messages": b'{"usage":{"input_tokens":1,"output_tokens":%b}}',
    "gemini.generate": b'{"usageMetadata":{"promptTokenCount":%b}}',
}


@pytest.mark.parametrize("format_", USAGES)
@pytest.mark.parametrize("number", [b"9" * 400, b"18446744073709551616", b"-1", b"1e30"])
def test_a_number_of_tokens_that_can_be_none_is_no_usage(format_, number):
    """What no ledger can hold once stopped the reading of every other row of the batch."""
    assert answers.usage(format_, USAGES[format_] % b"7") is not None
    assert answers.usage(format_, USAGES[format_] % number) is None


def test_the_most_tokens_of_an_answer_add_up_over_millions_of_them():
    most = answers.usage("openai.chat", USAGES["openai.chat"] % str(2**40).encode())

    msgspec.msgpack.encode(UsageInfo(prompt_tokens=most.prompt_tokens * 2**20, total_tokens=most.total_tokens))
