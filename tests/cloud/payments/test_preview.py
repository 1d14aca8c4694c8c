"""What is told before one rides is what the invoice says after it."""

import pytest

from cloud.payments import api
from cloud.payments.api import Usage
from tests.cloud.payments.parts import NOON, a_plan

STEPS = {
    "price": 0.37,
    "is_taxable": True,
    "tax_rate_bp": 1937,
    "per_min_pricing": [
        {"start": 0, "rate": 0.5, "interval": 0},
        {"start": 0, "rate": 0.13, "interval": 2, "end": 3},
        {"start": 1, "rate": 0.29, "interval": 1},
    ],
}


def test_steps_net_are_told_as_what_ten_minutes_cost_with_tax() -> None:
    plan = a_plan(**STEPS)
    told = api.preview(plan)
    # 0.37 + 0.50 + 2 x 0.13 + 9 x 0.29 = 3.74 net, 4.46 with 19.37 %.
    assert told.for_10_min.amount_minor == 446
    assert (told.unlock.amount_minor, told.first_minute.amount_minor) == (44, 119)
    assert not told.is_flat


@pytest.mark.parametrize("changes", [STEPS, {}, {"ride_cap": 2}, {"is_taxable": True}])
def test_ten_minutes_are_told_as_they_are_invoiced(changes: dict[str, object]) -> None:
    plan = a_plan(**changes)
    lines = api.meter(api.snapshot(plan, NOON), Usage(600.0))
    assert api.preview(plan).for_10_min == api.total(lines)


def test_a_flat_plan_costs_by_the_minute() -> None:
    told = api.preview(a_plan())
    assert told.is_flat
    assert (told.unlock.amount_minor, told.per_minute.amount_minor) == (100, 25)


def test_a_flat_net_plan_is_flat_when_a_minute_is_whole_cents_with_tax() -> None:
    # 0.25 net is 0.2975 with 19 %: no minute costs 0.30.
    assert not api.preview(a_plan(is_taxable=True)).is_flat
    told = api.preview(a_plan(is_taxable=True, tax_rate_bp=2000))
    assert told.is_flat
    assert (told.unlock.amount_minor, told.per_minute.amount_minor) == (120, 30)


@pytest.mark.parametrize(
    "changes",
    [
        {"per_min_pricing": [{"start": 0, "rate": 0.25, "interval": 2}]},
        {"per_min_pricing": [{"start": 1, "rate": 0.25, "interval": 1}]},
        {"per_min_pricing": [{"start": 0, "rate": 0.25, "interval": 1, "end": 30}]},
        {"per_km_pricing": [{"start": 0, "rate": 0.25, "interval": 1}]},
    ],
)
def test_what_is_not_one_price_for_every_minute_is_not_flat(changes: dict[str, object]) -> None:
    assert not api.preview(a_plan(**changes)).is_flat
