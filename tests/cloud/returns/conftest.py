"""A database with returns' tables, and a ride to end."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, connect, open_pool
from cloud.kit.events import register
from cloud.kit.http import install_problems
from cloud.kit.migrations import migrate
from cloud.kit.ports.objects import FolderObjects
from cloud.returns import http as returns_http
from tests.cloud.booking.parts import TABLES, World, fake_parts
from tests.cloud.returns.door import authenticate
from tests.cloud.returns.parts import Ending, settle


@pytest.fixture(scope="module")
def dsn(dsn: str) -> str:
    """The module's database, with returns in it and the tables of booking's played neighbours."""
    migrate(dsn, ["identity", "fleet", "booking", "returns"])
    with connect(dsn) as db:
        db.execute(TABLES.encode())
    return dsn


@pytest.fixture
def ending(db: Db, clock: ManualClock) -> Ending:
    """The small city, two places a bay, and everybody listening."""
    found = Ending(World(db, clock, fake_parts(clock)))
    register(db, ["booking", "returns"], found.subscribers)
    settle(db, clock.now())
    return found


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    """Connections, and nothing left of the tests before."""
    with open_pool(dsn, max_size=4) as pool:
        with pool.connection() as db:
            db.execute(
                "TRUNCATE booking.calendar, booking.rental, booking.timeline, booking.command,"
                " booking.vehicle, fake.payment, fake.command, fake.fee, kit.idempotency,"
                " returns.attempt, returns.return, returns.decision, returns.photo,"
                " returns.review,"
                " fleet.place, fleet.bay, fleet.zone, fleet.vehicle_state_event, fleet.vehicle"
            )
        yield pool


@pytest.fixture
def at_the_door(pool: Pool, clock: ManualClock, tmp_path: Path) -> Iterator[Ending]:
    """As `ending`, in rows that are there for requests too."""
    with pool.connection() as db:
        world = World(db, clock, fake_parts(clock))
        found = Ending(world, objects=FolderObjects(tmp_path / "photos"))
        register(db, ["booking", "returns"], found.subscribers)
        settle(db, clock.now())
        yield found


@pytest.fixture
async def client(
    pool: Pool, at_the_door: Ending, clock: ManualClock
) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a network between."""
    app = FastAPI()
    install_problems(app)
    app.include_router(returns_http.router)
    app.state.pool, app.state.clock, app.state.authenticate = pool, clock, authenticate
    app.state.returns = at_the_door.parts
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://returns") as client:
        yield client
