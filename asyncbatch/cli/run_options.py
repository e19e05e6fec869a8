"""What `asyncbatch run` and `submit` were asked for, and which of it makes no sense together."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from asyncbatch.cli.endings import CommandError
from asyncbatch.cli.home import Home
from asyncbatch.cli.money import Budget
from asyncbatch.cli.talk import Talk
from asyncbatch.enums import InputChoice, OnUnsupported

_ATTEMPTS = 3


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line; `leaves` ends the command once everything is sent."""

    file: str
    model: str | None
    out: str | None = None
    mode: str | None = None
    endpoint: str | None = None
    any_model: bool = False
    replace_model: bool = False
    skip_bad: bool = False
    on_unsupported: OnUnsupported = "error"
    input_mode: InputChoice = "auto"
    config: str | None = None
    home: str | None = None
    again: bool = False
    retry: Literal["transient", "expired"] | None = None
    max_attempts: int | None = None
    cleanup: Literal["never", "succeeded", "settled"] = "never"
    ordered: bool = False
    leaves: bool = False
    metadata: Mapping[str, str] = {}
    budget: Budget = Budget()
    dry_run: bool = False
    timeout_s: float | None = None
    poll_s: float | None = None

    @property
    def attempts(self) -> int:
        """How often a request is sent at most, where any is sent again."""
        return self.max_attempts or _ATTEMPTS

    def check(self, talk: Talk) -> str:
        """Give the model that was named.

        Raises:
            CommandError: There is none, or options contradict each other.
        """
        if self.model is None:
            raise CommandError("which model? -m is missing", code="model.missing", hint="-m openai/gpt-4.1-mini")
        if self.max_attempts is not None and self.retry is None:
            hint = "add --retry transient, or --retry expired"
            raise CommandError("--max-attempts means nothing without --retry", code="retry.missing", hint=hint)
        if self.cleanup != "never" and not Home(self.home).is_kept:
            message = f"--cleanup {self.cleanup} deletes answers at the provider, and --home memory keeps none here"
            raise CommandError(message, code="cleanup.memory", hint="name a directory, or leave --home out")
        if talk.form != "text" and self.out is None and not (self.dry_run or self.leaves):
            message = f"--{talk.form} takes standard output, so the rows need another place"
            raise CommandError(message, code="output.missing", hint="add -o results.jsonl")
        return self.model
