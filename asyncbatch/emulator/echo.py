"""The echo model: deterministic text, arguments, vectors and token counts, and the markers that ask for trouble."""

import array
import base64
import hashlib
import math
import re
import sys
from typing import NamedTuple

ECHO_CHARS = 1000  # longer prompts are echoed up to here, so that 50,000 long ones do not make a file of 200 MB

_MARKER = re.compile(rb"\[\[([a-z_]+)(?::([A-Za-z0-9_.-]+))?\]\]")


class Marker(NamedTuple):
    """A `[[name]]` or `[[name:value]]` in a prompt."""

    name: str
    value: str


def find_markers(line: bytes) -> list[Marker]:
    """Find the markers in a row, as it lies in the file; names that nobody knows are the reader's business."""
    if b"[[" not in line:
        return []
    return [Marker(name.decode(), value.decode()) for name, value in _MARKER.findall(line)]


def echo_text(prompt: str) -> str:
    return f"echo: {prompt[:ECHO_CHARS]}"


def count_tokens(text: str) -> int:
    """Estimate: a quarter of the bytes, and at least one."""
    return max(1, (len(text.encode("utf-8", "surrogatepass")) + 3) // 4)


def cut_to_tokens(text: str, most: int | None) -> tuple[str, bool]:
    """Cut the text to this many tokens, and say whether anything was lost."""
    if most is None or count_tokens(text) <= most:
        return text, False
    return text.encode()[: most * 4].decode("utf-8", "ignore"), True


def make_vector(text: str, dimensions: int) -> list[float]:
    """Give the unit vector of a text: the same text, the same vector."""
    noise = array.array("h", hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dimensions))
    if sys.byteorder == "big":
        noise.byteswap()
    length = math.sqrt(sum(value * value for value in noise)) or 1.0
    return [value / length for value in noise]


def encode_vector(vector: list[float]) -> str:
    """Give the vector as base64 of little-endian 32-bit floats."""
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
