"""A price is told by the minute only where every minute costs the same."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cloud.booking.api import Quote
from cloud.kit.money import Money
from cloud.pages import ride_view
from cloud.pages.ride_words import Words


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


FLAT = Quote("Go", eur(100), eur(25), eur(10), eur(500), {}, eur(350), is_flat=True)
STEPS = replace(FLAT, unlock=eur(44), per_minute=eur(75), for_10_min=eur(446), is_flat=False)


@pytest.mark.parametrize(
    ("language", "quote", "full", "short"),
    [
        ("en", FLAT, "€1.00 to unlock, then €0.25 a minute", "€0.25/min"),
        (
            "en",
            STEPS,
            "€0.44 to unlock; about €4.46 for 10 min, unlocking included",
            "≈ €4.46/10 min",
        ),
        (
            "de",
            STEPS,
            "0,44 € Entsperren; etwa 4,46 € für 10 Min, mit Entsperren",
            "≈ 4,46 €/10 Min",
        ),
    ],
)
def test_card_and_pin_tell_what_is_paid(language: str, quote: Quote, full: str, short: str) -> None:
    t = Words(language)
    vehicle = SimpleNamespace(
        id="one", name="S-1", place=SimpleNamespace(lat=1.0, lon=2.0), distance_m=10
    )
    found: Any = SimpleNamespace(vehicle=vehicle, quote=quote)
    (pin,) = ride_view.pins([found], t)
    assert t.price(quote).replace("\N{NO-BREAK SPACE}", " ") == full
    assert pin["price"].replace("\N{NO-BREAK SPACE}", " ") == short


def test_a_quote_is_kept_whole_and_an_old_one_is_flat() -> None:
    assert Quote.from_json(STEPS.as_json()) == STEPS
    old = {k: v for k, v in FLAT.as_json().items() if k not in ("for_10_min_minor", "is_flat")}
    assert Quote.from_json(old) == FLAT
