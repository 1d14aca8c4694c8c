"""A vehicle on emulated parts drives through a slow zone, with no cloud anywhere."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.clock import SystemClock
from edge.commands.remote import Remote, build_remote
from edge.controllers.lock_unit import LockUnit
from edge.drivers.lock_unit_frames import BAUD
from edge.gnss import Gnss
from edge.journal import Journal
from edge.links.serial import SerialLink
from edge.rules.battery import NewFact
from edge.senses import Senses
from firmware_shim.gnss import GnssReceiver
from firmware_shim.lock_unit import LockUnit as EmulatedLock
from firmware_shim.pty import serve
from tests.edge.commands.parts import DEVICE, Enrolled, TestSigner, facts
from tests.edge.rules.test_zones import at, ring, slow

SIGNER = TestSigner()
SCHOOL = slow("school", ring(-20, -50, 20, 50), kmh=10)
LIMITED_WITHIN_S = 5.0


@dataclass
class Street:
    """The vehicle's parts at work, and the world around them."""

    journal: Journal
    remote: Remote
    senses: Senses
    lock: EmulatedLock
    sky: GnssReceiver

    def put(self, east_m: float) -> None:
        here = at(east_m)
        self.sky.set({"latitude_deg": here.latitude_deg, "longitude_deg": here.longitude_deg})

    async def limited(self, kmh: int, within_s: float = LIMITED_WITHIN_S) -> None:
        """Wait until the lock unit itself says so."""
        await until(lambda: self.lock.sensors.limit_kmh == kmh, within_s)


async def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def nothing(facts: list[NewFact]) -> None:
    del facts


@asynccontextmanager
async def driving(folder: Path, emulated: EmulatedLock, sky: GnssReceiver) -> AsyncIterator[Street]:
    """The agent's part on the ptys in a folder."""
    clock = SystemClock()
    lock = LockUnit(SerialLink(str(folder / "lock"), baud=BAUD))
    senses = Senses(clock, lock, Gnss(SerialLink(str(folder / "gnss"), baud=9600)))
    book = await Journal.open(folder / "j.db", clock, boot_id=1)
    remote = build_remote(
        DEVICE,
        book,
        clock,
        offset=lambda: 0,
        keys=Enrolled(folder, [SIGNER.public]),
        enroller=None,
        controller=lock,
        battery=None,
        forbids=lambda _kind, _args: None,
    )
    remote.zones.feels = senses
    await remote.open()
    work = [asyncio.create_task(senses.run(nothing)), asyncio.create_task(remote.run())]
    try:
        yield Street(book, remote, senses, emulated, sky)
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await book.close()


@asynccontextmanager
async def a_street(folder: Path) -> AsyncIterator[tuple[EmulatedLock, GnssReceiver]]:
    """A lock unit that rolls at 14 km/h, and a receiver 40 m before the school."""
    lock, sky = EmulatedLock(), GnssReceiver()
    lock.set({"locked": False, "speed_kmh": 14.0})
    here = at(-60)
    sky.set({"latitude_deg": here.latitude_deg, "longitude_deg": here.longitude_deg})
    async with (
        serve(lock, link_path=folder / "lock"),
        serve(sky, link_path=folder / "gnss"),
    ):
        yield lock, sky


async def test_a_slow_zone_is_kept_within_five_seconds_and_what_was_allowed_comes_back(
    tmp_path: Path,
) -> None:
    async with a_street(tmp_path) as parts:
        async with driving(tmp_path, *parts) as street:
            await until(lambda: street.senses.fix() is not None)
            await street.remote.twin.take(SIGNER.twin(1, zones=[SCHOOL], speed_limit_kmh=20))
            await street.limited(20)
            street.put(-15)
            await street.limited(10)
        # The agent starts again inside of the zone: the limit stays, and so does the way back.
        async with driving(tmp_path, *parts) as street:
            await until(lambda: street.senses.fix() is not None)
            assert street.lock.sensors.limit_kmh == 10
            street.put(30)
            await street.limited(20)
            told = [
                one.kind for one in await facts(street.journal) if one.kind.startswith("geofence")
            ]
            assert told[:3] == ["geofence.entered", "geofence.limit", "geofence.left"]
