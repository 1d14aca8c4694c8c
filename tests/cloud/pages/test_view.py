"""The words of the pages, and that the browser makes the same ones."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from cloud.pages import view
from cloud.pages.static_files import STATIC
from tests.cloud.pages.parts import in_node

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def a_vehicle(name: str, soc: float | None = 50, *, connected: bool = True) -> view.Vehicle:
    return view.Vehicle(
        name, name, "scooter", connected=connected, signal_at=NOW, values={"soc_pct": soc}
    )


def heard(
    seconds_ago: float | None, current_a: float | None = 0, *, connected: bool = True
) -> view.Vehicle:
    at = None if seconds_ago is None else NOW - timedelta(seconds=seconds_ago)
    return view.Vehicle("v", "v", "scooter", connected, at, {"current_a": current_a})


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


def test_values_are_stale_after_90_seconds_when_offline_and_when_there_are_none() -> None:
    assert not view.is_stale(heard(90), NOW)
    assert view.is_stale(heard(91), NOW)
    assert view.is_stale(heard(None), NOW)
    assert view.is_stale(heard(1, connected=False), NOW)


@pytest.mark.parametrize(
    ("current_a", "word"),
    [
        (0.21, "charging"),
        (0.2, "parked"),
        (-0.5, "parked"),
        (-0.51, "riding"),
        (None, ""),
    ],
)
def test_the_current_tells_what_a_vehicle_does(current_a: float | None, word: str) -> None:
    assert view.doing(heard(1, current_a), NOW) == word


def test_what_a_vehicle_does_is_told_only_while_fresh() -> None:
    assert view.doing(heard(91, 3), NOW) == "last known"
    assert view.doing(heard(1, 3, connected=False), NOW) == "last known"
    assert view.doing(heard(None, 3), NOW) == ""
    assert view.notice(heard(1), NOW) == ""
    assert "last known" in view.notice(heard(1, connected=False), NOW)
    assert "No value" in view.notice(heard(None), NOW)


def test_an_unknown_range_of_the_charts_is_the_hour() -> None:
    assert [view.chart_range(asked) for asked in ("5m", "15m", "1h", "", "9y")] == [
        "5m",
        "15m",
        "1h",
        "1h",
        "1h",
    ]


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
        (1, "low"),
        (2, "high"),
        (3, ""),
        (5, ""),
    ]
    assert [cell.mark for cell in view.cells({"cell_1_v": 3.9, "cell_2_v": 3.9})] == ["", ""]


@pytest.mark.parametrize(
    ("volts", "scale"),
    [
        ((3.961, 3.954), "3.93 to 3.98 V"),
        ((3.9, 3.9), "3.87 to 3.92 V"),
        ((3.501, 3.652), "3.50 to 3.66 V"),
        ((), ""),
    ],
)
def test_the_scale_of_the_cells_holds_them_all_and_shows_their_differences(
    volts: tuple[float, ...], scale: str
) -> None:
    values = {f"cell_{number}_v": volt for number, volt in enumerate(volts, 1)}
    assert view.cell_scale(values) == scale
    shares = [cell.share for cell in view.cells(values)]
    assert all(0 <= share <= 100 for share in shares)
    assert len(set(shares)) == len(set(volts))


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
    currents = [*values, 0.2, 0.21, -0.5, -0.51]
    ages = [None, -3, 0, 59.9, 60, 90, 90.1, 3599, 3600, 86_399, 86_400, 1e6]
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
            [
                view.age(vehicle.signal_at, NOW),
                view.is_stale(vehicle, NOW),
                view.notice(vehicle, NOW),
                *(view.doing(heard(s, v, connected=c), NOW) for v in currents),
            ]
            for s in ages
            for c in (True, False)
            for vehicle in (heard(s, connected=c),)
        ),
        *(
            [view.capacity(r), view.power(r), view.sensors(r), view.cell_spread(r)]
            for r in readings
        ),
    ]
    script = f"""
        import * as say from {json.dumps((STATIC / "format.js").as_uri())};
        const [values, currents, ages, readings] =
          {json.dumps((values, currents, ages, readings))};
        const now = {NOW.timestamp() * 1000};
        const at = (seconds) => (seconds === null ? null : now - seconds * 1000);
        console.log(JSON.stringify([
          ...values.map((v) => [say.number(v, 2, "V"), say.number(v, 0, "A", true)]),
          ...values.map((v) => [say.soc(v), say.level(v), say.flow(v)]),
          ...ages.flatMap((s) => [true, false].map((connected) => {{
            const vehicle = {{ connected, at: at(s), current: 0 }};
            return [say.age(at(s), now), say.isStale(vehicle, now), say.notice(vehicle, now),
              ...currents.map((current) => say.doing({{ ...vehicle, current }}, now))];
          }})),
          ...readings.map((r) =>
            [say.capacity(r), say.power(r), say.sensors(r), say.cellSpread(r)]),
        ]));
    """
    assert in_node(script) == ours
