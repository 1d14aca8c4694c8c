"""The list of free vehicles says how far each goes, where that is known."""

from types import SimpleNamespace
from typing import Any

import pytest

from cloud.pages.render import templates
from cloud.pages.ride_words import Words


def shown(words: Words, range_m: int | None) -> str:
    vehicle = SimpleNamespace(
        id="v", name="Otter", type="scooter", soc_pct=57.5, range_m=range_m, distance_m=90.0
    )
    around: dict[str, Any] = {
        "found": [SimpleNamespace(vehicle=vehicle, quote=None)],
        "is_guess": False,
        "nearest_bays": [],
    }
    return templates.get_template("_around.html").render(
        t=words, around=SimpleNamespace(**around), drawn=[], fresh_key=lambda: "k", look_m=1_500
    )


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_range_is_told_in_whole_kilometres_and_left_out_where_nobody_knows(
    language: str,
) -> None:
    words = Words(language)
    assert words("range", km=22) in shown(words, 22_999)
    assert " km" not in shown(words, None)
