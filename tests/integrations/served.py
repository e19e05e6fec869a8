"""An example application of the docs as its server runs it, in a world whose batches last seconds instead of hours.

`SERVED_EXAMPLE` names it, `SERVED_SPEED` is how fast its clock goes, `SERVED_POLL_S` how often it asks about a batch,
`SERVED_BUDGET` how many requests an account may send in a day, where it has a limit.
`python -m tests.integrations.served NUMBER` serves the one of aiohttp, which has a server of its own.
"""

import importlib
import os
import socket
import sys
import time
from functools import partial

import anyio
from aiohttp import web

import asyncbatch.client
from asyncbatch.planning.recovery import Recovery
from asyncbatch.planning.schedule import Polling
from asyncbatch.runtime import Runtime


def runtime(speed):
    """Give one whose every real second counts for so many: what is waited for between two questions is over in a moment."""
    real, start = Runtime(), time.time()
    return Runtime(
        now=lambda: start + (real.now() - start) * speed,
        sleep=lambda seconds: anyio.sleep(seconds / speed),
    )


def example():
    """Import an example as it stands; only the defaults of the client that it opens are others."""
    asyncbatch.client.Runtime = partial(runtime, float(os.environ["SERVED_SPEED"]))
    poll_s = float(os.environ["SERVED_POLL_S"])
    asyncbatch.client.Polling = partial(Polling, first_s=poll_s, factor=1.0, max_s=2 * poll_s, jitter=0.0)
    asyncbatch.client.Recovery = partial(Recovery, window_s=25.0, reads=2, gap_s=2.5, watch_s=25.0)
    if "SERVED_BUDGET" in os.environ:
        limits = asyncbatch.AccountLimits(requests_per_day=int(os.environ["SERVED_BUDGET"]))
        asyncbatch.client.BatchClient.__init__.__kwdefaults__["limits"] = limits
    sys.path.insert(0, os.environ["SERVED_FROM"])
    return importlib.import_module(os.environ["SERVED_EXAMPLE"])


def run_aiohttp(number):
    web.run_app(example().make_app(), sock=socket.socket(fileno=number), print=None)


if __name__ == "__main__":
    run_aiohttp(int(sys.argv[1]))
else:
    app = example().app
