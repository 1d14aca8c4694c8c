"""A city's slow and no-go zones become part of every vehicle's twin."""

import math
from typing import Any

import pytest

from cloud.devices import api as devices
from cloud.devices import twins
from cloud.events.devices import DeviceEnrolled
from cloud.fleet import reactions, states
from cloud.fleet.city import import_city
from cloud.fleet.city_file import CityFileError
from cloud.fleet.model import Vehicle
from cloud.fleet.places import end_allowed
from cloud.fleet.store import areas
from cloud.identity.api import console
from cloud.kit.db import Db
from cloud.kit.scope import DEMO, Scope
from protocol.commands import SignerKey, decode_twin
from protocol.zones import Zone
from tests.cloud.devices.commanded import ASKER
from tests.cloud.fleet.city import CENTRE, a_city, a_feature, at_m, box
from tests.cloud.sealed import NOON

KEY = SignerKey("k1", "0" * 64)
ELSEWHERE = Scope("demo", "elsewhere")
PARK = a_feature("lake", "no_go", box(500, 500, 600, 600))


def put(db: Db, raw: bytes) -> None:
    import_city(db, console(DEMO), "city.geojson", raw, NOON)


def enrol(db: Db, *device_ids: str, scope: Scope = DEMO) -> None:
    for device_id in device_ids:
        devices.enrol(db, device_id, "jbd_uart", NOON, scope=scope)


def sent(db: Db) -> dict[str, tuple[int, list[Zone]]]:
    """Version and zones of every twin that is to be sent now, as the device reads them."""
    found = {}
    for device_id, payload in twins.prepare(db, [KEY], (), NOON):
        twin = decode_twin(payload)
        found[device_id] = twin.version, list(twin.zones or [])
    return found


def wheel(corners: int, east: float) -> dict[str, Any]:
    """A circle with so many corners, 50 m wide."""
    turns = [2 * math.pi * number / corners for number in range(corners)]
    points = [at_m(east + 25 * math.cos(turn), 25 * math.sin(turn)) for turn in turns]
    ring = [[point.lon, point.lat] for point in [*points, points[0]]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_every_vehicle_of_the_city_is_told_its_zones_in_their_order(db: Db) -> None:
    enrol(db, "v-1", "v-2")
    enrol(db, "theirs", scope=ELSEWHERE)
    put(db, a_city(PARK))
    found = sent(db)
    assert found.keys() == {"v-1", "v-2"}
    version, (school, lake) = found["v-1"]
    assert version == 1
    assert (school.id, school.kind, school.limit_kmh) == ("school", "slow", 10)
    assert (lake.id, lake.kind, lake.limit_kmh) == ("lake", "no_go", None)
    corner = at_m(500, 500)
    assert lake.area[0][0][0] == (round(corner.lon, 6), round(corner.lat, 6))


def test_the_file_s_order_decides_and_an_import_that_changes_nothing_tells_nothing(db: Db) -> None:
    enrol(db, "v-1")
    first = a_feature("zz-first", "slow", box(0, 0, 9, 9), speed_limit_kmh=20)
    features = [first, a_feature("aa-second", "no_go", box(0, 0, 9, 9))]
    put(db, a_city(*features))
    assert [zone.id for zone in sent(db)["v-1"][1]] == ["school", "zz-first", "aa-second"]
    put(db, a_city(*features))
    assert sent(db) == {}
    put(db, a_city(*reversed(features)))
    version, zones = sent(db)["v-1"]
    assert (version, [zone.id for zone in zones]) == (2, ["school", "aa-second", "zz-first"])


def test_what_else_is_wanted_of_a_vehicle_stays_and_the_other_way_round(db: Db) -> None:
    enrol(db, "v-1")
    wish: dict[str, Any] = {"device_id": "v-1", "vehicle_id": "v-1", "reason": "a test", "at": NOON}
    devices.change_twin(db, ASKER, changes={"limits": {"speed_limit_kmh": 20}}, **wish)
    put(db, a_city())
    devices.change_twin(db, ASKER, changes={"immobilised": True}, **wish)
    ((_, payload),) = twins.prepare(db, [KEY], (), NOON)
    twin = decode_twin(payload)
    assert (twin.version, twin.limits.speed_limit_kmh, twin.immobilised) == (3, 20, True)
    assert [zone.id for zone in twin.zones or []] == ["school"]


def test_a_vehicle_that_is_enrolled_later_is_told_too(db: Db) -> None:
    put(db, a_city())
    assert sent(db) == {}
    enrol(db, "v-9")
    told = DeviceEnrolled(
        tenant="demo", city="demo", device_id="v-9", battery="jbd_uart", enrolled_at=NOON
    )
    for _ in range(2):
        reactions.add_vehicle(db, told)
    assert [(version, len(zones)) for version, zones in sent(db).values()] == [(1, 1)]


def test_outlines_with_too_many_corners_are_drawn_simpler(db: Db) -> None:
    enrol(db, "v-1")
    circles = [a_feature(f"c-{n}", "no_go", wheel(400, 1_000.0 + 100 * n)) for n in range(6)]
    put(db, a_city(*circles))
    zones = sent(db)["v-1"][1]
    assert len(zones) == 7
    assert 10 < len(zones[1].area[0][0]) < 100


def test_more_zones_than_a_vehicle_keeps_are_not_imported(db: Db) -> None:
    many = [a_feature(f"z-{n}", "no_go", box(n, 0, n + 0.5, 1)) for n in range(64)]
    with pytest.raises(CityFileError, match="65 zones are more than the 64"), db.transaction():
        put(db, a_city(*many))
    assert areas.zones(db, DEMO) == []


def test_nobody_parks_in_a_no_go_zone(db: Db) -> None:
    states.add_vehicle(db, DEMO, Vehicle("v-1", "v-1", "scooter", "v-1", "available"), NOON)
    put(db, a_city(PARK))
    verdict = end_allowed(db, DEMO, "v-1", at_m(550, 550), 3.0, NOON)
    assert (verdict.answer, verdict.zone and verdict.zone.key) == ("no_parking", "lake")
    assert end_allowed(db, DEMO, "v-1", CENTRE, 3.0, NOON).answer == "inside"
