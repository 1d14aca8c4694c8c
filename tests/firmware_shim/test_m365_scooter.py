"""The emulated scooter, bytes alone: both parts, both framings, and the dashboard's talk."""

import math
from pathlib import Path

import pytest

from firmware_shim.faults import Faults
from firmware_shim.m365_scooter import Scooter
from firmware_shim.pack import Protection
from firmware_shim.registry import build_shim
from firmware_shim.scooter_bus import NinebotFraming
from tests.edge.drivers.m365_vectors import LOCK_IT, READ_MAIN, ninebot, words, xiaomi

PINNED = {
    "remaining_ah": 7.734,
    "soc_pct": 99,
    "current_a": -0.01,
    "voltage_v": 41.05,
    "temperatures_c": 29,
}
VECTOR = bytes.fromhex("55 AA 0C 25 01 31 36 1E 63 00 01 00 09 10 31 31 69 FE")


def a_scooter(**rates: float) -> Scooter:
    scooter = Scooter(faults=Faults(rates, seed=2))
    scooter.set(PINNED)
    return scooter


def word(scooter: Scooter, register: int, part: int = 0x22) -> int:
    (reply,) = scooter.receive(xiaomi(part, 1, register, b"\x02"), 1.0)
    return int.from_bytes(reply[6:8], "little")


def test_the_battery_answers_the_specifications_question_byte_for_byte() -> None:
    assert a_scooter().receive(READ_MAIN, 0.0) == [VECTOR]


def test_any_slicing_of_a_question_gives_the_same_answer() -> None:
    scooter = a_scooter()
    replies = [scooter.receive(bytes((byte,)), 0.0) for byte in READ_MAIN]
    assert replies == [[]] * (len(READ_MAIN) - 1) + [[VECTOR]]


def test_a_question_with_a_wrong_checksum_is_not_answered() -> None:
    assert a_scooter().receive(READ_MAIN[:-1] + b"\x00", 0.0) == []


def test_ninebots_framing_says_who_asked() -> None:
    scooter = Scooter(framing=NinebotFraming())
    scooter.set(PINNED)
    (reply,) = scooter.receive(ninebot(0x3D, 0x22, 1, 0x31, b"\x0a"), 0.0)
    assert reply == ninebot(0x22, 0x3D, 4, 0x31, VECTOR[6:-2])


def test_only_a_write_that_wants_an_answer_has_one() -> None:
    scooter = Scooter(framing=NinebotFraming())
    assert scooter.receive(ninebot(0x3D, 0x20, 3, 0x70, words(1)), 0.0) == []
    assert scooter.ride.locked
    (reply,) = scooter.receive(ninebot(0x3D, 0x20, 2, 0x71, words(1)), 0.0)
    assert reply == ninebot(0x20, 0x3D, 5, 0x71, b"")
    assert not scooter.ride.locked


def test_the_esc_is_on_the_same_wire_and_shows_the_packs_charge() -> None:
    scooter = a_scooter()
    assert scooter.receive(LOCK_IT, 0.0) == []
    assert (scooter.ride.locked, scooter.moves) == (True, 1)
    assert word(scooter, 0x22, part=0x20) == 99
    assert word(scooter, 0x48, part=0x20) == 4105
    scooter.set({"battery_pct": 12})
    assert word(scooter, 0x22, part=0x20) == 12


@pytest.mark.parametrize(
    ("protection", "bit"),
    [
        (Protection.CELL_OVERVOLTAGE, 9),
        (Protection.CHARGE_OVERTEMP, 10),
        (Protection.DISCHARGE_OVERCURRENT, 8),
        (Protection.CELL_UNDERVOLTAGE, 14),
    ],
)
def test_what_the_pack_protects_against_is_in_the_status(protection: Protection, bit: int) -> None:
    scooter = a_scooter()
    assert word(scooter, 0x30) == 0b1011
    scooter.pack.trip(protection, 1.0)
    assert word(scooter, 0x30) >> bit & 1


def test_a_lost_sensor_reads_as_all_ones() -> None:
    assert word(a_scooter(sensor_lost=1), 0x35) == 49 << 8 | 0xFF


def test_a_stuck_battery_says_what_it_said_before() -> None:
    scooter = a_scooter(stuck=1)
    assert word(scooter, 0x34) == 4105
    scooter.set({"voltage_v": 36.0})
    assert word(scooter, 0x34) == 4105


def test_a_silent_scooter_says_nothing() -> None:
    scooter = a_scooter()
    scooter.set({"silent": True})
    assert scooter.receive(READ_MAIN, 0.0) == []


def test_dials_are_turned_all_or_nothing() -> None:
    scooter = a_scooter()
    with pytest.raises(ValueError, match="odour"):
        scooter.set({"speed_kmh": 10, "odour": 3})
    with pytest.raises(ValueError, match="chatter_hz"):
        scooter.set({"speed_kmh": 10, "chatter_hz": -1})
    assert scooter.ride.speed_kmh == 0


@pytest.mark.parametrize("name", ["m365", "ninebot"])
def test_the_dashboard_talks_as_often_as_told(name: str) -> None:
    scooter = build_shim(name)
    assert isinstance(scooter, Scooter)
    assert scooter.due_s == math.inf
    scooter.set({"chatter_hz": 20})
    said = []
    for _ in range(4):
        now_s = scooter.due_s
        said += scooter.tick(now_s)
        assert scooter.due_s == pytest.approx(now_s + 0.05)
    assert len(said) == 7
    scooter.set({"chatter_hz": None})
    assert scooter.due_s == math.inf


def test_what_was_locked_is_written_down(tmp_path: Path) -> None:
    moves = tmp_path / "moves.jsonl"
    build_shim("m365_serial", moves=moves).receive(LOCK_IT, 0.0)
    assert moves.read_text("utf-8").count("lock") == 1
