"""YAML text to values that know their file and line: YAML 1.2 scalars, no duplicate keys, no aliases, no tags.

PyYAML speaks YAML 1.1 and keeps the last of two equal keys in silence. So only its scanner is used (libyaml's, where it
was built in): the tree is built here from parse events, without recursion, and each plain scalar is read by the core
schema of YAML 1.2. Keys are always text. A pure function: nothing is opened, and no text makes it raise.

Source: https://yaml.org/spec/1.2.2/#103-core-schema
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import yaml

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | dict[str, Node] | list[Node]"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Deeper than any file a person writes, shallow enough for every walk over the tree to be a plain recursion.
MAX_DEPTH = 32
# Python refuses to read longer decimal numbers; a shorter bound of our own gives the error a line.
_MAX_DIGITS = 100

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})
_NO_TAG = frozenset({None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


class Place(NamedTuple):
    """Where a value was written; line 0 where there are no lines (a mapping given in code)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Mistake(NamedTuple):
    """One thing that is wrong in a file."""

    place: Place
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place), self.path, self.message) if part)


class Node(NamedTuple):
    """A value and its place. The line of an entry is its key's. Its repr shows no value: some are keys."""

    value: Value
    place: Place

    def __repr__(self) -> str:
        return f"<Node {self.place}>"


class _Frame(NamedTuple):
    """A mapping or a list that is still open. `key` holds the key that waits for its value."""

    node: Node
    path: str
    key: list[tuple[str, int]]


class _Stop(Exception):  # noqa: N818 not an error: the mistake is already noted
    """Reading on would only add noise."""


def read_scalar(text: str) -> Scalar:
    """Read a plain scalar by the core schema. A number too long to be meant stays text."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_DIGITS:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def parse(text: str, *, file: str) -> tuple[Node, list[Mistake]]:
    """Read one document.

    Returns:
        The tree, and what is wrong with the text. Of a text that breaks off there is no tree, lest its half be judged.
    """
    text = text.removeprefix("\ufeff")
    builder = _Builder(file)
    bad = _UNPRINTABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        builder.note(line, "", f"the character U+{ord(bad.group()):04X} may not stand in YAML")
        return builder.root, builder.mistakes
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
        return builder.root, builder.mistakes
    except _Stop:
        pass
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: PyYAML's own scanner, on "\UFFFFFFFF"
        mark = getattr(error, "problem_mark", None)
        builder.note(mark.line + 1 if mark else 0, "", f"not YAML: {getattr(error, 'problem', None) or error}")
    return Node(None, Place(file, 1)), builder.mistakes


class _Builder:
    """Takes parse events, one after the other, and grows the tree from them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root = Node(None, Place(file, 1))
        self.mistakes: list[Mistake] = []
        self.stack: list[_Frame] = []
        self.documents = 0

    def note(self, line: int, path: str, message: str) -> None:
        self.mistakes.append(Mistake(Place(self.file, line), path, message))

    def take(self, event: yaml.Event) -> None:
        step = _STEPS.get(type(event))
        if step:
            mark: Any = event.start_mark
            step(self, event, mark.line + 1)

    def begin(self, _: Any, line: int) -> None:
        self.documents += 1
        if self.documents > 1:
            self.note(line, "", "a second document begins here; one file holds one")
            raise _Stop

    def scalar(self, event: Any, line: int) -> None:
        if any("\ud800" <= letter <= "\udfff" for letter in event.value):  # PyYAML's own scanner lets "\ud800" through
            self.note(line, self.path(), "half of a surrogate pair is not text")
            raise _Stop
        frame = self.stack[-1] if self.stack else None
        if frame and isinstance(frame.node.value, dict) and not frame.key:
            self.open_key(frame, event.value, line)
            return
        value: Value = event.value
        if event.tag is None and event.implicit[0]:
            value = read_scalar(event.value)
        elif event.tag is not None and event.tag not in _TEXT_TAGS:
            self.note(line, self.path(), f"the tag {event.tag!r} is not read here; write the value without it")
        self.add(value, line)

    def open_key(self, frame: _Frame, key: str, line: int) -> None:
        assert isinstance(frame.node.value, dict)
        first = frame.node.value.get(key)
        if first is not None:
            self.note(line, join(frame.path, key), f"this key stands already on line {first.place.line}")
        frame.key.append((key, line))

    def alias(self, event: Any, line: int) -> None:  # noqa: ARG002 every event is handled alike
        self.note(line, self.path(), "an alias is not read here; write the value again")
        self.add(None, line)

    def container(self, event: Any, line: int) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self.note(line, self.path(), f"nested deeper than {MAX_DEPTH} levels")
            raise _Stop
        path = self.path()
        if event.tag not in _NO_TAG:
            self.note(line, path, f"the tag {event.tag!r} is not read here; write the value without it")
        node = self.add({} if isinstance(event, yaml.MappingStartEvent) else [], line)
        self.stack.append(_Frame(node, path, []))

    def close(self, _: Any, __: int) -> None:
        self.stack.pop()

    def path(self) -> str:
        """Name the place where the next value goes."""
        if not self.stack:
            return ""
        frame = self.stack[-1]
        if isinstance(frame.node.value, list):
            return f"{frame.path}[{len(frame.node.value)}]"
        return join(frame.path, frame.key[-1][0]) if frame.key else frame.path

    def add(self, value: Value, line: int) -> Node:
        if not self.stack:
            self.root = Node(value, Place(self.file, line))
            return self.root
        frame = self.stack[-1]
        if isinstance(frame.node.value, list):
            node = Node(value, Place(self.file, line))
            frame.node.value.append(node)
            return node
        assert isinstance(frame.node.value, dict)
        if not frame.key:
            self.note(line, frame.path, "a key must be text")
            raise _Stop
        key, key_line = frame.key.pop()
        node = Node(value, Place(self.file, key_line))
        frame.node.value.setdefault(key, node)
        return node


_STEPS: Mapping[type[yaml.Event], Callable[[_Builder, Any, int], None]] = {
    yaml.DocumentStartEvent: _Builder.begin,
    yaml.ScalarEvent: _Builder.scalar,
    yaml.AliasEvent: _Builder.alias,
    yaml.MappingStartEvent: _Builder.container,
    yaml.SequenceStartEvent: _Builder.container,
    yaml.MappingEndEvent: _Builder.close,
    yaml.SequenceEndEvent: _Builder.close,
}


def from_python(value: object, *, file: str) -> tuple[Node, list[Mistake]]:
    """Give a mapping that was built in code the same form as a file, without lines."""
    mistakes: list[Mistake] = []
    try:
        return _from_python(value, Place(file), "", mistakes, 0), mistakes
    except _Stop:  # a mapping that contains itself ends here too
        return Node(None, Place(file)), mistakes


def _from_python(value: object, place: Place, path: str, mistakes: list[Mistake], depth: int) -> Node:
    if depth > MAX_DEPTH:
        mistakes.append(Mistake(place, path, f"nested deeper than {MAX_DEPTH} levels"))
        raise _Stop
    if isinstance(value, Mapping):
        entries = {str(key): item for key, item in cast("Mapping[object, object]", value).items()}
        children = {k: _from_python(v, place, join(path, k), mistakes, depth + 1) for k, v in entries.items()}
        return Node(children, place)
    if isinstance(value, list | tuple):
        rows = enumerate(cast("Sequence[object]", value))
        return Node([_from_python(v, place, f"{path}[{i}]", mistakes, depth + 1) for i, v in rows], place)
    if value is None or isinstance(value, str | int | float | bool):
        return Node(value, place)
    found = type(value).__name__
    mistakes.append(Mistake(place, path, f"expected text, a number, a mapping or a list, got {found}"))
    return Node(None, place)


def join(path: str, key: str) -> str:
    """Name an entry of the mapping at `path`."""
    return f"{path}.{key}" if path else key


def leaves(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Walk over every scalar below a node, in the order of the file."""
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from leaves(child, join(path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from leaves(child, f"{path}[{index}]")
    else:
        yield path, node


def merge(base: Node, over: Node) -> Node:
    """Lay one tree over another: mappings by key, everything else replaced. An empty section changes nothing."""
    if over.value is None and isinstance(base.value, dict | list):
        return base
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    both = dict(base.value)
    for key, node in over.value.items():
        both[key] = merge(both[key], node) if key in both else node
    return Node(both, over.place)
