"""Whose a batch is that carries no mark of ours: the ids of its answers tell."""

from bisect import bisect_left

from asyncbatch.dto import PreparedSubmission


def owns(submission: PreparedSubmission, wire_id: str) -> bool:
    """Whether an id in the answers is one of those that the submission carries. Blocks: the ids may lie on disk."""
    prefix = submission.wire_prefix
    if prefix is None:
        return wire_id in submission.request_ids
    number = wire_id.removeprefix(prefix)
    if number == wire_id or not (number.isascii() and number.isdigit()):
        return False
    row = int(number) - bisect_left(submission.refused_rows, int(number))
    return submission.first_row <= row < submission.first_row + (submission.row_span or submission.request_count)


def is_telling(submission: PreparedSubmission, wire_id: str) -> bool:
    """Whether no other submission can carry such an id: one with our nonce, or a caller's own that is more than a number."""
    return submission.wire_prefix is not None or not wire_id.isdigit()
