"""How a request ended that has no answer."""

import pytest

from asyncbatch.dto import BatchErrorItem, ProviderStatus, RowError
from asyncbatch.engine.outcomes import indeterminate, lost, refused, rejected, unanswered, withdrawn
from asyncbatch.enums import BatchStatus, ErrorClass, ResultStatus
from asyncbatch.exceptions import ProviderPermanentError, ProviderTransientError, RowProblem, SubmissionUnknownError

CLASSES = {"token_limit_exceeded": ErrorClass.LATER, "server_error": ErrorClass.TRANSIENT}


def classify(code):
    return CLASSES.get(code, ErrorClass.PERMANENT)


def ended(status: BatchStatus, *errors: BatchErrorItem, **fields):
    return unanswered(ProviderStatus(provider_batch_id="b1", status=status, errors=errors, **fields), classify)


@pytest.mark.parametrize(
    ("end", "status", "code", "retryable"),
    [
        (BatchStatus.COMPLETED, ResultStatus.MISSING, "missing", True),
        (BatchStatus.EXPIRED, ResultStatus.EXPIRED, "batch_expired", True),
        (BatchStatus.CANCELLED, ResultStatus.CANCELLED, "batch_cancelled", False),
    ],
)
def test_a_request_without_an_answer_ends_as_its_batch_did(end, status, code, retryable):
    row = ended(end, raw_status="their word")(4, "mine")

    assert (row.request_id, row.status) == ("mine", status)
    assert row.error == RowError(
        code=code, message="batch b1 ended their word without an answer to it", retryable=retryable
    )
    assert not row.body


def test_our_word_stands_in_where_the_provider_gave_none():
    assert "ended completed" in ended(BatchStatus.COMPLETED)(0, "a").error.message


def test_the_row_that_the_provider_blames_gets_its_code_and_the_others_may_go_again():
    fill = ended(BatchStatus.FAILED, BatchErrorItem(code="invalid_json_line", message="not JSON", line=3))

    blamed, other = fill(2, "third"), fill(0, "first")

    assert blamed.error == RowError(code="invalid_json_line", message="not JSON", retryable=False)
    assert other.error == RowError(
        code="batch_failed", message="batch b1 failed: invalid_json_line: not JSON", retryable=True
    )
    assert blamed.status is other.status is ResultStatus.ERRORED


@pytest.mark.parametrize(
    ("errors", "may_again"),
    [
        ([], False),
        ([BatchErrorItem(code="token_limit_exceeded")], True),
        ([BatchErrorItem(code="server_error")], True),
        ([BatchErrorItem(code="token_limit_exceeded"), BatchErrorItem(code="server_error")], True),
        ([BatchErrorItem(code="billing_hard_limit_reached")], False),
        ([BatchErrorItem(code="token_limit_exceeded"), BatchErrorItem(code="model_not_found")], False),
        ([BatchErrorItem(code="duplicate_custom_id", line=1), BatchErrorItem(code="invalid_url", line=2)], True),
        ([BatchErrorItem(code="duplicate_custom_id", line=1), BatchErrorItem(code="model_not_found")], False),
        ([BatchErrorItem(code="empty_file", line=0)], False),  # no line is numbered 0
    ],
)
def test_the_rest_of_a_failed_batch_may_be_sent_again_where_the_fault_passes_or_lies_with_named_rows(errors, may_again):
    row = ended(BatchStatus.FAILED, *errors)(9, "tenth")

    assert (row.error.code, row.error.retryable) == ("batch_failed", may_again)


def test_a_blamed_row_may_be_sent_again_where_its_own_code_says_so():
    assert ended(BatchStatus.FAILED, BatchErrorItem(code="server_error", line=1))(0, "a").error.retryable


@pytest.mark.parametrize(
    ("errors", "error_message", "why"),
    [
        ([], None, "the provider gave no reason"),
        ([], "they say so", "they say so"),
        ([BatchErrorItem(code="c", message="m")], "they say so", "c: m"),
        ([BatchErrorItem(code="c"), BatchErrorItem(message="m")], None, "c; m"),
        ([BatchErrorItem(code=f"c{n}") for n in range(9)], None, "c0; c1; c2"),
    ],
)
def test_why_a_batch_failed_is_told_with_its_first_reasons(errors, error_message, why):
    row = ended(BatchStatus.FAILED, *errors, error_message=error_message)(0, "a")

    assert row.error.message == f"batch b1 failed: {why}"


STATUS = ProviderStatus(provider_batch_id="b1", status=BatchStatus.COMPLETED)


@pytest.mark.parametrize(
    ("fill", "status", "error"),
    [
        (
            refused(ProviderPermanentError("no such model")),
            ResultStatus.ERRORED,
            RowError(code="batch_failed", message="the batch was refused: no such model"),
        ),
        (
            refused(ProviderTransientError("busy")),
            ResultStatus.ERRORED,
            RowError(code="batch_failed", message="the batch was refused: busy", retryable=True),
        ),
        (
            withdrawn(),
            ResultStatus.CANCELLED,
            RowError(code="not_sent", message="the job was cancelled before this request was sent", retryable=True),
        ),
        (
            indeterminate("nobody knows"),
            ResultStatus.INDETERMINATE,
            RowError(code="create_unknown", message="nobody knows"),
        ),
        (
            lost(STATUS, ProviderPermanentError("deleted", code="gone")),
            ResultStatus.MISSING,
            RowError(code="gone", message="the answers of batch b1 cannot be fetched: deleted", retryable=True),
        ),
        (
            lost(STATUS, SubmissionUnknownError("who knows")),
            ResultStatus.MISSING,
            RowError(
                code="results_gone", message="the answers of batch b1 cannot be fetched: who knows", retryable=True
            ),
        ),
    ],
)
def test_a_request_that_got_no_answer_for_another_reason_says_which(fill, status, error):
    row = fill(0, "mine")

    assert (row.request_id, row.status, row.error) == ("mine", status, error)


def test_a_request_that_we_refused_says_why():
    row = rejected(RowProblem(3, "mine", "nan", "it holds NaN"), "mine")

    assert (row.request_id, row.status) == ("mine", ResultStatus.REJECTED)
    assert row.error == RowError(code="nan", message="it holds NaN")


@pytest.mark.parametrize(
    ("status", "code"), [(BatchStatus.COMPLETED, "unverified"), (BatchStatus.EXPIRED, "batch_expired")]
)
def test_where_nothing_proves_that_the_answers_came_whole_a_missing_one_says_so(status, code):
    row = unanswered(ProviderStatus(provider_batch_id="b1", status=status), classify, is_verified=False)(0, "r1")

    assert row.error.code == code
    assert "nothing proves that its answers came whole" in row.error.message
