"""The times that a batch can be given, by each service's sheet: what it takes goes, and lasts so long; all else stays here."""

import pytest

from asyncbatch import ConfigError
from asyncbatch.catalog import load_catalog
from tests.providers.world import facts_of, world

HOUR_S = 3600
TAKEN = {
    "azure": {"24h": 24},
    "dashscope": {"24h": 24, "336h": 336, "14d": 336},
    "deepinfra": {"24h": 24},
    "doubleword": {"1h": 1, "24h": 24},
    "groq": {"24h": 24, "36h": 36, "7d": 168, "168h": 168},
    "moonshot": {"12h": 12, "1d": 24, "3d": 72, "7d": 168},
    "nebius": {"24h": 24},
    "openai": {"24h": 24},
    "openrouter": {"24h": 24},
    "parasail": {"24h": 24},
    "perplexity": {"24h": 24},
    "siliconflow": {"24h": 24, "336h": 336},
}
REFUSED = {
    "azure": ("1h", "48h", "1d"),
    "dashscope": ("23h", "337h", "15d", "1.5d", "20160m"),
    "deepinfra": ("48h", "1d"),
    "doubleword": ("30m", "25h", "7d", "12h", "1d"),
    "groq": ("23h", "169h", "8d", "1w", "24", 86_400),
    "moonshot": ("11h", "169h", "8d"),
    "nebius": ("1h", "25h", "48h", "7d", "1d", "24", 86_400),
    "openai": ("1h", "48h", "1d", "soon", 86_400),
    "openrouter": ("1h", "48h", "1d", "soon", 86_400),
    "parasail": ("1h", "1d"),
    "perplexity": ("1h", "25h", "1d", 86_400),
    "siliconflow": ("23h", "337h", "15d", "2d", "week"),
}
BOUNDS = {
    "dashscope": "it can be 24h to 336h, in hours or days",
    "doubleword": "it can be 1h or 24h",
    "groq": "it can be 24h to 168h, in hours or days",
    "moonshot": "it can be 12h to 168h, in hours or days",
    "siliconflow": "it can be 24h to 336h",
}


def cases(table):
    return [pytest.param(name, window, id=f"{name}-{window}") for name, windows in table.items() for window in windows]


def test_every_provider_of_which_windows_are_known_is_asked_here():
    catalog = load_catalog()

    assert {name for name in catalog.names() if catalog.provider(name).windows} == set(TAKEN) == set(REFUSED)


@pytest.mark.parametrize(("name", "window"), cases(TAKEN))
async def test_a_window_that_the_service_takes_is_how_long_its_batch_may_take(name, window):
    async with world(name) as here:
        batch = await here.start(["a"], options={"completion_window": window})
        status = await here.provider.poll_status(batch.provider_batch_id)

    if name == "parasail":  # which does not say when a batch expires
        assert status.expires_at is None
    else:
        assert status.expires_at - status.created_at == TAKEN[name][window] * HOUR_S
    assert here.provider.window_of({"completion_window": window}) == TAKEN[name][window] * HOUR_S


@pytest.mark.parametrize(("name", "window"), cases(REFUSED))
async def test_a_window_that_the_service_would_refuse_is_refused_before_anything_is_sent(name, window):
    async with world(name) as here:
        with pytest.raises(ConfigError, match="completion_window is") as caught:
            await here.prepare(["a"], options={"completion_window": window})
        history = here.emulator.history

    assert (caught.value.code, caught.value.hint) == ("config.value", BOUNDS.get(name, "it can be 24h"))
    assert history == []


@pytest.mark.parametrize(("name", "hours"), [("groq", 168), ("openai", 24), ("novita", 48), ("anthropic", 24)])
def test_the_most_that_a_batch_may_take_is_its_longest_window(name, hours):
    assert facts_of(name).longest_s == hours * HOUR_S
