"""What a process asked of the system, as strace saw it: the calls that change files, make them lasting, or send something.

A call has a place in the order of all calls at which it began and one at which it had ended: what one thread was told of before
it went on had ended before. Needs Linux and strace; `can_trace` says whether the system has them and lets us look.
"""

import functools
import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from asyncbatch.emulator import Emulator
from tests.journal.journals import PLAIN, ROOT

_CALLS = (
    "openat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "link", "linkat",
    "write", "writev", "pwrite64", "pwritev", "truncate", "ftruncate", "fallocate", "copy_file_range", "sendfile",
    "fsync", "fdatasync", "sync_file_range", "sendto", "sendmsg", "mmap",
)  # fmt: skip
_LONGEST_BYTES = 1_000_000
_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(<[^>]*>)?")
_HEX = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_FILE = re.compile(r"(-?\w+)<((?:\\x[0-9a-f]{2})*)>")


class Call(msgspec.Struct, frozen=True):
    """A call that succeeded.

    Attributes:
        name: Of the system call.
        began: Its place in the order of everything.
        ended: The place at which its result was there.
        paths: The files that it named or had open, by their names at that time, in the order of its arguments.
        data: What it wrote or sent.
        numbers: Its other arguments, as far as they are numbers.
        words: Its flags.
        result: What it gave.
    """

    name: str
    began: int
    ended: int
    paths: tuple[str, ...]
    data: bytes
    numbers: tuple[int, ...]
    words: str
    result: int


@functools.cache
def can_trace() -> bool:
    """Say whether strace is there and may look at a process of ours."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0
    )


def traced(command: Sequence[str], log: Path) -> list[str]:
    """Give the command that runs another one and writes down what it asks of the system."""
    what = ["-e", f"trace={','.join(f'?{name}' for name in _CALLS)}"]
    return ["strace", "-f", "-qq", "-y", "-xx", "-s", str(_LONGEST_BYTES), *what, "-o", str(log), *command]


def read_calls(log: Path) -> list[Call]:
    """Read what was written down, in the order in which the calls began."""
    return sorted(_calls(log), key=lambda call: call.began)


def _calls(log: Path) -> Iterator[Call]:
    begun: dict[str, tuple[int, str]] = {}
    for place, line in enumerate(log.read_text(encoding="ascii").splitlines()):
        thread, text = _LINE.fullmatch(line).groups()
        began = place
        if text.endswith(" <unfinished ...>"):
            begun[thread] = place, text.removesuffix(" <unfinished ...>")
            continue
        if resumed := _RESUMED.fullmatch(text):
            began, first = begun.pop(thread)
            text = first + resumed[1]
        found = _CALL.match(text)
        if found and int(found[3]) >= 0:
            yield _call(found, began, place)
    # What was under way when its thread was killed has begun, and nobody knows more.


def _call(found: "re.Match[str]", began: int, ended: int) -> Call:
    name, arguments, result = found[1], found[2], int(found[3])
    texts, was_cut = [_bytes(text) for text, _ in _HEX.findall(arguments)], [cut for _, cut in _HEX.findall(arguments)]
    assert not any(was_cut), f"a call of {name} was too long to be written down"
    files = [_bytes(path).decode() for _, path in _FILE.findall(arguments)]
    is_write = name.startswith(("write", "pwrite", "send"))
    paths = files if is_write else _paths(name, files, texts)
    rest = _FILE.sub("", _HEX.sub("", arguments))
    numbers = tuple(int(number) for number in re.findall(r"(?<![\w.])-?\d+(?![\w.])", rest))
    return Call(name, began, ended, tuple(paths), b"".join(texts) if is_write else b"", numbers, rest, result)


def _paths(name: str, files: list[str], texts: list[bytes]) -> list[str]:
    """Give the names that a call is about; those relative to an open directory are made whole."""
    if not texts:
        return files
    names = [text.decode() for text in texts]
    bases = files if len(files) == len(names) else [files[0] if files else "/"] * len(names)
    return [str(Path(base) / path) for base, path in zip(bases, names, strict=True)]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


# --- a run that is traced ----------------------------------------------------------------------------------------

PROMPTS = ["hello 0", "hello 1", "hello 2"]
AT_ONCE = {"validating_s": 0, "row_s": 0, "finalizing_s": 0}
ACCEPTED, OVER = b"accepted", b"over"
MODELS = {"openai": "openai/gpt-4.1-mini", "anthropic": "anthropic/claude-sonnet-4-5"}
CREATES = {"openai": b"POST /openai/v1/batches ", "anthropic": b"POST /anthropic/v1/messages/batches "}

_RUN = """
    import asyncio, json, os, sys
    import anyio
    from asyncbatch import BatchClient
    from asyncbatch.planning.schedule import Polling
    from asyncbatch.runtime import Runtime

    what = json.loads(sys.argv[1])
    exec(what["bug"])

    async def briefly(seconds):
        await anyio.sleep(min(seconds, 0.05))

    async def main():
        polling = Polling(first_s=0.02, factor=1.0, max_s=0.05, jitter=0.0)
        async with BatchClient(journal=what["state"], polling=polling, runtime=Runtime(sleep=briefly)) as client:
            job = await client.submit(what["prompts"], model=what["model"], key="nightly", cleanup=what["cleanup"])
            os.write(1, b"accepted")
            await job.wait()
            os.write(1, b"over")

    asyncio.run(main())
"""


class Run(msgspec.Struct, frozen=True):
    """A run that was traced to its end.

    Attributes:
        calls: All that it asked of the system, in order.
        state: Its state directory, as the run left it.
        provider: Whom it asked.
    """

    calls: list[Call]
    state: Path
    provider: str

    def first(self, name: str, data: bytes = b"") -> Call:
        """Give the first call of this kind that begins with these bytes."""
        return next(call for call in self.calls if call.name.startswith(name) and call.data.startswith(data))


def traced_run(
    emulator: Emulator, home: Path, provider: str = "openai", *, cleanup: str = "never", bug: str = ""
) -> Run:
    """Let another process submit a job and wait for it, and write down what it asks of the system.

    `bug` is code that it runs first.
    """
    what: dict[str, Any] = {"state": str(home / "state"), "model": MODELS[provider], "cleanup": cleanup, "bug": bug}
    program = [sys.executable, "-c", textwrap.dedent(_RUN), json.dumps({**what, "prompts": PROMPTS})]
    environment = {**PLAIN, **emulator.env(provider), "TMPDIR": str(home)}
    done = subprocess.run(
        traced(program, home / "trace"),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.encode() == ACCEPTED + OVER
    return Run(read_calls(home / "trace"), home / "state", provider)
