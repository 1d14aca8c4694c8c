"""GBFS's arithmetic, rounding and tax: what a ride costs, to the minor unit."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from cloud.kit.money import Money
from cloud.payments.api import (
    AmountError,
    Plan,
    PlanError,
    PriceSnapshot,
    Usage,
    decimals,
    meter,
    ride_amount,
    shown,
    snapshot,
    to_minor,
    total,
)
from cloud.payments.meter import Line, half_up
from tests.cloud.payments.parts import NOON, a_plan


def lines_of(plan: Plan, **usage: Any) -> dict[str, Line]:
    return {line.kind: line for line in meter(snapshot(plan, NOON), Usage(**usage))}


@pytest.mark.parametrize(
    ("ride_s", "pause_s", "outage_s", "minutes"),
    [
        (0, 0, 0, 0),
        (0.1, 0, 0, 1),
        (300.0, 0, 0, 5),
        (300.1, 0, 0, 6),
        (300.001, 0, 0, 6),
        (360.1, 60.1, 0, 5),
        (400, 60, 40, 5),
        (60, 70, 0, 0),
    ],
)
def test_minutes_are_rounded_up_once_after_pause_and_outage(
    ride_s: float, pause_s: float, outage_s: float, minutes: int
) -> None:
    assert Usage(ride_s, pause_s, outage_s).minutes == minutes


def test_pauses_are_rounded_up_as_one_sum() -> None:
    assert Usage(600, pause_s=60.1).pause_minutes == 2
    assert lines_of(a_plan(), ride_s=600, pause_s=60.1)["pause"].amount_minor == 20


@pytest.mark.parametrize(
    ("segments", "minutes", "amount_minor"),
    [
        ([{"start": 0, "rate": 0.25, "interval": 1}], 0, 0),
        ([{"start": 0, "rate": 0.25, "interval": 1}], 5, 125),
        ([{"start": 0, "rate": 2, "interval": 0}], 5, 200),
        ([{"start": 5, "rate": 2, "interval": 0}], 5, 0),
        ([{"start": 5, "rate": 2, "interval": 0}], 6, 200),
        ([{"start": 0, "rate": 3, "interval": 30}], 30, 300),
        ([{"start": 0, "rate": 3, "interval": 30}], 31, 600),
        ([{"start": 0, "rate": 1, "interval": 1, "end": 3}], 10, 300),
        ([{"start": 0, "rate": 1, "interval": 2, "end": 3}], 10, 200),
        (
            [
                {"start": 0, "rate": 1, "interval": 1, "end": 10},
                {"start": 10, "rate": 0.5, "interval": 1},
            ],
            12,
            1100,
        ),
        (
            [
                {"start": 0, "rate": 1, "interval": 1},
                {"start": 10, "rate": -0.5, "interval": 1},
            ],
            12,
            1100,
        ),
    ],
)
def test_a_segment_is_charged_as_gbfs_says(
    segments: list[dict[str, Any]], minutes: int, amount_minor: int
) -> None:
    plan = a_plan(price=0, per_min_pricing=segments)
    assert ride_amount(plan, minutes) == Money(amount_minor, "EUR")


def test_kilometres_are_charged_likewise() -> None:
    plan = a_plan(
        price=0, per_min_pricing=[], per_km_pricing=[{"start": 1, "rate": 2, "interval": 1}]
    )
    assert [ride_amount(plan, 0, metres).amount_minor for metres in (1000, 1001, 2001)] == [
        *(0, 200, 400)
    ]


segment = st.builds(
    lambda start, rate, interval, length: {
        "start": start,
        "rate": rate / 100,
        "interval": interval,
        **({} if length is None else {"end": start + length}),
    },
    st.integers(0, 60),
    st.integers(-50, 500),
    st.integers(0, 30),
    st.none() | st.integers(0, 90),
)


def published(plan: dict[str, Any], minutes: int) -> Decimal:
    """GBFS's arithmetic in its own words, counted k by k, on what the feed publishes."""
    amount = Decimal(str(plan["price"]))
    for each in plan.get("per_min_pricing", []):
        until = min(minutes, each.get("end", minutes))
        moments = [each["start"]]
        if each["interval"]:
            moments = list(range(each["start"], until, each["interval"]))
        amount += sum(1 for moment in moments if moment < until) * Decimal(str(each["rate"]))
    return amount


@pytest.mark.slow
@settings(max_examples=1000)
@given(
    segments=st.lists(segment, max_size=4),
    price=st.integers(0, 500),
    ride_ms=st.integers(0, 6 * 3_600_000),
    pause_ms=st.integers(0, 3_600_000),
    outage_ms=st.integers(0, 600_000),
    is_taxable=st.booleans(),
    tax_rate_bp=st.integers(0, 3000),
    cap=st.none() | st.integers(0, 3000),
)
def test_the_ride_line_of_1000_random_rentals_is_the_published_plan(
    segments: list[dict[str, Any]],
    price: int,
    ride_ms: int,
    pause_ms: int,
    outage_ms: int,
    is_taxable: bool,
    tax_rate_bp: int,
    cap: int | None,
) -> None:
    plan = a_plan(
        price=price / 100,
        per_min_pricing=segments,
        is_taxable=is_taxable,
        tax_rate_bp=tax_rate_bp,
        ride_cap=None if cap is None else cap / 100,
    )
    usage = Usage(ride_ms / 1000, pause_ms / 1000, outage_ms / 1000)
    lines = meter(snapshot(plan, NOON), usage)
    minutes = -(-max(0, ride_ms - pause_ms - outage_ms) // 60_000)
    assert lines[0].kind == "ride"
    assert lines[0].amount_minor == published(plan.gbfs(), minutes) * 100
    assert lines[0].amount_minor == sum(part.quantity * part.rate_minor for part in lines[0].parts)
    before_tax = "net_minor" if is_taxable else "gross_minor"
    assert all(getattr(line, before_tax) == line.amount_minor for line in lines)
    assert total(lines).amount_minor == sum(line.net_minor + line.tax_minor for line in lines)
    if cap is not None:
        assert sum(line.amount_minor for line in lines) <= cap


def test_a_plan_survives_json_and_the_feed_is_valid_gbfs(shared: Path) -> None:
    plan = a_plan(daily_cap=20, per_km_pricing=[{"start": 0, "rate": 0.1, "interval": 1, "end": 9}])
    assert Plan.from_json(json.loads(json.dumps(plan.as_json()))) == plan
    schema = json.loads((shared / "standards/gbfs/v3.0/system_pricing_plans.json").read_text())
    feed = {
        "last_updated": "2026-07-01T12:00:00Z",
        "ttl": 0,
        "version": "3.0",
        "data": {"plans": [plan.gbfs()]},
    }
    Draft7Validator(schema).validate(feed)


def test_a_snapshot_is_the_same_price_wherever_it_was_stored() -> None:
    price = snapshot(a_plan(), NOON)
    again = PriceSnapshot.from_json(json.loads(json.dumps(price.as_json())))
    assert (again, again.digest) == (price, price.digest)
    assert hash(again) == hash(price)
    assert snapshot(a_plan(price=2), NOON).digest != price.digest


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"price": 0.005}, "decimals"),
        ({"price": -1}, "not negative"),
        ({"currency": "eur"}, "three capitals"),
        ({"tax_rate_bp": 10_001}, "10000"),
        ({"plan_id": ""}, "lacks plan_id"),
        ({"vehicle_types": []}, "lacks vehicle_types"),
        ({"valid_from": "2026-01-01T00:00:00"}, "time zone"),
        ({"price": "NaN"}, "no amount"),
        ({"price": True}, "no amount"),
        ({"per_min_pricing": [{"start": -1, "rate": 1, "interval": 1}]}, "not negative"),
        ({"per_min_pricing": [{"rate": 1}]}, "cannot be read"),
        ({"per_min_pricing": [1]}, "cannot be read"),
        ({"per_km_pricing": 5}, "cannot be read"),
    ],
)
def test_a_plan_that_cannot_be_charged_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanError, match=told):
        a_plan(**changes)


@pytest.mark.parametrize(
    ("currency", "places", "amount", "minor", "text"),
    [
        ("JPY", 0, "150", 150, "JPY 150"),
        ("EUR", 2, "2.5", 250, "EUR 2.50"),
        ("BHD", 3, "0.125", 125, "BHD 0.125"),
    ],
)
def test_a_currency_has_its_own_decimals(
    currency: str, places: int, amount: str, minor: int, text: str
) -> None:
    assert decimals(currency) == places
    assert to_minor(Decimal(amount), currency) == minor
    assert shown(Money(minor, currency)) == text
    with pytest.raises(AmountError):
        to_minor(Decimal(1).scaleb(-places - 1), currency)


def test_yen_and_dinars_are_charged_without_a_fraction() -> None:
    yen = a_plan(
        currency="JPY",
        price=100,
        per_min_pricing=[{"start": 0, "rate": 15, "interval": 1}],
        pause_per_min=5,
        hold_amount=1000,
        tax_rate_bp=1000,
    )
    assert total(meter(snapshot(yen, NOON), Usage(600))) == Money(250, "JPY")
    assert lines_of(yen, ride_s=600)["ride"].tax_minor == 23  # 250 / 11 = 22.7
    dinar = a_plan(
        currency="BHD",
        price=0.1,
        per_min_pricing=[{"start": 0, "rate": 0.025, "interval": 1}],
        pause_per_min=0.005,
        hold_amount=2,
    )
    assert total(meter(snapshot(dinar, NOON), Usage(600))) == Money(350, "BHD")


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(5, 10, 1), (4, 10, 0), (15, 10, 2), (-5, 10, -1), (-4, 10, 0), (25, 10, 3)],
)
def test_a_half_is_rounded_away_from_zero(numerator: int, denominator: int, rounded: int) -> None:
    assert half_up(numerator, denominator) == rounded


def test_tax_is_added_to_net_prices_and_taken_out_of_gross_ones() -> None:
    net = lines_of(a_plan(is_taxable=True), ride_s=600)["ride"]
    assert (net.net_minor, net.tax_minor, net.gross_minor) == (350, 67, 417)  # 66.5 up
    gross = lines_of(a_plan(is_taxable=False), ride_s=600)["ride"]
    assert (gross.net_minor, gross.tax_minor, gross.gross_minor) == (294, 56, 350)


def test_caps_are_lines_of_their_own() -> None:
    lines = lines_of(a_plan(ride_cap=3), ride_s=3600)
    assert (lines["ride"].amount_minor, lines["cap"].amount_minor) == (1600, -1300)
    lines = lines_of(a_plan(daily_cap=20), ride_s=3600, day_spent_minor=1900)
    assert lines["cap"].amount_minor == -1500
    assert "cap" not in lines_of(a_plan(daily_cap=20), ride_s=600, day_spent_minor=100)


def test_minutes_of_our_own_outage_are_shown_and_free() -> None:
    lines = lines_of(a_plan(), ride_s=600, outage_s=120)
    assert (lines["outage"].quantity, lines["outage"].gross_minor) == (2, 0)
    assert lines["ride"].quantity == 8


def test_a_cancelled_rental_costs_nothing() -> None:
    lines = lines_of(a_plan(), ride_s=90, cancelled=True)
    assert list(lines) == ["cancelled"]
    assert total(lines.values()) == Money(0, "EUR")


def test_a_line_survives_json_and_can_be_taken_back() -> None:
    line = lines_of(a_plan(), ride_s=600)["ride"]
    assert Line.from_json(json.loads(json.dumps(line.as_json()))) == line
    assert total([line, line.reversed()]) == Money(0, "EUR")


def test_no_lines_have_no_total() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        total([])
