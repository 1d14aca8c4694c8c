"""What electric cars answer: the captures, and the specification's tables by our own numbers."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.base import BatteryReading, Explained, FrameError
from edge.drivers.isotp import segment
from edge.drivers.lines import BadLineError, Line
from edge.drivers.uds_ev import UdsEvDecoder

HYUNDAI = {"request_can_id": "0x7E4", "response_can_id": "0x7EC"}
LEAF = {"request_can_id": "0x79B", "response_can_id": "0x7BB"}
MEB = {"request_can_id": "0x17FC007B", "response_can_id": "0x17FE007B"}
OBD = {"request_can_id": "0x7DF", "response_can_id": "0x7E8"}


def explain(payload: str, **identifiers: str) -> Explained:
    return UdsEvDecoder.explain(line(identifiers, payload=payload))


def line(
    unit: dict[str, str], *, payload: str | None = None, frames: list[str] | None = None
) -> Line:
    return Line(
        payload_hex=payload,
        can_frames=frames,
        request_can_id=unit.get("request_can_id"),
        response_can_id=unit.get("response_can_id"),
    )


def reading_of(payload: str, **identifiers: str) -> BatteryReading:
    reading = explain(payload, **identifiers).reading
    assert reading is not None
    return reading


def reason_of(bad: Line) -> str:
    with pytest.raises(FrameError) as caught:
        UdsEvDecoder.explain(bad)
    return caught.value.reason


def egmp(places: dict[int, bytes], size: int = 59) -> str:
    """An answer to 22 0101: zeroes, and bytes at places."""
    data = bytearray(size)
    for at, value in places.items():
        data[at : at + len(value)] = value
    return "620101" + bytes(data).hex()


def leaf(size: int, places: dict[int, bytes]) -> str:
    return "6101" + egmp(places, size)[6:]


def same(found: object, expected: object) -> bool:
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return abs(found - expected) <= 1e-9 * abs(expected)
    return found == expected


def test_every_captured_answer_decodes_to_what_its_source_says(shared: Path) -> None:
    document = json.loads((shared / "data/battery/frames/uds_ev.json").read_text("utf-8"))
    names = ("request_can_id", "response_can_id", "can_frames", "payload_hex")
    wrong: dict[str, Any] = {}
    for item in document["items"]:
        fields = UdsEvDecoder.explain(Line(**{name: item[name] for name in names})).fields
        for name, value in item["expected"].items():
            if not same(fields.get(name), value):
                wrong[f"{item['id']} {name}"] = (fields.get(name), value)
    assert wrong == {}
    assert len(document["items"]) >= 90


def test_a_captured_answer_with_a_frame_lost_is_refused(shared: Path) -> None:
    document = json.loads((shared / "data/battery/frames/uds_ev.json").read_text("utf-8"))
    frames = max((item["can_frames"] for item in document["items"]), key=len)
    for lost in range(len(frames)):
        rest = [frame for number, frame in enumerate(frames) if number != lost]
        assert reason_of(line(LEAF, frames=rest)) == "length"


def test_the_main_record_of_a_hyundai_reads_with_plus_for_charging() -> None:
    answer = egmp(
        {
            4: b"\x8f",
            10: struct.pack(">hH", -1234, 7321),
            16: struct.pack(">5b", -7, -1, 0, 21, -128),
            29: b"\x90",
        }
    )
    assert reading_of(answer, **HYUNDAI) == BatteryReading(
        voltage_v=732.1,
        current_a=123.4,
        soc_pct=71.5,
        temperatures_c=(-7, -1, 0, 21, None),
    )


def test_the_main_record_of_a_hyundai_is_told_by_its_sources_names() -> None:
    answer = egmp(
        {
            9: b"\xe1",
            14: struct.pack(">bb", 31, -4),
            22: b"\x3d",
            23: bytes((200, 7, 190, 99)),
            27: bytes((3, 60)),
            30: struct.pack(">5I", 1_000_001, 22, 333, 4444, 0xFFFFFFFE),
            50: b"\x04",
            53: struct.pack(">hhH", -20, 20_000, 999),
        }
    )
    fields = explain(answer, **HYUNDAI).fields
    assert {name.removeprefix("IONIQ5_"): value for name, value in fields.items()} == {
        "HVBAT_SOC": 0,
        "HV_CHARGING": 1,
        "RAPID_CHARGE_PORT": 1,
        "NORMAL_CHARGE_PORT": 1,
        "BMS_MAIN_RELAY": 1,
        "BATTERY_CURRENT": 0,
        "BATTERY_MAX_T": 31,
        "BATTERY_MIN_T": -4,
        **{f"BATTERY_PACK_B0{number}": 0 for number in range(1, 6)},
        "BATTERY_INLET_T": 21,
        "MAXIMUM_CELL_VOLTAGE": 4.0,
        "MAXIMUM_CELL_VOLTAGE_NO": 7,
        "MINIMUM_CELL_VOLTAGE": 3.8,
        "MINIMUM_CELL_VOLTAGE_NO": 98,
        "BATTERY_FAN_STATUS": 3,
        "BATTERY_FAN_FEEDBACK": 60,
        "AUXILLARY_BATTERY_VOLTAGE": 11,
        "CUMULATIVE_CHARGE_CURRENT": 1_000_000,
        "CUMULATIVE_DISCHARGE_CURRENT": 22,
        "CUMULATIVE_ENERGY_CHARGED": 333,
        "CUMULATIVE_ENERGY_DISCHARGED": 4444,
        "BATTERY_WORK_TIME_TOTAL_SEC": 0xFFFFFFFE,
        "BMS_IGNITION": 1,
        "DRIVE_MOTOR_SPEED_1": -20,
        "DRIVE_MOTOR_SPEED_2": 10_100,
        "ISOLATION_RESISTANCE": 999,
        "battery_voltage_v": 0,
        "battery_current_a": 0,
    }


def test_one_bit_of_the_flags_means_one_thing() -> None:
    names = {7: "HV_CHARGING", 6: "RAPID_CHARGE_PORT", 5: "NORMAL_CHARGE_PORT", 0: "BMS_MAIN_RELAY"}
    for bit, name in names.items():
        fields = explain(egmp({9: bytes((1 << bit,))}), **HYUNDAI).fields
        assert [other for other in names.values() if fields[f"IONIQ5_{other}"]] == [name]


def test_an_older_cars_shorter_record_tells_what_it_has() -> None:
    fields, reading = explain(egmp({12: b"\x0d\xac"}, 34), **HYUNDAI)
    assert fields["IONIQ5_CUMULATIVE_CHARGE_CURRENT"] == 0
    assert "IONIQ5_CUMULATIVE_DISCHARGE_CURRENT" not in fields
    assert reading is not None
    assert reading.voltage_v == 350


def test_all_ones_are_unknown() -> None:
    reading = reading_of(egmp({4: b"\xff", 12: b"\xff\xff"}), **HYUNDAI)
    assert (reading.soc_pct, reading.voltage_v) == (None, None)
    assert reading_of("62028cff", **MEB).soc_pct is None
    assert reading_of("62434fff", **HYUNDAI).temperatures_c == (None,)
    assert reading_of(leaf(51, {18: b"\xff\xff", 31: b"\xff" * 7}), **LEAF) == BatteryReading(
        current_a=0
    )


def test_an_id4s_voltage_at_the_end_of_its_scale_is_none_and_shown_all_the_same() -> None:
    fields, reading = explain("621e3b0fff", **MEB)
    assert fields == {"ID4_DC_BATTERY_V": 1023.75}
    assert reading == BatteryReading()
    assert reading_of("621e3b05b0", **MEB).voltage_v == 364


def test_a_battery_above_what_the_dashboard_shows_is_full() -> None:
    assert reading_of("62028cfd", **MEB).soc_pct == 100
    assert reading_of("62028c05", **MEB).soc_pct == 0


@pytest.mark.parametrize(
    ("did", "first"),
    [("0102", 1), ("0103", 33), ("0104", 65), ("010a", 97), ("010b", 129), ("010c", 161)],
)
def test_cells_are_numbered_through_all_six_answers(did: str, first: int) -> None:
    fields, reading = explain(f"62{did}ffffffff" + "c3" + "c8" * 31, **HYUNDAI)
    assert len(fields) == 32
    assert fields[f"IONIQ5_HVBAT_CMU{first:03}_VOLT"] == 3.9
    assert fields[f"IONIQ5_HVBAT_CMU{first + 31:03}_VOLT"] == 4.0
    assert reading == BatteryReading(cells_v=(3.9,) + (4.0,) * 31)


def test_places_without_a_cell_are_no_cells() -> None:
    assert reading_of("62010cffffffff" + "c8" * 20 + "00" * 12, **HYUNDAI).cells_v == (4.0,) * 20
    assert reading_of("62010cffffffff" + "c8" * 20 + "ff" * 12, **HYUNDAI).cells_v is None


def test_the_leafs_record_is_told_by_its_length() -> None:
    later = leaf(
        51,
        {
            0: struct.pack(">i", -10_240),
            18: struct.pack(">H", 35_512),
            31: (583_217).to_bytes(3, "big"),
            35: (1_512_344).to_bytes(3, "big"),
        },
    )
    assert reading_of(later, **LEAF) == BatteryReading(
        voltage_v=355.12, current_a=-10, soc_pct=58.3217, full_ah=151.2344
    )
    ze0 = leaf(
        39,
        {
            0: struct.pack(">i", 5_120),
            18: struct.pack(">H", 35_907),
            26: struct.pack(">H", 4_096),
            29: (412_345).to_bytes(3, "big"),
            33: (551_234).to_bytes(3, "big"),
        },
    )
    fields, reading = explain(ze0, **LEAF)
    assert reading == BatteryReading(
        voltage_v=359.07, current_a=5, soc_pct=41.2345, full_ah=55.1234
    )
    assert fields["hx_pct"] == 40
    assert fields["LEAF_HVBAT_SOC_PRE18"] == 41.2345
    assert reason_of(line(LEAF, payload=leaf(45, {}))) == "length"


@pytest.mark.parametrize(("answer", "soh_pct"), [("616100001f40", 80), ("6161000027ff", 102.39)])
def test_the_leafs_health_is_in_hundredths(answer: str, soh_pct: float) -> None:
    assert reading_of(answer, **LEAF).soh_pct == soh_pct


@pytest.mark.parametrize("response", ["0x7E8", "0x7EC", "0x7EF"])
def test_any_cars_standard_data_come_from_any_unit(response: str) -> None:
    fields, reading = explain("415b99", response_can_id=response)
    assert fields == {"battery_remaining_life_pct": 60}
    assert reading == BatteryReading(soc_pct=60)


def test_standard_data_tell_several_things_in_a_row() -> None:
    assert explain("415bff0d32a600012345", **OBD) == (
        {"battery_remaining_life_pct": 100, "speed_kmh": 50, "odometer_km": 7456.5},
        BatteryReading(soc_pct=100),
    )
    assert explain("419a0f0102030405", **OBD).fields == {"hv_system_data": "0f0102030405"}


def test_the_vin_is_text() -> None:
    vin = b"WVWZZZE1ZMP000001"
    assert explain("490201" + vin.hex(), **OBD) == ({"vin": vin.decode()}, None)


@pytest.mark.parametrize(
    ("question", "fields"),
    [
        ("220101", {"op": "read", "service": 0x22, "identifier": "0101"}),
        ("2101", {"op": "read", "service": 0x21, "identifier": "01"}),
        ("1003", {"op": "read", "service": 0x10, "identifier": "03"}),
        ("3e80", {"op": "read", "service": 0x3E, "identifier": "80"}),
        ("015b0d", {"op": "read", "service": 1, "identifier": "5b", "data": "0d"}),
    ],
)
def test_questions_decode_without_a_reading(question: str, fields: dict[str, Any]) -> None:
    assert explain(question) == (fields, None)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(HYUNDAI, payload="7f2231"), "status"),
        (Line(payload_hex="7f2278"), "status"),
        (line(LEAF, frames=["037f2121aaaaaaaa"]), "status"),
        (Line(payload_hex="7f22"), "length"),
        (Line(payload_hex=""), "length"),
        (Line(payload_hex="6201"), "length"),
        (line(HYUNDAI, payload=egmp({}, 29)), "length"),
        (line(HYUNDAI, payload="620105" + "00" * 31), "length"),
        (line(HYUNDAI, payload="6243af01"), "length"),
        (line(OBD, payload="4902013132"), "length"),
        (Line(payload_hex="415b"), "length"),
        (Line(payload_hex="62ffff00"), "unsupported"),
        (Line(payload_hex="2ef19000"), "unsupported"),
        (Line(payload_hex="6ef190"), "unsupported"),
        (Line(payload_hex="31010203"), "unsupported"),
        (line(HYUNDAI, payload="6101" + "00" * 51), "unsupported"),
        (Line(payload_hex="62833433", request_can_id="0x123"), "unsupported"),
        (
            Line(payload_hex="62833433", request_can_id="0x7E4", response_can_id="0x7BB"),
            "start",
        ),
        (Line(payload_hex="62833433", response_can_id="0x20000000"), "start"),
        (line(HYUNDAI, payload="628334fe", frames=["0462833433"]), "length"),
        (line(HYUNDAI, frames=[]), "length"),
        (line(HYUNDAI, frames=["30000a"]), "length"),
        (line(HYUNDAI, frames=["0962833400ff00ff"]), "length"),
        (line(HYUNDAI, frames=["046283343300000000"]), "length"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(bad: Line, reason: str) -> None:
    assert reason_of(bad) == reason


@pytest.mark.parametrize("bad", [Line(), Line(payload_hex="6"), Line(can_frames=["zz"])])
def test_a_line_without_a_message_is_none(bad: Line) -> None:
    with pytest.raises(BadLineError, match="bad_json"):
        UdsEvDecoder.explain(bad)


def test_frames_and_payload_of_one_message_agree() -> None:
    answer = bytes.fromhex(leaf(51, {18: b"\x8c\x11"}))
    frames = [frame.hex() for frame in segment(answer)]
    both = line(LEAF, payload=answer.hex(), frames=frames)
    assert UdsEvDecoder.explain(both) == explain(answer.hex(), **LEAF)


def test_a_short_answer_decodes_as_the_frame_that_it_is_on_the_bus() -> None:
    frame = Line(hex="0462833433aaaaaa", can_id="0x7EC")
    assert UdsEvDecoder.explain(frame).fields == {"BOLT_HVBAT_SOC_DISPLAY": 20}
    meb = Line(hex="0462028c80aaaaaa", can_id="17FE007B", extended=True)
    assert UdsEvDecoder.explain(meb).fields == {"ID4_SOC_DISP": 50.36522}
    assert reason_of(Line(hex="0462833433", can_id="0x123")) == "unsupported"


def test_an_answer_between_those_of_others_is_found() -> None:
    among = line(HYUNDAI, payload="62123400ff", frames=["0562123400ff", "0462833466"])
    assert UdsEvDecoder.explain(among).fields == {"BOLT_HVBAT_SOC_DISPLAY": 40}


def test_identifiers_as_the_sources_shorten_them_are_taken() -> None:
    short = explain("62028c80", request_can_id="0xFC00", response_can_id="0x17FE007B")
    assert short.fields == {"ID4_SOC_DISP": 50.36522}


@given(junk=st.binary(max_size=80), head=st.sampled_from(["", "620101", "6101", "41", "6162"]))
def test_no_message_does_otherwise_than_decode_or_be_refused(junk: bytes, head: str) -> None:
    try:
        explained = explain(head + junk.hex())
    except FrameError:
        return
    assert explained.fields
