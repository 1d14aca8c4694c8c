"""Every fault of the shim, seen by the real driver through a real pty."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edge.drivers.base import BatteryReading
from edge.drivers.jbd_uart import JbdDecoder, fet_request
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink
from firmware_shim.faults import FAULTS, LATE_S, Faults
from firmware_shim.jbd_uart import JbdController
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim

IDLE_S = 0.3
FAST = dataclasses.replace(JbdDecoder.policy, sleeps_after_s=IDLE_S)
SEED = 11


@asynccontextmanager
async def battery(
    *, numbered: bool = False, timeout_s: float = 0.05, **rates: float
) -> AsyncIterator[tuple[JbdController, Poller]]:
    faults = Faults(rates, seed=SEED, idle_s=IDLE_S)
    shim = build_shim("jbd", seed=SEED, faults=faults, numbered=numbered)
    async with serve(shim) as port:
        link = SerialLink(port.path, baud=9600)
        try:
            policy = dataclasses.replace(FAST, timeout_s=timeout_s)
            yield shim, Poller(link, JbdDecoder(), policy=policy, details_every=0)
        finally:
            await link.close()


async def polled(poller: Poller, times: int) -> list[BatteryReading | None]:
    return [await poller.poll() for _ in range(times)]


async def test_no_reply_makes_the_battery_offline() -> None:
    async with battery(no_reply=1) as (_, poller):
        assert await polled(poller, 5) == [None] * 5
        assert poller.offline


async def test_a_late_reply_is_never_taken_for_a_later_answer() -> None:
    async with battery(late_reply=1, numbered=True) as (shim, poller):
        assert await poller.poll() is None
        await asyncio.sleep(LATE_S + 0.1)
        shim.faults.rates.clear()
        reading = await poller.poll()
        assert reading is not None
        assert reading.remaining_ah == 0.04
        assert poller.counters["stale_bytes"] == 4 * 36


async def test_half_a_frame_is_counted_and_the_next_whole_one_is_read() -> None:
    async with battery(half_frame=0.5) as (_, poller):
        readings = await polled(poller, 10)
        assert sum(reading is not None for reading in readings) >= 6
        assert poller.counters["bad_length"] + poller.counters.get("bad_terminator", 0) >= 1


async def test_noise_before_the_frame_is_skipped() -> None:
    async with battery(noise=1) as (_, poller):
        readings = await polled(poller, 20)
        assert None not in readings
        assert poller.counters["skipped_bytes"] >= 20


async def test_a_bad_checksum_is_counted_and_asked_again() -> None:
    async with battery(bad_checksum=0.5) as (_, poller):
        readings = await polled(poller, 10)
        assert sum(reading is not None for reading in readings) >= 6
        assert poller.counters["bad_checksum"] >= 1
        assert poller.counters["retries"] >= 1


async def test_a_line_with_only_bad_checksums_gives_no_reading() -> None:
    async with battery(bad_checksum=1) as (_, poller):
        assert await polled(poller, 2) == [None, None]


async def test_joined_frames_are_told_apart_and_the_newest_counts() -> None:
    async with battery(joined=1, numbered=True) as (_, poller):
        first, second = await polled(poller, 2)
        assert first is not None
        assert first.remaining_ah == 0.01
        assert second is not None
        assert second.remaining_ah == 0.03


async def test_a_frame_over_many_reads_is_put_together() -> None:
    async with battery(split=1, timeout_s=0.3) as (_, poller):
        assert None not in await polled(poller, 5)
        assert poller.counters["skipped_bytes"] == 0


async def test_a_sleeping_board_loses_the_first_request_only() -> None:
    async with battery(drop_first_after_idle=1, timeout_s=0.15) as (_, poller):
        assert None not in await polled(poller, 3)
        assert poller.counters["timeouts"] == 1
        await asyncio.sleep(IDLE_S + 0.1)
        assert await poller.poll() is not None
        assert poller.counters["timeouts"] == 2


async def test_stuck_values_do_not_move() -> None:
    async with battery(stuck=1) as (shim, poller):
        first = await poller.poll()
        shim.pack.demand_a = -10
        await asyncio.sleep(0.02)
        assert await polled(poller, 3) == [first] * 3


async def test_a_lost_sensor_is_unknown() -> None:
    async with battery(sensor_lost=1) as (_, poller):
        reading = await poller.poll()
        assert reading is not None
        assert reading.temperatures_c is not None
        assert [celsius is None for celsius in reading.temperatures_c] == [True, False, False]


async def test_a_tripped_protection_is_an_alarm_and_an_open_fet() -> None:
    async with battery(protection_trip=1) as (_, poller):
        reading = await poller.poll()
        assert reading is not None
        assert reading.alarms == ("discharge_overcurrent",)
        assert reading.discharge_fet is False
        assert reading.charge_fet is True
        await polled(poller, 3)
        assert poller.about["error_counts"]["discharge_overcurrent"] == 1


async def test_an_ignored_fet_write_shows_when_it_is_read_back() -> None:
    off = fet_request(charge=True, discharge=False)
    for rate, expected in ((0.0, False), (1.0, True)):
        async with battery(fet_ignored=rate) as (_, poller):
            assert await poller.ask(off) is not None
            reading = await poller.poll()
            assert reading is not None
            assert reading.discharge_fet is expected
            assert ("fets_locked" in (reading.alarms or ())) is not expected


async def test_all_faults_together_never_make_a_wrong_reading() -> None:
    rates = dict.fromkeys(FAULTS, 0.1) | {"late_reply": 0.0, "no_reply": 0.02}
    async with battery(numbered=False, timeout_s=0.06, **rates) as (shim, poller):
        shim.set({"voltage_v": 40.1, "current_a": -3.3})
        readings = [reading for reading in await polled(poller, 60) if reading]
        assert len(readings) > 30
        assert {(reading.voltage_v, reading.current_a) for reading in readings} == {(40.1, -3.3)}
