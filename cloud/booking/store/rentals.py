"""The SQL of rentals, their timelines and their commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import errors, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.booking.model import Entry, Place, State
from cloud.kit.db import Db
from cloud.kit.scope import Scope

_COLUMNS = sql.SQL(
    "id, tenant, city, calendar_id, vehicle_id, vehicle_type, customer_id, state, quote,"
    " method_id, command_id, deadline, created_at, started_at, end_requested_at, ended_at,"
    " called_off, is_unpaid, reason, fees"
)
_FIND = sql.SQL("SELECT {} FROM booking.rental WHERE id = %s").format(_COLUMNS)


class OneAtATimeError(Exception):
    """The customer has a rental already."""


@dataclass(frozen=True, slots=True)
class Rental:
    """A rental and how far its story got; times are None where it did not get.

    Attributes:
        id: of the rental.
        tenant: whose.
        city: which city's.
        calendar_id: its entry in the vehicle's calendar, the hold's id.
        vehicle_id: the vehicle.
        vehicle_type: its type when it was taken.
        customer_id: who rides.
        state: a state of the model.
        quote: the price that was promised, as the payments seam gave it.
        method_id: what pays.
        command_id: the newest command it asked for.
        deadline: when the present step is given up; one that is accepted and has one is not
            charged yet.
        created_at: when it was asked for.
        started_at: when the vehicle unlocked, edge's time.
        end_requested_at: when the meter stopped.
        ended_at: when it was over, or came to nothing.
        called_off: ended too soon to cost anything.
        is_unpaid: no more could be held on the card: it is not unlocked again after a pause.
        reason: why it was cancelled.
        fees: what an accepted return is charged beside the ride.
    """

    id: UUID
    tenant: str
    city: str
    calendar_id: UUID
    vehicle_id: str
    vehicle_type: str
    customer_id: str
    state: State
    quote: Mapping[str, Any]
    method_id: str
    command_id: UUID | None
    deadline: datetime | None
    created_at: datetime
    started_at: datetime | None
    end_requested_at: datetime | None
    ended_at: datetime | None
    called_off: bool
    is_unpaid: bool
    reason: str
    fees: Sequence[Mapping[str, Any]] = ()

    @property
    def scope(self) -> Scope:
        """Whose it is."""
        return Scope(self.tenant, self.city)


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that a rental asked for, and what came of it."""

    id: UUID
    rental_id: UUID
    vehicle_id: str
    purpose: str
    attempt: int
    asked_at: datetime
    state: str


def add(db: Db, rental: Rental) -> None:
    """Add a rental; raises OneAtATimeError."""
    try:
        with db.transaction():
            db.execute(
                "INSERT INTO booking.rental (id, tenant, city, calendar_id, vehicle_id,"
                " vehicle_type, customer_id, state, quote, method_id, deadline, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    rental.id,
                    rental.tenant,
                    rental.city,
                    rental.calendar_id,
                    rental.vehicle_id,
                    rental.vehicle_type,
                    rental.customer_id,
                    rental.state,
                    Jsonb(rental.quote),
                    rental.method_id,
                    rental.deadline,
                    rental.created_at,
                ),
            )
    except errors.UniqueViolation as already:
        if already.diag.constraint_name != "one_active_rental":
            raise
        raise OneAtATimeError(rental.customer_id) from already


def save(db: Db, rental: Rental) -> None:
    """Keep what has changed of a rental that the caller has locked."""
    db.execute(
        "UPDATE booking.rental SET state = %s, command_id = %s, deadline = %s, started_at = %s,"
        " end_requested_at = %s, ended_at = %s, called_off = %s, is_unpaid = %s, reason = %s,"
        " fees = %s WHERE id = %s",
        (
            rental.state,
            rental.command_id,
            rental.deadline,
            rental.started_at,
            rental.end_requested_at,
            rental.ended_at,
            rental.called_off,
            rental.is_unpaid,
            rental.reason,
            Jsonb(list(rental.fees)),
            rental.id,
        ),
    )


def put_back(db: Db, rental: Rental) -> None:
    """Keep a rental that is under way again; raises OneAtATimeError where its rider has another."""
    try:
        with db.transaction():
            save(db, rental)
    except errors.UniqueViolation as already:
        if already.diag.constraint_name != "one_active_rental":
            raise
        raise OneAtATimeError(rental.customer_id) from already


def find(db: Db, rental_id: UUID, *, lock: bool = False) -> Rental | None:
    """Return one rental; with `lock` nobody else moves it until the transaction ends."""
    query = sql.SQL("{} FOR UPDATE").format(_FIND) if lock else _FIND
    with db.cursor(row_factory=class_row(Rental)) as cursor:
        return cursor.execute(query, (rental_id,)).fetchone()


def state_of_hold(db: Db, hold_id: UUID) -> str | None:
    """Return how far the rental got that a hold became."""
    row = db.execute(
        "SELECT state FROM booking.rental WHERE calendar_id = %s", (hold_id,)
    ).fetchone()
    return None if row is None else row[0]


def newest_of(db: Db, scope: Scope, customer_id: str, limit: int) -> list[Rental]:
    """Return a customer's rentals, newest first."""
    query = sql.SQL(
        "SELECT {} FROM booking.rental WHERE tenant = %s AND city = %s AND customer_id = %s"
        " ORDER BY created_at DESC, id DESC LIMIT %s"
    ).format(_COLUMNS)
    with db.cursor(row_factory=class_row(Rental)) as cursor:
        return cursor.execute(query, (scope.tenant, scope.city, customer_id, limit)).fetchall()


def newest_in(db: Db, scope: Scope, limit: int) -> list[Rental]:
    """Return a city's rentals, newest first."""
    query = sql.SQL(
        "SELECT {} FROM booking.rental WHERE tenant = %s AND city = %s"
        " ORDER BY created_at DESC, id DESC LIMIT %s"
    ).format(_COLUMNS)
    with db.cursor(row_factory=class_row(Rental)) as cursor:
        return cursor.execute(query, (scope.tenant, scope.city, limit)).fetchall()


def under_way(db: Db, states: Sequence[str]) -> list[UUID]:
    """Return the rentals that are in one of these states, everywhere."""
    rows = db.execute(
        "SELECT id FROM booking.rental WHERE state = ANY(%s) ORDER BY id", (list(states),)
    ).fetchall()
    return [row[0] for row in rows]


def note(db: Db, rental: Rental, entries: Sequence[Entry], told_at: datetime) -> None:
    """Append to a timeline; the caller has locked the rental."""
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO booking.timeline (rental_id, seq, tenant, city, kind, at, boot, mono_s,"
            " lat, lon, accuracy_m, detail, told_at) SELECT %s, coalesce(max(seq), 0) + 1,"
            " %s, %s, %s, %s::timestamptz, %s, %s::float8, %s::float8, %s::float8, %s::float8,"
            " %s, %s::timestamptz FROM booking.timeline WHERE rental_id = %s",
            [
                (
                    rental.id,
                    rental.tenant,
                    rental.city,
                    entry.kind,
                    entry.at,
                    entry.boot,
                    entry.mono_s,
                    None if entry.place is None else entry.place.lat,
                    None if entry.place is None else entry.place.lon,
                    None if entry.place is None else entry.place.accuracy_m,
                    entry.detail,
                    told_at,
                    rental.id,
                )
                for entry in entries
            ],
        )


def timeline(db: Db, rental_id: UUID) -> list[Entry]:
    """Return what happened in a rental, in the order in which it was told."""
    rows = db.execute(
        "SELECT kind, at, boot, mono_s, lat, lon, accuracy_m, detail FROM booking.timeline"
        " WHERE rental_id = %s ORDER BY seq",
        (rental_id,),
    )
    return [
        Entry(kind, at, boot, mono_s, None if lat is None else Place(lat, lon, accuracy), detail)
        for kind, at, boot, mono_s, lat, lon, accuracy, detail in rows
    ]


def add_command(db: Db, scope: Scope, asked: Asked) -> None:
    """Remember a command that was asked for."""
    db.execute(
        "INSERT INTO booking.command (id, tenant, city, rental_id, vehicle_id, purpose, attempt,"
        " asked_at, state) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            asked.id,
            scope.tenant,
            scope.city,
            asked.rental_id,
            asked.vehicle_id,
            asked.purpose,
            asked.attempt,
            asked.asked_at,
            asked.state,
        ),
    )


def command(db: Db, command_id: UUID) -> Asked | None:
    """Return a command that booking asked for."""
    with db.cursor(row_factory=class_row(Asked)) as cursor:
        return cursor.execute(
            "SELECT id, rental_id, vehicle_id, purpose, attempt, asked_at, state"
            " FROM booking.command WHERE id = %s",
            (command_id,),
        ).fetchone()


def end_command(db: Db, command_id: UUID, state: str, at: datetime) -> None:
    """Keep what came of a command."""
    db.execute(
        "UPDATE booking.command SET state = %s, ended_at = %s WHERE id = %s",
        (state, at, command_id),
    )


def left_open_by(db: Db, vehicle_id: str) -> UUID | None:
    """Return the rental after which a vehicle is being locked; None when it is not."""
    row = db.execute(
        "SELECT rental_id, purpose, state FROM booking.command WHERE vehicle_id = %s"
        " ORDER BY asked_at DESC, id DESC LIMIT 1",
        (vehicle_id,),
    ).fetchone()
    return row[0] if row is not None and row[1] == "secure" and row[2] != "done" else None


def newest_command(db: Db, rental_id: UUID, purpose: str) -> Asked | None:
    """Return the newest command of a rental for one purpose."""
    with db.cursor(row_factory=class_row(Asked)) as cursor:
        return cursor.execute(
            "SELECT id, rental_id, vehicle_id, purpose, attempt, asked_at, state"
            " FROM booking.command WHERE rental_id = %s AND purpose = %s"
            " ORDER BY asked_at DESC, attempt DESC, id DESC LIMIT 1",
            (rental_id, purpose),
        ).fetchone()
