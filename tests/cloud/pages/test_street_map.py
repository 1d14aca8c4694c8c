"""Streets come from the operator's own file, as far as they are near."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloud.pages import street_map
from cloud.pages.street_map import around, drawn, streets_of


def a_line(*spots: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": "LineString", "coordinates": list(spots)}}


def write(file: Path, features: list[dict[str, Any]], **told: str) -> None:
    file.write_text(json.dumps({**told, "features": features}), "utf-8")


def test_lines_near_by_are_drawn_and_polygons_are_not(tmp_path: Path) -> None:
    bay = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}}
    features = [a_line((13.40, 52.52), (13.41, 52.52)), a_line((14.0, 53.0), (14.1, 53.0)), bay]
    file = tmp_path / "city.geojson"
    features[0]["properties"] = {"rank": "major"}
    write(file, features, attribution="mine", attribution_url="https://example.org/map")
    found = streets_of(file)
    near = around(found, 52.52, 13.405, 500)
    assert near == {"path": [], "street": [], "major": [[[13.40, 52.52], [13.41, 52.52]]]}
    assert drawn(found, 0.0, 0.0, 500) == {
        "credit": "mine",
        "credit_url": "https://example.org/map",
        "lines": {"path": [], "street": [], "major": []},
    }


def test_a_rank_nobody_knows_is_a_street_and_a_link_of_another_kind_is_none(tmp_path: Path) -> None:
    line = a_line((13.40, 52.52), (13.41, 52.52)) | {"properties": {"rank": "x"}}
    write(tmp_path / "one", [line], attribution_url="javascript:alert(1)")
    found = streets_of(tmp_path / "one")
    assert (found.credit_url, found.streets[0].rank) == ("", "street")


def test_of_too_many_streets_the_farthest_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [a_line((13.40 + d, 52.52), (13.40 + d, 52.521)) for d in (0.004, 0.001, 0.003, 0.002)]
    write(tmp_path / "one", lines)
    monkeypatch.setattr(street_map, "_MOST_STREETS", 2)
    near = around(streets_of(tmp_path / "one"), 52.52, 13.40, 500)["street"]
    assert [line[0][0] for line in near] == [pytest.approx(13.401), pytest.approx(13.402)]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"features": [{}]}', '{"features": [{"geometry": null}]}']
)
def test_a_file_that_is_no_map_draws_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "city.geojson"
    file.write_text(text, "utf-8")
    assert streets_of(file).streets == ()
    assert streets_of(tmp_path / "none").streets == ()
