"""Two hundred people want one vehicle; what they do is committed, in a database of its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloud.booking import holds, problems
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from tests.cloud.booking.parts import CENTRE, a_customer, a_vehicle, fake_parts, offered


@pytest.fixture
def pool(dsn: str, clock: ManualClock) -> Iterator[Pool]:
    with open_pool(dsn, max_size=16) as pool:
        with pool.connection() as db:
            a_vehicle(db, "wanted-001", at=clock.now())
            a_vehicle(db, "wanted-002", lat=CENTRE[0] + 0.001, at=clock.now())
        yield pool


@pytest.mark.slow
def test_of_two_hundred_who_want_one_vehicle_one_gets_it(pool: Pool, clock: ManualClock) -> None:
    parts = fake_parts(clock)

    def want(number: int) -> str:
        with pool.connection() as db:
            try:
                holds.hold(db, parts, a_customer(number), "wanted-001", 15, clock.now())
            except problems.TakenError as taken:
                return f"taken, {len(offered(taken))} offered"
        return "held"

    with ThreadPoolExecutor(16) as people:
        outcomes = list(people.map(want, range(200)))
    assert sorted(outcomes) == ["held"] + ["taken, 1 offered"] * 199
    with pool.connection() as db:
        rows = db.execute(
            "SELECT count(*) FROM booking.calendar WHERE vehicle_id = 'wanted-001'"
        ).fetchone()
    assert rows == (1,)
