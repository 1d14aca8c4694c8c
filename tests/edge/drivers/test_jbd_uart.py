"""The JBD decoder against the specification's vectors and captured frames."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.drivers.base import BatteryReading, FrameError
from edge.drivers.jbd_frames import READ, describe, parse_frame, request
from edge.drivers.jbd_uart import JbdDecoder, fet_request
from tests.edge.drivers.vectors import (
    BOTH_FETS_ON,
    DISCHARGE_OFF,
    FET_WRITTEN,
    NEW_BOARD,
    READ_BASIC,
    READ_CELLS,
    READ_HARDWARE,
    REFUSAL,
    RIDING,
)

CELLS = bytes.fromhex("dd0400080f410f480f320f39fec877")


def basic(data: bytes) -> bytes:
    """A reply to 0x03 with a right checksum around any data."""
    body = bytes((0, len(data))) + data
    return b"\xdd\x03" + body + (-sum(body) & 0xFFFF).to_bytes(2, "big") + b"\x77"


def patched(at: int, value: bytes) -> bytes:
    """RIDING with other bytes at an offset inside its data."""
    data = RIDING[4:-3]
    return basic(data[:at] + value + data[at + len(value) :])


def reading_of(frame: bytes) -> BatteryReading:
    reading = JbdDecoder.explain(frame).reading
    assert reading is not None
    return reading


def reason_of(frame: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        JbdDecoder.explain(frame)
    return caught.value.reason


@pytest.mark.parametrize(
    ("register", "frame"), [(0x03, READ_BASIC), (0x04, READ_CELLS), (0x05, READ_HARDWARE)]
)
def test_reads_are_asked_byte_for_byte(register: int, frame: bytes) -> None:
    assert request(READ, register) == frame


def test_fets_are_switched_byte_for_byte() -> None:
    assert fet_request(charge=True, discharge=False).request == DISCHARGE_OFF
    assert fet_request(charge=True, discharge=True).request == BOTH_FETS_ON
    assert fet_request(charge=False, discharge=True).request.hex() == "dd5ae1020001ff1c77"


def test_a_request_decodes_without_a_reading() -> None:
    fields, reading = JbdDecoder.explain(DISCHARGE_OFF)
    assert fields == {"op": "write", "register": 0xE1, "data": "0002"}
    assert reading is None


def test_an_all_zero_checksum_is_zero() -> None:
    assert JbdDecoder.explain(FET_WRITTEN).fields == {"register": 0xE1, "status": 0, "data": ""}


def test_a_discharging_pack_reads_as_the_specification_says() -> None:
    assert reading_of(RIDING) == BatteryReading(
        voltage_v=15.60,
        current_a=-2.87,
        soc_pct=100,
        remaining_ah=4.98,
        full_ah=5.00,
        temperatures_c=(22.4, 22.3, 21.7),
        cycles=42,
        charge_fet=True,
        discharge_fet=True,
        alarms=(),
        protection_bits=0,
        balancing_bits=0,
    )


def test_a_new_board_tells_its_full_capacity_behind_the_temperatures() -> None:
    assert reading_of(NEW_BOARD).full_ah == 4.90
    assert JbdDecoder.explain(NEW_BOARD).fields["trailing_bytes"] == "2d000001ea01f20000"


def test_protection_bits_become_alarm_names() -> None:
    assert reading_of(patched(16, b"\x12\x01")).alarms == (
        "cell_overvoltage",
        "discharge_overcurrent",
        "fets_locked",
    )


def test_the_second_balancing_word_is_cells_17_to_32() -> None:
    assert reading_of(patched(12, b"\x00\x01\x80\x00")).balancing_bits == 1 | 1 << 31


def test_a_torn_sensor_is_unknown_and_keeps_its_place() -> None:
    reading = reading_of(patched(25, b"\x00\x00"))
    assert reading.temperatures_c == (22.4, None, 21.7)
    assert reading.raw_quality == ("temperatures_c",)


def test_a_date_that_cannot_be_is_unknown() -> None:
    assert JbdDecoder.explain(patched(10, b"\x00\x00")).fields["production_date"] is None


def test_cells_are_merged_into_the_next_reading() -> None:
    decoder = JbdDecoder()
    decoder.feed(CELLS + RIDING)
    reading = decoder.reading()
    assert reading is not None
    assert reading.cells_v == (3.905, 3.912, 3.89, 3.897)
    decoder.forget_details()
    assert decoder.reading() == reading_of(RIDING)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "length"),
        (b"\xdd", "length"),
        (RIDING[:-1], "length"),
        (RIDING[1:], "start"),
        (RIDING[:-1] + b"\xdd", "terminator"),
        (RIDING[:8] + b"\x00" + RIDING[9:], "checksum"),
        (REFUSAL, "status"),
        (bytes.fromhex("dd030100ffff77"), "status"),
        (basic(RIDING[4:20]), "length"),
        (patched(22, b"\x04"), "length"),
        (bytes.fromhex("dd04000100ffff77"), "length"),
        (bytes.fromhex("ddaa0000000077"), "length"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(frame: bytes, reason: str) -> None:
    assert reason_of(frame) == reason


def test_bytes_after_a_whole_frame_are_skipped() -> None:
    assert reading_of(RIDING + b"\x00\xff") == reading_of(RIDING)


def test_a_refusal_is_counted_and_changes_nothing() -> None:
    decoder = JbdDecoder()
    decoder.feed(RIDING)
    before = decoder.reading()
    (frame,) = decoder.feed(REFUSAL)
    assert frame.refused
    assert decoder.counters.bad == {"status": 1}
    assert decoder.reading() == before


def test_a_refusal_can_be_described() -> None:
    assert describe(parse_frame(REFUSAL)) == {"register": 3, "status": 0x80, "data": ""}


def test_a_frame_behind_a_false_start_is_found_when_the_line_goes_quiet() -> None:
    decoder = JbdDecoder()
    assert decoder.feed(b"\xdd\x03\x00\xff" + RIDING) == []
    (frame,) = decoder.line_quiet()
    assert frame.key == 0x03
    assert decoder.counters.bad == {"length": 1}


def test_a_start_that_no_frame_can_have_is_passed_at_once() -> None:
    (frame,) = JbdDecoder().feed(b"\xdd\x03\x34\xff" + RIDING)
    assert frame.key == 0x03


def test_event_counters_and_model_are_kept_beside_the_readings() -> None:
    decoder = JbdDecoder()
    decoder.feed(bytes.fromhex("dd0500194a42442d53503130533030392d4c3130532d3330412d422d55fa0b77"))
    decoder.feed(bytes.fromhex("ddaa001800000003000000d300000000000000000005000000000001ff0c77"))
    assert decoder.about["hardware"] == "JBD-SP10S009-L10S-30A-B-U"
    assert decoder.about["error_counts"]["cell_overvoltage"] == 211


def _captured(shared: Path) -> list[dict[str, Any]]:
    document = json.loads((shared / "data/battery/frames/jbd_uart.json").read_text("utf-8"))
    items: list[dict[str, Any]] = document["items"]
    return items


def test_every_captured_frame_decodes_to_what_its_source_says(shared: Path) -> None:
    wrong = {}
    for item in _captured(shared):
        try:
            fields = JbdDecoder.explain(bytes.fromhex(item["hex"])).fields
        except FrameError as trouble:
            fields = {"error": f"reject frame (bad {trouble.reason})"}
        if fields != item["expected"]:
            wrong[item["id"]] = fields
    assert wrong == {}


def test_captures_in_one_stream_are_all_found(shared: Path) -> None:
    items = _captured(shared)
    decoder = JbdDecoder()
    frames = decoder.feed(b"".join(bytes.fromhex(item["hex"]) for item in items))
    assert [describe(frame) for frame in frames] == [
        item["expected"] for item in items if "error" not in item["expected"]
    ]
    assert decoder.counters.bad["terminator"] == 1


def barcode_reply(data: bytes) -> bytes:
    body = bytes((0, len(data))) + data
    return b"\xdd\xa2" + body + (-sum(body) & 0xFFFF).to_bytes(2, "big") + b"\x77"


@pytest.mark.parametrize(
    ("data", "serial"),
    [
        (b"\x07PK-0001", "PK-0001"),
        (b"\x07PK-0001\0\0", "PK-0001"),
        (b"\x03PK\0", "PK"),
        (b"\x00", None),
        (b"", None),
        (b"\x04\xff\xff\xff\xff", None),
        (b"\x02\x01\x02", None),
    ],
)
def test_the_serial_of_the_pack_is_its_barcode_when_it_has_one(
    data: bytes, serial: str | None
) -> None:
    decoder = JbdDecoder()
    decoder.feed(barcode_reply(b"\x04OLD1"))
    assert decoder.about["serial"] == "OLD1"
    decoder.feed(barcode_reply(data))
    assert decoder.about.get("serial") == serial


def test_a_board_that_refuses_its_barcode_has_no_serial() -> None:
    decoder = JbdDecoder()
    decoder.feed(bytes.fromhex("dda2 80 00 ff80 77"))
    assert "serial" not in decoder.about
    assert decoder.counters.bad == {"status": 1}
