"""`asyncbatch run` and `submit`: read, check, say what it costs, send, watch, collect; or go on with what was begun."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread

from asyncbatch import BatchClient, InvalidRequestsError, Job, PreparedSubmission, batch_provider_registry
from asyncbatch.catalog import Price
from asyncbatch.cli.claims import rounds_of
from asyncbatch.cli.config import load_config, with_facts_of
from asyncbatch.cli.endings import (
    CommandError,
    Exit,
    answer_sigterm_like_ctrl_c,
    in_words_of_the_command,
    leave_at_once_next_time,
)
from asyncbatch.cli.following import Followed
from asyncbatch.cli.home import Home, short
from asyncbatch.cli.identity import Asked, address_of, look_up
from asyncbatch.cli.leaving import CREATING, Return, report_left, say_retry
from asyncbatch.cli.money import allow, describe, input_cost, price_of
from asyncbatch.cli.reaching import check_reachable
from asyncbatch.cli.reading import RequestFile
from asyncbatch.cli.reporting import bytes_of, count_of, report_end, tell_known
from asyncbatch.cli.run_options import RunOptions
from asyncbatch.cli.sinks import Nowhere, OutFile, Sink, Stdout
from asyncbatch.cli.talk import Talk
from asyncbatch.exceptions import RowProblem


def run_file(options: RunOptions, talk: Talk) -> int:
    """Run one file of requests to its end; gives the exit code."""
    run = _Run(options, options.check(talk), talk)
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
        self._home = Home(options.home)
        self._followed = Followed(self._sink(), is_ordered=options.ordered)
        self._key: str | None = None
        self._digest = ""
        self._config: dict[str, Any] = {"allow_unknown_model": True} if options.any_model else {}
        self._price: Price | None = None
        self._catalog = load_config(options.config)

    def _sink(self) -> Sink:
        if self._options.leaves:
            self._home.path  # noqa: B018 without one there is nothing to come back to
            return Nowhere()
        out, is_ordered = self._options.out, self._options.ordered
        claims = self._home.claims if not self._options.dry_run else None
        return OutFile(out, claims, is_ordered=is_ordered) if out is not None else Stdout()

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
            self._say_left(is_failing=True)
            raise

    def _split(self) -> tuple[str, str]:
        provider, slash, model = self._model.partition("/")
        if not (slash and provider and model):
            hint = f"write PROVIDER/MODEL, such as openai/{self._model.strip('/') or 'gpt-4.1-mini'}"
            raise CommandError(f"{self._model!r} names no provider", code="model.no_provider", hint=hint)
        return provider, model

    async def _send(self) -> int:
        options, talk, followed = self._options, self._talk, self._followed
        if self._home.is_kept:
            self._digest = await self._source.read_ahead()
        async with self._home.open(self._catalog, poll_s=options.poll_s) as client:
            job = followed.job = await self._known(client) or await self._submit(client)
            if options.leaves:
                return await self._submitted(job)
            with anyio.move_on_after(options.timeout_s) as waiting:
                await self._collect(job)
        if waiting.cancelled_caught:
            return self.leave(Exit.STILL_RUNNING)
        code = report_end(job.status(), followed, self._price, talk)
        say_retry(followed, talk, self._return)
        return code

    async def _known(self, client: BatchClient) -> Job | None:
        """Go on with the job that the same command began, if there is one."""
        if not self._home.is_kept:
            return None
        asked = Asked(
            content=self._digest,
            model=self._model,
            mode=self._options.mode,
            endpoint=self._options.endpoint,
            input_mode=self._options.input_mode,
            metadata=self._options.metadata,
            address=address_of(self._catalog, self._split()[0]),
        )
        known = await look_up(client, asked.key, again=self._options.again)
        self._key = known.key
        if known.unsent is not None:
            self._talk.say(f"nothing of job {short(known.unsent.job_id)} was ever sent; this is a new one")
        if known.job is None:
            return None
        await self._begin(known.job.job_id, rounds_of(known.job))
        job = await client.job(known.job.job_id)
        tell_known(job.status(), self._talk, is_followed=client.follows(job.id))
        if known.job.is_over:
            self._talk.say("--again sends it once more, and pays again")
        return job

    async def _begin(self, job_id: str | None, rounds: int = 0) -> None:
        await anyio.to_thread.run_sync(self._followed.sink.begin, job_id, rounds)

    async def _submit(self, client: BatchClient) -> Job:
        options = self._options
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
            key=self._key,
            retry=options.retry,
            max_attempts=options.attempts,
            cleanup=options.cleanup,
        )
        self._followed.job = job
        # The client's tasks have not had a turn yet: what is said here is said before anything is sent.
        status = job.status()
        sent = sum(batch.requests for batch in status.batches)
        self._announce(status.requests, status.requests - sent, len(status.batches), status.dropped)
        await self._begin(job.id)
        return job

    async def _submitted(self, job: Job) -> int:
        """Wait until everything has its batch, and name the job."""
        batches = await job.submitted()
        self._talk.say(f"sent in {count_of(len(batches), 'batch')}. Collect the outcomes with:")
        for command in self._return.commands(job.id, "results.jsonl"):
            self._talk.say(f"  {command}")
        if self._talk.form == "text":
            self._talk.tell(job.id)
        status = job.status()
        fields = {"provider": status.provider, "model": status.model, "requests": status.requests}
        self._talk.document("job_submitted", job=job.id, **fields, batches=list(batches))
        return Exit.OK

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
        await self._begin(None)
        if self._digest and source.digest != self._digest:
            message = f"{source.name} has changed while it was read, so nothing was sent"
            raise CommandError(message, code="input.changed", hint="begin again once it is whole")
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

    def _say_left(self, *, is_failing: bool = False) -> None:
        status = self._followed.status
        if status is None:
            self._followed.sink.leave()
            return
        report_left(status, self._followed, self._talk, self._return, is_failing=is_failing)

    @property
    def _return(self) -> Return:
        return Return(home=self._home, config=self._options.config, requests=self._options.file)

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
        message = in_words_of_the_command(problem.message)
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
