"""Three gigabytes of requests through the whole way: run by hand, `python -m benchmarks._three_gigabytes`; prints the memory.

750,000 requests of 4 KB become 16 batches; the answers of 1.5 KB each are decoded and counted. It takes some minutes, and
8 GB of disk for the time being.
"""

import asyncio
import json
import tempfile

from benchmarks._frame import Case, Place, Server, cores
from benchmarks._measure import measure
from benchmarks.end_to_end import ours

_ROWS, _BYTES = 750_000, 4000


def main():
    server = Server(cores()[1])
    try:
        with tempfile.TemporaryDirectory() as directory:
            case = Case(name="3 GB", count=_ROWS, size=_BYTES)
            place = Place(url=server.url, case=case, directory=directory, nonce="1")
            asyncio.run(ours(Place(url=server.url, case=case.scaled(0.001), directory=directory, nonce="0")))
            figures, returned = asyncio.run(measure(lambda: ours(place)))
    finally:
        server.end()
    print(json.dumps({**figures, "answers": returned[0], "cpu_us_per_row": figures["cpu_s"] / _ROWS * 1e6}, indent=1))


if __name__ == "__main__":
    main()
