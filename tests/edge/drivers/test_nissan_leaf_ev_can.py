"""The Leaf's broadcasts against captured frames, a captured drive, and our shim."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.drivers.base import BatteryReading, FrameError
from edge.drivers.can import CanFrame
from edge.drivers.lines import BadLineError, Line
from edge.drivers.nissan_leaf import NissanLeafDecoder, explain_leaf
from firmware_shim.nissan_leaf import LeafNode
from tests.edge.drivers.car_bus import BEGAN_S, agrees, frames, run

# Made by hand from the table of the broadcasts, each with its counter and its CRC.
PARKED = ["1DB#FF60B06A370001FD", "1DB#FF60B06B370002E1"]
CHARGE = "55B#74C0AA009D102214"
WAKING = "1DB#7FE0FFCA7F0003EF"
DRIVING = "1DB#B1E0BEED4A5A8478"


def explained(text: str) -> dict[str, Any]:
    can_id, data = text.split("#")
    return explain_leaf(Line(can_id=can_id, hex=data)).fields


def reason_of(line: Line) -> str:
    with pytest.raises(FrameError) as caught:
        explain_leaf(line)
    return caught.value.reason


def fed(*texts: str, step_s: float = 0.01) -> NissanLeafDecoder:
    decoder = NissanLeafDecoder()
    for number, frame in enumerate(frames(*texts)):
        decoder.feed([frame], BEGAN_S + number * step_s)
    return decoder


def read(decoder: NissanLeafDecoder, after_s: float = 0.1) -> BatteryReading:
    reading = decoder.reading(BEGAN_S + after_s)
    assert reading is not None
    return reading


def test_a_drive_reads_with_a_negative_current() -> None:
    fields = explained(DRIVING)
    assert (fields["current_a"], fields["voltage_v"], fields["prun"]) == (-312.5, 381.5, 0)
    assert fields["crc_ok"] is True


def test_all_ones_after_the_wake_up_are_unknown() -> None:
    fields = explained(WAKING)
    assert fields["current_a"] is None
    assert fields["voltage_v"] is None
    assert fields["usable_soc_pct"] is None
    assert fields["main_relay_on"] is False
    assert read(fed(WAKING)).voltage_v is None


def test_a_current_of_minus_one_half_is_no_all_ones() -> None:
    assert explained("1DB#FFE09F2C1F000376")["current_a"] == -0.5


def test_the_relay_and_a_failsafe_are_in_the_reading() -> None:
    reading = read(fed(PARKED[0]))
    assert reading.discharge_fet is True
    assert reading.charge_fet is True
    assert reading.alarms == ()
    assert reading.protection_bits == 0
    node = LeafNode()
    node.set({"failsafe": 5})
    alarmed = run(node, NissanLeafDecoder(), 1.0)
    assert alarmed is not None
    assert alarmed.alarms == ("failsafe",)
    assert alarmed.protection_bits == 1


def test_the_temperature_frames_of_both_generations_are_told_apart() -> None:
    assert explained("5C0#0179A0135A8E2C00") == {"mux": 1, "temp_high_c": 20}
    assert explained("5C0#0274B0211C772C00") == {"mux": 2, "temp_avg_c": 18}
    assert explained("5C0#4078000000002C00") == {"mux": 1, "temp_high_c": 20}
    assert explained("5C0#C073000000002C00") == {"mux": 3, "temp_low_c": 17}
    assert explained("5C0#067BD10342652C00") == {"mux": 6}


def test_a_frame_alone_says_what_it_has() -> None:
    assert explain_leaf(Line(can_id="0x5BC", hex="67005a32af004000")).reading == BatteryReading(
        soh_pct=87
    )
    assert explain_leaf(Line(can_id="0x1DC", hex="640f02980b409142")).reading is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (Line(can_id="0x1DB", hex="ff60b06a370001fc"), "checksum"),
        (Line(can_id="0x1DB", hex="ff60b06a370001"), "length"),
        (Line(can_id="0x5C0", hex=""), "length"),
        (Line(can_id="0x1DA", hex="0000000000000000"), "unsupported"),
        (Line(can_id="0x1DB", hex="ff60b06a370001fd", extended=True), "unsupported"),
        (Line(can_id="0x800", hex="00"), "start"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(line: Line, reason: str) -> None:
    assert reason_of(line) == reason


def test_a_line_without_its_identifier_is_no_frame() -> None:
    with pytest.raises(BadLineError):
        explain_leaf(Line(hex="00"))


def test_a_repeated_counter_is_dropped_and_changes_nothing() -> None:
    decoder = fed(PARKED[0], "1DB#0000FFEA3700016B")
    assert decoder.counters.bad == {"sequence": 1}
    assert read(decoder).voltage_v == 352.5


def test_a_jump_costs_one_frame_and_not_those_behind_it() -> None:
    node, decoder = LeafNode(), NissanLeafDecoder()
    run(node, decoder, 0.5)
    node.tick(BEGAN_S + 0.51)
    before = decoder.counters.frames
    run(node, decoder, 0.2, begin_s=BEGAN_S + 0.52)
    assert decoder.counters.bad["sequence"] <= 4
    assert decoder.counters.frames > before + 30


def test_a_bus_that_loses_every_other_frame_is_still_read() -> None:
    node, decoder = LeafNode(), NissanLeafDecoder()
    at_s = BEGAN_S
    for number in range(100):
        at_s += 0.01
        said = [CanFrame(*frame) for frame in node.tick(at_s)]
        if number % 2:
            decoder.feed(said, at_s)
    assert decoder.reading(at_s) is not None


def test_a_counter_that_stands_still_makes_the_reading_stale() -> None:
    node, decoder = LeafNode(), NissanLeafDecoder()
    assert run(node, decoder, 1.0) is not None
    node.set({"counter_stuck": True})
    assert run(node, decoder, 1.0, begin_s=BEGAN_S + 1.0) is None


def test_after_half_a_second_without_the_main_message_there_is_no_reading() -> None:
    decoder = fed(PARKED[0])
    assert decoder.reading(BEGAN_S + 0.5) is not None
    assert decoder.reading(BEGAN_S + 0.51) is None
    decoder.feed(frames(CHARGE), BEGAN_S + 0.6)
    assert decoder.reading(BEGAN_S + 0.6) is None


def test_after_a_silence_any_counter_is_right() -> None:
    decoder = fed(PARKED[0])
    decoder.feed(frames(PARKED[0]), BEGAN_S + 5.0)
    assert not decoder.counters.bad
    assert decoder.reading(BEGAN_S + 5.0) is not None


def test_a_damaged_frame_is_counted_and_changes_nothing() -> None:
    decoder = fed(PARKED[0])
    decoder.feed(frames("1DB#FF60B06B370002E0", "1DB#FF60"), BEGAN_S + 0.01)
    assert decoder.counters.bad == {"checksum": 1, "length": 1}
    assert read(decoder) == read(fed(PARKED[0]))


@pytest.mark.parametrize("generation", ["aze0", "ze1"])
def test_the_shim_of_both_generations_is_read(generation: str) -> None:
    node = LeafNode(generation=generation)
    node.set(
        {"voltage_v": 371.5, "current_a": -88.5, "soc_pct": 61.3, "soh_pct": 87}
        | {"temperatures_c": [21, 24, 19]}
    )
    decoder = NissanLeafDecoder()
    reading = run(node, decoder)
    assert reading is not None
    assert reading.voltage_v == 371.5
    assert reading.current_a == -88.5
    assert reading.soc_pct == 61.3
    assert reading.soh_pct == 87
    assert reading.temperatures_c == (19, 24)
    assert reading.cells_v is None
    assert decoder.about["decoder"] == f"nissan_leaf_{generation} 1"
    assert decoder.about["gids"] > 0
    assert "minutes_to_full" not in decoder.about
    assert not decoder.counters.bad


def test_a_lost_sensor_is_unknown() -> None:
    node = LeafNode()
    node.faults.rates["sensor_lost"] = 1.0
    reading = run(node, NissanLeafDecoder())
    assert reading is not None
    assert reading.temperatures_c is None


def test_waking_up_reads_as_unknown_and_then_as_it_is() -> None:
    node, decoder = LeafNode(), NissanLeafDecoder()
    node.set({"waking": True})
    waking = run(node, decoder, 1.0)
    assert waking is not None
    assert (waking.voltage_v, waking.current_a, waking.soc_pct) == (None, None, None)
    node.set({"waking": None})
    awake = run(node, decoder, 1.0, begin_s=BEGAN_S + 1.0)
    assert awake is not None
    assert awake.soc_pct == 80.0


def test_the_first_poll_waits_for_the_charge_and_not_for_ever() -> None:
    decoder = NissanLeafDecoder()
    assert list(decoder.begin(BEGAN_S)) == []
    decoder.feed(frames(PARKED[0]), BEGAN_S)
    assert decoder.waiting
    decoder.feed(frames(CHARGE), BEGAN_S + 0.05)
    assert not decoder.waiting
    late = NissanLeafDecoder()
    late.begin(BEGAN_S)
    late.tick(late.due_s)
    assert not late.waiting


def test_every_captured_frame_decodes_to_what_its_source_says(shared: Path) -> None:
    document = json.loads(
        (shared / "data/battery/frames/nissan_leaf_ev_can.json").read_text("utf-8")
    )
    wrong = {}
    for item in document["items"]:
        fields = explain_leaf(Line(can_id=item["can_id"], hex=item["hex"])).fields
        if not agrees(fields, item["expected"]):
            wrong[item["id"]] = fields
    assert wrong == {}
    assert len(document["items"]) > 100


def test_a_captured_drive_is_read_from_its_first_line_to_its_last(shared: Path) -> None:
    log = shared / "data/battery/canlogs/nissan_leaf_62kwh_driving_candump.log"
    decoder = NissanLeafDecoder()
    readings: list[BatteryReading] = []
    lines = log.read_text("ascii").splitlines()
    for line in lines:
        stamp, _, text = line.split()
        at_s = float(stamp.strip("()"))
        decoder.feed(frames(text), at_s)
        if text.startswith("1DB#") and (reading := decoder.reading(at_s)) is not None:
            readings.append(reading)
    assert len(lines) == 8000
    assert not decoder.counters.bad
    assert decoder.counters.frames == 587 + 587 + 59 + 59 + 12
    assert len(readings) > 580
    assert decoder.about["decoder"] == "nissan_leaf_ze1 1"
    volts = [reading.voltage_v or 0 for reading in readings]
    amps = [reading.current_a or 0 for reading in readings]
    assert 350 < min(volts) <= max(volts) < 405
    assert -500 < min(amps) <= max(amps) < 50
    assert {reading.soc_pct for reading in readings[20:]} <= {93.5, 93.4, 93.3, 93.2, 93.1, 93.0}
    assert readings[-1].temperatures_c == (16, 17)
    assert readings[-1].soh_pct == 91
