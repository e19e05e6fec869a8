"""`asyncbatch emulator`: serve every dialect on loopback until somebody stops it."""

import errno
import functools
import os
import shlex
import signal
from typing import NamedTuple

import anyio

from asyncbatch.cli.endings import CommandError, Exit, first_error
from asyncbatch.cli.talk import Talk
from asyncbatch.emulator import serve

KEY_VARIABLE = "ASYNCBATCH_UPSTREAM_KEY"


class ServeOptions(NamedTuple):
    host: str
    port: int
    speed: float
    upstream: str | None = None
    upstream_model: str | None = None


def serve_emulator(options: ServeOptions, talk: Talk) -> int:
    """Serve until Ctrl-C or SIGTERM; gives the exit code."""
    _check_upstream(options)
    try:
        anyio.run(_serve, options, talk)
    except KeyboardInterrupt:
        talk.say("stopped")
    except BaseExceptionGroup as errors:
        error = first_error(errors)
        raise _refusal(error, options.host, options.port) if isinstance(error, OSError) else error from None
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


async def _serve(options: ServeOptions, talk: Talk) -> None:
    async with anyio.create_task_group() as group:
        if os.name == "posix":
            group.start_soon(_stop_on_sigterm, group.cancel_scope)
        await serve(
            host=options.host,
            port=options.port,
            speed=options.speed,
            upstream=options.upstream,
            upstream_key=(os.environ.get(KEY_VARIABLE) or None) if options.upstream else None,
            upstream_model=options.upstream_model,
            on_ready=functools.partial(_tell, talk, options),
        )


def _tell(talk: Talk, options: ServeOptions, url: str, environments: dict[str, dict[str, str]]) -> None:
    talk.say(f"serving on {url}, {options.speed:g} emulated seconds in each real one; Ctrl-C stops it")
    if options.upstream is not None:
        talk.say(f"answers come from {options.upstream}")
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


def _refusal(error: OSError, host: str, port: int) -> CommandError:
    if error.errno == errno.EADDRINUSE:
        hint = "name another one, or take any that is free with --port 0"
        return CommandError(f"port {port} on {host} is taken", code="port.taken", hint=hint, exit_code=Exit.FAILED)
    reason = error.strerror or str(error)
    return CommandError(f"{host}:{port} cannot be served: {reason}", code="port.refused", exit_code=Exit.FAILED)
