"""The group of commands and the options that several of them share. Only click is imported here."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from asyncbatch import __version__
from asyncbatch.cli.endings import EXIT_CODES
from asyncbatch.cli.talk import Form, Talk

Function = TypeVar("Function", bound=Callable[..., Any])


def talk_options(function: Function) -> Function:
    """Give a command the options that decide how it talks."""
    options = [
        click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output."),
        click.option("--jsonl", "as_jsonl", is_flag=True, help="A stream of JSON events on standard output."),
        click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors."),
        click.option("--plain", is_flag=True, help="Lines instead of a live picture."),
    ]

    @functools.wraps(function)
    def wrapped(*, as_json: bool, as_jsonl: bool, quiet: bool, plain: bool, **rest: Any) -> Any:
        form: Form = "jsonl" if as_jsonl else "json" if as_json else "text"
        return function(talk=Talk(form, quiet=quiet, plain=plain), **rest)

    return functools.reduce(lambda command, option: option(command), reversed(options), wrapped)  # type: ignore[return-value]


config_option = click.option(
    "--config", type=click.Path(), help="Facts of your own; else ASYNCBATCH_CONFIG, else ./llm_config.yaml."
)
home_option = click.option(
    "--home",
    metavar="DIR",
    help="Where jobs are remembered; else ASYNCBATCH_HOME, else ./.asyncbatch. `memory` remembers nothing.",
)
poll_option = click.option(
    "--poll",
    "poll_s",
    type=click.FloatRange(min=0.01),
    metavar="SECONDS",
    help="The first wait between two questions; later ones are longer.",
)
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop waiting after this long, counted from when the command begins to wait; the batches go on.",
)


ordered_option = click.option("--ordered", is_flag=True, help="Rows in the order of the requests.")


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="asyncbatch")
def cli() -> None:
    """Submit, watch and collect batches of LLM requests."""


def _pairs(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is no KEY=VALUE")
    return {key: text for key, _, text in (value.partition("=") for value in values)}


def sending_options(function: Function) -> Function:
    """Give a command the options that decide what is sent."""
    options = [
        click.argument("file", type=click.Path(allow_dash=True)),
        click.option(
            "--model", "-m", metavar="PROVIDER/MODEL", help="Which model answers, such as openai/gpt-4.1-mini."
        ),
        click.option(
            "--mode",
            type=click.Choice(["chat", "completion", "embedding", "custom"]),
            help="What the requests ask for.",
        ),
        click.option("--endpoint", metavar="PATH", help="The provider's path, such as /v1/responses."),
        click.option("--any-model", is_flag=True, help="Allow a model that the catalog does not know."),
        click.option("--replace-model", is_flag=True, help="Send rows that name another model to the one of -m."),
        click.option("--skip-bad", is_flag=True, help="Send the good rows; the bad ones end rejected."),
        click.option(
            "--on-unsupported",
            type=click.Choice(["error", "drop"]),
            default="error",
            show_default=True,
            help="Refuse a request that asks for what the provider cannot express, or send it without.",
        ),
        click.option(
            "--input-mode",
            type=click.Choice(["auto", "file", "inline"]),
            default="auto",
            show_default=True,
            help="How the requests travel, where the provider knows both ways.",
        ),
        click.option(
            "--metadata",
            metavar="KEY=VALUE",
            multiple=True,
            callback=_pairs,
            help="Kept with each batch; may be repeated.",
        ),
        click.option(
            "--retry",
            type=click.Choice(["transient", "expired"]),
            help="Send again what ended with an error that may pass, expired or was not answered; or what expired alone.",
        ),
        click.option(
            "--max-attempts",
            type=click.IntRange(min=1),
            metavar="N",
            help="With --retry: how often a request is sent at most, the first time included; 3 by default.",
        ),
        click.option(
            "--cleanup",
            type=click.Choice(["never", "succeeded", "settled"]),
            default="never",
            show_default=True,
            help="Delete a batch's files at the provider once its outcomes are on disk: if all are good, or if all are clear.",
        ),
        click.option("--yes", "-y", is_flag=True, help="A yes to any price."),
        click.option(
            "--confirm-over",
            type=click.FloatRange(min=0),
            default=10.0,
            show_default=True,
            metavar="USD",
            help="Ask above this price.",
        ),
        click.option(
            "--max-cost",
            type=click.FloatRange(min=0),
            metavar="USD",
            help="Send nothing above this price, and do not ask below it.",
        ),
        click.option(
            "--again", is_flag=True, help="Send them once more, and pay again, though they were answered before."
        ),
    ]

    @functools.wraps(function)
    def wrapped(*, yes: bool, confirm_over: float, max_cost: float | None, **rest: Any) -> Any:
        from asyncbatch.cli.money import Budget

        return function(budget=Budget(confirm_over_usd=confirm_over, max_cost_usd=max_cost, yes=yes), **rest)

    return functools.reduce(lambda command, option: option(command), reversed(options), wrapped)  # type: ignore[return-value]
