"""Rows of vehicles, their types and what happened to them."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from cloud.fleet.kinds import DEFAULT_TYPES, VehicleType, default_type
from cloud.fleet.mds import Step, VehicleState
from cloud.fleet.model import Vehicle
from cloud.kit.db import Db
from cloud.kit.ids import new_id
from cloud.kit.scope import Scope

_COLUMNS = "id, device_id, type, name, state, vehicle_type_id, plate"
_SELECT = f"SELECT {_COLUMNS} FROM fleet.vehicle"  # noqa: S608 - a constant
_TYPE_COLUMNS = "id, name, kind, form_factor, propulsion, max_range_m"


@dataclass(frozen=True, slots=True)
class StateRow:
    """A vehicle's state as it is kept; `at` is since when its life is so."""

    vehicle: Vehicle
    state: VehicleState
    at: datetime


@dataclass(frozen=True, slots=True)
class StateEvent:
    """Something that happened to a vehicle.

    Attributes:
        event: MDS event type.
        before: MDS state it happened in.
        after: MDS state it led to.
        trip_id: of a rental.
        occurred_at: when it happened.
        published_at: when we were told.
        moved: False for what came too late to move the vehicle.
    """

    event: str
    before: str
    after: str
    trip_id: UUID | None
    occurred_at: datetime
    published_at: datetime
    moved: bool


_EVENT_COLUMNS = ", ".join(field.name for field in fields(StateEvent))


def add(db: Db, scope: Scope, vehicle: Vehicle, at: datetime) -> bool:
    """Insert a vehicle; one that is there stays as it is. Tell whether it is new."""
    type_id = vehicle.vehicle_type_id
    if not type_id:
        add_types(db, scope, DEFAULT_TYPES.values())
        type_id = default_type(vehicle.type).id
    added = db.execute(
        "INSERT INTO fleet.vehicle (id, tenant, city, device_id, type, name, state, life,"
        " vehicle_type_id, plate, created_at, state_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            vehicle.id,
            scope.tenant,
            scope.city,
            vehicle.device_id,
            vehicle.type,
            vehicle.name,
            vehicle.state,
            vehicle.state,
            type_id,
            vehicle.plate,
            at,
            at,
        ),
    )
    return added.rowcount > 0


def assign(
    db: Db, scope: Scope, vehicle_id: str, kind: VehicleType, name: str, plate: str | None
) -> None:
    """Give a vehicle a type, a name and a plate."""
    db.execute(
        "UPDATE fleet.vehicle SET vehicle_type_id = %s, type = %s, name = %s, plate = %s"
        " WHERE id = %s AND tenant = %s AND city = %s",
        (kind.id, kind.kind, name, plate, vehicle_id, scope.tenant, scope.city),
    )


def vehicles(db: Db, scope: Scope) -> list[Vehicle]:
    """Return every vehicle of this tenant and city, by id."""
    with db.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(
            _SELECT + " WHERE tenant = %s AND city = %s ORDER BY id", (scope.tenant, scope.city)
        ).fetchall()


def everywhere(db: Db) -> list[tuple[Scope, Vehicle]]:
    """Return every vehicle of every tenant, each with whose it is, by id."""
    rows = db.execute(
        f"SELECT tenant, city, {_COLUMNS} FROM fleet.vehicle ORDER BY id"  # noqa: S608 - constants
    )
    return [(Scope(tenant, city), Vehicle(*columns)) for tenant, city, *columns in rows]


def vehicle(db: Db, scope: Scope, vehicle_id: str) -> Vehicle | None:
    """Return one vehicle of this tenant and city."""
    with db.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(
            _SELECT + " WHERE id = %s AND tenant = %s AND city = %s",
            (vehicle_id, scope.tenant, scope.city),
        ).fetchone()


def carrier(db: Db, scope: Scope, device_id: str) -> Vehicle | None:
    """Return the vehicle of this tenant and city that carries a device."""
    with db.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(
            _SELECT + " WHERE device_id = %s AND tenant = %s AND city = %s ORDER BY id LIMIT 1",
            (device_id, scope.tenant, scope.city),
        ).fetchone()


def lock_state(db: Db, scope: Scope, vehicle_id: str) -> StateRow | None:
    """Return a vehicle's state; until the transaction ends nobody else moves it."""
    row = db.execute(
        f"SELECT {_COLUMNS}, life, home, state_at FROM fleet.vehicle"  # noqa: S608 - constants
        " WHERE id = %s AND tenant = %s AND city = %s FOR NO KEY UPDATE",
        (vehicle_id, scope.tenant, scope.city),
    ).fetchone()
    if row is None:
        return None
    *columns, life, home, at = row
    found = Vehicle(*columns)
    return StateRow(found, VehicleState(found.state, life, home), at)


def move(db: Db, scope: Scope, vehicle_id: str, state: VehicleState, at: datetime) -> None:
    """Keep a vehicle's new state; `at` is since when its life is so."""
    db.execute(
        "UPDATE fleet.vehicle SET state = %s, life = %s, home = %s,"
        " state_at = greatest(state_at, %s) WHERE id = %s AND tenant = %s AND city = %s",
        (state.shown, state.life, state.home, at, vehicle_id, scope.tenant, scope.city),
    )


def state_at(db: Db, scope: Scope, vehicle_id: str, at: datetime) -> VehicleState | None:
    """Return the state that a vehicle was in at a time; None before the first event."""
    row = db.execute(
        "SELECT after, life, home FROM fleet.vehicle_state_event WHERE vehicle_id = %s"
        " AND tenant = %s AND city = %s AND occurred_at <= %s"
        " ORDER BY occurred_at DESC, number DESC LIMIT 1",
        (vehicle_id, scope.tenant, scope.city, at),
    ).fetchone()
    return None if row is None else VehicleState(*row)


def is_logged(
    db: Db, scope: Scope, vehicle_id: str, event: str, occurred_at: datetime, trip_id: UUID | None
) -> bool:
    """Tell whether an event of a vehicle is in the log."""
    row = db.execute(
        "SELECT 1 FROM fleet.vehicle_state_event WHERE vehicle_id = %s AND event = %s"
        " AND occurred_at = %s AND trip_id IS NOT DISTINCT FROM %s AND tenant = %s AND city = %s",
        (vehicle_id, event, occurred_at, trip_id, scope.tenant, scope.city),
    ).fetchone()
    return row is not None


def log(
    db: Db,
    scope: Scope,
    vehicle_id: str,
    step: Step,
    *,
    trip_id: UUID | None,
    occurred_at: datetime,
    at: datetime,
    moved: bool,
) -> None:
    """Append what happened to a vehicle."""
    db.execute(
        "INSERT INTO fleet.vehicle_state_event (id, tenant, city, vehicle_id, event, before,"
        " after, life, home, trip_id, occurred_at, published_at, moved)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            new_id(),
            scope.tenant,
            scope.city,
            vehicle_id,
            step.event,
            step.before,
            step.after,
            step.state.life,
            step.state.home,
            trip_id,
            occurred_at,
            at,
            moved,
        ),
    )


def history(db: Db, scope: Scope, vehicle_id: str, limit: int) -> list[StateEvent]:
    """Return what happened to a vehicle, the newest first."""
    with db.cursor(row_factory=class_row(StateEvent)) as cursor:
        return cursor.execute(
            f"SELECT {_EVENT_COLUMNS} FROM fleet.vehicle_state_event"  # noqa: S608 - constants
            " WHERE vehicle_id = %s AND tenant = %s AND city = %s"
            " ORDER BY occurred_at DESC, number DESC LIMIT %s",
            (vehicle_id, scope.tenant, scope.city, limit),
        ).fetchall()


def add_types(db: Db, scope: Scope, types: Iterable[VehicleType], *, replace: bool = False) -> None:
    """Insert vehicle types; those that are there stay as they are, or are replaced."""
    update = (
        "DO UPDATE SET name = excluded.name, kind = excluded.kind,"
        " form_factor = excluded.form_factor, propulsion = excluded.propulsion,"
        " max_range_m = excluded.max_range_m"
    )
    with db.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO fleet.vehicle_type (tenant, city, {_TYPE_COLUMNS})"  # noqa: S608 - constants
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
            f" ON CONFLICT (tenant, city, id) {update if replace else 'DO NOTHING'}",
            [
                (
                    scope.tenant,
                    scope.city,
                    kind.id,
                    kind.name,
                    kind.kind,
                    kind.form_factor,
                    kind.propulsion,
                    kind.max_range_m,
                )
                for kind in types
            ],
        )


def vehicle_types(db: Db, scope: Scope) -> list[VehicleType]:
    """Return the vehicle types of this tenant and city, by id."""
    with db.cursor(row_factory=class_row(VehicleType)) as cursor:
        return cursor.execute(
            f"SELECT {_TYPE_COLUMNS} FROM fleet.vehicle_type"  # noqa: S608 - constants
            " WHERE tenant = %s AND city = %s ORDER BY id",
            (scope.tenant, scope.city),
        ).fetchall()
