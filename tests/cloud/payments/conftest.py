"""A database with payments, a sandbox provider, and hands between them."""

from collections.abc import Iterator

import pytest

from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.ports.payment import SandboxPayments
from cloud.kit.scope import DEMO
from cloud.payments import api
from cloud.payments.api import Settler
from tests.cloud.payments.parts import KEY, NOON, SECRET, SELLER, Sandbox, Till, a_sandbox


@pytest.fixture(scope="session")
def bank_clock() -> ManualClock:
    """The one clock of sandbox and till."""
    return ManualClock(NOON)


@pytest.fixture(scope="session")
def sandbox_server(bank_clock: ManualClock) -> Iterator[Sandbox]:
    """One sandbox for the whole run."""
    with a_sandbox(bank_clock) as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: Sandbox) -> Sandbox:
    """The sandbox, empty and well-behaved."""
    sandbox_server.reset()
    sandbox_server.teller.url = None
    return sandbox_server


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=4) as opened:
        yield opened


@pytest.fixture
def till(pool: Pool, sandbox: Sandbox, bank_clock: ManualClock) -> Iterator[Till]:
    """Everything that money takes; the seller is set."""
    provider = SandboxPayments(sandbox.url, KEY, SECRET, timeout_s=0.5)
    with pool.connection() as db:
        db.execute("UPDATE payments.operation SET state = 'failed' WHERE state <> 'done'")
        api.set_seller(db, DEMO, SELLER)
    settler = Settler(pool, {"sandbox": provider}, bank_clock)
    yield Till(pool, bank_clock, sandbox, provider, settler)
    provider.close()
