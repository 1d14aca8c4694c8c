"""Importing a city from a file, and a fleet that was there before cities were."""

import argparse
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloud.events.fleet import CityImported
from cloud.fleet import api, commands, states, store
from cloud.fleet.city import Imported, import_city
from cloud.fleet.city_file import CityFileError, read_city
from cloud.fleet.kinds import VehicleType
from cloud.fleet.model import Vehicle
from cloud.fleet.store import areas
from cloud.identity.api import console, newest
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, connect
from cloud.kit.migrations import load
from cloud.kit.postgres import EmbeddedPostgres
from cloud.kit.scope import DEMO, Scope
from tests.cloud.fleet.city import CENTRE, a_bay, a_city, a_feature, box
from tests.cloud.sealed import NOON

CARGO = {
    "vehicle_type_id": "cargo",
    "name": "Cargo bike",
    "kind": "bike",
    "form_factor": "cargo_bicycle",
    "propulsion_type": "electric_assist",
    "max_range_meters": 60_000,
}


def put(db: Db, raw: bytes) -> Imported:
    return import_city(db, console(DEMO), "city.geojson", raw, NOON)


def test_a_city_is_imported_and_told(db: Db) -> None:
    cargo_bay = a_bay("cargo", box(20, 20, 30, 30), 3, ["cargo"])
    assert put(db, a_city(cargo_bay, vehicle_types=[CARGO])) == Imported(1, 3, 7, 3)
    assert VehicleType(
        "cargo", "Cargo bike", "bike", "cargo_bicycle", "electric_assist", 60_000
    ) in store.vehicle_types(db, DEMO)
    assert [zone.kind for zone in areas.zones(db, DEMO)] == ["no_parking", "slow", "service_area"]
    row = db.execute("SELECT type FROM kit.event ORDER BY id DESC LIMIT 1").fetchone()
    assert row == (CityImported.TYPE,)
    entry = newest(db, 1)[0]
    assert (entry.action, entry.target) == ("city.imported", "city.geojson")
    assert store.vehicle_types(db, Scope("demo", "elsewhere")) == []


def test_importing_again_replaces_what_has_the_same_id(db: Db) -> None:
    put(db, a_city())
    before = {near.bay.key: near.bay.id for near in api.bays_near(db, DEMO, CENTRE, NOON)}
    put(db, a_city(a_feature("extra", "no_parking", box(50, 50, 60, 60)), places=5))
    after = {near.bay.key: near for near in api.bays_near(db, DEMO, CENTRE, NOON)}
    assert {key: near.bay.id for key, near in after.items()} == before
    assert [len(near.places) for near in after.values()] == [5, 5]
    assert len(areas.zones(db, DEMO)) == 4
    put(db, a_city(places=1))
    assert [n.free for n in api.bays_near(db, DEMO, CENTRE, NOON)] == [1, 1]
    assert len(areas.zones(db, DEMO)) == 4


def test_an_import_takes_no_place_from_a_vehicle(db: Db) -> None:
    put(db, a_city(places=1))
    bay = api.bays_near(db, DEMO, CENTRE, NOON)[0].bay
    for name in ("v-1", "v-2"):
        states.add_vehicle(db, DEMO, Vehicle(name, name, "scooter", name, "available"), NOON)
    api.take_place(db, DEMO, bay.id, "v-1", NOON)
    put(db, a_city(places=2))
    api.take_place(db, DEMO, bay.id, "v-2", NOON)
    with pytest.raises(CityFileError, match="place 2 of bay 'centre' is taken"), db.transaction():
        put(db, a_city(places=1))
    assert len(api.bays_near(db, DEMO, CENTRE, NOON)[0].places) == 2
    put(db, a_city(places=2))


def test_a_type_keeps_its_kind(db: Db) -> None:
    put(db, a_city(vehicle_types=[CARGO]))
    put(db, a_city(vehicle_types=[{**CARGO, "name": "Cargo"}]))
    for changed in ({**CARGO, "kind": "car"}, {**CARGO, "vehicle_type_id": "e_van"}):
        with pytest.raises(CityFileError, match="an id of its own"):
            put(db, a_city(vehicle_types=[changed]))


NOTHING: Any = 1


def _with(**changes: Any) -> dict[str, Any]:
    bay = a_bay("b", box(0, 0, 9, 9))
    bay["properties"] |= changes.pop("properties", {})
    return {**bay, **changes}


def _capacity(**changes: Any) -> dict[str, Any]:
    told = {"vehicle_type_ids": ["e_scooter"], "count": 2, **changes}
    return _with(properties={"vehicle_types_capacity": [told]})


@pytest.mark.parametrize(
    ("feature", "why"),
    [
        (7, "feature 6 is no GeoJSON Feature"),
        (_with(type="Place"), "feature 'b' is no GeoJSON Feature"),
        (_with(properties={"kind": "lake"}), "needs kind, one of bay, no_go, no_parking"),
        (_with(id=5), "feature 6 needs id"),
        (_with(id="a\n"), "needs id, a text"),
        (_with(properties={"name": "\ud800"}), "needs name, a text"),
        (_with(geometry=None), "feature 'b' is no GeoJSON Polygon"),
        (_with(properties={"vehicle_types_capacity": []}), "needs vehicle_types_capacity"),
        (_with(properties={"vehicle_types_capacity": [1]}), "that is no object"),
        (_capacity(count=0), "needs a count from 1"),
        (_capacity(count=True), "needs a count from 1"),
        (_capacity(vehicle_type_ids=["hovercraft"]), "'hovercraft', which is no vehicle type"),
        (_capacity(vehicle_type_ids="e_scooter"), "vehicle_type_ids that are no list"),
        (_capacity(evse_ids=["a", "b", "c"]), "more evse_ids than places"),
        (a_bay("centre", box(0, 0, 9, 9)), "bay 'centre' is there twice"),
        (a_feature("z", "slow", box(0, 0, 9, 9)), "needs speed_limit_kmh"),
        (a_feature("z", "slow", box(0, 0, 9, 9), speed_limit_kmh=200), "needs speed_limit_kmh"),
        (a_feature("z", "no_parking", box(0, 0, 9, 9), speed_limit_kmh=9), "only slow zones"),
        (a_feature("z", "service_area", box(0, 0, 9, 9), station_parking=1), "neither true nor"),
    ],
)
def test_a_wrong_feature_is_named_and_nothing_is_imported(db: Db, feature: Any, why: str) -> None:
    with pytest.raises(CityFileError, match=why):
        put(db, a_city(feature))
    assert api.bays_near(db, DEMO, CENTRE, NOON) == []


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no GeoJSON FeatureCollection"),
        (b'{"type": "FeatureCollection"}', 'no list "features"'),
        (b'{"type": "FeatureCollection", "features": []}', "no bay, zone or vehicle type"),
        (a_city(vehicle_types={}), "vehicle types are no list"),
        (a_city(vehicle_types=[1]), "vehicle type 1 is no object"),
        (a_city(vehicle_types=[{**CARGO, "kind": "boat"}]), "'cargo' needs kind, one of bike"),
        (a_city(vehicle_types=[{**CARGO, "max_range_meters": 0}]), "needs max_range_meters"),
        (a_city(vehicle_types=[CARGO, CARGO]), "vehicle type 'cargo' is there twice"),
    ],
)
def test_what_is_no_city_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(CityFileError, match=why):
        read_city(raw)


def test_only_the_first_faults_are_told() -> None:
    with pytest.raises(CityFileError, match="and 15 more"):
        read_city(a_city(*[NOTHING] * 20))


def test_streets_are_left_to_the_simulator() -> None:
    street = a_feature("s", "street", {"type": "LineString", "coordinates": [[0, 0], [1, 1]]})
    assert len(read_city(a_city(street)).bays) == 2


def test_sockets_belong_to_places_in_their_order() -> None:
    (bay,) = read_city(
        json.dumps(
            {
                "type": "FeatureCollection",
                "features": [_capacity(evse_ids=["DE*1", "DE*2"], count=3)],
            }
        ).encode()
    ).bays
    assert [place.evse_id for place in bay.places] == ["DE*1", "DE*2", None]


def test_the_command_imports_a_file_or_what_is_piped(
    db: Db,
    clock: ManualClock,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "town.geojson"
    file.write_bytes(a_city())
    assert commands.import_file(argparse.Namespace(file=file), db, clock) == 0
    assert json.loads(capsys.readouterr().out) == {
        "vehicle_types": 0,
        "bays": 2,
        "places": 4,
        "zones": 3,
    }
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(a_city(places=3))))
    assert commands.import_file(argparse.Namespace(file=Path("-")), db, clock) == 0
    assert json.loads(capsys.readouterr().out)["places"] == 6


def test_the_command_gives_a_vehicle_its_type(
    db: Db, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    states.add_vehicle(db, DEMO, Vehicle("v-1", "v-1", "scooter", "v-1", "available"), NOON)
    wanted = argparse.Namespace(id="v-1", type="e_bike", name=None, plate="MC-7")
    assert commands.assign(wanted, db, clock) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["type"], shown["vehicle_type_id"], shown["plate"]) == ("bike", "e_bike", "MC-7")
    for changes in ({"id": "nobody"}, {"type": "hovercraft"}):
        with pytest.raises(ValueError, match="correct the command"):
            commands.assign(argparse.Namespace(**{**vars(wanted), **changes}), db, clock)


def test_vehicles_from_before_get_a_type_and_go_on(postgres: EmbeddedPostgres) -> None:
    with connect(postgres.dsn_of("postgres")) as admin:
        admin.execute("CREATE DATABASE before_cities")
    dsn = postgres.dsn_of("before_cities")
    first, *later = (one for one in load(["fleet"]) if one.context == "fleet")
    with connect(dsn) as db:
        db.execute(first.sql)
        db.execute(
            "INSERT INTO fleet.vehicle SELECT id, 'demo', 'demo', id, kind, id, 'available', %s"
            " FROM (VALUES ('old-1', 'scooter'), ('old-2', 'van')) AS old (id, kind)",
            [NOON],
        )
        for migration in later:
            db.execute(migration.sql)
        found = store.vehicles(db, DEMO)
        assert [vehicle.vehicle_type_id for vehicle in found] == ["e_scooter", "e_van"]
        assert api.vehicle_type(db, DEMO, "old-2").mode == "car-share"
        row = store.lock_state(db, DEMO, "old-1")
        assert row is not None
        assert (row.state.life, row.at) == ("available", NOON)
