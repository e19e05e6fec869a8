"""The commands about jobs that a journal remembers, and about batches by their names. Only click is imported here."""

from typing import Any

import click

from asyncbatch.cli.endings import EXIT_CODES
from asyncbatch.cli.options import (
    cli,
    config_option,
    home_option,
    ordered_option,
    poll_option,
    talk_options,
    timeout_option,
)
from asyncbatch.cli.talk import Talk

out_option = click.option("--output", "-o", "out", type=click.Path(), help="Where the outcomes go.")


@cli.command(epilog=EXIT_CODES)
@click.argument("job")
@out_option
@ordered_option
@timeout_option
@poll_option
@home_option
@config_option
@talk_options
def watch(talk: Talk, *, job: str, **options: Any) -> int:
    """Go on with a job and watch it to its end.

    JOB is its id, the beginning of it, or `last`.
    """
    from asyncbatch.cli.collecting import CollectOptions, collect_job

    return collect_job(CollectOptions(name=job, **options), talk)


@cli.command(epilog=EXIT_CODES)
@click.argument("name", metavar="JOB|PROVIDER/BATCH_ID")
@out_option
@click.option(
    "--requests",
    type=click.Path(),
    metavar="FILE",
    help="Of a batch: the file that was sent gives the rows their own ids.",
)
@click.option("--wait", is_flag=True, help="Wait for the end.")
@ordered_option
@timeout_option
@poll_option
@home_option
@config_option
@talk_options
def results(talk: Talk, *, name: str, requests: str | None, wait: bool, home: str | None, **options: Any) -> int:
    """Fetch the outcomes of a job or a batch that is over; without -o, to standard output.

    A job's come from the journal, and nobody is asked.
    """
    if "/" in name:
        from asyncbatch.cli.batches import ResultsOptions, fetch_results

        if options.pop("ordered"):
            raise click.UsageError("--ordered is for jobs: in which order a batch was sent, it does not say")
        return fetch_results(ResultsOptions(name=name, requests=requests, wait=wait, **options), talk)
    from asyncbatch.cli.collecting import CollectOptions, collect_job

    return collect_job(CollectOptions(name=name, waits=wait, shows_rows=True, home=home, **options), talk)


@cli.command(epilog=EXIT_CODES)
@click.argument("job")
@click.option(
    "--only",
    default="errored,expired,missing",
    show_default=True,
    metavar="OUTCOMES",
    help="Which requests, by how they ended. `indeterminate` ones may be paid for twice.",
)
@out_option
@ordered_option
@click.option("--detach", is_flag=True, help="Leave once they are sent; `watch` and `results` collect the outcomes.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@timeout_option
@poll_option
@home_option
@config_option
@talk_options
def retry(talk: Talk, *, job: str, **options: Any) -> int:
    """Send requests of a job that is over again, and watch it to its end.

    What was answered is kept and not asked for again; the output holds all of the job, each request once. If it was stopped
    on its way, the same command goes on.
    """
    from asyncbatch.cli.retrying import RetryOptions, retry_job

    return retry_job(RetryOptions(name=job, **options), talk)


@cli.command()
@click.argument("name", metavar="JOB|PROVIDER/BATCH_ID")
@home_option
@config_option
@talk_options
def status(talk: Talk, *, name: str, home: str | None, config: str | None) -> int:
    """Ask once where a batch stands, or each batch of a job."""
    if "/" in name:
        from asyncbatch.cli.batches import show_status

        return show_status(name, config, talk)
    from asyncbatch.cli.jobs import show_job_status

    return show_job_status(name, home, config, talk)


@cli.command()
@click.argument("name", metavar="JOB|PROVIDER/BATCH_ID")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@home_option
@config_option
@talk_options
def cancel(talk: Talk, *, name: str, yes: bool, home: str | None, config: str | None) -> int:
    """Ask the provider to end a batch, or a job. What it has answered so far is kept."""
    if "/" in name:
        from asyncbatch.cli.batches import cancel_batch

        return cancel_batch(name, config, talk, yes=yes)
    from asyncbatch.cli.cancelling import cancel_job

    return cancel_job(name, home, config, talk, yes=yes)


@cli.command()
@home_option
@config_option
@talk_options
def ls(talk: Talk, *, home: str | None, config: str | None) -> int:
    """List the jobs, the latest last."""
    from asyncbatch.cli.jobs import list_jobs

    return list_jobs(home, config, talk)


@cli.command("show")
@click.argument("job")
@home_option
@config_option
@talk_options
def show_one(talk: Talk, *, job: str, home: str | None, config: str | None) -> int:
    """Show all about a job, as the journal knows it."""
    from asyncbatch.cli.jobs import show_job

    return show_job(job, home, config, talk)


@cli.command(epilog=EXIT_CODES)
@timeout_option
@poll_option
@home_option
@config_option
@talk_options
def resume(talk: Talk, **options: Any) -> int:
    """Go on with every job that is not over, and watch them to their ends."""
    from asyncbatch.cli.resuming import ResumeOptions, resume_jobs

    return resume_jobs(ResumeOptions(**options), talk)


@cli.command()
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Forget jobs that are over and were accepted longer ago.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@home_option
@talk_options
def gc(talk: Talk, *, days: float, dry_run: bool, home: str | None) -> int:
    """Make room: forget old jobs that are over, and what killed commands left behind. Nothing at a provider is touched.

    A job that is forgotten is paid for again if its file is run again. `asyncbatch orphans` finds what lies at a provider.
    """
    from asyncbatch.cli.sweeping import collect_garbage

    return collect_garbage(days, home, talk, is_dry=dry_run)


@cli.command()
@click.argument("provider")
@click.option("--delete", is_flag=True, help="Delete those that are over and old enough.")
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Old enough is what ended, or was uploaded, longer ago.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@home_option
@config_option
@talk_options
def orphans(talk: Talk, **options: Any) -> int:
    """List batches and files at a PROVIDER that carry our mark and that no job here knows.

    Nothing is changed without --delete, and then only what is over and old enough. Jobs of other directories and machines look
    like orphans too.
    """
    from asyncbatch.cli.orphans import OrphanOptions, show_orphans

    return show_orphans(OrphanOptions(**options), talk)


@cli.command()
@click.argument("query", required=False)
@home_option
@talk_options
def sql(talk: Talk, *, query: str | None, home: str | None) -> int:
    """Open the journal's tables in the shell of SQLite, or answer a QUERY. Nothing can be changed that way."""
    from asyncbatch.cli.sweeping import open_tables

    return open_tables(query, home, talk)
