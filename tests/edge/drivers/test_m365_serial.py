"""The scooter's battery in Xiaomi's framing: the specification's vectors, captures, the traps."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.drivers.base import BatteryReading, Frame, FrameError
from edge.drivers.m365_frames import BMS, ESC, XIAOMI, BusFrames
from edge.drivers.m365_registers import LOCK
from edge.drivers.m365_serial import M365Decoder
from tests.edge.drivers.m365_vectors import (
    CELLS,
    CRUISE_ON,
    ESC_BLOCK,
    LOCK_IT,
    MAIN,
    NINEBOT_MAIN,
    READ_ESC_SERIAL,
    READ_MAIN,
    THROTTLE,
    from_battery,
    words,
    xiaomi,
)

POLICY = M365Decoder.policy
TEN_CELLS = tuple(millivolts / 1000 for millivolts in range(3850, 3860))


def fed(*frames: bytes) -> M365Decoder:
    decoder = M365Decoder()
    decoder.feed(b"".join(frames))
    return decoder


def reading_of(frame: bytes) -> BatteryReading:
    reading = M365Decoder.explain(frame).reading
    assert reading is not None
    return reading


def reason_of(frame: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        M365Decoder.explain(frame)
    return caught.value.reason


def status(bits: int) -> bytes:
    """The answer to the detailed question, which begins with the status word."""
    return from_battery(0x30, words(bits, 7734, 99, 1, 4105, 0x3131, 0b101))


def test_the_questions_are_asked_byte_for_byte() -> None:
    assert POLICY.main.request == READ_MAIN
    assert XIAOMI.write(ESC, LOCK, 1) == LOCK_IT
    asked = [ask.request.hex() for ask in (*POLICY.details, *POLICY.once, *POLICY.events)]
    assert "55aa032201401e7bff" in asked
    assert "55aa0322011012b7ff" in asked
    assert "55aa0322011b04baff" in asked
    assert "55aa0322013b029cff" in asked


def test_the_main_answer_reads_as_the_specification_says() -> None:
    assert reading_of(MAIN) == BatteryReading(
        voltage_v=41.05,
        current_a=-0.01,
        soc_pct=99,
        remaining_ah=7.734,
        temperatures_c=(29, 29),
    )


def test_a_field_has_the_sign_of_the_wire_and_a_reading_that_of_the_house() -> None:
    charging = from_battery(0x31, words(5200, 67, -150, 3850, 0x2B2C))
    assert M365Decoder.explain(charging).fields == {
        "address": 0x25,
        "command": 1,
        "register": 0x31,
        "remaining_mah": 5200,
        "soc_pct": 67,
        "current_a": -1.5,
        "pack_voltage_v": 38.5,
        "temperatures_c": [24, 23],
    }
    assert reading_of(charging).current_a == 1.5


def test_no_current_is_zero_without_a_sign() -> None:
    assert str(reading_of(from_battery(0x31, words(1, 1, 0, 1, 0))).current_a) == "0.0"


def test_all_ones_are_unknown() -> None:
    assert M365Decoder.explain(from_battery(0x31, b"\xff" * 10)).reading == BatteryReading(
        temperatures_c=(None, None)
    )


def test_a_charge_of_10_ma_is_no_unknown_current() -> None:
    reading = reading_of(from_battery(0x31, words(7734, 99, 0xFFFF, 4105, 0xFF31)))
    assert reading.current_a == 0.01
    assert reading.temperatures_c == (29, None)
    assert reading.raw_quality == ("temperatures_c",)


def test_cells_that_are_not_there_are_left_out() -> None:
    assert reading_of(CELLS).cells_v == TEN_CELLS
    assert M365Decoder.explain(CELLS).fields["cell_voltages_v"] == list(TEN_CELLS)


def test_a_dead_cell_between_others_keeps_its_number() -> None:
    reading = reading_of(from_battery(0x40, words(3850, 0, 3852, 0)))
    assert reading.cells_v == (3.85, 0.0, 3.852)
    assert "cells_v" in reading.raw_quality


def test_an_unknown_cell_between_others_leaves_all_unknown() -> None:
    frame = from_battery(0x40, words(3850, 0xFFFF, 3852))
    assert M365Decoder.explain(frame).reading is None


@pytest.mark.parametrize(
    ("bits", "alarms"),
    [
        (0x0003, ()),
        (0x00EB, ()),
        (0x0004, ("charge_protection",)),
        (0x0600, ("overvoltage", "overtemp")),
        (0x6100, ("discharge_error", "charge_error", "deep_undervoltage")),
    ],
)
def test_status_bits_that_protect_become_alarms(bits: int, alarms: tuple[str, ...]) -> None:
    reading = reading_of(status(bits))
    assert reading.alarms == alarms
    assert reading.protection_bits == bits & 0x6704
    assert reading.charge_fet is bool(bits & 8)
    assert reading.balancing_bits == 5


def test_a_reading_gathers_what_was_asked_and_forgets_what_may_be_of_another_pack() -> None:
    slow = (
        from_battery(0x10, b"3JWCH18A100042" + words(0x0115, 7800)),
        from_battery(0x18, words(7800, 7512)),
        from_battery(0x1B, words(42, 57)),
        from_battery(0x20, words(18 << 9 | 4 << 5 | 27)),
        from_battery(0x3B, words(96)),
    )
    decoder = fed(MAIN, status(3), CELLS, *slow)
    reading = decoder.reading()
    assert reading == BatteryReading(
        voltage_v=41.05,
        current_a=-0.01,
        soc_pct=99,
        soh_pct=96,
        remaining_ah=7.734,
        full_ah=7.512,
        temperatures_c=(29, 29),
        cells_v=TEN_CELLS,
        cycles=42,
        charge_fet=False,
        alarms=(),
        protection_bits=0,
        balancing_bits=5,
    )
    assert decoder.about == {
        "serial": "3JWCH18A100042",
        "firmware": "1.1.5",
        "made_on": "2018-04-27",
        "design_ah": 7.8,
    }
    decoder.forget_details()
    reading = decoder.reading()
    assert reading is not None
    assert (reading.cells_v, reading.alarms, reading.full_ah) == (None, None, 7.512)


def test_slow_registers_have_names_too() -> None:
    explained = M365Decoder.explain(from_battery(0x10, b"3JWCH18A100042" + words(0x0115, 7800)))
    assert explained.fields == {
        "address": 0x25,
        "command": 1,
        "register": 0x10,
        "serial": "3JWCH18A100042",
        "bms_fw": "1.1.5",
        "design_capacity_mah": 7800,
    }
    assert explained.reading is None
    dated = M365Decoder.explain(from_battery(0x20, words(18 << 9 | 13 << 5 | 27))).fields
    assert dated["production_date"] is None


@pytest.mark.parametrize(
    ("frame", "fields"),
    [
        (READ_MAIN, {"address": 0x22, "command": 1, "register": 0x31, "read_length": 10}),
        (READ_ESC_SERIAL, {"address": 0x20, "command": 1, "register": 0x10, "read_length": 14}),
        (CRUISE_ON, {"address": 0x20, "command": 3, "register": 0x7C, "write_data": "0100"}),
        (THROTTLE, {"address": 0x20, "command": 0x65, "register": 0, "data": "0426220000"}),
        (
            xiaomi(0x23, 1, 0x26, words(-12)),
            {"address": 0x23, "command": 1, "register": 0x26, "speed_kmh": -1.2},
        ),
        (
            xiaomi(0x23, 1, 0x29, (70_000).to_bytes(4, "little")),
            {"address": 0x23, "command": 1, "register": 0x29, "odometer_m": 70_000},
        ),
        (
            xiaomi(0x23, 1, 0x3E, words(280, 271, -5)),
            {
                "address": 0x23,
                "command": 1,
                "register": 0x3E,
                "frame_temp_c": 28.0,
                "battery_temp_1_c": 27.1,
                "battery_temp_2_c": -0.5,
            },
        ),
        (
            xiaomi(0x23, 1, 0xB4, words(61, 40_000)),
            {
                "address": 0x23,
                "command": 1,
                "register": 0xB4,
                "battery_pct": 61,
                "speed_kmh": 40.0,
            },
        ),
        (
            xiaomi(0x23, 1, 0x10, b"16133/00541234"),
            {"address": 0x23, "command": 1, "register": 0x10, "serial": "16133/00541234"},
        ),
        (
            xiaomi(0x23, 1, 0x29, b"\x01\x02"),
            {"address": 0x23, "command": 1, "register": 0x29, "data": "0102"},
        ),
        (
            from_battery(0x90, b"\x01\x02\x03"),
            {"address": 0x25, "command": 1, "register": 0x90, "data": "010203"},
        ),
    ],
)
def test_frames_of_every_part_are_named(frame: bytes, fields: dict[str, Any]) -> None:
    assert M365Decoder.explain(frame) == (fields, None)


# The wire has other masters.


def test_nothing_that_others_say_is_a_reading() -> None:
    strange = words(1, 2, 3, 4, 5)
    decoder = fed(
        MAIN,
        READ_MAIN,
        THROTTLE,
        ESC_BLOCK,
        xiaomi(0x23, 1, 0x31, strange),
        xiaomi(0x24, 1, 0x31, strange),
        xiaomi(0x22, 1, 0x31, strange),
        xiaomi(0x25, 3, 0x31, strange),
    )
    assert decoder.reading() == reading_of(MAIN)
    assert decoder.counters.frames == 8


def test_only_the_answer_of_the_asked_length_answers() -> None:
    decoder = M365Decoder()
    frames = decoder.feed(
        READ_MAIN
        + from_battery(0x31, words(7700))
        + xiaomi(0x23, 1, 0x31, words(1, 2, 3, 4, 5))
        + THROTTLE
        + xiaomi(0x25, 3, 0x31, words(1, 2, 3, 4, 5))
        + MAIN
    )
    answers = [frame for frame in frames if frame.op is None and frame.key == POLICY.main.answer]
    assert answers == [Frame(POLICY.main.answer, MAIN[6:-2])]


def test_a_part_of_the_main_answer_is_no_reading_yet() -> None:
    assert fed(from_battery(0x32, words(99))).reading() is None


def test_both_framings_are_found_in_one_stream() -> None:
    decoder = M365Decoder()
    assert len(decoder.feed(MAIN + NINEBOT_MAIN + ESC_BLOCK)) == 3
    reading = decoder.reading()
    assert reading is not None
    assert reading.voltage_v == 38.5


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "length"),
        (b"\x55", "length"),
        (MAIN[:-1], "length"),
        (MAIN[1:], "start"),
        (b"\x55\xa5" + MAIN[2:], "start"),
        (bytes.fromhex("55aa012501d8ff00"), "length"),
        (MAIN[:6] + b"\x37" + MAIN[7:], "checksum"),
        (MAIN[:-1] + b"\xff", "checksum"),
        (xiaomi(0x29, 1, 0x31, b"\x0a"), "unsupported"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(frame: bytes, reason: str) -> None:
    assert reason_of(frame) == reason


def test_bytes_after_a_whole_frame_are_skipped() -> None:
    assert reading_of(MAIN + b"\x00\xff") == reading_of(MAIN)


def _captured(shared: Path) -> list[dict[str, Any]]:
    document = json.loads((shared / "data/battery/frames/m365_serial.json").read_text("utf-8"))
    items: list[dict[str, Any]] = document["items"]
    return items


def test_every_captured_frame_decodes_to_what_its_source_says(shared: Path) -> None:
    wrong = {}
    for item in _captured(shared):
        expected = item["expected"]
        try:
            fields = M365Decoder.explain(bytes.fromhex(item["hex"])).fields
        except FrameError as trouble:
            fields = {"error": f"bad {trouble.reason}"}
            expected = {"error": "bad checksum" if "bad checksum" in expected["error"] else None}
        if fields != expected:
            wrong[item["id"]] = fields
    assert wrong == {}


def test_captures_in_one_stream_are_all_found(shared: Path) -> None:
    items = _captured(shared)
    stream = BusFrames()
    found = stream.feed(b"".join(bytes.fromhex(item["hex"]) for item in items))
    registers = [frame.register for frame in (*found, *stream.line_quiet())]
    said = [item["expected"].get("register") for item in items]
    assert registers == [register for register in said if register is not None]
    assert stream.counters.bad["checksum"] == 1


def test_parts_are_numbered_alike_in_both_framings() -> None:
    of_xiaomi, of_ninebot = BusFrames().feed(MAIN + NINEBOT_MAIN)
    assert of_xiaomi.source == of_ninebot.source == BMS
