"""The journal's tables and how a file is brought up to date."""

import sqlite3
from pathlib import Path

# Small pages: a commit writes whole pages, and a riding vehicle commits every second.
PAGE_BYTES = 1024
CACHE_KIB = 256
BUSY_MS = 5_000

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE lane (lane INTEGER PRIMARY KEY, epoch TEXT NOT NULL, last_seq INTEGER NOT NULL);
    CREATE TABLE segment (
        lane INTEGER NOT NULL, first_seq INTEGER NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (lane, first_seq)
    ) WITHOUT ROWID;
    CREATE TABLE tail (
        first_seq INTEGER PRIMARY KEY, n INTEGER NOT NULL, boot_id INTEGER NOT NULL,
        clock_offset_ms INTEGER NOT NULL, body BLOB NOT NULL
    );
    CREATE TABLE run (one INTEGER PRIMARY KEY CHECK (one = 1), closed INTEGER NOT NULL);
    INSERT INTO run VALUES (1, 1);
    """,
    """
    CREATE TABLE damaged (
        number INTEGER PRIMARY KEY, lane INTEGER NOT NULL, first_seq INTEGER NOT NULL,
        n INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL
    );
    """,
    """
    CREATE TABLE command (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, args TEXT NOT NULL,
        issued_at_ms INTEGER NOT NULL, not_after_ms INTEGER NOT NULL, boot_id INTEGER NOT NULL,
        received_wall_ms INTEGER NOT NULL, received_mono_ms INTEGER NOT NULL, traceparent TEXT,
        state TEXT NOT NULL, reason TEXT NOT NULL, fields TEXT NOT NULL,
        ended_at_ms INTEGER, fact_seq INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE twin (
        one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, envelope BLOB NOT NULL,
        document TEXT NOT NULL, fact_seq INTEGER NOT NULL
    );
    CREATE TABLE trusted (
        one INTEGER PRIMARY KEY CHECK (one = 1), seen_ms INTEGER NOT NULL,
        signers TEXT NOT NULL, enrolled TEXT NOT NULL
    );
    INSERT INTO trusted VALUES (1, 0, '{}', '{}');
    CREATE TABLE interval (name TEXT PRIMARY KEY, seconds REAL NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE hold (name TEXT PRIMARY KEY) WITHOUT ROWID;
    """,
    """
    CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)


class JournalVersionError(Exception):
    """The file was written by a newer agent; install that agent again."""


def connect(path: Path) -> sqlite3.Connection:
    """Open `path` for writing, in WAL mode with an fsync at every commit, and migrate it."""
    db = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
    )
    try:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Run the migrations that the file has not seen, each in its own transaction.

    Raises:
        JournalVersionError: The file is newer than this program.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise JournalVersionError(
            f"{path} has journal version {version}, this agent knows {len(MIGRATIONS)}: "
            "install the newer agent again, or move the file aside to start an empty one"
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
