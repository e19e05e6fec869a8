"""`asyncbatch watch` and `results JOB`: the outcomes of a job that a journal remembers."""

import anyio
import anyio.to_thread
import msgspec

from asyncbatch import BatchClient, Job, JobStatus
from asyncbatch.cli.claims import rounds_of
from asyncbatch.cli.endings import CommandError, Exit, answer_sigterm_like_ctrl_c, leave_at_once_next_time
from asyncbatch.cli.following import Followed
from asyncbatch.cli.home import JobOptions, short
from asyncbatch.cli.leaving import Return, report_left, say_retry
from asyncbatch.cli.money import price_of
from asyncbatch.cli.reporting import progress_of, report_end, tell_known
from asyncbatch.cli.sinks import Nowhere, OutFile, Sink, Stdout
from asyncbatch.cli.talk import Talk, program


class CollectOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line.

    Attributes:
        waits: Go on with the job to its end; otherwise only a job that is over is answered.
        shows_rows: Rows go to standard output where no `-o` takes them.
        ordered: Rows come in the order of the requests.
    """

    name: str
    out: str | None = None
    waits: bool = True
    shows_rows: bool = False
    ordered: bool = False
    timeout_s: float | None = None
    poll_s: float | None = None
    home: str | None = None
    config: str | None = None


def collect_job(options: CollectOptions, talk: Talk) -> int:
    """Give the outcomes of a job; gives the exit code."""
    if talk.form != "text" and options.shows_rows and options.out is None:
        message = f"--{talk.form} takes standard output, so the rows need another place"
        raise CommandError(message, code="output.missing", hint="add -o results.jsonl")
    return collect(Collecting(options, talk))


def collect(collecting: "Collecting") -> int:
    """Let it go to its end, or to where it is stopped."""
    answer_sigterm_like_ctrl_c()
    try:
        return anyio.run(collecting.go)
    except KeyboardInterrupt:
        leave_at_once_next_time()
        return collecting.leave(Exit.DETACHED)


class Collecting:
    """A job of the journal, followed to its end."""

    def __init__(self, options: CollectOptions, talk: Talk) -> None:
        self._options = options
        self._talk = talk
        self._job = JobOptions(name=options.name, home=options.home, config=options.config)
        self._followed = Followed(self._sink(), is_ordered=options.ordered)

    def _sink(self) -> Sink:
        options = self._options
        if options.out is not None:
            return OutFile(options.out, self._job.home.claims, is_ordered=options.ordered)
        if options.shows_rows:
            return Stdout()
        if options.ordered:
            message = "--ordered puts rows in order, and without an output there are none"
            raise CommandError(message, code="output.missing", hint="add -o results.jsonl")
        return Nowhere()

    async def go(self) -> int:
        self._followed.sink.open()
        try:
            return await self._collect()
        except BrokenPipeError:  # a reader that has seen enough
            raise
        except Exception:
            self._leave(is_failing=True)
            raise

    async def _collect(self) -> int:
        options, followed = self._options, self._followed
        async with self._job.open(poll_s=options.poll_s) as (client, known):
            job = followed.job = await self._take_up(client, known)
            if job is None:
                return Exit.OK
            with anyio.move_on_after(options.timeout_s) as waiting:
                await followed.collect(job, self._talk)
        if waiting.cancelled_caught:
            return self.leave(Exit.STILL_RUNNING)
        return self._report(job.status())

    async def _take_up(self, client: BatchClient, known: JobStatus) -> Job | None:
        """Give the job whose rows are wanted; None where there is nothing to do."""
        if not (known.is_over or self._options.waits):
            raise self._still_running(known)
        await self._begin(known.job_id, rounds_of(known))
        job = await client.job(known.job_id)
        if self._options.waits:
            tell_known(job.status(), self._talk, is_followed=client.follows(job.id))
        return job

    async def _begin(self, job_id: str, rounds: int) -> None:
        await anyio.to_thread.run_sync(self._followed.sink.begin, job_id, rounds)

    def _report(self, status: JobStatus) -> int:
        followed, price = self._followed, price_of(self._job.catalog, status.provider, status.model)
        code = report_end(status, followed, price, self._talk)
        if isinstance(followed.sink, Nowhere):
            self._talk.say(f"its rows: {program()} results {short(status.job_id)} -o results.jsonl{self._job.tail}")
        say_retry(followed, self._talk, self._return)
        return code

    def _still_running(self, known: JobStatus) -> CommandError:
        message = f"job {short(known.job_id)} is not over yet: {progress_of(known)}"
        hint = f"go on with it: {program()} watch {short(known.job_id)}{self._job.tail}"
        return CommandError(message, code="job.running", hint=hint, exit_code=Exit.STILL_RUNNING)

    def leave(self, code: Exit) -> int:
        """End before the job does."""
        if code is Exit.STILL_RUNNING:
            self._talk.say(f"still running after {self._options.timeout_s:g} s")
        self._leave()
        return code

    def _leave(self, *, is_failing: bool = False) -> None:
        status = self._followed.status
        if status is None:
            self._followed.sink.leave()
            return
        report_left(status, self._followed, self._talk, self._return, is_failing=is_failing)

    @property
    def _return(self) -> Return:
        return Return(home=self._job.home, config=self._options.config)
