"""The SQL of the copy that search reads: vehicles, where they are, whether they are free."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from cloud.booking.model import Place, distance_m
from cloud.kit.db import Db
from cloud.kit.scope import Scope

_M_PER_DEGREE = 111_194.9
_LEAST_COS = 0.01

# How far the charge takes a vehicle, whole metres; null where its charge or its type is unknown.
_RANGE = sql.SQL("floor(soc_pct * max_range_m / 100)::int AS range_m")
_SELECT = sql.SQL(
    "SELECT id, tenant, city, device_id, type, name, rentable, place[1] AS lat, place[0] AS lon,"
    " soc_pct, seen_at, vehicle_type_id, max_range_m, {} FROM booking.vehicle"
).format(_RANGE)
_FREE = sql.SQL(
    "NOT EXISTS (SELECT FROM booking.calendar c WHERE c.vehicle_id = v.id"
    " AND c.state IN ('held', 'confirmed', 'active', 'blocked') AND c.during @> %(at)s"
    " AND (c.state <> 'held' OR c.expires_at > %(at)s))"
)
# The box goes by the index; the great circle decides. point is (lon, lat). A difference below a
# tenth of a millimetre counts as that much: the square of 1e-200 degrees is an error to Postgres.
_NEAR = sql.SQL(
    "SELECT id, tenant, city, device_id, type, name, rentable, lat, lon, soc_pct, seen_at,"
    " vehicle_type_id, max_range_m, range_m, distance_m FROM (SELECT v.*, {},"
    " place[1] AS lat, place[0] AS lon, 2 * 6371008.8 * asin(sqrt("
    " least(1, sind(greatest(abs(place[1] - %(lat)s), 1e-9) / 2) ^ 2 + cosd(%(lat)s)"
    " * cosd(place[1]) * sind(greatest(abs(place[0] - %(lon)s), 1e-9) / 2) ^ 2))) AS distance_m"
    " FROM booking.vehicle v WHERE rentable AND place <@ box(point(%(west)s, %(south)s),"
    " point(%(east)s, %(north)s)) AND tenant = %(tenant)s AND city = %(city)s"
    " AND (%(type)s::text IS NULL OR type = %(type)s OR vehicle_type_id = %(type)s)"
    " AND (%(soc)s::float8 IS NULL OR soc_pct >= %(soc)s)) v WHERE distance_m <= %(radius_m)s"
    " AND (%(range)s::int IS NULL OR range_m >= %(range)s) AND {}"
    " ORDER BY distance_m, id LIMIT %(limit)s"
).format(_RANGE, _FREE)
# The index goes by degrees, which are not equally long both ways: this tells how far to look, in
# metres, for so many. A city where everybody rides is not searched to its end.
_REACH = sql.SQL(
    "SELECT place[1] AS lat, place[0] AS lon FROM (SELECT id, place FROM booking.vehicle"
    " WHERE rentable AND place IS NOT NULL AND tenant = %(tenant)s AND city = %(city)s"
    " AND (%(type)s::text IS NULL OR type = %(type)s)"
    " ORDER BY place <-> point(%(lon)s, %(lat)s) LIMIT 1000) v WHERE {}"
    " ORDER BY place <-> point(%(lon)s, %(lat)s) LIMIT %(limit)s"
).format(_FREE)


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A vehicle as search knows it; None where nobody said yet.

    `type` is its kind, `vehicle_type_id` its type. `max_range_m` is how far a full battery takes
    it, `range_m` how far its charge does now: search tells, `put` ignores it.
    """

    id: str
    tenant: str
    city: str
    device_id: str
    type: str
    name: str
    rentable: bool
    lat: float | None
    lon: float | None
    soc_pct: float | None
    seen_at: datetime | None
    vehicle_type_id: str | None = None
    max_range_m: int | None = None
    range_m: int | None = None
    distance_m: float | None = None

    @property
    def place(self) -> Place | None:
        """Where it was last seen."""
        return None if self.lat is None or self.lon is None else Place(self.lat, self.lon)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a device last said of itself; None leaves what is known."""

    device_id: str
    lat: float | None
    lon: float | None
    soc_pct: float | None
    at: datetime


def put(db: Db, scope: Scope, vehicle: Vehicle) -> None:
    """Add a vehicle, or change what fleet knows of it."""
    db.execute(
        "INSERT INTO booking.vehicle (id, tenant, city, device_id, type, name, rentable,"
        " vehicle_type_id, max_range_m) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, city = excluded.city,"
        " device_id = excluded.device_id, type = excluded.type, name = excluded.name,"
        " rentable = excluded.rentable, vehicle_type_id = excluded.vehicle_type_id,"
        " max_range_m = excluded.max_range_m",
        (
            vehicle.id,
            scope.tenant,
            scope.city,
            vehicle.device_id,
            vehicle.type,
            vehicle.name,
            vehicle.rentable,
            vehicle.vehicle_type_id,
            vehicle.max_range_m,
        ),
    )


def vehicle_names(db: Db, scope: Scope, ids: Iterable[str]) -> dict[str, str]:
    """Return what people call these vehicles; one that is not known is missing."""
    return dict(
        db.execute(
            "SELECT id, name FROM booking.vehicle WHERE id = ANY(%s) AND tenant = %s AND city = %s",
            (list(ids), scope.tenant, scope.city),
        ).fetchall()
    )


def put_ranges(db: Db, scope: Scope, ranges: Mapping[str, int]) -> None:
    """Take over how far full batteries take vehicles, metres by vehicle_type_id."""
    db.execute(
        "UPDATE booking.vehicle v SET max_range_m = t.max_range_m"
        " FROM unnest(%s::text[], %s::int[]) AS t (id, max_range_m)"
        " WHERE v.vehicle_type_id = t.id AND v.tenant = %s AND v.city = %s"
        " AND v.max_range_m IS DISTINCT FROM t.max_range_m",
        (list(ranges), list(ranges.values()), scope.tenant, scope.city),
    )


def lock(db: Db, vehicle_id: str) -> None:
    """Let nobody else change what search knows of a vehicle until the transaction ends."""
    # A vehicle that is not there yet has no row to lock.
    db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (vehicle_id,))
    db.execute("SELECT FROM booking.vehicle WHERE id = %s FOR UPDATE", (vehicle_id,))


def see(db: Db, seen: Iterable[Seen]) -> int:
    """Bring places and charges up to date; older news changes nothing. Returns how many did."""
    rows = sorted(seen, key=lambda one: one.device_id)
    done = db.execute(
        "UPDATE booking.vehicle v SET seen_at = s.at, soc_pct = coalesce(s.soc_pct, v.soc_pct),"
        " place = CASE WHEN s.lat IS NULL OR s.lon IS NULL THEN v.place"
        " ELSE point(s.lon, s.lat) END"
        " FROM unnest(%s::text[], %s::float8[], %s::float8[], %s::float8[], %s::timestamptz[])"
        " AS s (device_id, lat, lon, soc_pct, at)"
        " WHERE v.device_id = s.device_id AND (v.seen_at IS NULL OR v.seen_at < s.at)",
        (
            [one.device_id for one in rows],
            [one.lat for one in rows],
            [one.lon for one in rows],
            [one.soc_pct for one in rows],
            [one.at for one in rows],
        ),
    )
    return done.rowcount


def find(db: Db, scope: Scope, vehicle_id: str) -> Vehicle | None:
    """Return one vehicle of this tenant and city."""
    query = sql.SQL("{} WHERE id = %s AND tenant = %s AND city = %s").format(_SELECT)
    with db.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(query, (vehicle_id, scope.tenant, scope.city)).fetchone()


def anywhere(db: Db, scope: Scope) -> Place | None:
    """Return where one of a city's vehicles is, None when nobody knows of any."""
    row = db.execute(
        "SELECT place[1], place[0] FROM booking.vehicle WHERE tenant = %s AND city = %s"
        " AND place IS NOT NULL ORDER BY id LIMIT 1",
        (scope.tenant, scope.city),
    ).fetchone()
    return None if row is None else Place(row[0], row[1])


def near(
    db: Db,
    scope: Scope,
    place: Place,
    radius_m: float,
    at: datetime,
    *,
    vehicle_type: str | None = None,
    min_soc_pct: float | None = None,
    min_range_m: int | None = None,
    limit: int = 50,
) -> list[Vehicle]:
    """Return what is free within `radius_m` of a place, the nearest first.

    `vehicle_type` is a kind or a vehicle_type_id.
    """
    high = radius_m / _M_PER_DEGREE
    wide = high / max(_LEAST_COS, math.cos(math.radians(place.lat)))
    with db.cursor(row_factory=class_row(Vehicle)) as cursor:
        return cursor.execute(
            _NEAR,
            {
                "tenant": scope.tenant,
                "city": scope.city,
                "lat": place.lat,
                "lon": place.lon,
                "south": place.lat - high,
                "north": place.lat + high,
                "west": place.lon - wide,
                "east": place.lon + wide,
                "radius_m": radius_m,
                "type": vehicle_type,
                "soc": min_soc_pct,
                "range": min_range_m,
                "at": at,
                "limit": limit,
            },
        ).fetchall()


def nearest(
    db: Db,
    scope: Scope,
    place: Place,
    at: datetime,
    *,
    vehicle_type: str | None = None,
    limit: int = 3,
) -> list[Vehicle]:
    """Return the free vehicles that are nearest to a place, however far that is; of a kind."""
    asked = {
        "tenant": scope.tenant,
        "city": scope.city,
        "lat": place.lat,
        "lon": place.lon,
        "type": vehicle_type,
        "at": at,
        "limit": limit,
    }
    some = [Place(lat, lon) for lat, lon in db.execute(_REACH, asked)]
    if not some:
        return []
    reach_m = max(distance_m(place, one) for one in some) + 1.0
    return near(db, scope, place, reach_m, at, vehicle_type=vehicle_type, limit=limit)
