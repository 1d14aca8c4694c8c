"""What is true of renting at any moment, and what when everything has come to rest."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

from cloud.booking.model import FINAL, times
from cloud.booking.store import rentals
from cloud.booking.store.rentals import Rental
from cloud.kit.scope import DEMO
from cloud.payments import api as payments
from cloud.payments import outside
from cloud.payments.store import books
from cloud.returns import api as returns
from tests.cloud.payments.parts import NOON
from tests.cloud.payments.test_meter import published
from tests.stories.rentals.city import PLAN
from tests.stories.rentals.world import World

_LIVE = "('held', 'confirmed', 'active', 'blocked')"
_OVERLAPS = f"""
SELECT a.vehicle_id, a.id, b.id FROM booking.calendar a JOIN booking.calendar b
ON a.vehicle_id = b.vehicle_id AND a.id < b.id AND a.during && b.during
WHERE a.state IN {_LIVE} AND b.state IN {_LIVE}
"""
_UNBALANCED = """
SELECT entry_id, currency, sum(amount_minor) FROM payments.posting
GROUP BY entry_id, currency HAVING sum(amount_minor) <> 0
"""
_RIDING_TWICE = """
SELECT customer_id, count(*) FROM booking.rental
WHERE state NOT IN ('accepted', 'ended', 'cancelled') GROUP BY customer_id HAVING count(*) > 1
"""
_NEVER = {
    "two uses overlap": _OVERLAPS,
    "an entry is unbalanced": _UNBALANCED,
    "somebody rides twice": _RIDING_TWICE,
}
_VEHICLES_OF_RENTALS = """
SELECT r.id, r.state, c.state FROM booking.rental r
FULL JOIN (SELECT * FROM booking.calendar WHERE kind = 'rental') c ON c.id = r.calendar_id
"""
_NOT_AT_REST = {
    "events wait": "SELECT entrypoint, payload FROM pgqueuer.pgqueuer",
    "the bank is still asked": "SELECT id, kind FROM payments.operation WHERE ended_at IS NULL",
    "a vehicle is taken": f"SELECT * FROM booking.calendar WHERE state IN {_LIVE}",
    "a vehicle is lost": "SELECT id, state FROM fleet.vehicle WHERE state <> 'available'",
}
_NUMBERS = "SELECT number FROM payments.document ORDER BY series, number"
_BILLED = """
SELECT a.rental_id, a.id, sum(d.total_minor) FROM payments.authorisation a
LEFT JOIN payments.document d ON d.rental_id = a.rental_id GROUP BY a.rental_id, a.id
"""


def at_any_time(world: World) -> None:
    """Nothing overlaps, the books balance, nobody is charged twice, no vehicle is lost."""
    for what, query in _NEVER.items():
        found = _rows(world, query)
        assert found == [], f"{what}: {found}"
    for rental_id, rental, calendar in _rows(world, _VEHICLES_OF_RENTALS):
        # A rental has its vehicle for as long as it lasts; no vehicle is taken by nobody.
        is_under_way = rental is not None and rental not in FINAL
        assert (calendar == "active") == is_under_way, (rental_id, rental, calendar)
    nobody_is_charged_twice(world)


def nobody_is_charged_twice(world: World) -> None:
    """The bank has taken money for a rental at most once, and no more than its invoice."""
    moved = world.sandbox.bank.transactions
    captures = Counter(each["reference"] for each in moved if each["kind"] == "capture")
    assert set(captures.values()) <= {1}, f"charged twice: {captures}"
    taken = {each["reference"]: each["amount_minor"] for each in moved}
    by_rental: Counter[Any] = Counter()
    for rental_id, hold_id, billed in _rows(world, _BILLED):
        if str(hold_id) in taken:
            by_rental[rental_id] += 1
            assert taken[str(hold_id)] <= (billed or 0), f"{rental_id} is charged too much"
    assert set(by_rental.values()) <= {1}, f"charged twice: {by_rental}"
    assert sum(by_rental.values()) == len(captures)


def at_rest(world: World) -> None:
    """Everything is over: booking, fleet, vehicles, payments, returns and the bank agree."""
    at_any_time(world)
    for what, query in _NOT_AT_REST.items():
        found = _rows(world, query)
        assert found == [], f"{what}: {found}"
    assert not any(world.street.open.values()), f"left open: {world.street.open}"
    for (rental_id,) in _rows(world, "SELECT id FROM booking.rental ORDER BY id"):
        rental = rentals.find(world.db, rental_id)
        assert rental is not None
        _rental_at_rest(world, rental)
    _books_at_rest(world)


def _rental_at_rest(world: World, rental: Rental) -> None:
    assert rental.state in FINAL
    hold = payments.authorisation(world.db, DEMO, rental.id)
    assert hold is not None
    documents = books.documents(world.db, DEMO, rental.id)
    at_bank = [
        payment
        for payment in world.sandbox.bank.payments.values()
        if payment.reference == str(hold.id)
    ]
    # Another card's hold takes the place of the first one's, and lets that go.
    statuses = [each.status for each in at_bank if each.status not in ("cancelled", "declined")]
    assert len(statuses) <= 1, f"held twice: {at_bank}"
    made = returns.find_return(world.db, rental.id)
    if rental.state == "cancelled":
        assert documents == []
        assert hold.state in ("declined", "released"), f"the hold of {rental.id} is {hold.state}"
        assert statuses == []
        assert hold.captured_minor == 0
        return
    (invoice,) = documents
    ride, fee = invoice.lines[0], [line for line in invoice.lines if line.kind == "fee"]
    timeline = rentals.timeline(world.db, rental.id)
    used = times(timeline)
    seconds = round(used.ride_s - used.pause_s - used.outage_s, 6)
    minutes = max(0, -(-int(seconds * 1_000_000) // 60_000_000))
    assert ride.kind == "ride"
    assert Decimal(ride.amount_minor) == published(PLAN, minutes) * 100
    agreed = {0 if made is None else made.fee_minor}
    if any(entry.kind == "closed" for entry in timeline):
        # Whom staff close before the return is decided pays for the ride alone.
        agreed.add(0)
    assert sum(line.net_minor + line.tax_minor for line in fee) in agreed, f"fees: {fee}"
    due = min(invoice.total_minor, hold.held_minor)
    assert (hold.state, hold.captured_minor) in (("captured", due), ("capture_failed", 0))
    assert sum(payment.captured_minor for payment in at_bank) == hold.captured_minor
    if hold.state == "captured":
        assert statuses == ["captured"]


def _books_at_rest(world: World) -> None:
    numbers = [row[0] for row in _rows(world, _NUMBERS)]
    assert numbers == list(range(1, len(numbers) + 1))
    owed = _rows(
        world,
        "SELECT coalesce(sum(amount_minor), 0) FROM payments.posting"
        " JOIN payments.account ON account.id = account_id WHERE code LIKE 'receivable/%'",
    )
    billed = _rows(world, "SELECT coalesce(sum(total_minor), 0) FROM payments.document")
    moved = sum(each["amount_minor"] for each in world.sandbox.bank.transactions)
    assert owed[0][0] == billed[0][0] - moved
    world.clock.advance(timedelta(hours=3))
    now = world.clock.now()
    theirs = list(world.settler.providers["sandbox"].transactions(NOON, now))
    assert list(outside.reconcile(world.db, "sandbox", theirs, NOON, now, now)) == []


def _rows(world: World, query: str) -> list[tuple[Any, ...]]:
    return world.db.execute(query.encode()).fetchall()
