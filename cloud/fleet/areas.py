"""Bays, their places, and zones; and whether a ride may end somewhere. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from cloud.fleet.geometry import Point, offset_m

ZoneKind = Literal["service_area", "no_parking", "slow", "no_go"]
Answer = Literal["inside", "full", "outside", "no_parking", "free_floating"]
_FORBIDDEN = frozenset({"no_parking", "no_go"})


@dataclass(frozen=True, slots=True)
class Bay:
    """Where vehicles are parked; GBFS calls it a virtual station, MDS a stop.

    Attributes:
        id: its id.
        key: its id in the file it came from.
        name: for people.
        area: its outline, a GeoJSON polygon.
        lat: of a point in the middle, WGS 84.
        lon: of a point in the middle, WGS 84.
    """

    id: UUID
    key: str
    name: str
    area: Mapping[str, Any]
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Place:
    """Room for one vehicle in a bay.

    Attributes:
        id: its id.
        bay_id: the bay it is in.
        number: within the bay, from 1 on.
        vehicle_type_ids: types it is for; empty for all.
        evse_id: of the charger's socket there; None without one.
        vehicle_id: who stands there, or for whom it is reserved.
        taken: how; None when nobody has it.
        reserved_until: when a reservation ends by itself.
    """

    id: UUID
    bay_id: UUID
    number: int
    vehicle_type_ids: Sequence[str]
    evse_id: str | None
    vehicle_id: str | None
    taken: Literal["reserved", "occupied"] | None
    reserved_until: datetime | None

    def fits(self, type_id: str | None) -> bool:
        """Tell whether a vehicle of this type may stand here; None asks for any."""
        return type_id is None or not self.vehicle_type_ids or type_id in self.vehicle_type_ids

    def is_free(self, at: datetime, vehicle_id: str | None = None) -> bool:
        """Tell whether it is free at a time for a vehicle: its own reservation is."""
        if self.taken is None:
            return True
        if self.taken == "occupied":
            return False
        ran_out = self.reserved_until is not None and self.reserved_until <= at
        return ran_out or (vehicle_id is not None and self.vehicle_id == vehicle_id)


@dataclass(frozen=True, slots=True)
class NearBay:
    """A bay as somebody at a point sees it.

    Attributes:
        bay: the bay.
        offset_m: metres to its edge, negative inside.
        places: all of its places for the type that was asked for.
        free: how many of them are free.
    """

    bay: Bay
    offset_m: float
    places: Sequence[Place]
    free: int

    @property
    def distance_m(self) -> float:
        """Metres to walk; 0 inside."""
        return max(0.0, self.offset_m)


@dataclass(frozen=True, slots=True)
class Zone:
    """Where something is allowed, forbidden or slow.

    Attributes:
        id: its id.
        key: its id in the file it came from.
        kind: service_area, no_parking, slow or no_go, where nobody rides and nobody parks.
        name: for people.
        area: its outline, a GeoJSON polygon.
        station_parking: GBFS: rides end only in bays.
        speed_limit_kmh: of a slow zone.
    """

    id: UUID
    key: str
    kind: ZoneKind
    name: str
    area: Mapping[str, Any]
    station_parking: bool
    speed_limit_kmh: int | None


@dataclass(frozen=True, slots=True)
class EndPolicy:
    """What a tenant may set about ending rides.

    Attributes:
        tolerance_m: at most so much of a position's uncertainty counts for the rider.
        poor_m: a position less certain than this proves nothing.
        look_m: alternatives are looked for within this.
    """

    tolerance_m: float = 15.0
    poor_m: float = 30.0
    look_m: float = 2_000.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a ride may end somewhere.

    Attributes:
        answer: inside a bay with room · the bay is full · outside, move or accept · no_parking,
            likewise · free_floating, outside a bay where that is allowed.
        bay: the bay that it is in or that is full.
        alternative: the nearest other bay with room; None within reach.
        zone: the no-parking zone or the service area that decided.
        in_service_area: whether it is in the city's.
        is_certain: the whole circle of uncertainty says the same, and it is small enough. If not,
            a person decides about a fine.
    """

    answer: Answer
    bay: NearBay | None
    alternative: NearBay | None
    zone: Zone | None
    in_service_area: bool
    is_certain: bool

    @property
    def is_allowed(self) -> bool:
        """Whether the ride may end here as it is."""
        return self.answer in {"inside", "free_floating"}


def seen_from(
    point: Point,
    bays: Iterable[Bay],
    places: Mapping[UUID, Sequence[Place]],
    at: datetime,
    *,
    type_id: str | None = None,
    vehicle_id: str | None = None,
) -> list[NearBay]:
    """Return bays with places for a type as seen from a point, the nearest first."""
    found = [
        NearBay(
            bay=bay,
            offset_m=offset_m(bay.area, point),
            places=fitting,
            free=sum(place.is_free(at, vehicle_id) for place in fitting),
        )
        for bay in bays
        if (fitting := [place for place in places.get(bay.id, ()) if place.fits(type_id)])
    ]
    return sorted(found, key=lambda near: (near.offset_m, near.bay.key))


def judge(
    point: Point,
    accuracy_m: float,
    bays: Sequence[NearBay],
    zones: Sequence[Zone],
    policy: EndPolicy,
    *,
    has_service_area: bool,
) -> Verdict:
    """Return whether a ride may end at a point.

    In doubt it may: a bay's edge is as wide as the position is uncertain, up to the tolerance, and
    no-parking begins where the position itself is inside.

    Args:
        point: where the vehicle is.
        accuracy_m: radius of the circle that it is in, metres.
        bays: as seen from there, the nearest first.
        zones: those that the circle touches.
        policy: the tenant's.
        has_service_area: whether the city has one at all.
    """
    slack = min(accuracy_m, policy.tolerance_m)
    offsets = {zone.id: offset_m(zone.area, point) for zone in zones}
    served = [z for z in zones if z.kind == "service_area" and offsets[z.id] <= slack]
    forbidden = [z for z in zones if z.kind in _FORBIDDEN and offsets[z.id] <= 0]
    good = accuracy_m <= policy.poor_m
    here = [near for near in bays if near.offset_m <= slack]
    with_room = [near for near in here if near.free]
    in_service_area = bool(served) or not has_service_area
    other = next((near for near in bays if near.free and near not in with_room), None)

    def verdict(
        answer: Answer, sure: bool, bay: NearBay | None = None, zone: Zone | None = None
    ) -> Verdict:
        return Verdict(answer, bay, other, zone, in_service_area, good and sure)

    if with_room:
        return verdict("inside", with_room[0].offset_m <= -accuracy_m, with_room[0])
    if here:
        return verdict("full", here[0].offset_m <= -accuracy_m, here[0])
    clear = not bays or bays[0].offset_m > accuracy_m
    if forbidden:
        zone = min(forbidden, key=lambda z: offsets[z.id])
        return verdict("no_parking", clear and offsets[zone.id] <= -accuracy_m, zone=zone)
    if served and not all(zone.station_parking for zone in served):
        zone = next(zone for zone in served if not zone.station_parking)
        return verdict("free_floating", offsets[zone.id] <= -accuracy_m, zone=zone)
    return verdict("outside", clear, zone=served[0] if served else None)
