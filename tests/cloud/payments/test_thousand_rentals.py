"""1,000 random rentals, from what their vehicles told to the money taken: GBFS says each ride's."""

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from cloud.booking.adapters import LedgerPayments
from cloud.booking.model import Entry, times
from cloud.booking.ports import Bill, Facts, Quote
from cloud.kit.scope import DEMO
from cloud.payments import api
from cloud.payments.store import books
from tests.cloud.payments.parts import NOON, Till, a_card, a_plan
from tests.cloud.payments.test_meter import published

RENTALS, PLANS, PAID = 1_000, 100, 150
"""The first ones are also paid at the bank; all have their invoice in the database."""
DIGITS = {"EUR": 2, "JPY": 0, "BHD": 3}


def a_random_plan(dice: random.Random, number: int) -> api.Plan:
    """A plan of any price and shape, for its own type of vehicles; its hold covers every ride."""
    currency = dice.choice([*DIGITS])
    unit = 10 ** DIGITS[currency]
    segments: list[dict[str, Any]] = []
    for _ in range(dice.randint(0, 4)):
        start = dice.randint(0, 60)
        segment = {"start": start, "rate": dice.randint(0, 500) / unit}
        segment["interval"] = dice.choice([0, 1, 1, dice.randint(2, 30)])
        if dice.random() < 0.5:
            segment["end"] = start + dice.randint(0, 90)
        segments.append(segment)
    return a_plan(
        plan_id=f"plan-{number}",
        currency=currency,
        price=dice.randint(0, 500) / unit,
        per_min_pricing=segments,
        is_taxable=dice.random() < 0.5,
        tax_rate_bp=dice.choice([0, 700, 1900, dice.randint(0, 3_000)]),
        pause_per_min=dice.randint(0, 50) / unit,
        hold_amount=10_000_000 // unit,
        vehicle_types=[f"kind-{number}"],
    )


def a_random_ride(dice: random.Random) -> tuple[list[Entry], int]:
    """A timeline with pauses and outages, and the whole minutes that it is billed for."""
    at_ms, billed_ms = 0, 0
    boot, from_ms = dice.choice([None, "boot-1"]), dice.randint(0, 10**7)

    def entry(kind: Any) -> Entry:
        mono_s = None if boot is None else (from_ms + at_ms) / 1000
        return Entry(kind, NOON + timedelta(milliseconds=at_ms), boot, mono_s)

    timeline = [entry("unlocked")]
    for _ in range(dice.randint(0, 3)):
        ridden_ms = dice.choice([dice.randint(0, 3_600_000), 60_000 * dice.randint(0, 30)])
        at_ms, billed_ms = at_ms + ridden_ms, billed_ms + ridden_ms
        began, ended = dice.choice([("paused", "resumed"), ("outage_began", "outage_ended")])
        timeline.append(entry(began))
        at_ms += dice.randint(1, 900_000)
        timeline.append(entry(ended))
    ridden_ms = dice.choice([dice.randint(0, 7_200_000), 60_000 * dice.randint(0, 90)])
    at_ms, billed_ms = at_ms + ridden_ms, billed_ms + ridden_ms
    timeline.append(entry("end_requested"))
    return timeline, -(-billed_ms // 60_000)


def charge(till: Till, quote: Quote, timeline: Sequence[Entry], *, settles: bool) -> UUID:
    """Hold, ride and bill, as booking does it."""
    rental_id, customer, now = uuid4(), str(uuid4()), till.clock.now()
    with till.pool.connection() as db:
        api.authorise(
            db,
            DEMO,
            customer_id=customer,
            rental_id=rental_id,
            amount=quote.hold,
            card=a_card(),
            at=now,
        )
        if settles:
            till.settler.settle_one()
        facts = Facts(customer, "S-042", "scooter", timeline[0].at, timeline[-1].at, None, None)
        kept = Quote.from_json(quote.as_json())
        LedgerPayments().capture(db, DEMO, Bill(rental_id, kept, times(timeline), facts), now)
        if settles:
            till.settler.settle_one()
    return rental_id


@pytest.mark.slow
def test_the_invoices_of_1000_random_rentals_are_what_the_feed_publishes(till: Till) -> None:
    dice = random.Random(random.randrange(2**32))  # of the run's own seed
    with till.pool.connection() as db:
        for number in range(PLANS):
            api.add_plan(db, DEMO, a_random_plan(dice, number), till.clock.now())
        feed = {plan.plan_id: plan.gbfs() for plan in api.plans(db, DEMO, till.clock.now())}
        quotes = [
            LedgerPayments().quote(db, DEMO, f"kind-{number}", till.clock.now())
            for number in range(PLANS)
        ]
    due: dict[UUID, tuple[dict[str, Any], int]] = {}
    for count in range(RENTALS):
        number = dice.randrange(PLANS)
        timeline, minutes = a_random_ride(dice)
        quote = quotes[number]
        assert quote is not None
        made = charge(till, quote, timeline, settles=count < PAID)
        due[made] = feed[f"plan-{number}"], minutes
    taken = {told["reference"]: told["amount_minor"] for told in till.sandbox.bank.transactions}
    numbers = []
    with till.pool.connection() as db:
        for count, (rental_id, (plan, minutes)) in enumerate(due.items()):
            (invoice,) = books.documents(db, DEMO, rental_id)
            ride = invoice.lines[0]
            assert ride.kind == "ride"
            told = Decimal(ride.amount_minor) / 10 ** DIGITS[plan["currency"]]
            assert told == published(plan, minutes), (plan, minutes)
            gross = sum(line.net_minor + line.tax_minor for line in invoice.lines)
            assert gross == invoice.total_minor
            numbers.append(invoice.number)
            if count < PAID:
                hold = api.authorisation(db, DEMO, rental_id)
                assert hold is not None
                assert taken.get(str(hold.id), 0) == hold.captured_minor == gross
    assert sorted(numbers) == list(range(1, RENTALS + 1))
