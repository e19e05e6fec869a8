"""The closed sets, word for word."""

import pytest

from asyncbatch.enums import BatchMode, BatchStatus, ErrorClass, ResultStatus, SubmitSafety


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (BatchMode, "chat completion embedding custom"),
        (
            BatchStatus,
            "validating queued in_progress finalizing completed failed expired cancelling cancelled unknown",
        ),
        (
            ResultStatus,
            "succeeded errored expired cancelled missing rejected undecodable conflict indeterminate",
        ),
        (SubmitSafety, "idempotent named tagged_fenced tagged inferred none"),
        (ErrorClass, "transient permanent later"),
    ],
)
def test_the_vocabulary_is_the_specified_one(members, words):
    assert [member.value for member in members] == words.split()
    assert all(member.name == member.value.upper() == str(member).upper() for member in members)


def test_four_words_are_an_end_and_unknown_is_none_of_them():
    assert {status for status in BatchStatus if status.is_terminal} == {
        BatchStatus.COMPLETED,
        BatchStatus.FAILED,
        BatchStatus.EXPIRED,
        BatchStatus.CANCELLED,
    }


def test_only_an_answer_is_a_success():
    assert [status for status in ResultStatus if status.is_success] == [ResultStatus.SUCCEEDED]
