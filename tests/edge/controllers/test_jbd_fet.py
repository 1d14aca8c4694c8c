"""A battery's switches in place of a lock, on the emulated board through a real pty."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge.controllers.base import DONE, ControllerState, Outcome
from edge.controllers.jbd_fet import JbdFet
from edge.drivers.jbd_uart import JbdDecoder
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink
from edge.rules.battery import BatteryWatch
from firmware_shim.faults import Faults
from firmware_shim.jbd_uart import JbdController
from firmware_shim.pack import Pack, Protection
from firmware_shim.pty import serve

FAST = dataclasses.replace(JbdDecoder.policy, timeout_s=0.05, tries=2)


@asynccontextmanager
async def battery(
    shim: JbdController | None = None, *, confirm_s: float = 0.3, **rates: float
) -> AsyncIterator[tuple[JbdController, Poller, JbdFet]]:
    shim = shim or JbdController(a_pack())
    shim.faults = Faults(rates, seed=3)
    async with serve(shim) as port:
        link = SerialLink(port.path, baud=9600)
        try:
            poller = Poller(link, JbdDecoder(), policy=FAST)
            yield shim, poller, JbdFet(poller, confirm_s=confirm_s)
        finally:
            await link.close()


def a_pack() -> Pack:
    return Pack(seed=1)


async def test_locking_takes_the_discharge_away_and_unlocking_gives_it_back() -> None:
    async with battery() as (shim, _, lock):
        assert await lock.perform("lock", {}) == DONE
        assert (shim.pack.discharge_allowed, shim.pack.charge_allowed) == (False, True)
        assert lock.is_so("lock", {}) is True
        assert await lock.perform("unlock", {}) == DONE
        assert (shim.pack.discharge_allowed, shim.pack.charge_allowed) == (True, True)
        assert lock.is_so("unlock", {}) is True


async def test_the_charge_switch_stays_as_it_was_and_the_lock_too() -> None:
    async with battery() as (shim, _, lock):
        assert await lock.perform("charge_enable", {"on": False}) == DONE
        assert await lock.perform("lock", {}) == DONE
        assert (shim.pack.discharge_allowed, shim.pack.charge_allowed) == (False, False)
        assert await lock.perform("charge_enable", {"on": True}) == DONE
        assert (shim.pack.discharge_allowed, shim.pack.charge_allowed) == (False, True)


async def test_a_new_agent_reads_from_the_board_what_it_was_told() -> None:
    async with battery() as (shim, poller, lock):
        await lock.perform("charge_enable", {"on": False})
        assert await JbdFet(poller).perform("lock", {}) == DONE
        assert (shim.pack.discharge_allowed, shim.pack.charge_allowed) == (False, False)
        assert await JbdFet(poller).perform("charge_enable", {"on": True}) == DONE
        assert (shim.pack.discharge_allowed, shim.pack.charge_allowed) == (False, True)


async def test_a_full_pack_is_not_cut_off_from_charging_by_a_lock() -> None:
    async with battery() as (shim, _, lock):
        shim.set({"charge_fet": False, "protection_bits": int(Protection.CELL_OVERVOLTAGE)})
        assert await lock.perform("lock", {}) == DONE
        assert shim.pack.charge_allowed


async def test_a_switch_that_a_protection_opened_is_no_lock() -> None:
    async with battery() as (shim, poller, lock):
        shim.set({"discharge_fet": False, "protection_bits": int(Protection.DISCHARGE_OVERCURRENT)})
        await poller.poll()
        assert lock.is_so("lock", {}) is False
        assert await lock.perform("unlock", {}) == Outcome("failed", "not_confirmed")
        assert await lock.perform("lock", {}) == DONE


async def test_a_pack_that_is_drawn_from_is_not_cut() -> None:
    async with battery() as (shim, _, lock):
        shim.set({"current_a": -0.6})
        assert await lock.perform("lock", {}) == Outcome("refused", "moving")
        assert shim.pack.discharge_allowed
        shim.set({"current_a": -0.4})
        assert await lock.perform("lock", {}) == DONE


async def test_a_confirmed_write_that_does_nothing_is_found_out() -> None:
    async with battery(fet_ignored=1.0) as (_, _, lock):
        assert await lock.perform("lock", {}) == Outcome("failed", "not_confirmed")


async def test_a_dead_board_and_a_missing_port_do_not_answer() -> None:
    async with battery(no_reply=1.0) as (_, poller, lock):
        assert await lock.perform("lock", {}) == Outcome("failed", "no_answer")
        assert lock.seen() is None
        for _ in range(FAST.offline_after):
            await poller.poll()
        assert lock.seen() is None
    nowhere = SerialLink("/dev/none", baud=9600)
    assert await JbdFet(Poller(nowhere, JbdDecoder())).perform("lock", {}) == Outcome(
        "failed", "no_answer"
    )


async def test_older_firmware_is_put_into_factory_mode_first() -> None:
    class OldBoard(JbdController):
        def _switch_fets(self, data: bytes) -> bool:
            return self._draft is not None and super()._switch_fets(data)

    async with battery(OldBoard(a_pack())) as (shim, _, lock):
        assert await lock.perform("lock", {}) == DONE
        assert not shim.pack.discharge_allowed
        assert shim._draft is None


async def test_a_board_that_refuses_is_an_error() -> None:
    class Stubborn(JbdController):
        def _switch_fets(self, data: bytes) -> bool:
            return not data

    async with battery(Stubborn(a_pack())) as (_, _, lock):
        assert await lock.perform("lock", {}) == Outcome("failed", "error")


@pytest.mark.parametrize(
    ("kind", "args", "reason"),
    [("locate", {}, "unsupported"), ("charge_enable", {}, "bad_args")],
)
async def test_what_it_cannot_do_is_refused(kind: str, args: dict[str, Any], reason: str) -> None:
    async with battery() as (_, _, lock):
        assert await lock.perform(kind, args) == Outcome("refused", reason)


async def test_changes_are_told_by_the_agent_s_own_polls() -> None:
    async with battery() as (shim, poller, lock):
        told: list[ControllerState] = []
        lock.on_change = told.append
        for allowed in (True, True, False):
            shim.pack.discharge_allowed = allowed
            await poller.poll()
        assert [state.locked for state in told] == [False, True]


async def test_a_lock_trips_no_protection_and_what_does_trip_is_told_all_the_same() -> None:
    async with battery() as (shim, poller, lock):
        watch = BatteryWatch(JbdDecoder.ordered_bits)
        await lock.perform("lock", {})
        reading = await poller.poll()
        assert reading is not None
        assert reading.alarms == ("fets_locked",)
        assert watch.see(reading, offline=False) == []
        shim.set({"protection_bits": JbdDecoder.ordered_bits | 1})
        told = watch.see(await poller.poll(), offline=False)
        fields = {"bits": 1, "alarms": "cell_overvoltage"}
        assert told == [("battery.protection_tripped", fields)]


async def test_what_the_first_reading_said_is_known_to_a_lock_that_is_fitted_after_it() -> None:
    async with battery() as (_, poller, lock):
        await lock.perform("lock", {})
        await poller.poll()
        assert JbdFet(poller).is_so("lock", {}) is True


async def test_polls_and_orders_at_once_never_talk_over_one_another() -> None:
    async with battery() as (shim, poller, lock):
        polls = [poller.poll() for _ in range(20)]
        orders = [lock.perform(kind, {}) for kind in ("lock", "unlock", "lock")]
        results = await asyncio.gather(*polls, *orders)
        assert None not in results
        assert results[20:] == [DONE, DONE, DONE]
        assert poller.counters.get("timeouts", 0) == poller.counters["stale_bytes"] == 0
        assert not shim.pack.discharge_allowed
