"""The same thousand requests through every provider: whoever answers, the rows read alike."""

import base64
from dataclasses import dataclass

import msgspec
import pytest
from pydantic import BaseModel

from asyncbatch import BatchClient, BatchMode, InputMode, ResultStatus, load_catalog
from asyncbatch.emulator import Emulator
from asyncbatch.registry import BatchProviderRegistry
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime
from tests.providers.world import MODEL, needed_options

FEWER_WORDS = {"responses.agent", "responses.chat"}
"""Formats that have no word for some of it; what they have words for reads alike."""


def formats_of(name):
    return {item.format for item in load_catalog().provider(name).endpoints if item.mode is BatchMode.CHAT}


KNOWN = [name for name in BatchProviderRegistry().available() if formats_of(name)]
NAMES = [name for name in KNOWN if not formats_of(name) & FEWER_WORDS]
"""Providers that express all of it."""
RESPONSES = {
    "like": "openai",
    "base_url": "https://llm.example/v1",
    "endpoints": [{"path": "/v1/responses", "mode": "CHAT", "format": "responses.chat"}],
}
"""A gateway that only a user's file knows, whose chat is Responses."""
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PAPER = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7").decode()
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}


class Invoice(msgspec.Struct, frozen=True):
    number: str
    total: float
    lines: list[str]


@dataclass(frozen=True)
class Place:
    city: str
    country: str


class Person(BaseModel):
    name: str
    age: int


SHAPES = (Invoice, Place, Person)


def user(text, *parts):
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts] if parts else text}


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


def text_request(n):
    return {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Answer in one sentence."},
            user(f"First question {n}"),
            {"role": "assistant", "content": f"First answer {n}"},
            user(f"Second question {n} é 漢字 [[cached:3]] [[think:5]]" if n % 3 else f"Second question {n}"),
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "max_tokens": 8 if n % 7 == 0 else 500,
    }


def tool_request(n):
    choices = ("required", {"type": "function", "function": {"name": "clock"}}, "auto", "none")
    call = {
        "id": "call_from-another.provider",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Rome","days":1}'},
    }
    return {
        "messages": [
            user(f"How is the weather {n}?"),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_from-another.provider", "content": f"Sunny {n}"},
            user(f"And tomorrow, {n}?"),
        ],
        "tools": [WEATHER, CLOCK],
        "tool_choice": choices[n % 4],
        "max_tokens": 500,
    }


def picture_request(n):
    pictures = [image("https://pictures.example/one.png"), image(PIXEL)]
    paper = {"type": "file", "file": {"filename": "paper.pdf", "file_data": PAPER}}
    return {"messages": [user(f"What is on these {n}?", *pictures, *([paper] if n % 2 else []))], "max_tokens": 500}


def shape_request(n):
    return {
        "messages": [user(f"Fill this in: {n}")],
        "response_format": SHAPES[n % 3],
        "max_tokens": 500,
    }


MAKERS = (text_request, tool_request, picture_request, shape_request)


def requests():
    return [{"custom_id": f"r-{n}", "body": MAKERS[n % 4](n // 4)} for n in range(1000)]


def read(row):
    """Give what a row says, in the words that are the same everywhere."""
    n, kind = divmod(int(row.request_id.removeprefix("r-")), 4)
    calls = [(call.name, call.decode()) for call in row.tool_calls]
    assert all(call.id for call in row.tool_calls)
    decoded = row.decode(SHAPES[n % 3]) if MAKERS[kind] is shape_request else None
    return row.status, row.text, calls, decoded, row.usage


COUNTS_NO_REASONING = {"mistral.chat"}
"""Formats whose usage has no word for it; it is part of the completion all the same."""


def without_reasoning(said):
    status, text, calls, decoded, usage = said
    return status, text, calls, decoded, msgspec.structs.replace(usage, reasoning_tokens=0)


def small_catalog():
    section = {"models": [{"match": "echo-*", "modes": ["CHAT"], "max_tokens": 1000}]}
    return load_catalog({"providers": dict.fromkeys(KNOWN, section) | {"gateway": {**section, **RESPONSES}}})


async def answers_of(name, way, on_unsupported="error"):
    clock = VirtualClock()
    with Emulator(clock=clock.now, models=["echo-*"]) as emulator, needed_options(name):
        dialect = "openai" if name == "gateway" else name
        account = {"api_key": "emulator-key", "base_url": emulator.base_url(dialect)}
        async with BatchClient(
            catalog=small_catalog(), runtime=virtual_runtime(clock), accounts={"here": account}
        ) as client:
            job = await client.submit(
                requests(), model=f"{name}/{MODEL}", account="here", input_mode=way, on_unsupported=on_unsupported
            )
            return {row.request_id: row async for row in job.results()}


async def test_a_thousand_requests_of_every_kind_read_alike_whoever_answers():
    told = {name: await answers_of(name, "auto") for name in NAMES}
    said = {name: {request_id: read(row) for request_id, row in rows.items()} for name, rows in told.items()}
    first, *others = NAMES

    assert set(NAMES) >= {"anthropic", "gemini", "mistral", "openai"}
    assert all(len(rows) == 1000 for rows in said.values())
    assert {status for status, *_ in said[first].values()} == {ResultStatus.SUCCEEDED}
    for name in others:
        ours, theirs = said[first], said[name]
        if load_catalog().provider(name).endpoint_for(BatchMode.CHAT).format in COUNTS_NO_REASONING:
            assert {usage.reasoning_tokens for *_, usage in theirs.values()} == {0}
            ours = {key: without_reasoning(row) for key, row in ours.items()}
        differing = {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}
        assert differing == {}, name


LOST = {
    "responses.agent": {
        tool_request: lambda n: n % 4 < 2,  # which tool, and whether any
        picture_request: lambda n: n % 2 == 1,  # papers
    },
    "responses.chat": {text_request: lambda n: n % 7 == 0},  # so short an answer
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gateway", "responses.chat"),
        *((name, "responses.agent") for name in KNOWN if "responses.agent" in formats_of(name)),
    ],
)
async def test_what_a_format_with_fewer_words_can_say_reads_alike_too(name, kind):
    first, theirs = await answers_of("openai", "auto"), await answers_of(name, "auto", "drop")
    lost = {f"r-{number}" for number in range(1000) if LOST[kind].get(MAKERS[number % 4], lambda _: False)(number // 4)}
    ours, theirs = ({key: read(row) for key, row in rows.items() if key not in lost} for rows in (first, theirs))
    if kind == "responses.agent":  # whose usage has no word for it
        ours = {key: without_reasoning(row) for key, row in ours.items()}

    assert {status for status, *_ in theirs.values()} == {ResultStatus.SUCCEEDED}
    assert {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]} == {}
    assert len(ours) > 600


async def test_what_was_asked_is_among_the_answers():
    rows = await answers_of("openai", "auto")
    said = {request_id: read(row) for request_id, row in rows.items()}

    assert said["r-0"][1] == "echo: Second question 0"[:32]
    assert said["r-4"][4].cache_read_input_tokens == 3
    assert said["r-4"][4].reasoning_tokens == 5
    assert [call for call, *_ in said["r-1"][2]] == ["weather"]
    assert said["r-1"][2][0][1] == {"city": "echo", "days": 1}
    assert [call for call, *_ in said["r-5"][2]] == ["clock"]
    assert said["r-9"][2] == said["r-13"][2] == []
    assert isinstance(said["r-3"][3], Invoice)
    assert isinstance(said["r-7"][3], Place)
    assert isinstance(said["r-11"][3], Person)


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name in NAMES for way in load_catalog().provider(name).inputs[1:] if way is InputMode.INLINE],
)
async def test_requests_that_travel_inline_read_like_those_in_a_file(name, way):
    by_file = {key: read(row) for key, row in (await answers_of(name, "file")).items()}
    inline = {key: read(row) for key, row in (await answers_of(name, way.value)).items()}

    assert by_file == inline
