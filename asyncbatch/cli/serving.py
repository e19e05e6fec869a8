"""`asyncbatch emulator`: serve every dialect on loopback until somebody stops it."""

import errno
import functools
import os
import shlex
import signal
from collections.abc import Sequence
from typing import NamedTuple

import anyio

from asyncbatch.cli.endings import CommandError, Exit, first_error
from asyncbatch.cli.talk import Talk
from asyncbatch.emulator import DataDirError, serve
from asyncbatch.emulator.hooks import read_target

KEY_VARIABLE = "ASYNCBATCH_UPSTREAM_KEY"


class ServeOptions(NamedTuple):
    host: str
    port: int
    speed: float
    models: Sequence[str] = ()
    upstream: str | None = None
    upstream_model: str | None = None
    data_dir: str | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = None


def serve_emulator(options: ServeOptions, talk: Talk) -> int:
    """Serve until Ctrl-C or SIGTERM; gives the exit code."""
    _check_upstream(options)
    _check_webhooks(options)
    try:
        anyio.run(_serve, options, talk)
    except KeyboardInterrupt:
        talk.say("stopped")
    except BaseExceptionGroup as errors:
        raise _refusal(first_error(errors), options) from None
    return Exit.OK


def _check_upstream(options: ServeOptions) -> None:
    if options.upstream is None and options.upstream_model is not None:
        raise CommandError(
            "--upstream-model means nothing without --upstream", code="upstream.missing", exit_code=Exit.USAGE
        )
    if options.upstream is not None and not options.upstream.startswith(("http://", "https://")):
        hint = "give its base URL with the version, such as http://localhost:11434/v1"
        raise CommandError(
            f"--upstream {options.upstream} is no URL", code="upstream.url", hint=hint, exit_code=Exit.USAGE
        )


def _check_webhooks(options: ServeOptions) -> None:
    try:
        read_target(options.webhook_url, options.webhook_secret)
    except ValueError as error:
        message = str(error).replace("webhook_url", "--webhook-url").replace("webhook_secret", "--webhook-secret")
        raise CommandError(message, code="webhook.target", exit_code=Exit.USAGE) from None


async def _serve(options: ServeOptions, talk: Talk) -> None:
    async with anyio.create_task_group() as group:
        if os.name == "posix":
            group.start_soon(_stop_on_sigterm, group.cancel_scope)
        await serve(
            host=options.host,
            port=options.port,
            speed=options.speed,
            models=options.models,
            upstream=options.upstream,
            upstream_key=(os.environ.get(KEY_VARIABLE) or None) if options.upstream else None,
            upstream_model=options.upstream_model,
            data_dir=options.data_dir,
            webhook_url=options.webhook_url,
            webhook_secret=options.webhook_secret,
            on_ready=functools.partial(_tell, talk, options),
        )


def _tell(talk: Talk, options: ServeOptions, url: str, environments: dict[str, dict[str, str]]) -> None:
    talk.say(f"serving on {url}, {options.speed:g} emulated seconds in each real one; Ctrl-C stops it")
    if options.upstream is not None:
        talk.say(f"answers come from {options.upstream}")
    if options.data_dir is not None:
        talk.say(f"what happens is kept in {options.data_dir}")
    if options.webhook_url is not None:
        talk.say(f"the ends of batches are told to {options.webhook_url}")
    for dialect, variables in environments.items():
        talk.say(f"# {dialect}")
        for name, value in variables.items():
            talk.say(f"export {name}={shlex.quote(value)}")
    env = {name: value for variables in environments.values() for name, value in variables.items()}
    talk.document("emulator_ready", url=url, env=env, dialects=environments)


async def _stop_on_sigterm(scope: anyio.CancelScope) -> None:
    """End in good order when a supervisor asks: the emulator keeps uploads in files."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


def _refusal(error: BaseException, options: ServeOptions) -> BaseException:
    if isinstance(error, DataDirError):
        return CommandError(error.message, code=f"data_dir.{error.code}", hint=error.hint, exit_code=Exit.FAILED)
    if not isinstance(error, OSError):
        return error
    if error.filename is not None:  # of the data directory: addresses have none
        reason = f"{error.filename}: {error.strerror}"
        return CommandError(
            f"the data directory cannot be used: {reason}", code="data_dir.refused", exit_code=Exit.FAILED
        )
    if error.errno == errno.EADDRINUSE:
        hint = "name another one, or take any that is free with --port 0"
        message = f"port {options.port} on {options.host} is taken"
        return CommandError(message, code="port.taken", hint=hint, exit_code=Exit.FAILED)
    message = f"{options.host}:{options.port} cannot be served: {error.strerror or error}"
    return CommandError(message, code="port.refused", exit_code=Exit.FAILED)
