"""What a command says, and where: talk goes to stderr, data to stdout, and the terminal decides looks."""

import json
import os
import signal
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

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
        return not (self.quiet or self.plain) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def can_ask(self) -> bool:
        """Whether somebody sits there."""
        return sys.stdin.isatty() and sys.stderr.isatty()

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
            click.echo(printable(text), err=True)

    def tell(self, text: str) -> None:
        """Print a line that is the command's answer, to stdout."""
        click.echo(printable(text))

    def show(self, table: "Table") -> None:
        """Show a table as a part of the talk."""
        if not self.quiet:
            _print(self.console, table)

    def table(self, table: "Table") -> None:
        """Print a table that is the command's answer, to stdout."""
        from rich.console import Console

        _print(Console(highlight=False, markup=False, emoji=False), table)

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
        click.echo(f"error: {printable(ending.message)}", err=True)
        if ending.hint:
            click.echo(f"hint: {printable(ending.hint)}", err=True)
        error: dict[str, Any] = {"code": ending.code, "message": ending.message, "hint": ending.hint}
        if ending.problems:
            error["problems"] = ending.problems
        self.document("error", error=error)

    def _data(self, kind: str, fields: dict[str, Any]) -> None:
        click.echo(json.dumps({"v": 1, "type": kind, **fields}))


def _print(console: "Console", table: "Table") -> None:
    """Print a table: fitted to a terminal; anywhere else with whole cells and no frame, fit for `grep`."""
    if not console.is_terminal:
        table.box = None
        console.width = _NO_TERMINAL_WIDTH
    console.print(table)
