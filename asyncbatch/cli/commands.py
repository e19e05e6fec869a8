"""The commands and their options. Only click is imported here: the shell's completion asks this module on every Tab."""

import logging
import sys
from typing import Any

import click

from asyncbatch.cli import job_commands
from asyncbatch.cli.endings import EXIT_CODES, CommandError, Ending, Exit, ending_of, leave_at_once_next_time
from asyncbatch.cli.options import (
    cli,
    config_option,
    home_option,
    ordered_option,
    poll_option,
    sending_options,
    talk_options,
    timeout_option,
)
from asyncbatch.cli.talk import Form, Talk, let_go

__all__ = ["cli", "job_commands", "start"]  # the commands about jobs join the others when their module is imported


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


@cli.command(epilog=EXIT_CODES)
@sending_options
@click.option("--output", "-o", "out", type=click.Path(), help="Where the outcomes go; else standard output.")
@ordered_option
@click.option("--dry-run", is_flag=True, help="Check everything, send nothing.")
@timeout_option
@poll_option
@home_option
@config_option
@talk_options
def run(talk: Talk, **options: Any) -> int:
    """Send the requests in FILE and collect the outcomes.

    FILE holds one JSON document a line: a prompt in quotes, a request's body, or a ready row with custom_id and body.
    A dash reads standard input.

    The same command again goes on where this one stopped, however it was stopped: the same batches, the same outcomes, no
    second bill. When the job is over, it is answered from the journal.
    """
    from asyncbatch.cli.run_options import RunOptions
    from asyncbatch.cli.running import run_file

    return run_file(RunOptions(**options), talk)


@cli.command(epilog=EXIT_CODES)
@sending_options
@home_option
@config_option
@talk_options
def submit(talk: Talk, **options: Any) -> int:
    """Send the requests in FILE and print the job's id; `watch` and `results` collect the outcomes.

    FILE is what `run` takes, and the same file is the same job: sent again, its id is given again.
    """
    from asyncbatch.cli.run_options import RunOptions
    from asyncbatch.cli.running import run_file

    return run_file(RunOptions(leaves=True, **options), talk)


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
@click.option(
    "--model", "models", multiple=True, metavar="PATTERN", help="Models that there are besides, such as 'acme-*'."
)
@click.option("--upstream", metavar="URL", help="An OpenAI-compatible server that answers, with its /v1.")
@click.option("--upstream-model", metavar="NAME", help="The model to ask there, whatever a request names.")
@click.option("--data-dir", type=click.Path(), help="Where files, batches and history outlive the command.")
@click.option("--webhook-url", metavar="URL", help="Whom to tell when a batch has ended.")
@click.option("--webhook-secret", metavar="SECRET", help="What webhooks are signed with: whsec_ and base64.")
@talk_options
def emulator(talk: Talk, **settings: Any) -> int:
    """Serve an emulator of each provider's batch API on loopback.

    With --json, one line on standard output says when it is ready, where it is, and which variables lead there. With
    --upstream, a live server answers in the echo model's place; its key, if it wants one, is ASYNCBATCH_UPSTREAM_KEY. With
    --data-dir, the same command again goes on with what was there, however it was stopped; time has passed meanwhile.
    """
    from asyncbatch.cli.serving import ServeOptions, serve_emulator

    return serve_emulator(ServeOptions(**settings), talk)


@cli.command()
@click.argument("provider", required=False)
@config_option
@talk_options
def providers(talk: Talk, *, provider: str | None, config: str | None) -> int:
    """Show the providers, their keys and their limits; of one, everything, and what it cannot do."""
    from asyncbatch.cli.facts import show_provider, show_providers

    return show_providers(config, talk) if provider is None else show_provider(provider, config, talk)


@cli.command()
@click.argument("provider", required=False)
@config_option
@talk_options
def models(talk: Talk, *, provider: str | None, config: str | None) -> int:
    """Show the models, what they can do and what they cost."""
    from asyncbatch.cli.facts import show_models

    return show_models(provider, config, talk)


@cli.command()
@click.option(
    "--model", "-m", "name", required=True, metavar="PROVIDER[/MODEL]", help="Whose account, and for which model."
)
@config_option
@talk_options
def doctor(talk: Talk, *, name: str, config: str | None) -> int:
    """Look at a live account, and say in words what is wrong. It reads, and creates nothing."""
    from asyncbatch.cli.doctor import examine_account

    return examine_account(name, config, talk)


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
