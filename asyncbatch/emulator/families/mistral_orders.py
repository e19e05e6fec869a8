"""What `POST /v1/batch/jobs` takes, and what the lists may be asked for.

Source: the fact sheet of Mistral's batch jobs, "Create, get" and "Cancel, list, delete".
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from multidict import MultiMapping

from asyncbatch.emulator.families.mistral_fields import (
    Check,
    FieldError,
    Loc,
    items,
    mapping,
    nullable,
    record,
    text,
    uuid,
    whole,
    word,
)
from asyncbatch.emulator.families.mistral_files import read_whole

_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts about one endpoint.

    Attributes:
        answer: The kind of body that goes in and comes out.
        agents: Whether an agent can be asked instead of a model.
    """

    answer: str
    models: tuple[str, ...]
    agents: bool = False


class Order(Struct, kw_only=True):
    """What a job was created from.

    Attributes:
        is_deleted: Whether the job was deleted: nobody is shown it any more.
    """

    endpoint: str
    input_files: tuple[str, ...]
    model: str | None
    agent_id: str | None
    metadata: dict[str, str] | None
    timeout_hours: int
    is_deleted: bool = False


class Terms(Struct, frozen=True, kw_only=True):
    """What an order has to keep to."""

    endpoints: Mapping[str, Endpoint]
    metadata: Mapping[str, int]
    timeout_hours: Mapping[str, int]
    allows_model: Callable[[str, Sequence[str]], bool]


def read_order(fields: dict[str, Any], terms: Terms, *, has_rows: bool) -> Order:
    """Read the body of a create, from which its requests have been taken.

    Raises:
        FieldError: Something is wrong with it.
    """
    body: Loc = ("body",)
    _check_fields(terms)(fields, body)
    files = tuple(fields.get("input_files") or ())
    if has_rows == bool(files):
        raise FieldError("value_error", body, "Expected either 'input_files' or 'requests'.")
    model, agent_id = fields.get("model"), fields.get("agent_id")
    if (model is None) == (agent_id is None):
        raise FieldError("value_error", body, "Expected either 'model' or 'agent_id'.")
    _check_model(terms, terms.endpoints[fields["endpoint"]], model)
    return Order(
        endpoint=fields["endpoint"],
        input_files=files,
        model=model,
        agent_id=agent_id,
        metadata=fields.get("metadata"),
        timeout_hours=fields.get("timeout_hours", terms.timeout_hours["default"]),
    )


def _check_fields(terms: Terms) -> Check:
    most, hours = terms.metadata, terms.timeout_hours
    mark = mapping(text(least=1, most=most["value_chars"]), key=text(least=1, most=most["key_chars"]))
    return record(
        {
            "endpoint": word(*terms.endpoints),
            "input_files": nullable(items(uuid)),
            "model": nullable(text(least=1)),
            "agent_id": nullable(text(least=1)),
            "metadata": nullable(mark),
            "timeout_hours": whole(least=hours["least"], most=hours["most"]),
        },
        required=("endpoint",),
    )


def _check_model(terms: Terms, endpoint: Endpoint, model: str | None) -> None:
    if model is None and not endpoint.agents:
        raise FieldError("value_error", ("body", "agent_id"), "No agent can be asked at this endpoint.")
    if model is not None and not terms.allows_model(model, endpoint.models):
        raise FieldError("value_error", ("body", "model"), "There is no such model, or not at this endpoint.", model)


class Page(Struct, frozen=True, kw_only=True):
    """Which part of a list is wanted; pages are counted from 0."""

    number: int
    size: int

    def cut(self, found: Sequence[Any]) -> list[Any]:
        return list(found[self.number * self.size : (self.number + 1) * self.size])


Query = MultiMapping[str]


def read_page(query: Query, size: int) -> Page:
    return Page(number=_read_count(query, "page", 0, least=0), size=_read_count(query, "page_size", size, least=1))


def _read_count(query: Query, name: str, default: int, *, least: int) -> int:
    loc = ("query", name)
    value = read_whole(query[name], loc) if name in query else default
    whole(least=least)(value, loc)
    return value


def read_hours(query: Query, bounds: Mapping[str, int]) -> int:
    """Read for how long a signed URL is wanted."""
    hours = _read_count(query, "expiry", bounds["default"], least=bounds["least"])
    whole(most=bounds["most"])(hours, ("query", "expiry"))
    return hours


def read_flag(query: Query, name: str, *, default: bool) -> bool:
    value = query.get(name, "true" if default else "false").lower()
    if value not in _TRUE | _FALSE:
        raise FieldError("bool_parsing", ("query", name), "Expected true or false.", value)
    return value in _TRUE


def read_words(query: Query, name: str, allowed: Sequence[str]) -> list[str]:
    """Read a field that may be repeated; nothing means all."""
    values = list(query.getall(name, []))
    for index, value in enumerate(values):
        word(*allowed)(value, ("query", name, index))
    return values or list(allowed)


def read_moment(query: Query, name: str) -> float | None:
    """Read a time; one without a zone is in UTC."""
    value = query.get(name)
    if value is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise FieldError("datetime_from_date_parsing", ("query", name), "Expected a date and time.", value) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def is_descending(query: Query) -> bool:
    value = query.get("order_by", "-created")
    word("-created", "created")(value, ("query", "order_by"))
    return value == "-created"
