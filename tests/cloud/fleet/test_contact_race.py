"""Somebody moves a vehicle while it is found silent: committed, so in a database of its own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import sleep

from cloud.fleet import api, states, store
from cloud.fleet.contact import follow
from cloud.fleet.model import Vehicle
from cloud.kit.db import Db, connect
from cloud.kit.scope import DEMO
from tests.cloud.devices.commanded import an_able_device
from tests.cloud.sealed import NOON

SECOND = timedelta(seconds=1)
LATER = NOON + timedelta(seconds=200)


def waits(db: Db) -> bool:
    row = db.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    ).fetchone()
    return row is not None and row[0] > 0


def test_who_lost_the_race_goes_on_with_the_next_vehicle(dsn: str) -> None:
    with connect(dsn) as db, connect(dsn) as other, ThreadPoolExecutor(1) as thread:
        for name in ("raced-1", "raced-2"):
            an_able_device(db, name)
            vehicle = Vehicle(name, name, "scooter", name, "available")
            states.add_vehicle(db, DEMO, vehicle, NOON)
        with other.transaction():
            api.transition(other, DEMO, "raced-1", "comms_lost", LATER - SECOND, LATER)
            looking = thread.submit(follow, db, LATER)
            while not waits(other):
                assert not looking.done()
                sleep(0.01)
        assert looking.result(30) == 1
        for name in ("raced-1", "raced-2"):
            found = store.vehicle(db, DEMO, name)
            assert found is not None
            assert found.state == "non_contactable"
