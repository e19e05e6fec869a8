"""When a policy lets a batch's files go, and what counts as nobody's: whatever is not certain stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncbatch import BatchStatus, ConfigError, Progress, ProviderStatus, ResultStatus
from asyncbatch.dto import RemoteFile
from asyncbatch.planning.tidying import Known, Survey, check_cleanup, may_delete

NOW = 1_795_000_000.0
DAY_S = 86_400.0
NONCE = "0123456789abcdef"
TAG = f"ab1-6f1c0c0a-0-1-{NONCE}"
OTHER = f"ab1-ffffffff-0-1-{NONCE}"
UNCLEAR = ["missing", "undecodable", "conflict", "indeterminate"]
CLEAR = [status.value for status in ResultStatus if status.value not in UNCLEAR]


# The policy


@pytest.mark.parametrize("cleanup", ["never", "succeeded", "settled"])
def test_a_policy_is_one_of_three_words(cleanup):
    check_cleanup(cleanup, is_durable=True)


@pytest.mark.parametrize("cleanup", ["always", "", None, True, 1, ["never"]])
def test_anything_else_is_no_policy(cleanup):
    with pytest.raises(ConfigError, match="never") as caught:
        check_cleanup(cleanup, is_durable=True)

    assert caught.value.code == "config.value"


@pytest.mark.parametrize("cleanup", ["succeeded", "settled"])
def test_answers_are_not_deleted_where_ours_end_with_the_process(cleanup):
    with pytest.raises(ConfigError, match="memory") as caught:
        check_cleanup(cleanup, is_durable=False)

    assert caught.value.code == "cleanup.memory"
    check_cleanup("never", is_durable=False)


def test_by_default_nothing_goes():
    assert not may_delete("never", {"succeeded": 3}, 3)


def test_succeeded_is_every_request_and_not_most_of_them():
    assert may_delete("succeeded", {"succeeded": 3}, 3)
    assert not may_delete("succeeded", {"succeeded": 2, "errored": 1}, 3)
    assert not may_delete("succeeded", {"succeeded": 2}, 3)


@given(st.dictionaries(st.sampled_from(CLEAR), st.integers(1, 9)))
def test_settled_is_every_request_with_an_outcome_that_says_something(outcomes):
    total = sum(outcomes.values())

    assert may_delete("settled", outcomes, total)
    assert not may_delete("settled", outcomes, total + 1), "the ledger does not add up"


@pytest.mark.parametrize("unclear", UNCLEAR)
def test_evidence_stays(unclear):
    assert not may_delete("settled", {"succeeded": 2, unclear: 1}, 3)


# The survey


def batch(ref, tag=TAG, status=BatchStatus.COMPLETED, **fields):
    given_ = {"created_at": NOW - 4 * DAY_S, "completed_at": NOW - 3 * DAY_S, "input_ref": f"in-{ref}", **fields}
    return ProviderStatus(
        provider_batch_id=ref,
        status=status,
        metadata={"t": tag} if tag else {},
        progress=Progress(total=7),
        **given_,
    )


def file(ref, name="ab1-6f1c0c0a-0000.jsonl", at=NOW - 3 * DAY_S):
    return RemoteFile(ref=ref, name=name, size=10, created_at=at)


def survey(shown=(), files=None, **known):
    found = Survey(Known(**{key: frozenset(value) for key, value in known.items()}))
    found.add_batches(shown, lambda status: status.metadata.get("t"))
    if files is not None:
        found.add_files(files)
    return found


def batches_of(found, before=NOW - 2 * DAY_S, is_left=lambda status, files: True):
    return {orphan.ref: orphan.keeps for orphan in found.batches(before, is_left)}


def files_of(found, before=NOW - 2 * DAY_S):
    return {orphan.ref: orphan.keeps for orphan in found.files(before)}


def test_a_batch_with_our_mark_that_nobody_knows_is_an_orphan_and_says_whose_it_was():
    (orphan,) = survey([batch("b")]).batches(NOW, lambda *_: True)

    assert (orphan.ref, orphan.mark, orphan.job, orphan.is_file) == ("b", TAG, "6f1c0c0a", False)
    assert (orphan.status, orphan.requests, orphan.keeps) == (BatchStatus.COMPLETED, 7, None)


@pytest.mark.parametrize("tag", [None, "", "mine", "ab1-x", TAG + "0"])
def test_a_batch_without_our_mark_is_none_of_our_business(tag):
    assert batches_of(survey([batch("b", tag)])) == {}


@pytest.mark.parametrize("known", [{"tags": [TAG]}, {"batches": ["b"]}, {"inputs": ["b"]}])
def test_what_the_journal_knows_by_tag_or_by_name_is_no_orphan(known):
    assert batches_of(survey([batch("b")], **known)) == {}


@pytest.mark.parametrize(
    "status", [BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, BatchStatus.CANCELLING, BatchStatus.UNKNOWN]
)
def test_a_batch_that_may_still_run_is_shown_and_kept(status):
    running = batch("b", status=status, completed_at=None)

    assert batches_of(survey([running], [file("in-b")])) == {"b": "running"}
    assert files_of(survey([running], [file("in-b")])) == {}


def test_a_batch_is_as_old_as_its_end():
    young = batch("b", completed_at=NOW - DAY_S)
    endless = batch("c", OTHER, completed_at=None, created_at=None)
    failed = batch("d", OTHER, completed_at=None)

    assert batches_of(survey([young, endless, failed])) == {"b": "young", "c": "young", "d": None}


def test_where_age_does_not_matter_a_batch_of_no_age_may_go_once_it_is_over():
    endless = batch("b", completed_at=None, created_at=None)
    running = batch("c", OTHER, status=BatchStatus.IN_PROGRESS)

    assert batches_of(survey([endless, running]), before=None) == {"b": None, "c": "running"}


def test_a_job_that_goes_on_here_loses_nothing():
    found = survey([batch("b")], [file("f")], open_jobs=["6f1c0c0a"])

    assert batches_of(found) == {"b": "open_job"}
    assert files_of(found) == {"f": "open_job"}


def test_a_batch_of_which_nothing_is_left_is_not_shown_again():
    gone = survey([batch("b"), batch("c", OTHER)], [file("in-c")])

    assert batches_of(gone, is_left=lambda status, files: status.input_ref in files) == {"c": None}


def test_without_a_list_of_files_every_batch_is_shown():
    assert batches_of(survey([batch("b")]), is_left=lambda *_: False) == {"b": None}


def test_a_file_with_our_name_that_nobody_knows_is_an_orphan():
    (orphan,) = survey(files=[file("f"), file("g", "notes.jsonl")]).files(NOW)

    assert (orphan.ref, orphan.mark, orphan.job, orphan.is_file) == ("f", "ab1-6f1c0c0a-0000.jsonl", "6f1c0c0a", True)
    assert (orphan.size, orphan.keeps) == (10, None)


def test_a_known_input_is_no_orphan():
    assert files_of(survey(files=[file("f")], inputs=["f"])) == {}


@pytest.mark.parametrize(("at", "keeps"), [(NOW - 3 * DAY_S, None), (NOW - DAY_S, "young"), (None, "young")])
def test_a_file_is_as_old_as_its_upload(at, keeps):
    assert files_of(survey(files=[file("f", at=at)])) == {"f": keeps}


def test_the_files_of_an_orphan_go_with_it_and_are_not_shown_beside_it():
    assert files_of(survey([batch("b", result_uris=("out-b",))], [file("in-b"), file("out-b")])) == {}


def test_a_file_that_somebody_elses_batch_reads_is_not_shown():
    running = batch("b", tag=None, status=BatchStatus.IN_PROGRESS, completed_at=None)

    assert files_of(survey([running], [file("in-b")])) == {}


def test_a_running_batch_that_does_not_name_its_input_keeps_the_files_of_its_job():
    running = batch("b", status=BatchStatus.IN_PROGRESS, completed_at=None, input_ref=None)

    assert files_of(survey([running], [file("f")])) == {"f": "open_job"}
    assert files_of(survey([running], [file("f")], tags=[TAG])) == {"f": "open_job"}
