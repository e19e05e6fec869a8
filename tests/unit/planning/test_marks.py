"""Our mark on batches and files: made in one place, and told from everything else."""

from uuid import UUID

import pytest

from asyncbatch import BatchMode, PreparedSubmission
from asyncbatch.engine.create import make_tag
from asyncbatch.planning.marks import encode_early_tag, encode_file_name, job_of_file, job_of_tag, mark_of_job
from asyncbatch.testing.runtime import VirtualClock, virtual_runtime

JOB = UUID("6f1c0c0a-58a3-4b52-9a0c-3a7f6a3a0d11")
NONCE = "0123456789abcdef"


def submission(**fields):
    return PreparedSubmission(batch_id=JOB, provider_name="p", model="m", mode=BatchMode.CHAT, endpoint="/x", **fields)


def test_the_tag_of_an_attempt_tells_its_job():
    tag = make_tag(JOB.hex, 3, 12, virtual_runtime(VirtualClock()))

    assert job_of_tag(tag) == mark_of_job(JOB.hex) == "6f1c0c0a"


def test_what_is_made_before_the_first_attempt_tells_its_job_as_a_tag_of_none_does():
    tag = encode_early_tag(submission(chunk_index=3), NONCE)

    assert tag == f"ab1-6f1c0c0a-3-0-{NONCE}"
    assert job_of_tag(tag) == "6f1c0c0a"


def test_a_file_is_named_by_its_job_before_there_is_a_tag_and_by_the_tag_after():
    tag = f"ab1-6f1c0c0a-3-1-{NONCE}"
    first, later = (encode_file_name(submission(chunk_index=3, tag=mark)) for mark in (None, tag))

    assert first == "ab1-6f1c0c0a-0003.jsonl"
    assert later == f"{tag}-0003.jsonl"
    assert job_of_file(first) == job_of_file(later) == "6f1c0c0a"


def test_a_job_of_ten_thousand_batches_names_its_files_too():
    assert job_of_file(encode_file_name(submission(chunk_index=12_345))) == "6f1c0c0a"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab1",
        "ab2-6f1c0c0a-0-1-" + NONCE,
        "ab1-6F1C0C0A-0-1-" + NONCE,
        "ab1-6f1c0c0-0-1-" + NONCE,
        "ab1-6f1c0c0a-0-1-" + NONCE + "0",
        "ab1-6f1c0c0a-0-1-" + NONCE + "\n",
        " ab1-6f1c0c0a-0-1-" + NONCE,
        "ab1-6f1c0c0a-0000.jsonl.bak",
        "my-ab1-6f1c0c0a-0000.jsonl",
        "ab1-6f1c0c0a-0000.json",
        "6f1c0c0a-58a3-4b52-9a0c-3a7f6a3a0d11-0000.jsonl",
    ],
)
def test_what_only_looks_like_a_mark_is_nobodys(text):
    assert job_of_tag(text) is None
    assert job_of_file(text) is None
