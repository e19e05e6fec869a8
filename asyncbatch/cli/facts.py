"""`asyncbatch providers`, `models` and `config`: what is known, where it comes from, and whether your file is in order."""

import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from asyncbatch import BatchMode, batch_provider_registry
from asyncbatch.catalog import Catalog, Limit, ModelFacts, cannot_of, describe_origins
from asyncbatch.cli.config import config_path, load_config, with_facts_of
from asyncbatch.cli.endings import CommandError, Exit
from asyncbatch.cli.talk import Talk, printable
from asyncbatch.exceptions import ConfigError

_FIELDS = (
    "title",
    "base_url",
    "base_url_variable",
    "key_variable",
    "has_key",
    "needs",
    "modes",
    "inputs",
    "max_requests",
    "max_bytes",
    "window_hours",
    "least_window_hours",
    "most_window_hours",
    "windows",
    "discount",
    "submit_safety",
    "inline_submit_safety",
    "answers_after",
    "answers_kept_s",
    "cannot",
    "sureness",
    "checked",
    "docs",
)

_MANY = ("needs", "modes", "inputs", "answers_after", "cannot")
"""What is a list of words."""


def show_providers(config: str | None, talk: Talk) -> int:
    """Show every provider that is known here."""
    catalog = _whole(load_config(config), talk)
    names = sorted({*catalog.names(), *batch_provider_registry.available()})
    rows = [_provider_row(catalog, name) for name in names]
    if talk.form != "text":
        talk.document("providers", providers=rows)
        return Exit.OK
    table = _table(
        *("provider", "key", "modes", "rows a batch", "bytes a batch", "hours", "off", "a lost create", "address"),
        *("how sure", "facts of"),
    )
    for row in rows:
        key = f"{row['key_variable']} ({'set' if row['has_key'] else 'not set'})" if row["key_variable"] else ""
        _add(
            table,
            row["name"],
            key,
            ", ".join(row["modes"] or ()),
            _number(row["max_requests"]),
            _number(row["max_bytes"]),
            _hours(row),
            f"{row['discount']:.0%}" if row["discount"] else "",
            row["submit_safety"],
            row["base_url"] or (f"{row['base_url_variable']} (not set)" if row["base_url_variable"] else ""),
            re.split("[,;]", row["sureness"] or "")[0],
            row["checked"],
        )
    talk.table(table)
    return Exit.OK


def show_provider(name: str, config: str | None, talk: Talk) -> int:
    """Show all that is known about one provider."""
    if name in batch_provider_registry.available():
        catalog = _whole(load_config(config), talk)
    else:
        catalog, _ = _asked_for(name, config, talk)
        catalog.provider(name)  # says so where nobody knows it
    row = _provider_row(catalog, name)
    if talk.form != "text":
        talk.document("providers", providers=[row])
        return Exit.OK
    table = _table("fact", "value")
    for key, value in row.items():
        if value is not None and value != []:
            between = "\n" if key == "cannot" else ", "
            _add(table, key.replace("_", " "), between.join(value) if key in _MANY else value)
    talk.table(table)
    return Exit.OK


def _hours(row: dict[str, Any]) -> str:
    """Give the window, and which others can be asked for."""
    if row["window_hours"] is None:
        return ""
    usual, is_one = f"{row['window_hours']:g}", row["least_window_hours"] == row["most_window_hours"]
    return usual if is_one else f"{usual} ({row['windows']})"


def _provider_row(catalog: Catalog, name: str) -> dict[str, Any]:
    if name not in catalog.names():  # a class of six methods, without facts
        return {"name": name, **dict.fromkeys(_FIELDS)}
    facts, settings = catalog.provider(name), _settings(catalog, name)
    variables = facts.credentials.env
    limits = facts.limits
    values = (
        facts.title,
        (settings and settings.base_url) or facts.base_url,
        facts.base_url_env,
        variables[0] if variables else None,
        bool(settings and (settings.api_key or settings.token)),
        [option.env for option in facts.options.values() if option.is_needed],
        list(dict.fromkeys([*(item.mode.value for item in facts.endpoints), BatchMode.CUSTOM.value])),
        [item.value for item in facts.inputs],
        _value(limits.requests or limits.inline_requests),
        _value(limits.file_bytes or limits.inline_bytes),
        facts.window_s / 3600,
        facts.windows and facts.windows.least_s / 3600,
        facts.windows and facts.windows.most_s / 3600,
        facts.windows and facts.windows.bounds,
        facts.discount,
        facts.submit_safety.value,
        (facts.inline_submit_safety or facts.submit_safety).value,
        [item.value for item in facts.answers_after],
        facts.retention.output_s,
        list(cannot_of(facts)),
        facts.sureness,
        facts.checked,
        facts.docs,
    )
    return {"name": name, **dict(zip(_FIELDS, values, strict=True))}


def _value(limit: Limit | None) -> int | None:
    return limit.value if limit else None


def _settings(catalog: Catalog, name: str) -> Any:
    try:
        return catalog.settings(name).with_environment(catalog.provider(name), os.environ)
    except ConfigError:  # a variable that the file names is not set: `config check` says which
        return None


def show_models(provider: str | None, config: str | None, talk: Talk) -> int:
    """Show the patterns of models, of one provider or all."""
    catalog, names = _asked_for(provider, config, talk)
    rows = [row for name in names for row in _model_rows(catalog, name)]
    if talk.form != "text":
        talk.document("models", models=rows)
        return Exit.OK
    table = _table("model", "modes", "input $/M", "output $/M", "price of")
    for row in rows:
        price: dict[str, Any] = row["price"] or {}
        amounts = (_amount(price.get(key)) for key in ("input_usd", "output_usd"))
        _add(table, f"{row['provider']}/{row['match']}", ", ".join(row["modes"]), *amounts, price.get("date"))
    talk.table(table)
    talk.say("Prices are for batches. The most specific pattern that fits a model is meant.")
    return Exit.OK


def _model_rows(catalog: Catalog, name: str) -> Iterator[dict[str, Any]]:
    for model in catalog.provider(name).models:
        yield _model_row(name, model)


def _model_row(name: str, model: ModelFacts) -> dict[str, Any]:
    return {
        "provider": name,
        "match": model.match,
        "modes": [mode.value for mode in model.modes],
        "price": msgspec.to_builtins(model.price),
    }


def show_config(provider: str | None, config: str | None, talk: Talk, *, with_origin: bool) -> int:
    """Show the settings and facts in force; no secret is among them."""
    catalog, names = _asked_for(provider, config, talk)
    rows = [(name, origin) for name in names for origin in describe_origins(catalog, name)]
    path = config_path(config)
    talk.say(
        f"built-in facts, with {path} over them" if path else "built-in facts alone: there is no llm_config.yaml here"
    )
    if talk.form != "text":
        values = [{"provider": name, **origin._asdict()} for name, origin in rows]
        talk.document("config", file=str(path) if path else None, values=values)
        return Exit.OK
    table = _table("setting", "value", *(["from"] if with_origin else []))
    for name, origin in rows:
        _add(table, f"{name}.{origin.path}", origin.value, *([origin.where] if with_origin else []))
    talk.table(table)
    return Exit.OK


def check_config(config: str | None, talk: Talk) -> int:
    """Find every mistake in the user's file, and every variable that it needs and nobody has set."""
    path = config_path(config)
    if path is None:
        talk.say("there is no llm_config.yaml here, and ASYNCBATCH_CONFIG names none: the built-in facts are in force")
        talk.document("config_checked", file=None, unused=[])
        return Exit.OK
    catalog = load_config(config)
    mistakes = [mistake for name in catalog.names() for mistake in _mistakes_of(catalog, name)]
    known = batch_provider_registry.available()
    unused = [name for name in catalog.unused if name not in known]
    mistakes += [mistake for name in catalog.unused for mistake in _mistakes_of_foreign(catalog, name)]
    for name in unused:
        near = get_close_matches(name, catalog.names(), n=1)
        mean = f"; did you mean {near[0]!r}?" if near else ""
        talk.say(f"warning: {path} speaks of {name}, and no provider of that name is installed{mean}")
        talk.say("  what it says there is not in force; a gateway of your own names its protocol, as in `like: openai`")
    if mistakes:
        raise CommandError("\n".join(mistakes), code="config.invalid")
    talk.say(f"{path} is in order" + (", but for what was warned of" if unused else ""))
    talk.document("config_checked", file=str(path), unused=unused)
    return Exit.OK


def _mistakes_of(catalog: Catalog, name: str) -> Iterator[str]:
    try:
        catalog.settings(name).with_environment(catalog.provider(name), os.environ)
    except ConfigError as error:
        yield error.message


def _mistakes_of_foreign(catalog: Catalog, name: str) -> Iterator[str]:
    """Lay the file over the facts that a provider from elsewhere brings along."""
    try:
        whole = with_facts_of(catalog, name)
        if name in whole.names():
            yield from _mistakes_of(whole, name)
    except ConfigError as error:
        yield error.message


def _asked_for(provider: str | None, config: str | None, talk: Talk) -> tuple[Catalog, Sequence[str]]:
    """Give the facts of one provider, or of all, those of other packages too."""
    catalog = load_config(config)
    if provider is not None:
        return with_facts_of(catalog, provider), [provider]
    catalog = _whole(catalog, talk)
    return catalog, catalog.names()


def _whole(catalog: Catalog, talk: Talk) -> Catalog:
    """Add what other packages bring; one that is broken takes nothing from the others."""
    for name in batch_provider_registry.available():
        try:
            catalog = with_facts_of(catalog, name)
        except ConfigError as error:
            talk.say(f"warning: {error.message}")
    return catalog


def _table(*columns: str) -> Table:
    table = Table(show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(Text(printable("" if cell is None else str(cell))) for cell in cells))


def _number(value: int | None) -> str:
    return f"{value:,}" if value is not None else ""


def _amount(value: float | None) -> str:
    return f"{value:g}" if value is not None else ""
