"""The file a city is imported from: GeoJSON with bays, zones and vehicle types. Pure.

A FeatureCollection (RFC 7946). Every feature has a string `id`, which names it for ever, and the
property `kind`: bay, service_area, no_parking, no_go or slow. Streets (`kind` street) are for the
simulator and left out. `vehicle_types`, beside `features`, lists types in the words of GBFS.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar, get_args

from cloud.fleet.areas import ZoneKind
from cloud.fleet.geometry import AreaError, read_area
from cloud.fleet.kinds import DEFAULT_TYPES, FORM_FACTORS, KINDS, PROPULSIONS, VehicleType

MOST_BYTES = 64 * 1024 * 1024
MOST_PLACES = 500
_LONGEST = 120
_SHOWN_FAULTS = 5
_ZONE_KINDS = frozenset(get_args(ZoneKind))
_SPEEDS_KMH = range(3, 46)


class CityFileError(ValueError):
    """The file cannot be imported; the text names the first faults."""


@dataclass(frozen=True, slots=True)
class PlacePlan:
    """Room for one vehicle; no types means all."""

    vehicle_type_ids: Sequence[str]
    evse_id: str | None


@dataclass(frozen=True, slots=True)
class BayPlan:
    """A bay as the file has it."""

    key: str
    name: str
    area: Mapping[str, Any]
    places: Sequence[PlacePlan]


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """A zone as the file has it."""

    key: str
    kind: ZoneKind
    name: str
    area: Mapping[str, Any]
    station_parking: bool
    speed_limit_kmh: int | None


@dataclass(frozen=True, slots=True)
class CityFile:
    """What is in a file."""

    types: Sequence[VehicleType]
    bays: Sequence[BayPlan]
    zones: Sequence[ZonePlan]


_Read = TypeVar("_Read")


class _Fault(ValueError):  # noqa: N818 - what is wrong with one thing
    pass


def read_city(raw: bytes, known_types: Sequence[str] = ()) -> CityFile:
    """Read a file; `known_types` are ids of types that the city has already.

    Raises:
        CityFileError: something in it is wrong; nothing of it can be used.
    """
    told = _collection(raw)
    faults: list[str] = []
    types = _read_all(told.get("vehicle_types", []), "vehicle type", _type, faults)
    ids = {kind.id for kind in (*types, *DEFAULT_TYPES.values())} | set(known_types)
    plans = _read_all(told["features"], "feature", lambda one: _feature(one, ids), faults)
    bays = [plan for plan in plans if isinstance(plan, BayPlan)]
    zones = [plan for plan in plans if isinstance(plan, ZonePlan)]
    faults += _repeated([kind.id for kind in types], "vehicle type")
    faults += _repeated([bay.key for bay in bays], "bay")
    faults += _repeated([zone.key for zone in zones], "zone")
    if not faults and not (bays or zones or types):
        faults.append("there is no bay, zone or vehicle type in it")
    if faults:
        more = len(faults) - _SHOWN_FAULTS
        shown = "; ".join(faults[:_SHOWN_FAULTS]) + (f"; and {more} more" if more > 0 else "")
        raise CityFileError(f"nothing was imported: {shown}. Correct the file and import it again")
    return CityFile(types, bays, zones)


def _collection(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > MOST_BYTES:
        raise CityFileError(f"the file is larger than {MOST_BYTES // 2**20} MB; split it")
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError) as wrong:
        raise CityFileError(f"the file is no JSON: {wrong}") from None
    if not isinstance(told, dict) or told.get("type") != "FeatureCollection":
        raise CityFileError("the file is no GeoJSON FeatureCollection; write one, as RFC 7946 says")
    if not isinstance(told.get("features"), list):
        raise CityFileError('the file has no list "features"; write one, as RFC 7946 says')
    return told


def _read_all(
    told: object, what: str, read: Callable[[Any], _Read], faults: list[str]
) -> list[_Read]:
    if not isinstance(told, list):
        faults.append(f"{what}s are no list")
        return []
    found: list[_Read] = []
    for number, one in enumerate(told, 1):
        name = f"{what} {number}"
        try:
            if isinstance(one, dict):
                own = one.get("id", one.get("vehicle_type_id"))
                name = f"{what} {own!r}" if isinstance(own, str) else name
            found.append(read(one))
        except (_Fault, AreaError) as fault:
            faults.append(f"{name} {fault}")
    return found


def _type(told: object) -> VehicleType:
    if not isinstance(told, dict):
        raise _Fault("is no object")
    kind = _one_of(told, "kind", KINDS)
    usual = next(t for t in DEFAULT_TYPES.values() if t.kind == kind)
    range_m = told.get("max_range_meters", usual.max_range_m)
    if not _is_whole(range_m) or not 0 < range_m <= 10_000_000:  # noqa: PLR2004 - 10,000 km
        raise _Fault("needs max_range_meters as a whole number of metres")
    return VehicleType(
        id=_text(told, "vehicle_type_id"),
        name=_text(told, "name"),
        kind=kind,
        form_factor=_one_of(told, "form_factor", FORM_FACTORS, usual.form_factor),
        propulsion=_one_of(told, "propulsion_type", PROPULSIONS, usual.propulsion),
        max_range_m=range_m,
    )


def _feature(told: object, types: set[str]) -> BayPlan | ZonePlan | None:
    properties = told.get("properties") if isinstance(told, dict) else None
    if (
        not isinstance(told, dict)
        or told.get("type") != "Feature"
        or not isinstance(properties, dict)
    ):
        raise _Fault('is no GeoJSON Feature with "properties"')
    kind = _one_of(properties, "kind", frozenset({"bay", "street", *_ZONE_KINDS}))
    if kind == "street":
        return None
    key, name = _text(told, "id"), _text(properties, "name")
    area = read_area(told.get("geometry"))
    if kind == "bay":
        return BayPlan(key, name, area, _places(properties, types))
    return _zone(kind, key, name, area, properties)


def _zone(
    kind: Any,  # noqa: ANN401 - one of ZoneKind, as _one_of saw to
    key: str,
    name: str,
    area: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> ZonePlan:
    limit = properties.get("speed_limit_kmh")
    if kind == "slow" and (not _is_whole(limit) or limit not in _SPEEDS_KMH):
        raise _Fault("needs speed_limit_kmh, a whole number from 3 to 45")
    if kind != "slow" and limit is not None:
        raise _Fault("has a speed_limit_kmh, which only slow zones have")
    parking = properties.get("station_parking", True)
    if not isinstance(parking, bool):
        raise _Fault("has a station_parking that is neither true nor false")
    return ZonePlan(key, kind, name, area, parking, limit)


def _places(properties: Mapping[str, Any], types: set[str]) -> list[PlacePlan]:
    told = properties.get("vehicle_types_capacity")
    if not isinstance(told, list) or not told:
        raise _Fault('needs vehicle_types_capacity, a list of {"vehicle_type_ids", "count"}')
    found = [place for group in told for place in _group(group, types)]
    if len(found) > MOST_PLACES:
        raise _Fault(f"has more than {MOST_PLACES} places; make several bays of it")
    return found


def _group(told: object, types: set[str]) -> list[PlacePlan]:
    if not isinstance(told, dict):
        raise _Fault("has a vehicle_types_capacity that is no object")
    ids, count = _texts(told, "vehicle_type_ids"), told.get("count")
    sockets = _texts(told, "evse_ids")
    if strangers := [one for one in ids if one not in types]:
        raise _Fault(f"has places for {strangers[0]!r}, which is no vehicle type of this city")
    if not _is_whole(count) or not 0 < count <= MOST_PLACES:
        raise _Fault(f"needs a count from 1 to {MOST_PLACES}")
    if len(sockets) > count:
        raise _Fault("has more evse_ids than places")
    evse_ids = [*sockets, *[None] * (count - len(sockets))]
    return [PlacePlan(tuple(ids), evse_id) for evse_id in evse_ids]


def _texts(told: Mapping[str, Any], name: str) -> list[str]:
    found = told.get(name, [])
    if not isinstance(found, list):
        raise _Fault(f"has {name} that are no list")
    return [_text({name: one}, name) for one in found]


def _text(told: Mapping[str, Any], name: str) -> str:
    found = told.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= _LONGEST or not found.isprintable():
        raise _Fault(f"needs {name}, a text of at most {_LONGEST} printable characters")
    return found


def _one_of(
    told: Mapping[str, Any],
    name: str,
    known: frozenset[str],
    otherwise: str | None = None,
) -> Any:  # noqa: ANN401 - the caller knows which words these are
    found = told.get(name, otherwise)
    if not isinstance(found, str) or found not in known:
        raise _Fault(f"needs {name}, one of {', '.join(sorted(known))}")
    return found


def _is_whole(found: object) -> TypeGuard[int]:
    return isinstance(found, int) and not isinstance(found, bool)


def _repeated(ids: Iterable[str], what: str) -> list[str]:
    twice = sorted(one for one, count in Counter(ids).items() if count > 1)
    return [f"{what} {one!r} is there twice" for one in twice]
