"""The VESC decoder on a serial line: vectors, its shim, and the charge it guesses."""

import binascii
import dataclasses
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.battery import open_battery
from edge.drivers.base import BatteryReading, FrameError
from edge.drivers.lines import Line
from edge.drivers.poller import Poller
from edge.drivers.registry import driver
from edge.drivers.vesc_frames import BMS_VALUES, FIRMWARE, VALUES, request
from edge.drivers.vesc_soc import REST_SAMPLES, DrawnAh, SocEstimator, resting_soc_pct
from edge.drivers.vesc_uart import BMS_OUTLIVES, VescDecoder
from edge.links.serial import SerialLink
from edge.settings import Battery
from firmware_shim.faults import Faults
from firmware_shim.pack import Pack, PackDesign
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from firmware_shim.vesc import VescController
from tests.edge.drivers import vesc_vectors as vesc

OLD_VALUES = vesc.RIDING[2:-3]
CELLS = (3.701, 3.702, 3.703)


def framed(payload: bytes, start: int = 2) -> bytes:
    """A frame with a right CRC around any payload."""
    head = bytes((start,)) + len(payload).to_bytes(start - 1, "big")
    return head + payload + binascii.crc_hqx(payload, 0).to_bytes(2, "big") + b"\x03"


def values(**changed: tuple[int, str, int]) -> bytes:
    """RIDING with other numbers, each (offset in the payload, kind, raw)."""
    payload = bytearray(OLD_VALUES)
    for at, kind, raw in changed.values():
        struct.pack_into(f">{kind}", payload, at, raw)
    return framed(bytes(payload))


def bms_values(
    cells: tuple[float, ...] = CELLS, celsius: tuple[float, ...] = (21.5, -3.25)
) -> bytes:
    payload = struct.pack(">B6iB", BMS_VALUES, 11_106_000, 0, 0, -2_500_000, 1000, 2000, len(cells))
    payload += b"".join(struct.pack(">h", round(cell_v * 1000)) for cell_v in cells)
    payload += bytes(number == 1 for number in range(len(cells))) + bytes((len(celsius),))
    payload += b"".join(struct.pack(">h", round(degrees * 100)) for degrees in celsius)
    return framed(payload + struct.pack(">6hB", 0, 0, 0, 2150, 640, 980, 10))


def fields_of(frame: bytes) -> dict[str, Any]:
    return VescDecoder.explain(frame).fields


def test_values_are_asked_byte_for_byte() -> None:
    assert request(VALUES) == vesc.GET_VALUES
    assert request(84, b"\x65\x21") == vesc.COMMAND_84


def test_what_the_controller_draws_is_negative_in_the_reading() -> None:
    fields, reading = VescDecoder.explain(vesc.RIDING)
    assert (fields["input_current_a"], fields["motor_current_a"]) == (12.5, 20.0)
    assert (fields["ah_used"], fields["ah_charged"], fields["erpm"]) == (1.2345, 0.1, 10_000)
    assert reading == BatteryReading(voltage_v=41.2, current_a=-12.5, alarms=(), protection_bits=0)


def test_a_controller_on_a_bench_reads_as_its_frame_says() -> None:
    fields, reading = VescDecoder.explain(vesc.BENCH_VALUES)
    assert (fields["controller_id"], fields["pid_pos"]) == (42, 90.25)
    assert (fields["temp_fet_c"], fields["wh_used"], fields["tachometer_abs"]) == (22.5, 9.0, 5678)
    assert reading == BatteryReading(voltage_v=36.4, current_a=0.0, alarms=(), protection_bits=0)
    text = VescDecoder.explain(vesc.CAN_ID_TEXT).fields["text"]
    assert text == "id 42 on the bus\r\n"


def test_braking_charges() -> None:
    _, reading = VescDecoder.explain(values(current=(9, "i", -350)))
    assert reading is not None
    assert reading.current_a == 3.5


def test_firmware_of_any_age_is_read_as_far_as_it_goes() -> None:
    newest = OLD_VALUES + struct.pack(">hhhiiB", 301, 302, 303, -1500, 12_345, 3)
    ages = {
        59: {"controller_id"},
        65: {"controller_id", "temp_mos1_c", "temp_mos3_c"},
        73: {"controller_id", "temp_mos1_c", "temp_mos3_c", "vd_v", "vq_v"},
        74: {"controller_id", "temp_mos1_c", "temp_mos3_c", "vd_v", "vq_v", "status_bits"},
    }
    late = set().union(*ages.values())
    for size, names in ages.items():
        assert set(fields_of(framed(newest[:size]))) & late == names
    fields = fields_of(framed(newest))
    assert [fields[name] for name in ("temp_mos3_c", "vd_v", "vq_v")] == [30.3, -1.5, 12.345]
    assert fields["status_bits"] == 3


def test_values_that_end_before_the_voltage_are_no_reading() -> None:
    decoder = VescDecoder()
    assert len(decoder.feed(framed(OLD_VALUES[:28]))) == 1
    assert decoder.reading() is None
    assert VescDecoder.explain(framed(OLD_VALUES[:28])).reading is None


@pytest.mark.parametrize(
    ("fault", "bits", "alarms"),
    [
        (0, 0, ()),
        (1, 1 << 1, ("pack_overvoltage",)),
        (4, 1 << 4, ("overcurrent",)),
        (22, 1 << 22, ("fault_22",)),
        (200, 1, ("fault_200",)),
    ],
)
def test_a_fault_is_an_alarm_with_its_bit(fault: int, bits: int, alarms: tuple[str, ...]) -> None:
    _, reading = VescDecoder.explain(values(fault=(53, "B", fault)))
    assert reading is not None
    assert (reading.protection_bits, reading.alarms) == (bits, alarms)


def test_long_payloads_have_longer_lengths() -> None:
    text = b"\x15" + b"x" * 300
    assert fields_of(framed(text, 3)) == fields_of(framed(text, 4))
    assert fields_of(framed(text, 3))["length"] == 301
    (frame,) = VescDecoder().feed(framed(text, 3))
    assert frame.key == 21


def test_selected_values_are_those_of_the_mask() -> None:
    mask = 1 << 3 | 1 << 8 | 1 << 15
    data = struct.pack(">BIihB", 50, mask, 1250, 412, 2)
    fields, reading = VescDecoder.explain(framed(data))
    assert fields == {
        "command": 50,
        "length": 12,
        "mask": mask,
        "input_current_a": 12.5,
        "input_voltage_v": 41.2,
        "fault": 2,
    }
    assert reading is not None
    assert (reading.voltage_v, reading.current_a) == (41.2, -12.5)
    assert fields_of(framed(data[:5]))["data"] == mask.to_bytes(4, "big").hex()


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ("06ffffffff", {"set_current_a": -0.001}),
        ("0700001388", {"set_brake_current_a": 5.0}),
        ("08fffffc18", {"set_erpm": -1000}),
        ("1e", {"data": ""}),
        ("221704", {"forward_to": 23, "data": "04"}),
        ("56000088b8000084d00100", {"cut_start_v": 35.0, "cut_end_v": 34.0, "data": "0100"}),
        ("6101", {"charge_allowed": True}),
        ("2f", {"data": ""}),
    ],
)
def test_orders_and_questions_are_told(payload: str, fields: dict[str, object]) -> None:
    found = fields_of(framed(bytes.fromhex(payload)))
    length = len(payload) // 2
    assert found == {"command": int(payload[:2], 16), "length": length} | fields


def test_the_values_of_the_whole_setup_are_told() -> None:
    data = struct.pack(
        ">Bhhiihiihhiiiiiii", 47, 300, 250, 4000, 2500, 400, 9000, 5500, 412, 640, *(10_000,) * 6, 0
    )
    fields, reading = VescDecoder.explain(framed(data))
    assert (fields["speed_m_per_s"], fields["battery_level"]) == (5.5, 0.64)
    assert reading is not None
    assert reading.current_a == -25.0


def test_a_bms_tells_cells_sensors_and_charge() -> None:
    fields, reading = VescDecoder.explain(bms_values())
    assert fields["bms_current_a"] == -2.5
    assert reading == BatteryReading(
        voltage_v=11.106,
        current_a=2.5,
        soc_pct=64.0,
        soh_pct=98.0,
        temperatures_c=(21.5, -3.25),
        cells_v=CELLS,
        balancing_bits=0b010,
    )


def test_a_torn_sensor_of_the_bms_is_unknown() -> None:
    _, reading = VescDecoder.explain(bms_values(celsius=(-327.68, 20.0)))
    assert reading is not None
    assert reading.temperatures_c == (None, 20.0)


@given(size=st.integers(0, 60))
def test_a_bms_answer_that_was_cut_is_read_as_far_as_it_goes(size: int) -> None:
    payload = bms_values()[2:-3]
    fields_of(framed(payload[: 1 + size]))


def test_a_controller_without_a_bms_adds_nothing() -> None:
    assert VescDecoder.explain(bms_values(cells=(), celsius=())).reading is None


def test_voltage_and_current_are_the_controllers_and_the_rest_the_bms_has() -> None:
    decoder = VescDecoder()
    decoder.feed(bms_values())
    assert decoder.reading() is None
    decoder.feed(vesc.RIDING)
    reading = decoder.reading()
    assert reading is not None
    assert (reading.voltage_v, reading.current_a) == (41.2, -12.5)
    assert (reading.soc_pct, reading.cells_v, reading.alarms) == (64.0, CELLS, ())
    decoder.forget_details()
    assert decoder.reading() == VescDecoder.explain(vesc.RIDING).reading


def test_a_bms_that_fell_silent_is_forgotten() -> None:
    decoder = VescDecoder()
    decoder.feed(bms_values() + vesc.RIDING * BMS_OUTLIVES)
    reading = decoder.reading()
    assert reading is not None
    assert reading.cells_v == CELLS
    decoder.feed(vesc.RIDING)
    assert decoder.reading() == VescDecoder.explain(vesc.RIDING).reading


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (b"\x06\x05", {"software": "6.05"}),
        (b"\x06", {}),
        (b"\x06\x05VESC4\0" + bytes(12), {"hardware": "VESC4", "controller_serial": "00" * 12}),
        (b"\x06\x05VESC", {"software": "6.05"}),
    ],
)
def test_the_firmware_says_what_it_is_as_far_as_it_goes(data: bytes, about: dict[str, str]) -> None:
    decoder = VescDecoder()
    decoder.feed(framed(bytes((FIRMWARE,)) + data))
    assert about.items() <= decoder.about.items()
    assert fields_of(framed(bytes((FIRMWARE,)) + data))["major"] == 6


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "length"),
        (b"\x02", "length"),
        (vesc.RIDING[:-1], "length"),
        (bytes.fromhex("020000000003"), "length"),
        (vesc.RIDING[:-1] + b"\x02", "terminator"),
        (vesc.BAD_CRC, "checksum"),
        (vesc.BAD_START, "start"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        VescDecoder.explain(frame)
    assert caught.value.reason == reason


def test_a_bad_frame_is_counted_and_changes_nothing() -> None:
    decoder = VescDecoder()
    decoder.feed(vesc.RIDING + vesc.BAD_CRC + vesc.BAD_START + vesc.BENCH_VALUES[:-1] + b"\x04")
    decoder.line_quiet()
    assert decoder.reading() == VescDecoder.explain(vesc.RIDING).reading
    assert decoder.counters.bad["checksum"] >= 1
    assert decoder.counters.bad["terminator"] >= 1


def test_a_length_that_no_controller_sends_is_passed_at_once() -> None:
    (frame,) = VescDecoder().feed(b"\x04\xff\xff\xff\x03\xff\xff" + vesc.RIDING)
    assert frame.key == VALUES


def test_every_captured_frame_decodes_to_what_its_source_says(shared: Path) -> None:
    document = json.loads((shared / "data/battery/frames/vesc.json").read_text("utf-8"))
    explain = driver("vesc").explain
    outcomes = {}
    for item in document["items"]:
        line = Line(item["hex"], item.get("can_id"), extended=item.get("extended", False))
        try:
            fields = explain(line).fields
        except FrameError as trouble:
            fields = {
                "error": {"checksum": "reject: bad CRC"}.get(
                    trouble.reason, "reject: bad start byte"
                )
            }
        outcomes[item["id"]] = {
            name: fields.get(name)
            for name, value in item["expected"].items()
            if fields.get(name) != value
        }
    assert not any(outcomes.values()), outcomes
    assert len(outcomes) >= 7


def test_the_resting_voltage_tells_the_charge() -> None:
    assert [resting_soc_pct(volts) for volts in (2.5, 3.0, 3.70, 4.19, 4.3)] == [0, 0, 50, 100, 100]
    assert resting_soc_pct(3.82) == pytest.approx(65)


@given(low=st.floats(2, 5), high=st.floats(2, 5))
def test_more_voltage_is_never_less_charge(low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert 0 <= resting_soc_pct(low) <= resting_soc_pct(high) <= 100


def test_counters_that_began_anew_say_nothing_of_what_was_drawn() -> None:
    drawn = DrawnAh()
    assert drawn.since_last(5.0, 1.0) == 0
    assert drawn.since_last(5.5, 1.2) == pytest.approx(0.3)
    assert drawn.since_last(0.1, 0.0) is None
    assert drawn.since_last(0.2, 0.0) == pytest.approx(0.1)


def test_the_charge_is_unknown_until_the_pack_rested_and_then_counted() -> None:
    soc = SocEstimator(cells=10, full_ah=10.0)
    soc.see(voltage_v=36.0, current_a=-8.0, drawn_ah=0.0)
    assert soc.soc_pct is None
    soc.see(voltage_v=37.0, current_a=0.0, drawn_ah=0.0)
    assert soc.soc_pct == pytest.approx(50)
    soc.see(voltage_v=35.0, current_a=-20.0, drawn_ah=2.0)
    assert soc.soc_pct == pytest.approx(30)
    soc.see(voltage_v=35.0, current_a=5.0, drawn_ah=-0.5)
    assert soc.left_ah == pytest.approx(3.5)
    soc.see(voltage_v=35.0, current_a=-5.0, drawn_ah=50.0)
    assert soc.soc_pct == 0


def test_a_long_rest_corrects_the_count() -> None:
    soc = SocEstimator(cells=10, full_ah=10.0)
    soc.see(voltage_v=37.0, current_a=0.0, drawn_ah=0.0)
    for _ in range(REST_SAMPLES - 2):
        soc.see(voltage_v=38.7, current_a=0.1, drawn_ah=0.0)
    assert soc.soc_pct == pytest.approx(50)
    soc.see(voltage_v=38.7, current_a=0.1, drawn_ah=0.0)
    assert soc.soc_pct == pytest.approx(70)


def test_a_decoder_that_knows_the_pack_estimates_its_charge() -> None:
    decoder = VescDecoder()
    decoder.know_pack(cells=10, full_ah=10.0)
    rest = (9, "i", 0)
    decoder.feed(values(current=rest, voltage=(27, "h", 370)))
    decoder.feed(values(used=(29, "i", 12_345 + 20_000)))
    reading = decoder.reading()
    assert reading is not None
    assert reading.soc_pct == pytest.approx(30)
    assert reading.remaining_ah == pytest.approx(3)
    assert reading.full_ah == 10.0
    decoder.feed(bms_values())
    reading = decoder.reading()
    assert reading is not None
    assert (reading.soc_pct, reading.full_ah) == (64.0, None)
    decoder.forget_details()
    decoder.feed(values(used=(29, "i", 0)))
    reading = decoder.reading()
    assert reading is not None
    assert reading.soc_pct is None


@asynccontextmanager
async def battery(**rates: float) -> AsyncIterator[tuple[VescController, Poller]]:
    shim = build_shim("vesc", seed=3, faults=Faults(rates, seed=3))
    async with serve(shim) as port:
        link = SerialLink(port.path, baud=VescDecoder.policy.baud)
        try:
            policy = dataclasses.replace(VescDecoder.policy, timeout_s=0.05)
            yield shim, Poller(link, VescDecoder(), policy=policy)
        finally:
            await link.close()


async def test_the_driver_reads_on_a_pty_what_the_shim_was_set_to() -> None:
    async with battery() as (shim, poller):
        shim.set({"voltage_v": 36.5, "current_a": -7.25, "soc_pct": 55.0, "temperatures_c": 19.0})
        for _ in range(3):
            reading = await poller.poll()
        assert reading is not None
        assert (reading.voltage_v, reading.current_a, reading.soc_pct) == (36.5, -7.25, 55.0)
        assert (reading.cells_v, reading.temperatures_c) == ((3.65,) * 10, (19.0,) * 3)
        assert poller.about["hardware"] == "60_MK6"


async def test_a_spoiled_line_gives_right_readings_or_none() -> None:
    async with battery(noise=0.3, bad_checksum=0.3, half_frame=0.1, split=0.3) as (shim, poller):
        shim.set({"voltage_v": 36.5, "current_a": 3.0})
        readings = [await poller.poll() for _ in range(12)]
        told = [reading for reading in readings if reading is not None]
        assert {(reading.voltage_v, reading.current_a) for reading in told} == {(36.5, 3.0)}
        assert poller.counters["bad_checksum"] >= 1


async def test_what_goes_wrong_in_the_pack_is_read() -> None:
    async with battery(protection_trip=1) as (_, poller):
        reading = await poller.poll()
        assert reading is not None
        assert (reading.alarms, reading.protection_bits) == (("overcurrent",), 1 << 4)


@pytest.mark.parametrize(("cells", "full_ah"), [(10, 10.4), (None, 10.4), (10, None)])
async def test_the_configured_pack_gives_the_charge_that_no_wire_tells(
    cells: int | None, full_ah: float | None
) -> None:
    shim = VescController(Pack(PackDesign(cells=10), soc_pct=62), bms=False)
    async with serve(shim) as port:
        battery = open_battery(Battery("vesc", port.path, cells=cells, full_ah=full_ah))
        try:
            reading = await battery.source.poll()
        finally:
            await battery.link.close()
    assert reading is not None
    if cells and full_ah:
        assert reading.soc_pct == pytest.approx(62, abs=5)
    else:
        assert reading.soc_pct is None
