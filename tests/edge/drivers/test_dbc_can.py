"""Any bus by a manifest: what the map may say, and that nothing is read without one."""

import math

import pytest

from edge.drivers.base import FrameError
from edge.drivers.broadcast import BroadcastDecoder
from edge.drivers.can import CanFrame
from edge.drivers.dbc_can import DbcCanDecoder
from edge.drivers.lines import Line
from edge.drivers.manifest import crc8, crc8_table, prepare
from edge.drivers.registry import driver
from protocol.decoders import DecoderManifest, read_map

PACK_ID = 0x18FF0000
DBC = f"""\
VERSION ""

BU_: A

BO_ {1 << 31 | PACK_ID} Pack: 6 A
 SG_ Kind M : 0|4@1+ (1,0) [0|0] "" A
 SG_ Volts m0 : 8|16@1+ (0.1,0) [0|0] "V" A
 SG_ Amps m1 : 8|16@1- (0.1,0) [0|0] "A" A
 SG_ Warmth m2 : 8|8@1- (1,0) [0|0] "degC" A
 SG_ Hot m2 : 16|2@1+ (1,0) [0|0] "" A
 SG_ Count : 32|4@1+ (1,0) [0|0] "" A
 SG_ Check : 40|8@1+ (1,0) [0|0] "" A

"""
MAP = b"""{"main": "Pack", "messages": [
 {"message": "Pack", "crc8_poly": 47, "counter": "Count", "stale_s": 2.0, "signals": [
  {"signal": "Volts", "name": "voltage_v", "member": "voltage_v", "high": 100},
  {"signal": "Amps", "name": "current_a", "member": "current_a"},
  {"signal": "Warmth", "name": "warmth_c", "member": "temperature", "number": 3},
  {"signal": "Hot", "name": "too_hot", "member": "alarm", "unknown_raw": 3}]}]}"""
TABLE = crc8_table(47)


def decoder() -> BroadcastDecoder:
    found = DbcCanDecoder()
    found.use(prepare(DecoderManifest("van", 3, DBC, read_map(MAP))))
    return found


def pack(kind: int, value: int, count: int, third: int = 0) -> CanFrame:
    low, high = value & 0xFF, value >> 8 & 0xFF
    five = bytes((kind, low, third or high, 0, count))
    return CanFrame(PACK_ID, five + bytes((crc8(TABLE, five),)), extended=True)


def test_without_a_manifest_nothing_is_read_and_nothing_raises() -> None:
    empty = DbcCanDecoder()
    assert list(empty.begin(0.0)) == []
    empty.feed([pack(0, 400, 0)], 0.0)
    assert empty.reading(0.0) is None
    assert empty.about == {}
    assert not empty.waiting
    assert empty.due_s == math.inf


def test_the_values_of_a_message_that_takes_turns_are_put_together() -> None:
    found = decoder()
    found.feed([pack(0, 482, 0), pack(1, -125 & 0xFFFF, 1), pack(2, -7 & 0xFF, 2, third=1)], 1.0)
    reading = found.reading(1.0)
    assert reading is not None
    assert reading.voltage_v == 48.2
    assert reading.current_a == -12.5
    assert reading.temperatures_c == (None, None, -7)
    assert reading.alarms == ("too_hot",)
    assert reading.protection_bits == 1


def test_a_value_that_several_turns_tell_is_the_newest() -> None:
    shared = DBC.replace("SG_ Volts m0 : 8|16@1+", "SG_ Volts : 8|16@1+")
    found = DbcCanDecoder()
    found.use(prepare(DecoderManifest("van", 3, shared, read_map(MAP))))
    found.feed([pack(0, 400, 0), pack(1, 410, 1), pack(0, 420, 2)], 1.0)
    reading = found.reading(1.0)
    assert reading is not None
    assert reading.voltage_v == 42.0


def test_an_alarm_that_is_unknown_is_none() -> None:
    found = decoder()
    found.feed([pack(0, 482, 0), pack(2, 20, 1, third=3)], 1.0)
    reading = found.reading(1.0)
    assert reading is not None
    assert reading.alarms is None
    assert reading.protection_bits is None


def test_what_is_not_believed_is_counted_and_changes_nothing() -> None:
    found = decoder()
    good = pack(0, 482, 0)
    found.feed([good, pack(0, 2000, 1), good._replace(data=good.data[:-1] + b"\0")], 1.0)
    found.feed([good._replace(data=good.data[:3]), good._replace(extended=False)], 1.0)
    assert found.counters.bad == {"implausible": 1, "checksum": 1, "length": 1}
    reading = found.reading(1.0)
    assert reading is not None
    assert reading.voltage_v == 48.2


def test_the_counter_turns_over_where_its_bits_end() -> None:
    found = decoder()
    found.feed([pack(0, 400 + n, n % 16) for n in range(40)], 1.0)
    assert not found.counters.bad
    assert found.counters.frames == 40


@pytest.mark.parametrize(("gap", "dropped"), [(0, 1), (2, 1), (15, 1), (1, 0)])
def test_a_step_other_than_one_is_dropped_once(gap: int, dropped: int) -> None:
    found = decoder()
    found.feed([pack(0, 400, 3), pack(0, 401, 3 + gap & 15), pack(0, 402, 4 + gap & 15)], 1.0)
    assert found.counters.bad["sequence"] == dropped
    reading = found.reading(1.0)
    assert reading is not None
    assert reading.voltage_v == 40.2


def test_a_crc_is_the_one_that_its_polynomial_says() -> None:
    assert crc8(crc8_table(0x07), b"123456789") == 0xF4
    assert crc8(crc8_table(0x85), bytes.fromhex("b1e0beed4a5a84")) == 0x78


def test_a_frame_cannot_be_explained_without_a_manifest() -> None:
    with pytest.raises(FrameError, match="unsupported"):
        driver("dbc_can").explain(Line(can_id="1DB", hex="00"))
