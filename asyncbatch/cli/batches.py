"""`asyncbatch status`, `results` and `cancel`: one batch by its name at the provider, without any memory of ours."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec

from asyncbatch import BaseBatchProvider, BatchPoller, Polling, ProviderStatus, batch_provider_registry
from asyncbatch.cli.config import load_config
from asyncbatch.cli.endings import CommandError, Exit
from asyncbatch.cli.naming import WireNames
from asyncbatch.cli.reporting import count_of, counts_of, exit_code_of
from asyncbatch.cli.sinks import OutFile, Sink, Stdout
from asyncbatch.cli.talk import Talk
from asyncbatch.cli.watching import answered
from asyncbatch.cli.writing import Tally, write_rows
from asyncbatch.dto import ProviderResultRow

T = TypeVar("T")

_SLICE = 1024


def run_on_batch(name: str, config: str | None, work: Callable[[BaseBatchProvider, str], Awaitable[T]]) -> T:
    """Open a provider and do something with one of its batches."""
    provider_name, batch_id = _split(name)
    catalog = load_config(config)

    async def opened() -> T:
        async with batch_provider_registry.open(catalog=catalog) as scope:
            return await work(scope.create(provider_name), batch_id)

    return anyio.run(opened)


def _split(name: str) -> tuple[str, str]:
    provider_name, slash, batch_id = name.partition("/")
    if not (slash and provider_name and batch_id):
        hint = f"write PROVIDER/BATCH_ID, such as openai/{name if not slash else 'batch_123'}"
        raise CommandError(f"{name!r} names no batch", code="batch.name", hint=hint)
    return provider_name, batch_id


def show_status(name: str, config: str | None, talk: Talk) -> int:
    """Ask once where a batch stands."""
    status = run_on_batch(name, config, lambda provider, batch_id: provider.poll_status(batch_id))
    _show(name, status, talk)
    return Exit.OK


def _show(name: str, status: ProviderStatus, talk: Talk) -> None:
    if talk.form != "text":
        talk.document("batch", batch=name, **msgspec.to_builtins(status, str_keys=True))
        return
    done = status.progress
    lines = {
        "batch": name,
        "status": status.status.value
        if status.status.value == status.raw_status
        else f"{status.status.value} ({status.raw_status})",
        "requests": f"{done.done:,} of {done.total:,} done, {done.failed:,} of them failed" if done.total else None,
        "created": _moment(status.created_at),
        "ended": _moment(status.completed_at),
        "expires": None if status.status.is_terminal else _moment(status.expires_at),
        "answers until": _moment(status.results_expire_at),
        "tokens": f"{status.usage.total_tokens:,}" if status.usage else None,
    }
    for label, value in lines.items():
        if value is not None:
            talk.tell(f"{label:<14}{value}")
    for error in status.errors:
        line = f"line {error.line}: " if error.line is not None else ""
        talk.tell(f"{'error':<14}{line}{error.code + ': ' if error.code else ''}{error.message}")


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def cancel_batch(name: str, config: str | None, talk: Talk, *, yes: bool) -> int:
    """Ask the provider to end a batch."""
    _split(name)
    if not yes:
        if not talk.can_ask:
            raise CommandError(f"cancelling {name} needs a yes", code="cancel.unconfirmed", hint="say --yes")
        if not talk.ask(f"Cancel {name}? Requests that were not reached will not be answered."):
            raise CommandError(f"no yes, so {name} goes on", code="cancel.declined")
    status = run_on_batch(name, config, lambda provider, batch_id: provider.cancel(batch_id))
    _show(name, status, talk)
    return Exit.OK


class ResultsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    name: str
    out: str | None = None
    requests: str | None = None
    wait: bool = False
    timeout_s: float | None = None
    poll_s: float | None = None
    config: str | None = None


def fetch_results(options: ResultsOptions, talk: Talk) -> int:
    """Fetch what a batch has answered, as `run` would have written it."""
    if talk.form != "text" and options.out is None:
        message = f"--{talk.form} takes standard output, so the rows need another place"
        raise CommandError(message, code="output.missing", hint="add -o results.jsonl")
    results = _Results(options, talk)
    try:
        return run_on_batch(options.name, options.config, results.fetch)
    except KeyboardInterrupt:
        talk.say(f"stopped; {options.name} goes on")
        return Exit.DETACHED
    finally:
        results.close()


class _Results:
    def __init__(self, options: ResultsOptions, talk: Talk) -> None:
        self._options = options
        self._talk = talk
        self._sink: Sink = OutFile(options.out) if options.out is not None else Stdout()
        self._tally = Tally()
        self._names = WireNames(options.requests)

    async def fetch(self, provider: BaseBatchProvider, batch_id: str) -> int:
        await self._names.read()
        self._sink.open()
        status = await provider.poll_status(batch_id)
        if not status.status.is_terminal and self._options.wait:
            status = await self._wait(provider, batch_id) or status
        if not status.status.is_terminal:
            message = f"{self._options.name} is not over yet: {status.status.value}"
            hint = "wait for it with --wait, or look again later"
            raise CommandError(message, code="batch.running", hint=hint, exit_code=Exit.STILL_RUNNING)
        await self._write(provider.fetch_results(batch_id).__aiter__())
        await anyio.to_thread.run_sync(self._sink.finish)
        return self._report(status)

    async def _wait(self, provider: BaseBatchProvider, batch_id: str) -> ProviderStatus | None:
        """Wait for the end; gives None when the time is up."""
        poll_s = self._options.poll_s
        told: list[object] = []
        async with BatchPoller(Polling() if poll_s is None else Polling(first_s=poll_s)) as poller:
            handle = poller.watch(provider, batch_id)
            handle.on_reading(lambda: self._tell(handle.last, told))
            with anyio.move_on_after(self._options.timeout_s):
                return await handle
        return None

    def _tell(self, status: ProviderStatus | None, told: list[object]) -> None:
        if status is None or (told and told[-1] == status.status):
            return
        told.append(status.status)
        done = status.progress
        count = answered(status.status, done)
        self._talk.say(f"{self._options.name}: {status.status.value}, {count:,}/{done.total:,}")
        self._talk.event(
            "batch_status",
            batch=self._options.name,
            status=status.status.value,
            completed=done.completed,
            failed=done.failed,
        )

    async def _write(self, rows: AsyncIterator[ProviderResultRow]) -> None:
        waiting: list[ProviderResultRow] = []
        async for row in rows:
            waiting.append(self._names.own(row))
            if len(waiting) >= _SLICE:
                await anyio.to_thread.run_sync(write_rows, waiting, self._sink, self._tally)
                waiting = []
        await anyio.to_thread.run_sync(write_rows, waiting, self._sink, self._tally)

    def _report(self, status: ProviderStatus) -> int:
        talk, tally = self._talk, self._tally
        missing = max(0, status.progress.total - tally.total)
        counts = counts_of(tally.outcomes)
        talk.say(f"{self._options.name} ended {status.status.value}: {counts or 'no answers'}")
        if missing:
            talk.say(f"{count_of(missing, 'request')} got no answer")
        for error in status.errors:
            talk.say(f"{error.code + ': ' if error.code else ''}{error.message}")
        if self._names.foreign:
            talk.say(self._names.note(self._options.requests))
        code = Exit.OK if exit_code_of(tally) is Exit.OK and tally.total and not missing else Exit.UNSUCCESSFUL
        fields: dict[str, Any] = {
            "batch": self._options.name,
            "status": status.status.value,
            "missing": missing,
            **tally.as_dict(),
        }
        talk.document("results", **fields, out=self._options.out, exit_code=int(code))
        return code

    def close(self) -> None:
        self._sink.leave()
