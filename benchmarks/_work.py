"""The work that several benchmarks ask of their contenders: requests to send, clients to send them with, answers to add up."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

from benchmarks._frame import Place

MODEL = "gpt-4.1-mini"
IN_FLIGHT = 64
_WORDS = "Say in one word what this customer feels, and quote the sentence that shows it. "


def texts(size: int) -> list[str]:
    """Give some texts of so many characters, with quotes and line ends as texts have them."""
    long = _WORDS * (size // len(_WORDS) + 1)
    return [f'{number}: "{long}'[: size - 10] + '"\nThe end' for number in range(64)]


def requests(count: int, size: int) -> Iterator[dict[str, Any]]:
    """Give chat requests whose lines have about so many bytes."""
    some = texts(size - 170)
    for number in range(count):
        yield {"messages": [{"role": "user", "content": some[number % 64]}], "max_tokens": 16, "temperature": 0}


def ready_rows(count: int, size: int) -> Iterator[dict[str, Any]]:
    """Give them as those write them who write the file by hand."""
    for number, body in enumerate(requests(count, size)):
        row_id = f"row-{number:07d}"
        yield {"custom_id": row_id, "method": "POST", "url": "/v1/chat/completions", "body": {"model": MODEL, **body}}


@cache
def catalog() -> Any:
    """Give the facts about providers, read once as a program does, without the politeness that would be measured as waiting."""
    from asyncbatch import load_catalog

    return load_catalog({"providers": {"openai": {"polling": {"min_interval_s": 0}}}})


def polling(*, sweeps: bool = True, **words: Any) -> Any:
    """Give a policy without a budget, which would be measured as waiting; words that a version does not know are left out."""
    from asyncbatch import Polling

    more = {"requests_per_s": math.inf, "sweeps": sweeps}
    return Polling(**words, **{name: value for name, value in more.items() if name in Polling.__struct_fields__})


def our_provider(place: Place, *, key: str = "bench", **http: Any) -> Any:
    """Give our provider of OpenAI, which asks as often as it is told to."""
    from asyncbatch.providers.openai_provider import OpenAIBatchProvider
    from asyncbatch.transport import Http

    return OpenAIBatchProvider(
        config={"api_key": key, "base_url": f"{place.url}/v1"},
        catalog=catalog(),
        http=Http(limit_per_account=IN_FLIGHT, limit_per_host=IN_FLIGHT, **http),
    )


def openai_client(place: Place, **more: Any) -> Any:
    from openai import AsyncOpenAI

    return AsyncOpenAI(api_key="bench", base_url=f"{place.url}/v1", **more)


def raw_session(place: Place, *, key: str = "bench") -> Any:
    """Give a session as close to the limit as aiohttp gets: no cookies, one host, no resolver."""
    import aiohttp

    return aiohttp.ClientSession(
        base_url=place.url,
        headers={"Authorization": f"Bearer {key}"},
        connector=aiohttp.TCPConnector(limit=IN_FLIGHT),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    )
