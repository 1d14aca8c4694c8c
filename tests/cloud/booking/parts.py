"""Stand-ins at booking's ports that keep their state in the database, so that a crash undoes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from cloud.booking import holds, reactions, service
from cloud.booking.holds import Hold
from cloud.booking.model import RideTimes
from cloud.booking.ports import (
    Bill,
    Customer,
    Errand,
    NotAskedError,
    Parts,
    Payer,
    Policy,
    Quote,
)
from cloud.booking.store import rentals, search
from cloud.booking.store.rentals import Rental
from cloud.booking.store.search import Seen, Vehicle
from cloud.events.devices import CommandEnded
from cloud.events.payments import AuthorisationDeclined, Authorised
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.events import Subscriber, publish, run_due
from cloud.kit.http import Problem
from cloud.kit.money import Money
from cloud.kit.scope import DEMO, Scope

TABLES = """
CREATE SCHEMA IF NOT EXISTS fake;
CREATE TABLE IF NOT EXISTS fake.payment (
    rental_id uuid PRIMARY KEY,
    state text NOT NULL,
    captures integer NOT NULL DEFAULT 0,
    ride_s float8,
    asked_minor bigint
);
CREATE TABLE IF NOT EXISTS fake.fee (
    rental_id uuid NOT NULL,
    amount_minor bigint NOT NULL,
    reason text NOT NULL
);
CREATE TABLE IF NOT EXISTS fake.command (
    number bigint GENERATED ALWAYS AS IDENTITY,
    id uuid PRIMARY KEY,
    vehicle_id text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'pending'
);
"""
CENTRE = (52.52, 13.40)


def nothing_happens(_point: str) -> None:
    """No crash."""


@dataclass
class FakePayments:
    """Holds and captures as rows; `at` is told every point where a crash may come."""

    at: Callable[[str], None] = nothing_happens
    unpriced: frozenset[str] = frozenset()
    has_another: bool = False

    def quote(self, db: Db, scope: Scope, vehicle_type: str, at: datetime) -> Quote | None:
        if vehicle_type in self.unpriced:
            return None
        plan = {"type": vehicle_type, "at": at.isoformat()}
        return Quote(
            "Pay as you go",
            _eur(100),
            _eur(25),
            _eur(10),
            _eur(1_500),
            plan,
            _eur(350),
            is_flat=True,
        )

    def price(self, quote: Quote, used: RideTimes) -> Money:
        minutes = -(-int(used.ride_s - used.pause_s - used.outage_s) // 60)
        return _eur(quote.unlock.amount_minor + minutes * quote.per_minute.amount_minor)

    def authorise(self, db: Db, scope: Scope, payer: Payer, amount: Money, at: datetime) -> None:
        self.at("before authorise")
        db.execute(
            "INSERT INTO fake.payment (rental_id, state) VALUES (%s, 'asked')",
            [payer.rental_id],
        )
        self.at("after authorise")

    def top_up(
        self, db: Db, scope: Scope, *, rental_id: UUID, quote: Quote, cost: Money, at: datetime
    ) -> None:
        db.execute(
            "UPDATE fake.payment SET asked_minor = greatest(asked_minor, %s) WHERE rental_id = %s",
            [cost.amount_minor, rental_id],
        )

    def try_another(
        self, db: Db, scope: Scope, payer: Payer, *, quote: Quote, cost: Money, at: datetime
    ) -> bool:
        return self.has_another

    def release(self, db: Db, scope: Scope, rental_id: UUID, at: datetime) -> None:
        self.at("before release")
        db.execute(
            "UPDATE fake.payment SET state = CASE state WHEN 'declined' THEN 'declined'"
            " WHEN 'captured' THEN 'released after capture' ELSE 'released' END"
            " WHERE rental_id = %s",
            [rental_id],
        )
        self.at("after release")

    def capture(self, db: Db, scope: Scope, bill: Bill, at: datetime) -> None:
        self.at("before capture")
        db.execute(
            "UPDATE fake.payment SET captures = captures + 1, ride_s = %s, state ="
            " CASE state WHEN 'authorised' THEN 'captured' ELSE 'captured from ' || state END"
            " WHERE rental_id = %s",
            [bill.used.ride_s, bill.rental_id],
        )
        for fee in bill.fees:
            db.execute(
                "INSERT INTO fake.fee VALUES (%s, %s, %s)",
                [bill.rental_id, fee.amount.amount_minor, fee.reason],
            )
        self.at("after capture")


@dataclass
class FakeVehicles:
    """Commands as rows. `deaf` vehicles cannot be asked."""

    at: Callable[[str], None] = nothing_happens
    deaf: set[str] = field(default_factory=set)

    def ask(self, db: Db, scope: Scope, errand: Errand, at: datetime) -> UUID:
        self.at("before ask")
        if errand.vehicle_id in self.deaf:
            raise NotAskedError(f"{errand.vehicle_id} never said hello")
        command_id = uuid4()
        db.execute(
            "INSERT INTO fake.command (id, vehicle_id, kind, at) VALUES (%s, %s, %s, %s)",
            [command_id, errand.vehicle_id, errand.kind, at],
        )
        self.at("after ask")
        return command_id


def _eur(minor: int) -> Money:
    return Money(minor, "EUR")


def fake_parts(
    clock: Clock, at: Callable[[str], None] = nothing_happens, policy: Policy | None = None
) -> Parts:
    """Everything booking needs, played."""
    return Parts(FakePayments(at), FakeVehicles(at), policy or Policy(), clock)


def a_customer(number: int = 1, scope: Scope = DEMO) -> Customer:
    """Somebody who rents."""
    return Customer(scope, str(UUID(int=1_000 + number)))


def a_vehicle(
    db: Db,
    vehicle_id: str = "booked-001",
    *,
    kind: str = "scooter",
    rentable: bool = True,
    lat: float | None = CENTRE[0],
    lon: float | None = CENTRE[1],
    soc_pct: float | None = 80.0,
    max_range_m: int | None = 40_000,
    at: datetime,
) -> str:
    """A vehicle that search knows, placed at `at`."""
    vehicle = Vehicle(
        vehicle_id,
        DEMO.tenant,
        DEMO.city,
        vehicle_id,
        kind,
        vehicle_id,
        rentable,
        None,
        None,
        None,
        None,
        f"e_{kind}",
        max_range_m,
    )
    search.put(db, DEMO, vehicle)
    search.see(db, [Seen(vehicle_id, lat, lon, soc_pct, at)])
    return vehicle_id


@dataclass
class World:
    """Booking with played neighbours, on one connection: what a test drives."""

    db: Db
    clock: Any
    parts: Parts
    subscribers: Sequence[Subscriber] = ()

    def __post_init__(self) -> None:
        self.subscribers = reactions.subscribers(self.parts)

    @property
    def now(self) -> datetime:
        found: datetime = self.clock.now()
        return found

    def hold(self, vehicle_id: str = "booked-001", customer: int = 1, minutes: int = 15) -> Hold:
        return holds.hold(self.db, self.parts, a_customer(customer), vehicle_id, minutes, self.now)

    def start(self, hold_id: UUID, customer: int = 1) -> Rental:
        return service.start(self.db, self.parts, a_customer(customer), hold_id, "card-1", self.now)

    def rental(self, rental_id: UUID) -> Rental:
        found = rentals.find(self.db, rental_id)
        assert found is not None
        return found

    def deliver(self) -> int:
        """Let everything that is due be delivered."""
        return run_due(self.db, self.subscribers, self.now)

    def pay(self, rental_id: UUID, *, declined: bool = False) -> None:
        """Let the provider answer."""
        about = {
            "tenant": DEMO.tenant,
            "city": DEMO.city,
            "rental_id": rental_id,
            "authorisation_id": rental_id,
            "customer_id": self.rental(rental_id).customer_id,
            "amount_minor": 1_500,
            "currency": "EUR",
            "at": self.now,
        }
        state = "declined" if declined else "authorised"
        self.db.execute(
            "UPDATE fake.payment SET state = %s WHERE rental_id = %s AND state = 'asked'",
            [state, rental_id],
        )
        if declined:
            publish(self.db, AuthorisationDeclined(**about, code="no_funds"), at=self.now)
        else:
            publish(self.db, Authorised(**about, capture_before=None), at=self.now)
        self.deliver()

    def commands(self, vehicle_id: str = "booked-001") -> list[tuple[UUID, str, str]]:
        """What a vehicle was asked, oldest first: id, kind, state."""
        return self.db.execute(
            "SELECT id, kind, state FROM fake.command WHERE vehicle_id = %s ORDER BY number",
            [vehicle_id],
        ).fetchall()

    def answer(
        self,
        state: str = "done",
        reason: str = "",
        *,
        command: UUID | None = None,
        vehicle_id: str = "booked-001",
        at: datetime | None = None,
        run: tuple[str, float] | None = None,
    ) -> None:
        """Let a vehicle answer a command, its newest unless told otherwise.

        `run` is its boot and the seconds on its monotonic clock, if it tells.
        """
        told = {row[0]: row for row in self.commands(vehicle_id)}
        chosen = command or list(told)[-1]
        ended = CommandEnded(
            tenant=DEMO.tenant,
            city=DEMO.city,
            vehicle_id=vehicle_id,
            device_id=vehicle_id,
            command_id=chosen,
            kind=told[chosen][1],
            state=state,
            reason=reason,
            ended_at=at or self.now,
            boot=run and run[0],
            mono_s=run and run[1],
        )
        self.db.execute("UPDATE fake.command SET state = %s WHERE id = %s", [state, chosen])
        publish(self.db, ended, at=self.now)
        self.deliver()

    def riding(self, vehicle_id: str = "booked-001", customer: int = 1) -> Rental:
        """A rental whose vehicle has unlocked."""
        rental = self.start(self.hold(vehicle_id, customer).id, customer)
        self.pay(rental.id)
        self.answer(vehicle_id=vehicle_id)
        return self.rental(rental.id)

    def payment(self, rental_id: UUID) -> tuple[str, int]:
        """How the money of a rental stands, and how often it was captured."""
        row = self.db.execute(
            "SELECT state, captures FROM fake.payment WHERE rental_id = %s", [rental_id]
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    def told(self, subject: object = None) -> list[str]:
        """What booking has published, oldest first, without its timers."""
        rows = self.db.execute(
            "SELECT type FROM kit.event WHERE source = '/cloud/booking' AND due = \"time\""
            " AND (%s::text IS NULL OR subject = %s) ORDER BY ctid",
            [str(subject) if subject else None, str(subject)],
        ).fetchall()
        return [row[0].removeprefix("booking.").removesuffix(".v1") for row in rows]

    def live(self, vehicle_id: str = "booked-001") -> list[tuple[str, str]]:
        """What takes a vehicle: kind and state."""
        return self.db.execute(
            "SELECT kind, state FROM booking.calendar WHERE vehicle_id = %s"
            " AND state IN ('held', 'confirmed', 'active', 'blocked')",
            [vehicle_id],
        ).fetchall()


def offered(problem: Problem) -> list[Mapping[str, Any]]:
    """The alternatives of a refusal."""
    alternatives = problem.more["alternatives"]
    assert isinstance(alternatives, list)
    return alternatives
