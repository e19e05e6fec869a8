"""What the durable journal decides without a disk: which SQLite may do what, and on what a path lies."""

from pathlib import Path

import pytest

from asyncbatch.journal import Event
from asyncbatch.journal._files import file_system_of
from asyncbatch.journal._schema import MIGRATIONS, has_safe_wal, plan_journal_mode, plan_migration
from asyncbatch.journal._store import _EVENT

VERSIONS = {
    (3, 7, 0): False,
    (3, 40, 1): False,
    (3, 44, 5): False,
    (3, 44, 6): True,
    (3, 44, 9): True,
    (3, 45, 0): False,
    (3, 49, 9): False,
    (3, 50, 6): False,
    (3, 50, 7): True,
    (3, 51, 0): False,
    (3, 51, 2): False,
    (3, 51, 3): True,
    (3, 52, 0): True,
    (3, 99, 1): True,
}


@pytest.mark.parametrize("version", VERSIONS)
def test_wal_is_safe_where_the_bug_was_mended(version):
    assert has_safe_wal(version) is VERSIONS[version]
    assert plan_journal_mode(version, is_remote=False) == ("wal" if VERSIONS[version] else "truncate")
    assert plan_journal_mode(version, is_remote=True) == "truncate"


def test_a_migration_takes_only_the_steps_that_are_missing():
    assert plan_migration(0) == (*MIGRATIONS[0], *MIGRATIONS[1], *MIGRATIONS[2])
    assert plan_migration(2) == MIGRATIONS[2]
    assert plan_migration(len(MIGRATIONS)) == ()


def test_every_kind_of_event_can_be_read_back():
    for kind in Event.__subclasses__():
        assert kind.__name__ in repr(_EVENT.type)


MOUNTS = """\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /proc rw - proc proc rw
30 21 0:40 / /home rw,nosuid shared:7 - nfs4 server:/home rw
31 30 0:41 / /home/a\\040b rw - cifs //server/share rw
32 30 0:42 / /home/local rw - nfs old rw
33 30 0:43 / /home/local rw - xfs /dev/vdb rw
a line of something else
34 30 - half
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp/state", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/state", "nfs4"),
        ("/homeless", "ext4"),
        ("/home/a b/state", "cifs"),
        ("/home/local/state", "xfs"),
    ],
)
def test_a_path_lies_on_the_deepest_and_latest_mount_above_it(path, kind):
    assert file_system_of(Path(path), MOUNTS) == kind


def test_without_mounts_nothing_is_known():
    assert file_system_of(Path("/tmp"), "") == ""
