"""Where a batch stands, as a function of what is known about it and the clock.

A batch has an *itinerary*: the phases it enters and when. Most of it is fixed at creation by the pace; whether the
input is valid and how many rows it has decide the rest; a cancellation cuts it short. Nothing here waits, writes or
looks at a clock, so any moment of a batch's life can be asked for, in any order::

    validating ──► in_progress ──► finalizing ──► completed
        │               └────────── window ends ─► expired
        ├──► failed
        └─(cancel, before the end)─► cancelling ─► cancelled

Source: the fact sheet of OpenAI's batches, "Status"; other services map these phases to their own words.
"""

from enum import StrEnum

from msgspec import Struct


class Phase(StrEnum):
    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in {Phase.COMPLETED, Phase.FAILED, Phase.EXPIRED, Phase.CANCELLED}


_AFTER_RUNNING = {Phase.FINALIZING, Phase.COMPLETED, Phase.EXPIRED}


class Pace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long each phase takes, in seconds of the emulator's clock.

    Attributes:
        row_s: Seconds of work that each row adds.
        run_cap_s: The longest that the rows may take together; None for no cap, so that a batch can outlive its window.
        window_s: From creation to expiry.
    """

    validating_s: float = 5.0
    row_s: float = 0.02
    run_cap_s: float | None = 120.0
    finalizing_s: float = 5.0
    cancelling_s: float = 10.0
    window_s: float = 86_400.0


class Course(Struct, frozen=True, kw_only=True):
    """All that decides a batch's life.

    Attributes:
        rows: How many rows the input has; None until it has been examined.
        is_refused: Whether the input is not fit to run.
        is_stalled: Whether some row never ends, so that only the window or a cancellation ends the batch.
        refused_after_s: When a refusal shows, counted from creation; None for the end of validation.
    """

    created_at: float
    pace: Pace
    rows: int | None = None
    is_refused: bool = False
    is_stalled: bool = False
    refused_after_s: float | None = None
    cancel_at: float | None = None

    @property
    def valid_at(self) -> float:
        return self.created_at + self.pace.validating_s

    @property
    def expires_at(self) -> float:
        return self.created_at + self.pace.window_s

    @property
    def run_s(self) -> float:
        wanted = self.pace.row_s * (self.rows or 0)
        return wanted if self.pace.run_cap_s is None else min(wanted, self.pace.run_cap_s)


class Stand(Struct, frozen=True, kw_only=True):
    """Where a batch stands at one moment: its phase, when it entered each phase so far, and how many rows are done."""

    phase: Phase
    since: dict[Phase, float]
    rows_done: int

    @property
    def is_over(self) -> bool:
        return self.phase.is_over


def plan_itinerary(course: Course) -> list[tuple[float, Phase]]:
    """Give the phases that the batch will enter if nothing else happens, with their times."""
    legs = [(course.created_at, Phase.VALIDATING)]
    if course.is_refused:
        after_s = course.pace.validating_s if course.refused_after_s is None else course.refused_after_s
        legs.append((course.created_at + after_s, Phase.FAILED))
    elif course.rows is not None:
        legs += _running(course)
    return legs if course.cancel_at is None else _cut_short(legs, course.cancel_at, course.pace)


def _running(course: Course) -> list[tuple[float, Phase]]:
    started = (course.valid_at, Phase.IN_PROGRESS)
    run_end = course.valid_at + course.run_s
    if course.is_stalled or run_end > course.expires_at:
        return [started, (course.expires_at + course.pace.finalizing_s, Phase.EXPIRED)]
    return [started, (run_end, Phase.FINALIZING), (run_end + course.pace.finalizing_s, Phase.COMPLETED)]


def _cut_short(legs: list[tuple[float, Phase]], cancel_at: float, pace: Pace) -> list[tuple[float, Phase]]:
    before = [leg for leg in legs if leg[0] <= cancel_at and not leg[1].is_over]  # what is over is not cancelled
    return [*before, (cancel_at, Phase.CANCELLING), (cancel_at + pace.cancelling_s, Phase.CANCELLED)]


def stand(course: Course, now: float, *, is_written: bool = True, is_answered: bool = True) -> Stand:
    """Say where the batch stands at `now`.

    Until its result files are written, it is never shown as over; while answers are awaited, it is shown as running.
    """
    legs = [leg for leg in plan_itinerary(course) if leg[0] <= now] or [(course.created_at, Phase.VALIDATING)]
    if legs[-1][1].is_over and legs[-1][1] is not Phase.FAILED and not is_written:
        legs.pop()
    while legs[-1][1] in _AFTER_RUNNING and not is_answered:
        legs.pop()
    return Stand(phase=legs[-1][1], since={phase: at for at, phase in legs}, rows_done=rows_done(course, now))


def rows_done(course: Course, now: float) -> int:
    """Count the rows that have been answered at `now`, in the order of the input."""
    if course.rows is None or course.is_refused:
        return 0
    until = min(now, course.expires_at, *([] if course.cancel_at is None else [course.cancel_at]))
    worked_s = until - course.valid_at
    if worked_s < 0:
        return 0
    is_all = until >= course.valid_at + course.run_s  # the very sum that the itinerary has, or the last row may be late
    return course.rows if is_all else int(course.rows * worked_s / course.run_s)
