"""Numbered SQL files, applied once and in order: `cloud/<context>/migrations/0001_name.sql`.

Each file runs in one transaction and makes its own schema. An applied file never changes: its
checksum is kept in `kit.migration`. Concurrent starts wait for each other on an advisory lock.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from cloud.kit.clock import Clock, SystemClock
from cloud.kit.db import Db, connect

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x6D6F6269
_BOOTSTRAP = b"""
CREATE SCHEMA IF NOT EXISTS kit;
CREATE TABLE IF NOT EXISTS kit.migration (
    context text NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL,
    PRIMARY KEY (context, name)
);
"""


class MigrationError(RuntimeError):
    """The database and the code disagree; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of one context."""

    context: str
    name: str
    sql: bytes

    @property
    def checksum(self) -> str:
        """The sha256 of the file as it lies."""
        return hashlib.sha256(self.sql).hexdigest()

    def __str__(self) -> str:
        return f"{self.context}/{self.name}"


def migrate(dsn: str, contexts: Sequence[str], clock: Clock | None = None) -> list[str]:
    """Bring the database up to the code: the kit first, then the contexts as listed.

    Returns what was applied now, as `context/0001_name.sql`. Raises MigrationError when an
    applied file was changed or is missing, when a file is badly named, or when its SQL fails.
    """
    wanted = load(contexts)
    now = (clock or SystemClock()).now()
    with connect(dsn) as db:
        db.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        try:
            # The applied ones and the wanted ones are compared under the lock.
            db.execute(_BOOTSTRAP)
            done = []
            for migration in _missing(db, wanted):
                with db.transaction():
                    _apply(db, migration)
                    db.execute(
                        "INSERT INTO kit.migration VALUES (%s, %s, %s, %s)",
                        (migration.context, migration.name, migration.checksum, now),
                    )
                done.append(str(migration))
            return done
        finally:
            db.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def pending(db: Db, contexts: Sequence[str]) -> list[str]:
    """Return what `migrate` would apply; raises MigrationError as it does."""
    found = db.execute("SELECT to_regclass('kit.migration') IS NOT NULL").fetchone()
    if found is None or not found[0]:
        return [str(migration) for migration in load(contexts)]
    return [str(migration) for migration in _missing(db, load(contexts))]


def load(contexts: Sequence[str]) -> list[Migration]:
    """Read the files of the kit and of these contexts, in the order they apply."""
    wanted: list[Migration] = []
    for context in dict.fromkeys(("kit", *contexts)):
        folder = files(f"cloud.{context}") / "migrations"
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        _check_names(context, names)
        wanted += [Migration(context, name, (folder / name).read_bytes()) for name in names]
    return wanted


def _check_names(context: str, names: Sequence[str]) -> None:
    for number, name in enumerate(names, start=1):
        match = _NAME.fullmatch(name)
        if match is None or int(match[1]) != number:
            raise MigrationError(
                f"cloud/{context}/migrations/{name} should be {number:04d}_words.sql; "
                "rename it: numbers start at 0001 and leave no gap"
            )


def _missing(db: Db, wanted: Sequence[Migration]) -> list[Migration]:
    rows = db.execute("SELECT context, name, checksum FROM kit.migration").fetchall()
    applied = {(context, name): checksum for context, name, checksum in rows}
    known = {(migration.context, migration.name) for migration in wanted}
    contexts = {migration.context for migration in wanted}
    for context, name in sorted(applied):
        if context in contexts and (context, name) not in known:
            raise MigrationError(
                f"the database has {context}/{name} and this code has not; "
                "run the newer release that wrote it, or restore a backup"
            )
    missing = []
    for migration in wanted:
        checksum = applied.get((migration.context, migration.name))
        if checksum is None:
            missing.append(migration)
        elif checksum != migration.checksum:
            raise MigrationError(
                f"{migration} was changed after it was applied; "
                "put the file back as it was and write the change as a new one"
            )
    return missing


def _apply(db: Db, migration: Migration) -> None:
    try:
        db.execute(migration.sql)
    except Exception as trouble:
        raise MigrationError(
            f"{migration} failed and was rolled back ({str(trouble).strip().splitlines()[0]}); "
            "correct it and start again"
        ) from trouble
