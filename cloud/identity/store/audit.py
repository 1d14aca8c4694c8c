"""The rows of the audit chain."""

from collections.abc import Iterator

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.identity.chain import Entry, Head
from cloud.kit.db import Db

_COLUMNS = sql.SQL(
    "seq, at, tenant, city, actor, actor_kind, action, target, detail, prev_hash, hash"
)
_BATCH = 1_000


def lock_head(db: Db) -> Head:
    """Return the chain's end; whoever else appends waits until this transaction is over.

    Raises:
        RuntimeError: the head row was deleted.
    """
    row = db.execute("SELECT seq, hash FROM identity.audit_head FOR UPDATE").fetchone()
    if row is None:
        raise RuntimeError(
            "the head of the audit chain is gone; run `mobility-cloud audit verify` and restore"
            " the database from a backup"
        )
    return Head(*row)


def append(db: Db, entry: Entry) -> None:
    """Add a row, which becomes the head."""
    db.execute(
        sql.SQL(
            "INSERT INTO identity.audit ({}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        ).format(_COLUMNS),
        (
            entry.seq,
            entry.at,
            entry.tenant,
            entry.city,
            entry.actor,
            entry.actor_kind,
            entry.action,
            entry.target,
            Jsonb(entry.detail),
            entry.prev_hash,
            entry.hash,
        ),
    )
    db.execute("UPDATE identity.audit_head SET seq = %s, hash = %s", (entry.seq, entry.hash))


def entries(db: Db) -> Iterator[Entry]:
    """Yield every row from the first on, a batch in memory at a time; inside a transaction only."""
    with db.cursor(name="audit", row_factory=class_row(Entry)) as cursor:
        cursor.itersize = _BATCH
        cursor.execute(sql.SQL("SELECT {} FROM identity.audit ORDER BY seq").format(_COLUMNS))
        yield from cursor


def freeze(db: Db) -> None:
    """See the rows and the head of one moment until the transaction is over; call it first."""
    db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def head(db: Db) -> Head | None:
    """Return the chain's end as it is told; None when it is not."""
    row = db.execute("SELECT seq, hash FROM identity.audit_head").fetchone()
    return None if row is None else Head(*row)


def newest(
    db: Db, limit: int, *, tenant: str | None = None, before: int | None = None
) -> list[Entry]:
    """Return the newest rows, newest first; of one tenant, and older than `before`, if told."""
    with db.cursor(row_factory=class_row(Entry)) as cursor:
        return cursor.execute(
            sql.SQL(
                "SELECT {} FROM identity.audit"
                " WHERE (%(tenant)s::text IS NULL OR tenant = %(tenant)s)"
                " AND (%(before)s::bigint IS NULL OR seq < %(before)s)"
                " ORDER BY seq DESC LIMIT %(limit)s"
            ).format(_COLUMNS),
            {"tenant": tenant, "before": before, "limit": limit},
        ).fetchall()
