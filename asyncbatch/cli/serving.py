"""`asyncbatch emulator`: serve every dialect on loopback until somebody stops it."""

import errno
import functools
import os
import shlex
import signal

import anyio

from asyncbatch.cli.endings import CommandError, Exit, first_error
from asyncbatch.cli.talk import Talk
from asyncbatch.emulator import serve


def serve_emulator(host: str, port: int, speed: float, talk: Talk) -> int:
    """Serve until Ctrl-C or SIGTERM; gives the exit code."""
    try:
        anyio.run(_serve, host, port, speed, talk)
    except KeyboardInterrupt:
        talk.say("stopped")
    except BaseExceptionGroup as errors:
        error = first_error(errors)
        raise _refusal(error, host, port) if isinstance(error, OSError) else error from None
    return Exit.OK


async def _serve(host: str, port: int, speed: float, talk: Talk) -> None:
    async with anyio.create_task_group() as group:
        if os.name == "posix":
            group.start_soon(_stop_on_sigterm, group.cancel_scope)
        await serve(host=host, port=port, speed=speed, on_ready=functools.partial(_tell, talk, speed))


def _tell(talk: Talk, speed: float, url: str, environments: dict[str, dict[str, str]]) -> None:
    talk.say(f"serving on {url}, {speed:g} emulated seconds in each real one; Ctrl-C stops it")
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
