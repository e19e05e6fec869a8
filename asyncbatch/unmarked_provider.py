"""What providers have in common whose batches carry no mark of ours: time and number make candidates, and ids of answers tell.

See docs/decisions/batches-without-a-mark.md.
"""

from abc import abstractmethod
from bisect import bisect_left

import msgspec

from asyncbatch.dto import Match, PreparedSubmission, ProviderStatus, StatusPage
from asyncbatch.enums import SubmitSafety
from asyncbatch.exceptions import ProviderError
from asyncbatch.planning.recovery import WINDOWS_S
from asyncbatch.wire_provider import SKEW_S, WireProvider

PEEKED_BYTES = 64 * 1024
"""Of the answers of a batch, to see whose they are."""
_LATEST_S = WINDOWS_S[SubmitSafety.INFERRED] + SKEW_S
"""A batch that was created later than this after a create was sent is not of that create."""


class UnmarkedProvider(WireProvider):
    """A provider that keeps neither a tag nor an input by which a batch would be known."""

    @abstractmethod
    async def first_id(self, status: ProviderStatus) -> str:
        """Give the first id in the answers of a batch; empty while it has none, or where none can be read."""

    async def find_submissions(self, submission: PreparedSubmission, *, since: float) -> list[Match]:
        """Walk the list, then look whose answers those hold that have ended: a batch with foreign ids is no match."""
        candidates = await super().find_submissions(submission, since=since)
        latest = since + self.transport.lag_s + _LATEST_S
        near = [match for match in candidates if (match.status.created_at or since) <= latest]
        confirmed = [await self._confirmed(match, submission) for match in near]
        return [match for match in confirmed if match is not None]

    def matches_in(self, page: StatusPage, submission: PreparedSubmission, back_to: float) -> list[Match]:
        return [
            Match(provider_batch_id=status.provider_batch_id, why="time_and_count", is_certain=False, status=status)
            for status in page.statuses
            if is_candidate(status, submission, back_to)
        ]

    async def _confirmed(self, match: Match, submission: PreparedSubmission) -> Match | None:
        """Give a candidate, made certain by the first id in its answers; None where that is somebody else's."""
        try:
            wire_id = await self.first_id(match.status)
        except ProviderError:  # it is asked again with the next reading, and until then it may be ours
            return match
        if not wire_id:
            return match
        if not await self.runtime.offload(_owns, submission, wire_id):
            return None
        return msgspec.structs.replace(match, why="ids", is_certain=_is_telling(submission, wire_id))


def is_candidate(status: ProviderStatus, submission: PreparedSubmission, back_to: float) -> bool:
    """Whether a batch of the list may be this submission, by time, number and path.

    A model's name says nothing: a service may call it by another one, and to pass ours over would mean to pay twice.
    """
    is_late_enough = status.created_at is None or status.created_at >= back_to
    is_there = status.endpoint in (None, submission.endpoint)
    return is_late_enough and is_there and status.progress.total in (0, submission.request_count)


def _owns(submission: PreparedSubmission, wire_id: str) -> bool:
    """Whether an id in the answers is one of those that the submission carries. Blocks: the ids may lie on disk."""
    prefix = submission.wire_prefix
    if prefix is None:
        return wire_id in submission.request_ids
    number = wire_id.removeprefix(prefix)
    if number == wire_id or not (number.isascii() and number.isdigit()):
        return False
    row = int(number) - bisect_left(submission.refused_rows, int(number))
    return submission.first_row <= row < submission.first_row + (submission.row_span or submission.request_count)


def _is_telling(submission: PreparedSubmission, wire_id: str) -> bool:
    """Whether no other submission can carry such an id: one with our nonce, or a caller's own that is more than a number."""
    return submission.wire_prefix is not None or not wire_id.isdigit()
