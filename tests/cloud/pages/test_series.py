"""Where the charts begin and where their lines break, asked of the browser's own module."""

import json

import pytest

from cloud.pages.static_files import STATIC
from tests.cloud.pages.parts import in_node

SERIES, FORMAT = (json.dumps((STATIC / name).as_uri()) for name in ("series.js", "format.js"))


def breaks(times: list[float]) -> list[float]:
    """Moments at which nothing is drawn."""
    script = f"""
        import {{ withBreaks }} from {SERIES};
        const times = {json.dumps(times)};
        const [at, values] = withBreaks(times, [times.map(() => 1)]);
        console.log(JSON.stringify(at.filter((_, i) => values[i] === null)));
    """
    found = in_node(script)
    assert isinstance(found, list)
    return found


def every(step: float, count: int, start: float = 0) -> list[float]:
    return [start + step * number for number in range(count)]


@pytest.mark.parametrize(
    ("times", "broken"),
    [
        ([], []),
        ([0], []),
        (every(1, 9), []),
        (every(1, 9) + every(1, 9, start=23), []),
        (every(1, 9) + every(1, 9, start=24), [16]),
        (every(10, 9) + every(10, 9, start=130), []),
        (every(10, 9) + every(10, 9, start=132), [106]),
        (every(60, 9), []),
        (every(60, 9) + every(60, 9, start=1080), [780]),
        ([0, 60], []),
        ([0, 100], [50]),
    ],
)
def test_a_line_breaks_where_several_readings_are_missing(
    times: list[float], broken: list[float]
) -> None:
    assert breaks(times) == broken


def test_slow_readings_while_parked_between_fast_ones_are_no_outage() -> None:
    ride = every(1, 20)
    parked = every(60, 10, start=79)
    assert breaks(ride + parked + every(1, 20, start=680)) == []


def test_two_outages_with_one_reading_between_are_two_breaks() -> None:
    assert breaks([*every(1, 9), 50, *every(1, 9, start=100)]) == [29, 75]


@pytest.mark.parametrize(
    ("first", "length"),
    [("undefined", 3600), (9_999, 120), (9_000, 1_020), (5_000, 3600), (6_399, 3600)],
)
def test_the_axis_begins_at_the_first_reading_but_never_before_the_range(
    first: str | float, length: float
) -> None:
    script = f"""
        import {{ axisStart }} from {SERIES};
        console.log(10_000 - axisStart({first}, 10_000, 3600));
    """
    assert in_node(script) == pytest.approx(length)


def test_a_value_that_stands_alone_is_found() -> None:
    script = f"""
        import {{ lonely }} from {SERIES};
        console.log(JSON.stringify(lonely([1, null, 2, 3, null, 4, null, null, 5])));
    """
    assert in_node(script) == [0, 5, 8]


def test_an_axis_has_the_minus_and_the_decimals_that_its_steps_need() -> None:
    script = f"""
        import {{ tick }} from {FORMAT};
        const asked = [[-5, 5], [0, 2.5], [-2.5, 2.5], [3.72, 0.02], [100, 20], [1e-17, 0.1]];
        console.log(JSON.stringify(asked.map(([value, step]) => tick(value, step))));
    """
    assert in_node(script) == ["\N{MINUS SIGN}5", "0.0", "\N{MINUS SIGN}2.5", "3.72", "100", "0.0"]
