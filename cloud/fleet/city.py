"""Importing a city: types, bays with their places, zones; all of a file or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from cloud.events.fleet import CityImported
from cloud.fleet import store
from cloud.fleet.areas import Zone
from cloud.fleet.city_file import BayPlan, CityFileError, read_city
from cloud.fleet.geometry import centre_of, extent_of
from cloud.fleet.kinds import DEFAULT_TYPES, VehicleType
from cloud.fleet.on_board import hand_out_zones
from cloud.fleet.store import areas
from cloud.identity.api import Who, audit
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.scope import Scope
from protocol.zones import ZonesError


@dataclass(frozen=True, slots=True)
class Imported:
    """How much was in a file."""

    vehicle_types: int
    bays: int
    places: int
    zones: int


def import_city(db: Db, who: Who, file: str, raw: bytes, at: datetime) -> Imported:
    """Make types, bays and zones of somebody's city what a file says.

    What has an id that the city knows is replaced, the rest is added; what is not in the file
    stays. Vehicles that stand in a place go on standing there.

    Args:
        db: connection.
        who: who imports, and for which tenant and city.
        file: its name, for the record.
        raw: its content.
        at: now.

    Raises:
        CityFileError: it is wrong, would take a place from a vehicle, or has more zones than a
            vehicle can keep to; nothing was imported.
    """
    scope = Scope(who.tenant, who.city)
    with db.transaction():
        known = {kind.id: kind for kind in store.vehicle_types(db, scope)}
        city = read_city(raw, tuple(known))
        _check_modes(city.types, known)
        store.add_types(db, scope, DEFAULT_TYPES.values())
        store.add_types(db, scope, city.types, replace=True)
        for bay in city.bays:
            _put_bay(db, scope, bay, at)
        for rank, plan in enumerate(city.zones):
            zone = Zone(id=new_id(), **asdict(plan))
            areas.put_zone(db, scope, zone, extent_of(plan.area), rank)
        _hand_out_zones(db, scope, at)
        places = sum(len(bay.places) for bay in city.bays)
        done = Imported(len(city.types), len(city.bays), places, len(city.zones))
        told = CityImported(tenant=scope.tenant, city=scope.city, file=file, at=at, **asdict(done))
        publish(db, told, at=at)
        audit(db, who, "city.imported", file, asdict(done), at)
    return done


def _hand_out_zones(db: Db, scope: Scope, at: datetime) -> None:
    try:
        hand_out_zones(db, scope, at)
    except ZonesError as wrong:
        raise CityFileError(
            f"nothing was imported: slow and no-go zones do not fit on a vehicle: {wrong};"
            " merge some, or draw them with fewer corners"
        ) from None


def _check_modes(types: Sequence[VehicleType], known: Mapping[str, VehicleType]) -> None:
    for kind in types:
        before = known.get(kind.id) or next(
            (one for one in DEFAULT_TYPES.values() if one.id == kind.id), kind
        )
        if before.kind != kind.kind:
            raise CityFileError(
                f"nothing was imported: vehicle type {kind.id!r} is a {before.kind} and cannot"
                f" become a {kind.kind}; give the new type an id of its own"
            )


def _put_bay(db: Db, scope: Scope, plan: BayPlan, at: datetime) -> None:
    bay_id = areas.put_bay(
        db, scope, plan.key, plan.name, plan.area, extent_of(plan.area), centre_of(plan.area)
    )
    areas.put_places(db, scope, bay_id, [(p.vehicle_type_ids, p.evse_id) for p in plan.places])
    taken = areas.drop_places(db, bay_id, len(plan.places), at)
    if taken is not None:
        raise CityFileError(
            f"nothing was imported: place {taken} of bay {plan.key!r} is taken, and the file has"
            f" only {len(plan.places)}; move that vehicle first"
        )
