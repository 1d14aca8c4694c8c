"""JK (Jikong) smart BMS on TTL or RS-485, the "4E57" frames, 115200 8N1.

    4E 57 | LEN u16 | TERMINAL[4] | CMD | SOURCE | TYPE | BODY | RECORD[4] | 68 | 00 00 | CHK u16

All numbers are big-endian. LEN counts everything behind 4E 57, CHK is the 16-bit sum of every byte
before its two zeros. TYPE is 00 for a request, 01 for a reply, 02 for what the board says unasked.
The BODY of a reply is tag, value, tag, value …; a tag has no length of its own, so that behind an
unknown one nothing can be read. A positive current charges, on the wire and in readings.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, NamedTuple

from edge.drivers.base import (
    Ask,
    BatteryReading,
    Explained,
    Frame,
    FrameError,
    FrameStream,
    PollPolicy,
)

ACTIVATE: Final = 0x01
WRITE: Final = 0x02
READ: Final = 0x03
PASSWORD: Final = 0x05
READ_ALL: Final = 0x06
CHARGE_SWITCH: Final = 0xAB
DISCHARGE_SWITCH: Final = 0xAC
LONGEST: Final = 1024

_START: Final = b"\x4e\x57"
_END: Final = 0x68
_COMMANDS: Final = frozenset({ACTIVATE, WRITE, READ, PASSWORD, READ_ALL})
_WRITES: Final = frozenset({ACTIVATE, WRITE, PASSWORD})
_LAST_SOURCE: Final = 3
_LAST_TYPE: Final = 2
_HOST: Final = 3
_HEAD: Final = struct.Struct(">2sH4sBBB")
_TAIL: Final = struct.Struct(">IBHH")
_SHORTEST: Final = _HEAD.size + _TAIL.size
_SUMMED_NOT: Final = 4

_CELLS: Final = 0x79
_CURRENT: Final = 0x84
_SECRET: Final = 0xB2
_CHARGING: Final = 1 << 15
_ZERO_AMPS: Final = 10_000
_COLDEST_RAW: Final = 140
_HOTTEST_RAW: Final = 100
_UNSET: Final = "Input Us"

ALARMS: Final = (
    "low_capacity",
    "mos_overtemp",
    "charge_overvoltage",
    "discharge_undervoltage",
    "battery_overtemp",
    "charge_overcurrent",
    "discharge_overcurrent",
    "cell_difference",
    "box_overtemp",
    "battery_undertemp",
    "cell_overvoltage",
    "cell_undervoltage",
    "front_end_error_a",
    "front_end_error_b",
    "reserved_14",
    "reserved_15",
)


def _celsius(raw: int) -> int | None:
    if raw > _COLDEST_RAW:
        return None
    return raw if raw <= _HOTTEST_RAW else _HOTTEST_RAW - raw


def _plain(raw: int) -> int:
    return raw


def _hundredths(raw: int) -> float:
    return raw / 100


def _thousandths(raw: int) -> float:
    return raw / 1000


_Convert = Callable[[int], Any]
_U8: Final = struct.Struct(">B")
_U16: Final = struct.Struct(">H")
_S16: Final = struct.Struct(">h")
_U32: Final = struct.Struct(">I")
_NUMBERS: Final[Mapping[int, tuple[str, struct.Struct, _Convert]]] = {
    0x80: ("mos_temp_c", _U16, _celsius),
    0x81: ("box_temp_c", _U16, _celsius),
    0x82: ("battery_temp_c", _U16, _celsius),
    0x83: ("pack_voltage_v", _U16, _hundredths),
    _CURRENT: ("current_raw", _U16, _plain),
    0x85: ("soc_pct", _U8, _plain),
    0x86: ("temp_sensor_count", _U8, _plain),
    0x87: ("cycles", _U16, _plain),
    0x89: ("cycle_capacity_ah", _U32, _plain),
    0x8A: ("cell_count", _U16, _plain),
    0x8B: ("alarm_bits", _U16, _plain),
    0x8C: ("status_bits", _U16, _plain),
    0x8E: ("pack_overvoltage_v", _U16, _hundredths),
    0x8F: ("pack_undervoltage_v", _U16, _hundredths),
    0x90: ("cell_overvoltage_v", _U16, _thousandths),
    0x91: ("cell_overvoltage_release_v", _U16, _thousandths),
    0x92: ("cell_overvoltage_delay_s", _U16, _plain),
    0x93: ("cell_undervoltage_v", _U16, _thousandths),
    0x94: ("cell_undervoltage_release_v", _U16, _thousandths),
    0x95: ("cell_undervoltage_delay_s", _U16, _plain),
    0x96: ("cell_difference_limit_v", _U16, _thousandths),
    0x97: ("discharge_overcurrent_a", _U16, _plain),
    0x98: ("discharge_overcurrent_delay_s", _U16, _plain),
    0x99: ("charge_overcurrent_a", _U16, _plain),
    0x9A: ("charge_overcurrent_delay_s", _U16, _plain),
    0x9B: ("balance_start_v", _U16, _thousandths),
    0x9C: ("balance_difference_v", _U16, _thousandths),
    0x9D: ("balance_switch", _U8, bool),
    0x9E: ("mos_overtemp_c", _U16, _plain),
    0x9F: ("mos_overtemp_release_c", _U16, _plain),
    0xA0: ("box_overtemp_c", _U16, _plain),
    0xA1: ("box_overtemp_release_c", _U16, _plain),
    0xA2: ("temp_difference_limit_c", _U16, _plain),
    0xA3: ("charge_overtemp_c", _U16, _plain),
    0xA4: ("discharge_overtemp_c", _U16, _plain),
    0xA5: ("charge_undertemp_c", _S16, _plain),
    0xA6: ("charge_undertemp_release_c", _S16, _plain),
    0xA7: ("discharge_undertemp_c", _S16, _plain),
    0xA8: ("discharge_undertemp_release_c", _S16, _plain),
    0xA9: ("cell_count_setting", _U8, _plain),
    0xAA: ("capacity_setting_ah", _U32, _plain),
    CHARGE_SWITCH: ("charge_switch", _U8, bool),
    DISCHARGE_SWITCH: ("discharge_switch", _U8, bool),
    0xAD: ("current_calibration_ma", _U16, _plain),
    0xAE: ("address", _U8, _plain),
    0xAF: ("chemistry", _U8, _plain),
    0xB0: ("sleep_wait_s", _U16, _plain),
    0xB1: ("low_soc_alarm_pct", _U8, _plain),
    0xB3: ("charger_switch", _U8, bool),
    0xB6: ("runtime_min", _U32, _plain),
    0xB8: ("calibrating", _U8, bool),
    0xB9: ("actual_capacity_ah", _U32, _plain),
    0xC0: ("protocol_version", _U8, _plain),
}
_TEXTS: Final[Mapping[int, tuple[str, int]]] = {
    _SECRET: ("password", 10),
    0xB4: ("device_id", 8),
    0xB5: ("production_month", 4),
    0xB7: ("software", 15),
    0xBA: ("manufacturer_id", 24),
}


class _Message(NamedTuple):
    terminal: bytes
    command: int
    source: int
    kind: int
    body: bytes
    record: int

    @property
    def op(self) -> Literal["read", "write"] | None:
        if self.kind:
            return None
        return "write" if self.command in _WRITES else "read"


def request(command: int, body: bytes = b"\0") -> bytes:
    """Return a host's frame to whichever board is on the line."""
    size = _SHORTEST + len(body) - len(_START)
    head = _HEAD.pack(_START, size, bytes(4), command, _HOST, 0) + body
    summed = head + bytes(4) + bytes((_END,))
    return summed + bytes(2) + _checksum(summed)


def switch_request(*, tag: int, on: bool) -> Ask:
    """Return the question that turns CHARGE_SWITCH or DISCHARGE_SWITCH, and its answer's key."""
    return Ask(request(WRITE, bytes((tag, on))), WRITE)


def _checksum(data: bytes) -> bytes:
    return (sum(data) & 0xFFFF).to_bytes(2, "big")


def _parsed(line: bytes) -> _Message:
    """Return the frame `line` begins with; what follows it is skipped. Raises FrameError."""
    if line and line[:2] != _START[: len(line)]:
        raise FrameError("start", f"{line[:2].hex()} where 4e57 begins a frame")
    if len(line) < _SHORTEST:
        raise FrameError("length", f"{len(line)} bytes, a frame has at least {_SHORTEST}")
    _, length, terminal, command, source, kind = _HEAD.unpack_from(line)
    size = length + len(_START)
    if not _SHORTEST <= size <= len(line):
        raise FrameError("length", f"{len(line)} bytes, LEN asks for {size}")
    record, end, zeros, stated = _TAIL.unpack_from(line, size - _TAIL.size)
    if end != _END:
        raise FrameError("terminator", f"{end:02x} where 68 ends the frame")
    computed = sum(line[: size - _SUMMED_NOT]) & 0xFFFF
    if zeros or stated != computed:
        raise FrameError("checksum", f"{zeros:04x}{stated:04x}, computed {computed:08x}")
    if command not in _COMMANDS or source > _LAST_SOURCE or kind > _LAST_TYPE:
        raise FrameError("unsupported", f"command {command:02x} from {source:02x}, type {kind:02x}")
    body = line[_HEAD.size : size - _TAIL.size]
    return _Message(terminal, command, source, kind, body, record)


def _values(body: bytes) -> dict[str, Any]:
    """Return the tags' values by name, `partial` the tag behind which nothing could be read.

    The password is not among them. Raises FrameError when a value is cut off.
    """
    found: dict[str, Any] = {}
    at = 0
    while at < len(body):
        tag = body[at]
        if tag == _CELLS:
            value, size = _cells(body, at + 1)
            found["cell_voltages_v"] = value
        elif tag in _NUMBERS:
            name, kind, convert = _NUMBERS[tag]
            raw = _value(body, at + 1, kind.size)
            missing = raw == b"\xff" * kind.size and kind is not _S16
            found[name] = None if missing else convert(kind.unpack(raw)[0])
            size = kind.size
        elif tag in _TEXTS:
            name, size = _TEXTS[tag]
            raw = _value(body, at + 1, size)
            if tag != _SECRET:
                found[name] = raw.decode("ascii", "replace").strip("\0 ")
        else:
            found["partial"] = tag
            break
        at += 1 + size
    return _with_current(found)


def _cells(body: bytes, at: int) -> tuple[list[float | None], int]:
    size = _value(body, at, 1)[0]
    triples = _value(body, at + 1, size)
    if size % 3:
        raise FrameError("length", f"{size} bytes of cells, each has 3")
    volts = [
        None if raw == 0xFFFF else raw / 1000  # noqa: PLR2004 - all ones
        for _, raw in sorted(struct.iter_unpack(">BH", triples))
    ]
    return volts, 1 + size


def _value(body: bytes, at: int, size: int) -> bytes:
    if at + size > len(body):
        raise FrameError("length", f"tag {body[at - 1]:02x} has {len(body) - at} bytes of {size}")
    return body[at : at + size]


def _with_current(found: dict[str, Any]) -> dict[str, Any]:
    """How the current reads is said behind it, by the protocol's version: 0 where none is told."""
    if "current_raw" not in found:
        return found
    raw = found.pop("current_raw")
    version = found.get("protocol_version", None if "partial" in found else 0)
    if raw is None or version is None:
        amps = None
    elif version == 0:
        amps = (_ZERO_AMPS - raw) / 100
    else:
        amps = (raw - _CHARGING) / 100 if raw & _CHARGING else 0 - raw / 100
    return found | {"current_a": amps}


def _reading(values: Mapping[str, Any]) -> BatteryReading:
    cells = values.get("cell_voltages_v")
    temperatures = [values[name] for name in _TEMPERATURES if name in values]
    bits, status = values.get("alarm_bits"), values.get("status_bits")
    return BatteryReading(
        voltage_v=values.get("pack_voltage_v"),
        current_a=values.get("current_a"),
        soc_pct=values.get("soc_pct"),
        full_ah=values.get("actual_capacity_ah") or values.get("capacity_setting_ah"),
        temperatures_c=tuple(temperatures) or None,
        cells_v=tuple(cells) if cells and None not in cells else None,
        cycles=values.get("cycles"),
        charge_fet=values.get("charge_switch") if status is None else bool(status & 1),
        discharge_fet=values.get("discharge_switch") if status is None else bool(status & 2),
        alarms=None if bits is None else _alarms(bits),
        protection_bits=bits,
    )


# The switching transistors may well be at 80 °C: they are not the battery.
_TEMPERATURES: Final = ("battery_temp_c", "box_temp_c")


def _alarms(bits: int) -> tuple[str, ...]:
    return tuple(name for number, name in enumerate(ALARMS) if bits >> number & 1)


def _about(values: Mapping[str, Any]) -> dict[str, Any]:
    """Who the board is. A name that nobody has set is no serial number."""
    about: dict[str, Any] = {}
    device, maker = values.get("device_id", ""), values.get("manufacturer_id", "")
    serial = next((text for text in (device, maker) if text and not text.startswith(_UNSET)), None)
    if serial:
        about["serial"] = serial
    if maker:
        about["manufacturer"] = maker
    if software := values.get("software", "").strip("_"):
        about["software"] = software
    model = maker[maker.find("JK") :] if "JK" in maker else software
    if model:
        about["hardware"] = model
    if "partial" in values:
        about["unknown_tag"] = values["partial"]
    return about


class JkDecoder(FrameStream[Frame]):
    """Finds 4E57 frames in a stream and keeps the newest read-all reply."""

    start: ClassVar[int | None] = _START[0]
    shortest: ClassVar[int] = _SHORTEST
    ordered_bits: ClassVar[int] = 1 << ALARMS.index("low_capacity")
    policy: ClassVar[PollPolicy] = PollPolicy(baud=115_200, main=Ask(request(READ_ALL), READ_ALL))

    def __init__(self) -> None:
        super().__init__()
        self._newest: dict[str, Any] | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        """`serial`, `manufacturer`, `software`, `hardware` as far as they are set.

        `unknown_tag` is the one behind which the newest reply could not be read.
        """
        return {} if self._newest is None else _about(self._newest)

    def forget_details(self, answer: int | None = None) -> None:
        """There are none: one reply has everything."""
        del answer

    def reading(self) -> BatteryReading | None:
        """The newest read-all reply, as far as it could be read; None before the first."""
        return None if self._newest is None else _reading(self._newest)

    @staticmethod
    def explain(frame: bytes) -> Explained:
        """Decode one whole frame, request or reply. Raises FrameError."""
        found = _parsed(frame)
        fields: dict[str, Any] = {
            "length": int.from_bytes(frame[2:4], "big"),
            "terminal": found.terminal.hex(),
            "command": found.command,
            "source": found.source,
            "transport": found.kind,
            "record": found.record,
        }
        if found.op is None and found.command in (READ, READ_ALL):
            values = _values(found.body)
            reading = _reading(values)
            return Explained(fields | values, None if reading == _NOTHING else reading)
        if found.command != PASSWORD and found.body[:1] != bytes((_SECRET,)):
            fields["data"] = found.body.hex()
        if found.op and found.command == WRITE:
            fields |= _values(found.body)
        return Explained(fields, None)

    def _size(self, stream: bytes, at: int) -> int:
        there = len(stream) - at
        if there < len(_START):
            return len(_START)
        if stream[at + 1] != _START[1]:
            return 1
        if there < _HEAD.size:
            return _HEAD.size
        _, length, _, command, source, kind = _HEAD.unpack_from(stream, at)
        size: int = length + len(_START)
        plausible = _SHORTEST <= size <= LONGEST and command in _COMMANDS
        return size if plausible and source <= _LAST_SOURCE and kind <= _LAST_TYPE else 1

    def _read(self, candidate: bytes) -> Frame:
        found = _parsed(candidate)
        if found.op is None and found.command == READ_ALL:
            self._newest = _values(found.body)
        return Frame(found.command, found.body, found.op)


_NOTHING: Final = BatteryReading()
