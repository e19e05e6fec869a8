"""The journal's fold: every legal and every illegal move, and no way to two attempts that may both be accepted."""

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asyncbatch.enums import BatchMode, BatchStatus
from asyncbatch.exceptions import JournalError
from asyncbatch.journal import (
    Accepted,
    CancelAsked,
    Confirmed,
    CreateIntended,
    CreateUnknown,
    Disowned,
    Ended,
    Event,
    Fenced,
    FenceIntended,
    Indeterminate,
    JobRecord,
    MemoryJournal,
    Refused,
    Retried,
    Settled,
    SubmissionRecord,
    SubmissionState,
    Uploaded,
    UploadIntended,
    Voided,
    Withdrawn,
    apply,
)

S = SubmissionState

EVENTS: dict[str, Event] = {
    "upload intended": UploadIntended(),
    "uploaded": Uploaded(input_ref="file-1"),
    "create intended": CreateIntended(mark="ab1", at=7.0),
    "accepted": Accepted(provider_batch_id="batch-1"),
    "refused for now": Refused(why="busy", is_final=False),
    "refused for good": Refused(why="no", is_final=True),
    "create unknown": CreateUnknown(why="lost"),
    "fence intended": FenceIntended(),
    "fenced": Fenced(),
    "indeterminate": Indeterminate(why="who knows"),
    "withdrawn": Withdrawn(),
    "voided": Voided(),
    "confirmed": Confirmed(),
    "disowned": Disowned(),
    "ended": Ended(status=BatchStatus.EXPIRED),
    "settled": Settled(),
    "retried": Retried(requests=2, rows_bytes=80),
    "cancel asked": CancelAsked(),
}

# Where each event leads from each state it may follow; every pair that is not here is refused.
MOVES: dict[tuple[SubmissionState, str], SubmissionState] = {
    (S.PLANNED, "upload intended"): S.UPLOADING,
    (S.PLANNED, "refused for now"): S.PLANNED,
    (S.PLANNED, "refused for good"): S.ENDED,
    (S.PLANNED, "withdrawn"): S.ENDED,
    (S.UPLOADING, "uploaded"): S.UPLOADED,
    (S.UPLOADING, "refused for now"): S.PLANNED,
    (S.UPLOADING, "refused for good"): S.ENDED,
    (S.UPLOADING, "withdrawn"): S.ENDED,
    (S.UPLOADED, "create intended"): S.CREATING,
    (S.UPLOADED, "refused for now"): S.PLANNED,
    (S.UPLOADED, "refused for good"): S.ENDED,
    (S.UPLOADED, "withdrawn"): S.ENDED,
    (S.CREATING, "accepted"): S.SUBMITTED,
    (S.CREATING, "refused for now"): S.UPLOADED,
    (S.CREATING, "refused for good"): S.ENDED,
    (S.CREATING, "create unknown"): S.CREATE_UNKNOWN,
    (S.CREATE_UNKNOWN, "accepted"): S.SUBMITTED,
    (S.CREATE_UNKNOWN, "fence intended"): S.CREATE_UNKNOWN,
    (S.CREATE_UNKNOWN, "fenced"): S.PLANNED,
    (S.CREATE_UNKNOWN, "indeterminate"): S.ENDED,
    (S.SUBMITTED, "voided"): S.PLANNED,
    (S.SUBMITTED, "confirmed"): S.SUBMITTED,
    (S.SUBMITTED, "disowned"): S.CREATE_UNKNOWN,
    (S.SUBMITTED, "ended"): S.ENDED,
    (S.ENDED, "settled"): S.SETTLED,
    (S.ENDED, "retried"): S.PLANNED,
    (S.SETTLED, "retried"): S.PLANNED,
    **{(state, "cancel asked"): state for state in S if state is not S.SETTLED},
}


def record(state: SubmissionState = S.PLANNED, **fields: Any) -> SubmissionRecord:
    return SubmissionRecord(index=3, request_count=10, state=state, **fields)


@pytest.mark.parametrize(("before", "name", "after"), [(*move, after) for move, after in MOVES.items()])
def test_a_legal_move_leads_where_the_table_says(before, name, after):
    assert apply(record(before), EVENTS[name]).state is after


@pytest.mark.parametrize(
    ("before", "name"), [(state, name) for state in S for name in EVENTS if (state, name) not in MOVES]
)
def test_an_illegal_move_is_refused_by_name(before, name):
    event = EVENTS[name]
    what = rf"submission 3 is {before.value}; {type(event).__name__} cannot follow"

    with pytest.raises(JournalError, match=what) as caught:
        apply(record(before), event)

    assert caught.value.code == "journal.illegal_move"


def test_the_table_names_every_kind_of_event():
    assert {type(event) for event in EVENTS.values()} == set(Event.__subclasses__())


def after(*names: str, **fields: Any) -> SubmissionRecord:
    now = record(**fields)
    for name in names:
        now = apply(now, EVENTS[name])
    return now


def test_a_create_is_counted_marked_and_dated_before_it_is_sent():
    creating = after("upload intended", "uploaded", "create intended", reason="an earlier refusal")

    assert creating == record(
        S.CREATING, attempt=1, tag="ab1", intended_at=7.0, input_ref="file-1", provider_batch_id=None, reason=None
    )


def test_a_batch_that_only_looks_like_ours_is_marked_until_its_answers_show_whose_it_is():
    lost = after("upload intended", "uploaded", "create intended", "create unknown")
    adopted = apply(lost, Accepted(provider_batch_id="batch-1", is_certain=False))
    confirmed, disowned = apply(adopted, Confirmed()), apply(adopted, Disowned())

    assert (adopted.is_certain, adopted.provider_batch_id) == (False, "batch-1")
    assert (confirmed.is_certain, confirmed.provider_batch_id) == (True, "batch-1")
    assert (disowned.state, disowned.provider_batch_id) == (S.CREATE_UNKNOWN, None)
    assert (disowned.intended_at, disowned.attempt) == (7.0, 1), "it is searched for as before"


def test_a_refused_create_keeps_its_upload_and_says_why():
    refused = after("upload intended", "uploaded", "create intended", "refused for now")

    assert (refused.state, refused.input_ref, refused.reason) == (S.UPLOADED, "file-1", "busy")


def test_a_fenced_attempt_loses_its_upload_since_that_was_deleted():
    fenced = after("upload intended", "uploaded", "create intended", "create unknown", "fenced")

    assert (fenced.state, fenced.input_ref, fenced.attempt, fenced.reason) == (S.PLANNED, None, 1, "lost")


def test_a_batch_that_ran_nothing_is_forgotten_together_with_its_input():
    voided = after("upload intended", "uploaded", "create intended", "create unknown", "accepted", "voided")

    assert (voided.state, voided.input_ref, voided.provider_batch_id, voided.attempt) == (S.PLANNED, None, None, 1)


def test_an_adopted_batch_looks_like_one_that_was_answered_at_once():
    adopted = after("upload intended", "uploaded", "create intended", "create unknown", "accepted")
    answered = after("upload intended", "uploaded", "create intended", "accepted")

    assert adopted == answered
    assert (adopted.provider_batch_id, adopted.reason) == ("batch-1", None)


def test_the_end_says_how_or_why():
    ran = after("upload intended", "uploaded", "create intended", "accepted", "ended", "settled")

    assert ran.end is BatchStatus.EXPIRED
    assert after("withdrawn").reason == "cancelled before it was sent"
    assert after("refused for good").reason == "no"


def test_events_survive_being_written_down():
    union = msgspec.json.Decoder(
        UploadIntended | Uploaded | CreateIntended | Accepted | Refused | CreateUnknown | Ended
    )

    for name in ("upload intended", "uploaded", "create intended", "accepted", "refused for now", "ended"):
        assert union.decode(msgspec.json.encode(EVENTS[name])) == EVENTS[name]


# --- no way to two payments --------------------------------------------------------------------------------------------


JOB = JobRecord(
    job_id="job-1",
    provider="openai",
    model="m",
    mode=BatchMode.CHAT,
    endpoint="/v1/chat/completions",
    account=None,
    fingerprint="f",
    created_at=0.0,
    request_count=1,
)


def done(coroutine: Any) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


FATES = {
    "accepted": "accepted",
    "refused for now": "refused",
    "refused for good": "refused",
    "fenced": "fenced off",
    "voided": "ran nothing",
    "disowned": "open",
}


class OneSubmission(RuleBasedStateMachine):
    """Throw every event at a submission, in any order; keep an account of our own of what may have been accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = MemoryJournal()
        done(self.journal.accept(JOB, [SubmissionRecord(index=0, request_count=1)]))
        self.attempts: list[str] = []
        self.mark: str | None = None
        self.taken: list[Event] = []

    @property
    def record(self) -> SubmissionRecord:
        return done(self.journal.submissions(JOB.job_id))[0]

    def offer(self, event: Event) -> bool:
        before = self.record
        try:
            done(self.journal.move(JOB.job_id, 0, event))
        except JournalError:
            assert self.record == before
            return False
        self.taken.append(event)
        return True

    @rule(name=st.sampled_from(sorted(set(EVENTS) - {"create intended"})))
    def any_event(self, name):
        is_sent = self.record.state in (S.CREATING, S.CREATE_UNKNOWN, S.SUBMITTED)
        if self.offer(EVENTS[name]):
            if is_sent:
                self.attempts[-1] = FATES.get(name, self.attempts[-1])
            if name == "retried":
                self.mark = None
                # Its answers are held; or nobody will know, and whoever asks for another round gives it up.
                if self.attempts and self.attempts[-1] in ("accepted", "open"):
                    self.attempts[-1] = "over"

    @rule()
    def create(self):
        if self.offer(CreateIntended(mark=f"mark-{len(self.attempts)}", at=float(len(self.attempts)))):
            self.mark = f"mark-{len(self.attempts)}"
            self.attempts.append("open")

    @precondition(lambda self: self.record.state is S.PLANNED)
    @rule()
    def upload(self):
        assert self.offer(EVENTS["upload intended"])
        assert self.offer(EVENTS["uploaded"])

    @invariant()
    def at_most_one_attempt_may_have_been_accepted(self):
        assert sum(fate in ("open", "accepted") for fate in self.attempts) <= 1

    @invariant()
    def the_record_names_the_latest_attempt(self):
        assert self.record.attempt == len(self.attempts)
        assert self.record.tag == self.mark

    @invariant()
    def a_batch_has_a_name_and_keeps_it(self):
        assert (self.record.provider_batch_id is not None) == ("accepted" in self.attempts)

    @invariant()
    def what_happened_can_be_told_again(self):
        again = SubmissionRecord(index=0, request_count=1)
        for event in done(self.journal.events(JOB.job_id, 0)):
            again = apply(again, event)
        assert again == self.record
        assert list(done(self.journal.events(JOB.job_id, 0))) == self.taken


TestOneSubmission = OneSubmission.TestCase
TestOneSubmission.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_another_round_begins_anew_and_remembers_the_batch_before():
    names = ("upload intended", "uploaded", "create intended", "accepted", "cancel asked", "ended")
    again = apply(after(*names), Retried(requests=2, rows_bytes=80, outcomes={"succeeded": 8}, not_before=9.0))

    assert again == record(
        attempt=1,
        round=1,
        tries=2,
        sent_count=2,
        rows_bytes=80,
        outcomes={"succeeded": 8},
        not_before=9.0,
        earlier=("batch-1",),
        is_cancelled=True,
    )


def test_a_cancel_holds_for_the_round_after_it_unless_somebody_asks_for_one():
    names = ("upload intended", "uploaded", "create intended", "accepted", "cancel asked", "ended")

    assert apply(after(*names), Retried(requests=2, rows_bytes=80)).is_cancelled
    assert not apply(after(*names, "settled"), Retried(requests=2, rows_bytes=80, is_by_hand=True)).is_cancelled


def test_after_a_round_that_somebody_asked_for_none_is_counted():
    once = after("refused for good", "settled")

    assert apply(once, Retried(requests=10, rows_bytes=9)).tries == 2
    by_hand = apply(once, Retried(requests=10, rows_bytes=9, is_by_hand=True))
    assert (by_hand.tries, by_hand.round, by_hand.earlier, by_hand.ending) == (0, 1, (), None)


def test_a_cancel_that_was_asked_for_changes_no_state():
    assert after("upload intended", "cancel asked") == record(S.UPLOADING, is_cancelled=True)


def test_a_batch_that_was_turned_away_is_planned_again_and_remembers_since_when():
    submitted = SubmissionRecord(
        index=0, request_count=1, state=SubmissionState.SUBMITTED, tag="t", provider_batch_id="b", input_ref="f"
    )
    first = apply(submitted, Voided(why="full", at=5.0))
    second = apply(msgspec.structs.replace(first, state=SubmissionState.SUBMITTED), Voided(why="full", at=9.0))
    again = apply(
        msgspec.structs.replace(second, state=SubmissionState.ENDED), Retried(requests=1, rows_bytes=0, outcomes={})
    )

    assert (first.state, first.provider_batch_id, first.input_ref) == (SubmissionState.PLANNED, None, None)
    assert [(item.turned_away, item.turned_away_since) for item in (first, second, again)] == [
        (1, 5.0),
        (2, 5.0),
        (0, None),
    ]
