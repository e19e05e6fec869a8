"""`asyncbatch run`: read, check, say what it costs, send, watch, collect."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from uuid import uuid4

import anyio
import msgspec

from asyncbatch import (
    BatchClient,
    InvalidRequestsError,
    Job,
    Polling,
    PreparedSubmission,
    ProviderPermanentError,
    ProviderTransientError,
    Retry,
    batch_provider_registry,
)
from asyncbatch.catalog import Catalog, Price
from asyncbatch.cli.config import load_config, with_facts_of
from asyncbatch.cli.endings import CommandError, Exit, answer_sigterm_like_ctrl_c, leave_at_once_next_time
from asyncbatch.cli.following import Followed
from asyncbatch.cli.money import Budget, allow, describe, input_cost, price_of
from asyncbatch.cli.reading import RequestFile
from asyncbatch.cli.reporting import CREATING, bytes_of, count_of, report_detached, report_end
from asyncbatch.cli.talk import Talk
from asyncbatch.cli.writing import OutFile, Sink, Stdout
from asyncbatch.enums import InputChoice, OnUnsupported
from asyncbatch.exceptions import RowProblem


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

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
    metadata: Mapping[str, str] = {}
    budget: Budget = Budget()
    dry_run: bool = False
    timeout_s: float | None = None
    poll_s: float | None = None


def run_file(options: RunOptions, talk: Talk) -> int:
    """Run one file of requests to its end; gives the exit code."""
    if options.model is None:
        raise CommandError("which model? -m is missing", code="model.missing", hint="-m openai/gpt-4.1-mini")
    if talk.form != "text" and options.out is None and not options.dry_run:
        message = f"--{talk.form} takes standard output, so the rows need another place"
        raise CommandError(message, code="output.missing", hint="add -o results.jsonl")
    run = _Run(options, options.model, talk)
    answer_sigterm_like_ctrl_c()
    try:
        return anyio.run(run.go)
    except KeyboardInterrupt:
        leave_at_once_next_time()
        return run.leave(Exit.DETACHED)
    except InvalidRequestsError as error:
        raise run.refusal(error) from None
    finally:
        run.close()


class _Run:
    def __init__(self, options: RunOptions, model: str, talk: Talk) -> None:
        self._options = options
        self._model = model
        self._talk = talk
        self._source = RequestFile(options.file)
        sink: Sink = OutFile(options.out) if options.out is not None else Stdout()
        self._followed = Followed(sink)
        self._config: dict[str, Any] = {"allow_unknown_model": True} if options.any_model else {}
        self._price: Price | None = None
        self._catalog = load_config(options.config)

    async def go(self) -> int:
        self._source.open()
        self._catalog = with_facts_of(self._catalog, self._split()[0])
        self._price = price_of(self._catalog, *self._split())
        if self._options.dry_run:
            return await self._prepare()
        self._followed.sink.open()
        try:
            return await self._send()
        except Exception:
            self._say_left()
            raise

    def _split(self) -> tuple[str, str]:
        provider, slash, model = self._model.partition("/")
        if not (slash and provider and model):
            hint = f"write PROVIDER/MODEL, such as openai/{self._model.strip('/') or 'gpt-4.1-mini'}"
            raise CommandError(f"{self._model!r} names no provider", code="model.no_provider", hint=hint)
        return provider, model

    async def _send(self) -> int:
        options, talk = self._options, self._talk
        polling = Polling() if options.poll_s is None else Polling(first_s=options.poll_s)
        async with BatchClient(catalog=self._catalog, polling=polling) as client:
            job = await client.submit(
                self._source.requests(),
                model=self._model,
                mode=options.mode,
                endpoint=options.endpoint,
                on_bad_row="reject" if options.skip_bad else "error",
                on_unsupported=options.on_unsupported,
                input_mode=options.input_mode,
                replace_model=options.replace_model,
                metadata=options.metadata or None,
                allow_unknown_model=options.any_model,
                before_sending=self._before_sending,
            )
            self._followed.job = job
            # The client's tasks have not had a turn yet: what is said here is said before anything is sent.
            status = job.status()
            sent = sum(batch.requests for batch in status.batches)
            self._announce(status.requests, status.requests - sent, len(status.batches), status.dropped)
            with anyio.move_on_after(options.timeout_s) as waiting:
                await self._collect(job)
        if waiting.cancelled_caught:
            return self.leave(Exit.STILL_RUNNING)
        return report_end(job.status(), self._followed, self._price, talk)

    async def _collect(self, job: Job) -> None:
        try:
            await self._followed.collect(job, self._talk)
        except anyio.get_cancelled_exc_class():
            if any(batch.state in CREATING for batch in job.status().batches):
                self._talk.say("a create is under way and gets some seconds to end; Ctrl-C again leaves at once")
            raise

    async def _before_sending(self, requests: int, refused: int, batches: int) -> None:
        """Hold the job, whose rows were checked, until its price has a yes and the provider can be reached."""
        source, talk = self._source, self._talk
        if not batches:
            return
        can_ask = talk.can_ask and self._options.file != "-"
        if not allow(self._price, source.size, self._options.budget, can_ask=can_ask):
            assert self._price is not None
            question = f"{count_of(requests - refused, 'request')}, {describe(self._price, source.size)}. Send them?"
            if not talk.ask(question):  # it holds the loop, on which nothing has begun yet
                raise CommandError("no yes, so nothing was sent", code="cost.declined")
        if not await check_reachable(self._catalog, self._split()[0], self._config):
            self._talk.say("note: there is no list of batches at this address; does the base URL end in /v1?")

    def _announce(self, requests: int, refused: int, batches: int, dropped: Mapping[str, int]) -> None:
        price = f", {describe(self._price, self._source.size)}" if self._price else ", price not known"
        if not self._price:
            self._warn_of_a_slip()
        where = f"{count_of(batches, 'batch')} at {self._model}"
        self._talk.say(f"{count_of(requests, 'request')}, {bytes_of(self._source.size)} → {where}{price}")
        if refused:
            self._talk.say(f"{count_of(refused, 'row')} cannot be sent and will end rejected")
        for field, rows in dropped.items():
            self._talk.say(f"{field} is left out of {count_of(rows, 'request')}: the provider cannot express it")
        fields: dict[str, Any] = {"model": self._model, "requests": requests, "rejected": refused}
        fields |= {"dropped": dict(dropped)} if dropped else {}
        cost = input_cost(self._price, self._source.size) if self._price else None
        fields |= {"bytes": self._source.size, "batches": batches, "input_cost_usd": cost}
        if self._options.dry_run:
            self._talk.document("plan", **fields)
        else:
            self._talk.event("job_accepted", **fields)

    def _warn_of_a_slip(self) -> None:
        """A model that only a broad pattern fits may be a new one, or a known one misspelt; the provider will tell, later."""
        name, model = self._split()
        facts = self._catalog.provider(name) if name in self._catalog.names() else None
        known = [item.match for item in facts.models if not set(item.match) & set("*?[")] if facts else []
        near = get_close_matches(model, known, n=1, cutoff=0.8)
        if near and near[0] != model:
            self._talk.say(f"note: no model is known by the name {model!r} itself; did you mean {near[0]!r}?")

    async def _prepare(self) -> int:
        """Check everything as `submit` does, and send nothing."""
        options = self._options
        name, model = self._split()
        refused: list[RowProblem] = []
        async with batch_provider_registry.open(catalog=self._catalog) as scope:
            provider = scope.create(name, self._config)
            submissions = await provider.prepare_payloads(
                batch_id=uuid4(),
                model=model,
                mode=provider.mode_for(model, options.mode, options.endpoint),
                requests=self._source.requests(),
                endpoint=options.endpoint,
                wire_ids="minted",
                on_reject=refused.append if options.skip_bad else None,
                on_unsupported=options.on_unsupported,
                input_mode=options.input_mode,
                replace_model=options.replace_model,
                options={"metadata": dict(options.metadata)} if options.metadata else None,
            )
        self._announce(self._source.rows, len(refused), len(submissions), _dropped(submissions))
        self._talk.say("a dry run: nothing was sent")
        return Exit.OK

    def leave(self, code: Exit) -> int:
        """End before the job does: say what goes on without us."""
        if code is Exit.STILL_RUNNING:
            self._talk.say(f"still running after {self._options.timeout_s:g} s")
        self._say_left()
        if code is Exit.DETACHED and self._followed.job is None:
            self._talk.say("stopped; nothing was sent")
        return code

    def _say_left(self) -> None:
        status = self._followed.status
        if status is None:
            self._followed.sink.leave()
            return
        report_detached(status, self._followed, self._talk, requests=self._options.file, config=self._options.config)

    def refusal(self, error: InvalidRequestsError) -> CommandError:
        """Name the lines of the rows that cannot be sent."""
        problems = [self._problem(problem) for problem in error.problems]
        rows = count_of(error.count, "request")
        lines = [f"{rows} of {self._source.name} cannot be sent, so nothing was sent:"]
        lines += [f"  line {problem['line']}{_id(problem)}: {problem['message']}" for problem in problems]
        if error.count > len(problems):
            lines.append(f"  and {error.count - len(problems):,} more")
        hint = "mend them, or let the others go with --skip-bad"
        if any(problem.code == "mixed_models" for problem in error.problems):
            hint += "; --replace-model sends all of them to the model of -m"
        return CommandError("\n".join(lines), code=error.code or "invalid_requests", hint=hint, problems=problems)

    def _problem(self, problem: RowProblem) -> dict[str, Any]:
        message = problem.message
        if problem.code == "duplicate_id" and ", by row " in message:
            start, _, row = message.rpartition(", by row ")
            message = f"{start}, by line {self._source.line_of(int(row))}"
        return {
            "line": self._source.line_of(problem.row),
            "row": problem.row,
            "request_id": problem.request_id,
            "code": problem.code,
            "message": message,
        }

    def close(self) -> None:
        self._source.close()


def _dropped(submissions: Sequence[PreparedSubmission]) -> Mapping[str, int]:
    return next((submission.dropped for submission in submissions), dict[str, int]())


def _id(problem: Mapping[str, Any]) -> str:
    return f" ({problem['request_id']!r})" if problem["request_id"] is not None else ""


async def check_reachable(catalog: Catalog, name: str, config: Mapping[str, Any]) -> bool:
    """Ask the provider one harmless question, so that a wrong address or key is found before a large upload.

    Gives whether it knew the question.

    Raises:
        ProviderTransientError: Nobody answers there.
        ProviderPermanentError: The key is refused.
        ConfigError: There is no key.
    """
    async with batch_provider_registry.open(catalog=catalog, retry=Retry(attempts=2)) as scope:
        provider = scope.create(name, config)
        try:
            await provider.list_statuses(limit=1)
        except ProviderTransientError as error:
            if error.status is None:
                raise
        except ProviderPermanentError as error:
            if error.status == 401:  # a key may well be allowed to create batches and not to list them
                raise
            return error.status != 404
    return True
