"""The emulated lock unit against docs/lock-unit.md, bytes alone."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from firmware_shim.lock_unit import LockUnit
from tests.lock_unit_vectors import VECTORS

LOCKED, UNLOCKED, BETWEEN = 1, 0, 2
ACK, NAK, STATUS, ABOUT = 0x82, 0x83, 0x84, 0x81
MOVING, JAMMED, UNKNOWN, BAD_ARGS, BUSY, NO_SESSION = range(1, 7)


def frame(seq: int, kind: int, payload: bytes = b"") -> bytes:
    """A request, with the CRC computed bit by bit."""
    body = bytes((len(payload), seq, kind)) + payload
    crc = 0xFFFF
    for byte in body:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return b"MC" + body + crc.to_bytes(2, "big")


def a_unit(**dials: Any) -> LockUnit:
    """Powered up and greeted at 0 s."""
    unit = LockUnit()
    unit.tick(0.0)
    unit.receive(VECTORS["hello"], 0.0)
    unit.set(dials)
    unit.tick(0.0)
    return unit


def ask(unit: LockUnit, now_s: float, seq: int, kind: int, payload: bytes = b"") -> tuple[int, int]:
    """Ask one request; return the type of its reply and the reason, 0 for an ACK."""
    (reply,) = unit.receive(frame(seq, kind, payload), now_s)
    assert reply[3] == seq
    assert reply[5] == kind
    return reply[4], reply[6] if reply[4] == NAK else 0


def latch(unit: LockUnit, now_s: float) -> int:
    return newest_status(unit, now_s)[0]


def newest_status(unit: LockUnit, now_s: float) -> bytes:
    unit.set({})
    *_, status = unit.tick(now_s)
    assert status[4] == STATUS
    return status[5:-2]


def test_the_checksum_here_and_the_one_in_the_document_agree() -> None:
    assert frame(2, 0x10) == VECTORS["lock"]
    assert frame(1, 0x01, bytes.fromhex("01DEADBEEF")) == VECTORS["hello"]


def test_a_greeting_is_answered_as_printed() -> None:
    unit = LockUnit()
    assert unit.receive(VECTORS["hello"], 0.0) == [VECTORS["about"]]


def test_lock_is_acknowledged_as_printed_and_refused_while_rolling_as_printed() -> None:
    assert a_unit(locked=False).receive(VECTORS["lock"], 0.0) == [VECTORS["ack_lock"]]
    rolling = a_unit(locked=False, speed_kmh=20)
    assert rolling.receive(VECTORS["lock"], 0.0) == [VECTORS["nak_lock_moving"]]
    assert rolling.moves == 0


def test_statuses_are_as_printed() -> None:
    unit = LockUnit()
    assert unit.tick(0.0)[0][4] == ABOUT
    unit = a_unit()
    unit.tick(0.0)
    assert newest_status(unit, 1.0) == VECTORS["status_locked"][5:-2]
    unit = a_unit(locked=False, lights=True, speed_kmh=20.3)
    ask(unit, 0, 1, 0x13, b"\x19")
    ask(unit, 0, 2, 0x14, b"\x03")
    assert newest_status(unit, 61.0) == VECTORS["status_riding"][5:-2]
    unit = a_unit(locked=False, speed_kmh=-1.2)
    ask(unit, 0, 1, 0x14, b"\x04")
    assert newest_status(unit, 62.0) == VECTORS["status_rolling_back"][5:-2]


def test_the_latch_travels_and_every_step_is_told_at_once() -> None:
    unit = a_unit()
    assert ask(unit, 1.0, 1, 0x11) == (ACK, 0)
    assert unit.due_s <= 1.0
    (between,) = unit.tick(1.0)
    assert between[5] == BETWEEN
    assert unit.due_s == pytest.approx(1.005)
    (arrived,) = unit.tick(1.005)
    assert arrived[5] == UNLOCKED
    assert arrived[3] == (between[3] + 1) & 0xFF
    assert unit.due_s == pytest.approx(2.005)


def test_status_comes_each_second_standing_and_each_100_ms_rolling() -> None:
    unit = a_unit(locked=False)
    assert unit.due_s == pytest.approx(1.0)
    unit.set({"speed_kmh": 0.5})
    assert unit.due_s == -math.inf
    unit.tick(0.2)
    assert unit.due_s == pytest.approx(0.3)


def test_a_repeated_request_gets_the_same_reply_and_moves_nothing() -> None:
    unit = a_unit()
    first = unit.receive(VECTORS["unlock"], 0.0)
    latch(unit, 0.1)
    unit.set({"locked": True})
    assert unit.receive(VECTORS["unlock"], 0.2) == first
    assert latch(unit, 0.3) == LOCKED
    assert unit.moves == 1


def test_a_new_request_number_moves_again() -> None:
    unit = a_unit()
    ask(unit, 0.0, 1, 0x11)
    latch(unit, 0.1)
    unit.set({"locked": True})
    ask(unit, 0.2, 2, 0x11)
    assert latch(unit, 0.3) == UNLOCKED
    assert unit.moves == 2


def test_eight_requests_are_remembered_and_the_ninth_before_is_not() -> None:
    unit = a_unit()
    for seq in range(1, 9):
        ask(unit, 0.0, seq, 0x16, b"\x05")
    assert unit.moved["locate"] == 8
    ask(unit, 0.1, 1, 0x16, b"\x05")
    assert unit.moved["locate"] == 8
    ask(unit, 0.1, 9, 0x16, b"\x05")
    ask(unit, 0.1, 1, 0x16, b"\x05")
    assert unit.moved["locate"] == 10


def test_a_request_number_is_not_used_for_two_things() -> None:
    unit = a_unit()
    assert ask(unit, 0.0, 1, 0x11) == (ACK, 0)
    assert ask(unit, 0.1, 1, 0x10) == (NAK, BAD_ARGS)


def test_a_new_session_forgets_requests_and_the_same_one_does_not() -> None:
    unit = a_unit()
    ask(unit, 0.0, 1, 0x16, b"\x05")
    unit.receive(VECTORS["hello"], 0.1)
    ask(unit, 0.1, 1, 0x16, b"\x05")
    assert unit.moved["locate"] == 1
    unit.receive(frame(1, 0x01, bytes.fromhex("0100000001")), 0.2)
    ask(unit, 0.2, 1, 0x16, b"\x05")
    assert unit.moved["locate"] == 2


def test_what_is_so_already_moves_nothing_and_is_told() -> None:
    unit = a_unit()
    assert ask(unit, 0.0, 1, 0x10) == (ACK, 0)
    assert unit.moves == 0
    assert unit.tick(0.0)[-1][5] == LOCKED


@pytest.mark.parametrize("kmh", [3.1, -3.1])
@pytest.mark.parametrize(("kind", "payload"), [(0x10, b""), (0x12, b"\x01"), (0x15, b"")])
def test_the_unit_itself_refuses_what_is_dangerous_above_3_kmh(
    kmh: float, kind: int, payload: bytes
) -> None:
    rolling = a_unit(locked=False, speed_kmh=kmh)
    assert ask(rolling, 0.0, 1, kind, payload) == (NAK, MOVING)
    crawling = a_unit(locked=False, speed_kmh=3.0)
    assert ask(crawling, 0.0, 1, kind, payload) == (ACK, 0)


@pytest.mark.parametrize(("kind", "payload"), [(0x11, b""), (0x12, b"\0"), (0x13, b"\x14")])
def test_unlocking_and_limiting_are_no_danger_at_speed(kind: int, payload: bytes) -> None:
    assert ask(a_unit(speed_kmh=20), 0.0, 1, kind, payload) == (ACK, 0)


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        (0x10, b"\0", BAD_ARGS),
        (0x12, b"", BAD_ARGS),
        (0x12, b"\x02", BAD_ARGS),
        (0x13, b"\x02", BAD_ARGS),
        (0x13, b"\x2e", BAD_ARGS),
        (0x14, b"\0", BAD_ARGS),
        (0x14, b"\x05", BAD_ARGS),
        (0x16, b"\0", BAD_ARGS),
        (0x16, b"\x1f", BAD_ARGS),
        (0x17, b"\x02", BAD_ARGS),
        (0x01, b"\x01", BAD_ARGS),
        (0x01, bytes.fromhex("0100000000"), BAD_ARGS),
        (0x18, b"", UNKNOWN),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(
    kind: int, payload: bytes, reason: int
) -> None:
    assert ask(a_unit(), 0.0, 1, kind, payload) == (NAK, reason)


def test_the_other_way_is_busy_and_the_same_way_is_not() -> None:
    unit = a_unit(travel_ms=1000)
    ask(unit, 0.0, 1, 0x11)
    assert ask(unit, 0.1, 2, 0x10) == (NAK, BUSY)
    assert ask(unit, 0.1, 3, 0x11) == (ACK, 0)
    assert unit.moves == 1


def test_a_jammed_latch_is_refused_and_a_stuck_one_never_arrives() -> None:
    jammed = a_unit(jammed=True)
    assert ask(jammed, 0.0, 1, 0x11) == (NAK, JAMMED)
    stuck = a_unit(stuck=True)
    assert ask(stuck, 0.0, 1, 0x11) == (ACK, 0)
    assert latch(stuck, 60.0) == BETWEEN
    stuck.set({"stuck": None})
    assert latch(stuck, 60.1) == UNLOCKED


def test_nothing_is_obeyed_before_a_greeting_nor_after_a_loss_of_power() -> None:
    unit = LockUnit()
    unit.tick(0.0)
    assert ask(unit, 0.0, 1, 0x11) == (NAK, NO_SESSION)
    unit.receive(VECTORS["hello"], 0.0)
    assert ask(unit, 0.0, 1, 0x11) == (ACK, 0)
    unit.restart()
    assert [said[4] for said in unit.tick(5.0)] == [ABOUT, STATUS]
    assert ask(unit, 5.0, 2, 0x11) == (NAK, NO_SESSION)


def test_the_beeper_stops_by_itself() -> None:
    unit = a_unit()
    ask(unit, 0.0, 1, 0x16, b"\x05")
    assert newest_status(unit, 4.9)[1] & 1
    assert unit.due_s == 5.0
    unit.tick(5.0)
    assert not newest_status(unit, 5.0)[1] & 1


def test_requests_arrive_in_any_slicing_and_through_noise() -> None:
    unit = a_unit()
    stream = b"MC\xff" + b"M" + VECTORS["unlock"] + b"\0" + VECTORS["locate_5_s"]
    replies = [reply for byte in stream for reply in unit.receive(bytes((byte,)), 0.0)]
    assert [reply[4] for reply in replies] == [ACK, ACK]


def test_a_request_that_was_cut_off_is_forgotten_after_100_ms() -> None:
    unit = a_unit()
    unit.receive(VECTORS["immobilise_on"][:-3], 0.0)
    assert len(unit.receive(VECTORS["unlock"], 0.2)) == 1


def test_a_silent_unit_says_nothing() -> None:
    unit = a_unit(silent=True)
    assert unit.receive(VECTORS["unlock"], 0.0) == []
    assert unit.tick(2.0) == []


def test_each_movement_is_a_line_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "moves.jsonl"
    unit = LockUnit(moves=file)
    unit.tick(0.0)
    unit.receive(VECTORS["hello"], 0.0)
    for name in ("unlock", "unlock", "open_compartment", "locate_5_s", "lights_on"):
        unit.receive(VECTORS[name], 0.5)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["move"] for row in rows] == ["unlock", "open_compartment", "locate"]
    assert rows[0]["uptime_ms"] == 500


@pytest.mark.parametrize(
    "dials", [{"colour": 1}, {"locked": 1}, {"speed_kmh": "fast"}, {"speed_kmh": 999}]
)
def test_a_wrong_dial_is_named_and_nothing_is_turned(dials: dict[str, Any]) -> None:
    unit = a_unit()
    with pytest.raises(ValueError, match=next(iter(dials))):
        unit.set({"tamper": True} | dials)
    assert not unit.sensors.tamper
