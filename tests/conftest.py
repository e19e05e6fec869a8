"""What every test stands on: loopback only, none of the developer's own keys, and an aioresponses that works.

Warnings are errors (`pyproject.toml`): a connection left open or a coroutine never awaited fails the test that did it.
"""

import inspect
import ipaddress
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import aioresponses.core
import pytest
from hypothesis import HealthCheck, settings

# A property says what is true of values, not how soon: the first draw of a text in a fresh checkout builds Unicode's tables,
# which takes longer than hypothesis grants on a machine that is busy.
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")

SERVICES = ("ASYNCBATCH_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "MISTRAL_")

# A test must not find the developer's keys, endpoints or proxies; what it needs it sets.
for name in list(os.environ):
    if name.upper().endswith(("_API_KEY", "_PROXY")) or name.startswith(SERVICES):
        del os.environ[name]


HEAVY = {
    *("architecture", "docs", "typing"),  # look at the source tree
    *("cli", "integrations", "transport/test_tls.py", "webhooks/test_tokens.py"),  # need what the package only offers
    *("cancel", "conformance", "emulator", "journal", "kill", "providers", "simulation"),  # take long
}
"""What is not in the fast tier, `-m "not heavy"`, which runs on several Pythons and on the wheel alone (tests/tiers.py)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here)
        if not HEAVY.isdisjoint((place.parts[0], place.as_posix())):
            item.add_marker("heavy")


def _stay_on_loopback(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple) and not _is_loopback(str(args[1][0])):
        raise RuntimeError(f"a test tried to connect to {args[1][0]}; tests talk to the emulator on loopback")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")


sys.addaudithook(_stay_on_loopback)


# aioresponses 0.7.9 builds responses as aiohttp before 3.14 wanted them (pnuckowski/aioresponses#289). Delete this when
# a release does not need it. It is good for small answers to control calls; everything else is tested on the emulator.
if "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters:

    class _Response(aiohttp.ClientResponse):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{"stream_writer": SimpleNamespace(output_size=0)} | kwargs)

    aioresponses.core.ClientResponse = _Response
