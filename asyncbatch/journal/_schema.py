"""The tables of the durable journal, how they came to be, and how each SQLite may write them.

Everybody may read them (`sqlite3 journal.sqlite3`); the records themselves are JSON, the columns beside them are for questions:

- `meta`: the version that made the journal, whether it was left in order (`clean`), and for a day what forgotten jobs used.
- `job`: what was accepted. `seq` is the order of acceptance.
- `submission`: how far each submission has come, as of its latest event.
- `attempt`: every create that was about to be sent, and what is known of it: `open` (intended, no outcome yet), `unknown`,
  `accepted`, `refused`, `fenced` (cannot have been accepted), `voided` (ran nothing), `indeterminate` (nobody will know),
  `retried` (it is over, and some of its requests are sent again).
  Two attempts of one submission of which each may have been accepted do not fit into the table, whatever the code does:
  `attempt_live` is what makes a second payment impossible. Nor can two submissions own one batch of a payer.
- `event`: everything that happened, in order, never changed. No secrets, no prompts.
- `wish`: what a process asks of the one that has a job; the writer of the job takes it down once it has done so.
- `webhook`: those that came in the last days, so that one that comes again does nothing.
- `lease`: who wrote to a job last. The lock file decides who may; the epoch, raised with every change of writer, refuses those
  who have not noticed.
"""

import itertools

APPLICATION_ID = 0x61626A31
"""`abj1`, in the header of the file."""

_SCHEMA_1 = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE job (
        seq INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL UNIQUE,
        key TEXT UNIQUE,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        account TEXT,
        fingerprint TEXT NOT NULL,
        created_at REAL NOT NULL,
        requests INTEGER NOT NULL,
        record TEXT NOT NULL
    )""",
    "CREATE INDEX job_by_age ON job (created_at, seq)",
    """CREATE TABLE submission (
        job_id TEXT NOT NULL REFERENCES job (job_id) ON DELETE CASCADE,
        idx INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('planned', 'uploading', 'uploaded', 'creating', 'create_unknown', 'submitted',
            'ended', 'settled')),
        attempt INTEGER NOT NULL,
        tag TEXT,
        provider_batch_id TEXT,
        record TEXT NOT NULL,
        PRIMARY KEY (job_id, idx),
        CHECK (tag IS NOT NULL OR state NOT IN ('creating', 'create_unknown', 'submitted')),
        CHECK (provider_batch_id IS NOT NULL OR state <> 'submitted')
    ) WITHOUT ROWID""",
    "CREATE INDEX submission_unsettled ON submission (job_id) WHERE state <> 'settled'",
    """CREATE TABLE attempt (
        job_id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        n INTEGER NOT NULL,
        tag TEXT NOT NULL UNIQUE,
        intended_at REAL NOT NULL,
        payer TEXT,
        provider_batch_id TEXT,
        result TEXT NOT NULL CHECK (result IN ('open', 'unknown', 'accepted', 'refused', 'fenced', 'voided', 'indeterminate')),
        PRIMARY KEY (job_id, idx, n),
        FOREIGN KEY (job_id, idx) REFERENCES submission (job_id, idx) ON DELETE CASCADE,
        CHECK (provider_batch_id IS NOT NULL OR result <> 'accepted')
    ) WITHOUT ROWID""",
    """CREATE UNIQUE INDEX attempt_live ON attempt (job_id, idx)
        WHERE result IN ('open', 'unknown', 'accepted', 'indeterminate')""",
    "CREATE UNIQUE INDEX attempt_batch ON attempt (payer, provider_batch_id) WHERE result = 'accepted'",
    """CREATE TABLE event (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        job_id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        FOREIGN KEY (job_id, idx) REFERENCES submission (job_id, idx) ON DELETE CASCADE
    )""",
    "CREATE INDEX event_of ON event (job_id, idx, seq)",
    """CREATE TRIGGER event_stays BEFORE UPDATE ON event BEGIN
        SELECT RAISE(ABORT, 'what happened is not changed');
    END""",
    """CREATE TABLE lease (
        job_id TEXT PRIMARY KEY REFERENCES job (job_id) ON DELETE CASCADE,
        owner TEXT NOT NULL,
        pid INTEGER NOT NULL,
        started INTEGER NOT NULL,
        boot_id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        renewed REAL NOT NULL
    ) WITHOUT ROWID""",
)

_SCHEMA_2 = (  # attempts may be `retried`; processes may ask the writer of a job for something
    """CREATE TABLE attempt_2 (
        job_id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        n INTEGER NOT NULL,
        tag TEXT NOT NULL UNIQUE,
        intended_at REAL NOT NULL,
        payer TEXT,
        provider_batch_id TEXT,
        result TEXT NOT NULL CHECK (result IN ('open', 'unknown', 'accepted', 'refused', 'fenced', 'voided', 'indeterminate',
            'retried')),
        PRIMARY KEY (job_id, idx, n),
        FOREIGN KEY (job_id, idx) REFERENCES submission (job_id, idx) ON DELETE CASCADE,
        CHECK (provider_batch_id IS NOT NULL OR result <> 'accepted')
    ) WITHOUT ROWID""",
    "INSERT INTO attempt_2 SELECT * FROM attempt",
    "DROP TABLE attempt",
    "ALTER TABLE attempt_2 RENAME TO attempt",
    """CREATE UNIQUE INDEX attempt_live ON attempt (job_id, idx)
        WHERE result IN ('open', 'unknown', 'accepted', 'indeterminate')""",
    """CREATE UNIQUE INDEX attempt_batch ON attempt (payer, provider_batch_id)
        WHERE result IN ('accepted', 'retried')""",
    """CREATE TABLE wish (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES job (job_id) ON DELETE CASCADE,
        word TEXT NOT NULL,
        at REAL NOT NULL
    )""",
    "CREATE INDEX wish_of ON wish (job_id)",
)

_SCHEMA_3 = (  # webhooks are known again; a batch leads to its job
    """CREATE TABLE webhook (
        webhook_id TEXT PRIMARY KEY,
        at REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX webhook_by_age ON webhook (at)",
    "CREATE INDEX attempt_of_batch ON attempt (provider_batch_id) WHERE provider_batch_id IS NOT NULL",
)

MIGRATIONS = (_SCHEMA_1, _SCHEMA_2, _SCHEMA_3)
"""Schema n comes from schema n - 1 by the statements at n - 1, in one transaction. What was released is never edited."""

_WAL_FIXED = (((3, 44, 6), (3, 45)), ((3, 50, 7), (3, 51)), ((3, 51, 3), (4,)))
"""From which version on, and below which, WAL does not lose pages when two connections write or checkpoint at once.
Source: https://www.sqlite.org/wal.html, the section on the WAL-reset bug, and the notes of these releases."""


def has_safe_wal(version: tuple[int, ...]) -> bool:
    """Say whether several processes may write in WAL mode with this SQLite."""
    return any(first <= version < beyond for first, beyond in _WAL_FIXED)


def plan_journal_mode(version: tuple[int, ...], *, is_remote: bool) -> str:
    """Choose how SQLite makes a commit atomic. WAL needs memory that all processes share, which no network gives them."""
    return "wal" if has_safe_wal(version) and not is_remote else "truncate"


SYNCHRONOUS = {"wal": "FULL", "truncate": "EXTRA"}
"""What it takes in each mode for a commit to survive a loss of power; nothing less is ever used."""


def plan_migration(found: int) -> tuple[str, ...]:
    """Give the statements that lead from this schema to ours."""
    return tuple(itertools.chain.from_iterable(MIGRATIONS[found:]))
