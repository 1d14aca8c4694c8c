"""From a configuration to a battery on a bus, and what the doctor says of it."""

from pathlib import Path
from typing import ClassVar

import pytest

from edge.battery import open_battery
from edge.doctor import _battery
from edge.drivers.jbd_uart import JbdDecoder
from edge.drivers.registry import DRIVERS, Driver
from edge.drivers.vesc_can import explain_can
from edge.settings import Battery
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from firmware_shim.slcan import SlcanAdapter
from tests.edge.drivers.can_doubles import Listener, Node


@pytest.mark.parametrize(
    ("shim", "protocol"), [("vesc_can", "vesc"), ("nissan_leaf_ev_can", "nissan_leaf_ev_can")]
)
async def test_a_battery_that_broadcasts_is_read_by_its_configuration(
    shim: str, protocol: str
) -> None:
    async with serve(build_shim(shim, soc_pct=60)) as port:
        battery = open_battery(Battery(protocol=protocol, port=f"slcan:{port.path}"))
        reading = await battery.source.poll()
        await battery.link.close()
    assert reading is not None
    assert reading.soc_pct == pytest.approx(60, abs=1)
    assert battery.on_bus


class OnBus(Listener):
    """A decoder that estimates the charge."""

    known: ClassVar[list[tuple[int, float]]] = []

    def know_pack(self, *, cells: int, full_ah: float) -> None:
        self.known.append((cells, full_ah))


class OnLine(JbdDecoder):
    """The same on a serial line."""

    know_pack = OnBus.know_pack
    known = OnBus.known


@pytest.mark.parametrize("port", ["can0", "/dev/ttyUSB0"])
async def test_a_driver_that_estimates_the_charge_is_told_the_pack(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    either = Driver(explain_can, serial=OnLine, can=OnBus)
    monkeypatch.setitem(DRIVERS, "either", lambda: either)
    OnBus.known.clear()
    open_battery(Battery("either", port))
    assert OnBus.known == []
    open_battery(Battery("either", port, cells=10, full_ah=10.4))
    assert OnBus.known == [(10, 10.4)]
    open_battery(Battery("jbd_uart", "/dev/ttyUSB0", cells=10, full_ah=10.4))


async def test_the_doctor_reads_a_battery_on_a_bus() -> None:
    async with serve(build_shim("vesc_can", soc_pct=60)) as port:
        found = await _battery(Battery("vesc", f"slcan:{port.path}"), running=False)
    assert found.ok
    assert "answers:" in found.found


@pytest.mark.slow
async def test_the_doctor_says_what_to_check_on_a_silent_bus() -> None:
    async with serve(SlcanAdapter(Node())) as port:
        found = await _battery(Battery("vesc", f"slcan:{port.path}"), running=False)
    assert "no vesc controller answers" in found.found
    assert "CAN-H and CAN-L are not swapped" in found.next_step


async def test_the_doctor_finds_a_bus_that_is_not_there(tmp_path: Path) -> None:
    found = await _battery(Battery("vesc", f"slcan:{tmp_path / 'none'}"), running=False)
    assert not found.ok
    assert "does not open" in found.found
