"""The VESC shims, serial and CAN, byte for byte against the protocol's specification."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_shim.can import CanFrame
from firmware_shim.faults import Faults
from firmware_shim.pack import Pack, PackDesign, Protection
from firmware_shim.slcan import SlcanAdapter
from firmware_shim.vesc import VescController, crc16, framed
from firmware_shim.vesc_can import VescNode
from firmware_shim.vesc_motor import DUTY, Motor

GET_VALUES = bytes.fromhex("02 01 04 40 84 03")
VALUES = 4
BMS = 96


def a_controller(**options: object) -> VescController:
    pack = Pack(PackDesign(cells=10, current_noise_a=0.0), soc_pct=60)
    return VescController(pack, **options)  # type: ignore[arg-type]  # a builder


def a_node(**options: object) -> VescNode:
    pack = Pack(PackDesign(cells=10, current_noise_a=0.0), soc_pct=60)
    return VescNode(pack, **options)  # type: ignore[arg-type]  # a builder


def asked(controller: VescController, payload: bytes, at_s: float = 0.0) -> bytes:
    """The payload of the one reply."""
    (reply,) = controller.receive(framed(payload), at_s)
    return reply[3:-3] if reply[0] == 3 else reply[2:-3]


def number(payload: bytes, at: int, kind: str) -> int:
    value: int = struct.unpack_from(f">{kind}", payload, at)[0]
    return value


def test_the_specified_frames_are_ours() -> None:
    assert framed(b"\x04") == GET_VALUES
    assert framed(bytes.fromhex("546521")).hex() == "0203546521429203"
    assert crc16(b"123456789") == 0x31C3


def test_a_long_payload_has_a_long_length() -> None:
    assert framed(bytes(255))[:2].hex() == "02ff"
    assert framed(bytes(256))[:3].hex() == "030100"


def test_values_lie_where_the_specification_puts_them() -> None:
    controller = a_controller()
    controller.set({"voltage_v": 41.2, "current_a": -12.5})
    payload = asked(controller, b"\x04")
    assert len(payload) == 74
    assert number(payload, 9, "i") == 1250
    assert number(payload, 27, "h") == 412
    assert (payload[53], payload[58], payload[73]) == (0, 104, 0)


@pytest.mark.parametrize("size", [59, 65, 73, 74])
def test_old_firmware_ends_its_values_earlier(size: int) -> None:
    assert len(asked(a_controller(values_bytes=size), b"\x04")) == size


def test_selected_values_are_the_chosen_bytes_of_all() -> None:
    controller = a_controller()
    controller.set({"voltage_v": 41.2, "current_a": -12.5})
    mask = struct.pack(">I", 1 << 3 | 1 << 8 | 1 << 17)
    whole = asked(controller, b"\x04")
    assert (
        asked(controller, b"\x32" + mask)
        == b"\x32" + mask + whole[9:13] + whole[27:29] + whole[58:59]
    )


def test_the_counters_count_what_was_drawn_and_charged() -> None:
    controller = a_controller()
    asked(controller, b"\x04", 0.0)
    controller.pack.demand_a = -6.0
    payload = asked(controller, b"\x04", 600.0)
    assert (number(payload, 29, "i"), number(payload, 33, "i")) == (10_000, 0)
    controller.pack.demand_a = 3.0
    payload = asked(controller, b"\x04", 1200.0)
    assert (number(payload, 29, "i"), number(payload, 33, "i")) == (10_000, 5000)


def test_an_order_drives_until_the_app_time_out() -> None:
    controller = a_controller(timeout_s=1.0)
    controller.receive(framed(struct.pack(">Bi", 6, 20_000)), 0.0)
    payload = asked(controller, b"\x04", 0.5)
    assert (number(payload, 5, "i"), number(payload, 9, "i"), payload[73]) == (2000, 800, 0)
    controller.receive(framed(b"\x1e"), 0.9)
    assert number(asked(controller, b"\x04", 1.5), 5, "i") == 2000
    payload = asked(controller, b"\x04", 2.0)
    assert (number(payload, 5, "i"), number(payload, 9, "i"), payload[73]) == (0, 0, 1)


def test_after_the_time_out_nothing_more_is_drawn() -> None:
    pack = Pack(PackDesign(current_noise_a=0.0))
    motor = Motor(pack, timeout_s=1.0)
    motor.order(36.0, 0.0)
    motor.advance(3600.0)
    assert motor.ah_used == pytest.approx(36.0 * DUTY / 3600)


@pytest.mark.parametrize(
    ("order", "amps"), [((6, 0), 0.0), ((7, 5000), -5.0), ((8, 4000), 10.0), ((8, -4000), -10.0)]
)
def test_every_order_has_its_current(order: tuple[int, int], amps: float) -> None:
    controller = a_controller()
    controller.receive(framed(struct.pack(">Bi", *order)), 0.0)
    assert controller.motor.current_a == amps


def test_a_battery_cut_above_the_voltage_immobilises() -> None:
    controller = a_controller()
    controller.pack.demand_a = -5.0
    assert asked(controller, struct.pack(">Bii", 86, 60_000, 59_000)) == b"\x56"
    assert controller.pack.current_a == 0
    assert asked(controller, struct.pack(">Bii", 86, 30_000, 29_000)) == b"\x56"
    assert controller.pack.current_a == -5


def test_what_is_ignored_is_confirmed_all_the_same() -> None:
    controller = a_controller(faults=Faults({"fet_ignored": 1}))
    assert asked(controller, struct.pack(">Bii", 86, 60_000, 59_000)) == b"\x56"
    controller.receive(framed(b"\x61\x00"), 0.0)
    assert controller.pack.discharge_allowed
    assert controller.pack.charge_allowed


def test_charging_is_forbidden() -> None:
    controller = a_controller()
    assert controller.receive(framed(b"\x61\x00"), 0.0) == []
    assert not controller.pack.charge_allowed


@pytest.mark.parametrize(
    ("what", "number_told"),
    [
        (Protection.CELL_OVERVOLTAGE, 1),
        (Protection.CELL_UNDERVOLTAGE, 2),
        (Protection.SHORT_CIRCUIT, 4),
        (Protection.DISCHARGE_OVERTEMP, 5),
    ],
)
def test_a_protection_is_a_fault(what: Protection, number_told: int) -> None:
    controller = a_controller()
    controller.pack.trip(what, 0.0)
    assert asked(controller, b"\x04")[53] == number_told


def test_the_bms_has_every_cell_and_sensor() -> None:
    controller = a_controller(faults=Faults({"sensor_lost": 1}))
    controller.set({"cells_v": [3.7] * 10, "balancing_bits": 2, "temperatures_c": [20.0, 21.0]})
    payload = asked(controller, bytes((BMS,)))
    assert payload[25] == 10
    assert number(payload, 26, "h") == 3700
    assert payload[46:56] == bytes((0, 1, *(0,) * 8))
    assert (payload[56], number(payload, 57, "h"), number(payload, 59, "h")) == (2, -32768, 2100)


def test_without_a_bms_there_is_no_cell() -> None:
    payload = asked(a_controller(bms=False), bytes((BMS,)))
    assert (payload[:25], payload[25:27]) == (b"\x60" + bytes(24), b"\0\0")


def test_the_version_names_the_hardware() -> None:
    assert asked(a_controller(), b"\0").startswith(b"\x00\x06\x0560_MK6\0")


@pytest.mark.parametrize(
    "broken",
    [GET_VALUES[:-1] + b"\x04", GET_VALUES[:3] + b"\0\0\x03", b"\x02\x00\x00\x00\x03", b"\x05" * 9],
)
def test_a_broken_request_is_not_answered(broken: bytes) -> None:
    controller = a_controller()
    assert controller.receive(broken, 0.0) == []
    assert len(controller.receive(GET_VALUES, 1.0)) == 1


@pytest.mark.parametrize("payload", [b"\x06\0\0", b"\x32\0", b"\x56\0", b"\x61", b"\x7f"])
def test_what_makes_no_sense_is_not_answered(payload: bytes) -> None:
    controller = a_controller()
    assert controller.receive(framed(payload), 0.0) == []
    assert controller.motor.current_a == 0


@given(pieces=st.lists(st.integers(1, 7), min_size=1))
def test_requests_in_any_slices_are_answered(pieces: list[int]) -> None:
    controller = a_controller()
    stream = GET_VALUES + framed(b"\0") + b"\xff" + framed(bytes((BMS,)))
    replies = []
    for size in [*pieces, len(stream)]:
        replies += controller.receive(stream[:size], 0.0)
        stream = stream[size:]
    assert [reply[2] for reply in replies] == [VALUES, 0, BMS]


@given(noise=st.binary(max_size=600))
def test_noise_never_breaks_the_shim(noise: bytes) -> None:
    controller = a_controller()
    controller.receive(noise, 0.0)
    controller.pack.charge_allowed = True
    assert len(controller.receive(GET_VALUES, 10.0)) == 1


def commands(frames: list[CanFrame]) -> list[tuple[int, int]]:
    assert all(frame.extended and len(frame.data) <= 8 for frame in frames)
    return [(frame.can_id >> 8, frame.can_id & 0xFF) for frame in frames]


def data_of(node: VescNode, command: int, at_s: float = 0.0) -> list[bytes]:
    return [frame.data for frame in node.tick(at_s) if frame.can_id >> 8 == command]


def test_a_node_broadcasts_for_its_controller_and_its_bms() -> None:
    said = commands(a_node().tick(0.0))
    assert said[:6] == [(9, 23), (14, 23), (15, 23), (16, 23), (27, 23), (58, 23)]
    assert {command for command, node in said[6:]} == {38, 39, 40, 41, 42, 43, 45}
    assert {node for _, node in said[6:]} == {10}
    assert len(commands(a_node(bms_id=None).tick(0.0))) == 6


def test_broadcasts_come_at_their_rate() -> None:
    node = a_node(status_hz=50)
    assert node.due_s == 0
    node.tick(7.0)
    assert node.due_s == pytest.approx(7.02)


def test_values_on_the_bus_lie_where_the_specification_puts_them() -> None:
    node = a_node()
    node.set({"voltage_v": 41.2, "current_a": -12.5, "soc_pct": 20.0, "temperatures_c": [-5.0]})
    assert number(data_of(node, 16)[0], 4, "h") == 125
    assert number(data_of(node, 27)[0], 4, "h") == 412
    assert struct.unpack(">ff", data_of(node, 38)[0]) == pytest.approx((41.2, 0.0))
    assert struct.unpack(">ff", data_of(node, 39)[0]) == (12.5, 12.5)
    assert [(cells[0], cells[1], len(cells)) for cells in data_of(node, 41)] == [
        (0, 10, 8),
        (3, 10, 8),
        (6, 10, 8),
        (9, 10, 4),
    ]
    assert data_of(node, 43) == [b"\x00\x01" + struct.pack(">h", -500)]
    assert struct.unpack(">hhBBbB", data_of(node, 45)[0]) == (4120, 4120, 51, 255, -5, 0b100)


def test_an_order_on_the_bus_is_obeyed_by_the_one_it_is_for_until_the_time_out() -> None:
    node = a_node()
    order = struct.pack(">i", 51_000)
    node.receive(CanFrame(0x118, order, extended=True), 0.0)
    node.receive(CanFrame(0x117, order), 0.0)
    node.receive(CanFrame(0x117, order[:3], extended=True), 0.0)
    assert node.motor.current_a == 0
    assert node.receive(CanFrame(0x117, order, extended=True), 0.0) == []
    assert node.motor.current_a == 51
    node.tick(0.9)
    assert node.motor.current_a == 51
    node.tick(1.1)
    assert node.motor.current_a == 0


def test_faults_of_the_values_strike_on_the_bus_too() -> None:
    node = a_node(faults=Faults({"sensor_lost": 1, "protection_trip": 1, "fet_ignored": 1}))
    assert number(data_of(node, 43)[0], 2, "h") == -32768
    assert not node.pack.discharge_fet
    node.receive(CanFrame(0x117, struct.pack(">i", 51_000), extended=True), 0.0)
    assert node.motor.current_a == 0


def test_a_node_speaks_through_an_slcan_adapter() -> None:
    adapter = SlcanAdapter(a_node())
    adapter.receive(b"S6\rO\r", 0.0)
    assert any(line.startswith(b"T00001017") for line in adapter.tick(0.0))
