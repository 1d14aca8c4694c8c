"""Returns on the real contexts below it: telemetry's last fix, payments' invoice."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud.booking.adapters import LedgerPayments
from cloud.booking.api import Fee
from cloud.booking.model import RideTimes
from cloud.booking.ports import Bill, Facts, Payer
from cloud.devices import api as devices
from cloud.devices.commit import Parts as Commit
from cloud.devices.commit import commit_batch
from cloud.devices.opening import open_all
from cloud.fleet.model import Vehicle
from cloud.fleet.states import add_vehicle
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db
from cloud.kit.ids import new_id
from cloud.kit.money import Money
from cloud.kit.scope import DEMO, Scope
from cloud.payments import api as payments
from cloud.returns import api
from cloud.returns.adapters import FleetGrounds, TelemetryFixes
from cloud.returns.model import Position
from cloud.returns.ports import NoRoomError
from cloud.telemetry import api as telemetry
from protocol.signals import BY_KEY
from tests.cloud.booking.parts import fake_parts
from tests.cloud.fleet.city import at_m
from tests.cloud.returns.parts import Ending, a_photo, settle
from tests.cloud.sealed import DEVICE, NOON, NOON_MS, arrival, signals

PLAN: dict[str, Any] = {
    "plan_id": "go",
    "name": "Go",
    "currency": "EUR",
    "price": 1.0,
    "is_taxable": False,
    "per_min_pricing": [{"start": 0, "rate": 0.25, "interval": 1}],
    "tax_rate_bp": 1900,
    "hold_amount": 15.0,
    "vehicle_types": ["scooter"],
    "valid_from": "2026-01-01T00:00:00Z",
}


def a_vehicle(db: Db) -> None:
    devices.enrol(db, DEVICE, "jbd_uart", NOON)
    add_vehicle(db, DEMO, Vehicle(DEVICE, DEVICE, "scooter", DEVICE, "available"), NOON)


def test_a_vehicles_last_fix_is_what_telemetry_kept(db: Db) -> None:
    fixes = TelemetryFixes()
    a_vehicle(db)
    assert fixes.last(db, DEMO, DEVICE, NOON, 5.0) is None
    columns = {
        BY_KEY["latitude_deg"].id: [52_520_000],
        BY_KEY["longitude_deg"].id: [13_405_000],
        BY_KEY["speed_kmh"].id: [180],
    }
    candidates, _ = open_all([arrival(signals(1, 1, start_ms=NOON_MS, columns=columns))], {})
    parts = Commit(telemetry.keep, (telemetry.project,))
    commit_batch(db, candidates, (), parts, NOON)
    within = timedelta(seconds=30)
    assert fixes.speed_kmh(db, DEMO, DEVICE, NOON + within, within) == pytest.approx(18.0)
    assert fixes.speed_kmh(db, DEMO, DEVICE, NOON + within * 1.1, within) is None
    assert fixes.speed_kmh(db, DEMO, "nobody", NOON, within) is None
    found = fixes.last(db, DEMO, DEVICE, NOON + timedelta(seconds=9), 5.0)
    assert found == Position(52.52, 13.405, 5.0, NOON, "vehicle")
    assert fixes.last(db, Scope("demo", "elsewhere"), DEVICE, NOON, 5.0) is None
    assert fixes.last(db, DEMO, "nobody", NOON, 5.0) is None


def test_a_vehicle_that_fleet_does_not_know_stands_on_unknown_ground(db: Db) -> None:
    bays = settle(db, NOON)
    where = Position(52.52, 13.405, 5.0, NOON, "phone")
    grounds = FleetGrounds()
    assert grounds.judge(db, DEMO, "nobody", where, NOON).answer == "unknown"
    with pytest.raises(NoRoomError):
        grounds.keep(db, DEMO, bays["centre"], "nobody", NOON + timedelta(minutes=1), NOON)
    with pytest.raises(NoRoomError):
        grounds.take(db, DEMO, new_id(), "nobody", NOON)
    a_vehicle(db)
    ground = grounds.judge(db, DEMO, DEVICE, where, NOON)
    assert (ground.answer, [bay.name for bay in ground.alternatives]) == ("inside", ["East"])
    away = at_m(100, 0)
    outside = replace(where, lat=away.lat, lon=away.lon)
    told = grounds.judge(db, DEMO, DEVICE, outside, NOON)
    assert (told.answer, told.zone, told.is_certain) == ("outside", "Town", True)
    assert [(bay.name, bay.distance_m) for bay in told.alternatives] == [
        ("Centre", 95),
        ("East", 95),
    ]


@pytest.mark.parametrize("is_taxable", [False, True])
def test_a_fee_is_a_line_of_the_invoice_and_costs_what_was_told(db: Db, is_taxable: bool) -> None:
    payments.add_plan(db, DEMO, payments.Plan.from_json(PLAN | {"is_taxable": is_taxable}), NOON)
    seller = payments.Seller("Demo", "DE1", "Street 1", "DEMO-", "http://demo/{rental_id}")
    payments.set_seller(db, DEMO, seller)
    ledger, rental_id = LedgerPayments(public_url="https://ride.example.org/"), new_id()
    quote = ledger.quote(db, DEMO, "scooter", NOON)
    assert quote is not None
    payer = Payer(str(new_id()), rental_id, "default")
    ledger.authorise(db, DEMO, payer, Money(0, "EUR"), NOON)
    facts = Facts("somebody", "one", "scooter", NOON, NOON, None, None)
    used = RideTimes(60, 0, 0, called_off=False, basis="wall")
    fee = Fee(Money(499, "EUR"), "Ended outside a bay, as agreed")
    for _ in range(2):
        ledger.capture(db, DEMO, Bill(rental_id, quote, used, facts, [fee]), NOON)
    receipt = payments.receipt(db, DEMO, rental_id)
    assert receipt is not None
    rows = db.execute("SELECT lines, total_minor FROM payments.document").fetchall()
    assert len(rows) == 1
    (line,) = [one for one in rows[0][0] if one["kind"] == "fee"]
    assert line["net_minor"] + line["tax_minor"] == 499
    assert line["reason"] == "Ended outside a bay, as agreed"
    assert line["link"] == f"https://ride.example.org/ride/rentals/{rental_id}"
    assert receipt["fees"][0]["link"] == line["link"]
    assert rows[0][1] == 499 + ledger.price(quote, used).amount_minor


def test_photos_are_forgotten_when_their_time_is_over(
    ending: Ending, clock: ManualClock, tmp_path: Path
) -> None:
    parts = api.real_parts(fake_parts(clock), tmp_path)
    rental = ending.riding()
    ending.parts = replace(ending.parts, objects=parts.objects)
    row, _ = ending.send(rental, a_photo(place=(52.52, 13.4), taken_at=NOON))
    assert row.exif["DateTimeOriginal"] == NOON.strftime("%Y:%m:%d %H:%M:%S")
    assert parts.objects.get(row.key).startswith(b"\xff\xd8\xff")
    for days, gone in ((29, 0), (30, 1), (31, 0)):
        assert api.forget_photos(ending.db, parts, clock.now() + timedelta(days=days)) == gone
    with pytest.raises(KeyError):
        parts.objects.get(row.key)
    kept = ending.db.execute(
        "SELECT lat, is_gone, length(sha256), exif FROM returns.photo"
    ).fetchone()
    assert kept == (None, True, 32, {})
