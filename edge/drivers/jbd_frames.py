"""Frames of the JBD / Jiabaida ("Xiaoxiang") smart BMS, requests and replies, and their fields.

    request  DD | A5 read, 5A write | REG    | LEN | DATA[LEN] | CHK u16 | 77
    reply    DD | REG               | STATUS | LEN | DATA[LEN] | CHK u16 | 77

All numbers are big-endian. CHK is the two's complement of the byte sum from index 2 to the last
data byte. DD and 77 may occur inside DATA: only LEN says where a frame ends. STATUS is 00 for ok,
80 for refused. A positive current charges, on the wire and in readings.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final, Literal

from edge.drivers.base import Frame, FrameError

START: Final = 0xDD
END: Final = 0x77
READ: Final = 0xA5
WRITE: Final = 0x5A
OPS: Final[Mapping[int, Literal["read", "write"]]] = {READ: "read", WRITE: "write"}
OK: Final = 0x00
REFUSED: Final = 0x80
HEADER_BYTES: Final = 4
FRAME_BYTES: Final = 7

BASIC: Final = 0x03
CELLS: Final = 0x04
HARDWARE: Final = 0x05
BARCODE: Final = 0xA2
EVENTS: Final = 0xAA
FETS: Final = 0xE1
FACTORY_IN: Final = 0x00
FACTORY_OUT: Final = 0x01
# Boards answer for more than the tables name: names and codes from A0, calibration to 3F, E0 to EF.
REGISTERS: Final = frozenset({*range(0x40), *range(0xA0, 0xB0), *range(0xE0, 0xF0)})

PROTECTIONS: Final = (
    "cell_overvoltage",
    "cell_undervoltage",
    "pack_overvoltage",
    "pack_undervoltage",
    "charge_overtemp",
    "charge_undertemp",
    "discharge_overtemp",
    "discharge_undertemp",
    "charge_overcurrent",
    "discharge_overcurrent",
    "short_circuit",
    "front_end_error",
    "fets_locked",
    "charge_timeout",
    "reserved_14",
    "reserved_15",
)
EVENT_NAMES: Final = (
    "short_circuit",
    "charge_overcurrent",
    "discharge_overcurrent",
    "cell_overvoltage",
    "cell_undervoltage",
    "charge_overtemp",
    "charge_undertemp",
    "discharge_overtemp",
    "discharge_undertemp",
    "pack_overvoltage",
    "pack_undervoltage",
    "unknown",
)
EVENT_BYTES: Final = 22

KELVIN_TENTHS: Final = 2731


def _hundredths(raw: int) -> float:
    return raw / 100


def _plain(raw: int) -> int:
    return raw


def _version(raw: int) -> str:
    return f"{raw >> 4}.{raw & 15}"


def _date(raw: int) -> str | None:
    try:
        return date(2000 + (raw >> 9), raw >> 5 & 15, raw & 31).isoformat()
    except ValueError:
        return None


_BASIC_FIELDS: Final[tuple[tuple[str, str, Callable[[int], Any]], ...]] = (
    ("pack_voltage_v", "H", _hundredths),
    ("current_a", "h", _hundredths),
    ("remaining_ah", "H", _hundredths),
    ("nominal_ah", "H", _hundredths),
    ("cycles", "H", _plain),
    ("production_date", "H", _date),
    ("balance_bits_1_16", "H", _plain),
    ("balance_bits_17_32", "H", _plain),
    ("protection_bits", "H", _plain),
    ("software_version", "B", _version),
    ("soc_pct", "B", _plain),
    ("fet_state", "B", _plain),
    ("cell_count", "B", _plain),
    ("ntc_count", "B", _plain),
)
BASIC_DATA: Final = struct.Struct(">" + "".join(kind for _, kind, _ in _BASIC_FIELDS))


def request(op: int, register: int, data: bytes = b"") -> bytes:
    """Return a master's frame; `op` is READ or WRITE."""
    body = bytes((register, len(data))) + data
    return bytes((START, op)) + body + _checksum(body) + bytes((END,))


def parse_frame(line: bytes) -> Frame:
    """Return the frame `line` begins with; what follows it is skipped. Raises FrameError.

    A refusing reply is a frame too: see `Frame.refused`. The register of a reply is not in its
    checksum, so one that does not exist is most likely damage.
    """
    if line and line[0] != START:
        raise FrameError("start", f"{line[0]:02x} where DD begins a frame")
    if len(line) < FRAME_BYTES:
        raise FrameError("length", f"{len(line)} bytes, a frame has at least {FRAME_BYTES}")
    size = FRAME_BYTES + line[3]
    if len(line) < size:
        raise FrameError("length", f"{len(line)} bytes, LEN asks for {size}")
    if line[size - 1] != END:
        raise FrameError("terminator", f"{line[size - 1]:02x} where 77 ends the frame")
    stated, computed = line[size - 3 : size - 1], _checksum(line[2 : size - 3])
    if stated != computed:
        raise FrameError("checksum", f"{stated.hex()}, computed {computed.hex()}")
    data = line[HEADER_BYTES : size - 3]
    op = OPS.get(line[1])
    register = line[2] if op else line[1]
    if register not in REGISTERS:
        raise FrameError("unsupported", f"no register {register:02x} is known")
    if op:
        return Frame(register, data, op)
    _check_reply(register, line[2], data)
    return Frame(register, data, refused=line[2] == REFUSED)


def _checksum(body: bytes) -> bytes:
    return (-sum(body) & 0xFFFF).to_bytes(2, "big")


def _check_reply(register: int, status: int, data: bytes) -> None:
    if status == REFUSED:
        return
    if status != OK:
        raise FrameError("status", f"{status:02x} is neither 00 nor 80")
    expected = {
        BASIC: len(data) >= BASIC_DATA.size and len(data) >= BASIC_DATA.size + 2 * data[22],
        CELLS: len(data) % 2 == 0,
        EVENTS: len(data) >= EVENT_BYTES,
    }
    if not expected.get(register, True):
        raise FrameError("length", f"{len(data)} bytes do not fill register {register:02x}")


def describe(frame: Frame) -> dict[str, Any]:
    """Return a frame's fields by name, as captures name them."""
    if frame.op:
        return {"op": frame.op, "register": frame.key, "data": frame.data.hex()}
    fields: dict[str, Any] = {"register": frame.key, "status": REFUSED if frame.refused else OK}
    if frame.key == BASIC and not frame.refused:
        fields |= _describe_basic(frame.data)
    elif frame.key == CELLS and not frame.refused:
        fields["cell_voltages_v"] = list(cell_volts(frame.data))
    elif frame.key == HARDWARE and not frame.refused:
        fields["hardware"] = text(frame.data)
    elif frame.key == EVENTS and not frame.refused:
        fields["error_counts"] = event_counts(frame.data)
    else:
        fields["data"] = frame.data.hex()
    return fields


def _describe_basic(data: bytes) -> dict[str, Any]:
    raws = BASIC_DATA.unpack_from(data)
    fields = {
        name: convert(raw)
        for (name, _, convert), raw in zip(_BASIC_FIELDS, raws, strict=True)
        if name != "fet_state"
    }
    count = fields["ntc_count"]
    fets = raws[11]
    kelvins = struct.unpack_from(f">{count}H", data, BASIC_DATA.size)
    return fields | {
        "charge_fet": bool(fets & 1),
        "discharge_fet": bool(fets & 2),
        "temperatures_c": [(raw - KELVIN_TENTHS) / 10 for raw in kelvins],
        "trailing_bytes": data[BASIC_DATA.size + 2 * count :].hex(),
    }


def cell_volts(data: bytes) -> tuple[float, ...]:
    return tuple(raw / 1000 for raw in struct.unpack(f">{len(data) // 2}H", data))


def text(data: bytes) -> str:
    return data.decode("ascii", "replace").rstrip("\0")


def barcode(data: bytes) -> str | None:
    """Return the text behind its length byte; None when there is none, or what is no text."""
    found = data[1 : 1 + data[0]].decode("ascii", "replace").strip(" \0") if data else ""
    return found if found and found.isascii() and found.isprintable() else None


def event_counts(data: bytes) -> dict[str, int]:
    counts = struct.unpack_from(f">{len(data) // 2}H", data)
    return dict(zip(EVENT_NAMES, counts, strict=False))
