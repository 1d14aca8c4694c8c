"""Places in bays: kept for vehicles, taken, freed; and whether a ride may end somewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from cloud.events.fleet import PlaceFreed, PlaceReserved, PlaceTaken
from cloud.fleet import states
from cloud.fleet.areas import Bay, EndPolicy, NearBay, Place, Verdict, Zone, judge, seen_from
from cloud.fleet.geometry import Point, around, distance_m, offset_m
from cloud.fleet.store import areas as store
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.scope import Scope

_MOST_BAYS = 10_000
_BATCH = 20


class BayUnknownError(LookupError):
    """This tenant and city have no such bay."""


class BayFullError(Exception):
    """No place of this bay is free for this vehicle."""


def reserve_place(
    db: Db, scope: Scope, bay_id: UUID, vehicle_id: str, until: datetime, at: datetime
) -> Place:
    """Keep a place of a bay for a vehicle until a time; what it had before is free again.

    Raises:
        BayUnknownError: no such bay.
        states.VehicleUnknownError: no such vehicle.
        BayFullError: somebody else was first.
        ValueError: `until` is not after `at`.
    """
    if until <= at:
        raise ValueError("a reservation ends after it began; give a later time")
    with db.transaction():
        place = _give(db, scope, bay_id, vehicle_id, at, until)
        told = PlaceReserved(
            tenant=scope.tenant,
            city=scope.city,
            place_id=place.id,
            bay_id=bay_id,
            vehicle_id=vehicle_id,
            until=until,
            at=at,
        )
        publish(db, told, at=at)
    return place


def take_place(db: Db, scope: Scope, bay_id: UUID, vehicle_id: str, at: datetime) -> Place:
    """Let a vehicle stand in a bay: in the place kept for it, else in a free one.

    Raises:
        BayUnknownError: no such bay.
        states.VehicleUnknownError: no such vehicle.
        BayFullError: there is no free place.
    """
    with db.transaction():
        place = _give(db, scope, bay_id, vehicle_id, at, None)
        told = PlaceTaken(
            tenant=scope.tenant,
            city=scope.city,
            place_id=place.id,
            bay_id=bay_id,
            vehicle_id=vehicle_id,
            at=at,
        )
        publish(db, told, at=at)
    return place


def free_place(
    db: Db, scope: Scope, vehicle_id: str, at: datetime, *, left_at: datetime | None = None
) -> bool:
    """Let a vehicle have no place any more; tell whether it had one."""
    with db.transaction():
        mine = store.place_of(db, scope, vehicle_id)
        return mine is not None and _free(db, scope, mine, vehicle_id, left_at or at, at)


def place_of(db: Db, scope: Scope, vehicle_id: str, at: datetime) -> Place | None:
    """Return the place that a vehicle stands in or has reserved at `at`."""
    mine = store.place_of(db, scope, vehicle_id)
    return None if mine is None or mine.is_free(at) else mine


def bays_near(
    db: Db,
    scope: Scope,
    point: Point,
    at: datetime,
    *,
    limit: int = 10,
    radius_m: float = 1_000.0,
    type_id: str | None = None,
    vehicle_id: str | None = None,
) -> list[NearBay]:
    """Return bays around a point, the nearest first, with what is free in them at `at`.

    Args:
        db: connection.
        scope: whose bays.
        point: around which.
        at: when.
        limit: at most so many.
        radius_m: whose edge is within this, metres.
        type_id: with places for this vehicle type, and only those; None for all.
        vehicle_id: what is reserved for it counts as free.
    """
    looker = _Looker(db, scope, point, at, type_id, vehicle_id)
    return looker.look(radius_m, lambda seen: len(seen) >= limit)[:limit]


def all_bays(
    db: Db, scope: Scope, at: datetime, *, limit: int, type_id: str | None = None
) -> list[tuple[Bay, list[Place], int]]:
    """Return bays by key, each with its places for a type, and how many are free at `at`."""
    found = store.bays(db, scope, None, limit if type_id is None else _MOST_BAYS)
    places = store.places(db, scope, [bay.id for bay in found])
    shown = ((bay, [p for p in places.get(bay.id, ()) if p.fits(type_id)]) for bay in found)
    counted = [(bay, ours, sum(p.is_free(at) for p in ours)) for bay, ours in shown if ours]
    return counted[:limit]


def all_zones(db: Db, scope: Scope) -> list[Zone]:
    """Return a city's zones, by key."""
    return store.zones(db, scope)


def bay_at(
    db: Db, scope: Scope, point: Point, accuracy_m: float, policy: EndPolicy | None = None
) -> Bay | None:
    """Return the bay that a point is in as far as its accuracy tells; None outside."""
    slack_m = min(accuracy_m, (policy or EndPolicy()).tolerance_m)
    found = store.bays(db, scope, around(point, slack_m), _MOST_BAYS)
    offsets = sorted((offset_m(bay.area, point), bay.key, bay) for bay in found)
    return offsets[0][2] if offsets and offsets[0][0] <= slack_m else None


def zones_at(db: Db, scope: Scope, point: Point) -> list[Zone]:
    """Return the zones that a point is in."""
    found = store.zones(db, scope, around(point, 1.0))
    return [zone for zone in found if offset_m(zone.area, point) <= 0]


def end_allowed(
    db: Db,
    scope: Scope,
    vehicle_id: str,
    point: Point,
    accuracy_m: float,
    at: datetime,
    policy: EndPolicy | None = None,
) -> Verdict:
    """Return whether a vehicle's ride may end at a point, and where else it may.

    Args:
        db: connection.
        scope: whose vehicle.
        vehicle_id: the vehicle; a place kept for it is free for it.
        point: where it is.
        accuracy_m: radius of the circle that it is in, metres.
        at: when.
        policy: the tenant's; the usual one when None.

    Raises:
        states.VehicleUnknownError: no such vehicle.
    """
    rules = policy or EndPolicy()
    kind = states.vehicle_type(db, scope, vehicle_id)
    looker = _Looker(db, scope, point, at, kind.id, vehicle_id)
    bays = looker.look(rules.look_m, lambda seen: _has_alternative(seen, rules))
    zones = store.zones(db, scope, around(point, max(accuracy_m, 1.0)))
    known = store.has_service_area(db, scope)
    return judge(point, accuracy_m, bays, zones, rules, has_service_area=known)


@dataclass(frozen=True, slots=True)
class _Looker:
    """Somebody at a point who looks for bays, for one type or vehicle or for any."""

    db: Db
    scope: Scope
    point: Point
    at: datetime
    type_id: str | None
    vehicle_id: str | None

    def look(self, radius_m: float, enough: Callable[[Sequence[NearBay]], bool]) -> list[NearBay]:
        """Return bays within a radius, the nearest first, at least until it is enough.

        Outlines are measured, and places read, a batch at a time: a city has hundreds.
        """
        within = store.bays(self.db, self.scope, around(self.point, radius_m), _MOST_BAYS)
        waiting = sorted(within, key=self._roughly_m)
        seen: list[NearBay] = []
        while waiting and not enough(seen):
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            places = store.places(self.db, self.scope, [bay.id for bay in batch])
            seen += seen_from(
                self.point,
                batch,
                places,
                self.at,
                type_id=self.type_id,
                vehicle_id=self.vehicle_id,
            )
        near = [one for one in seen if one.offset_m <= radius_m]
        return sorted(near, key=lambda one: (one.offset_m, one.bay.key))

    def _roughly_m(self, bay: Bay) -> float:
        return distance_m(self.point, Point(bay.lat, bay.lon))


def _has_alternative(seen: Sequence[NearBay], rules: EndPolicy) -> bool:
    return any(near.free and near.offset_m > rules.tolerance_m for near in seen)


def _give(
    db: Db, scope: Scope, bay_id: UUID, vehicle_id: str, at: datetime, until: datetime | None
) -> Place:
    """Give a vehicle a place of a bay; the database gives each to one only.

    The vehicle is locked, so that it cannot take two at once.
    """
    kind = states.lock_type(db, scope, vehicle_id)
    if store.bay(db, scope, bay_id) is None:
        raise BayUnknownError(f"there is no bay {bay_id} in {scope.city}; list them and choose one")
    mine = store.place_of(db, scope, vehicle_id)
    fitting = [p for p in store.places(db, scope, [bay_id]).get(bay_id, ()) if p.fits(kind.id)]
    if mine is not None and mine.id not in {place.id for place in fitting}:
        _free(db, scope, mine, vehicle_id, at, at)
    seen_free = (p for p in fitting if p.vehicle_id == vehicle_id or p.is_free(at))
    for place in sorted(seen_free, key=lambda p: p.vehicle_id != vehicle_id):
        if store.give_place(db, place.id, vehicle_id, until, at):
            taken: Literal["reserved", "occupied"] = "occupied" if until is None else "reserved"
            return replace(place, vehicle_id=vehicle_id, taken=taken, reserved_until=until)
    raise BayFullError(f"bay {bay_id} has no free place for {kind.name}; choose another bay")


def _free(
    db: Db, scope: Scope, place: Place, vehicle_id: str, left_at: datetime, at: datetime
) -> bool:
    """Free a place; False when its reservation ran out and another has it by now."""
    if not store.free_place(db, place.id, vehicle_id):
        return False
    told = PlaceFreed(
        tenant=scope.tenant,
        city=scope.city,
        place_id=place.id,
        bay_id=place.bay_id,
        vehicle_id=vehicle_id,
        at=left_at,
    )
    publish(db, told, at=at)
    return True
