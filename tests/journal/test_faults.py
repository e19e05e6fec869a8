"""Bad disks, bad rights, forks: the journal refuses in its own words, and what was acknowledged stays."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from asyncbatch.exceptions import JournalError
from tests.journal.journals import PARTS, PLAIN, ROOT, job, opened
from tests.journal.worker import judge

NOBODY = 65534


def script(text: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a program that may import what the tests share."""
    program = textwrap.dedent(text)
    return subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, check=False, cwd=ROOT, env=PLAIN
    )


LIMITED = """
    import asyncio, resource, sys
    from pathlib import Path
    from tests.journal.worker import live, log_into

    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    asyncio.run(live(Path(sys.argv[1]), log_into(Path(sys.argv[2]))))
"""


@pytest.mark.parametrize("kilobytes", [64, 80, 88, 96])
async def test_a_file_that_may_not_grow_refuses_changes_and_keeps_what_it_acknowledged(tmp_path, kilobytes):
    done = script(LIMITED, str(tmp_path / "state"), str(tmp_path / "log"), str(kilobytes * 1024))

    assert done.returncode == 0 or "JournalError" in done.stderr, done.stderr
    assert await judge(tmp_path / "state", tmp_path / "log") is None


async def test_a_file_that_may_never_grow_promises_nothing(tmp_path):
    done = script(LIMITED, str(tmp_path / "state"), str(tmp_path / "log"), "8192")

    assert "cannot be used: disk I/O error" in done.stderr
    assert (tmp_path / "log").read_text() == ""
    async with opened(tmp_path / "state") as journal:
        assert await journal.jobs() == ()


@contextlib.contextmanager
def as_nobody():
    """Be somebody whom a mode can lock out, for rights do not bind root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def home():
    """Give a directory of whoever `as_nobody` makes of us; pytest's own are closed to everybody else, all the way up."""
    directory = Path(tempfile.mkdtemp(prefix="asyncbatch-test-"))
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    yield directory
    for found, _, _ in os.walk(directory):
        os.chmod(found, 0o700)
    shutil.rmtree(directory)


async def test_a_directory_without_rights_is_refused_and_nothing_is_made(home):
    home.chmod(0o500)
    with as_nobody(), pytest.raises(JournalError, match="Permission denied") as caught:
        async with opened(home / "state"):
            pass

    assert caught.value.code == "journal.no_access"
    assert "give another directory" in caught.value.hint
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("below", ["", "state"])
async def test_a_file_is_no_place_for_a_journal_and_stays_as_it_is(tmp_path, below):
    (tmp_path / "app.py").write_text("print()")
    with pytest.raises(JournalError, match=r"app\.py.*a journal is a directory") as caught:
        async with opened(tmp_path / "app.py" / below):
            pass

    assert caught.value.code == "journal.no_directory"
    assert (tmp_path / "app.py").read_text() == "print()"


async def test_a_file_without_rights_is_refused(home):
    with as_nobody():
        async with opened(home / "state") as journal:
            await journal.accept(job(), PARTS)
        (home / "state/journal.sqlite3").chmod(0o400)
        with pytest.raises(JournalError, match="readonly database") as caught:
            async with opened(home / "state"):
                pass
        assert caught.value.code == "journal.no_access"

        for path in (home / "state").glob("journal.sqlite3*"):  # SQLite gives its other files the mode of the first
            path.chmod(0o600)
        async with opened(home / "state") as journal:
            assert await journal.job("job-1") == job()


async def test_a_directory_of_somebody_else_is_refused(home):
    # Of root's in a test of ours, and of nobody's in one of root's.
    foreign = next(path for path in (home, *home.parents) if path.stat().st_uid != os.geteuid())
    before = sorted(foreign.iterdir())

    with pytest.raises(JournalError, match="belongs to somebody else") as caught:
        async with opened(foreign):
            pass

    assert caught.value.code == "journal.not_private"
    assert sorted(foreign.iterdir()) == before


async def test_a_link_to_a_directory_of_somebody_elses_is_refused(home, tmp_path):
    foreign = next(path for path in (home, *home.parents) if path.stat().st_uid != os.geteuid())
    (tmp_path / "link").symlink_to(foreign)
    before = sorted(foreign.iterdir())

    with pytest.raises(JournalError, match="belongs to somebody else"):
        async with opened(tmp_path / "link"):
            pass

    assert sorted(foreign.iterdir()) == before


async def test_a_link_that_somebody_else_made_is_refused_wherever_it_leads(tmp_path):
    # /proc/self is a link of root's to what is ours; where we are root, nobody's link is made.
    link = tmp_path / "link"
    (tmp_path / "ours").mkdir(mode=0o700)
    link.symlink_to(tmp_path / "ours")
    if os.geteuid() == 0:
        os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    else:
        link = Path("/proc/self")

    with pytest.raises(JournalError, match="belongs to somebody else"):
        async with opened(link):
            pass

    assert list((tmp_path / "ours").iterdir()) == []


async def test_a_link_to_nothing_is_refused_and_nothing_is_made_behind_it(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")

    with pytest.raises(JournalError, match="No such file") as caught:
        async with opened(tmp_path / "link"):
            pass

    assert caught.value.code == "journal.io"
    assert not (tmp_path / "nothing").exists()


FORK = """
    import asyncio, json, os, sys
    from pathlib import Path
    from asyncbatch.exceptions import JournalError
    from tests.journal.journals import PARTS, job, opened

    async def child(journal, directory):
        codes = []
        for call in (journal.job("job-1"), journal.accept(job("job-2"), PARTS), journal.release("job-1")):
            try:
                await call
            except JournalError as error:
                codes.append(error.code)
        await journal.close()
        async with opened(directory) as own:
            codes.append(await own.claim("job-1"))
            await own.accept(job("job-3"), PARTS)
        return codes

    async def parent(directory):
        read, write = os.pipe()
        async with opened(directory) as journal:
            await journal.accept(job(), PARTS)
            moving = asyncio.gather(*(journal.accept(job(f"more-{n}"), PARTS) for n in range(50)))
            await asyncio.sleep(0)
            pid = os.fork()
            if pid == 0:
                os._exit(in_child(journal, directory, write))
            os.close(write)
            await moving
            told = await asyncio.to_thread(os.read, read, 4096)
            os.waitpid(pid, 0)
            known = [record.job_id for record in await journal.jobs()]
            print(json.dumps([json.loads(told), len(known), "job-3" in known, await journal.claim("job-1")]))

    def in_child(journal, directory, write):
        asyncio._set_running_loop(None)
        loop = asyncio.new_event_loop()
        os.write(write, json.dumps(loop.run_until_complete(child(journal, directory))).encode())
        return 0

    asyncio.run(parent(Path(sys.argv[1])))
"""


async def test_the_child_of_a_fork_is_told_so_and_may_open_a_journal_of_its_own(tmp_path):
    done = script(FORK, str(tmp_path / "state"))

    assert done.returncode == 0, done.stderr
    told, known, has_the_childs, is_ours = json.loads(done.stdout)
    assert told == ["journal.forked"] * 3 + [False], "and the parent's lock holds against it"
    assert (known, has_the_childs, is_ours) == (52, True, True), "and the parent goes on"


ORPHAN = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from tests.journal.journals import PARTS, job, opened

    async def main(directory):
        async with opened(directory) as journal:
            await journal.accept(job(), PARTS)
            read, write = os.pipe()
            if os.fork() == 0:
                os.close(write)
                print(os.getpid(), file=sys.stderr, flush=True)
                os.close(2)
                os.read(sys.stdin.fileno(), 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_child_that_outlives_its_parent_does_not_hold_the_parents_jobs(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(ORPHAN), str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=PLAIN) as parent:
        child = int(parent.stderr.readline())
        parent.wait()
        os.kill(child, 0)  # it lives

        async with opened(tmp_path / "state") as journal:
            assert await journal.claim("job-1") is True
        parent.stdin.close()  # which ends it


async def test_a_copy_cut_or_flipped_anywhere_is_used_or_refused_and_never_a_riddle(tmp_path):
    async with opened(tmp_path / "state") as journal:
        await journal.accept(job(), PARTS)
    whole = (tmp_path / "state/journal.sqlite3").read_bytes()
    seen = set()
    for number, at in enumerate(range(0, len(whole), 2039)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            copy = tmp_path / f"{number}"
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir(mode=0o700)
            (copy / "journal.sqlite3").write_bytes(damaged)
            seen.add(await look(copy))

    assert seen <= {"read", "journal.corrupt", "journal.newer", "journal.io"}
    assert {"read", "journal.corrupt"} <= seen


async def look(directory):
    try:
        async with opened(directory) as journal:
            for record in await journal.jobs():
                await journal.submissions(record.job_id)
                await journal.events(record.job_id, 0)
    except JournalError as error:
        return error.code
    return "read"
