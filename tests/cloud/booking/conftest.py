"""A database with booking's tables, and booking with played neighbours."""

import pytest

from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, connect
from cloud.kit.events import register
from cloud.kit.migrations import migrate
from tests.cloud.booking.parts import TABLES, World, a_vehicle, fake_parts


@pytest.fixture(scope="module")
def dsn(dsn: str) -> str:
    """The module's database, with booking in it and the tables of its played neighbours."""
    migrate(dsn, ["booking"])
    with connect(dsn) as db:
        db.execute(TABLES.encode())
    return dsn


@pytest.fixture
def world(db: Db, clock: ManualClock) -> World:
    """One vehicle in the city, and everybody listening."""
    found = World(db, clock, fake_parts(clock))
    register(db, ["booking"], found.subscribers)
    a_vehicle(db, at=clock.now())
    return found
