"""Several processes and one job: one of them writes, whoever dies, sleeps or wakes up late."""

import signal

import pytest

from tests.journal.journals import PARTS, folded, job, life, opened, workers


@pytest.fixture
async def state(tmp_path):
    """Give the directory of a journal with a job whose process is gone."""
    async with opened(tmp_path / "state") as journal:
        await journal.accept(job(), PARTS)
    return tmp_path / "state"


def all_open(crew):
    assert [worker.answer() for worker in crew] == ["open"] * len(crew)
    return list(crew)


def race(crew, *command):
    """Tell everybody the same at once, and give those who succeeded."""
    for worker in crew:
        worker.tell(*command)
    answers = [worker.answer() for worker in crew]
    assert all(isinstance(answer, bool) for answer in answers), answers
    return [worker for worker, answer in zip(crew, answers, strict=True) if answer]


@pytest.mark.parametrize("count", [2, 5, 8])
def test_of_many_that_claim_a_job_one_gets_it_and_when_it_is_killed_another_does(state, count):
    with workers(state, count) as crew:
        left = all_open(crew)
        while left:
            (winner,) = race(left, "claim", "job-1")
            winner.kill()
            left.remove(winner)


def test_of_many_that_claim_a_job_only_one_moves_it(state):
    with workers(state, 4) as crew:
        (winner,) = race(all_open(crew), "claim", "job-1")
        answers = {worker: worker.ask("move", "job-1", 0, 0) for worker in crew}

    assert answers.pop(winner) is None
    assert set(answers.values()) == {"journal.not_writer"}


def test_an_owner_that_is_stopped_keeps_its_job_and_goes_on_when_it_is_woken(state):
    with workers(state, 2) as crew:
        owner, other = all_open(crew)
        assert owner.ask("claim", "job-1") is True
        owner.send(signal.SIGSTOP)
        assert other.ask("claim", "job-1") is False
        assert other.ask("move", "job-1", 0, 0) == "journal.not_writer"
        owner.send(signal.SIGCONT)

        assert owner.ask("move", "job-1", 0, 0) is None


def test_an_owner_whose_lock_was_removed_while_it_slept_cannot_send(state):
    with workers(state, 2) as crew:
        stale, heir = all_open(crew)
        assert stale.ask("claim", "job-1") is True
        stale.send(signal.SIGSTOP)
        (state / "locks" / "job-1").unlink()
        assert heir.ask("claim", "job-1") is True
        stale.send(signal.SIGCONT)

        assert stale.ask("move", "job-1", 0, 0) == "journal.not_writer"
        assert stale.ask("claim", "job-1") is False
        assert heir.ask("move", "job-1", 0, 0) is None


def test_a_released_job_is_anybodys_and_a_job_of_another_is_not_forgotten(state):
    with workers(state, 2) as crew:
        first, second = all_open(crew)
        assert first.ask("claim", "job-1") is True
        assert second.ask("forget", "job-1") == "journal.not_writer"
        assert first.ask("release", "job-1") is None
        assert second.ask("claim", "job-1") is True
        assert first.ask("move", "job-1", 0, 0) == "journal.not_writer"
        assert second.ask("forget", "job-1") is None
        assert first.ask("claim", "job-1") == "journal.no_job"


async def test_a_life_handed_on_by_kill_after_kill_is_one_life(state):
    """Each process brings the job one step further and is killed with the next one under way."""
    with workers(state, 7) as crew:
        left = all_open(crew)
        for _ in range(len(crew)):
            (winner,) = race(left, "claim", "job-1")
            async with opened(state) as journal:
                done = len(await journal.events("job-1", 0))
            if done == len(life("")):
                break
            assert winner.ask("move", "job-1", 0, done) is None
            if done + 1 < len(life("")):
                winner.tell("move", "job-1", 0, done + 1)
            winner.kill()
            left.remove(winner)

    async with opened(state) as journal:
        events = list(await journal.events("job-1", 0))
        assert events == life("job-1-0")
        assert (await journal.submissions("job-1"))[0] == folded(PARTS[0], events)


def test_processes_that_open_a_new_journal_at_once_make_one(tmp_path):
    with workers(tmp_path / "fresh", 6) as crew:
        all_open(crew)
        for number, worker in enumerate(crew):
            assert worker.ask("accept", f"job-{number}") is None
        assert crew[0].ask("accept", "job-5") == "journal.job_exists"
