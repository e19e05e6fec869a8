"""A visitor of a web server: asks for one page two hundred times a second, and tells how long it waited.

It asks when it is time, whether or not the last answer has come, so that a server that stops for a second is blamed for all
whom that second keeps waiting.
"""

import asyncio
import json
import os
import sys
import time

EVERY_S = 0.005


async def _ask(port, due, waits):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await reader.read()
    waits.append((time.perf_counter() - due) * 1000)
    writer.close()


async def main(port):
    """Visit until the input is closed; each line on it begins a new count, and ends the last."""
    loop, waits, tasks = asyncio.get_running_loop(), [], set()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    asked = asyncio.ensure_future(lines.readline())
    due = time.perf_counter()
    while True:
        due += EVERY_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.ensure_future(_ask(port, due, waits))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if asked.done():
            await asyncio.gather(*tasks)
            waits.sort()
            told = {
                "p50": waits[len(waits) // 2],
                "p99": waits[len(waits) * 99 // 100],
                "max": waits[-1],
                "n": len(waits),
            }
            print(json.dumps(told), flush=True)
            if not asked.result():
                return
            waits.clear()
            due = time.perf_counter()
            asked = asyncio.ensure_future(lines.readline())


if __name__ == "__main__":
    if len(sys.argv) > 2:
        os.sched_setaffinity(0, {int(sys.argv[2])})
    asyncio.run(main(int(sys.argv[1])))
