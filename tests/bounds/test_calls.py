"""How many calls of Python a row costs: what a slice of usual rows is asked at once must not become a question to each again.

Counted by the interpreter, so that the numbers are the same on any machine, whatever else it does.
"""

import sys
from collections.abc import Callable
from typing import Any, Self
from uuid import UUID

import msgspec
import pytest

from asyncbatch.base_provider import ProviderContext
from asyncbatch.catalog import load_catalog
from asyncbatch.dto import PreparedSubmission, ProviderResultRow
from asyncbatch.engine.ledger import Ledger
from asyncbatch.engine.places import all_places_of
from asyncbatch.enums import BatchMode
from asyncbatch.providers._shapes.openai_lines import decode_lines
from asyncbatch.providers.openai_provider import OpenAIBatchProvider
from asyncbatch.spool import SpoolSpace
from asyncbatch.testing.runtime import virtual_runtime
from asyncbatch.transport import Sessions

ROWS = 2_000
BODY = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
ANSWER = (
    b'{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
)
LINE = b'{"custom_id":"5c0ffee5-%07d","response":{"status_code":200,"request_id":"req_1","body":%b},"error":null}'


class Calls:
    """Counts the functions of Python that are called, or gone on with, inside its block."""

    def __init__(self) -> None:
        self.count = 0

    def _hear(self, _: Any, event: str, __: Any) -> None:
        self.count += event == "call"

    def __enter__(self) -> Self:
        sys.setprofile(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def calls_of(work: Callable[[], object]) -> float:
    """Give the calls for each of the rows."""
    with Calls() as calls:
        work()
    return calls.count / ROWS


async def in_place(func: Any, /, *args: Any) -> Any:
    return func(*args)


@pytest.mark.parametrize(
    ("requests", "most"),
    [
        ([BODY] * ROWS, 1),  # most of it is the clock, which is looked at for every eighth
        (["hello"] * ROWS, 2),  # a body is made of each
        ([{"custom_id": f"id-{n}", "body": BODY} for n in range(ROWS)], 4),  # an id of the user's own is looked up
    ],
    ids=["bodies", "prompts", "ready rows"],
)
async def test_preparing_usual_rows_asks_slices_and_not_rows(requests, most):
    runtime = msgspec.structs.replace(virtual_runtime(), offload=in_place)
    context = ProviderContext(
        sessions=Sessions(), runtime=runtime, space=SpoolSpace(runtime), catalog=load_catalog(), retry=None
    )  # fmt: skip
    provider = OpenAIBatchProvider(config={"api_key": "k"}).attach(context)
    words = {"batch_id": UUID(int=1), "model": "gpt-4.1-mini", "mode": BatchMode.CHAT, "wire_ids": "minted"}
    await provider.prepare_payloads(requests=requests[:10], **words)  # imports, facts

    with Calls() as calls:
        await provider.prepare_payloads(requests=requests, **words)

    assert calls.count / ROWS <= most


def test_an_answer_is_read_in_a_few_calls():
    lines = [LINE % (number, ANSWER) for number in range(ROWS)]
    facts = load_catalog().provider("openai")
    decode_lines(lines[:1], format="openai.chat", facts=facts)

    assert calls_of(lambda: decode_lines(lines, format="openai.chat", facts=facts)) <= 6


def answered() -> tuple[list[ProviderResultRow], Ledger, PreparedSubmission]:
    lines = [LINE % (number, ANSWER) for number in range(ROWS)]
    rows = decode_lines(lines, format="openai.chat", facts=load_catalog().provider("openai"))
    whole = PreparedSubmission(
        batch_id=UUID(int=1), provider_name="openai", model="m", mode=BatchMode.CHAT, endpoint="/v1/chat/completions",
        wire_prefix="5c0ffee5-", request_count=ROWS,
    )  # fmt: skip
    return rows, Ledger(ROWS, SpoolSpace(virtual_runtime()).new()), whole


def test_answers_are_entered_without_a_call_for_each():
    rows, ledger, whole = answered()
    ids = [f"{number:07d}" for number in range(ROWS)]
    places = all_places_of(whole, ids, None)

    assert calls_of(lambda: ledger.add(rows, places, ids)) <= 0.1


def test_a_row_is_read_back_in_two_calls():
    rows, ledger, whole = answered()
    ids = [f"{number:07d}" for number in range(ROWS)]
    ledger.add(rows, all_places_of(whole, ids, None), ids)

    assert calls_of(lambda: ledger.read(0)) <= 2.1
