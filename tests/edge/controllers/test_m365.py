"""A Xiaomi M365's own ESC in place of a lock, on the emulated one through a real pty."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.clock import SystemClock
from edge.controllers.base import DONE, Outcome
from edge.controllers.holds import IMMOBILISED, LOCKED, Forgetful, HoldMemory
from edge.controllers.m365 import M365
from edge.drivers.m365_frames import BAUD
from edge.journal import Journal
from edge.journal.holds import JournalHolds
from edge.links.serial import SerialLink
from firmware_shim.faults import Faults
from firmware_shim.m365 import M365Esc
from firmware_shim.pty import serve

OFF, ON = {"on": False}, {"on": True}


class Refusing(Forgetful):
    """A disk that is full."""

    async def save(self, holds: frozenset[str]) -> bool:
        del holds
        return False


@asynccontextmanager
async def scooter(
    esc: M365Esc | None = None,
    memory: HoldMemory | None = None,
    *,
    confirm_s: float = 1.0,
    **rates: float,
) -> AsyncIterator[tuple[M365Esc, M365]]:
    """An ESC and its driver, which polls."""
    esc = esc or M365Esc()
    esc.faults = Faults(rates, seed=3)
    async with serve(esc) as port:
        driver = M365(SerialLink(port.path, baud=BAUD), memory, confirm_s=confirm_s)
        polling = asyncio.create_task(driver.run())
        try:
            await until(lambda: driver.seen() is not None)
            yield esc, driver
        finally:
            polling.cancel()
            await asyncio.wait({polling})


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def held(driver: M365) -> tuple[bool | None, bool | None]:
    """Whether it says that it is locked, and immobilised."""
    state = driver.seen()
    assert state is not None
    return state.locked, state.immobilised


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("lock", {}),
        ("immobilise", ON),
        ("speed_limit", {"kmh": 15}),
        ("speed_mode", {"mode": "eco"}),
        ("lights", ON),
    ],
)
async def test_each_kind_is_done_when_the_registers_say_so(kind: str, args: dict[str, Any]) -> None:
    async with scooter() as (_, driver):
        await until(lambda: driver.is_so(kind, args) is False)
        assert await driver.perform(kind, args) == DONE
        assert driver.is_so(kind, args) is True


@pytest.mark.parametrize(("kind", "args"), [("lock", {}), ("immobilise", ON)])
async def test_nothing_that_rolls_is_locked(kind: str, args: dict[str, Any]) -> None:
    async with scooter() as (esc, driver):
        esc.set({"speed_kmh": 20})
        assert await driver.perform(kind, args) == Outcome("refused", "moving")
        assert (esc.moves, held(driver)) == (0, (False, False))
        esc.set({"speed_kmh": None})
        assert await driver.perform(kind, args) == DONE
        assert (esc.moves, esc.ride.locked) == (1, True)


# Its one bit is its lock and its immobiliser.


async def test_letting_the_motor_run_does_not_unlock_a_locked_scooter() -> None:
    async with scooter() as (esc, driver):
        await driver.perform("lock", {})
        await driver.perform("immobilise", ON)
        assert held(driver) == (True, True)
        assert await driver.perform("immobilise", OFF) == DONE
        assert (held(driver), esc.ride.locked) == ((True, False), True)
        assert await driver.perform("unlock", {}) == DONE
        assert (held(driver), esc.ride.locked) == ((False, False), False)


async def test_unlocking_does_not_let_the_motor_of_an_immobilised_scooter_run() -> None:
    async with scooter() as (esc, driver):
        await driver.perform("immobilise", ON)
        await driver.perform("lock", {})
        assert await driver.perform("unlock", {}) == DONE
        assert (held(driver), esc.ride.locked) == ((False, True), True)
        assert await driver.perform("immobilise", OFF) == DONE
        assert (held(driver), esc.ride.locked) == ((False, False), False)


async def test_an_immobilised_scooter_that_is_pushed_is_unlocked_and_stays_immobilised() -> None:
    async with scooter() as (esc, driver):
        await driver.perform("immobilise", ON)
        esc.set({"speed_kmh": 6})
        assert await driver.perform("unlock", {}) == DONE
        assert await driver.perform("lock", {}) == Outcome("refused", "moving")
        assert (held(driver), esc.ride.locked) == ((False, True), True)


async def test_a_new_agent_knows_why_the_scooter_is_held(tmp_path: Path) -> None:
    esc = M365Esc()
    for kind, args, says in [
        ("lock", {}, (True, False)),
        ("immobilise", ON, (True, True)),
        ("unlock", {}, (False, True)),
        ("immobilise", OFF, (False, False)),
    ]:
        async with a_memory(tmp_path) as memory, scooter(esc, memory) as (_, driver):
            assert await driver.perform(kind, args) == DONE
        async with a_memory(tmp_path) as memory, scooter(esc, memory) as (_, driver):
            assert held(driver) == says


@asynccontextmanager
async def a_memory(folder: Path) -> AsyncIterator[HoldMemory]:
    journal = await Journal.open(folder / "j.db", SystemClock(), boot_id=1)
    try:
        yield JournalHolds(journal)
    finally:
        await journal.close()


async def test_somebody_elses_lock_is_a_lock_and_somebody_elses_unlock_ends_everything() -> None:
    memory = Forgetful()
    async with scooter(memory=memory) as (esc, driver):
        esc.set({"locked": True})
        await until(lambda: held(driver) == (True, False))
        await driver.perform("immobilise", ON)
        esc.set({"locked": False})
        await until(lambda: held(driver) == (False, False))
        assert await memory.load() == frozenset()
        esc.set({"locked": True})
        await until(lambda: held(driver) == (True, False))
        assert await driver.perform("unlock", {}) == DONE
        assert not esc.ride.locked


async def test_an_esc_that_does_not_obey_is_not_believed_to_have() -> None:
    async with scooter(confirm_s=0.3) as (esc, driver):
        await driver.perform("immobilise", ON)
        esc.faults = Faults({"fet_ignored": 1.0}, seed=1)
        assert await driver.perform("immobilise", OFF) == Outcome("failed", "not_confirmed")
        assert held(driver) == (False, True)
        esc.faults = Faults({}, seed=1)
        assert await driver.perform("immobilise", OFF) == DONE
        esc.faults = Faults({"fet_ignored": 1.0}, seed=1)
        assert await driver.perform("lock", {}) == Outcome("failed", "not_confirmed")
        await until(lambda: held(driver) == (False, False))


async def test_why_it_is_held_is_written_down_before_it_is() -> None:
    async with scooter(memory=Refusing()) as (esc, driver):
        assert await driver.perform("immobilise", ON) == Outcome("failed", "error")
        assert esc.moves == 0


async def test_a_power_cut_before_the_switch_leaves_no_reason_behind() -> None:
    memory = Forgetful()
    await memory.save(frozenset({LOCKED, IMMOBILISED}))
    async with scooter(memory=memory) as (_, driver):
        assert held(driver) == (False, False)
        await until(lambda: driver.is_so("unlock", {}) is True)


async def test_no_change_is_told_that_was_none() -> None:
    async with scooter() as (_, driver):
        await driver.perform("lock", {})
        told = []
        driver.on_change = lambda state: told.append((state.locked, state.immobilised))
        await driver.perform("immobilise", ON)
        await driver.perform("immobilise", OFF)
        assert {locked for locked, _ in told} == {True}


async def test_an_esc_that_is_silent_answers_nothing() -> None:
    async with scooter(confirm_s=0.2) as (esc, driver):
        esc.set({"silent": True})
        assert await driver.perform("unlock", {}) == Outcome("failed", "no_answer")
        assert await driver.perform("lock", {}) == Outcome("failed", "no_answer")
        assert esc.moves == 0


@pytest.mark.parametrize(
    ("kind", "args", "reason"),
    [
        ("open_battery", {}, "unsupported"),
        ("speed_mode", {"mode": "walk"}, "unsupported"),
        ("immobilise", {}, "bad_args"),
        ("lights", {"on": 1}, "bad_args"),
    ],
)
async def test_what_it_cannot_do_is_refused(kind: str, args: dict[str, Any], reason: str) -> None:
    async with scooter() as (_, driver):
        assert await driver.perform(kind, args) == Outcome("refused", reason)


@pytest.mark.slow
async def test_through_a_noisy_line_it_still_obeys() -> None:
    async with scooter(confirm_s=3.0, noise=0.1, bad_checksum=0.1, no_reply=0.1) as (esc, driver):
        for _ in range(5):
            assert await driver.perform("lock", {}) == DONE
            assert esc.ride.locked
            assert await driver.perform("unlock", {}) == DONE
            assert not esc.ride.locked
