"""Where a vehicle stands, drawn to scale; and the words around it."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.pages.review_view import drawing
from cloud.pages.review_words import _DOUBTS, _WORDS, ReviewWords
from tests.cloud.fleet.city import at_m, box

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def spot(accuracy_m: float = 8.0) -> dict[str, float]:
    here = at_m(0, 0)
    return {"lat": here.lat, "lon": here.lon, "accuracy_m": accuracy_m}


def test_a_bay_is_drawn_in_metres_north_up() -> None:
    drawn = drawing(spot(), box(10, 20, 30, 60))
    assert drawn is not None
    corners = [
        tuple(round(float(side)) for side in pair.split())
        for pair in drawn.outline.strip("MZ").split("L")
    ]
    assert set(corners) == {(10, -20), (30, -20), (30, -60), (10, -60)}
    assert (drawn.accuracy_m, drawn.scale_m) == (8.0, 150)


def test_a_zone_as_large_as_a_city_does_not_hide_the_vehicle() -> None:
    drawn = drawing(spot(), box(-9_000, -9_000, 9_000, 9_000))
    assert drawn is not None
    assert drawn.scale_m == 300
    assert drawn.outline


def test_the_whole_circle_of_uncertainty_is_seen() -> None:
    drawn = drawing(spot(400), box(-10, -10, 10, 10))
    assert drawn is not None
    assert drawn.scale_m == 830
    alone = drawing(spot(400), None)
    assert alone is not None
    assert (alone.outline, alone.scale_m) == ("", 830)


def test_what_nobody_knows_is_not_drawn() -> None:
    assert drawing(None, box(0, 0, 1, 1)) is None


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_word_is_there_in_both_languages(language: str) -> None:
    t = ReviewWords(language)
    column = ("en", "de").index(language)
    for table in (_WORDS, _DOUBTS):
        assert all(told[column].strip() for told in table.values())
    assert t("hours", n=3).startswith("3")
    assert t.doubt("dark") == t("fault_dark")
    assert t.doubt("no_such_word") == "no such word"


def test_a_deadline_is_told_in_hours_then_in_minutes_then_how_late_it_is() -> None:
    t = ReviewWords("en")
    assert t.time_left(NOON + timedelta(hours=47, minutes=59), NOON) == "47 h left"
    assert t.time_left(NOON + timedelta(minutes=59), NOON) == "59 min left"
    assert t.time_left(NOON - timedelta(hours=2), NOON) == "late by 2 h"
