"""Authorisations and the operations that providers are asked for.

Who changes both locks the authorisation first.
"""

from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from cloud.kit.db import Db
from cloud.kit.scope import Scope
from cloud.payments.holds import Authorisation, Operation

CHANNEL = "payments_asked"
_SELECT = (
    "SELECT id, tenant, city, rental_id, customer_id, method_id, provider, currency, asked_minor,"
    " held_minor, captured_minor, refunded_minor, state, code, payment, last4, token,"
    " capture_before, top_up_failed_at, asked_at, changed_at FROM payments.authorisation"
)


def add(db: Db, hold: Authorisation) -> bool:
    """Insert an authorisation; False when the rental has a live one."""
    done = db.execute(
        "INSERT INTO payments.authorisation (id, tenant, city, rental_id, customer_id, method_id,"
        " provider, currency, asked_minor, state, last4, token, asked_at, changed_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (rental_id)"
        " WHERE state NOT IN ('declined', 'released') DO NOTHING",
        (
            hold.id,
            hold.tenant,
            hold.city,
            hold.rental_id,
            hold.customer_id,
            hold.method_id,
            hold.provider,
            hold.currency,
            hold.asked_minor,
            hold.state,
            hold.last4,
            hold.token,
            hold.asked_at,
            hold.changed_at,
        ),
    )
    return done.rowcount == 1


def of_rental(db: Db, scope: Scope, rental_id: UUID, *, lock: bool = False) -> Authorisation | None:
    """Return the live authorisation of a rental, else its last one."""
    with db.cursor(row_factory=class_row(Authorisation)) as cursor:
        return cursor.execute(
            _SELECT + " WHERE rental_id = %s AND tenant = %s AND city = %s"
            " ORDER BY state IN ('declined', 'released'), asked_at DESC, id DESC LIMIT 1"
            + (" FOR UPDATE" if lock else ""),
            (rental_id, scope.tenant, scope.city),
        ).fetchone()


def find(db: Db, authorisation_id: UUID, *, lock: bool = False) -> Authorisation:
    """Return one authorisation; locked, nobody else changes it until the transaction ends."""
    with db.cursor(row_factory=class_row(Authorisation)) as cursor:
        found = cursor.execute(
            _SELECT + " WHERE id = %s" + (" FOR UPDATE" if lock else ""), (authorisation_id,)
        ).fetchone()
    assert found is not None
    return found


def save(db: Db, hold: Authorisation) -> None:
    """Write what may change of an authorisation."""
    db.execute(
        "UPDATE payments.authorisation SET state = %s, code = %s, held_minor = %s,"
        " captured_minor = %s, refunded_minor = %s, payment = %s, last4 = %s,"
        " capture_before = %s, top_up_failed_at = %s, changed_at = %s, method_id = %s,"
        " token = %s WHERE id = %s",
        (
            hold.state,
            hold.code,
            hold.held_minor,
            hold.captured_minor,
            hold.refunded_minor,
            hold.payment,
            hold.last4,
            hold.capture_before,
            hold.top_up_failed_at,
            hold.changed_at,
            hold.method_id,
            hold.token,
            hold.id,
        ),
    )


def set_state(db: Db, authorisation_id: UUID, state: str, at: datetime) -> None:
    """Let an authorisation be in another state."""
    db.execute(
        "UPDATE payments.authorisation SET state = %s, changed_at = %s WHERE id = %s",
        (state, at, authorisation_id),
    )


def ask(db: Db, scope: Scope, operation: Operation) -> None:
    """Insert an operation, due at once, and wake who performs it."""
    db.execute(
        "INSERT INTO payments.operation (id, tenant, city, authorisation_id, kind, amount_minor,"
        " currency, document_id, state, due, asked_at, method_id, token, last4)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'asked', %s, %s, %s, %s, %s)",
        (
            operation.id,
            scope.tenant,
            scope.city,
            operation.authorisation_id,
            operation.kind,
            operation.amount_minor,
            operation.currency,
            operation.document_id,
            operation.asked_at,
            operation.asked_at,
            operation.method_id,
            operation.token,
            operation.last4,
        ),
    )
    db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(operation.id)))


def operations(db: Db, authorisation_id: UUID) -> list[Operation]:
    """Return the operations of an authorisation, the oldest first."""
    with db.cursor(row_factory=class_row(Operation)) as cursor:
        return cursor.execute(
            "SELECT id, authorisation_id, kind, amount_minor, currency, document_id, state,"
            " attempts, asked_at, method_id, token, last4 FROM payments.operation"
            " WHERE authorisation_id = %s ORDER BY seq",
            (authorisation_id,),
        ).fetchall()


def lease(db: Db, now: datetime, until: datetime) -> Operation | None:
    """Take the next operation that is due; nobody else does before `until`.

    The operations of one authorisation are taken one after the other. A capture takes no more
    than is held when it is first taken.
    """
    with db.cursor(row_factory=class_row(Operation)) as cursor:
        return cursor.execute(
            "UPDATE payments.operation AS taken SET attempts = attempts + 1, leased_until = %s,"
            " amount_minor = CASE WHEN kind = 'capture' AND attempts = 0 THEN least(amount_minor,"
            " (SELECT held_minor FROM payments.authorisation WHERE id = taken.authorisation_id))"
            " ELSE amount_minor END"
            " WHERE id = (SELECT id FROM payments.operation AS due"
            " WHERE state IN ('asked', 'unknown') AND due <= %s"
            " AND (leased_until IS NULL OR leased_until <= %s)"
            " AND NOT EXISTS (SELECT FROM payments.operation AS earlier"
            " WHERE earlier.state IN ('asked', 'unknown') AND earlier.seq < due.seq"
            " AND earlier.authorisation_id = due.authorisation_id)"
            " ORDER BY due, seq LIMIT 1 FOR UPDATE SKIP LOCKED)"
            " RETURNING id, authorisation_id, kind, amount_minor, currency, document_id, state,"
            " attempts, asked_at, method_id, token, last4",
            (until, now, now),
        ).fetchone()


def put_off(db: Db, operation_id: UUID, due: datetime) -> bool:
    """Note that nobody knows what became of an operation; False when it has ended since."""
    done = db.execute(
        "UPDATE payments.operation SET state = 'unknown', due = %s, leased_until = NULL"
        " WHERE id = %s AND state IN ('asked', 'unknown')",
        (due, operation_id),
    )
    return done.rowcount == 1


def end(db: Db, operation_id: UUID, *, done: bool, code: str, at: datetime) -> bool:
    """End an operation; False when it has ended already."""
    changed = db.execute(
        "UPDATE payments.operation SET state = %s, code = %s, ended_at = %s, leased_until = NULL"
        " WHERE id = %s AND state IN ('asked', 'unknown')",
        ("done" if done else "failed", code, at, operation_id),
    )
    return changed.rowcount == 1


def hurry(db: Db, operation_id: UUID, at: datetime) -> None:
    """Look at once what became of an operation: its provider has told of it."""
    done = db.execute(
        "UPDATE payments.operation SET due = %s"
        " WHERE id = %s AND state IN ('asked', 'unknown') AND due > %s",
        (at, operation_id, at),
    )
    if done.rowcount:
        db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(operation_id)))


def call_off(db: Db, authorisation_id: UUID, at: datetime) -> bool:
    """End an authorise that nobody has been asked for yet; False when somebody has."""
    changed = db.execute(
        "UPDATE payments.operation SET state = 'failed', code = 'called_off', ended_at = %s"
        " WHERE authorisation_id = %s AND kind = 'authorise' AND state = 'asked' AND attempts = 0",
        (at, authorisation_id),
    )
    return changed.rowcount == 1


def last_asked_minor(db: Db, authorisation_id: UUID) -> int:
    """Return the highest total that was asked to be held and not refused."""
    row = db.execute(
        "SELECT coalesce(max(amount_minor), 0) FROM payments.operation"
        " WHERE authorisation_id = %s AND kind IN ('authorise', 'increment', 'replace')"
        " AND state <> 'failed'",
        (authorisation_id,),
    ).fetchone()
    assert row is not None
    return int(row[0])


def is_replacing(db: Db, authorisation_id: UUID) -> bool:
    """Tell whether another card is being asked to hold."""
    row = db.execute(
        "SELECT EXISTS (SELECT FROM payments.operation WHERE authorisation_id = %s"
        " AND kind = 'replace' AND state IN ('asked', 'unknown'))",
        (authorisation_id,),
    ).fetchone()
    assert row is not None
    return bool(row[0])


def ending(db: Db, by: datetime, tried_since: datetime) -> list[Authorisation]:
    """Return, locked, what is held and ends by then, unless more was asked for since."""
    with db.cursor(row_factory=class_row(Authorisation)) as cursor:
        return cursor.execute(
            _SELECT + " AS hold WHERE state = 'authorised' AND capture_before <= %s"
            " AND NOT EXISTS (SELECT FROM payments.operation WHERE authorisation_id = hold.id"
            " AND (asked_at > %s OR state IN ('asked', 'unknown')))"
            " ORDER BY capture_before FOR UPDATE SKIP LOCKED",
            (by, tried_since),
        ).fetchall()


def refunds_minor(db: Db, authorisation_id: UUID) -> int:
    """Return what is being refunded and not done yet."""
    row = db.execute(
        "SELECT coalesce(sum(amount_minor), 0) FROM payments.operation"
        " WHERE authorisation_id = %s AND kind = 'refund' AND state IN ('asked', 'unknown')",
        (authorisation_id,),
    ).fetchone()
    assert row is not None
    return int(row[0])
