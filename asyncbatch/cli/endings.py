"""How a command ends: exit codes, and what an error says on its way out."""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, cast

from asyncbatch.exceptions import (
    AsyncBatchError,
    ConfigError,
    InvalidRequestsError,
    JournalError,
    MissingCredentialsError,
    ProviderError,
    ProviderNotRegisteredError,
)

_READING = "; reading takes the right to write as well, for locks and for the database's own files"
KEEP_NOTHING = "--home memory goes without: the job is then forgotten when the command ends"


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNSUCCESSFUL = 3
    NOT_AUTHENTICATED = 4
    STILL_RUNNING = 8
    DETACHED = 130


EXIT_CODES = """\b
Exit codes:
  0    every request succeeded
  1    could not finish
  2    used wrongly, nothing was sent
  3    finished, some outcomes are not successes
  4    not authenticated
  8    still running when --timeout ended
  130  detached: the batches go on"""


def leave_at_once_next_time() -> None:
    """Let another Ctrl-C end the process on the spot: threads that still read or write cannot hold it."""

    def leave(*_: object) -> None:
        os._exit(Exit.DETACHED)

    signal.signal(signal.SIGINT, leave)


def answer_sigterm_like_ctrl_c() -> None:
    """Let `docker stop`, systemd and `timeout` end us as a person would: a word on what goes on, nothing left behind."""

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give the error itself: one task has failed, and the others of its group were cancelled for it."""
    first = errors.exceptions[0]
    return (
        first_error(cast("BaseExceptionGroup[BaseException]", first))
        if isinstance(first, BaseExceptionGroup)
        else first
    )


class CommandError(Exception):
    """A command cannot go on; what it prints, and how it exits."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        hint: str | None = None,
        exit_code: Exit = Exit.USAGE,
        problems: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.exit_code = exit_code
        self.problems = problems


class Ending(NamedTuple):
    """An error, as a command reports it."""

    exit_code: Exit
    code: str
    message: str
    hint: str | None = None
    problems: Sequence[Mapping[str, Any]] = ()


_WORDS = {
    'on_unsupported="drop"': "--on-unsupported drop",
    'on_bad_row="reject"': "--skip-bad",
    "replace_model=True": "--replace-model",
    "allow_unknown_model=True": "--any-model",
    "endpoint='…'": "--endpoint PATH",
    "mode=custom": "--mode custom",
}


def in_words_of_the_command(text: str) -> str:
    """Say in options what the library says in arguments."""
    for argument, option in _WORDS.items():
        text = text.replace(argument, option)
    return text


def ending_of(error: CommandError | AsyncBatchError | OSError) -> Ending:
    """Say how a command ends that an error stopped."""
    if isinstance(error, CommandError):
        return Ending(error.exit_code, error.code, error.message, error.hint, error.problems)
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return Ending(Exit.FAILED, "os_error", what)
    hint = _hint(error)
    message, hint = in_words_of_the_command(error.message), in_words_of_the_command(hint) if hint else None
    return Ending(_exit_code(error), error.code or "error", message, hint)


def _exit_code(error: AsyncBatchError) -> Exit:
    match error:
        case MissingCredentialsError():
            return Exit.NOT_AUTHENTICATED
        case InvalidRequestsError() | ConfigError() | ProviderNotRegisteredError():
            return Exit.USAGE
        case ProviderError(is_auth=True):
            return Exit.NOT_AUTHENTICATED
        case _:
            return Exit.FAILED


def _hint(error: AsyncBatchError) -> str | None:
    """Put the library's hint into the words of the command line."""
    match error:
        case MissingCredentialsError(code="auth.missing"):
            variable = error.message.rpartition(": ")[2].removesuffix(" is not set")
            return f"export {variable}=…, or name a variable under api_key in llm_config.yaml"
        case ConfigError(code="model.unknown"):
            return f"use --any-model to send it anyway, or put this into llm_config.yaml:\n{error.hint}"
        case JournalError(code="journal.unsupported"):
            return f"{error.hint}; {KEEP_NOTHING}"
        case JournalError(code="journal.no_access" | "journal.not_private" | "journal.full"):
            return f"{error.hint}: --home DIR{_READING if error.code == 'journal.no_access' else ''}"
        case ConfigError(code="auth.scope_mismatch"):
            return "nothing was asked or sent; export the key, and the address, that the job was sent with"
        case _:
            return error.hint
