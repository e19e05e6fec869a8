"""What must not be seen or carried away: texts and mappings that show nothing, and objects that stay in their process.

A `repr` is what logs, tracebacks with local variables and debuggers print; a pickle ends in queues and files. `codec/errors.py`
takes secrets out of what others wrote.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Self, SupportsIndex, cast


def mask(secret: str) -> str:
    """Show a secret as its owner can recognise it and nobody can use it: `sk-…9f2c`. Short ones not at all."""
    return f"{secret[:3]}…{secret[-4:]}" if len(secret) >= 16 else "…"


def refuse_to_leave(thing: object, hint: str) -> NoReturn:
    """Say why something is not pickled."""
    raise TypeError(f"{type(thing).__name__} cannot be pickled or copied: {hint}")


class Secret(str):
    """A text that tracebacks which print local variables do not show, and that is in no pickle."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return refuse_to_leave(self, "it may be a key") if self else (str, ())


class Hidden(dict[str, Any]):
    """A mapping that may hold secrets: tracebacks that print local variables show that it is there, and no more."""

    def __repr__(self) -> str:
        return f"<{len(self)} hidden values>"

    def __copy__(self) -> Self:
        return type(self)(self)

    def __deepcopy__(self, memo: object) -> Self:
        return type(self)(self)  # what is in it are texts, or mappings that nobody changes

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return refuse_to_leave(self, "there may be keys in it") if self else (type(self), ())


class Veil(Mapping[str, Any]):
    """A view of a mapping that shows nothing of it, and follows its changes, such as the environment's."""

    __slots__ = ("_behind",)

    def __init__(self, behind: Mapping[str, Any]) -> None:
        self._behind = behind

    def __getitem__(self, key: str) -> Any:
        return self._behind[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._behind)

    def __len__(self) -> int:
        return len(self._behind)

    def __repr__(self) -> str:
        return "<a view of hidden values>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_to_leave(self, "there may be keys behind it")


def hide(config: Any) -> Any:
    """Give the same text or mapping, of which tracebacks that print local variables show nothing."""
    if isinstance(config, Mapping):
        return Hidden(cast("Mapping[str, Any]", config))
    return Secret(config) if isinstance(config, str) else config


class Unseen(bytes):
    """What a server said, of which tracebacks that print local variables show the size: it may quote the key it refuses."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    __str__ = __repr__  # that of bytes shows them, too


class OfThisProcess:
    """What lives in one process and may know keys: to pickle or copy it is refused in clear words.

    Attributes:
        ELSEWHERE: What to do instead.
    """

    __slots__ = ()

    ELSEWHERE = "it lives in its process, and may know keys; make another one where it is needed"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_to_leave(self, self.ELSEWHERE)
