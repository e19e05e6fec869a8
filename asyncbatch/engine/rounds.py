"""Another round: requests that are worth it go into a batch of their own, and the outcomes of all others are held."""

import logging
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path

from asyncbatch.codec.jsonl import LineSplitter
from asyncbatch.dto import PreparedSubmission
from asyncbatch.engine.keeping import keep_round, round_of
from asyncbatch.engine.ledger import Ledger
from asyncbatch.exceptions import ConfigError
from asyncbatch.planning.rounds import Wanted
from asyncbatch.runtime import Runtime, finish
from asyncbatch.spool import SpoolFile, SpoolSpace

_log = logging.getLogger("asyncbatch.engine")


def worth_it(ledger: Ledger, wanted: Wanted, among: Sequence[int] | None = None) -> Sequence[int]:
    """Give the positions of the requests that are sent again, among all or among some. Blocks.

    A policy of the caller's own that fails asks for nothing: what was answered is more than what might be.
    """
    sent, asked = array("Q"), range(len(ledger)) if among is None else among
    for position, row in zip(asked, ledger.rows(asked), strict=True):
        try:
            if wanted(row):
                sent.append(position)
        except Exception:  # noqa: BLE001 it is the code of whoever asks
            _log.exception(
                "whether request %s is worth another try could not be decided, so none is sent", row.request_id
            )
            return array("Q")
    return sent


def check_input(whole: PreparedSubmission) -> None:
    """Refuse to send requests again that are not there any more."""
    if not has_input(whole):
        message = f"the requests of submission {whole.chunk_index} of job {whole.batch_id.hex} are not there any more"
        hint = "jobs that are kept in a directory keep their requests: BatchClient(journal=…)"
        raise ConfigError(message, code="retry.no_input", hint=hint)


def has_input(whole: PreparedSubmission) -> bool:
    """Whether the requests of a submission are still there, to be sent again."""
    return whole.spool is not None or bool(whole.payloads)


class _Picker:
    """Writes some lines of a body into another. Everything blocks."""

    def __init__(self, sent: Sequence[int], file: SpoolFile) -> None:
        self._wanted = iter(sent)
        self._next = next(self._wanted, None)
        self._at = 0
        self._splitter = LineSplitter(max_line_bytes=sys.maxsize)  # what we wrote is whole, however long
        self._file = file

    def take(self, piece: bytes) -> None:
        self._pick(self._splitter.feed(piece))

    def end(self) -> None:
        self._pick(self._splitter.end())
        self._file.flush()

    def _pick(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if self._at == self._next:
                self._file.append(line + b"\n")
                self._next = next(self._wanted, None)
            self._at += 1


async def pick_lines(whole: PreparedSubmission, sent: Sequence[int], space: SpoolSpace, runtime: Runtime) -> SpoolFile:
    """Write the lines of some requests, as they travelled before, into a body of their own."""
    picker = _Picker(sent, file := space.new())
    try:
        if whole.spool is not None:
            async for piece in whole.spool.chunks():
                await runtime.offload(picker.take, piece)
        else:
            await runtime.offload(picker.take, b"".join(bytes(line) + b"\n" for line in whole.payloads))
        await runtime.offload(picker.end)
    except BaseException:  # a half would take the room that it is tried again for
        await finish(file.discard)
        raise
    return file


def keep_sent(
    place: Path | None,
    whole: PreparedSubmission,
    number: int,
    sent: Sequence[int],
    lines: SpoolFile,
    space: SpoolSpace,
) -> PreparedSubmission:
    """Give what a later round sends; with a durable journal, it lies on disk then. Blocks."""
    if place is not None:
        keep_round(place, whole.chunk_index, number, sent, lines, space)
    return round_of(whole, sent, lines.view())
