"""The Daly shims: bytes of the specification, and the real driver on a pty against every fault."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.battery import open_battery
from edge.drivers.base import BatteryReading
from edge.drivers.daly_uart import DalyDecoder, switch_request
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink
from edge.settings import Battery
from firmware_shim.can import CanFrame
from firmware_shim.daly import DESIGN, DalyBoard, DalyController
from firmware_shim.daly_can import DalyNode
from firmware_shim.faults import Faults
from firmware_shim.pack import Pack, PackDesign
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from tests.edge.drivers import daly_vectors as daly

CELLS_V = (
    *(3.786, 3.789, 3.784, 3.787, 3.785, 3.792, 3.788),
    *(3.786, 3.783, 3.79, 3.781, 3.785, 3.787, 3.791),
)
QUICK = dataclasses.replace(DalyDecoder.policy, gap_s=0.0, timeout_s=0.02, sleeps_after_s=60)


def a_board(*, cells: int = 14, soc_pct: float = 60, **options: object) -> DalyController:
    pack = Pack(PackDesign(cells=cells, capacity_ah=40, sensors=2, cell_noise_v=0), soc_pct=soc_pct)
    return DalyController(DalyBoard(pack, **({"deaf_s": 0.0} | options)))  # type: ignore[arg-type]  # a builder


def request(command: int, data: bytes = bytes(8), *, host: int = 0x40) -> bytes:
    body = bytes((0xA5, host, command, 8)) + data
    return body + bytes((sum(body) & 0xFF,))


def ask(board: DalyController, command: int, data: bytes = bytes(8)) -> bytes:
    (reply,) = board.receive(request(command, data), 0.0)
    return reply


def test_the_specified_values_give_the_specified_bytes() -> None:
    board = a_board()
    board.set({"voltage_v": 53.0, "current_a": 0, "soc_pct": 51.2, "remaining_ah": 40.96})
    assert ask(board, 0x90) == daly.RESTING
    assert ask(board, 0x93)[4:7] + ask(board, 0x93)[8:12] == bytes.fromhex("0001010000a000")
    board.set({"cells_v": list(CELLS_V), "temperatures_c": [18, 17]})
    assert ask(board, 0x91)[4:10] == daly.CELL_RANGE[4:10]
    assert ask(board, 0x92)[4:8] == daly.TEMPERATURE_RANGE[4:8]
    assert ask(board, 0x96)[:7] == daly.TEMPERATURES[:7]
    replies = board.receive(request(0x95), 0.0)
    assert [reply[4:11] for reply in replies[:4]] == [cells[4:11] for cells in daly.CELLS[:4]]
    assert replies[4][4:9] == daly.CELLS[4][4:9]


def test_a_discharge_is_above_the_middle() -> None:
    board = a_board()
    board.set({"current_a": -50})
    assert ask(board, 0x90)[8:10].hex() == "7724"
    assert ask(board, 0x93)[4] == 2


def test_what_a_reply_does_not_use_is_left_over() -> None:
    board = a_board()
    board.set({"soc_pct": 77.7})
    ask(board, 0x90)
    assert ask(board, 0x91)[10:12].hex() == "0309"


@pytest.mark.parametrize(("cells", "frames"), [(4, 2), (14, 5), (15, 5)])
def test_cells_are_answered_in_threes(cells: int, frames: int) -> None:
    replies = a_board(cells=cells).receive(request(0x95), 0.0)
    assert [reply[4] for reply in replies] == list(range(1, frames + 1))
    replies = a_board(cells=cells, first_frame=0, all_frames=True).receive(request(0x95), 0.0)
    assert [reply[4] for reply in replies] == list(range(16))


def test_cycles_are_where_the_board_has_them() -> None:
    for late, expected in ((False, "004d"), (True, "00004d")):
        board = a_board(late_cycles=late)
        board.set({"cycles": 77})
        assert ask(board, 0x94)[9:].hex().startswith(expected)


def test_every_protection_has_its_alarm_bit() -> None:
    board = a_board()
    seen = set()
    for bit in range(12):
        board.set({"protection_bits": 1 << bit})
        seen.add(ask(board, 0x98)[4:12])
    assert len(seen) == 12
    assert bytes(8) not in seen


def test_switches_and_soc_are_written_and_echoed() -> None:
    board = a_board()
    assert ask(board, 0xD9)[2:5].hex() == "d90800"
    assert (board.pack.discharge_allowed, board.pack.charge_allowed) == (False, True)
    assert ask(board, 0xDA)[2:5].hex() == "da0800"
    assert not board.pack.charge_allowed
    assert ask(board, 0xD9, b"\x01" + bytes(7))[4] == 1
    assert board.pack.discharge_allowed
    ask(board, 0x21, bytes(6) + (255).to_bytes(2, "big"))
    assert board.pack.soc_pct == pytest.approx(25.5)
    assert ask(board, 0x00)[2] == 0x00


def test_a_board_that_was_just_asked_is_deaf() -> None:
    board = a_board(deaf_s=0.06)
    answered = [bool(board.receive(request(0x90), at_s)) for at_s in (1.0, 1.05, 1.07, 1.14)]
    assert answered == [True, False, True, True]
    assert board.board.dropped == 1


@pytest.mark.parametrize(
    "frame", [request(0x99), request(0x90, host=0x41), request(0x90)[:-1] + b"\0", daly.RESTING]
)
def test_what_is_no_request_for_it_is_not_answered(frame: bytes) -> None:
    assert a_board().receive(frame, 0.0) == []


@given(cut=st.integers(0, 26), noise=st.binary(max_size=12))
def test_slicing_and_noise_never_cost_a_request_behind_them(cut: int, noise: bytes) -> None:
    stream = noise.replace(b"\xa5", b"") + request(0x90) * 2
    board = a_board()
    replies = board.receive(stream[:cut], 0.0) + board.receive(stream[cut:], 0.0)
    assert len(replies) == 2


def test_the_bus_has_the_same_data() -> None:
    node = DalyNode(a_board().board)
    node.set({"voltage_v": 53.0, "current_a": 0, "soc_pct": 51.2})
    (answer,) = node.receive(CanFrame(0x18900140, bytes(8), True), 0.0)
    assert answer == CanFrame(0x18904001, daly.RESTING[4:12], True)
    assert len(node.receive(CanFrame(0x18950140, bytes(8), True), 0.1)) == 5
    for other in (CanFrame(0x18900240, bytes(8), True), CanFrame(0x140, bytes(8))):
        assert node.receive(other, 0.2) == []
    assert node.tick(1.0) == []


@asynccontextmanager
async def battery(
    board: DalyController, **rates: float
) -> AsyncIterator[tuple[DalyController, Poller]]:
    board.board.faults = board.faults = Faults(rates, seed=5, idle_s=60)
    async with serve(board) as port:
        link = SerialLink(port.path, baud=9600)
        try:
            yield board, Poller(link, DalyDecoder(), policy=QUICK)
        finally:
            await link.close()


async def polled(poller: Poller, times: int) -> list[BatteryReading | None]:
    return [await poller.poll() for _ in range(times)]


@pytest.mark.parametrize(
    "options", [{}, {"first_frame": 0}, {"all_frames": True}, {"late_cycles": True}]
)
async def test_the_driver_reads_all_of_a_pack(options: dict[str, Any]) -> None:
    async with battery(a_board(**options)) as (board, poller):
        board.set({"current_a": -7.5, "cycles": 77, "temperatures_c": [21, None], "soc_pct": 55.5})
        *_, reading = await polled(poller, 9)
        assert reading is not None
        assert (reading.current_a, reading.soc_pct, reading.cycles) == (-7.5, 55.5, 77)
        assert reading.temperatures_c == (21.0, None)
        assert reading.cells_v is not None
        assert len(reading.cells_v) == 14
        assert abs(sum(reading.cells_v) - (reading.voltage_v or 0)) < 0.1
        assert (reading.full_ah, reading.charge_fet, reading.alarms) == (40.0, True, ())
        assert poller.about["hardware"] == "DL-R24TS-14S40A-10"


async def test_a_board_with_the_other_sign_is_read_right_after_three_polls() -> None:
    async with battery(a_board(charge_positive=True)) as (board, poller):
        board.set({"current_a": -7.5})
        currents = [reading and reading.current_a for reading in await polled(poller, 4)]
        assert currents == [None, None, -7.5, -7.5]


async def test_a_mosfet_is_switched_and_an_ignored_write_shows() -> None:
    for rate, expected in ((0.0, False), (1.0, True)):
        async with battery(a_board(), fet_ignored=rate) as (_, poller):
            (off,) = switch_request(discharge=False)
            assert await poller.ask(off) is not None
            reading = await poller.poll()
            assert reading is not None
            assert (reading.discharge_fet, reading.charge_fet) == (expected, True)


async def test_a_tripped_protection_is_an_alarm_and_an_open_mosfet() -> None:
    async with battery(a_board(), protection_trip=1) as (_, poller):
        reading = await poller.poll()
        assert reading is not None
        assert reading.alarms == ("discharge_overcurrent",)
        assert reading.discharge_fet is False


async def test_faults_of_the_line_never_make_a_wrong_reading() -> None:
    rates = dict.fromkeys(
        ("no_reply", "half_frame", "noise", "bad_checksum", "joined", "split"), 0.05
    )
    async with battery(a_board(), **rates) as (board, poller):
        board.set({"voltage_v": 53.2, "current_a": -3.3, "cycles": 77})
        readings = [reading for reading in await polled(poller, 25) if reading]
        assert len(readings) > 15
        assert {(one.voltage_v, one.current_a) for one in readings} == {(53.2, -3.3)}
        assert {one.cells_v for one in readings} - {None} == {(3.8,) * 14}
        assert {one.cycles for one in readings} - {None} == {77}
        assert poller.counters["bad_checksum"] >= 1


async def test_the_driver_leaves_the_board_the_time_it_needs() -> None:
    board = build_shim("daly_uart", seed=1)
    async with serve(board) as port:
        battery = open_battery(Battery(protocol="daly_uart", port=port.path))
        try:
            assert await battery.source.poll() is not None
        finally:
            await battery.link.close()
    assert board.board.dropped == 0


async def test_the_bus_is_read_through_an_slcan_adapter() -> None:
    async with serve(build_shim("daly_can", seed=1)) as port:
        battery = open_battery(Battery(protocol="daly_can", port=f"slcan:{port.path}"))
        try:
            reading = await asyncio.wait_for(battery.source.poll(), 2)
        finally:
            await battery.link.close()
    assert reading is not None
    assert reading.charge_fet is True
    assert reading.soc_pct == 80.0
    assert DESIGN.cells * 3 < (reading.voltage_v or 0) < DESIGN.cells * 4.2
