"""What a command says, and where: talk goes to stderr, data to stdout, and the terminal decides looks."""

import json
import os
import shlex
import shutil
import signal
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

import click

from asyncbatch.cli.endings import Ending

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Form: TypeAlias = Literal["text", "json", "jsonl"]

_NO_TERMINAL_WIDTH = 10_000

_CONTROLS = {code: "�" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """Take out what could steer a terminal: ids and messages come from files and servers."""
    return text.translate(_CONTROLS)


def let_go(stream: TextIO | None) -> None:
    """Flush a stream, and lead it nowhere if it takes nothing any more.

    What it still holds would fail again in the flush of the interpreter's exit, which ends the process with code 120.
    """
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def program() -> str:
    """Give the words that call this program here: its name, or where it lies if the shell does not find it by that."""
    if shutil.which("asyncbatch") is not None:
        return "asyncbatch"
    script = shutil.which("asyncbatch", path=str(Path(sys.executable).parent))
    if script is None:
        return f"{shlex.quote(sys.executable)} -m asyncbatch"
    path = Path(script)
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


class Talk:
    """One command's voice.

    Attributes:
        form: What stdout carries: the command's text or rows, one JSON document, or a stream of JSON events.
        quiet: Say nothing but errors.
        plain: Lines instead of a live picture, also on a terminal.
    """

    def __init__(self, form: Form = "text", *, quiet: bool = False, plain: bool = False) -> None:
        self.form: Form = form
        self.quiet = quiet
        self.plain = plain

    @property
    def is_live(self) -> bool:
        """Whether a picture can be redrawn in place."""
        return not (self.quiet or self.plain) and _is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"

    @property
    def can_ask(self) -> bool:
        """Whether somebody sits there."""
        return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)

    def ask(self, question: str) -> bool:
        """Ask for a yes. Blocks; Ctrl-C ends the command even under an event loop, which would only take note of it."""
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return click.confirm(printable(question), err=True)
        finally:
            signal.signal(signal.SIGINT, previous)

    @cached_property
    def console(self) -> "Console":
        """The terminal, for pictures and tables of the talk."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, markup=False, emoji=False)

    def say(self, text: str = "") -> None:
        if not self.quiet:
            _echo_talk(printable(text))

    def tell(self, text: str) -> None:
        """Print a line that is the command's answer, to stdout."""
        click.echo(printable(text))

    def show(self, table: "Table") -> None:
        """Show a table as a part of the talk."""
        if not self.quiet:
            _echo_talk(_drawn(self.console, table), nl=False)

    def table(self, table: "Table") -> None:
        """Print a table that is the command's answer, to stdout."""
        from rich.console import Console

        click.echo(_drawn(Console(highlight=False, markup=False, emoji=False), table), nl=False)

    def event(self, kind: str, **fields: Any) -> None:
        """Tell a program what happened, where it asked for a stream."""
        if self.form == "jsonl":
            self._data(kind, fields)

    def document(self, kind: str, **fields: Any) -> None:
        """Give a program the command's answer, as its one document or as the last event."""
        if self.form != "text":
            self._data(kind, fields)

    def fail(self, ending: Ending) -> None:
        """Report an error: to the reader, and to a program that asked for JSON."""
        _echo_talk(f"error: {printable(ending.message)}")
        if ending.hint:
            _echo_talk(f"hint: {printable(ending.hint)}")
        error: dict[str, Any] = {"code": ending.code, "message": ending.message, "hint": ending.hint}
        if ending.problems:
            error["problems"] = ending.problems
        try:
            self.document("error", error=error)
        except OSError:
            let_go(sys.stdout)

    def _data(self, kind: str, fields: dict[str, Any]) -> None:
        click.echo(json.dumps({"v": 1, "type": kind, **fields}))


def _echo_talk(text: str, *, nl: bool = True) -> None:
    """Print to stderr; where it takes nothing any more the work goes on in silence."""
    try:
        click.echo(text, err=True, nl=nl)
    except OSError:
        let_go(sys.stderr)


def _drawn(console: "Console", table: "Table") -> str:
    """Draw a table: fitted to a terminal; anywhere else with whole cells and no frame, fit for `grep`."""
    if not console.is_terminal:
        table.box = None
        console.width = _NO_TERMINAL_WIDTH
    with console.capture() as capture:  # printed by rich itself, a pipe whose reader left would end the process
        console.print(table)
    return capture.get()
