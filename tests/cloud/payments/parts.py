"""What tests of payments are made of: a plan, a seller, a customer with a card, a sandbox."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import uvicorn
from fastapi import FastAPI

from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool
from cloud.kit.money import Money
from cloud.kit.ports.payment import SandboxPayments
from cloud.kit.scope import DEMO
from cloud.payments import api
from cloud.payments.api import Document, Facts, Method, Plan, Seller, Settler, Usage
from simulator.sandbox_payments.bank import Bank
from simulator.sandbox_payments.server import build
from simulator.sandbox_payments.webhooks import Teller

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
KEY, SECRET = "a-key-of-tests", "a-secret-of-tests"
SELLER = Seller(
    "Example Mobility GmbH",
    "DE123456789",
    "Hauptstraße 1, 10115 Berlin",
    "DEMO-",
    "https://example.org/disputes/{rental_id}",
    14,
    "2026-01",
)
FACTS = Facts(
    customer_name="Łucja Żółć",
    vehicle_type="E-scooter",
    vehicle_number="S-042",
    started_at=NOON,
    ended_at=NOON + timedelta(minutes=17),
    time_zone="Europe/Berlin",
    start_place="Markt",
    end_place="Bahnhof, bay 3",
)


def a_plan(**changes: Any) -> Plan:
    """EUR 1.00 to unlock, 0.25 a minute, 0.10 a minute of pause; 19 % tax inside."""
    told: dict[str, Any] = {
        "plan_id": "city",
        "name": [{"text": "City", "language": "en"}, {"text": "Stadt", "language": "de"}],
        "description": [{"text": "By the minute", "language": "en"}],
        "currency": "EUR",
        "price": 1,
        "is_taxable": False,
        "per_min_pricing": [{"start": 0, "rate": 0.25, "interval": 1}],
        "tax_rate_bp": 1900,
        "pause_per_min": 0.1,
        "hold_amount": 5,
        "vehicle_types": ["scooter"],
        "valid_from": "2026-01-01T00:00:00.000Z",
    }
    return Plan.from_json(told | changes)


@dataclass(slots=True)
class Served:
    """An application behind a real port."""

    url: str
    app: FastAPI


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[Served]:
    """Serve an application in a thread."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(f"http://127.0.0.1:{port}", app)
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)


@dataclass(slots=True)
class Sandbox:
    """A sandbox server, and its inside for assertions."""

    url: str
    bank: Bank
    teller: Teller

    def control(self, **wanted: Any) -> dict[str, Any]:
        """Let things go wrong, as its users would."""
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{self.url}/control", json=wanted, headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def captured(self, rental_id: UUID | None = None) -> list[int]:
        """Return the captures there were."""
        return [
            told["amount_minor"] for told in self.bank.transactions if told["kind"] == "capture"
        ]

    def reset(self) -> None:
        """Forget everything."""
        self.bank.transactions.clear()
        self.bank.payments.clear()
        self.bank.answers.clear()
        self.control(faults=[], webhooks="normal", idempotency=True, hang_s=30)


@contextlib.contextmanager
def a_sandbox(clock: ManualClock, file: Path | None = None) -> Iterator[Sandbox]:
    """Serve a sandbox."""
    teller = Teller(None, SECRET, clock)
    bank = Bank(clock, file, teller.tell)
    with served(build(bank, teller, KEY)) as server:
        yield Sandbox(server.url, bank, teller)


def a_card(token: str = "tok_ok", last4: str = "4242") -> Method:
    """A card as identity would hand it over."""
    return Method(uuid4(), "sandbox", token, last4)


@dataclass(slots=True)
class Till:
    """A pool, a provider and hands: everything that money takes."""

    pool: Pool
    clock: ManualClock
    sandbox: Sandbox
    provider: SandboxPayments
    settler: Settler

    def authorise(
        self, token: str = "tok_ok", amount_minor: int = 500, customer_id: str | None = None
    ) -> UUID:
        """Ask for a hold of a new rental; return the rental."""
        rental_id = uuid4()
        with self.pool.connection() as db:
            api.authorise(
                db,
                DEMO,
                customer_id=customer_id or str(uuid4()),
                rental_id=rental_id,
                amount=Money(amount_minor, "EUR"),
                card=a_card(token),
                at=self.clock.now(),
            )
        return rental_id

    def authorised(
        self, token: str = "tok_ok", amount_minor: int = 500, customer_id: str | None = None
    ) -> UUID:
        """Hold for a new rental."""
        rental_id = self.authorise(token, amount_minor, customer_id)
        self.settler.settle_due()
        return rental_id

    def capture(self, rental_id: UUID, minutes: int = 10, **changes: Any) -> Document:
        """End a rental of so many minutes."""
        with self.pool.connection() as db:
            return a_capture(db, rental_id, minutes, self.clock.now(), **changes)

    def hold(self, rental_id: UUID) -> api.Authorisation:
        """How the hold stands."""
        with self.pool.connection() as db:
            found = api.authorisation(db, DEMO, rental_id)
        assert found is not None
        return found

    def wait(self, seconds: float = 3600, times: int = 1) -> None:
        """Let time pass, and what is due be done."""
        for _ in range(times):
            self.clock.advance(timedelta(seconds=seconds))
            self.settler.settle_due()

    def timeline(self, rental_id: UUID) -> list[str]:
        """The kinds of ledger entries of a rental."""
        with self.pool.connection() as db:
            return [entry["kind"] for entry in api.money_timeline(db, DEMO, rental_id)]

    def balance(self, code: str) -> int:
        """An account's balance."""
        with self.pool.connection() as db:
            row = db.execute(
                "SELECT coalesce(sum(amount_minor), 0) FROM payments.posting"
                " JOIN payments.account ON account.id = account_id WHERE code = %s",
                (code,),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def told(self, rental_id: UUID) -> list[str]:
        """The types of events about a rental, in the order in which they were written."""
        with self.pool.connection() as db:
            rows = db.execute(
                "SELECT type FROM kit.event WHERE subject = %s ORDER BY ctid", (str(rental_id),)
            ).fetchall()
        return [row[0].removeprefix("payments.").removesuffix(".v1") for row in rows]


def a_capture(
    db: Db, rental_id: UUID, minutes: int, at: datetime, plan: Plan | None = None, **facts: Any
) -> Document:
    """End a rental of so many minutes."""
    price = api.snapshot(plan or a_plan(), at)
    return api.capture_once(
        db,
        DEMO,
        rental_id=rental_id,
        lines=api.meter(price, Usage(minutes * 60)),
        price=price,
        facts=replace(FACTS, **facts),
        at=at,
    )
