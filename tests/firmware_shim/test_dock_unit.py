"""The emulated dock unit, read by hand from the protocol's page."""

import binascii
import struct
from typing import Any

import pytest

from firmware_shim.dock_unit import CHARGING, FAULT, FINISHED, FREE, OCCUPIED, RED, DockUnit
from firmware_shim.faults import Faults
from firmware_shim.registry import build_shim

READ = bytes.fromhex("4D43 00 00 20 E8FE")
WHO = bytes.fromhex("4D43 00 00 21 F8DF")
LED_BLUE = bytes.fromhex("4D43 01 00 22 02 B2B2")
LAYOUT = struct.Struct(">BBHHhHIHBBB")
NAMES = (
    *("state", "flags", "faults", "volts", "amps", "watts", "energy", "kelvins"),
    *("led", "soc", "size"),
)


def framed(kind: int, payload: bytes) -> bytes:
    body = bytes((len(payload), 7, kind)) + payload
    return b"MC" + body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")


def measured(unit: DockUnit, now_s: float = 0.0) -> dict[str, Any]:
    (reply,) = unit.receive(READ, now_s)
    assert reply[:5] == b"MC" + bytes((len(reply) - 7, 0, 0xA0))
    assert binascii.crc_hqx(reply[2:-2], 0xFFFF) == int.from_bytes(reply[-2:], "big")
    found = dict(zip(NAMES, LAYOUT.unpack_from(reply[5:-2]), strict=True))
    return found | {"serial": reply[5 + LAYOUT.size : -2].decode()}


def test_a_free_bay_draws_little_and_gives_nothing() -> None:
    found = measured(build_shim("dock_unit"))
    assert (found["state"], found["flags"], found["amps"], found["serial"]) == (FREE, 0, 0, "")
    assert found["soc"] == 0xFF


def test_a_pack_with_its_cable_in_is_charged_and_the_meter_counts() -> None:
    unit = DockUnit()
    unit.set({"bay_occupied": True, "serial": "PK-9", "soc_pct": 50})
    assert measured(unit)["state"] == OCCUPIED
    unit.set({"cable": True})
    begin, later = measured(unit, 1.0), measured(unit, 1801.0)
    assert (begin["state"], begin["flags"], begin["serial"]) == (CHARGING, 0b111, "PK-9")
    assert later["soc"] > begin["soc"] + 10
    assert later["amps"] == pytest.approx(400, abs=10)
    watts = later["volts"] / 100 * 4 / 0.92
    assert later["energy"] == pytest.approx(watts / 2, rel=0.05)
    assert measured(unit, 40_000.0)["state"] == FINISHED


def test_a_fault_stops_the_charge() -> None:
    unit = DockUnit()
    unit.set({"bay_occupied": True, "cable": True, "faults": 8})
    found = measured(unit, 1.0)
    assert (found["state"], found["faults"]) == (FAULT, 8)
    assert measured(unit, 2.0)["amps"] == 0


def test_the_lamp_shows_what_it_was_told() -> None:
    unit = DockUnit()
    assert unit.receive(LED_BLUE, 0.0) == [bytes.fromhex("4D43 01 00 A2 02 A92A")]
    assert measured(unit)["led"] == 2
    unit.receive(framed(0x22, bytes((RED,))), 0.0)
    assert (measured(unit)["led"], unit.lit) == (RED, [2, RED])


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [(0x30, b"", 3), (0x22, b"", 4), (0x22, b"\x05", 4), (0x20, b"\x00", 4)],
)
def test_what_it_does_not_do_is_refused_with_a_reason(
    kind: int, payload: bytes, reason: int
) -> None:
    (reply,) = DockUnit().receive(framed(kind, payload), 0.0)
    assert reply[:-2] == b"MC" + bytes((2, 7, 0x83, kind, reason))


def test_it_says_who_it_is() -> None:
    (reply,) = DockUnit().receive(WHO, 0.0)
    assert reply == bytes.fromhex("4D43 0B 00 A1 014D432D44553120312E30 2A4E")


def test_requests_are_found_in_any_slicing_and_behind_noise() -> None:
    unit = DockUnit()
    replies = [reply for byte in b"\x00MM" + READ for reply in unit.receive(bytes((byte,)), 0.0)]
    assert len(replies) == 1


@pytest.mark.parametrize(
    ("fault", "shows"),
    [
        ("sensor_lost", {"kelvins": 0xFFFF}),
        ("protection_trip", {"state": FAULT, "faults": 2}),
    ],
)
def test_its_faults_show(fault: str, shows: dict[str, int]) -> None:
    found = measured(DockUnit(faults=Faults({fault: 1.0})))
    assert {name: found[name] for name in shows} == shows


def test_an_ignored_order_is_confirmed_and_not_done() -> None:
    unit = DockUnit(faults=Faults({"fet_ignored": 1.0}))
    assert unit.receive(LED_BLUE, 0.0)
    assert measured(unit)["led"] == 0


def test_a_silent_unit_says_nothing() -> None:
    unit = DockUnit()
    unit.set({"silent": True})
    assert unit.receive(READ, 0.0) == []


@pytest.mark.parametrize(
    "wrong", [{"serial": "x" * 25}, {"serial": 7}, {"cable": 1}, {"soc_pct": 101}, {"leds": 1}]
)
def test_a_dial_that_cannot_be_turned_so_changes_nothing(wrong: dict[str, Any]) -> None:
    unit = DockUnit()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        unit.set({"bay_occupied": True} | wrong)
    assert not unit.bay.bay_occupied
