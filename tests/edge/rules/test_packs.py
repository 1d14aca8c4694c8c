"""The serial of a pack, and what a change of it amounts to."""

from collections.abc import Callable, Mapping
from typing import Any

from edge.drivers.base import BatteryReading
from edge.packs import PackKeeper
from edge.rules.packs import PackWatch


def test_the_first_pack_ever_is_fitted_and_the_same_one_is_no_news() -> None:
    watch = PackWatch()
    assert watch.see("PK-1", 80.0) == [("pack.fitted", {"serial": "PK-1", "soc_pct": 80.0})]
    assert watch.see("PK-1", 20.0) == []


def test_another_pack_is_a_swap_with_both_serials_and_the_charge() -> None:
    watch = PackWatch("PK-1")
    swap = {"old_serial": "PK-1", "new_serial": "PK-2", "soc_pct": 96.0}
    assert watch.see("PK-2", 96.0) == [("pack.swapped", swap)]
    assert watch.see("PK-2", 95.0) == []


def test_silence_and_an_empty_bay_are_no_swap() -> None:
    watch = PackWatch("PK-1")
    assert watch.see(None, None) == watch.see("", 3.0) == watch.see("PK-1", 3.0) == []


def test_a_charge_that_nobody_knows_is_left_out() -> None:
    assert PackWatch().see("PK-1", None) == [("pack.fitted", {"serial": "PK-1"})]


class Battery:
    on_reading: Callable[[BatteryReading], None] | None = None
    trouble = None

    def __init__(self, serial: str | None = None) -> None:
        self.offline = False
        self.reading: BatteryReading | None = BatteryReading(soc_pct=64.0)
        self.about: Mapping[str, Any] = {} if serial is None else {"serial": serial}

    @property
    def counters(self) -> dict[str, int]:
        return {}

    async def poll(self) -> BatteryReading | None:
        return self.reading


class Memory:
    def __init__(self, serial: str | None = None, *, full: bool = False) -> None:
        self.serial, self.full, self.saves = serial, full, 0

    async def load(self) -> str | None:
        return self.serial

    async def save(self, serial: str) -> bool:
        self.saves += 1
        if not self.full:
            self.serial = serial
        return not self.full


async def test_a_pack_that_was_changed_while_the_agent_was_off_is_a_swap() -> None:
    memory = Memory("PK-1")
    keeper = PackKeeper(Battery("PK-2"), memory)
    ((kind, fields),) = await keeper.news()
    assert (kind, fields["old_serial"], fields["soc_pct"]) == ("pack.swapped", "PK-1", 64.0)
    assert memory.serial == "PK-1"
    await keeper.told()
    assert memory.serial == "PK-2"
    assert await keeper.news() == []
    await keeper.told()
    assert memory.saves == 1


async def test_a_battery_that_is_silent_or_has_no_serial_tells_nothing() -> None:
    battery = Battery("PK-2")
    battery.offline = True
    for one in (battery, Battery()):
        keeper = PackKeeper(one, Memory("PK-1"))
        assert await keeper.news() == []
        await keeper.told()


async def test_a_pack_that_could_not_be_remembered_is_tried_again() -> None:
    memory = Memory(full=True)
    keeper = PackKeeper(Battery("PK-1"), memory)
    assert len(await keeper.news()) == 1
    await keeper.told()
    memory.full = False
    assert await keeper.news() == []
    await keeper.told()
    assert memory.serial == "PK-1"
