"""A database with returns' tables, and a ride to end."""

import pytest

from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, connect
from cloud.kit.events import register
from cloud.kit.migrations import migrate
from tests.cloud.booking.parts import TABLES, World, fake_parts
from tests.cloud.returns.parts import Ending, settle


@pytest.fixture(scope="module")
def dsn(dsn: str) -> str:
    """The module's database, with returns in it and the tables of booking's played neighbours."""
    migrate(dsn, ["fleet", "booking", "returns"])
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
