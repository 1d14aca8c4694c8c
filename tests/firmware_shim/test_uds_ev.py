"""The cars' control units, byte for byte as the specification says."""

import math
import struct
from pathlib import Path

import pytest

from edge.battery import open_battery
from edge.drivers.registry import UnknownProtocolError
from edge.settings import Battery
from firmware_shim.can import CanFrame
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from firmware_shim.slcan import SlcanAdapter
from firmware_shim.uds_ev import CarUnit, Id4, Ioniq5, Leaf

GO_ON = "300000"


def say(unit: CarUnit, data: str, now_s: float = 0.0) -> list[str]:
    """Put a frame on the unit's identifier; return the data of its answers."""
    frame = CanFrame(unit.request_id, bytes.fromhex(data), unit.extended)
    answers = unit.receive(frame, now_s)
    assert {(a.can_id, a.extended) for a in answers} <= {(unit.response_id, unit.extended)}
    return [answer.data.hex() for answer in answers]


def ask(unit: CarUnit, question: str) -> bytes:
    """Return the whole answer, as it comes without pauses."""
    size = len(question) // 2
    (first,) = say(unit, f"{size:02x}{question}")
    head = bytes.fromhex(first)
    if head[0] >> 4 == 0:
        return head[1 : 1 + head[0]]
    message = head[2:]
    for number, text in enumerate(say(unit, GO_ON), start=1):
        frame = bytes.fromhex(text)
        assert frame[0] == 0x20 | number % 16
        message += frame[1:]
    return message[: int.from_bytes(head[:2], "big") & 0xFFF]


def test_a_long_answer_waits_for_flow_control_and_obeys_it() -> None:
    unit = Ioniq5()
    (first,) = say(unit, "03220101")
    assert first.startswith("103e620101ffffff")
    assert unit.tick(0.5) == []
    assert [text[:2] for text in say(unit, "30020a", 0.6)] == ["21"]
    assert unit.due_s == pytest.approx(0.61)
    assert [frame.data[0] for frame in unit.tick(0.61)] == [0x22]
    assert unit.tick(0.7) == []
    assert [text[:2] for text in say(unit, "310000", 0.8)] == []
    assert [text[:2] for text in say(unit, GO_ON, 1.7)] == ["23", "24", "25", "26", "27", "28"]
    assert unit.due_s == math.inf


def test_without_flow_control_the_answer_is_given_up() -> None:
    unit = Ioniq5()
    say(unit, "03220101")
    assert unit.due_s == 1.0
    assert unit.tick(1.0) == []
    assert say(unit, GO_ON, 1.1) == []
    say(unit, "03220101", 2.0)
    assert say(unit, "320000", 2.1) == []
    assert unit.due_s == math.inf


def test_a_hyundai_tells_the_pack_at_the_specified_places() -> None:
    unit = Ioniq5()
    cells = [3.9] * 31 + [3.5]
    unit.set(
        {"current_a": -31.2, "soc_pct": 45.5, "temperatures_c": [1, 2, -3, 4, 5], "aux_v": 13.1}
    )
    unit.set({"cells_v": cells})
    data = ask(unit, "220101")[3:]
    assert (data[4], struct.unpack_from(">h", data, 10)[0]) == (91, 312)
    volts = struct.unpack_from(">H", data, 12)[0] / 10
    assert volts == pytest.approx(sum(unit.pack.sample().cells_v), abs=1)
    assert struct.unpack_from(">7b", data, 14) == (5, -3, 1, 2, -3, 4, 5)
    assert (data[23], data[24], data[25], data[26]) == (195, 1, 175, 32)
    assert data[29] == 131
    health = ask(unit, "220105")[3:]
    assert struct.unpack_from(">H", health, 25)[0] == 964
    assert ask(unit, "220102") == bytes.fromhex("620102ffffffff" + "c3" * 31 + "af")
    assert ask(unit, "22010c")[7:] == bytes(32)


def test_a_leaf_answers_kwp_and_counts_current_into_the_battery_as_positive() -> None:
    unit = Leaf()
    unit.set({"current_a": -10.0, "soc_pct": 64.0, "voltage_v": 355.5, "soh_pct": 88.1})
    answer = ask(unit, "2101")
    assert (len(answer), answer[:2]) == (53, b"\x61\x01")
    data = answer[2:]
    assert struct.unpack_from(">i", data)[0] == -10_240
    assert struct.unpack_from(">H", data, 18)[0] == 35_550
    assert int.from_bytes(data[31:34], "big") == 640_000
    assert int.from_bytes(data[35:38], "big") == 1_760_000
    assert ask(unit, "2161")[4:6] == struct.pack(">H", 8810)


def test_an_id4_answers_on_29_bits() -> None:
    unit = Id4()
    unit.set({"soc_pct": 50.4, "voltage_v": 372.0})
    assert ask(unit, "22028c").hex() == "62028c80"
    assert ask(unit, "221e3b").hex() == "621e3b05d0"
    assert unit.receive(CanFrame(unit.request_id, b"\x03\x22\x02\x8c"), 0.0) == []


@pytest.mark.parametrize(
    ("question", "refusal"),
    [
        ("22f190", "7f2231"),
        ("2201", "7f2213"),
        ("2e010100", "7f2e11"),
        ("2f0101", "7f2f11"),
        ("31010101", "7f3111"),
        ("2101", "7f2131"),
    ],
)
def test_what_it_does_not_have_is_refused_with_the_reason(question: str, refusal: str) -> None:
    assert ask(Ioniq5(), question).hex() == refusal


def test_sessions_are_opened_and_tester_present_may_be_silent() -> None:
    unit = Ioniq5()
    assert ask(unit, "1003").hex() == "5003003201f4"
    assert ask(unit, "3e00").hex() == "7e00"
    assert say(unit, "023e80") == []


def test_7df_is_heard_and_refused_in_silence() -> None:
    unit = Ioniq5()
    assert unit.receive(CanFrame(0x7DF, b"\x02\x01\x5b"), 0.0) == []
    (answer,) = unit.receive(CanFrame(0x7DF, b"\x03\x22\x01\x01"), 0.0)
    assert answer.can_id == 0x7EC


def test_refusals_can_be_dialled() -> None:
    unit = Ioniq5()
    unit.set({"busy": 1, "unsupported": ["220105"]})
    assert [ask(unit, "220101")[-1], ask(unit, "220105")[-1]] == [0x21, 0x31]
    unit.set({"unsupported": None, "pending_s": 2.0})
    assert say(unit, "03220101", 10.0) == ["037f2278aaaaaaaa"]
    assert unit.due_s == 12.0
    assert unit.tick(11.9) == []
    assert [frame.data[:2].hex() for frame in unit.tick(12.0)] == ["103e"]


def test_a_car_asleep_says_nothing() -> None:
    unit = Ioniq5()
    unit.set({"asleep": True})
    assert say(unit, "03220101") == []
    unit.set({"asleep": None, "ready": False})
    assert ask(unit, "220101")[3:][29] == 125


@pytest.mark.parametrize(
    "values",
    [{"asleep": 1}, {"busy": -1}, {"pending_s": True}, {"unsupported": ["2"]}, {"gear": "D"}],
)
def test_a_dial_that_is_none_changes_nothing(values: dict[str, object]) -> None:
    unit = Ioniq5()
    with pytest.raises(ValueError, match=next(iter(values))):
        unit.set({"soc_pct": 10.0, **values})
    assert ask(unit, "220101")[3:][4] == 160


def test_it_speaks_through_an_slcan_adapter() -> None:
    shim = build_shim("uds_ev")
    assert isinstance(shim, SlcanAdapter)
    said = b"".join(shim.receive(b"S6\rO\rt7E4403220101\r", 0.0))
    assert said == b"\r\rz\rt7EC8103E620101FFFFFF\r"


async def test_a_car_on_a_pty_is_read_by_the_agents_battery(tmp_path: Path) -> None:
    shim = build_shim("uds_leaf", seed=3, soc_pct=55.0)
    async with serve(shim, link_path=tmp_path / "bus") as port:
        settings = Battery(protocol="uds_ev", port=f"slcan:{port.path}", car="leaf")
        battery = open_battery(settings)
        try:
            reading = await battery.source.poll()
        finally:
            await battery.link.close()
    assert reading is not None
    assert reading.soc_pct == 55.0
    assert reading.soh_pct == 96.4
    assert battery.source.about["car"] == "leaf"


@pytest.mark.parametrize(
    ("protocol", "port", "told"),
    [("uds_ev", "slcan:/dev/none", "ioniq5"), ("vesc", "slcan:/dev/none", "car")],
)
def test_a_car_that_nobody_knows_is_refused(protocol: str, port: str, told: str) -> None:
    with pytest.raises(UnknownProtocolError, match=told):
        open_battery(Battery(protocol=protocol, port=port, car="trabant"))
