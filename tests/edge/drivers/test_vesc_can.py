"""The VESC decoder on a CAN bus: every broadcast, what is stale, several controllers, its shim."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.base import BatteryReading, FrameError
from edge.drivers.can import CanFrame
from edge.drivers.lines import BadLineError, Line
from edge.drivers.registry import driver
from edge.drivers.vesc_can import VescCanDecoder, explain_can
from firmware_shim.pack import Pack, PackDesign
from firmware_shim.vesc_can import VescNode

STALE_S = VescCanDecoder.policy.stale_s
EVERY_COMMAND = [*range(5), *range(9, 17), 27, *range(38, 46), 58]


def said(command: int, layout: str, *numbers: float, node: int = 23) -> CanFrame:
    return CanFrame(command << 8 | node, struct.pack(layout, *numbers), extended=True)


def current(amps: float, node: int = 23) -> CanFrame:
    return said(16, ">hhhh", 300, 250, round(amps * 10), 0, node=node)


def voltage(volts: float, node: int = 23) -> CanFrame:
    return said(27, ">ih", 0, round(volts * 10), node=node)


def a_bms(node: int = 10, volts: float = 11.0) -> list[CanFrame]:
    return [
        said(38, ">ff", volts, 0.0, node=node),
        said(39, ">ff", 0.0, 1.5, node=node),
        said(41, ">BBhhh", 0, 5, 3701, 3702, 3703, node=node),
        said(41, ">BBhh", 3, 5, 3704, 3705, node=node),
        said(42, ">BIBBB", 5, 0, 0, 0, 0b10010, node=node),
        said(43, ">BBhh", 0, 2, 2150, -32768, node=node),
        said(45, ">hhBBbB", 3701, 3705, 204, 255, 22, 0b101, node=node),
    ]


def fields_of(frame: CanFrame) -> dict[str, object]:
    return explain_can(Line(frame.data.hex(), hex(frame.can_id), extended=True)).fields


def heard(*frames: CanFrame, at_s: float = 100.0) -> VescCanDecoder:
    decoder = VescCanDecoder()
    decoder.feed(frames, at_s)
    return decoder


@pytest.mark.parametrize(
    ("frame", "fields"),
    [
        (said(0, ">i", 50_000), {"set_duty": 0.5}),
        (said(1, ">i", 51_000), {"set_current_a": 51.0}),
        (said(2, ">i", 5000), {"set_brake_current_a": 5.0}),
        (said(3, ">i", -4000), {"set_erpm": -4000}),
        (said(4, ">i", 90_000_000), {"set_pos": 90.0}),
        (said(10, ">i", 25_000), {"set_current_rel": 0.25}),
        (said(11, ">i", 25_000), {"set_brake_current_rel": 0.25}),
        (said(12, ">i", 2500), {"set_handbrake_current_a": 2.5}),
        (said(13, ">i", 25_000), {"set_handbrake_current_rel": 0.25}),
        (
            said(9, ">ihh", -3000, 155, -250),
            {"erpm": -3000, "motor_current_a": 15.5, "duty": -0.25},
        ),
        (said(14, ">ii", 12_345, 1000), {"ah_used": 1.2345, "ah_charged": 0.1}),
        (said(15, ">ii", 450_000, 30_000), {"wh_used": 45.0, "wh_charged": 3.0}),
        (
            said(16, ">hhhh", 310, -255, -72, 50),
            {"temp_fet_c": 31.0, "temp_motor_c": -25.5, "input_current_a": -7.2, "pid_pos": 1.0},
        ),
        (said(27, ">ih", -100, 412), {"tachometer": -100, "input_voltage_v": 41.2}),
        (said(58, ">hhhh", 800, 3300, 0, -500), {"adc1": 0.8, "adc2": 3.3, "adc3": 0, "ppm": -0.5}),
        (said(38, ">ff", 40.5, 42.0), {"bms_voltage_v": 40.5, "charger_voltage_v": 42.0}),
        (said(39, ">ff", 0.5, -1.5), {"bms_input_current_a": 0.5, "bms_current_a": -1.5}),
        (said(40, ">ff", 1.5, math.nan), {"ah_counter": 1.5, "wh_counter": None}),
        (
            said(41, ">BBhh", 3, 5, 3704, 3705),
            {"first": 3, "count": 5, "cell_voltages_v": [3.704, 3.705]},
        ),
        (said(42, ">BIBBB", 3, 1, 2, 3, 0b1101), {"count": 3, "balancing_bits": 0b101}),
        (
            said(43, ">BBh", 0, 1, -1234),
            {"first": 0, "count": 1, "temperatures_c": [-12.34]},
        ),
        (said(44, ">hhh", 2100, 4550, 0), {"temp_humidity_c": 21.0, "humidity_pct": 45.5}),
        (
            said(45, ">hhBBbB", 3650, 3710, 51, 255, -4, 0b110),
            {
                "cell_min_v": 3.65,
                "cell_max_v": 3.71,
                "soc_pct": 20.0,
                "soh_pct": 100.0,
                "temp_max_c": -4,
                "charging": False,
                "balancing": True,
                "charge_allowed": True,
            },
        ),
    ],
)
def test_every_command_of_the_specification_is_told(
    frame: CanFrame, fields: dict[str, object]
) -> None:
    assert fields_of(frame) == {"command": frame.can_id >> 8, "vesc_id": 23} | fields


def test_the_specified_order_is_51_amperes_to_controller_23() -> None:
    line = Line("0000c738", "0x117", extended=True)
    assert driver("vesc").explain(line).fields["set_current_a"] == 51.0
    assert driver("vesc").explain(Line("0000c738", "117")).fields["vesc_id"] == 23


def test_one_frame_can_be_a_reading_of_its_own() -> None:
    found = explain_can(Line(current(12.5).data.hex(), "0x1017"))
    assert found.reading == BatteryReading(current_a=-12.5)
    assert explain_can(Line("0000000000000000", "0x0917")).reading is None


@pytest.mark.parametrize(
    ("can_id", "data", "reason"),
    [
        ("0x117", "0000c7", "length"),
        ("0x2617", "42200000", "length"),
        ("0x2917", "0005", "length"),
        ("0x2917", "0005aabbcc", "length"),
        ("0x2a17", "05", "length"),
        ("0x2d17", "0e740e79", "length"),
        ("0x1117", "00", "unsupported"),
        ("0x20000117", "0000c738", "start"),
        ("-0x17", "0000c738", "start"),
    ],
)
def test_a_frame_that_makes_no_sense_is_refused(can_id: str, data: str, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        explain_can(Line(data, can_id))
    assert caught.value.reason == reason


@pytest.mark.parametrize("line", [Line("00", "0xzz"), Line("0g", "0x117"), Line(None, "0x117")])
def test_a_line_that_is_no_frame_is_refused(line: Line) -> None:
    with pytest.raises(BadLineError):
        explain_can(line)


def test_voltage_and_current_make_a_reading() -> None:
    decoder = heard(current(12.5), voltage(41.2))
    assert decoder.reading(100.0) == BatteryReading(voltage_v=41.2, current_a=-12.5)
    assert decoder.counters.frames == 2
    assert decoder.about == {"controllers": [23]}


def test_the_currents_of_two_controllers_add_up() -> None:
    decoder = heard(current(12.5), current(-2.0, node=24), voltage(41.2), voltage(41.4, node=24))
    reading = decoder.reading(100.0)
    assert reading is not None
    assert reading.current_a == -10.5
    assert reading.voltage_v == pytest.approx(41.3)


def test_a_reading_is_stale_when_both_its_numbers_are() -> None:
    decoder = heard(current(12.5), at_s=100.0)
    decoder.feed([voltage(41.2)], 101.0)
    assert decoder.reading(100.0 + STALE_S) == BatteryReading(voltage_v=41.2, current_a=-12.5)
    assert decoder.reading(100.5 + STALE_S) == BatteryReading(voltage_v=41.2)
    assert decoder.reading(101.5 + STALE_S) is None


def test_a_bms_is_believed_before_the_controllers() -> None:
    decoder = heard(current(12.5), voltage(41.2), *a_bms())
    assert decoder.reading(100.0) == BatteryReading(
        voltage_v=11.0,
        current_a=-1.5,
        soc_pct=80.0,
        soh_pct=100.0,
        temperatures_c=(21.5, None),
        cells_v=(3.701, 3.702, 3.703, 3.704, 3.705),
        charge_fet=True,
        balancing_bits=0b10010,
    )
    decoder.feed([current(12.5), voltage(41.2)], 100.5 + STALE_S)
    assert decoder.reading(100.5 + STALE_S) == BatteryReading(voltage_v=41.2, current_a=-12.5)


def test_cells_are_unknown_until_the_last_piece_came() -> None:
    first, second = a_bms()[2:4]
    decoder = heard(a_bms()[0], first)
    reading = decoder.reading(100.0)
    assert reading is not None
    assert reading.cells_v is None
    decoder.feed([second], 100.1)
    reading = decoder.reading(100.1)
    assert reading is not None
    assert reading.cells_v is not None
    decoder.feed([a_bms()[0], second], 101.0 + STALE_S)
    reading = decoder.reading(101.0 + STALE_S)
    assert reading is not None
    assert reading.cells_v is None


def test_another_bms_is_heard_when_the_first_fell_silent() -> None:
    decoder = heard(*a_bms(node=10), *a_bms(node=11, volts=48.0))
    reading = decoder.reading(100.0)
    assert reading is not None
    assert (reading.voltage_v, decoder.about["bms"]) == (11.0, 10)
    decoder.feed([said(38, ">ff", 48.0, 0.0, node=11)], 100.5 + STALE_S)
    assert decoder.reading(100.5 + STALE_S) == BatteryReading(voltage_v=48.0)


def test_what_is_no_number_is_unknown() -> None:
    decoder = heard(said(38, ">ff", math.nan, 0.0), said(39, ">ff", 0.0, math.inf))
    assert decoder.reading(100.0) is None


def test_strangers_on_the_bus_are_skipped_unseen() -> None:
    eleven_bits = CanFrame(0x10, bytes(8))
    unknown = CanFrame(0x1117, bytes(8), extended=True)
    decoder = heard(eleven_bits, unknown, said(9, ">ihh", 0, 0, 0))
    assert (decoder.counters.frames, decoder.reading(100.0)) == (0, None)


def test_a_short_frame_is_counted_and_changes_nothing() -> None:
    decoder = heard(current(12.5), voltage(41.2))
    decoder.feed([CanFrame(0x1B17, b"\0\0\0\0\x01", extended=True)], 100.1)
    assert decoder.counters.bad == {"length": 1}
    assert decoder.reading(100.1) == BatteryReading(voltage_v=41.2, current_a=-12.5)


def test_nothing_is_ever_asked() -> None:
    decoder = VescCanDecoder()
    assert (*decoder.begin(0.0), *decoder.tick(0.0), *decoder.feed([voltage(40)], 0.0)) == ()
    assert (decoder.waiting, decoder.due_s) == (False, math.inf)


@given(
    frames=st.lists(
        st.builds(
            lambda command, node, data: CanFrame(command << 8 | node, data, extended=True),
            st.sampled_from(EVERY_COMMAND),
            st.integers(0, 3),
            st.binary(max_size=8),
        ),
        max_size=40,
    )
)
def test_no_frame_ever_breaks_the_decoder(frames: list[CanFrame]) -> None:
    decoder = VescCanDecoder()
    decoder.know_pack(cells=10, full_ah=10.0)
    for number, frame in enumerate(frames):
        decoder.feed([frame], number / 2)
        reading = decoder.reading(number / 2)
        assert reading is None or isinstance(reading.raw_quality, tuple)


def test_the_charge_is_estimated_over_all_controllers_once_a_second() -> None:
    decoder = VescCanDecoder()
    decoder.know_pack(cells=10, full_ah=10.0)
    counts = [said(14, ">ii", 50_000, 0), said(14, ">ii", 70_000, 0, node=24)]
    decoder.feed([*counts, current(0.0), current(0.0, 24), voltage(37.0)], 0.0)
    decoder.feed([voltage(37.0)], 0.5)
    for step in range(1, 11):
        drawn = round(step * 0.1 * 10_000)
        counts = [said(14, ">ii", 50_000 + drawn, 0), said(14, ">ii", 70_000 + drawn, 0, node=24)]
        decoder.feed([*counts, current(20.0), current(20.0, 24), voltage(35.0)], step * 1.5)
    reading = decoder.reading(15.0)
    assert reading is not None
    assert reading.soc_pct == pytest.approx(30, abs=2)


def test_without_counters_no_charge_is_estimated_under_load() -> None:
    decoder = VescCanDecoder()
    decoder.know_pack(cells=10, full_ah=10.0)
    decoder.feed([said(14, ">ii", 50_000, 0), current(0.0), voltage(37.0)], 0.0)
    for step in range(1, 11):
        decoder.feed([current(20.0), voltage(35.0)], step * 60.0)
    reading = decoder.reading(600.0)
    assert reading is not None
    assert reading.soc_pct is None


def test_the_driver_hears_the_shim() -> None:
    node = VescNode(Pack(PackDesign(cells=10), soc_pct=60))
    node.set({"voltage_v": 36.5, "current_a": -7.25, "soc_pct": 60.0, "temperatures_c": 19.0})
    decoder = VescCanDecoder()
    frames = [CanFrame(*frame) for frame in node.tick(5.0)]
    decoder.feed(frames, 5.0)
    assert decoder.counters.bad == {}
    assert decoder.reading(5.0) == BatteryReading(
        voltage_v=36.5,
        current_a=-7.25,
        soc_pct=60.0,
        soh_pct=100.0,
        temperatures_c=(19.0,) * 3,
        cells_v=(3.65,) * 10,
        charge_fet=True,
        balancing_bits=0,
    )
    for frame in frames:
        fields_of(frame)
