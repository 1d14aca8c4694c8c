"""The Kona's and e-Niro's broadcasts against captured frames and our shim."""

import json
from pathlib import Path

import pytest

from edge.drivers.base import FrameError
from edge.drivers.hyundai_kia import HyundaiKiaDecoder, explain_pcan
from edge.drivers.lines import Line
from firmware_shim.hyundai_kia import PcanNode
from tests.edge.drivers.car_bus import BEGAN_S, agrees, frames, run


def test_a_charge_is_halves_and_tenths_together() -> None:
    assert explain_pcan(Line(can_id="594", hex="f212e02e5b910b11")).fields == {
        "charge_limit_kw": 48.5,
        "discharge_limit_kw": 120.0,
        "soc_pct": 72.8,
    }


def test_frost_is_negative() -> None:
    fields = explain_pcan(Line(can_id="596", hex="138e32001900f5fb")).fields
    assert (fields["temp_low_c"], fields["temp_high_c"]) == (-11, -5)


def test_a_current_that_drives_is_positive_on_the_wire_and_negative_in_the_reading() -> None:
    fields, reading = explain_pcan(Line(can_id="595", hex="0302a7a7a901cd0e"))
    assert fields == {"current_a": 42.5, "voltage_v": 378.9}
    assert reading is not None
    assert reading.current_a == -42.5


@pytest.mark.parametrize(
    ("can_id", "data", "reason"),
    [("595", "0302a7a7c2ff", "length"), ("491", "00" * 8, "unsupported")],
)
def test_a_bad_frame_is_refused_with_its_reason(can_id: str, data: str, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        explain_pcan(Line(can_id=can_id, hex=data))
    assert caught.value.reason == reason


def test_the_shim_is_read() -> None:
    node, decoder = PcanNode(), HyundaiKiaDecoder()
    node.set({"voltage_v": 355.6, "current_a": 21.4, "soc_pct": 47.3, "plug_ac": True})
    node.set({"temperatures_c": [11, -2, 4]})
    reading = run(node, decoder, 1.0)
    assert reading is not None
    assert reading.voltage_v == 355.6
    assert reading.current_a == 21.4
    assert reading.soc_pct == 47.3
    assert reading.temperatures_c == (-2, 11)
    assert reading.soh_pct is None
    assert decoder.about["ac_plugged"] is True
    assert decoder.about["aux_12v_v"] == 12.6
    assert not decoder.counters.bad


def test_the_same_identifier_on_the_other_bus_is_not_believed() -> None:
    node, decoder = PcanNode(), HyundaiKiaDecoder()
    node.set({"on_ccan": True})
    assert run(node, decoder, 3.0) is None
    assert decoder.counters.bad["implausible"] > 20
    assert explain_pcan(Line(can_id="595", hex="0000f401cd0e0000")).reading is None


def test_a_car_that_falls_asleep_has_no_reading_after_two_seconds() -> None:
    node, decoder = PcanNode(), HyundaiKiaDecoder()
    assert run(node, decoder, 1.0) is not None
    assert decoder.reading(BEGAN_S + 2.9) is not None
    assert decoder.reading(BEGAN_S + 3.1) is None


def test_an_old_charge_is_unknown_beside_a_fresh_voltage() -> None:
    decoder = HyundaiKiaDecoder()
    decoder.feed(frames("594#F212E02E5B910B11"), BEGAN_S)
    decoder.feed(frames("595#0302A7A7C2FFCD0E"), BEGAN_S + 11)
    reading = decoder.reading(BEGAN_S + 11)
    assert reading is not None
    assert reading.voltage_v == 378.9
    assert reading.soc_pct is None


def test_every_captured_frame_decodes_to_what_its_source_says(shared: Path) -> None:
    document = json.loads((shared / "data/battery/frames/hyundai_kia_pcan.json").read_text("utf-8"))
    wrong = {}
    for item in document["items"]:
        fields = explain_pcan(Line(can_id=item["can_id"], hex=item["hex"])).fields
        if not agrees(fields, item["expected"]):
            wrong[item["id"]] = fields
    assert wrong == {}
    assert len(document["items"]) == 28
