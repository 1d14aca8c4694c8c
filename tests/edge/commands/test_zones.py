"""Zones of the twin reach the lock beside commands and twins, and what was wished comes back."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ManualClock
from edge.commands.zones import FADE_STEP_S
from edge.controllers.base import Outcome
from edge.gnss.fix import Fix
from protocol.zones import Zone
from tests.edge.commands.parts import NOW_MS, FakeLock, TestSigner, Vehicle, a_vehicle, until
from tests.edge.journal.opening import a_full_disk
from tests.edge.rules.test_zones import SQUARE, at, no_go, slow

SIGNER = TestSigner()
KEYS = [SIGNER.public]
SCHOOL = slow("school", SQUARE, kmh=10)
PARK = no_go("park", SQUARE)
IN, OUT = at(0), at(5_000)


@dataclass
class Felt:
    """Where it is and how fast."""

    lock: FakeLock
    here: Fix | None = OUT

    @property
    def speed_kmh(self) -> float | None:
        return self.lock.speed_kmh

    def fix(self) -> Fix | None:
        return self.here


@dataclass
class Rider:
    """A vehicle whose zones are looked at when told to, on a clock that is turned by hand."""

    vehicle: Vehicle
    felt: Felt

    @property
    def lock(self) -> FakeLock:
        return self.vehicle.lock

    async def look(self, here: Fix | None = None, *, seconds: float = 10.0) -> None:
        """Look as `run` does, so long."""
        self.felt.here = here or self.felt.here
        for _ in range(round(seconds / FADE_STEP_S)):
            self.vehicle.clock.advance(FADE_STEP_S)
            await self.vehicle.remote.zones.look()

    async def told(self, kind: str = "geofence.limit") -> list[tuple[Any, ...]]:
        return [tuple(fields.values()) for fields in await self.vehicle.facts(kind)]

    async def asks(self, kmh: int | None) -> None:
        await self.vehicle.command(SIGNER.command("speed_limit", args={"kmh": kmh}))
        await self.vehicle.quiet()


@asynccontextmanager
async def riding(
    path: Path, *zones: Zone, lock: FakeLock | None = None, here: Fix | None = OUT, **twin: Any
) -> AsyncIterator[Rider]:
    clock = lock.clock if lock is not None else ManualClock(NOW_MS)
    async with a_vehicle(path / "j.db", KEYS, lock=lock, clock=clock) as vehicle:
        felt = Felt(vehicle.lock, here)
        vehicle.remote.zones.feels = felt
        if zones or twin:
            await vehicle.twin(SIGNER.twin(1, zones=list(zones), **twin))
        yield Rider(vehicle, felt)


@pytest.mark.parametrize(("kmh", "back"), [(None, 0), (20, 20), (6, 6)])
async def test_what_the_twin_limits_comes_back_when_a_zone_is_left(
    tmp_path: Path, kmh: int | None, back: int
) -> None:
    async with riding(tmp_path, SCHOOL, speed_limit_kmh=kmh) as rider:
        await rider.look(OUT)
        assert rider.lock.limit_kmh == back
        await rider.look(IN)
        assert rider.lock.limit_kmh == min(10, kmh or 10)
        await rider.look(OUT)
        assert rider.lock.limit_kmh == back
        limits = [fields for fields in await rider.told() if fields[0]]
        assert limits == [("school", min(10, kmh or 10))]


async def test_power_fades_step_by_step_from_the_present_speed(tmp_path: Path) -> None:
    async with riding(tmp_path, PARK) as rider:
        rider.lock.speed_kmh = 25.0
        await rider.look(IN, seconds=5.0)
        steps = [kmh for kmh in rider.lock.limits if kmh is not None]
        assert (steps[0], steps[-1], rider.lock.limit_kmh) == (25, 3, 3)
        assert len(steps) > 8
        assert steps == sorted(steps, reverse=True)
        await rider.look(OUT, seconds=0.25)
        assert rider.lock.limit_kmh == 0
        assert await rider.told() == [("park", 3), (None, None)]


async def test_commands_inside_of_a_zone_loosen_nothing_there_and_count_outside(
    tmp_path: Path,
) -> None:
    async with riding(tmp_path, SCHOOL, speed_limit_kmh=20) as rider:
        await rider.look(IN)
        await rider.asks(30)
        assert (await rider.vehicle.result())["state"] == "done"
        assert rider.lock.limit_kmh == 10
        await rider.asks(5)
        assert rider.lock.limit_kmh == 5
        await rider.look(IN)
        await rider.look(OUT)
        assert rider.lock.limit_kmh == 5


async def test_a_limit_of_a_zone_is_nobody_s_loosening_or_tightening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.commands.twin.TRY_AGAIN_S", 0.005)
    async with riding(tmp_path, SCHOOL, speed_limit_kmh=20) as rider:
        await rider.asks(30)
        await asyncio.sleep(0.05)
        for here, kmh in ((IN, 10), (OUT, 30), (IN, 10), (OUT, 30)):
            await rider.look(here)
            await asyncio.sleep(0.05)
            assert rider.lock.limit_kmh == kmh
            assert rider.vehicle.remote.actuators.seen() is not None
            seen = rider.vehicle.remote.actuators.seen()
            assert seen is not None
            assert seen.speed_limit_kmh == 30.0


async def test_a_lock_that_lost_the_limit_is_told_again(tmp_path: Path) -> None:
    async with riding(tmp_path, SCHOOL, speed_limit_kmh=20) as rider:
        await rider.look(IN)
        rider.lock.limit_kmh = 0
        await rider.look(IN, seconds=0.25)
        assert rider.lock.limit_kmh == 10


@pytest.mark.parametrize("kmh", [None, 20])
async def test_a_restart_inside_of_a_zone_keeps_its_limit_and_what_to_go_back_to(
    tmp_path: Path, kmh: int | None
) -> None:
    lock = FakeLock(ManualClock(NOW_MS))
    async with riding(tmp_path, SCHOOL, lock=lock) as rider:
        await rider.asks(kmh)
        await rider.look(IN)
    assert lock.limit_kmh == 10
    async with riding(tmp_path, lock=lock, here=None) as rider:
        await rider.look(seconds=60.0)
        assert lock.limit_kmh == 10
        zone = rider.vehicle.remote.zones.in_force
        assert zone is not None
        assert zone.id == "school"
        await rider.look(OUT)
        assert lock.limit_kmh == (kmh or 0)


async def test_a_restart_in_mid_fade_goes_on_gently(tmp_path: Path) -> None:
    lock = FakeLock(ManualClock(NOW_MS))
    async with riding(tmp_path, PARK, lock=lock) as rider:
        lock.speed_kmh = 25.0
        await rider.look(IN, seconds=0.5)
    before = lock.limit_kmh
    assert before > 20
    lock.limits.clear()
    async with riding(tmp_path, lock=lock, here=IN) as rider:
        lock.speed_kmh = float(before)
        await rider.look(IN, seconds=5.0)
    steps = [before, *(kmh for kmh in lock.limits if kmh is not None)]
    assert steps[-1] == 3
    assert max(high - low for high, low in pairwise(steps)) <= 3


async def test_a_limit_that_is_never_confirmed_leaves_the_lock_to_others(tmp_path: Path) -> None:
    async with riding(tmp_path, SCHOOL) as rider:
        await rider.look(OUT)
        rider.lock.answers["speed_limit"] = Outcome("failed", "not_confirmed")
        before = rider.vehicle.remote.actuators.turns
        await rider.look(IN, seconds=60.0)
        assert 2 <= rider.vehicle.remote.actuators.turns - before <= 30


async def test_a_zone_that_is_gone_after_a_restart_is_left(tmp_path: Path) -> None:
    lock = FakeLock(ManualClock(NOW_MS))
    async with riding(tmp_path, SCHOOL, lock=lock) as rider:
        await rider.look(IN)
        await rider.vehicle.twin(SIGNER.twin(2))
    async with riding(tmp_path, lock=lock, here=IN) as rider:
        await rider.look(IN)
        assert await rider.told("geofence.left") == [("school", "zone_gone")]
        assert lock.limit_kmh == 0


async def test_what_a_command_wishes_inside_of_a_zone_outlives_a_power_cut(tmp_path: Path) -> None:
    lock = FakeLock(ManualClock(NOW_MS))
    async with riding(tmp_path, SCHOOL, lock=lock) as rider:
        await rider.look(IN)
        await rider.asks(15)
    async with riding(tmp_path, lock=lock, here=IN) as rider:
        await rider.look(OUT)
        assert lock.limit_kmh == 15


async def test_a_twin_without_the_zone_lets_go_and_a_stricter_one_is_followed_inside(
    tmp_path: Path,
) -> None:
    async with riding(tmp_path, SCHOOL) as rider:
        await rider.look(IN)
        await rider.vehicle.twin(SIGNER.twin(2, zones=[slow("school", SQUARE, kmh=5)]))
        await rider.look(IN)
        assert rider.lock.limit_kmh == 5
        await rider.vehicle.twin(SIGNER.twin(3))
        await rider.look(IN)
        assert rider.lock.limit_kmh == 0
        assert await rider.told("geofence.left") == [("school", "zone_gone")]


async def test_a_silent_lock_is_limited_as_soon_as_it_speaks(tmp_path: Path) -> None:
    async with riding(tmp_path, SCHOOL) as rider:
        rider.lock.silent = True
        rider.lock.limit_kmh = 25
        await rider.look(IN)
        assert rider.lock.limit_kmh == 25
        rider.lock.silent = False
        await rider.look(IN)
        assert rider.lock.limit_kmh == 10
        rider.lock.answers["speed_limit"] = Outcome("failed", "no_answer")
        await rider.look(OUT)
        assert rider.lock.limit_kmh == 10
        del rider.lock.answers["speed_limit"]
        await rider.look(OUT)
        assert rider.lock.limit_kmh == 25


class Mute(FakeLock):
    """A lock that does what it is told and shows no limit."""

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        return None if kind == "speed_limit" else super().is_so(kind, args)


async def test_a_limit_that_failed_is_tried_again_also_where_none_is_shown(tmp_path: Path) -> None:
    lock = Mute(ManualClock(NOW_MS))
    async with riding(tmp_path, SCHOOL, lock=lock) as rider:
        lock.answers["speed_limit"] = Outcome("failed", "no_answer")
        await rider.look(IN)
        del lock.answers["speed_limit"]
        await rider.look(IN)
        assert lock.limits == [10]


async def test_a_vehicle_that_cannot_be_limited_tells_where_it_is(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    lock = FakeLock(clock, able=frozenset({"lock", "unlock"}))
    async with riding(tmp_path, SCHOOL, PARK, lock=lock) as rider:
        await rider.look(IN)
        await rider.look(OUT)
        assert await rider.told("geofence.entered") == [
            ("school", "slow", 10, 3.0),
            ("park", "no_go", 3, 3.0),
        ]
        assert await rider.told("geofence.left") == [("school",), ("park",)]
        assert (await rider.told(), lock.moved.total()) == ([], 0)


async def test_a_full_disk_stops_no_limit(tmp_path: Path) -> None:
    async with riding(tmp_path, SCHOOL) as rider:
        with a_full_disk():
            await rider.look(IN)
        assert rider.lock.limit_kmh == 10


async def test_the_keeper_looks_by_itself(tmp_path: Path) -> None:
    lock = FakeLock(ManualClock(NOW_MS))
    async with riding(tmp_path, SCHOOL, lock=lock, here=IN) as rider:
        work = asyncio.create_task(rider.vehicle.remote.zones.run())
        try:
            await until(lambda: bool(lock.limits))
        finally:
            work.cancel()
            await asyncio.wait({work})
