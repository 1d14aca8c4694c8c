"""Booking on the real contexts below it: devices' commands, payments' holds and invoices."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from cloud.booking import holds, problems, reactions, service
from cloud.booking.adapters import real_parts
from cloud.booking.model import Place
from cloud.booking.ports import Parts
from cloud.booking.store import rentals
from cloud.booking.store.rentals import Rental
from cloud.devices import api as devices
from cloud.events.devices import CommandEnded
from cloud.events.payments import Authorised
from cloud.fleet.city import import_city
from cloud.identity import api as identity
from cloud.identity.api import console
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, connect
from cloud.kit.events import publish, register, run_due
from cloud.kit.migrations import migrate
from cloud.kit.money import Money
from cloud.kit.scope import DEMO
from cloud.payments import api as payments
from tests.cloud.booking.parts import CENTRE, a_customer, a_vehicle
from tests.cloud.devices.commanded import an_able_device
from tests.cloud.fleet.city import CENTRE as BAY_CENTRE
from tests.cloud.fleet.city import a_city
from tests.cloud.identity.customers_parts import a_known_customer

VEHICLE = "real-0001"
PLAN: dict[str, Any] = {
    "plan_id": "go",
    "name": "Go",
    "currency": "EUR",
    "price": 1.0,
    "is_taxable": False,
    "per_min_pricing": [{"start": 0, "rate": 0.25, "interval": 1}],
    "pause_per_min": 0.1,
    "tax_rate_bp": 1900,
    "hold_amount": 15.0,
    "vehicle_types": ["scooter"],
    "valid_from": "2026-01-01T00:00:00Z",
}


@pytest.fixture(scope="module")
def dsn(dsn: str) -> str:
    """The module's database, with payments in it as well."""
    migrate(dsn, ["identity", "payments", "booking"])
    return dsn


@pytest.fixture
def parts(clock: ManualClock) -> Parts:
    return real_parts(clock)


@pytest.fixture
def city(dsn: str, clock: ManualClock, parts: Parts) -> Iterator[Db]:
    """A city with a price, a seller, a customer's card and a scooter whose device can lock."""
    with connect(dsn) as db, db.transaction(force_rollback=True):
        register(db, ["booking"], reactions.subscribers(parts))
        payments.add_plan(db, DEMO, payments.Plan.from_json(PLAN), clock.now())
        seller = payments.Seller("Demo", "DE1", "Street 1", "DEMO-", "http://demo/{rental_id}")
        payments.set_seller(db, DEMO, seller)
        a_card(db, clock)
        an_able_device(db, VEHICLE)
        a_vehicle(db, VEHICLE, at=clock.now())
        yield db


def a_card(db: Db, clock: ManualClock, customer: int = 1) -> None:
    rider = a_customer(customer)
    a_known_customer(db, rider.id, clock.now())
    card = identity.Card("sandbox", "tok_visa", "4242", "Visa")
    identity.add_payment_method(db, DEMO, rider.id, card, clock.now())


def start(db: Db, parts: Parts, customer: int = 1, method: str = "default") -> Rental:
    now = parts.clock.now()
    held = holds.hold(db, parts, a_customer(customer), VEHICLE, 15, now)
    return service.start(db, parts, a_customer(customer), held.id, method, now)


def authorised(db: Db, parts: Parts, rental: Rental) -> None:
    """The provider said yes, as the settler would tell it."""
    hold = payments.authorisation(db, DEMO, rental.id)
    assert hold is not None
    assert hold.state == "asked"
    db.execute(
        "UPDATE payments.authorisation SET state = 'authorised', held_minor = 1500 WHERE id = %s",
        [hold.id],
    )
    told = Authorised(
        tenant=DEMO.tenant,
        city=DEMO.city,
        rental_id=rental.id,
        authorisation_id=hold.id,
        customer_id=rental.customer_id,
        amount_minor=1_500,
        currency="EUR",
        at=parts.clock.now(),
        capture_before=None,
    )
    publish(db, told, at=parts.clock.now())
    deliver(db, parts)


def deliver(db: Db, parts: Parts) -> None:
    run_due(db, reactions.subscribers(parts), parts.clock.now())


def obeyed(db: Db, parts: Parts, kind: str) -> None:
    """The device did what it was asked last."""
    newest = devices.newest_commands(db, DEMO, VEHICLE, 1)[0]
    assert (newest.kind, newest.state) == (kind, "pending")
    told = CommandEnded(
        tenant=DEMO.tenant,
        city=DEMO.city,
        vehicle_id=VEHICLE,
        device_id=VEHICLE,
        command_id=newest.id,
        kind=kind,
        state="done",
        reason="",
        ended_at=parts.clock.now(),
    )
    publish(db, told, at=parts.clock.now())
    deliver(db, parts)


def test_a_ride_is_unlocked_by_devices_and_invoiced_by_payments(
    city: Db, parts: Parts, clock: ManualClock
) -> None:
    rental = start(city, parts)
    authorised(city, parts, rental)
    obeyed(city, parts, "unlock")
    clock.advance(timedelta(minutes=9, seconds=30))
    there = Place(CENTRE[0] + 0.01, CENTRE[1])
    service.end_requested(city, parts, rental.id, clock.now(), there)
    obeyed(city, parts, "lock")
    service.confirm_end(city, parts, rental.id, clock.now())
    ended = rentals.find(city, rental.id)
    assert ended is not None
    assert ended.state == "ended"
    receipt = payments.receipt(city, DEMO, rental.id)
    assert receipt is not None
    hold = payments.authorisation(city, DEMO, rental.id)
    assert hold is not None
    assert hold.state == "capturing"
    invoice = city.execute("SELECT total_minor FROM payments.document").fetchone()
    assert invoice == (100 + 10 * 25,)


def test_a_receipt_names_the_bay_a_ride_ends_in(city: Db, parts: Parts, clock: ManualClock) -> None:
    import_city(city, console(DEMO), "city", a_city(), clock.now())
    rental = start(city, parts)
    authorised(city, parts, rental)
    obeyed(city, parts, "unlock")
    clock.advance(timedelta(minutes=9))
    there = Place(BAY_CENTRE.lat, BAY_CENTRE.lon, 3.0)
    service.end_requested(city, parts, rental.id, clock.now(), there)
    obeyed(city, parts, "lock")
    service.confirm_end(city, parts, rental.id, clock.now())
    receipt = payments.receipt(city, DEMO, rental.id)
    assert receipt is not None
    assert receipt["end_place"] == "Centre (52.52000, 13.40500)"


def test_without_a_card_there_is_no_rental(city: Db, parts: Parts) -> None:
    with pytest.raises(problems.NotPayableProblem), city.transaction():
        start(city, parts, customer=2)
    with pytest.raises(problems.NotPayableProblem), city.transaction():
        start(city, parts, customer=2, method=str(uuid4()))
    with pytest.raises(problems.NotPayableProblem), city.transaction():
        start(city, parts, customer=2, method="no-uuid")
    assert start(city, parts).state == "authorising"


def test_a_vehicle_that_cannot_unlock_costs_nothing(
    city: Db, parts: Parts, clock: ManualClock
) -> None:
    city.execute("UPDATE devices.device SET capabilities = '{}'")
    rental = start(city, parts)
    authorised(city, parts, rental)
    cancelled = rentals.find(city, rental.id)
    assert cancelled is not None
    assert cancelled.reason == "not_unlocked"
    hold = payments.authorisation(city, DEMO, rental.id)
    assert hold is not None
    assert hold.state == "releasing"


def test_a_free_plan_needs_no_card_and_ends_with_an_invoice_of_nothing(
    city: Db, parts: Parts, clock: ManualClock
) -> None:
    free = PLAN | {"plan_id": "free", "price": 0, "per_min_pricing": [], "pause_per_min": 0}
    free |= {"hold_amount": 0, "valid_from": "2026-01-02T00:00:00Z"}
    payments.add_plan(city, DEMO, payments.Plan.from_json(free), clock.now())
    rental = start(city, parts, customer=2)
    deliver(city, parts)
    obeyed(city, parts, "unlock")
    clock.advance(timedelta(minutes=9))
    service.end_requested(city, parts, rental.id, clock.now())
    obeyed(city, parts, "lock")
    assert service.confirm_end(city, parts, rental.id, clock.now()).state == "ended"
    receipt = payments.receipt(city, DEMO, rental.id)
    assert receipt is not None
    assert receipt["total"]["amount_minor"] == 0


def test_a_plan_that_names_no_hold_holds_its_first_minute(
    city: Db, parts: Parts, clock: ManualClock
) -> None:
    plan = PLAN | {"plan_id": "lax", "hold_amount": 0, "valid_from": "2026-01-02T00:00:00Z"}
    payments.add_plan(city, DEMO, payments.Plan.from_json(plan), clock.now())
    quote = parts.payments.quote(city, DEMO, "scooter", clock.now())
    assert quote is not None
    assert quote.hold == Money(125, "EUR")
    with pytest.raises(problems.NotPayableProblem), city.transaction():
        start(city, parts, customer=2)
    assert start(city, parts).state == "authorising"
