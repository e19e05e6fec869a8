"""One module for each family of body formats: what a request must hold, and how OpenAI's shape becomes the family's own.

A catalog's endpoint names its format, such as `anthropic.messages`: the family before the first dot is a module here, which has
the functions of `Format`. A new provider with known formats needs nothing here.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias, cast

import msgspec

from asyncbatch.codec.chat import Unsupported
from asyncbatch.codec.requests import RowFault, shown
from asyncbatch.enums import BatchMode
from asyncbatch.exceptions import ConfigError


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a request beside its body.

    Attributes:
        kind: What follows the dot in the format: `messages`, `chat`.
        mode: CUSTOM takes the body as it is; every other mode reads OpenAI's shape.
        model: The job's model, which each request is for.
        max_tokens: The longest answer that the catalog knows of, for formats that demand a length.
        refuses: What the catalog says that this model refuses.
        unsupported: Hears what cannot be expressed.
    """

    kind: str
    mode: BatchMode
    model: str
    max_tokens: int | None = None
    refuses: tuple[str, ...] = ()
    unsupported: Unsupported


class Format(Protocol):
    """What a module of this package does with one request's body, or raises `RowFault` that says why it cannot."""

    def encode_body(self, body: dict[str, Any], wish: Wish) -> dict[str, Any]:
        """Give the provider's own body; the dict that came in may be changed at its top level."""
        ...

    def count_inputs(self, body: dict[str, Any], kind: str) -> int:
        """Say how many texts an encoded embedding request asks for; 1 for everything else."""
        ...


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """Bodies of many requests, as they are sent.

    Attributes:
        bodies: They, with texts for keys.
        values: Everything in them that is not known to be JSON, and may be no value of it.
    """

    bodies: Sequence[dict[str, Any]]
    values: Sequence[Any]


Usual: TypeAlias = Callable[[Sequence[dict[str, Any]], Wish], Filled | None]
"""Gives the bodies of many requests, none of which `encode_body` would refuse or translate; None where one may be another."""


@cache
def format_of(name: str) -> Format:
    """Give the module that makes bodies of this format.

    Raises:
        ConfigError: There is none.
    """
    family = name.partition(".")[0]
    module = f"{__name__}.{family}"
    if not family.isidentifier() or family.startswith("_") or find_spec(module) is None:
        message = f"no body format is called {name!r}"
        raise ConfigError(message, code="format.unknown", hint="an endpoint of the catalog names one that there is")
    return cast("Format", import_module(module))


def usual_of(name: str) -> Usual | None:
    """Give what makes many bodies of this format at once, where most need no translation; None where each is translated."""
    return cast("Usual | None", getattr(format_of(name), "encode_usual", None))


def fill_model(body: dict[str, Any], model: str) -> None:
    """Put the job's model into a body that names none; a body for another one is refused."""
    refuse_other_model(body.setdefault("model", model), (model,))


def refuse_other_model(named: Any, allowed: tuple[Any, ...]) -> None:
    """Refuse a request for another model than the job's, which comes first of those that may be named."""
    if named not in allowed:
        advice = "take the model out of the request, or send it to the job's with replace_model=True"
        raise RowFault("mixed_models", f"its model is {shown(named)}, but this job is for {allowed[0]!r}: {advice}")


def refuse_stream(body: dict[str, Any]) -> None:
    """Refuse what no batch can give."""
    if body.get("stream"):
        raise RowFault("streaming", "it asks for stream, which no batch can give: remove it")
