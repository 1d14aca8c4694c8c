"""The words of the pages, and that the browser makes the same ones."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud.pages import view
from cloud.pages.assets import find_npm
from cloud.pages.static_files import STATIC

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def a_vehicle(name: str, soc: float | None = 50, *, connected: bool = True) -> view.Vehicle:
    return view.Vehicle(
        name, name, "scooter", connected=connected, signal_at=NOW, values={"soc_pct": soc}
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (39.578, "39.58 V"),
        (-3.4, f"{MINUS}3.40 V"),
        (-0.001, "0.00 V"),
        (0, "0.00 V"),
        (None, DASH),
    ],
)
def test_a_number_has_its_unit_and_a_real_minus(value: float | None, text: str) -> None:
    assert view.number(value, 2, "V") == text


def test_a_current_says_its_direction() -> None:
    assert view.number(4.1, 2, "A", signed=True) == "+4.10 A"
    assert view.flow(4.1) == "charging"
    assert view.flow(-4.1) == "discharging"
    assert view.flow(0.04) == "idle"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s ago"),
        (4.9, "4 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_an_age_is_told_coarsely(seconds: float, text: str) -> None:
    assert view.age(NOW - timedelta(seconds=seconds), NOW) == text


def test_values_are_stale_after_90_seconds_and_when_there_are_none() -> None:
    assert not view.is_stale(NOW - timedelta(seconds=90), NOW)
    assert view.is_stale(NOW - timedelta(seconds=91), NOW)
    assert view.is_stale(None, NOW)


@pytest.mark.parametrize(
    ("soc", "level"), [(None, "unknown"), (10, "empty"), (10.1, "low"), (20, "low"), (21, "fine")]
)
def test_the_level_decides_the_colour(soc: float | None, level: str) -> None:
    assert view.level(soc) == level


@pytest.mark.parametrize("sort", ["soc", "-soc"])
def test_unknown_values_sort_last_both_ways(sort: str) -> None:
    fleet = [a_vehicle("a", None), a_vehicle("b", 80), a_vehicle("c", 20)]
    names = [vehicle.name for vehicle in view.ordered(fleet, view.Choice(sort=sort))]
    assert names == (["c", "b", "a"] if sort == "soc" else ["b", "c", "a"])


def test_one_highest_and_one_lowest_cell_are_marked() -> None:
    cells = view.cells({"cell_1_v": 3.9, "cell_2_v": 3.95, "cell_3_v": 3.95, "cell_5_v": 3.91})
    assert [(cell.number, cell.mark) for cell in cells] == [
        (1, "lowest"),
        (2, "highest"),
        (3, ""),
        (5, ""),
    ]
    assert [cell.mark for cell in view.cells({"cell_1_v": 3.9, "cell_2_v": 3.9})] == ["", ""]


def test_protections_are_named_and_unknown_bits_numbered() -> None:
    assert view.protections(None, "jbd_uart") is None
    assert view.protections(0, "jbd_uart") == []
    assert view.protections(1 << 10 | 1 << 15, "jbd_uart") == ["short circuit", "bit 15"]
    assert view.protections(1 << 10, "another") == ["bit 10"]


def test_long_lists_of_ranges_are_cut() -> None:
    assert view.ranges([(n, n + 1) for n in range(10, 60, 10)]) == (
        "10 to 11, 20 to 21, 30 to 31 and 2 more"
    )


def test_the_browser_says_the_same_words() -> None:
    values = [None, 0, -0.001, 0.04, -0.05, 3.4, -12.34, 9.99, 10, 20, 20.1, 55.5, 76, 100, 399.98]
    ages = [None, -3, 0, 59.9, 60, 3599, 3600, 86_399, 86_400, 1e6]
    readings: list[dict[str, float]] = [
        {},
        {"voltage_v": 39.58, "current_a": -3.4, "temperature_2_c": 21.7},
        {"voltage_v": 39.58, "current_a": 0.01, "temperature_1_c": -4, "temperature_2_c": 21.7},
        {"remaining_ah": 4.98, "full_ah": 5, "cell_1_v": 3.961, "cell_9_v": 3.954},
    ]
    ours = [
        *([view.number(v, 2, "V"), view.number(v, 0, "A", signed=True)] for v in values),
        *([view.soc(v), view.level(v), view.flow(v)] for v in values),
        *(
            [view.age(at, NOW), view.is_stale(at, NOW)]
            for at in (None if s is None else NOW - timedelta(seconds=s) for s in ages)
        ),
        *(
            [view.capacity(r), view.power(r), view.sensors(r), view.cell_spread(r)]
            for r in readings
        ),
    ]
    assert _in_node(values, ages, readings) == ours


def _in_node(*arguments: object) -> object:
    script = f"""
        import * as say from {json.dumps((STATIC / "format.js").as_uri())};
        const [values, ages, readings] = {json.dumps(arguments)};
        const now = {NOW.timestamp() * 1000};
        const at = (seconds) => (seconds === null ? null : now - seconds * 1000);
        console.log(JSON.stringify([
          ...values.map((v) => [say.number(v, 2, "V"), say.number(v, 0, "A", true)]),
          ...values.map((v) => [say.soc(v), say.level(v), say.flow(v)]),
          ...ages.map((s) => [say.age(at(s), now), say.isStale(at(s), now)]),
          ...readings.map((r) =>
            [say.capacity(r), say.power(r), say.sensors(r), say.cellSpread(r)]),
        ]));
    """
    node = Path(find_npm()[0]).parent / "node"
    done = subprocess.run(
        [node, "--input-type=module", "--eval", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)
