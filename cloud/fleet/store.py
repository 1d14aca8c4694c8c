"""All SQL of the context fleet."""

from datetime import datetime

from psycopg.rows import class_row

from cloud.fleet.model import Vehicle
from cloud.kit.db import Db
from cloud.kit.scope import Scope

_SELECT = "SELECT id, device_id, type, name, state FROM fleet.vehicle"


def add(db: Db, scope: Scope, vehicle: Vehicle, at: datetime) -> None:
    """Insert a vehicle; one that is there stays as it is."""
    db.execute(
        "INSERT INTO fleet.vehicle (id, tenant, city, device_id, type, name, state, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (
            vehicle.id,
            scope.tenant,
            scope.city,
            vehicle.device_id,
            vehicle.type,
            vehicle.name,
            vehicle.state,
            at,
        ),
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
        "SELECT tenant, city, id, device_id, type, name, state FROM fleet.vehicle ORDER BY id"
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
