"""The lines of a job that is watched: one for each change of status or note, on the line of the batch, and none twice."""

import pytest

from asyncbatch import BatchView, JobStatus
from asyncbatch.cli.jobs import _tell
from asyncbatch.cli.reporting import progress_of
from asyncbatch.cli.talk import Talk
from asyncbatch.cli.watching import LinesView
from asyncbatch.dto import Progress, UsageInfo
from asyncbatch.enums import BatchMode, BatchStatus

OUTAGE = "cannot be asked since 10:04: nobody answers"


def batch(state="submitted", status=BatchStatus.IN_PROGRESS, **fields):
    progress = fields.pop("progress", Progress(total=4, completed=1, failed=1))
    known = {"index": 0, "requests": 4, "sent": 4, "provider_batch_id": "batch_1"}
    return BatchView(state=state, status=status, progress=progress, **known | fields)


def job(*batches):
    return JobStatus(
        job_id="3f0c92ab",
        provider="openai",
        model="gpt",
        mode=BatchMode.CHAT,
        account=None,
        created_at=0.0,
        requests=4,
        outcomes={},
        is_over=False,
        batches=batches,
        usage=UsageInfo(),
    )


@pytest.fixture
def lines(capsys):
    """Draw one picture after the other; gives the lines."""

    def drawn(*batches):
        view = LinesView(Talk("text"))
        for each in batches:
            view.draw(job(each))
        return [line.removeprefix("batch 1/1 batch_1: ") for line in capsys.readouterr().err.splitlines()]

    return drawn


def test_a_note_is_told_when_it_comes_and_its_end_when_it_goes(lines):
    calm, outage = batch(), batch(note=OUTAGE)

    told = lines(calm, outage, outage, outage, calm, calm)

    assert told == ["in_progress, 2/4", f"in_progress, 2/4 ({OUTAGE})", "in_progress, 2/4"]


def test_a_note_that_counts_down_is_told_once(lines):
    unknown = [
        batch(
            "create_unknown", None, provider_batch_id=None, note=f"checking whether a create arrived, 4:{left:02} left"
        )
        for left in (10, 9, 8)
    ]

    assert len(lines(*unknown)) == 1


def test_the_end_of_a_batch_is_told_once(lines):
    done = Progress(total=4, completed=3, failed=1)
    fetching = batch("ended", BatchStatus.COMPLETED, progress=done, note="fetching answers")
    settled = batch("settled", BatchStatus.COMPLETED, progress=done)

    assert lines(batch(), fetching, settled, settled) == ["in_progress, 2/4", "completed, 4/4 (fetching answers)"]
    assert lines(batch(), settled, settled) == ["in_progress, 2/4", "completed, 4/4"]


def test_a_later_round_is_told_anew(lines):
    again = batch("settled", BatchStatus.COMPLETED, round=1, sent=2, provider_batch_id="batch_2")

    told = lines(batch("settled", BatchStatus.COMPLETED), again)

    assert told == ["completed, 2/4", "batch 1/1 round 2 batch_2: completed, 2/2"]


@pytest.mark.parametrize("status", [BatchStatus.CANCELLING, BatchStatus.CANCELLED, BatchStatus.EXPIRED])
def test_of_a_batch_that_was_ended_early_only_answers_are_counted(lines, status):
    progress = Progress(total=4, completed=1, failed=3)  # providers count among the failed what nobody got to

    assert lines(batch("ended", status, progress=progress)) == [f"{status}, 1/4"]


def test_programs_hear_of_every_state(capsys):
    view = LinesView(Talk("jsonl", quiet=True))

    for each in (
        batch(),
        batch("ended", BatchStatus.COMPLETED, note="fetching answers"),
        batch("settled", BatchStatus.COMPLETED),
    ):
        view.draw(job(each))

    assert capsys.readouterr().out.count('"type": "batch_status"') == 3


def test_show_tells_a_note_once_on_the_line_of_its_batch(capsys):
    _tell(job(batch(note=OUTAGE)), Talk("text"), None, {})

    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if OUTAGE in line]
    assert line.startswith("batch 1 ")


def test_where_no_line_of_a_batch_follows_the_first_note_is_told():
    assert progress_of(job(batch(note=OUTAGE))).endswith(f" ({OUTAGE})")
