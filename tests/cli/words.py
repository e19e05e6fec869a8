"""What the tests of the command line share: a finished command, and how its traces are read."""

import json

MODEL = "openai/gpt-4.1-mini"
QUICK = "providers: {openai: {polling: {min_interval_s: 0}}}\n"
ONE_EACH = QUICK.replace("{openai: {", "{openai: {limits: {requests: 1}, ")


class Done:
    """What a command left behind."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self):
        return [json.loads(line) for line in self.out.split("\n") if line]

    @property
    def document(self):
        return json.loads(self.out)


def rows_in(path):
    """Read a file of outcomes."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def sent(emulator):
    """Name what reached the emulator beside harmless questions."""
    return [record.kind for record in emulator.history if record.kind in ("upload", "create")]


def read_until(stream, words):
    """Read lines until one holds these words; gives all that was read."""
    read = b""
    for line in iter(stream.readline, b""):
        read += line
        if words in line:
            return read
    raise AssertionError(f"{words!r} never came: {read.decode()}")
