"""Streets come from the operator's own file, as far as they are near."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloud.pages.street_map import around, streets_of


def a_line(*spots: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": "LineString", "coordinates": list(spots)}}


def test_lines_near_by_are_drawn_and_polygons_are_not(tmp_path: Path) -> None:
    bay = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}}
    features = [a_line((13.40, 52.52), (13.41, 52.52)), a_line((14.0, 53.0), (14.1, 53.0)), bay]
    file = tmp_path / "city.geojson"
    file.write_text(json.dumps({"attribution": "mine", "features": features}), "utf-8")
    found = streets_of(file)
    assert found.credit == "mine"
    assert around(found, 52.52, 13.405, 500) == [[[13.40, 52.52], [13.41, 52.52]]]
    assert around(found, 0.0, 0.0, 500) == []


@pytest.mark.parametrize(
    "text", ["", "[]", '{"features": [{}]}', '{"features": [{"geometry": null}]}']
)
def test_a_file_that_is_no_map_draws_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "city.geojson"
    file.write_text(text, "utf-8")
    assert streets_of(file).streets == ()
    assert streets_of(tmp_path / "none").streets == ()
