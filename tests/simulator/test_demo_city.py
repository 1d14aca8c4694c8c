"""Which city the demo takes."""

import json
import shutil
from pathlib import Path

import pytest

from simulator.city import City, made_up
from simulator.demo_city import MADE_UP, draw_city
from simulator.vehicles import CITY


@pytest.fixture
def no_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without extracts; the folder where they would lie."""
    folder = tmp_path / "osm"
    folder.mkdir()
    monkeypatch.setenv("MOBILITY_OSM_DIR", str(folder))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def test_without_any_map_a_city_is_made_up(no_maps: Path, data: Path) -> None:
    assert no_maps
    city = draw_city(data, 0)
    assert (city.name, city.source, city.attribution) == ("Blocksburg", "made_up", "")
    assert json.loads((data / CITY).read_text()) == made_up().as_geojson()


def test_a_city_whose_map_lies_there_is_taken_and_credited(
    no_maps: Path, data: Path, shared: Path
) -> None:
    shutil.copy(shared / "data/osm/helsinki.osm.pbf", no_maps)
    city = draw_city(data, 0)
    assert (city.name, city.source) == ("Helsinki", "openstreetmap")
    assert city.attribution.startswith("© OpenStreetMap contributors")
    assert str(city) == "Helsinki (streets of OpenStreetMap)"
    (data / CITY).unlink()
    assert draw_city(data, 0, MADE_UP).source == "made_up"


def test_the_maps_beside_the_repository_are_found(
    data: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared
    monkeypatch.delenv("MOBILITY_OSM_DIR", raising=False)
    assert draw_city(data, 0).name == "Porto"


def test_a_city_that_the_folder_has_stays(no_maps: Path, data: Path) -> None:
    assert no_maps
    City("Springfield", "Somebody").write(data / CITY)
    assert str(draw_city(data, 0)) == "Springfield (a file of your own)"
    with pytest.raises(ValueError, match="has the city Springfield, not Blocksburg; choose"):
        draw_city(data, 0, MADE_UP)


def test_a_wish_for_a_map_that_is_not_there_says_what_to_do(no_maps: Path, data: Path) -> None:
    with pytest.raises(ValueError, match=r"MOBILITY_OSM_DIR where porto\.osm\.pbf lies"):
        draw_city(data, 0, "porto")
    assert list(no_maps.iterdir()) == []


def test_what_is_no_city_is_told(data: Path) -> None:
    (data / CITY).write_text("{")
    with pytest.raises(ValueError, match="make one: mobility-sim city"):
        draw_city(data, 0)
