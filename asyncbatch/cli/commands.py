"""The commands and their options. Only click is imported here: the shell's completion asks this module on every Tab."""

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from asyncbatch import __version__
from asyncbatch.cli.endings import EXIT_CODES, CommandError, Ending, Exit, ending_of, leave_at_once_next_time
from asyncbatch.cli.talk import Form, Talk, let_go

Function = TypeVar("Function", bound=Callable[..., Any])


def start(args: list[str]) -> int:
    """Run a command and say how it ended."""
    from asyncbatch.exceptions import AsyncBatchError

    # What the library logs, the views show in their own words.
    if not logging.root.handlers:
        logging.root.addHandler(logging.NullHandler())
    form: Form = "jsonl" if "--jsonl" in args else "json" if "--json" in args else "text"
    try:
        return int(cli.main(args, prog_name="asyncbatch", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        Talk(form).say(error.format_message())
        return Exit.USAGE
    except click.ClickException as error:
        hint = f"see `{error.ctx.command_path} --help`" if isinstance(error, click.UsageError) and error.ctx else None
        Talk(form).fail(Ending(Exit(error.exit_code), "usage", error.format_message(), hint))
        return error.exit_code
    except click.Abort:
        leave_at_once_next_time()
        return Exit.DETACHED
    except SystemExit:  # how click leaves when a reader has left: that is no error to tell of
        return Exit.FAILED
    except (CommandError, AsyncBatchError, OSError) as error:
        ending = ending_of(error)
        Talk(form).fail(ending)
        return ending.exit_code
    finally:
        let_go(sys.stdout)
        let_go(sys.stderr)


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


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="asyncbatch")
def cli() -> None:
    """Submit, watch and collect batches of LLM requests."""


def _pairs(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r} is no KEY=VALUE")
    return {key: text for key, _, text in (value.partition("=") for value in values)}


@cli.command(epilog=EXIT_CODES)
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--model", "-m", metavar="PROVIDER/MODEL", help="Which model answers, such as openai/gpt-4.1-mini.")
@click.option("--output", "-o", "out", type=click.Path(), help="Where the outcomes go; else standard output.")
@click.option(
    "--mode", type=click.Choice(["chat", "completion", "embedding", "custom"]), help="What the requests ask for."
)
@click.option("--endpoint", metavar="PATH", help="The provider's path, such as /v1/responses.")
@click.option("--any-model", is_flag=True, help="Allow a model that the catalog does not know.")
@click.option("--replace-model", is_flag=True, help="Send rows that name another model to the one of -m.")
@click.option("--skip-bad", is_flag=True, help="Send the good rows; the bad ones end rejected.")
@click.option(
    "--on-unsupported",
    type=click.Choice(["error", "drop"]),
    default="error",
    show_default=True,
    help="Refuse a request that asks for what the provider cannot express, or send it without.",
)
@click.option(
    "--input-mode",
    type=click.Choice(["auto", "file", "inline"]),
    default="auto",
    show_default=True,
    help="How the requests travel, where the provider knows both ways.",
)
@click.option(
    "--metadata", metavar="KEY=VALUE", multiple=True, callback=_pairs, help="Kept with each batch; may be repeated."
)
@click.option("--yes", "-y", is_flag=True, help="A yes to any price.")
@click.option(
    "--confirm-over",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="USD",
    help="Ask above this price.",
)
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Send nothing above this price, and do not ask below it.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, send nothing.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop waiting after this long; the batches go on.",
)
@click.option(
    "--poll",
    "poll_s",
    type=click.FloatRange(min=0.01),
    metavar="SECONDS",
    help="The first wait between two questions; later ones are longer.",
)
@config_option
@talk_options
def run(talk: Talk, *, yes: bool, confirm_over: float, max_cost: float | None, **options: Any) -> int:
    """Send the requests in FILE and collect the outcomes.

    FILE holds one JSON document a line: a prompt in quotes, a request's body, or a ready row with custom_id and body.
    A dash reads standard input.
    """
    from asyncbatch.cli.money import Budget
    from asyncbatch.cli.running import RunOptions, run_file

    budget = Budget(confirm_over_usd=confirm_over, max_cost_usd=max_cost, yes=yes)
    return run_file(RunOptions(budget=budget, **options), talk)


@cli.command()
@click.option("--requests", "count", type=click.IntRange(min=1, max=1_000_000), default=2000, show_default=True)
@talk_options
def demo(talk: Talk, *, count: int) -> int:
    """Run thousands of requests against an emulator in this process: no key, no network."""
    from asyncbatch.cli.demonstration import run_demo

    return run_demo(count, talk)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8400, show_default=True, help="0 takes any that is free."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Emulated seconds in each real one.",
)
@click.option("--upstream", metavar="URL", help="An OpenAI-compatible server that answers, with its /v1.")
@click.option("--upstream-model", metavar="NAME", help="The model to ask there, whatever a request names.")
@talk_options
def emulator(talk: Talk, **settings: Any) -> int:
    """Serve an emulator of each provider's batch API on loopback.

    With --json, one line on standard output says when it is ready, where it is, and which variables lead there. With
    --upstream, a live server answers in the echo model's place; its key, if it wants one, is ASYNCBATCH_UPSTREAM_KEY.
    """
    from asyncbatch.cli.serving import ServeOptions, serve_emulator

    return serve_emulator(ServeOptions(**settings), talk)


@cli.command()
@config_option
@talk_options
def providers(talk: Talk, *, config: str | None) -> int:
    """Show the providers, their keys and their limits."""
    from asyncbatch.cli.facts import show_providers

    return show_providers(config, talk)


@cli.command()
@click.argument("provider", required=False)
@config_option
@talk_options
def models(talk: Talk, *, provider: str | None, config: str | None) -> int:
    """Show the models, what they can do and what they cost."""
    from asyncbatch.cli.facts import show_models

    return show_models(provider, config, talk)


@cli.group()
def config() -> None:
    """Show or check the configuration."""


@config.command()
@click.argument("provider", required=False)
@click.option("--origin", "with_origin", is_flag=True, help="Say where each value comes from.")
@config_option
@talk_options
def show(talk: Talk, *, provider: str | None, config: str | None, with_origin: bool) -> int:
    """Show the settings and facts in force; secrets are masked."""
    from asyncbatch.cli.facts import show_config

    return show_config(provider, config, talk, with_origin=with_origin)


@config.command()
@config_option
@talk_options
def check(talk: Talk, *, config: str | None) -> int:
    """Find every mistake in the configuration file."""
    from asyncbatch.cli.facts import check_config

    return check_config(config, talk)


@cli.command()
@click.argument("batch", metavar="PROVIDER/BATCH_ID")
@config_option
@talk_options
def status(talk: Talk, *, batch: str, config: str | None) -> int:
    """Ask once where a batch stands."""
    from asyncbatch.cli.batches import show_status

    return show_status(batch, config, talk)


@cli.command(epilog=EXIT_CODES)
@click.argument("batch", metavar="PROVIDER/BATCH_ID")
@click.option("--output", "-o", "out", type=click.Path(), help="Where the outcomes go; else standard output.")
@click.option(
    "--requests", type=click.Path(), metavar="FILE", help="The file that was sent: gives the rows their own ids back."
)
@click.option("--wait", is_flag=True, help="Wait for the end of the batch.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop waiting after this long."
)
@click.option(
    "--poll", "poll_s", type=click.FloatRange(min=0.01), metavar="SECONDS", help="The first wait between two questions."
)
@config_option
@talk_options
def results(talk: Talk, *, batch: str, **options: Any) -> int:
    """Fetch the outcomes of a batch that is over."""
    from asyncbatch.cli.batches import ResultsOptions, fetch_results

    return fetch_results(ResultsOptions(name=batch, **options), talk)


@cli.command()
@click.argument("batch", metavar="PROVIDER/BATCH_ID")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@config_option
@talk_options
def cancel(talk: Talk, *, batch: str, yes: bool, config: str | None) -> int:
    """Ask the provider to end a batch. What it has answered so far is kept."""
    from asyncbatch.cli.batches import cancel_batch

    return cancel_batch(batch, config, talk, yes=yes)
