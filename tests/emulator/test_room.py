"""What an account may have unfinished at the emulator: one batch more is refused in each service's own words, or fails."""

from uuid import uuid4

import pytest

from asyncbatch import BatchMode, ProviderTransientError, batch_provider_registry
from asyncbatch.emulator import Emulator
from tests.emulator.clients import every_way
from tests.emulator.wire import chat_row, encode_lines

CODES = {
    "openai": "rate_limit_exceeded",
    "anthropic": "rate_limit_error",
    "gemini": "RESOURCE_EXHAUSTED",
    "mistral": "1300",
}


PACE = {"validating_s": 0}
"""A file of Gemini's is processed for part of that time, and on this clock no time passes by itself."""


async def create(provider, way, prompts):
    (submission,) = await provider.prepare_payloads(
        batch_id=uuid4(),
        model=way.model.partition("/")[2],
        mode=BatchMode.CHAT,
        requests=prompts,
        input_mode=way.mode,
        wire_ids="minted",
    )
    return await provider.create((await provider.upload(submission)).replace(tag=f"tag-{uuid4().hex}"))


@pytest.mark.parametrize(
    ("limits", "first", "second"),
    [
        ({"open_batches": 1}, ["a"], ["b"]),
        ({"open_rows": 3}, ["a", "b"], ["c", "d"]),
    ],
    ids=["batches", "rows"],
)
@every_way
async def test_one_more_than_there_is_room_for_is_refused_until_another_is_over(
    time, monkeypatch, way, limits, first, second
):
    with Emulator(clock=time, limits=limits, pace=PACE) as emulator:
        for name, value in emulator.env(way.dialect).items():
            monkeypatch.setenv(name, value)
        async with batch_provider_registry.open() as scope:
            provider = scope.create(way.dialect)
            await create(provider, way, first)
            with pytest.raises(ProviderTransientError) as caught:
                await create(provider, way, second)
            other = scope.create(way.dialect, {"api_key": "of-somebody-else"})
            await create(other, way, second)
            emulator.advance(3600)
            await create(provider, way, second)

    assert (caught.value.status, caught.value.code) == (429, CODES[way.dialect])
    assert sum(record.kind == "create" for record in emulator.history) == 3


@every_way
async def test_too_many_tokens_are_refused_and_at_openais_the_batch_fails(time, monkeypatch, way):
    with Emulator(clock=time, limits={"enqueued_tokens": 100}, pace=PACE) as emulator:
        for name, value in emulator.env(way.dialect).items():
            monkeypatch.setenv(name, value)
        async with batch_provider_registry.open() as scope:
            provider = scope.create(way.dialect)
            if way.dialect == "openai":
                result = await create(provider, way, ["x" * 400])
                emulator.advance(3600)
                status = await provider.poll_status(result.provider_batch_id)
                codes = [error.code for error in status.errors]
            else:
                with pytest.raises(ProviderTransientError) as caught:
                    await create(provider, way, ["x" * 400])
                codes = [caught.value.code]

    assert codes == ["token_limit_exceeded" if way.dialect == "openai" else CODES[way.dialect]]
    assert not any(record.is_paid for record in emulator.history)


@pytest.mark.parametrize("options", [{"limits": {"enqueued_tokens": 200}}])
async def test_a_batch_that_was_turned_away_takes_no_room_from_others(api, emulator):
    files = [await api.upload(encode_lines([chat_row(name, "x" * 400)])) for name in ("a", "b")]
    made = [await api.create(file["id"]) for file in files]
    small = await api.create((await api.upload(encode_lines([chat_row("d", "hi")])))["id"])
    emulator.advance(3600)
    states = [(await api.batch(batch["id"]))["status"] for batch in (*made, small)]

    assert states == ["completed", "failed", "completed"]
