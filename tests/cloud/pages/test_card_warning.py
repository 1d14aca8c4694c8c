"""A rider whose card allows no more is told so, and rides on."""

from types import SimpleNamespace

import pytest

from cloud.kit.money import Money
from cloud.pages.render import templates
from cloud.pages.ride_words import Words


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("is_unpaid", [True, False])
def test_a_card_that_allows_no_more_is_told_while_riding(language: str, is_unpaid: bool) -> None:
    words = Words(language)
    nothing = Money(0, "EUR")
    shown = templates.get_template("_rental_state.html").render(
        t=words,
        rental=SimpleNamespace(id="r", state="riding", is_unpaid=is_unpaid),
        v=SimpleNamespace(
            used=SimpleNamespace(ride_s=60.0),
            total=nothing,
            quote=SimpleNamespace(pause_per_minute=nothing),
            refusal=None,
        ),
        clock=lambda _seconds: "1:00",
        fresh_key=lambda: "k",
        poll_ms=1000,
    )
    assert (words("card_short") in shown) == is_unpaid
    assert f"{words('pause')}</button>" in shown


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize(
    ("kind", "state"), [("pause_failed", "riding"), ("resume_failed", "paused")]
)
def test_a_vehicle_that_refuses_is_told_where_one_tries_again(
    language: str, kind: str, state: str
) -> None:
    words, nothing = Words(language), Money(0, "EUR")
    shown = templates.get_template("_rental_state.html").render(
        t=words,
        rental=SimpleNamespace(id="r", state=state, is_unpaid=False),
        v=SimpleNamespace(
            used=SimpleNamespace(ride_s=60.0),
            total=nothing,
            quote=SimpleNamespace(pause_per_minute=nothing),
            refusal=SimpleNamespace(kind=kind),
        ),
        clock=lambda _seconds: "1:00",
        fresh_key=lambda: "k",
        poll_ms=1000,
    )
    assert words(kind) in shown


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_paused_rider_whose_card_allows_no_more_is_shown_where_to_add_another(
    language: str,
) -> None:
    words, nothing = Words(language), Money(0, "EUR")
    shown = templates.get_template("_rental_state.html").render(
        t=words,
        rental=SimpleNamespace(id="r", state="paused", is_unpaid=True),
        v=SimpleNamespace(
            used=SimpleNamespace(ride_s=60.0),
            total=nothing,
            quote=SimpleNamespace(pause_per_minute=nothing),
            refusal=SimpleNamespace(kind="resume_failed"),
        ),
        clock=lambda _seconds: "1:00",
        fresh_key=lambda: "k",
        poll_ms=1000,
    )
    assert words("card_short_paused") in shown
    assert 'href="/ride/card"' in shown
    assert words("resume_failed") not in shown
