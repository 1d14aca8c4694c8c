"""What a vehicle feels: a position held still while locked, and how old the last known one is."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from edge.controllers.base import DONE, ControllerState, Outcome
from edge.gnss import Gnss
from edge.links.base import LinkDownError
from edge.senses import Senses
from firmware_shim.gnss import GnssReceiver
from protocol.signals import BY_KEY

LATITUDE, SPEED = BY_KEY["latitude_deg"].id, BY_KEY["speed_kmh"].id
AGE = BY_KEY["position_age_s"].id


class Told:
    """A clock that is told what time it is."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def mono_s(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return 0


class Sentences:
    """A line that carries what a receiver says of this second, then nothing more."""

    connections = 1

    def __init__(self, receiver: GnssReceiver, clock: Told) -> None:
        self.receiver, self.clock, self.waiting = receiver, clock, b""

    async def send(self, data: bytes) -> None:
        raise AssertionError(data)

    async def receive(self, timeout_s: float) -> bytes:
        data, self.waiting = self.waiting, b""
        if not data:
            raise LinkDownError(f"nothing for {timeout_s} s")
        return data

    def drain(self) -> int:
        return 0

    async def close(self) -> None:
        pass


class Lock:
    """A controller whose word is set by hand."""

    capabilities = frozenset({"lock"})
    on_change: Callable[[ControllerState], None] | None = None

    def __init__(self, clock: Told) -> None:
        self.clock, self.locked = clock, True

    def seen(self) -> ControllerState | None:
        return ControllerState(seen_at_s=self.clock.now_s, locked=self.locked)

    async def run(self) -> None:
        await asyncio.Event().wait()

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        return None if kind in args else self.locked

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        return DONE if not args else Outcome("failed", kind)


class Vehicle:
    def __init__(self) -> None:
        self.clock = Told()
        self.receiver, self.lock = GnssReceiver(seed=4), Lock(self.clock)
        self._line = Sentences(self.receiver, self.clock)
        self.gnss = Gnss(self._line, now_s=self.clock.mono_s)
        self.senses = Senses(self.clock, self.lock, self.gnss)

    async def second(self, **dials: Any) -> dict[int, int]:
        """Let a second pass and return the signals at its end."""
        self.clock.now_s += 1
        self.receiver.set(dials)
        self._line.waiting = b"".join(self.receiver.tick(self.clock.now_s))
        task = asyncio.create_task(self.gnss.run())
        while self._line.waiting:  # noqa: ASYNC110 - the line has no event
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return self.senses.signals()


async def test_a_locked_vehicle_between_houses_does_not_wander_and_its_raw_fix_does() -> None:
    vehicle = Vehicle()
    held, raw = set(), set()
    # The speed wanders a little too, as far as at rest: below 0.5 m/s.
    for _ in range(20):
        held.add((await vehicle.second(urban=True))[LATITUDE])
        fix = vehicle.senses.fix()
        assert fix is not None
        if fix.speed_kmh < 1.8:
            raw.add(fix.latitude_deg)
    assert len(held) == 1
    assert len(raw) > 10


async def test_an_unlocked_vehicle_is_reported_where_it_is_seen() -> None:
    vehicle = Vehicle()
    vehicle.lock.locked = False
    assert len({(await vehicle.second(urban=True))[LATITUDE] for _ in range(10)}) > 5


async def test_the_speed_that_safety_asks_for_is_never_held() -> None:
    vehicle = Vehicle()
    await vehicle.second(speed_kmh=0.0)
    await vehicle.second(speed_kmh=20.0)
    assert vehicle.senses.speed_kmh is not None
    assert vehicle.senses.speed_kmh > 19


async def test_a_lost_position_is_told_no_more_but_for_its_age() -> None:
    vehicle = Vehicle()
    assert AGE not in vehicle.senses.signals()
    assert (await vehicle.second())[AGE] == 0
    for _ in range(9):
        signals = await vehicle.second(fix=False)
    assert signals.keys() & {LATITUDE, SPEED} == set()
    assert signals[AGE] == 9
    again = await vehicle.second(fix=True)
    assert again[AGE] == 0
    assert LATITUDE in again
