"""The driver of the lock unit against the emulated unit, through a real pty."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.controllers.base import DONE, ControllerState, Outcome
from edge.controllers.lock_unit import LockUnit
from edge.drivers.lock_unit_frames import BAUD
from edge.links.serial import SerialLink
from firmware_shim import lock_unit as emulated
from firmware_shim.faults import Faults
from firmware_shim.pty import serve
from protocol.controllers import VEHICLE_CONTROLLERS

SEED = 5


@asynccontextmanager
async def listening(
    path: str, *, reply_s: float = 0.15, confirm_s: float = 2.0
) -> AsyncIterator[LockUnit]:
    """A driver that reads the line at `path`."""
    link = SerialLink(path, baud=BAUD, backoff_s=(0.02, 0.1))
    driver = LockUnit(link, reply_s=reply_s, confirm_s=confirm_s)
    task = asyncio.create_task(driver.run())
    try:
        yield driver
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(driver: LockUnit, shows: Callable[[ControllerState], bool]) -> ControllerState:
    """Wait for a state of the sensors."""
    found: asyncio.Future[ControllerState] = asyncio.get_running_loop().create_future()

    def look(state: ControllerState) -> None:
        if shows(state) and not found.done():
            found.set_result(state)

    before, driver.on_change = driver.on_change, look
    try:
        if (state := driver.seen()) is not None:
            look(state)
        async with asyncio.timeout(10):
            return await found
    finally:
        driver.on_change = before


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


def speed_is(driver: LockUnit, kmh: float) -> bool:
    state = driver.seen()
    return state is not None and state.speed_kmh == kmh


async def greeted(driver: LockUnit) -> None:
    await eventually(lambda: driver.about is not None and driver.about.session)


@asynccontextmanager
async def fitted(
    rates: Mapping[str, float] | None = None,
    *,
    reply_s: float = 0.15,
    confirm_s: float = 2.0,
    dials: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[emulated.LockUnit, LockUnit]]:
    """A unit with faults on its line, and a driver that has greeted it."""
    unit = emulated.LockUnit()
    unit.set(dials or {})
    async with (
        serve(unit) as port,
        listening(port.path, reply_s=reply_s, confirm_s=confirm_s) as driver,
    ):
        await greeted(driver)
        unit.faults = Faults(rates, seed=SEED)
        yield unit, driver


async def test_the_sensors_are_seen_and_every_change_is_told() -> None:
    async with fitted() as (unit, driver):
        told: list[ControllerState] = []
        driver.on_change = told.append
        unit.set({"speed_kmh": 12.3, "tip_over": True, "locked": False, "charge_cable": True})
        state = await until(driver, lambda state: state.speed_kmh == 12.3)
        assert (state.tip_over, state.locked, state.charge_cable) == (True, False, True)
        assert (state.tamper, state.speed_mode, state.speed_limit_kmh) == (False, "normal", 0.0)
        unit.set({"tamper": True, "compartment_open": True, "lights": True})
        state = await until(driver, lambda state: bool(state.tamper))
        assert (state.compartment_open, state.lights, state.immobilised) == (True, True, False)


async def test_on_change_is_called_at_changes_only() -> None:
    async with fitted(dials={"speed_kmh": 1.0}) as (unit, driver):
        told: list[float | None] = []
        driver.on_change = lambda state: told.append(state.speed_kmh)
        heard = driver.counters["frames"]
        await eventually(lambda: driver.counters["frames"] >= heard + 3)
        assert told == []
        unit.set({"speed_kmh": 2.0})
        await eventually(lambda: told)
        assert told == [2.0]


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("unlock", {}),
        ("immobilise", {"on": True}),
        ("speed_limit", {"kmh": 20}),
        ("speed_mode", {"mode": "eco"}),
        ("open_battery", {}),
        ("locate", {}),
        ("lights", {"on": True}),
    ],
)
async def test_each_kind_is_done_when_the_sensor_says_so(kind: str, args: dict[str, Any]) -> None:
    async with fitted() as (_, driver):
        assert driver.is_so(kind, args) is False
        assert await driver.perform(kind, args) == DONE
        assert driver.is_so(kind, args) is True


async def test_lock_and_unlock_move_the_latch_once_each_and_only_when_it_is_elsewhere() -> None:
    async with fitted() as (unit, driver):
        for kind in ("unlock", "unlock", "lock", "lock"):
            assert await driver.perform(kind, {}) == DONE
        assert unit.moved == {"unlock": 1, "lock": 1}


async def test_limits_and_immobilisation_are_let_go() -> None:
    async with fitted() as (_, driver):
        for kind, args in (
            ("speed_limit", {"kmh": 6}),
            ("speed_limit", {"kmh": None}),
            ("immobilise", {"on": True}),
            ("immobilise", {"on": False}),
        ):
            assert await driver.perform(kind, args) == DONE
        state = driver.seen()
        assert state is not None
        assert (state.speed_limit_kmh, state.immobilised) == (0.0, False)


async def test_the_unit_s_own_refusal_comes_through() -> None:
    async with fitted(dials={"locked": False, "speed_kmh": 20}) as (unit, driver):
        assert await driver.perform("lock", {}) == Outcome("refused", "moving")
        assert unit.moves == 0
        unit.set({"speed_kmh": 0})
        assert await driver.perform("lock", {}) == DONE


async def test_a_jam_is_refused_and_a_latch_that_never_arrives_is_not_confirmed() -> None:
    async with fitted(confirm_s=0.1, dials={"jammed": True}) as (unit, driver):
        assert await driver.perform("unlock", {}) == Outcome("refused", "jammed")
        assert await driver.perform("locate", {}) == DONE
        unit.set({"jammed": None, "stuck": True})
        assert await driver.perform("unlock", {}) == Outcome("failed", "not_confirmed")
        assert driver.is_so("unlock", {}) is False
        assert driver.is_so("lock", {}) is False


async def test_a_latch_that_jams_on_the_way_is_not_waited_for() -> None:
    async with fitted(confirm_s=60, dials={"stuck": True}) as (unit, driver):
        asked = asyncio.create_task(driver.perform("unlock", {}))
        await until(driver, lambda state: state.locked is None)
        unit.set({"jammed": True})
        assert await asyncio.wait_for(asked, 10) == Outcome("failed", "not_confirmed")


async def test_two_orders_at_once_are_carried_out_one_after_the_other() -> None:
    async with fitted(dials={"travel_ms": 50}) as (unit, driver):
        outcomes = await asyncio.gather(driver.perform("unlock", {}), driver.perform("lock", {}))
        assert set(outcomes) == {DONE}
        assert unit.moved == {"unlock": 1, "lock": 1}


@pytest.mark.parametrize(
    ("kind", "args", "reason"),
    [
        ("charge_enable", {"on": True}, "unsupported"),
        ("reboot", {}, "unsupported"),
        ("lights", {}, "bad_args"),
        ("immobilise", {}, "bad_args"),
        ("speed_limit", {"kmh": 300}, "bad_args"),
        ("speed_limit", {"kmh": 2}, "bad_args"),
    ],
)
async def test_what_cannot_be_ordered_is_refused(
    kind: str, args: dict[str, Any], reason: str
) -> None:
    async with fitted() as (unit, driver):
        assert await driver.perform(kind, args) == Outcome("refused", reason)
        assert not unit.moved


@pytest.mark.parametrize("fault", ["noise", "split", "joined", "half_frame", "bad_checksum"])
async def test_a_bad_line_moves_the_latch_neither_twice_nor_unnoticed(fault: str) -> None:
    async with fitted({fault: 0.4}, reply_s=0.03) as (unit, driver):
        for number in range(4):
            kind = ("unlock", "lock")[number % 2]
            outcome = await driver.perform(kind, {})
            assert outcome in (DONE, Outcome("failed", "no_answer"))
            assert unit.moves <= number + 1
            if outcome == DONE:
                assert unit.sensors.latch == (kind == "lock")


async def test_a_repeated_question_moves_once_though_every_reply_is_late() -> None:
    async with fitted({"late_reply": 1.0}) as (unit, driver):
        assert await driver.perform("open_battery", {}) == DONE
        assert unit.moved == {"open_compartment": 1}


@pytest.mark.slow
async def test_a_silent_unit_is_asked_three_times_and_offline_after_two_seconds() -> None:
    async with fitted() as (unit, driver):
        assert driver.seen() is not None
        unit.set({"silent": True})
        assert await driver.perform("unlock", {}) == Outcome("failed", "no_answer")
        assert unit.moves == 1
        await eventually(lambda: driver.seen() is None)
        assert driver.is_so("lock", {}) is None
        unit.set({"silent": None})
        assert (await until(driver, lambda state: state.locked is not None)).locked is False


async def test_an_order_whose_replies_are_lost_is_done_when_the_sensor_shows_it() -> None:
    """The status still comes through: what is true counts, not who said yes."""

    class DeafUnit(emulated.LockUnit):
        def receive(self, data: bytes, now_s: float) -> list[bytes]:
            replies = super().receive(data, now_s)
            return [reply for reply in replies if reply[4] == 0x81]

    unit = DeafUnit()
    async with serve(unit) as port, listening(port.path, reply_s=0.02) as driver:
        await greeted(driver)
        assert await driver.perform("unlock", {}) == DONE
        assert unit.moves == 1


async def test_a_unit_that_lost_power_is_greeted_again_and_obeys() -> None:
    async with fitted() as (unit, driver):
        unit.restart()
        assert await driver.perform("unlock", {}) == DONE
        assert unit.moves == 1


async def test_the_order_after_a_new_start_of_the_agent_is_not_taken_for_an_old_one() -> None:
    unit = emulated.LockUnit()
    async with serve(unit) as port:
        for _ in range(2):
            async with listening(port.path) as driver:
                await until(driver, lambda _: True)
                assert await driver.perform("unlock", {}) == DONE
            unit.set({"locked": True})
    assert unit.moved == {"unlock": 2}


async def test_a_lost_port_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with listening(str(path)) as driver:
        assert await driver.perform("unlock", {}) == Outcome("failed", "no_answer")
        assert driver.trouble is not None
        for kmh in (1.0, 2.0):
            unit = emulated.LockUnit()
            unit.set({"locked": False, "speed_kmh": kmh})
            async with serve(unit, link_path=path):
                await eventually(functools.partial(speed_is, driver, kmh))
                assert await driver.perform("lock", {}) == DONE
                assert driver.trouble is None


async def test_a_unit_of_another_version_is_not_given_orders() -> None:
    class NewUnit(emulated.LockUnit):
        def receive(self, data: bytes, now_s: float) -> list[bytes]:
            return [_as_version_2(reply) for reply in super().receive(data, now_s)]

    async with serve(NewUnit()) as port, listening(port.path) as driver:
        assert driver.capabilities == VEHICLE_CONTROLLERS["lock_unit"].capabilities
        await eventually(lambda: not driver.capabilities)
        assert await driver.perform("unlock", {}) == Outcome("refused", "unsupported")


def _as_version_2(reply: bytes) -> bytes:
    import binascii

    body = reply[2:5] + b"\x02" + reply[6:-2]
    return b"MC" + body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")
