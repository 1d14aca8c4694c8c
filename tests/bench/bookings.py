"""Booking: search among 10,000 vehicles, holds, and many who want one vehicle at once.

The last is done twice: as the house does it, and by checking first and inserting then, on a table
without the constraint, to count how often two people would have had one vehicle.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import UUID, uuid4

from cloud.booking import holds
from cloud.booking.adapters import real_parts
from cloud.booking.finding import Near, find
from cloud.booking.model import Place
from cloud.booking.ports import Customer, Parts
from cloud.booking.problems import TakenError
from cloud.booking.store import search
from cloud.booking.store.search import Seen, Vehicle
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, connect, open_pool
from cloud.kit.migrations import migrate
from cloud.kit.postgres import EmbeddedPostgres
from cloud.kit.scope import DEMO
from cloud.payments import api as payments
from tests.bench.rows import Row, Target, at_most

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
CENTRE = Place(52.52, 13.40)
VEHICLES, FEW = 10_000, 500
SEARCHES, HOLDS, PEOPLE, ROUNDS = 1_000, 500, 200, 5
WIDE_DEGREES = 0.06
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
CHECKED = """
CREATE TABLE checked (
    vehicle_id text NOT NULL, customer_id text NOT NULL, during tstzrange NOT NULL
);
CREATE INDEX checked_by_vehicle ON checked (vehicle_id);
"""


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield p50 and p99 of search and hold, and what came of many who want one vehicle."""
    with EmbeddedPostgres(work / "postgres") as server:
        dsn = server.dsn_of("postgres")
        migrate(dsn, ["payments", "booking"])
        parts = real_parts(ManualClock(NOW))
        count = FEW if quick else VEHICLES
        with connect(dsn) as db:
            payments.add_plan(db, DEMO, payments.Plan.from_json(PLAN), NOW)
            _fill(db, count)
            db.execute(CHECKED.encode())
            yield from _searches(db, parts, count, FEW if quick else SEARCHES)
            yield from _alternatives(db, count, FEW if quick else SEARCHES)
        with open_pool(dsn, max_size=PEOPLE // 8) as pool:
            yield from _holds(pool, parts, FEW // 10 if quick else HOLDS)
            yield from _crowds(pool, parts, 1 if quick else ROUNDS)


def _fill(db: Db, count: int) -> None:
    dice = random.Random(1)
    with db.transaction():
        for number in range(count):
            name = f"v-{number:05}"
            search.put(db, DEMO, _vehicle(name))
        spread = [
            Seen(
                f"v-{number:05}",
                CENTRE.lat + dice.uniform(-WIDE_DEGREES, WIDE_DEGREES),
                CENTRE.lon + dice.uniform(-WIDE_DEGREES, WIDE_DEGREES),
                dice.uniform(5, 100),
                NOW,
            )
            for number in range(count)
        ]
        search.see(db, spread)
    db.execute("ANALYZE booking.vehicle")


def _vehicle(name: str) -> Vehicle:
    return Vehicle(
        name, DEMO.tenant, DEMO.city, name, "scooter", name, True, None, None, None, None
    )


def _searches(db: Db, parts: Parts, vehicles: int, times: int) -> Iterator[Row]:
    dice = random.Random(2)
    spent: list[float] = []
    for _ in range(times):
        wide = WIDE_DEGREES * 0.9
        place = Place(
            CENTRE.lat + dice.uniform(-wide, wide), CENTRE.lon + dice.uniform(-wide, wide)
        )
        near = Near(place, radius_m=1_000, vehicle_type="scooter", min_soc_pct=20)
        spent.append(_seconds(lambda near=near: find(db, parts, DEMO, near, NOW)))  # type: ignore[misc]
    note = f"1 km, type, charge, free, with price, at most 50; {vehicles:,} vehicles"
    yield from _of("search", spent, note, at_most(20), at_most(20))


def _alternatives(db: Db, vehicles: int, times: int) -> Iterator[Row]:
    dice = random.Random(3)
    spent: list[float] = []
    for _ in range(times):
        vehicle = search.find(db, DEMO, f"v-{dice.randrange(vehicles):05}")
        assert vehicle is not None
        spent.append(_seconds(lambda vehicle=vehicle: holds.alternatives(db, vehicle, NOW)))  # type: ignore[misc]
    note = f"the nearest three, of one kind first; {vehicles:,} vehicles"
    yield from _of("alternatives", spent, note, at_most(20), at_most(20))


def _holds(pool: Pool, parts: Parts, times: int) -> Iterator[Row]:
    def one(number: int) -> float:
        with pool.connection() as db:
            return _seconds(
                lambda: holds.hold(db, parts, _customer(number), f"v-{number:05}", 15, NOW)
            )

    yield from _of("hold", [one(number) for number in range(times)], "one at a time", None, None)


def _crowds(pool: Pool, parts: Parts, rounds: int) -> Iterator[Row]:
    """200 people and one vehicle, each way."""

    def wants(name: str) -> Callable[[int], bool]:
        def want(number: int) -> bool:
            try:
                with pool.connection() as db:
                    holds.hold(db, parts, _customer(number), name, 15, NOW)
            except TakenError:
                return False
            return True

        return want

    def checks(name: str) -> Callable[[int], bool]:
        def check(number: int) -> bool:
            with pool.connection() as db:
                return _check_then_insert(db, name, _customer(number).id)

        return check

    spent: list[float] = []
    got: list[int] = []
    twice = 0
    for turn in range(rounds):
        name = f"v-{VEHICLES + turn:05}"
        with pool.connection() as db:
            search.put(db, DEMO, _vehicle(name))
        begun = time.monotonic()
        got.append(_at_once(wants(name)))
        spent.append(time.monotonic() - begun)
        twice += _at_once(checks(name)) - 1
    tries = f"{PEOPLE} people, one vehicle, {rounds} times"
    yield Row("bookings: who got the vehicle, most", max(got), "people", at_most(1), tries)
    yield Row(
        "bookings: overlaps by check, then insert", twice, "people", note=f"the plain way; {tries}"
    )
    yield Row("bookings: a crowd is answered in", max(spent) * 1000, "ms", note=f"all; {tries}")


def _check_then_insert(db: Db, vehicle_id: str, customer_id: str) -> bool:
    until = NOW + timedelta(minutes=15)
    with db.transaction():
        taken = db.execute(
            "SELECT count(*) FROM checked WHERE vehicle_id = %s AND during && tstzrange(%s, %s)",
            (vehicle_id, NOW, until),
        ).fetchone()
        if taken != (0,):
            return False
        db.execute(
            "INSERT INTO checked VALUES (%s, %s, tstzrange(%s, %s))",
            (vehicle_id, customer_id, NOW, until),
        )
    return True


def _at_once(want: Callable[[int], bool]) -> int:
    with ThreadPoolExecutor(PEOPLE // 8) as people:
        return sum(people.map(want, range(PEOPLE)))


def _customer(number: int) -> Customer:
    return Customer(DEMO, str(UUID(int=number + 1)) if number else str(uuid4()))


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _of(
    name: str, seconds: Sequence[float], note: str, half: Target | None, most: Target | None
) -> Iterator[Row]:
    cuts = quantiles(seconds, n=100, method="inclusive")
    yield Row(f"bookings: {name}, p50", cuts[49] * 1000, "ms", half, note)
    yield Row(f"bookings: {name}, p99", cuts[98] * 1000, "ms", most, note)
