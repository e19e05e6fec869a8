"""What every test stands on: loopback only, none of the developer's own keys, and an aioresponses that works.

Warnings are errors (`pyproject.toml`): a connection left open or a coroutine never awaited fails the test that did it.
"""

import asyncio
import faulthandler
import gc
import inspect
import ipaddress
import os
import signal
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

SERVICES = (
    *(
        "ASYNCBATCH_",
        "OPENAI_",
        "ANTHROPIC_",
        "GEMINI_",
        "GOOGLE_",
        "MISTRAL_",
        "GROQ_",
        "DASHSCOPE_",
        "ZAI_",
        "ZHIPUAI_",
    ),
    "AZURE_OPENAI_",
    *("MOONSHOT_", "DOUBLEWORD_", "NEBIUS_", "PARASAIL_", "SILICONFLOW_", "DEEPINFRA_", "NOVITA_", "TOGETHER_"),
    *("XAI_", "FIREWORKS_", "OPENROUTER_", "PERPLEXITY_"),
)

# A test must not find the developer's keys, endpoints, proxies or certificates; what it needs it sets. The authorities of the
# world, which nobody asks on loopback, would be read for each client: forty milliseconds, ten thousand times.
for name in list(os.environ):
    if name.upper().endswith(("_API_KEY", "_PROXY")) or name.startswith((*SERVICES, "SSL_CERT_")):
        del os.environ[name]


if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in the background of a shell; what tests start would be deaf as well
    signal.signal(signal.SIGINT, signal.default_int_handler)

IN_TIME = 0.8
"""Of a test's timeout, after which a coroutine is cancelled: the rest is for leaving what it has entered."""

HEAVY = {
    *("architecture", "docs", "typing"),  # look at the source tree
    *(
        "cli",
        "integrations",
        "transport/test_tls.py",
        "webhooks/test_tokens.py",
        "fuzz/test_tokens.py",
    ),  # need what is only offered
    *("fuzz/test_calls.py", "fuzz/test_emulator.py"),  # go through sockets; decoders differ with Python, and stay
    *("cancel", "conformance", "emulator", "journal", "kill", "providers", "simulation", "soak"),  # take long
}
"""What is not in the fast tier, `-m "not heavy"`, which runs on several Pythons and on the wheel alone (tests/tiers.py)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here)
        if not HEAVY.isdisjoint((place.parts[0], place.as_posix())):
            item.add_marker("heavy")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let a coroutine end in time, and grant those with a timeout of their own more of it than others.

    The plugin's signal strikes wherever the loop just is: in some other task, which takes it for its own failure, and the test
    waits on for ever.
    """
    marker = item.get_closest_marker("timeout")
    if marker is not None:
        faulthandler.cancel_dump_traceback_later()
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        timeout_s = float(marker.args[0] if marker is not None else item.config.getini("timeout"))
        item.obj = _in_time(item.obj, timeout_s * IN_TIME)


def _in_time(test: Any, limit_s: float) -> Any:
    """Cancel a test that waits for too long, from inside of its loop: it fails where it waits, and leaves what it entered."""

    async def limited(**given: Any) -> None:
        task, is_late = asyncio.current_task(), []

        def end() -> None:
            is_late.append(task.cancel() if task is not None else False)

        handle = asyncio.get_running_loop().call_later(limit_s, end)
        try:
            await test(**given)
        except asyncio.CancelledError as error:
            if not is_late:
                raise
            raise TimeoutError(f"not done after {limit_s:.0f} s") from error
        finally:
            handle.cancel()

    return limited


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


def pytest_collection_finish() -> None:
    """Set what was collected apart: a hundred objects for each test, which no collection of garbage need look at again."""
    gc.collect()
    gc.freeze()
