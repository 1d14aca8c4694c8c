"""The interlock: nothing locks what moves, whoever of the sensors noticed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rules.interlock import Speed, fastest, standing

NOW = 100.0


def wheel(kmh: float, age_s: float = 0.0) -> Speed:
    return Speed(kmh, NOW - age_s, "controller")


def gnss(kmh: float, age_s: float = 0.0) -> Speed:
    return Speed(kmh, NOW - age_s, "gnss")


@pytest.mark.parametrize(
    ("speeds", "drawing", "verdict"),
    [
        ([wheel(0)], False, None),
        ([wheel(3.0), gnss(1.8)], False, None),
        ([wheel(0)], True, None),
        ([wheel(20)], False, "moving"),
        ([wheel(-5)], False, "moving"),
        ([wheel(0), gnss(20)], False, "moving"),
        ([wheel(20), gnss(0)], False, "moving"),
        ([wheel(20, age_s=2.1), gnss(0)], False, None),
        ([wheel(0), gnss(20, age_s=3.1)], False, None),
        ([None, gnss(20, age_s=2.9)], False, "moving"),
        ([None, None], False, None),
        ([None, None], True, "moving"),
        ([wheel(0, age_s=9)], True, "moving"),
        ([wheel(math.nan), gnss(20)], False, "moving"),
        ([gnss(20), wheel(math.nan)], False, "moving"),
        ([wheel(math.nan)], True, "moving"),
        ([wheel(math.nan)], False, None),
    ],
)
def test_whichever_is_faster_decides_and_the_draw_when_nobody_knows(
    speeds: list[Speed | None], drawing: bool, verdict: str | None
) -> None:
    assert standing(speeds, NOW, drawing=drawing) == verdict


def test_the_fastest_fresh_word_is_named() -> None:
    assert fastest([wheel(4), gnss(-6), None], NOW) == gnss(-6)
    assert fastest([wheel(4, age_s=5)], NOW) is None


SPEEDS = st.builds(
    Speed,
    st.floats(-60, 60) | st.just(math.nan),
    st.floats(NOW - 10, NOW),
    st.sampled_from(["controller", "gnss"]),
)


@given(st.lists(SPEEDS, max_size=4), st.booleans(), st.sampled_from(["controller", "gnss"]))
def test_no_combination_with_a_fresh_speed_above_walking_is_allowed(
    others: list[Speed], drawing: bool, source: str
) -> None:
    assert standing([*others, Speed(3.1, NOW - 1, source)], NOW, drawing=drawing) == "moving"
