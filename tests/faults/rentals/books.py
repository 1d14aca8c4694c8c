"""What is there in the end: our databases, the bank's own books, the latches themselves."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from psycopg.rows import class_row

from cloud.kit.db import Db, connect
from cloud.kit.events import held
from cloud.kit.scope import DEMO
from cloud.payments.documents import at_provider
from cloud.payments.store.books import balance
from tests.faults.rentals.house import House, is_locked
from tests.faults.rentals.verdict import (
    Evidence,
    Hold,
    Invoice,
    Movement,
    Parked,
    Payment,
    Rental,
    Use,
)

_T = TypeVar("_T")
# What is still on its way, each counted: the story is over when there is none of it.
_MOVING: Mapping[str, str] = {
    "rentals": "SELECT count(*) FROM booking.rental WHERE state NOT IN ('ended', 'cancelled')",
    "blocked vehicles": "SELECT count(*) FROM booking.calendar WHERE state = 'blocked'",
    "operations": ("SELECT count(*) FROM payments.operation WHERE state NOT IN ('done', 'failed')"),
    "events": (
        "SELECT count(*) FROM pgqueuer.pgqueuer AS job"
        " JOIN kit.event ON event.id = convert_from(job.payload, 'UTF8')::uuid"
        " WHERE job.status IN ('queued', 'picked') AND event.due <= %(now)s"
    ),
    "commands": (
        "SELECT count(*) FROM devices.command WHERE state IN ('pending', 'accepted', 'executing')"
    ),
}


def moving(dsn: str) -> dict[str, int]:
    """Return what is still on its way, by kind; empty when everything has come to rest."""
    now = {"now": datetime.now(UTC)}
    with connect(dsn) as db:
        counts = {kind: _count(db, query, now) for kind, query in _MOVING.items()}
    return {kind: count for kind, count in counts.items() if count}


def gather(house: House) -> Evidence:
    """Read everything; nothing may be moving any more."""
    payments, movements = read_bank(house.bank_file)
    with connect(house.dsn) as db:
        states = db.execute("SELECT id, state FROM fleet.vehicle ORDER BY id").fetchall()
        return Evidence(
            rentals=_rows(
                db, Rental, "SELECT id::text, vehicle_id, state, reason FROM booking.rental"
            ),
            holds=_rows(
                db,
                Hold,
                "SELECT id::text, rental_id::text, state, captured_minor"
                " FROM payments.authorisation",
            ),
            invoices=_rows(
                db,
                Invoice,
                "SELECT rental_id::text, series, number, total_minor FROM payments.document",
            ),
            payments=payments,
            movements=movements,
            calendar=_rows(
                db,
                Use,
                "SELECT vehicle_id, kind, state, extract(epoch FROM lower(during))::float8"
                " AS begins_s, extract(epoch FROM upper(during))::float8 AS ends_s"
                " FROM booking.calendar",
            ),
            parked=[Parked(id_, state, is_locked(house, id_)) for id_, state in states],
            unbalanced=_count(
                db,
                "SELECT count(*) FROM (SELECT FROM payments.posting GROUP BY entry_id, currency"
                " HAVING sum(amount_minor) <> 0) AS entry",
                {},
            ),
            at_bank_minor=balance(db, DEMO, at_provider("sandbox"), "EUR"),
            undelivered=[f"{job.subscriber} {job.event_type}: {job.error}" for job in held(db)],
        )


def unlocks(dsn: str) -> list[float]:
    """Return when the cloud learnt of each vehicle that opened for a rider, seconds since 1970."""
    with connect(dsn) as db:
        rows = db.execute(
            "SELECT extract(epoch FROM told_at)::float8 FROM booking.timeline"
            " WHERE kind = 'unlocked' ORDER BY told_at"
        )
        return [float(row[0]) for row in rows]


def read_bank(file: Path) -> tuple[list[Payment], list[Movement]]:
    """Read the bank's books: how each payment stands, and every movement of money."""
    payments: dict[str, Payment] = {}
    movements = []
    for text in file.read_text("utf-8").splitlines():
        line: dict[str, Any] = json.loads(text)
        told = line["payment"]
        if told["id"]:
            payments[told["id"]] = Payment(told["id"], told["reference"], told["status"])
        movements += [
            Movement(each["reference"], each["kind"], each["amount_minor"])
            for each in line["moved"]
        ]
    return list(payments.values()), movements


def _rows(db: Db, kind: type[_T], query: str) -> Sequence[_T]:
    with db.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query).fetchall()


def _count(db: Db, query: str, parameters: Mapping[str, object]) -> int:
    return int(next(db.execute(query, parameters))[0])
