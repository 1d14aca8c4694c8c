"""`/api/v1/bays`, `/zones` and `/vehicle-types`: translates only."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from cloud.fleet import places, states, store
from cloud.fleet.areas import Bay, Place, ZoneKind
from cloud.fleet.geometry import Point
from cloud.fleet.kinds import FormFactor, Kind, Propulsion
from cloud.fleet.mds_rows import Mode
from cloud.kit.auth import Principal, needs
from cloud.kit.db import Db
from cloud.kit.http import Problem, told_problems
from cloud.kit.scope import Scope

router = APIRouter(tags=["city"])

_NUMBER = r"-?[0-9]{1,3}(\.[0-9]{1,12})?"
_POINT = f"^{_NUMBER},{_NUMBER}$"
_MOST_LAT, _MOST_LON = 85.0, 180.0

READ, BOOK = "vehicles:read", "rentals:book"
"""The scopes of staff and of customers: either may look at the map."""

TypeId = Annotated[str | None, Query(max_length=120, description="only places for this type")]


Reader = Annotated[Principal, needs(READ, BOOK)]


def check_type(db: Db, scope: Scope, type_id: str, also: Iterable[str] = ()) -> None:
    """Refuse a type that the city does not have and that is none of `also`; raises Problem."""
    known = (*sorted(also), *states.vehicle_types(db, scope))
    if type_id not in known:
        raise Problem(
            422,
            "There is no such vehicle type",
            f"Write type as one of {', '.join(known) or 'the city file that is still to come'};"
            " GET /api/v1/vehicle-types lists them",
            kind="/problems/vehicle-type-unknown",
            types=list(known),
        )


class CapacityBody(BaseModel):
    """How many places are for these types; no ids means every type."""

    vehicle_type_ids: list[str]
    count: int


class BayBody(BaseModel):
    """A bay; `distance_m` is null when no point was given, 0 inside."""

    id: UUID
    key: str
    name: str
    lat: float
    lon: float
    area: dict[str, Any] = Field(description="GeoJSON Polygon or MultiPolygon")
    distance_m: float | None
    vehicle_types_capacity: list[CapacityBody]
    capacity: int = Field(description="places, of the asked type if one was")
    free: int = Field(description="places that are neither taken nor reserved now")


class ZoneBody(BaseModel, from_attributes=True):
    """A zone; `station_parking` says that rides end only in bays."""

    id: UUID
    key: str
    kind: ZoneKind
    name: str
    area: dict[str, Any] = Field(description="GeoJSON Polygon or MultiPolygon")
    station_parking: bool
    speed_limit_kmh: int | None


class TypeBody(BaseModel):
    """A vehicle type in the words of GBFS, and its MDS mode."""

    vehicle_type_id: str
    name: str
    kind: Kind
    form_factor: FormFactor
    propulsion_type: Propulsion
    max_range_meters: int
    mode: Mode


def point_near(
    near: Annotated[
        str | None, Query(pattern=_POINT, description="latitude,longitude in degrees, WGS 84")
    ] = None,
) -> Point | None:
    """Read `near`; raises Problem for what is not on the map."""
    if near is None:
        return None
    lat, lon = map(float, near.split(","))
    if abs(lat) > _MOST_LAT or abs(lon) > _MOST_LON:
        raise Problem(
            422,
            "There is no such place",
            "Write near=latitude,longitude in degrees, such as near=52.52,13.405",
        )
    return Point(lat, lon)


@router.get("/bays", responses=told_problems(422))
def bays(
    request: Request,
    who: Reader,
    near: Annotated[Point | None, Depends(point_near)],
    radius_m: Annotated[float, Query(gt=0, le=50_000)] = 1_000,
    limit: Annotated[int, Query(ge=1, le=2_000)] = 500,
    type: TypeId = None,  # noqa: A002 - the word of the surface
) -> list[BayBody]:
    """List bays of one's city: around a point the nearest first, else all by key.

    Needs vehicles:read or rentals:book.
    """
    now = request.app.state.clock.now()
    with request.app.state.pool.connection() as db:
        if type is not None:
            check_type(db, who.realm, type)
        if near is None:
            every = places.all_bays(db, who.realm, now, limit=limit, type_id=type)
            return [_bay(bay, ours, free, None) for bay, ours, free in every]
        found = places.bays_near(
            db, who.realm, near, now, limit=limit, radius_m=radius_m, type_id=type
        )
    return [_bay(one.bay, one.places, one.free, one.distance_m) for one in found]


@router.get("/zones")
def zones(request: Request, who: Reader) -> list[ZoneBody]:
    """List the zones of one's city, by key. Needs vehicles:read or rentals:book."""
    with request.app.state.pool.connection() as db:
        found = places.all_zones(db, who.realm)
    return [ZoneBody.model_validate(zone) for zone in found]


@router.get("/vehicle-types")
def vehicle_types(request: Request, who: Reader) -> list[TypeBody]:
    """List the vehicle types of one's city, by id. Needs vehicles:read or rentals:book."""
    with request.app.state.pool.connection() as db:
        found = store.vehicle_types(db, who.realm)
    return [
        TypeBody(
            vehicle_type_id=kind.id,
            name=kind.name,
            kind=kind.kind,
            form_factor=kind.form_factor,
            propulsion_type=kind.propulsion,
            max_range_meters=kind.max_range_m,
            mode=kind.mode,
        )
        for kind in found
    ]


def _bay(bay: Bay, ours: Sequence[Place], free: int, distance_m: float | None) -> BayBody:
    groups = Counter(tuple(place.vehicle_type_ids) for place in ours)
    return BayBody(
        id=bay.id,
        key=bay.key,
        name=bay.name,
        lat=bay.lat,
        lon=bay.lon,
        area=dict(bay.area),
        distance_m=None if distance_m is None else round(distance_m, 1),
        vehicle_types_capacity=[
            CapacityBody(vehicle_type_ids=list(ids), count=count) for ids, count in groups.items()
        ],
        capacity=len(ours),
        free=free,
    )
