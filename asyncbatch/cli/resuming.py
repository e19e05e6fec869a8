"""`asyncbatch resume`: take up every job that is not over, and watch all of them to their ends."""

from typing import Any

import anyio
import msgspec

from asyncbatch import BatchClient, Job
from asyncbatch.cli.config import load_config
from asyncbatch.cli.endings import Exit, answer_sigterm_like_ctrl_c, leave_at_once_next_time
from asyncbatch.cli.home import Home, short
from asyncbatch.cli.reporting import count_of, counts_of, counts_so_far
from asyncbatch.cli.talk import Talk, program
from asyncbatch.cli.watching import LinesView, watch
from asyncbatch.exceptions import AsyncBatchError


class ResumeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    home: str | None = None
    config: str | None = None
    timeout_s: float | None = None
    poll_s: float | None = None


def resume_jobs(options: ResumeOptions, talk: Talk) -> int:
    """Go on with everything that is unfinished; gives the exit code."""
    resuming = _Resuming(options, talk)
    answer_sigterm_like_ctrl_c()
    try:
        return anyio.run(resuming.go)
    except KeyboardInterrupt:
        leave_at_once_next_time()
        talk.say(f"stopped; what was created goes on, and the same command goes on with it: {program()} resume")
        return Exit.DETACHED


class _Resuming:
    def __init__(self, options: ResumeOptions, talk: Talk) -> None:
        self._options = options
        self._talk = talk
        self._home = Home(options.home)
        self._errors: dict[str, str] = {}

    async def go(self) -> int:
        jobs: list[Job] = []
        is_late = False
        if self._home.is_begun:
            async with self._home.open(load_config(self._options.config), poll_s=self._options.poll_s) as client:
                jobs = await self._take_up(client)
                with anyio.move_on_after(self._options.timeout_s) as waiting:
                    async with anyio.create_task_group() as group:
                        for job in jobs:
                            group.start_soon(self._follow, job)
            is_late = waiting.cancelled_caught
        return self._report(jobs, is_late=is_late)

    async def _take_up(self, client: BatchClient) -> list[Job]:
        jobs: list[Job] = []
        for known in await client.records(unfinished=True):
            try:
                jobs.append(await client.job(known.job_id))
            except AsyncBatchError as error:
                self._fail(known.job_id, error)
            else:
                other = "; another process has it, and is watched" if client.follows(known.job_id) else ""
                self._talk.say(f"job {short(known.job_id)}: {counts_so_far(known)}{other}")
        return jobs

    async def _follow(self, job: Job) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(watch, job, LinesView(self._talk, short(job.id)))
            try:
                await job.wait()
            except AsyncBatchError as error:
                self._fail(job.id, error)
            group.cancel_scope.cancel()

    def _fail(self, job_id: str, error: AsyncBatchError) -> None:
        self._errors[job_id] = error.message
        self._talk.say(
            f"job {short(job_id)} is left as it is: {error.message}{f' ({error.hint})' if error.hint else ''}"
        )

    def _report(self, jobs: list[Job], *, is_late: bool) -> int:
        if not jobs and not self._errors:
            self._talk.say(f"nothing is unfinished in {self._home.where}")
        statuses = [job.status() for job in jobs]
        for status in statuses:
            if status.is_over and status.job_id not in self._errors:
                self._talk.say(f"job {short(status.job_id)} is over: {counts_of(status.outcomes)}")
        left = [status for status in statuses if not status.is_over and status.job_id not in self._errors]
        if is_late and left:
            self._talk.say(f"{count_of(len(left), 'job')} still running after {self._options.timeout_s:g} s")
        code = Exit.OK if all(status.succeeded == status.requests for status in statuses) else Exit.UNSUCCESSFUL
        code = Exit.STILL_RUNNING if left else Exit.FAILED if self._errors else code
        found: list[dict[str, Any]] = [
            {
                "job": status.job_id,
                "is_over": status.is_over,
                "requests": status.requests,
                "outcomes": {outcome.value: count for outcome, count in sorted(status.outcomes.items())},
            }
            for status in statuses
        ]
        self._talk.document("resumed", jobs=found, errors=self._errors, exit_code=int(code))
        return code
