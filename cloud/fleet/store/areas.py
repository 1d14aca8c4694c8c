"""Rows of bays, places and zones."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.fleet.areas import Bay, Place, Zone
from cloud.fleet.geometry import Extent, Point
from cloud.kit.db import Db
from cloud.kit.ids import new_id
from cloud.kit.scope import Scope

_BAY = "SELECT id, key, name, area, lat, lon FROM fleet.bay WHERE tenant = %s AND city = %s"
_ZONE = (
    "SELECT id, key, kind, name, area, station_parking, speed_limit_kmh FROM fleet.zone"
    " WHERE tenant = %s AND city = %s"
)
_PLACE = (
    "SELECT id, bay_id, number, vehicle_type_ids, evse_id, vehicle_id, taken, reserved_until"
    " FROM fleet.place WHERE tenant = %s AND city = %s"
)
_TOUCHES = " AND extent && box(point(%s, %s), point(%s, %s))"


def bays(db: Db, scope: Scope, within: Extent | None, limit: int) -> list[Bay]:
    """Return bays of this tenant and city that a box touches, or all, by key."""
    where, values = _touching(within)
    with db.cursor(row_factory=class_row(Bay)) as cursor:
        return cursor.execute(
            _BAY + where + " ORDER BY key LIMIT %s", (scope.tenant, scope.city, *values, limit)
        ).fetchall()


def bay(db: Db, scope: Scope, bay_id: UUID) -> Bay | None:
    """Return one bay of this tenant and city."""
    with db.cursor(row_factory=class_row(Bay)) as cursor:
        return cursor.execute(_BAY + " AND id = %s", (scope.tenant, scope.city, bay_id)).fetchone()


def zones(db: Db, scope: Scope, within: Extent | None = None) -> list[Zone]:
    """Return zones of this tenant and city that a box touches, or all, by key."""
    where, values = _touching(within)
    with db.cursor(row_factory=class_row(Zone)) as cursor:
        return cursor.execute(
            _ZONE + where + " ORDER BY key", (scope.tenant, scope.city, *values)
        ).fetchall()


def zones_by_rank(db: Db, scope: Scope) -> list[Zone]:
    """Return zones of this tenant and city: where two overlap the earlier one decides."""
    with db.cursor(row_factory=class_row(Zone)) as cursor:
        return cursor.execute(_ZONE + " ORDER BY rank, key", (scope.tenant, scope.city)).fetchall()


def has_service_area(db: Db, scope: Scope) -> bool:
    """Tell whether this tenant and city have a service area."""
    row = db.execute(
        "SELECT 1 FROM fleet.zone WHERE tenant = %s AND city = %s AND kind = 'service_area'"
        " LIMIT 1",
        (scope.tenant, scope.city),
    ).fetchone()
    return row is not None


def places(db: Db, scope: Scope, bay_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[Place]]:
    """Return the places of bays, by bay and number."""
    found: dict[UUID, list[Place]] = defaultdict(list)
    with db.cursor(row_factory=class_row(Place)) as cursor:
        for place in cursor.execute(
            _PLACE + " AND bay_id = ANY(%s) ORDER BY bay_id, number",
            (scope.tenant, scope.city, list(bay_ids)),
        ):
            found[place.bay_id].append(place)
    return found


def place_of(db: Db, scope: Scope, vehicle_id: str) -> Place | None:
    """Return the place that a vehicle has, also one whose reservation ran out."""
    with db.cursor(row_factory=class_row(Place)) as cursor:
        return cursor.execute(
            _PLACE + " AND vehicle_id = %s", (scope.tenant, scope.city, vehicle_id)
        ).fetchone()


def give_place(
    db: Db, place_id: UUID, vehicle_id: str, until: datetime | None, at: datetime
) -> bool:
    """Reserve a place until a time, or let a vehicle occupy it when that is None.

    False when somebody else has it at `at`. Whoever is about to take it is waited for.
    """
    given = db.execute(
        "UPDATE fleet.place SET vehicle_id = %(vehicle)s, taken = %(taken)s,"
        " reserved_until = %(until)s WHERE id = %(place)s AND (vehicle_id IS NULL"
        " OR vehicle_id = %(vehicle)s OR (taken = 'reserved' AND reserved_until <= %(at)s))",
        {
            "vehicle": vehicle_id,
            "taken": "occupied" if until is None else "reserved",
            "until": until,
            "place": place_id,
            "at": at,
        },
    )
    return given.rowcount > 0


def free_place(db: Db, place_id: UUID, vehicle_id: str) -> bool:
    """Let nobody have a place that a vehicle has; False when it has it no more."""
    freed = db.execute(
        "UPDATE fleet.place SET vehicle_id = NULL, taken = NULL, reserved_until = NULL"
        " WHERE id = %s AND vehicle_id = %s",
        (place_id, vehicle_id),
    )
    return freed.rowcount > 0


def put_bay(
    db: Db,
    scope: Scope,
    key: str,
    name: str,
    area: Mapping[str, Any],
    extent: Extent,
    centre: Point,
) -> UUID:
    """Insert a bay, or replace the one with this key; return its id."""
    row = db.execute(
        "INSERT INTO fleet.bay (id, tenant, city, key, name, area, lat, lon, extent)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, box(point(%s, %s), point(%s, %s)))"
        " ON CONFLICT (tenant, city, key) DO UPDATE SET name = excluded.name,"
        " area = excluded.area, lat = excluded.lat, lon = excluded.lon, extent = excluded.extent"
        " RETURNING id",
        (
            new_id(),
            scope.tenant,
            scope.city,
            key,
            name,
            Jsonb(area),
            centre.lat,
            centre.lon,
            *_corners(extent),
        ),
    ).fetchone()
    if row is None:
        raise RuntimeError(f"the database kept no bay {key}")
    found: UUID = row[0]
    return found


def put_places(
    db: Db, scope: Scope, bay_id: UUID, wanted: Iterable[tuple[Sequence[str], str | None]]
) -> None:
    """Give a bay these places, in order from number 1; who stands in one stays there."""
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO fleet.place (id, tenant, city, bay_id, number, vehicle_type_ids, evse_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (bay_id, number) DO UPDATE"
            " SET vehicle_type_ids = excluded.vehicle_type_ids, evse_id = excluded.evse_id",
            [
                (new_id(), scope.tenant, scope.city, bay_id, number, list(types), evse_id)
                for number, (types, evse_id) in enumerate(wanted, 1)
            ],
        )


def drop_places(db: Db, bay_id: UUID, after: int, at: datetime) -> int | None:
    """Take a bay's places beyond a number away; return the first that stays taken."""
    db.execute(
        "DELETE FROM fleet.place WHERE bay_id = %s AND number > %s"
        " AND (vehicle_id IS NULL OR reserved_until <= %s)",
        (bay_id, after, at),
    )
    row = db.execute(
        "SELECT min(number) FROM fleet.place WHERE bay_id = %s AND number > %s", (bay_id, after)
    ).fetchone()
    return None if row is None else row[0]


def put_zone(db: Db, scope: Scope, zone: Zone, extent: Extent, rank: int = 0) -> None:
    """Insert a zone, or replace the one with its key; the lower rank decides."""
    db.execute(
        "INSERT INTO fleet.zone (id, tenant, city, key, kind, name, area, station_parking,"
        " speed_limit_kmh, rank, extent)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, box(point(%s, %s), point(%s, %s)))"
        " ON CONFLICT (tenant, city, key) DO UPDATE SET kind = excluded.kind,"
        " name = excluded.name, area = excluded.area, extent = excluded.extent,"
        " station_parking = excluded.station_parking, speed_limit_kmh = excluded.speed_limit_kmh,"
        " rank = excluded.rank",
        (
            zone.id,
            scope.tenant,
            scope.city,
            zone.key,
            zone.kind,
            zone.name,
            Jsonb(zone.area),
            zone.station_parking,
            zone.speed_limit_kmh,
            rank,
            *_corners(extent),
        ),
    )


def _touching(within: Extent | None) -> tuple[str, tuple[float, ...]]:
    return ("", ()) if within is None else (_TOUCHES, _corners(within))


def _corners(extent: Extent) -> tuple[float, float, float, float]:
    return extent.west, extent.south, extent.east, extent.north
