"""What a Daly smart BMS says, on its serial line and on CAN alike, and its fields.

    serial   A5 | ADDR | CMD | 08 | D0..D7 | SUM     SUM = sum of the first twelve bytes & FF
    CAN      29 bits: 18 CMD 01 40 asks, 18 CMD 40 01 answers; data D0..D7

ADDR is 40 to 4F or 80 for a host's request, the board's number (01) for a reply. All numbers are
big-endian. CMD 95, 96 and 57 are answered by several frames, numbered in D0 from 1 or from 0. What
a command does not use of D0..D7 may hold left-overs. On the wire a positive current discharges.
"""

import struct
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

from edge.drivers.base import BatteryReading, Frame, FrameError

START: Final = 0xA5
FRAME_BYTES: Final = 13
HEADER_BYTES: Final = 4
DATA_BYTES: Final = 8
HOST: Final = 0x40
BOARD: Final = 0x01
HOSTS: Final = frozenset({*range(0x40, 0x50), 0x80})
BOARDS: Final = frozenset(range(0x01, 0x10))

RATED: Final = 0x50
MADE: Final = 0x53
CODE: Final = 0x57
PACK: Final = 0x90
CELL_RANGE: Final = 0x91
TEMPERATURE_RANGE: Final = 0x92
SWITCHES: Final = 0x93
STATUS: Final = 0x94
CELLS: Final = 0x95
TEMPERATURES: Final = 0x96
BALANCE: Final = 0x97
ALARMS: Final = 0x98
READS: Final = frozenset({RATED, MADE, CODE, *range(PACK, ALARMS + 1)})
RESTART: Final = 0x00
SET_SOC: Final = 0x21
DISCHARGE_MOS: Final = 0xD9
CHARGE_MOS: Final = 0xDA
WRITES: Final = frozenset({RESTART, SET_SOC, DISCHARGE_MOS, CHARGE_MOS})

CELLS_A_FRAME: Final = 3
SENSORS_A_FRAME: Final = 7
CODE_FRAMES: Final = 5
MOST_CELLS: Final = 48
MOST_SENSORS: Final = 16
MOST_FRAMES: Final = 16

MODES: Final = ("stationary", "charging", "discharging")
CHARGING: Final = 1
DISCHARGING: Final = 2

_NO_CURRENT: Final = 30_000
_FULL: Final = 1000
_NO_U16: Final = 0xFFFF
_NO_U32: Final = 0xFFFF_FFFF
_ZERO_C: Final = 40
# 0 is a torn sensor and reads as -40; above 150 no thermistor tells anything.
_SENSOR_RAW: Final = range(1, 191)
# A board of up to six cells leaves the last byte of 94 as it was: see `cycles`.
_LONG_COUNT_CELLS: Final = 7

LEVEL_ALARMS: Final = (
    ("cell_overvoltage", "cell_undervoltage", "pack_overvoltage", "pack_undervoltage"),
    ("charge_overtemp", "charge_undertemp", "discharge_overtemp", "discharge_undertemp"),
    ("charge_overcurrent", "discharge_overcurrent", "soc_high", "soc_low"),
    ("cell_difference", "temperature_difference"),
)
"""Names for D0..D3 of 98: two bits each, the lower a warning, the higher a cut-off."""

PLAIN_ALARMS: Final = (
    (
        "charge_mos_overtemp",
        "discharge_mos_overtemp",
        "mos_sensor_error",
        "mos_sensor_error",
        "charge_mos_stuck",
        "discharge_mos_stuck",
        "charge_mos_open",
        "discharge_mos_open",
    ),
    (
        "front_end_error",
        "cell_sampling_lost",
        "temperature_sensor_error",
        "eeprom_error",
        "clock_error",
        "precharge_failed",
        "communication_error",
        "communication_error",
    ),
    (
        "current_module_error",
        "pack_voltage_sense_error",
        "short_circuit",
        "low_voltage_no_charging",
    ),
)
"""Names for the bits of D4..D6 of 98."""

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
    "soc_high",
    "soc_low",
    "cell_difference",
    "temperature_difference",
    "charge_mos_overtemp",
    "discharge_mos_overtemp",
    "mos_sensor_error",
    "charge_mos_stuck",
    "discharge_mos_stuck",
    "charge_mos_open",
    "discharge_mos_open",
    "cell_sampling_lost",
    "temperature_sensor_error",
    "eeprom_error",
    "clock_error",
    "precharge_failed",
    "communication_error",
    "current_module_error",
    "pack_voltage_sense_error",
    "low_voltage_no_charging",
)
"""The 32 bits of `protection_bits`, the first twelve as JBD has them.

The wire has 56: of D0..D3 only the cut-offs are here (warnings are in `alarms` alone), and the two
MOS sensors and the two kinds of communication share a bit each.
"""


def request(command: int, data: bytes = bytes(DATA_BYTES), *, host: int = HOST) -> bytes:
    """Return a host's frame on the serial line; `data` is eight bytes."""
    body = bytes((START, host, command, DATA_BYTES)) + data
    return body + bytes((_sum(body),))


def parse_frame(line: bytes) -> Frame:
    """Return the serial frame that `line` begins with; what follows is skipped.

    Raises FrameError.
    """
    if line and line[0] != START:
        raise FrameError("start", f"{line[0]:02x} where A5 begins a frame")
    if len(line) < FRAME_BYTES:
        raise FrameError("length", f"{len(line)} bytes, a frame has {FRAME_BYTES}")
    if line[3] != DATA_BYTES:
        raise FrameError("length", f"LEN {line[3]:02x}, it is always 08")
    stated, computed = line[FRAME_BYTES - 1], _sum(line[: FRAME_BYTES - 1])
    if stated != computed:
        raise FrameError("checksum", f"{stated:02x}, computed {computed:02x}")
    if line[1] not in HOSTS | BOARDS:
        raise FrameError("unsupported", f"address {line[1]:02x} is neither a host's nor a board's")
    return frame_of(line[2], line[HEADER_BYTES : FRAME_BYTES - 1], asks=line[1] in HOSTS)


def frame_of(command: int, data: bytes, *, asks: bool) -> Frame:
    """Return a host's request or a board's reply. Raises FrameError for an unknown command."""
    if command not in READS | WRITES:
        raise FrameError("unsupported", f"no command {command:02x} is known")
    if not asks:
        return Frame(command, data)
    return Frame(command, data, "write" if command in WRITES else "read")


def plausible(command: int, data: bytes) -> bool:
    """Whether a reply can be true; an eight-bit sum lets some damage through."""
    if command == PACK:
        soc = int.from_bytes(data[6:8], "big")
        return soc <= _FULL or soc == _NO_U16
    if command == SWITCHES:
        return data[0] < len(MODES) and data[1] <= 1 and data[2] <= 1
    if command == STATUS:
        return 1 <= data[0] <= MOST_CELLS and data[1] <= MOST_SENSORS
    if command in (CELLS, TEMPERATURES, CODE):
        return data[0] <= MOST_FRAMES
    return True


def describe(frame: Frame, host: int = HOST) -> dict[str, Any]:
    """Return a frame's fields by name, as captures name them; the current as it is sent."""
    if frame.op:
        return {"command": frame.key, "host_address": host, "data": frame.data.hex()}
    return {"command": frame.key, **_DESCRIBE.get(frame.key, _as_hex)(frame.data)}


def reading_of(frame: Frame) -> BatteryReading | None:
    """Return what a single reply says for a reading; None when that is nothing.

    Cells and temperatures are none here: where they belong depends on other frames.
    """
    if frame.op is None and frame.key == PACK:
        volts, amps, soc = pack_values(frame.data)
        return BatteryReading(voltage_v=volts, current_a=amps, soc_pct=soc)
    if frame.op is None and frame.key == SWITCHES:
        return BatteryReading(
            remaining_ah=remaining_ah(frame.data),
            charge_fet=bool(frame.data[1]),
            discharge_fet=bool(frame.data[2]),
        )
    if frame.op is None and frame.key == STATUS:
        return BatteryReading(cycles=cycles(frame.data))
    if frame.op is None and frame.key == BALANCE:
        return BatteryReading(balancing_bits=balance_bits(frame.data) & 0xFFFF_FFFF)
    if frame.op is None and frame.key == ALARMS:
        bits = protection_bits(frame.data)
        return BatteryReading(protection_bits=bits, alarms=alarm_names(frame.data))
    return None


def pack_values(data: bytes) -> tuple[float | None, float | None, float | None]:
    """Return volts, amperes (positive while charging, on most boards) and percent of 90."""
    volts, gathered, current, soc = struct.unpack(">4H", data)
    return (
        None if volts == _NO_U16 else (volts or gathered % _NO_U16) / 10,
        None if current == _NO_U16 else (_NO_CURRENT - current) / 10,
        None if soc == _NO_U16 else soc / 10,
    )


def remaining_ah(data: bytes) -> float | None:
    """Return the charge that 93 says is left."""
    raw = int.from_bytes(data[4:8], "big")
    return None if raw == _NO_U32 else raw / 1000


def rated_ah(data: bytes) -> float | None:
    """Return the capacity that 50 says; 0 is a board that was never told."""
    raw = int.from_bytes(data[:4], "big")
    return None if raw in (0, _NO_U32) else raw / 1000


def cycles(data: bytes) -> int:
    """Return the cycle count of 94.

    It is in D5..D6. Boards of the line for 7 to 24 cells leave those zero and have it in D6..D7; a
    smaller board's last byte is a left-over.
    """
    count = int.from_bytes(data[5:7], "big")
    if count or data[0] < _LONG_COUNT_CELLS:
        return count
    return data[7]


def cell_volts(raws: bytes) -> tuple[float, ...] | None:
    """Return voltages of two bytes each; None when one of them is unknown."""
    cells = struct.unpack(f">{len(raws) // 2}H", raws)
    return None if _NO_U16 in cells else tuple(raw / 1000 for raw in cells)


def celsius(raw: int) -> float | None:
    """Return a temperature; None for a torn sensor."""
    return float(raw - _ZERO_C) if raw in _SENSOR_RAW else None


def balance_bits(data: bytes) -> int:
    """Return the cells that are balanced, bit 0 = cell 1, up to 48."""
    return int.from_bytes(data[:6], "little")


def protection_bits(data: bytes) -> int:
    """Return what has tripped by the bits of PROTECTIONS."""
    names = {*_cut_offs(data), *_plain(data)}
    return sum(1 << number for number, name in enumerate(PROTECTIONS) if name in names)


def alarm_names(data: bytes) -> tuple[str, ...]:
    """Return a name for each bit of `protection_bits`, in its order, then the warnings."""
    bits = protection_bits(data)
    tripped = [name for number, name in enumerate(PROTECTIONS) if bits >> number & 1]
    warnings = [f"{name}_warning" for name in _levels(data, 0) if name not in tripped]
    return (*tripped, *warnings)


def text(data: bytes) -> str:
    """Return a text that is padded with zeros or blanks."""
    return data.replace(b"\0", b" ").decode("ascii", "replace").strip()


def _cut_offs(data: bytes) -> list[str]:
    return _levels(data, 1)


def _levels(data: bytes, level: int) -> list[str]:
    return [
        name
        for byte, names in zip(data, LEVEL_ALARMS, strict=False)
        for number, name in enumerate(names)
        if byte >> 2 * number + level & 1
    ]


def _plain(data: bytes) -> list[str]:
    return [
        name
        for byte, names in zip(data[len(LEVEL_ALARMS) :], PLAIN_ALARMS, strict=False)
        for number, name in enumerate(names)
        if byte >> number & 1
    ]


def _sum(body: bytes) -> int:
    return sum(body) & 0xFF


def _pack(data: bytes) -> dict[str, Any]:
    volts, gathered, current, soc = struct.unpack(">4H", data)
    return {
        "pack_voltage_v": volts / 10,
        "gather_voltage_v": gathered / 10,
        "current_a": (current - _NO_CURRENT) / 10,
        "soc_pct": soc / 10,
    }


def _cell_range(data: bytes) -> dict[str, Any]:
    high, high_no, low, low_no = struct.unpack_from(">HBHB", data)
    return {
        "max_cell_v": high / 1000,
        "max_cell_no": high_no,
        "min_cell_v": low / 1000,
        "min_cell_no": low_no,
    }


def _temperature_range(data: bytes) -> dict[str, Any]:
    return {
        "max_temp_c": data[0] - _ZERO_C,
        "max_temp_sensor": data[1],
        "min_temp_c": data[2] - _ZERO_C,
        "min_temp_sensor": data[3],
    }


def _switches(data: bytes) -> dict[str, Any]:
    mode = data[0]
    return {
        "mode": MODES[mode] if mode < len(MODES) else f"unknown_{mode}",
        "charge_mos": bool(data[1]),
        "discharge_mos": bool(data[2]),
        "life_counter": data[3],
        "remaining_capacity_ah": int.from_bytes(data[4:8], "big") / 1000,
    }


def _status(data: bytes) -> dict[str, Any]:
    return {
        "cell_count": data[0],
        "temp_sensor_count": data[1],
        "charger_connected": bool(data[2]),
        "load_connected": bool(data[3]),
        "dio_bits": data[4],
        "cycles": cycles(data),
    }


def _cells(data: bytes) -> dict[str, Any]:
    number, *raws = struct.unpack_from(">B3H", data)
    return {"frame_no": number, "cells_v": [raw / 1000 for raw in raws]}


def _temperatures(data: bytes) -> dict[str, Any]:
    raws = list(data[1:])
    return {"frame_no": data[0], "temps_raw": raws, "temps_c": [raw - _ZERO_C for raw in raws]}


def _balance(data: bytes) -> dict[str, Any]:
    return {"balance_bits": balance_bits(data)}


def _alarms(data: bytes) -> dict[str, Any]:
    return {"alarm_bytes": list(data[:7]), "fault_code": data[7]}


def _rated(data: bytes) -> dict[str, Any]:
    capacity, earlier, cell = struct.unpack(">IHH", data)
    return {"rated_capacity_ah": capacity / 1000, "nominal_cell_v": (cell or earlier) / 1000}


def _made(data: bytes) -> dict[str, Any]:
    year, month, day = data[2:5]
    try:
        made = date(2000 + year, month, day).isoformat()
    except ValueError:
        made = None
    return {"battery_type": data[1], "production_date": made}


def _code(data: bytes) -> dict[str, Any]:
    return {"frame_no": data[0], "battery_code": text(data[1:])}


def _as_hex(data: bytes) -> dict[str, Any]:
    return {"data": data.hex()}


_DESCRIBE: Final[Mapping[int, Callable[[bytes], dict[str, Any]]]] = {
    PACK: _pack,
    CELL_RANGE: _cell_range,
    TEMPERATURE_RANGE: _temperature_range,
    SWITCHES: _switches,
    STATUS: _status,
    CELLS: _cells,
    TEMPERATURES: _temperatures,
    BALANCE: _balance,
    ALARMS: _alarms,
    RATED: _rated,
    MADE: _made,
    CODE: _code,
    DISCHARGE_MOS: lambda data: {"discharge_mos": bool(data[0])},
    CHARGE_MOS: lambda data: {"charge_mos": bool(data[0])},
    SET_SOC: lambda data: {"soc_pct": int.from_bytes(data[6:], "big") / 10},
}
