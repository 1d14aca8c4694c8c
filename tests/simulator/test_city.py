"""Cities to drive in, as the cloud imports them."""

import json
from collections import Counter
from pathlib import Path

import pytest

from cloud.fleet.city_file import read_city
from cloud.fleet.geometry import Point, offset_m
from simulator.city import OSM_CREDIT, City, from_osm, made_up
from simulator.motion import ROAM_M, TOWN, TOWN_M

CENTRE_OF_HELSINKI = (24.9352, 60.1642, 24.9534, 60.1791)


def imported(city: City) -> bytes:
    return json.dumps(city.as_geojson()).encode()


def test_a_made_up_city_can_be_imported() -> None:
    found = read_city(imported(made_up()))
    assert 60 <= len(found.bays) <= 160
    assert {zone.kind for zone in found.zones} == {"service_area", "no_parking", "slow"}
    types = {type_ for bay in found.bays for one in bay.places for type_ in one.vehicle_type_ids}
    assert types == {"e_scooter", "e_bike", "e_car", "e_van"}


def test_the_same_seed_makes_the_same_city() -> None:
    assert imported(made_up(seed=3)) == imported(made_up(seed=3))
    assert imported(made_up(seed=3)) != imported(made_up(seed=4))


def test_bays_lie_in_the_service_area_and_not_in_the_park() -> None:
    found = read_city(imported(made_up(seed=1)))
    areas = {zone.key: zone.area for zone in found.zones}
    for bay in found.bays:
        (lon, lat), *_ = bay.area["coordinates"][0]
        assert offset_m(areas["town"], Point(lat, lon)) < 0
    in_park = [
        bay.key
        for bay in found.bays
        if offset_m(areas["park"], Point(*reversed(bay.area["coordinates"][0][0]))) < 0
    ]
    assert len(in_park) <= 4


def test_streets_cross_in_shared_points() -> None:
    city = made_up(blocks=5)
    assert len(city.streets) == 12
    written = city.as_geojson()["features"]
    shared_points = Counter(
        tuple(spot)
        for one in written
        if one["properties"]["kind"] == "street"
        for spot in one["geometry"]["coordinates"]
    )
    assert set(shared_points.values()) == {2}


def test_a_hamlet_is_no_city() -> None:
    assert made_up(blocks=4).bays
    with pytest.raises(ValueError, match="at least 4 blocks"):
        made_up(blocks=3)


def test_simulated_vehicles_live_near_its_middle() -> None:
    (area,) = (z.area for z in read_city(imported(made_up())).zones if z.key == "town")
    assert offset_m(area, Point(*TOWN)) < -min(TOWN_M, ROAM_M)


def test_a_city_of_openstreetmap_can_be_imported(shared: Path, tmp_path: Path) -> None:
    city = from_osm(
        shared / "data/osm/helsinki.osm.pbf", name="Helsinki", within=CENTRE_OF_HELSINKI
    )
    file = tmp_path / "helsinki.geojson"
    city.write(file)
    raw = file.read_bytes()
    found = read_city(raw)
    assert len(found.bays) > 15
    assert "park-001" in {zone.key for zone in found.zones}
    assert json.loads(raw)["attribution"] == OSM_CREDIT
    assert "© OpenStreetMap contributors" in OSM_CREDIT
    assert json.loads(raw)["attribution_url"] == "https://www.openstreetmap.org/copyright"
    assert "Mannerheimintie" in {street.name for street in city.streets}
    assert all("unnamed" not in bay.name for bay in found.bays)


def test_an_empty_part_of_a_map_is_no_city(shared: Path) -> None:
    with pytest.raises(ValueError, match="has no streets there"):
        from_osm(shared / "data/osm/helsinki.osm.pbf", name="Sea", within=(0, 0, 1, 1))


def test_what_is_no_map_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.osm.pbf").write_bytes(b"no map")
    with pytest.raises(RuntimeError):
        from_osm(tmp_path / "no.osm.pbf", name="Nowhere")
