"""`mobility-sim city` as a person runs it."""

import json
from pathlib import Path

import pytest

from cloud.fleet.city_file import read_city
from simulator.cli import main


def test_a_city_is_written_to_a_file_or_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "town.geojson"
    assert main(["city", "--out", str(file), "--seed", "4"]) == 0
    assert main(["city", "--out", "-", "--seed", "4"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(file.read_bytes())
    assert read_city(file.read_bytes()).bays


def test_a_part_of_an_extract_is_a_city(shared: Path, tmp_path: Path) -> None:
    file = tmp_path / "helsinki.geojson"
    extract = str(shared / "data/osm/helsinki.osm.pbf")
    within = "--within=24.94,60.165,24.95,60.175"
    assert main(["city", "--osm", extract, "--name", "Helsinki", within, "--out", str(file)]) == 0
    assert json.loads(file.read_bytes())["name"] == "Helsinki"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "why"),
    [
        (["--osm", "nowhere.osm.pbf", "--out", "-"], 1, "is no map that can be read"),
        (["--out", "nowhere/town.geojson"], 1, "nowhere"),
        (["--out", "-", "--within=1,2,3"], 2, "is no part of a map"),
        (["--out", "-", "--within=3,2,1,4"], 2, "is no part of a map"),
        ([], 2, "--out"),
    ],
)
def test_trouble_is_one_sentence(
    arguments: list[str], exit_code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["city", *arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr().err
    assert (code, why in said) == (exit_code, True), said
