"""CAN links: an slcan adapter on a pty, a bus of python-can, a played capture."""

import asyncio
import math
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.battery import open_battery
from edge.drivers.can import CanFrame, CanPolicy
from edge.drivers.can_poller import CanPoller
from edge.drivers.registry import DRIVERS, Driver, UnknownProtocolError
from edge.links.base import LinkDownError
from edge.links.can import BusLink, BusPort, slcan_port
from edge.links.can_opening import open_can_link
from edge.links.can_replay import ReplayCanLink
from edge.links.opening import is_bus
from edge.links.slcan_bus import SlcanBus
from edge.settings import Battery
from firmware_shim import can as shim
from firmware_shim.faults import Faults
from firmware_shim.pty import Port, serve
from firmware_shim.slcan import SlcanAdapter
from tests.edge.drivers.can_doubles import (
    ANSWERED,
    ASKED,
    Asker,
    Listener,
    Node,
    PatientAsker,
    spoken,
)

QUICK = (0.01, 0.02)
CANDUMP = """\
(1436509052.000000) can0 100#0DAC
(1436509052.010000) can0 7FF#00
(1436509052.020000) can0 100#0DAD
"""
ASKED_ONCE = """\
{"note": "bench 3"}
{"t_ms": 0, "direction": "request", "can_id": "0x200", "hex": ""}
{"t_ms": 20, "direction": "response", "can_id": "0x201", "hex": "01e0"}
"""


@asynccontextmanager
async def bus_of(*nodes: Node, policy: CanPolicy = Listener.policy) -> AsyncIterator[BusLink]:
    """An adapter on a pty with nodes behind it, and the link to it."""
    async with serve(SlcanAdapter(*nodes)) as port:
        link = link_to(port, policy)
        try:
            yield link
        finally:
            await link.close()


def link_to(port: Port, policy: CanPolicy = Listener.policy) -> BusLink:
    def opening() -> object:
        return slcan_port(port.path, bitrate=policy.bitrate, listens=policy.listens)

    return BusLink(port.path, opening, backoff_s=QUICK)  # type: ignore[arg-type]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):
        while not true():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.002)


async def test_a_broadcast_is_read_through_an_adapter() -> None:
    async with bus_of(Node(350.4, period_s=0.005)) as link:
        poller = CanPoller(link, Listener(), policy=CanPolicy(answers_s=2))
        reading = await poller.poll()
        assert reading is not None
        assert reading.voltage_v == 350.4
        assert link.connections == 1


async def test_a_question_is_answered_through_an_adapter() -> None:
    async with bus_of(Node(48.2), policy=Asker.policy) as link:
        reading = await CanPoller(link, Asker()).poll()
        assert reading is not None
        assert reading.voltage_v == 48.2


async def test_a_bus_at_another_bit_rate_is_silent_and_one_at_the_right_one_is_not() -> None:
    async with bus_of(Node(period_s=0.005, bitrate=250_000)) as link:
        assert await CanPoller(link, Listener()).poll() is None
    policy = CanPolicy(bitrate=250_000, answers_s=2)
    async with bus_of(Node(period_s=0.005, bitrate=250_000), policy=policy) as link:
        assert await CanPoller(link, Listener(), policy=policy).poll() is not None


class Burst(Node):
    """Says 2,000 numbered frames in pieces of 20, once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.left = [CanFrame(0x100, number.to_bytes(2, "big")) for number in range(2000)]

    def tick(self, now_s: float) -> list[shim.CanFrame]:
        said, self.left = self.left[:20], self.left[20:]
        self.due_s = now_s if self.left else math.inf
        return [shim.CanFrame(*frame) for frame in said]


async def test_nothing_is_lost_while_nobody_polls() -> None:
    node = Burst()
    sent = list(node.left)
    adapter = SlcanAdapter(node)
    async with serve(adapter) as port:
        link = link_to(port, CanPolicy())
        heard: list[CanFrame] = []
        link.on_frames = heard.extend
        link.open()
        await until(lambda: adapter.is_open)
        node.due_s = 0.0
        assert node.wake is not None
        node.wake()
        await until(lambda: len(heard) >= len(sent))
        assert heard == sent
        await link.close()


async def test_what_was_no_frame_is_counted_over_every_connection() -> None:
    node = Node(period_s=0.002, faults=Faults({"bad_checksum": 1}))
    async with bus_of(node) as link:
        link.open()
        await until(lambda: link.counters.get("line_bad_length", 0) >= 3)
        await link.close()
        before = link.counters["line_bad_length"]
        link.open()
        await until(lambda: link.counters["line_bad_length"] > before)


async def test_a_port_that_comes_back_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    link = BusLink("bus", lambda: slcan_port(str(path), bitrate=500_000), backoff_s=QUICK)
    poller = CanPoller(link, Listener(), policy=CanPolicy(answers_s=2))
    assert await poller.poll() is None
    assert poller.trouble == (
        "Cannot open bus (no such file or directory); check the cable, the name and the rights."
    )
    for connection in (1, 2):
        async with serve(SlcanAdapter(Node(period_s=0.005)), link_path=path):
            await asyncio.sleep(QUICK[1])
            assert await poller.poll() is not None
            assert link.connections == connection
        await until(lambda: link.port is None)
    with pytest.raises(LinkDownError, match="is not open"):
        link.send(CanFrame(1, b""))


async def test_while_a_port_is_lost_it_is_tried_once_in_the_back_off_time() -> None:
    tries: list[int] = []

    def opening() -> BusPort:
        tries.append(1)
        raise FileNotFoundError(2, "No such file or directory")

    link = BusLink("bus", opening, backoff_s=(5, 5))
    for _ in range(3):
        with pytest.raises(LinkDownError):
            link.open()
    assert len(tries) == 1


async def test_an_adapter_that_takes_no_bytes_is_down_and_no_deadlock() -> None:
    master, slave = os.openpty()
    link = BusLink("bus", lambda: slcan_port(os.ttyname(slave), bitrate=500_000))
    link.open()
    full = [CanFrame(0x7FF, bytes(8))] * 5000
    with pytest.raises(LinkDownError, match="takes no frames"):
        deque(map(link.send, full), maxlen=0)
    await link.close()
    os.close(slave)
    os.close(master)


async def test_any_bus_of_python_can_with_a_descriptor_will_do() -> None:
    async with serve(SlcanAdapter(Node(48.2))) as port:
        link = BusLink("bus", lambda: BusPort(SlcanBus(port.path)))
        reading = await CanPoller(link, Asker()).poll()
        assert reading is not None
        assert reading.voltage_v == 48.2
        with pytest.raises(ValueError, match="29"):
            link.send(CanFrame(1 << 29, b"", extended=True))
        await link.close()


async def test_a_kernel_without_the_interface_is_told_with_what_to_do() -> None:
    with pytest.raises(LinkDownError, match=r"^Cannot open socketcan:nocan \(.*check the cable"):
        open_can_link("socketcan:nocan", CanPolicy(listens=frozenset({(1, False)}))).open()


async def test_a_capture_is_played_in_its_time_and_begins_again(tmp_path: Path) -> None:
    file = tmp_path / "bus.log"
    file.write_text(CANDUMP, "utf-8")
    link = open_can_link(f"replay:{file}", CanPolicy())
    heard: list[CanFrame] = []
    link.on_frames = heard.extend
    link.open()
    await asyncio.sleep(0)
    assert len(heard) <= 1
    await until(lambda: len(heard) >= 4)
    await link.close()
    assert heard[:4] == [spoken(350), CanFrame(0x7FF, b"\0"), spoken(350.1), spoken(350)]
    await asyncio.sleep(0.03)
    assert len(heard) == 4


async def test_a_recorded_request_gets_its_answers(tmp_path: Path) -> None:
    file = tmp_path / "bus.jsonl"
    file.write_text(ASKED_ONCE, "utf-8")
    poller = CanPoller(open_can_link(f"replay:{file}", CanPolicy()), Asker())
    for _ in range(2):
        reading = await poller.poll()
        assert reading is not None
        assert reading.voltage_v == 48.0


@pytest.mark.parametrize("text", ["no json", '{"hex": "00"}', ""])
def test_a_file_that_is_no_capture_of_a_bus_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bus.jsonl"
    file.write_text(text, "utf-8")
    with pytest.raises(LinkDownError, match=r"bus\.jsonl"):
        ReplayCanLink.from_file(file)
    assert not is_bus(f"replay:{file}")


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ("slcan:/dev/ttyACM0", True),
        ("socketcan:can0", True),
        ("can0", True),
        ("/dev/ttyACM0", False),
    ],
)
def test_a_port_s_name_says_whether_it_is_a_bus(port: str, expected: bool) -> None:
    assert is_bus(port) is expected


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protocols on a bus alone, and on either line."""
    from edge.drivers.jbd_uart import JbdDecoder

    def explain(_: object) -> object:
        raise AssertionError

    monkeypatch.setitem(DRIVERS, "bus", lambda: Driver(explain, can=Listener))  # type: ignore[arg-type]
    either = Driver(explain, serial=JbdDecoder, can=Listener)  # type: ignore[arg-type]
    monkeypatch.setitem(DRIVERS, "either", lambda: either)


@pytest.mark.parametrize(
    ("protocol", "port", "on_bus"),
    [
        ("bus", "/dev/ttyACM0", True),
        ("bus", "can0", True),
        ("either", "slcan:/dev/ttyACM0", True),
        ("either", "can0", True),
        ("either", "/dev/ttyUSB0", False),
        ("jbd_uart", "/dev/ttyUSB0", False),
        ("jbd_uart", "battery", False),
    ],
)
@pytest.mark.usefixtures("both")
async def test_the_port_chooses_the_line_where_a_protocol_has_both(
    protocol: str, port: str, on_bus: bool
) -> None:
    battery = open_battery(Battery(protocol=protocol, port=port))
    assert battery.on_bus is on_bus
    assert isinstance(battery.source, CanPoller) is on_bus


@pytest.mark.parametrize("port", ["slcan:/dev/ttyACM0", "socketcan:can0"])
def test_a_serial_protocol_on_a_bus_is_refused(port: str) -> None:
    with pytest.raises(UnknownProtocolError, match="read on a serial line"):
        open_battery(Battery(protocol="jbd_uart", port=port))


async def test_asked_and_answered_frames_pass_by_everybody_else() -> None:
    other = Node(12.0)
    async with bus_of(Node(48.2), other, policy=PatientAsker.policy) as link:
        other.deaf_to = 1
        await CanPoller(link, PatientAsker()).poll()
    assert [frame.can_id for frame in other.heard] == [ASKED, ANSWERED]


def test_python_can_is_loaded_by_nobody_who_speaks_slcan() -> None:
    script = (
        "import sys, edge.links.slcan_port, edge.drivers.can_poller; print('can' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.split() == [b"False"]
