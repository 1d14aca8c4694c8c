"""A moment of `make soak`: eight controllers on noisy lines, and never a wrong value."""

import asyncio
from pathlib import Path

import pytest

from edge.battery import OpenBattery, open_battery
from edge.settings import Battery
from tests.faults.mixed import Served, served

pytestmark = pytest.mark.slow

SECONDS = 3.0
NOISE = 0.002


async def test_eight_controllers_on_noisy_lines_give_no_wrong_value(tmp_path: Path) -> None:
    async with served(tmp_path, rate=NOISE) as fleet:
        seen = await asyncio.gather(*(watched(one) for one in fleet))
        assert sum(one.line.spoiled for one in fleet) > 0
    assert [one for one, _ in seen if one != ""] == []
    counts = {one.vehicle.protocol: count for one, (_, count) in zip(fleet, seen, strict=True)}
    assert min(counts.values()) > 0, counts


async def watched(one: Served) -> tuple[str, int]:
    """Poll for a while; return what was wrong, and how many readings came."""
    battery = open_battery(Battery(one.vehicle.protocol, one.port, one.vehicle.car))
    try:
        return await polled(one, battery)
    finally:
        await battery.link.close()


async def polled(one: Served, battery: OpenBattery) -> tuple[str, int]:
    until_s, count = asyncio.get_running_loop().time() + SECONDS, 0
    while asyncio.get_running_loop().time() < until_s:
        reading = await battery.source.poll()
        if reading is None:
            continue
        count += 1
        for key, pinned in one.vehicle.pinned.items():
            value = getattr(reading, key)
            if value is not None and value != pytest.approx(pinned, abs=0.51):
                return f"{one.vehicle.protocol}: {key} {value}, pinned {pinned}", count
        await asyncio.sleep(0.2)
    return "", count
