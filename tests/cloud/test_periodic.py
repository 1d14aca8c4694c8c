"""What a serving process does without being asked: each of its tasks is seen at its work.

A real process on a database of this module; red when the task is not begun, or does nothing.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cloud.fleet import states
from cloud.fleet.model import Vehicle
from cloud.kit.clock import ManualClock
from cloud.kit.db import connect
from cloud.kit.scope import DEMO
from tests.broker import OpenNats
from tests.cloud.pages.parts import hear
from tests.cloud.payments.parts import KEY, SECRET, Sandbox, a_sandbox
from tests.cloud.test_serve import Served, serving

pytestmark = pytest.mark.slow

PATIENCE_S = 30
STRANGER = f"txn_{uuid4()}"
"""A capture in the provider's books that ours know nothing of."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    now = datetime.now(UTC)
    with a_sandbox(ManualClock(now)) as sandbox:
        sandbox.bank.transactions.append(
            {
                "id": STRANGER,
                "kind": "capture",
                "payment": "p",
                "key": str(uuid4()),
                "reference": "r",
                "amount_minor": 77,
                "currency": "EUR",
                "at": (now - timedelta(hours=3)).isoformat(),
            }
        )
        yield sandbox


@pytest.fixture(scope="module")
def served(
    dsn: str, nats: OpenNats, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MOBILITY_PAYMENT_URL", sandbox.url)
        environment.setenv("MOBILITY_PAYMENT_KEY", KEY)
        environment.setenv("MOBILITY_PAYMENT_WEBHOOK_SECRET", SECRET)
        with serving(dsn, nats, tmp_path_factory.mktemp("periodic")) as process:
            assert process.ready
            yield process


def eventually(dsn: str, query: str, values: list[Any], is_so: Callable[[Any], bool]) -> None:
    """Ask the database until its answer is so."""
    patience, row = time.monotonic() + PATIENCE_S, None
    while time.monotonic() < patience:
        with connect(dsn) as db:
            row = db.execute(query.encode(), values).fetchone()
        if is_so(row):
            return
        time.sleep(0.1)
    pytest.fail(f"{query}: still {row}")


@pytest.mark.usefixtures("served")
def test_the_providers_books_are_compared_with_ours(dsn: str) -> None:
    query = "SELECT kind FROM payments.finding WHERE subject = %s"
    eventually(dsn, query, [STRANGER], lambda row: row == ("missing_here",))


@pytest.mark.usefixtures("served")
def test_search_knows_fleets_vehicle_and_where_telemetry_last_heard_of_it(dsn: str) -> None:
    vehicle_id, now = "periodic-001", datetime.now(UTC)
    vehicle = Vehicle(vehicle_id, vehicle_id, "bike", "Otter", "available")
    with connect(dsn) as db:
        states.add_vehicle(db, DEMO, vehicle, now)
    query = "SELECT type, name, place[1], soc_pct FROM booking.vehicle WHERE id = %s"
    eventually(dsn, query, [vehicle_id], lambda row: row == ("bike", "Otter", None, None))
    with connect(dsn) as db:
        hear(db, vehicle_id, now, {"latitude_deg": 52.5, "longitude_deg": 13.4, "soc_pct": 64.0})
    eventually(dsn, query, [vehicle_id], lambda row: row == ("bike", "Otter", 52.5, 64.0))
