"""Our mark on what lies at a provider: tags of batches and names of files, and which job one belongs to.

The tag of an attempt is `ab1-<job>-<submission>-<attempt>-<nonce>`; a batch that is made before the first attempt has that of
attempt 0, which is none. A file carries the tag in front of its number, or, before the first attempt has one, `ab1-<job>`
alone. The job is the beginning of its id, as `asyncbatch ls` shows it. Nothing of the user's is in either.
"""

import re

from asyncbatch.dto import PreparedSubmission

_JOB_DIGITS = 8
_TAG = re.compile(r"ab1-([0-9a-f]{8})-\d+-\d+-[0-9a-f]{16}")
_FILE = re.compile(r"ab1-([0-9a-f]{8})(?:-\d+-\d+-[0-9a-f]{16})?-\d{4,}\.jsonl")


def encode_file_name(submission: PreparedSubmission) -> str:
    """Name the file of a submission, so that one whose upload was never answered can be told to be ours."""
    mark = submission.tag or f"ab1-{submission.batch_id.hex[:_JOB_DIGITS]}"
    return f"{mark}-{submission.chunk_index:04d}.jsonl"


def encode_early_tag(submission: PreparedSubmission, nonce: str) -> str:
    """Make a tag for what is made before the first attempt has one."""
    return f"ab1-{submission.batch_id.hex[:_JOB_DIGITS]}-{submission.chunk_index}-0-{nonce}"


def job_of_tag(tag: str) -> str | None:
    """Give the beginning of the id of the job that a tag was made for; None where it is no tag of ours."""
    found = _TAG.fullmatch(tag)
    return found[1] if found else None


def job_of_file(name: str) -> str | None:
    """Give the beginning of the id of the job that a file was uploaded for; None where its name is not of our making."""
    found = _FILE.fullmatch(name)
    return found[1] if found else None


def mark_of_job(job_id: str) -> str:
    """Give of a job's id what its marks carry."""
    return job_id[:_JOB_DIGITS]
