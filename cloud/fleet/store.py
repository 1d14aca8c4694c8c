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


def vehicles(db: Db) -> list[Vehicle]:
    """Return every vehicle, by id."""
    with db.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(_SELECT + " ORDER BY id").fetchall()


def vehicle_of(db: Db, scope: Scope, vehicle_id: str) -> Vehicle | None:
    """Return one vehicle of this tenant and city."""
    with db.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(
            _SELECT + " WHERE id = %s AND tenant = %s AND city = %s",
            (vehicle_id, scope.tenant, scope.city),
        ).fetchone()


def vehicle(db: Db, vehicle_id: str) -> Vehicle | None:
    """Return one vehicle."""
    with db.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(_SELECT + " WHERE id = %s", (vehicle_id,)).fetchone()
