"""Battery and lock of a scooter on its one wire: each alone, both at once, among other masters."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge.battery import open_battery
from edge.controllers.base import DONE, ControllerError, Outcome, VehicleController
from edge.controllers.m365 import M365
from edge.controllers.registry import Fitted, build_controller
from edge.drivers.base import BatteryReading
from edge.drivers.m365_serial import M365Decoder, NinebotDecoder
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink
from edge.settings import Battery
from firmware_shim.faults import LATE_S, Faults
from firmware_shim.m365_scooter import Scooter
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim

both = pytest.mark.parametrize("name", ["m365_serial", "ninebot_serial"])
PINNED = {"voltage_v": 38.5, "current_a": 1.5, "soc_pct": 67, "temperatures_c": [24, 23]}
PINNED_CELLS = (3.85,) * 10


def a_scooter(name: str, **rates: float) -> Scooter:
    scooter = build_shim(name, faults=Faults(rates, seed=5))
    assert isinstance(scooter, Scooter)
    scooter.set(PINNED)
    return scooter


@asynccontextmanager
async def battery(
    name: str, *, timeout_s: float, **rates: float
) -> AsyncIterator[tuple[Scooter, Poller]]:
    """A scooter and what polls its battery."""
    scooter = a_scooter(name, **rates)
    decoder = M365Decoder() if name == "m365_serial" else NinebotDecoder()
    policy = dataclasses.replace(decoder.policy, timeout_s=timeout_s)
    async with serve(scooter) as port:
        link = SerialLink(port.path, baud=policy.baud)
        try:
            yield scooter, Poller(link, decoder, policy=policy)
        finally:
            await link.close()


@asynccontextmanager
async def both_parts(name: str, **rates: float) -> AsyncIterator[tuple[Scooter, Poller, M365]]:
    """A scooter whose battery and lock are read over the same port, as an agent does."""
    scooter = a_scooter(name, **rates)
    async with serve(scooter) as port:
        opened = open_battery(Battery(protocol=name, port=port.path))
        assert isinstance(opened.source, Poller)
        fitted = Fitted(port.path, opened.source, name, at_battery=True)
        controller: VehicleController = build_controller(name, fitted)
        assert isinstance(controller, M365)
        running = asyncio.create_task(controller.run())
        try:
            async with asyncio.timeout(5):
                while controller.seen() is None:  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0.005)
            yield scooter, opened.source, controller
        finally:
            running.cancel()
            await asyncio.wait({running})
            await opened.link.close()


def as_pinned(reading: BatteryReading | None) -> bool:
    return reading is not None and (
        reading.voltage_v,
        reading.current_a,
        reading.soc_pct,
        reading.temperatures_c,
    ) == (38.5, 1.5, 67, (24, 23))


@both
async def test_the_battery_says_everything_within_some_polls(name: str) -> None:
    async with battery(name, timeout_s=0.2) as (_, poller):
        for _ in range(7):
            reading = await poller.poll()
        assert as_pinned(reading)
        assert reading is not None
        assert reading.cells_v == PINNED_CELLS
        assert (reading.full_ah, reading.soh_pct, reading.cycles) == (7.8, 100, 0)
        assert (reading.charge_fet, reading.alarms, reading.protection_bits) == (True, (), 0)
        assert poller.about["firmware"] == "1.1.5"


@pytest.mark.parametrize("fault", ["noise", "bad_checksum", "half_frame", "joined", "split"])
async def test_a_bad_line_costs_answers_and_never_changes_a_value(fault: str) -> None:
    async with battery("m365_serial", timeout_s=0.05, **{fault: 0.4}) as (_, poller):
        readings = [await poller.poll() for _ in range(4)]
        assert any(map(as_pinned, readings))
        assert all(reading is None or as_pinned(reading) for reading in readings)


async def test_a_late_answer_is_never_taken_for_a_later_one() -> None:
    async with battery("m365_serial", timeout_s=0.02, late_reply=1) as (scooter, poller):
        assert await poller.poll() is None
        scooter.faults = Faults()
        scooter.set({"soc_pct": 20})
        await asyncio.sleep(LATE_S)
        reading = await poller.poll()
        assert reading is not None
        assert reading.soc_pct == 20
        assert poller.counters["stale_bytes"]


async def test_no_answer_makes_the_battery_offline() -> None:
    async with battery("m365_serial", timeout_s=0.005, no_reply=1) as (_, poller):
        assert [await poller.poll() for _ in range(5)] == [None] * 5
        assert poller.offline


async def test_a_protection_that_trips_is_an_alarm_and_a_lost_sensor_is_unknown() -> None:
    async with battery("ninebot_serial", timeout_s=0.2, protection_trip=1) as (scooter, poller):
        scooter.faults = Faults({"protection_trip": 1, "sensor_lost": 1}, seed=1)
        reading = await poller.poll()
        assert reading is not None
        assert reading.alarms == ("discharge_error",)
        assert reading.temperatures_c == (None, 23)


@both
async def test_the_dashboards_talk_confuses_nobody(name: str) -> None:
    async with both_parts(name) as (scooter, poller, controller):
        scooter.set({"chatter_hz": 200})
        for _ in range(20):
            assert as_pinned(await poller.poll())
            await asyncio.sleep(0.005)
        assert await controller.perform("lock", {}) == DONE
        assert await controller.perform("unlock", {}) == DONE


@both
async def test_battery_and_lock_take_turns_on_one_wire(name: str) -> None:
    async with both_parts(name) as (scooter, poller, controller):

        async def polls() -> list[BatteryReading | None]:
            return [await poller.poll() for _ in range(20)]

        polling = asyncio.create_task(polls())
        for _ in range(3):
            assert await controller.perform("lock", {}) == DONE
            assert scooter.ride.locked
            assert await controller.perform("unlock", {}) == DONE
            assert not scooter.ride.locked
        assert all(map(as_pinned, await polling))
        assert poller.link.connections == 1


async def test_the_lock_waits_until_the_battery_has_answered() -> None:
    async with both_parts("m365_serial") as (scooter, poller, controller):
        async with poller.turn:
            locking = asyncio.create_task(controller.perform("lock", {}))
            await asyncio.sleep(0.05)
            assert (locking.done(), scooter.moves) == (False, 0)
        assert await locking == DONE


async def test_a_ninebot_has_no_tail_light_to_switch() -> None:
    async with both_parts("ninebot_serial") as (scooter, _, controller):
        assert await controller.perform("lights", {"on": True}) == Outcome("refused", "unsupported")
        assert await controller.perform("speed_limit", {"kmh": 15}) == DONE
        scooter.set({"speed_kmh": 20})
        assert await controller.perform("lock", {}) == Outcome("refused", "moving")


async def test_the_lock_leaves_the_batterys_port_open() -> None:
    async with both_parts("m365_serial") as (_, poller, controller):
        running = asyncio.create_task(controller.run())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running})
        assert as_pinned(await poller.poll())
        assert poller.link.connections == 1


async def test_one_port_with_two_languages_is_refused() -> None:
    opened = open_battery(Battery(protocol="ninebot_serial", port="/dev/scooter"))
    assert isinstance(opened.source, Poller)
    fitted = Fitted("/dev/scooter", opened.source, "ninebot_serial", at_battery=True)
    with pytest.raises(ControllerError, match="both at /dev/scooter"):
        build_controller("m365_serial", fitted)
