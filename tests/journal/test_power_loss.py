"""A loss of power: what was written and not synced may be there, or not, or in part, and in any order.

One run is recorded as the system saw it (`trace.py`). Then the disk is built as it may be after power was lost at some call: of
every file each write since its last sync may be missing or torn, of every directory each change since its last sync may be
missing, whatever became of those around it. What was synced is there. On each such disk the same job is asked for again, of
the service that saw the recorded run: a job that was acknowledged is known, all its answers come, and a create that had begun
to leave is not followed by a second one.

What this does not show. Sectors of 512 bytes are taken to be written whole or not at all, and a sync to be honest. The run is
one of one provider, whose lost creates are found by our mark, and the service is as it was after the whole run: that a create
may also not have arrived is for `tests/kill` and `tests/simulation`. By default some dozens of disks are looked at, with
`--long` thousands. Without strace nothing can be recorded, and only the tests of the model itself remain.
"""

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3

import anyio
import pytest

from asyncbatch import BatchClient
from asyncbatch.emulator import Emulator
from asyncbatch.exceptions import AsyncBatchError
from asyncbatch.journal import _schema
from asyncbatch.planning.recovery import Recovery
from asyncbatch.planning.schedule import Polling
from asyncbatch.runtime import Runtime
from tests.journal.trace import ACCEPTED, AT_ONCE, CREATES, MODELS, OVER, PROMPTS, Call, can_trace, traced_run

SECTOR = 512
NO_SYNC = 'from asyncbatch.journal import _schema; _schema.SYNCHRONOUS.update(wal="OFF", truncate="OFF")'
NO_FSYNC = "import os; os.fsync = lambda _: None"
SYNCS = ("fsync", "fdatasync")
MESSAGES = (ACCEPTED, OVER, b"POST ")
BEGUN = {"creating", "create_unknown", "submitted", "ended", "settled"}


# --- a disk ------------------------------------------------------------------------------------------------------


class Body:
    """What a file holds: changes in order, of which the first so many are synced."""

    def __init__(self):
        self.changes = []  # (call, offset, data), or (call, size, None) for a cut
        self.synced = 0
        self.position = 0

    def built(self, dice):
        data = bytearray()
        for at, (_, offset, piece) in enumerate(self.changes):
            kept = 1.0 if at < self.synced else dice()
            if piece is None:
                if kept >= 0.5:
                    data = data[:offset].ljust(offset, b"\0")
                continue
            piece = piece[: _torn(offset, len(piece), kept)]
            if piece:
                data[len(data) :] = bytes(max(0, offset - len(data)))
                data[offset : offset + len(piece)] = piece
        return bytes(data)


def _torn(offset, size, kept):
    """Give how much of a write is there: all, nothing, or up to the end of a sector."""
    if kept >= 0.5:
        return size
    end = (offset + int(size * 2 * kept)) // SECTOR * SECTOR
    return max(0, end - offset)


class Folder:
    """The names in a directory: changes in order, of which the first so many are synced."""

    def __init__(self):
        self.changes = []  # (call, name, what lies there now), or (call, name, None) when it is gone
        self.synced = 0
        self.names = {}

    def put(self, call, name, what, gone=None):
        self.changes.append((call, name, what, gone))
        self.names[name] = what
        self.names.pop(gone, None)
        if what is None:
            del self.names[name]

    def build(self, directory, dice):
        names = {}
        for at, (_, name, what, gone) in enumerate(self.changes):
            if at < self.synced or dice() >= 0.5:
                names[name] = what
                names.pop(gone, None)
        for name, what in names.items():
            if isinstance(what, Folder):
                (directory / name).mkdir(mode=0o700)
                what.build(directory / name, dice)
            elif what is not None:
                (directory / name).write_bytes(what.built(dice))
                (directory / name).chmod(0o600)


class Disk:
    """All that a recorded run did below a directory, up to a certain place."""

    def __init__(self, root, calls, until):
        self.root = str(root)
        self.top = Folder()
        for call in sorted((call for call in calls if call.began < until), key=lambda call: call.ended):
            paths = [path for path in call.paths if path == self.root or path.startswith(f"{self.root}/")]
            if paths:
                self.take(call, paths, is_done=call.ended < until)

    def find(self, path):
        """Give the directory above a path, the last part of its name, and what lies there."""
        folder, parts = self.top, path[len(self.root) :].strip("/").split("/")
        for part in parts[:-1]:
            folder = folder.names[part]
        return folder, parts[-1], folder.names.get(parts[-1]) if parts[-1] else folder

    def take(self, call, paths, *, is_done):
        folder, name, what = self.find(paths[0])
        if call.name.startswith("mkdir"):
            folder.put(call, name, Folder())
        elif call.name == "openat":
            if "O_CREAT" in call.words and what is None:
                folder.put(call, name, Body())
            assert "O_TRUNC" not in call.words
        elif call.name.startswith("rename"):
            above, new, _ = self.find(paths[1])
            assert above is folder
            folder.put(call, new, what, gone=name)
        elif call.name.startswith(("unlink", "rmdir")):
            folder.put(call, name, None)
        elif call.name in SYNCS:
            if is_done:
                what.synced = sum(change[0].ended < call.began for change in what.changes)
        elif call.name == "ftruncate":
            what.changes.append((call, call.numbers[-1], None))
        elif call.name == "write":
            what.changes.append((call, what.position, call.data[: call.result]))
            what.position += call.result
        elif call.name == "pwrite64":
            what.changes.append((call, call.numbers[-1], call.data[: call.result]))
        else:
            raise AssertionError(f"a call of {call.name} on {paths} is not understood")

    def build(self, directory, dice):
        """Let a disk come to be on which everything synced is there, and the dice decide about the rest."""
        directory.mkdir(mode=0o700)
        self.top.build(directory, dice)


def digest(directory):
    found = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        found.update(f"{path.relative_to(directory)} {path.is_dir()}".encode())
        found.update(b"" if path.is_dir() else path.read_bytes())
    return found.digest()


def call(name, place, *paths, data=b"", numbers=(), words=""):
    return Call(name, place, place, tuple(f"/disk{path}" for path in paths), data, numbers, words, len(data))


MADE = [
    call("openat", 1, "/a.part", words="O_CREAT"),
    call("write", 2, "/a.part", data=b"x" * 1000),
    call("fsync", 3, "/a.part"),
    call("rename", 4, "/a.part", "/a"),
    call("fsync", 5, ""),
    call("pwrite64", 6, "/a", data=b"y" * 1000, numbers=(1000, 0)),
]


@pytest.mark.parametrize(
    ("until", "kept", "found"),
    [
        (2, 0.0, {}),
        (4, 0.0, {}),
        (5, 0.0, {}),
        (6, 0.0, {"a": b"x" * 1000}),
        (7, 0.0, {"a": b"x" * 1000}),
        (7, 1.0, {"a": b"y" * 1000}),
        (7, 0.3, {"a": b"y" * 512 + b"x" * 488}),
        (4, 1.0, {"a.part": b"x" * 1000}),
    ],
)
def test_a_disk_holds_what_was_synced_and_of_the_rest_what_the_dice_say(tmp_path, until, kept, found):
    Disk("/disk", MADE, until).build(tmp_path / "disk", lambda: kept)

    assert {path.name: path.read_bytes() for path in (tmp_path / "disk").iterdir()} == found


# --- a job on it -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service():
    with Emulator(pace=AT_ONCE) as emulator:
        yield emulator


@pytest.fixture
def emulator(service, monkeypatch):
    """Give a service that has seen nothing yet, and let nobody wait for the disk but the run that is recorded."""
    service.reset()
    for name, value in service.env("openai").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_schema, "SYNCHRONOUS", {"wal": "OFF", "truncate": "OFF"})
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return service


async def briefly(seconds):
    await anyio.sleep(min(seconds, 0.02))


def creates(emulator):
    return sum(record.kind == "create" for record in emulator.history)


async def problem(emulator, run, until, state):
    """Ask for the same job on a disk; say what is not as it has to be."""
    was_accepted = run.first("write", ACCEPTED).began < until
    was_sent = run.first("send", CREATES["openai"]).began < until
    is_over = run.first("write", OVER).began < until
    calls, before = len(emulator.history), creates(emulator)
    polling = Polling(first_s=0.01, factor=1.0, max_s=0.02, jitter=0.0)
    recovery = Recovery(window_s=0.2, reads=2, gap_s=0.02, watch_s=0.2)
    try:
        async with BatchClient(
            journal=state, polling=polling, recovery=recovery, runtime=Runtime(sleep=briefly)
        ) as client:
            known = await client.records()
            job = await client.submit(PROMPTS, model=MODELS["openai"], key="nightly")
            await job.wait()
            texts = [row.text async for row in job.results(ordered=True)]
    except AsyncBatchError as error:
        return f"{error.code}: {error}"
    sent = creates(emulator) - before
    if was_accepted and not known:
        return "an acknowledged job is lost"
    if texts != [f"echo: {prompt}" for prompt in PROMPTS]:
        return f"the answers are {texts}"
    if sent > (0 if was_sent else 1):
        return f"{sent} creates more, where {int(was_sent)} had been sent"
    if is_over and len(emulator.history) != calls:
        return "a job that was over is asked for again"
    return None


def places(run):
    """Give where power may be lost: before and after each sync, when most and least is under way, and at each message."""
    at = [place for call in run.calls if call.name in SYNCS for place in (call.began, call.ended + 1)]
    at += [call.began + 1 for call in run.calls if call.data.startswith(MESSAGES)]
    begun = run.first("mkdir").began
    return sorted({place for place in at if place >= begun})


def dice_of(seeds):
    """Give the dice of each seed; the first two lose everything and nothing."""
    fixed = [lambda: 0.0, lambda: 1.0]
    return [fixed[seed] if seed < len(fixed) else random.Random(seed).random for seed in range(seeds)]


def sends_anew(state):
    """Whether a create follows on this disk that is not looked for first. Call it on a disk that is not needed any more."""
    with contextlib.closing(sqlite3.connect(state / "journal.sqlite3")) as tables:
        try:
            states = [found for (found,) in tables.execute("SELECT state FROM submission")]
        except sqlite3.DatabaseError:  # there is no table, or nothing that could be read
            return True
    return not set(states) or not set(states) <= BEGUN


def disks(run, home, *, seeds, most):
    """Choose where power is lost and which dice are thrown, so that no two disks are alike.

    All of them ask one service. Those that send anew come last: what they create bears the same mark, and would be a second
    match for the others.
    """
    worlds = [(place, seed) for place in places(run) for seed in range(seeds)]
    found = {}
    for place, seed in random.Random(0).sample(worlds, min(most, len(worlds))):
        state = build(run, home, place, seed, seeds)
        key = (digest(state), sum(place > call.began for call in run.calls if call.data.startswith(MESSAGES)))
        (state / "state").mkdir(exist_ok=True)
        found[key] = sends_anew(state / "state"), place, seed
        shutil.rmtree(state)
    return [(place, seed) for _, place, seed in sorted(found.values())]


def build(run, home, place, seed, seeds):
    state = home / f"disk-{place}-{seed}"
    Disk(run.state.parent, run.calls, place).build(state, dice_of(seeds)[seed])
    return state


async def problems(emulator, run, home, *, seeds, most, is_enough=lambda found: False):
    """Ask for the job on each of some disks; give how many there were, and what is wrong, by place and seed."""
    chosen, found = disks(run, home, seeds=seeds, most=most), {}
    for place, seed in chosen:
        state = build(run, home, place, seed, seeds)
        wrong = await problem(emulator, run, place, state / "state")
        found |= {(place, seed): wrong} if wrong else {}
        shutil.rmtree(state)
        if is_enough(found):
            break
    return len(chosen), found


if can_trace():

    async def test_no_loss_of_power_loses_a_job_or_pays_twice(emulator, tmp_path):
        run = traced_run(emulator, tmp_path)

        count, found = await problems(emulator, run, tmp_path, seeds=4, most=80)
        assert found == {}
        assert count > 40

    @pytest.mark.long
    @pytest.mark.timeout(3600)
    async def test_no_loss_of_power_at_any_place_loses_a_job_or_pays_twice(emulator, tmp_path):
        run = traced_run(emulator, tmp_path)

        count, found = await problems(emulator, run, tmp_path, seeds=60, most=5000)
        assert found == {}
        assert count > 500

    @pytest.mark.parametrize("bug", [NO_SYNC, NO_FSYNC], ids=["of the journal", "of bodies"])
    async def test_without_syncs_a_loss_of_power_does_harm(emulator, tmp_path, bug):
        """The control: what makes the difference is the waiting for the disk."""
        run = traced_run(emulator, tmp_path, bug=bug)

        _, found = await problems(emulator, run, tmp_path, seeds=2, most=200, is_enough=bool)
        assert found != {}
