"""What the vehicle knows, as the alarms see it; and an alarm on a whole agent."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.clock import ManualClock
from edge.commands.governor import SpeedGovernor
from edge.controllers.base import DONE, ControllerState, Outcome
from edge.drivers.base import BatteryReading
from edge.lookout import ENTITLED_S, Lookout
from edge.main import opened
from edge.senses import Senses
from edge.settings import Battery, Controller, Device, Identity, JournalFile, Mqtt, Settings
from firmware_shim.lock_unit import LockUnit as EmulatedLock
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from protocol.bodies import Fact
from tests.edge.commands.parts import FakeLock, facts

HEALTHY = BatteryReading(soc_pct=80.0, temperatures_c=(20.0, None), protection_bits=0)


class Lock(FakeLock):
    """A lock with a compartment."""

    is_open: bool | None = False

    def seen(self) -> ControllerState | None:
        state = super().seen()
        return None if state is None else replace(state, compartment_open=self.is_open)

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        del kind, args
        return DONE


@dataclass
class Pack:
    """A battery that says what it is told to."""

    reading: BatteryReading | None = HEALTHY
    offline: bool = False
    on_reading: Any = None
    trouble: str | None = None
    counters: dict[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    async def poll(self) -> BatteryReading | None:
        return self.reading


class Vehicle:
    """A locked vehicle with a lookout."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lock = Lock(self.clock)
        self.governor = SpeedGovernor(self.lock)
        self.pack = Pack()
        senses = Senses(self.clock, self.lock)
        self.lookout = Lookout(self.clock, senses, self.pack, self.governor, ordered_bits=4)

    def told(self, seconds: int = 1) -> list[tuple[str, Any]]:
        found = []
        for _ in range(seconds):
            self.clock.advance(1.0)
            found += [(kind, fields["alarm"]) for kind, fields in self.lookout.look()]
        return found


def test_nothing_is_told_of_a_healthy_vehicle() -> None:
    assert Vehicle().told(1_000) == []


def test_the_battery_s_values_reach_the_alarms_without_what_somebody_switched() -> None:
    vehicle = Vehicle()
    vehicle.pack.reading = BatteryReading(
        soc_pct=9.0, temperatures_c=(None, 20.0, 61.0), protection_bits=6
    )
    told = vehicle.told(5)
    assert sorted(told) == [
        ("alarm.raised", "battery_fault"),
        ("alarm.raised", "battery_hot"),
        ("alarm.raised", "battery_low"),
    ]
    other = Vehicle()
    other.pack.reading = replace(HEALTHY, protection_bits=4)
    assert other.told(100) == []


def test_a_pack_that_is_gone_is_an_alarm_and_its_last_values_are_not_believed() -> None:
    vehicle = Vehicle()
    vehicle.pack.reading, vehicle.pack.offline = replace(HEALTHY, soc_pct=3.0), True
    assert vehicle.told(100) == [("alarm.raised", "battery_removed")]


def test_a_port_that_is_gone_is_no_stolen_battery() -> None:
    vehicle = Vehicle()
    vehicle.pack.offline, vehicle.pack.trouble = True, "/dev/ttyUSB0 was lost"
    assert vehicle.told(100) == []


def test_braking_with_a_low_battery_is_no_charging() -> None:
    vehicle = Vehicle()
    told = []
    for current_a in (-5.0, -5.0, 2.0, -5.0, 1.0, -4.0):
        vehicle.pack.reading = replace(HEALTHY, soc_pct=19.0, current_a=current_a)
        told += vehicle.told()
    assert told == [("alarm.raised", "battery_low")]


def test_a_car_whose_bus_sleeps_has_lost_no_battery() -> None:
    vehicle = Vehicle()
    vehicle.lookout.sleeps = vehicle.pack.offline = True
    assert vehicle.told(100) == []


def test_a_silent_lock_is_told_after_ten_seconds() -> None:
    vehicle = Vehicle()
    vehicle.lock.silent = True
    assert vehicle.told(10) == []
    assert vehicle.told(10) == [("alarm.raised", "controller_fault")]


async def test_whoever_was_let_in_may_change_the_battery_and_later_it_is_theft_again() -> None:
    vehicle = Vehicle()
    await vehicle.governor.perform("open_battery", {})
    vehicle.lock.is_open = vehicle.pack.offline = True
    assert vehicle.told(300) == []
    vehicle.lock.is_open = False
    assert vehicle.told(30) == []
    vehicle.pack.offline = False
    assert vehicle.told(60) == []
    vehicle.lock.is_open = True
    assert vehicle.told(2) == [("alarm.raised", "battery_removed")]


async def test_a_compartment_that_is_left_open_is_told_in_the_end() -> None:
    vehicle = Vehicle()
    await vehicle.governor.perform("open_battery", {})
    vehicle.lock.is_open = True
    assert vehicle.told(round(ENTITLED_S)) == []
    assert vehicle.told(2) == [("alarm.raised", "battery_removed")]


async def test_an_alarm_is_a_fact_of_the_agent(tmp_path: Path) -> None:
    lock, battery = EmulatedLock(), build_shim("jbd")
    settings = Settings(
        Device("demo-001"),
        Battery("jbd_uart", str(tmp_path / "battery")),
        Mqtt("127.0.0.1", 1),
        JournalFile(str(tmp_path / "j.db")),
        identity=Identity(str(tmp_path / "identity")),
        controller=Controller("lock_unit", str(tmp_path / "lock")),
    )
    async with (
        serve(battery, link_path=tmp_path / "battery"),
        serve(lock, link_path=tmp_path / "lock"),
        opened(settings) as agent,
    ):
        work = asyncio.create_task(agent.run())
        async with asyncio.timeout(10):
            while agent._fitted is None or agent.senses.seen() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            lock.set({"compartment_open": True})
            told: list[Fact] = []
            while not told:
                await asyncio.sleep(0.02)
                told = [one for one in await facts(agent.journal) if one.kind == "alarm.raised"]
        work.cancel()
        await asyncio.wait({work})
        assert [one.fields for one in told] == [
            {"alarm": "battery_removed", "priority": "high", "cause": "compartment"}
        ]
