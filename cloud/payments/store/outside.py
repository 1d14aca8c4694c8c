"""What providers told, and where their books and ours differ."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.kit.db import Db
from cloud.kit.ports.payment import Notice
from cloud.kit.scope import Scope
from cloud.payments.documents import at_provider
from cloud.payments.reconcile import Finding, Movement


def scope_of(db: Db, provider: str, key: UUID) -> Scope | None:
    """Return whose operation a key of a provider is."""
    row = db.execute(
        "SELECT operation.tenant, operation.city FROM payments.operation"
        " JOIN payments.authorisation ON authorisation.id = operation.authorisation_id"
        " WHERE operation.id = %s AND authorisation.provider = %s",
        (key, provider),
    ).fetchone()
    return None if row is None else Scope(row[0], row[1])


def add_webhook(db: Db, provider: str, notice: Notice, scope: Scope, at: datetime) -> bool:
    """Keep what a provider told; False when it was told before."""
    done = db.execute(
        "INSERT INTO payments.webhook (provider, event_id, tenant, city, type, body, heard_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            provider,
            notice.event_id,
            scope.tenant,
            scope.city,
            notice.type,
            Jsonb(dict(notice.body)),
            at,
        ),
    )
    return done.rowcount == 1


def movements(
    db: Db, provider: str, since: datetime, until: datetime, keys: Collection[UUID]
) -> list[Movement]:
    """Return what the ledger says was moved through a provider in a window, or by these keys."""
    with db.cursor(row_factory=class_row(Movement)) as cursor:
        return cursor.execute(
            "SELECT entry.subject::text AS key, entry.kind, entry.tenant, entry.city,"
            " abs(posting.amount_minor) AS amount_minor, posting.currency, entry.at"
            " FROM payments.entry JOIN payments.posting ON posting.entry_id = entry.id"
            " JOIN payments.account ON account.id = posting.account_id"
            " WHERE account.code = %s AND entry.kind IN ('capture', 'refund')"
            " AND ((entry.at >= %s AND entry.at < %s) OR entry.subject = ANY(%s))"
            " ORDER BY entry.at, entry.id",
            (at_provider(provider).code, since, until, list(keys)),
        ).fetchall()


def open_keys(db: Db, keys: Collection[UUID]) -> set[str]:
    """Return which of these operations have not ended here."""
    rows = db.execute(
        "SELECT id::text FROM payments.operation"
        " WHERE id = ANY(%s) AND state IN ('asked', 'unknown')",
        (list(keys),),
    ).fetchall()
    return {row[0] for row in rows}


def add_finding(db: Db, provider: str, finding: Finding, at: datetime) -> bool:
    """Keep what was found; False when it was found before."""
    done = db.execute(
        "INSERT INTO payments.finding"
        " (provider, kind, subject, tenant, city, ours, theirs, found_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            provider,
            finding.kind,
            finding.subject,
            finding.scope.tenant,
            finding.scope.city,
            None if finding.ours is None else Jsonb(finding.ours.as_json()),
            None if finding.theirs is None else Jsonb(finding.theirs.as_json()),
            at,
        ),
    )
    return done.rowcount == 1
