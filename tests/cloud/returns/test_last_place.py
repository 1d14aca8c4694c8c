"""Two riders at the last place of a bay, at the same moment, on real connections."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.events import register
from cloud.returns import service
from cloud.returns.problems import BayFullError
from cloud.returns.store import Return
from tests.cloud.booking.parts import World, a_customer, fake_parts
from tests.cloud.returns.parts import Ending, settle

RIDERS = 6


@pytest.fixture
def pool(dsn: str) -> Pool:
    return open_pool(dsn, max_size=RIDERS + 1)


@pytest.mark.slow
def test_they_never_share_it(pool: Pool, clock: ManualClock) -> None:
    barrier = Barrier(RIDERS)
    with pool, pool.connection() as db:
        ending = Ending(World(db, clock, fake_parts(clock)))
        register(db, ["booking", "returns"], ending.subscribers)
        settle(db, clock.now(), places=1)
        rentals = [ending.riding(f"racing-{number:03}", number + 1) for number in range(RIDERS)]
        for number in range(RIDERS):
            ending.stands(0, 0, vehicle=f"racing-{number:03}")

        def arrive(number: int) -> object:
            barrier.wait()
            with pool.connection() as own:
                who = a_customer(number + 1)
                rental = rentals[number].id
                return service.end(own, ending.parts, who, rental, None, clock.now())

        with ThreadPoolExecutor(RIDERS) as riders:
            found = list(riders.map(arrive, range(RIDERS)))
        kept = [one for one in found if isinstance(one, Return) and one.place_number is not None]
        full = [one for one in found if isinstance(one, BayFullError)]
        waiting = [one for one in found if isinstance(one, Return) and one.place_number is None]
        # One stands here, one is led to the last place of the other bay; where no place is left
        # within reach, the ride ends and a person looks.
        assert len(kept) == 1
        assert [list(one.reasons) for one in waiting] == [["no_photo"]] * (RIDERS - 2)
        assert [one.more["kept_bay_id"] is not None for one in full] == [True]
        assert len(kept) + len(full) + len(waiting) == RIDERS
        row = db.execute(
            "SELECT count(*), count(DISTINCT vehicle_id) FROM fleet.place"
            " WHERE vehicle_id IS NOT NULL"
        ).fetchone()
        assert row == (2, 2)
