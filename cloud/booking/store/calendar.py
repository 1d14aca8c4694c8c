"""The calendar's SQL. The exclusion constraint decides who has a vehicle, not the program."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import errors, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.kit.db import Db
from cloud.kit.scope import Scope

_COLUMNS = sql.SQL(
    "id, tenant, city, vehicle_id, kind, state, lower(during) AS starts_at,"
    " nullif(upper(during), 'infinity') AS ends_at, customer_id, expires_at, quote, reason"
)
_LIVE = sql.SQL("state IN ('held', 'confirmed', 'active', 'blocked')")
_FIND = sql.SQL("SELECT {} FROM booking.calendar WHERE id = %s").format(_COLUMNS)
_RELEASE = sql.SQL(
    "UPDATE booking.calendar SET state = 'expired' WHERE id IN (SELECT id FROM booking.calendar"
    " WHERE state = 'held' AND expires_at <= %(at)s AND {} ORDER BY id FOR UPDATE)"
    " RETURNING {}"
)
_TAKE = sql.SQL(
    "INSERT INTO booking.calendar (id, tenant, city, vehicle_id, kind, state, during,"
    " customer_id, expires_at, quote, reason, created_at) VALUES (%s, %s, %s, %s, %s, %s,"
    " tstzrange(%s, coalesce(%s::timestamptz, 'infinity'), '[)'), %s, %s, %s, %s, %s)"
    " ON CONFLICT ON CONSTRAINT no_double_booking DO NOTHING"
)
_OF_VEHICLE = sql.SQL("vehicle_id = %(vehicle_id)s")
_OF_ID = sql.SQL("id = %(id)s")


class OverlapError(Exception):
    """Somebody else has the vehicle then (SQLSTATE 23P01)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a vehicle's calendar.

    Attributes:
        id: of the entry; a hold's is the hold's.
        tenant: whose.
        city: which city's.
        vehicle_id: what it takes.
        kind: rental, maintenance, move, swap or securing.
        state: held, confirmed, active or blocked while it takes the vehicle; then done, expired or
            cancelled.
        starts_at: since when.
        ends_at: until when, turnaround included; None for nobody knows.
        customer_id: whose rental it is.
        expires_at: when a hold ends.
        quote: the price a hold was promised, as the payments seam gave it.
        reason: why, for blocks.
    """

    id: UUID
    tenant: str
    city: str
    vehicle_id: str
    kind: str
    state: str
    starts_at: datetime
    ends_at: datetime | None
    customer_id: str | None
    expires_at: datetime | None
    quote: Mapping[str, Any] | None
    reason: str

    @property
    def scope(self) -> Scope:
        """Whose it is."""
        return Scope(self.tenant, self.city)


def take(db: Db, row: Row, at: datetime) -> bool:
    """Add a live row; False when another live row has the vehicle then.

    Waits for a transaction that is taking it, and does not fail when that one wins, so that
    hundreds who want one vehicle queue up without deadlocks.
    """
    done = db.execute(
        _TAKE,
        (
            row.id,
            row.tenant,
            row.city,
            row.vehicle_id,
            row.kind,
            row.state,
            row.starts_at,
            row.ends_at,
            row.customer_id,
            row.expires_at,
            None if row.quote is None else Jsonb(row.quote),
            row.reason,
            at,
        ),
    )
    return done.rowcount == 1


def release_expired(db: Db, at: datetime, *, vehicle_id: str) -> list[Row]:
    """End the holds of a vehicle that ran out by `at`; return them."""
    query = _RELEASE.format(_OF_VEHICLE, _COLUMNS)
    return _rows(db, query, {"at": at, "vehicle_id": vehicle_id})


def expire(db: Db, hold_id: UUID, at: datetime) -> list[Row]:
    """End a hold if it ran out by `at`; return it if this call did so."""
    return _rows(db, _RELEASE.format(_OF_ID, _COLUMNS), {"at": at, "id": hold_id})


def extend_overdue(db: Db, vehicle_id: str, at: datetime) -> None:
    """Let active rows of a vehicle that should be over by now last: they are not over.

    Raises:
        OverlapError: a later booking begins before `at`.
    """
    try:
        with db.transaction():
            db.execute(
                "UPDATE booking.calendar SET during = tstzrange(lower(during), 'infinity')"
                " WHERE vehicle_id = %s AND state = 'active' AND upper(during) <= %s",
                (vehicle_id, at),
            )
    except errors.ExclusionViolation as taken:
        raise OverlapError(vehicle_id) from taken


def find(db: Db, row_id: UUID, *, lock: bool = False) -> Row | None:
    """Return one entry."""
    query = sql.SQL("{} FOR UPDATE").format(_FIND) if lock else _FIND
    found = _rows(db, query, (row_id,))
    return found[0] if found else None


def live(db: Db, vehicle_id: str, at: datetime) -> Row | None:
    """Return who has a vehicle at `at`; a hold that ran out has nothing."""
    query = sql.SQL(
        "SELECT {} FROM booking.calendar WHERE vehicle_id = %(id)s AND {} AND during @> %(at)s"
        " AND (state <> 'held' OR expires_at > %(at)s)"
    ).format(_COLUMNS, _LIVE)
    found = _rows(db, query, {"id": vehicle_id, "at": at})
    return found[0] if found else None


def activate(db: Db, row_id: UUID, ends_at: datetime | None) -> None:
    """Turn a hold into a rental that lasts until `ends_at`, or until nobody knows when.

    Raises:
        OverlapError: somebody has booked the vehicle for then.
    """
    try:
        with db.transaction():
            db.execute(
                "UPDATE booking.calendar SET state = 'active', during ="
                " tstzrange(lower(during), coalesce(%s::timestamptz, 'infinity'), '[)')"
                " WHERE id = %s",
                (ends_at, row_id),
            )
    except errors.ExclusionViolation as taken:
        raise OverlapError(str(row_id)) from taken


def finish(db: Db, row_id: UUID, state: str, at: datetime) -> bool:
    """End a live entry as done or cancelled at `at`; False when it was not live."""
    query = sql.SQL(
        "UPDATE booking.calendar SET state = %(state)s, during = tstzrange(lower(during),"
        " greatest(%(at)s, lower(during) + interval '1 microsecond'), '[)')"
        " WHERE id = %(id)s AND {}"
    ).format(_LIVE)
    return db.execute(query, {"state": state, "at": at, "id": row_id}).rowcount == 1


def _rows(db: Db, query: sql.Composed, parameters: Any) -> list[Row]:  # noqa: ANN401 - psycopg's
    with db.cursor(row_factory=class_row(Row)) as cursor:
        return cursor.execute(query, parameters).fetchall()
