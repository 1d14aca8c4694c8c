"""The JK decoder against the specification's vectors, made and shared frames, and its shim."""

import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.drivers.base import BatteryReading, FrameError
from edge.drivers.jk_rs485 import (
    CHARGE_SWITCH,
    DISCHARGE_SWITCH,
    READ_ALL,
    JkDecoder,
    request,
    switch_request,
)
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink
from firmware_shim.faults import Faults
from firmware_shim.jk_rs485 import JkController
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from tests.edge.drivers import jk_vectors as jk

CELLS = bytes.fromhex("7906010e9f020ea6")


def reply(body: bytes, *, command: int = READ_ALL, kind: int = 1, source: int = 0) -> bytes:
    """A frame with a right sum around any body."""
    size = (18 + len(body)).to_bytes(2, "big")
    frame = b"\x4e\x57" + size + bytes(4) + bytes((command, source, kind)) + body
    frame += bytes(4) + b"\x68\0\0"
    return frame + (sum(frame) & 0xFFFF).to_bytes(2, "big")


def reading_of(frame: bytes) -> BatteryReading:
    reading = JkDecoder.explain(frame).reading
    assert reading is not None
    return reading


def test_the_read_all_request_is_the_specified_one() -> None:
    assert request(READ_ALL) == jk.READ_ALL


def test_a_switch_is_turned_byte_for_byte() -> None:
    assert switch_request(tag=DISCHARGE_SWITCH, on=False).request == jk.DISCHARGE_OFF
    on = JkDecoder.explain(switch_request(tag=CHARGE_SWITCH, on=True).request).fields
    assert (on["command"], on["length"], on["charge_switch"]) == (2, 0x14, True)


def test_a_charging_board_reads_as_its_frame_says() -> None:
    reading = reading_of(jk.CHARGING)
    assert reading.cells_v is not None
    assert (len(reading.cells_v), reading.cells_v[8]) == (14, 3.697)
    assert dataclasses.replace(reading, cells_v=None) == BatteryReading(
        voltage_v=51.9,
        current_a=6.25,
        soc_pct=43,
        full_ah=20,
        temperatures_c=(24, 26),
        cycles=9,
        charge_fet=True,
        discharge_fet=True,
        alarms=(),
        protection_bits=0,
    )


def test_a_switched_off_board_lets_no_current_pass() -> None:
    reading = reading_of(jk.RESTING)
    assert (reading.charge_fet, reading.discharge_fet, reading.current_a) == (False, False, 0.0)


@pytest.mark.parametrize(
    ("raw", "version", "amps"),
    [
        ("813d", "c001", 3.17),
        ("013d", "c001", -3.17),
        ("8000", "c001", 0.0),
        ("25d3", "c000", 3.17),
        ("284d", "c000", -3.17),
        ("25d3", "", 3.17),
        ("ffff", "c001", None),
    ],
)
def test_the_version_says_how_the_current_is_told(
    raw: str, version: str, amps: float | None
) -> None:
    body = bytes.fromhex(f"8312c084{raw}{version}")
    assert reading_of(reply(body)).current_a == amps


@pytest.mark.parametrize(
    ("raw", "celsius"), [(0, 0), (99, 99), (100, 100), (101, -1), (140, -40), (0xFFFF, None)]
)
def test_temperatures_below_zero_begin_behind_100(raw: int, celsius: int | None) -> None:
    reading = reading_of(reply(b"\x81" + raw.to_bytes(2, "big") + b"\x82\x00\x14"))
    assert reading.temperatures_c == (20, celsius)


def test_alarm_bits_become_names_and_low_charge_is_no_protection() -> None:
    reading = reading_of(reply(bytes.fromhex("8b0c41")))
    assert reading.alarms == (
        "low_capacity",
        "discharge_overcurrent",
        "cell_overvoltage",
        "cell_undervoltage",
    )
    assert reading.protection_bits == 0x0C41
    assert JkDecoder.ordered_bits == 1


def test_what_a_fet_does_wins_over_what_its_switch_says() -> None:
    both_on = bytes.fromhex("ab01ac01")
    assert reading_of(reply(both_on)).discharge_fet is True
    assert reading_of(reply(bytes.fromhex("8c0001") + both_on)).discharge_fet is False


def test_all_ones_are_unknown() -> None:
    reading = reading_of(reply(bytes.fromhex("7906010e9f02ffff83ffff85ff870004")))
    assert reading == BatteryReading(cycles=4)


def test_behind_an_unknown_tag_nothing_is_read() -> None:
    frame = reply(CELLS + b"\x83\x12\xc0\x84\x01\x3d\x7f\x01\xc0\x01")
    fields, reading = JkDecoder.explain(frame)
    assert (fields["partial"], fields["pack_voltage_v"]) == (0x7F, 48.0)
    assert reading == BatteryReading(voltage_v=48.0, cells_v=(3.743, 3.75))
    decoder = JkDecoder()
    decoder.feed(frame)
    assert decoder.about == {"unknown_tag": 0x7F}


def test_what_nobody_named_has_no_serial_number() -> None:
    decoder = JkDecoder()
    decoder.feed(jk.RESTING)
    assert "serial" not in decoder.about
    assert decoder.about["hardware"] == "JK-B1A20S15P"
    decoder.feed(jk.CHARGING)
    assert decoder.about["serial"] == "MC4170000000202405110042"
    assert decoder.about["software"] == "H7.X__S7.0.2Q"


def test_the_password_is_not_told() -> None:
    fields, _ = JkDecoder.explain(jk.CHARGING)
    assert "password" not in fields
    assert "data" not in JkDecoder.explain(reply(b"123456", command=5, kind=0, source=3)).fields
    written = reply(b"\xb2123456\0\0\0\0", command=2, kind=0, source=3)
    assert {"data", "password"}.isdisjoint(JkDecoder.explain(written).fields)


def test_one_register_answers_as_all_of_them_do() -> None:
    fields, reading = JkDecoder.explain(reply(b"\x85\x0f", command=3))
    assert (fields["soc_pct"], reading) == (15, BatteryReading(soc_pct=15))
    assert JkDecoder.explain(reply(b"\xae\x01", command=3)).reading is None


def test_a_board_that_speaks_unasked_is_heard() -> None:
    decoder = JkDecoder()
    decoder.feed(reply(b"\x83\x12\xc0", kind=2))
    assert decoder.reading() == BatteryReading(voltage_v=48.0)


def test_a_request_or_a_confirmation_gives_no_reading() -> None:
    decoder = JkDecoder()
    frames = decoder.feed(jk.READ_ALL + jk.DISCHARGE_OFF + jk.DISCHARGE_WRITTEN)
    assert [(frame.key, frame.op) for frame in frames] == [(6, "read"), (2, "write"), (2, None)]
    assert decoder.reading() is None


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "length"),
        (jk.CHARGING[:-1], "length"),
        (jk.CHARGING[1:], "start"),
        (jk.CHARGING[:-5] + b"\x69" + jk.CHARGING[-4:], "terminator"),
        (jk.CHARGING[:40] + b"\x00" + jk.CHARGING[41:], "checksum"),
        (jk.CHARGING[:-4] + b"\x00\x01" + jk.CHARGING[-2:], "checksum"),
        (b"\x4e\x57\x00\x04" + bytes(30), "length"),
        (reply(b"", command=9), "unsupported"),
        (reply(b"", source=4), "unsupported"),
        (reply(b"\x83\x12"), "length"),
        (reply(b"\x79\x05" + bytes(5)), "length"),
        (reply(b"\x79\x06" + bytes(5)), "length"),
        (reply(b"\x79"), "length"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        JkDecoder.explain(frame)
    assert caught.value.reason == reason


def test_a_frame_that_does_not_add_up_is_counted_and_changes_nothing() -> None:
    decoder = JkDecoder()
    decoder.feed(jk.CHARGING)
    before = decoder.reading()
    decoder.feed(reply(b"\x83\x12") + jk.RESTING[:60] + b"\xff" + jk.RESTING[61:])
    assert decoder.counters.bad == {"length": 1, "checksum": 1}
    assert decoder.reading() == before


def test_every_captured_frame_decodes_to_what_its_source_says(shared: Path) -> None:
    document = json.loads((shared / "data/battery/frames/jk_rs485.json").read_text("utf-8"))
    wrong = {}
    for item in document["items"]:
        fields = JkDecoder.explain(bytes.fromhex(item["hex"])).fields
        wrong[item["id"]] = {
            name: fields.get(name)
            for name, value in item["expected"].items()
            if fields.get(name) != value
        }
    assert not any(wrong.values()), wrong
    assert len(wrong) >= 3


@asynccontextmanager
async def battery(**rates: float) -> AsyncIterator[tuple[JkController, Poller]]:
    shim = build_shim("jk_rs485", seed=5, faults=Faults(rates, seed=5))
    async with serve(shim) as port:
        link = SerialLink(port.path, baud=JkDecoder.policy.baud)
        try:
            policy = dataclasses.replace(JkDecoder.policy, timeout_s=0.05)
            yield shim, Poller(link, JkDecoder(), policy=policy)
        finally:
            await link.close()


async def test_the_driver_reads_on_a_pty_what_the_shim_was_set_to() -> None:
    async with battery() as (shim, poller):
        shim.set({"voltage_v": 51.8, "current_a": -12.5, "temperatures_c": [31.0, 8.0, 85.0]})
        reading = await poller.poll()
        assert reading is not None
        assert (reading.voltage_v, reading.current_a) == (51.8, -12.5)
        assert reading.temperatures_c == (31, 8)
        assert reading.cells_v == (3.7,) * 14
        assert poller.about["serial"] == "CB-00417"


async def test_a_spoiled_line_gives_right_readings_or_none() -> None:
    async with battery(noise=0.3, bad_checksum=0.3, half_frame=0.1, split=0.3) as (shim, poller):
        shim.set({"voltage_v": 51.8, "current_a": 3.0})
        readings = [await poller.poll() for _ in range(12)]
        told = [reading for reading in readings if reading is not None]
        assert {(reading.voltage_v, reading.current_a) for reading in told} == {(51.8, 3.0)}
        assert poller.counters["bad_checksum"] >= 1


async def test_a_discharge_switch_stops_the_current_unless_the_board_ignores_it() -> None:
    async with battery() as (shim, poller):
        shim.pack.demand_a = -5.0
        assert await poller.ask(switch_request(tag=DISCHARGE_SWITCH, on=False)) is not None
        reading = await poller.poll()
        assert reading is not None
        assert (reading.discharge_fet, reading.current_a) == (False, 0.0)
        shim.faults.rates["fet_ignored"] = 1.0
        assert await poller.ask(switch_request(tag=DISCHARGE_SWITCH, on=True)) is not None
        reading = await poller.poll()
        assert reading is not None
        assert reading.discharge_fet is False


async def test_what_goes_wrong_in_the_pack_is_read() -> None:
    async with battery(protection_trip=1, sensor_lost=1) as (_, poller):
        reading = await poller.poll()
        assert reading is not None
        assert reading.alarms == ("discharge_overcurrent",)
        assert reading.temperatures_c is not None
        assert reading.temperatures_c[0] is None
        assert reading.discharge_fet is False
