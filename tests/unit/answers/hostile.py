"""What may come where an answer was expected: bodies of no provider's shape, and JSON made of a provider's words."""

from typing import Any

from hypothesis import strategies as st

DEEP = b"[" * 100_000 + b"]" * 100_000

BODIES = {
    "no JSON": b"<html>",
    "cut": b'{"choices":[{"message":{"content":"hi',
    "no UTF-8": b'{"text":"\xff"}',
    "NaN": b'{"text":NaN}',
    "an endless list": b"[" * 100_000,
    "a deep list": DEEP,
    "a list": b"[]",
    "null": b"null",
    "a text": b'"text"',
    "a number": b"7",
}


def shapes(*words: str) -> st.SearchStrategy[Any]:
    """JSON of any shape in which a provider's words are keys and values, so that much of it looks nearly right."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(words)
    keys = st.sampled_from(words)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=15
    )
