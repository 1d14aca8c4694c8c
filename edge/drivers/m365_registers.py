"""What the registers of a Xiaomi or Ninebot scooter say: those of its ESC and of its battery.

A register is a little-endian 16-bit word; a read gives the words from a register on. All-ones is
unknown. On the wire a positive current discharges: `describe` leaves it so, readings turn it round.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, Final, NamedTuple

from edge.drivers.base import BatteryReading
from edge.drivers.m365_frames import BMS, ESC, BusFrame

LOCK: Final = 0x70
UNLOCK: Final = 0x71
LIMIT_ON: Final = 0x72
LIMIT: Final = 0x73
ECO_LIMIT: Final = 0x74
MODE: Final = 0x75
TAIL_LIGHT: Final = 0x7D
ESC_STATUS: Final = 0xB0
ESC_STATUS_BYTES: Final = 32
LIMITS_BYTES: Final = 6
MODES: Final = ("normal", "eco", "sport")
TAIL_LIGHT_ON: Final = 2
_LOCKED: Final = 1 << 1
_ESC_STATUS: Final = struct.Struct("<HHHHHHHIHHh8x")
_LIMITS: Final = struct.Struct("<HHH")
_BACKWARDS_FROM: Final = 0x10000 - 10_000

SERIAL: Final = 0x10
SERIAL_BYTES: Final = 14
FIRMWARE: Final = 0x17
DESIGN_CAPACITY: Final = 0x18
CAPACITY: Final = 0x19
CYCLES: Final = 0x1B
CHARGES: Final = 0x1C
MADE_ON: Final = 0x20
STATUS: Final = 0x30
REMAINING: Final = 0x31
SOC: Final = 0x32
CURRENT: Final = 0x33
VOLTAGE: Final = 0x34
TEMPERATURES: Final = 0x35
BALANCING: Final = 0x36
HEALTH: Final = 0x3B
CELLS: Final = range(0x40, 0x4F)
_ACTIVATION: Final = range(0x70, 0x76)
_CHARGING_ENABLED: Final = 1 << 3
# Bits of STATUS that tell of a protection or an error; the others tell what the pack is doing.
PROTECTIONS: Final[Mapping[int, str]] = {
    2: "charge_protection",
    8: "discharge_error",
    9: "overvoltage",
    10: "overtemp",
    13: "charge_error",
    14: "deep_undervoltage",
}
_PROTECTION_BITS: Final = sum(1 << bit for bit in PROTECTIONS)
_ALL_ONES: Final = 0xFFFF
_CELSIUS_OFFSET: Final = 20
# A torn or shorted sensor reads as an end of the scale, beyond what a thermistor can tell.
_SENSOR_MAX_C: Final = 150

Words = Mapping[int, int]
"""Registers of one part by their number."""


class EscStatus(NamedTuple):
    """The ESC's block B0. `speed_kmh` is positive forwards, `mode` None for a number unknown."""

    error: int
    warning: int
    flags: int
    locked: bool
    mode: str | None
    mode_number: int
    battery_pct: int
    speed_kmh: float
    average_kmh: float
    odometer_m: int
    trip: int
    uptime_s: int
    frame_temp_c: float


class Limits(NamedTuple):
    """Registers 72 to 74: whether speed is limited, and to what, in normal and eco mode."""

    on: bool
    normal_kmh: float
    eco_kmh: float


def read_status(data: bytes) -> EscStatus | None:
    """Return the block B0, None when it has another size."""
    if len(data) != ESC_STATUS_BYTES:
        return None
    error, warning, flags, mode, battery, speed, average, odometer, trip, uptime, tenths = (
        _ESC_STATUS.unpack(data)
    )
    return EscStatus(
        error=error,
        warning=warning,
        flags=flags,
        locked=bool(flags & _LOCKED),
        mode=MODES[mode] if mode < len(MODES) else None,
        mode_number=mode,
        battery_pct=battery,
        speed_kmh=_metres_an_hour(speed),
        average_kmh=average / 1000,
        odometer_m=odometer,
        trip=trip,
        uptime_s=uptime,
        frame_temp_c=tenths / 10,
    )


def read_limits(data: bytes) -> Limits | None:
    """Return registers 72 to 74, None when they have another size."""
    if len(data) != LIMITS_BYTES:
        return None
    on, normal, eco = _LIMITS.unpack(data)
    return Limits(bool(on), normal / 1000, eco / 1000)


def words_of(register: int, data: bytes) -> dict[int, int]:
    """Return the words that a read gave; half a word at the end is none."""
    words = struct.unpack_from(f"<{len(data) // 2}H", data)
    return dict(enumerate(words, register))


def battery_reading(words: Words) -> BatteryReading:
    """Return what registers of the battery say; what is not among them is None."""
    status = _known(words, STATUS)
    volts, left, full = (_known(words, each) for each in (VOLTAGE, REMAINING, CAPACITY))
    return BatteryReading(
        voltage_v=None if volts is None else volts / 100,
        current_a=_charging_a(words),
        soc_pct=_known(words, SOC),
        soh_pct=_known(words, HEALTH),
        remaining_ah=None if left is None else left / 1000,
        full_ah=None if full is None else full / 1000,
        temperatures_c=_celsius(words[TEMPERATURES]) if TEMPERATURES in words else None,
        cells_v=_cell_volts(words),
        cycles=_known(words, CYCLES),
        charge_fet=None if status is None else bool(status & _CHARGING_ENABLED),
        alarms=None if status is None else _alarms(status),
        protection_bits=None if status is None else status & _PROTECTION_BITS,
        balancing_bits=_known(words, BALANCING),
    )


def about_battery(words: Words) -> dict[str, Any]:
    """Return what the battery says of itself: `serial`, `firmware`, `made_on`, `design_ah`."""
    said = {
        "serial": _serial(words),
        "firmware": _version(_known(words, FIRMWARE)),
        "made_on": _date(_known(words, MADE_ON)),
        "design_ah": _thousandths(_known(words, DESIGN_CAPACITY)),
    }
    return {name: value for name, value in said.items() if value}


def describe(frame: BusFrame) -> dict[str, Any]:
    """Return a frame's fields by name, as captures name them."""
    if frame.address is None:
        fields: dict[str, Any] = {"source": frame.source, "destination": frame.target}
    else:
        fields = {"address": frame.address}
    fields |= {"command": frame.command, "register": frame.register}
    if frame.kind == "read" and len(frame.data) == 1:
        return fields | {"read_length": frame.data[0]}
    if frame.kind == "write":
        return fields | {"write_data": frame.data.hex()}
    if frame.kind == "reply":
        if frame.source == ESC:
            return fields | _describe_esc(frame.register, frame.data)
        if frame.source == BMS:
            return fields | _describe_battery(frame.register, frame.data)
    return fields | {"data": frame.data.hex()}


def _describe_esc(register: int, data: bytes) -> dict[str, Any]:
    status = read_status(data) if register == ESC_STATUS else None
    if status is not None:
        return {
            "error": status.error,
            "warning": status.warning,
            "flags": status.flags,
            "mode": status.mode_number,
            "battery_pct": status.battery_pct,
            "speed_kmh": status.speed_kmh,
            "avg_speed_kmh": status.average_kmh,
            "odometer_m": status.odometer_m,
            "trip_raw": status.trip,
            "uptime_s": status.uptime_s,
            "frame_temp_c": status.frame_temp_c,
        }
    if (register, len(data)) == _BATTERY_FIRMWARE:
        data = data[:2]
    fields: dict[str, Any] = {}
    at = 0
    while at < len(data):
        name, kind, convert = _ESC_FIELDS.get(register + at // 2, _NO_FIELD)
        size = struct.calcsize(kind)
        if not size or len(data) - at < size:
            return {"data": data.hex()}
        (raw,) = struct.unpack_from(kind, data, at)
        fields[name] = convert(raw)
        at += size
    return fields or {"data": ""}


def _describe_battery(register: int, data: bytes) -> dict[str, Any]:
    """Name all that the table knows; what it does not know stays in `data`, with the rest."""
    words = words_of(register, data)
    fields = {
        name: convert(words[number])
        for number, (name, convert) in _BATTERY_FIELDS.items()
        if number in words
    }
    named = _BATTERY_FIELDS.keys() & words.keys()
    if (serial := _serial(words)) is not None:
        fields = {"serial": serial, **fields}
        named |= set(_SERIAL_WORDS)
    if (cells := _cell_volts(words)) is not None:
        fields["cell_voltages_v"] = list(cells)
        named |= set(CELLS)
    if _ACTIVATION.start in words and _has(words, _ACTIVATION):
        fields["activation"] = _bytes(words, _ACTIVATION).hex()
        named |= set(_ACTIVATION)
    whole = len(data) % 2 == 0 and words.keys() <= named
    return fields if fields and whole else fields | {"data": data.hex()}


def _known(words: Words, register: int) -> int | None:
    """Return a register's word; None when it was not read, and when it is all ones."""
    word = words.get(register, _ALL_ONES)
    return None if word == _ALL_ONES else word


def _charging_a(words: Words) -> float | None:
    """Return the current, positive while charging.

    All ones is also a charge of 10 mA: it is unknown only where the voltage is unknown too.
    """
    raw = words.get(CURRENT)
    if raw is None or (raw == _ALL_ONES and _known(words, VOLTAGE) is None):
        return None
    return -_signed(raw) / 100


def _cell_volts(words: Words) -> tuple[float, ...] | None:
    """Return the cells that are there; None when one in between is unknown: they have numbers."""
    raws = [words[number] for number in CELLS if number in words]
    if CELLS.start not in words:
        return None
    while raws and raws[-1] in (0, _ALL_ONES):
        raws.pop()
    return None if _ALL_ONES in raws or not raws else tuple(raw / 1000 for raw in raws)


def _celsius(raw: int) -> tuple[float | None, float | None]:
    return _one_celsius(raw & 0xFF), _one_celsius(raw >> 8)


def _one_celsius(raw: int) -> float | None:
    celsius = raw - _CELSIUS_OFFSET
    return celsius if celsius <= _SENSOR_MAX_C else None


def _alarms(status: int) -> tuple[str, ...]:
    return tuple(name for bit, name in PROTECTIONS.items() if status >> bit & 1)


_SERIAL_WORDS: Final = range(SERIAL, SERIAL + SERIAL_BYTES // 2)


def _serial(words: Words) -> str | None:
    return _text(_bytes(words, _SERIAL_WORDS)) or None if _has(words, _SERIAL_WORDS) else None


def _has(words: Words, registers: Iterable[int]) -> bool:
    return words.keys() >= set(registers)


def _bytes(words: Words, registers: Iterable[int]) -> bytes:
    return b"".join(words[number].to_bytes(2, "little") for number in registers)


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace").rstrip("\0\ufffd ")


def _version(raw: int | None) -> str | None:
    return None if raw is None else f"{raw >> 8}.{raw >> 4 & 15}.{raw & 15}"


def _date(raw: int | None) -> str | None:
    try:
        return None if raw is None else date(2000 + (raw >> 9), raw >> 5 & 15, raw & 31).isoformat()
    except ValueError:
        return None


def _plain(raw: int) -> int:
    return raw


def _or_unknown(raw: int) -> int | None:
    return None if raw == _ALL_ONES else raw


def _hundredths(raw: int) -> float | None:
    return None if raw == _ALL_ONES else raw / 100


def _signed(raw: int) -> int:
    return raw - 0x10000 if raw & 0x8000 else raw


def _signed_hundredths(raw: int) -> float:
    return _signed(raw) / 100


def _tenths(raw: int) -> float:
    return raw / 10


def _thousandths(raw: int | None) -> float | None:
    return None if raw is None else raw / 1000


def _metres_an_hour(raw: int) -> float:
    """Return km/h: a signed word, of which a fast ride wraps and nobody rolls back that fast."""
    return (raw if raw < _BACKWARDS_FROM else raw - 0x10000) / 1000


_NO_FIELD: Final = ("", "", _plain)
# Captures that read the battery's firmware with the next register name the one alone.
_BATTERY_FIRMWARE: Final = (0x67, 4)
_ESC_FIELDS: Final[Mapping[int, tuple[str, str, Callable[[Any], Any]]]] = {
    SERIAL: ("serial", f"{SERIAL_BYTES}s", _text),
    0x1A: ("esc_fw", "<H", _version),
    0x1B: ("error", "<H", _plain),
    0x1C: ("warning", "<H", _plain),
    0x1D: ("flags", "<H", _plain),
    0x1F: ("mode", "<H", _plain),
    0x22: ("battery_pct", "<H", _plain),
    0x25: ("remaining_range_km", "<H", _hundredths),
    0x26: ("speed_kmh", "<h", _tenths),
    0x29: ("odometer_m", "<I", _plain),
    0x2F: ("trip_raw", "<H", _plain),
    0x32: ("run_time_s", "<I", _plain),
    0x34: ("ride_time_s", "<I", _plain),
    0x3A: ("trip_time_s", "<H", _plain),
    0x3B: ("trip_distance_raw", "<H", _plain),
    0x3E: ("frame_temp_c", "<h", _tenths),
    0x3F: ("battery_temp_1_c", "<h", _tenths),
    0x40: ("battery_temp_2_c", "<h", _tenths),
    0x47: ("supply_voltage_v", "<H", _hundredths),
    0x48: ("pack_voltage_v", "<H", _hundredths),
    0x49: ("current_a", "<h", _hundredths),
    0x65: ("avg_speed_kmh", "<H", _thousandths),
    0x66: ("second_bms_fw", "<H", _version),
    0x67: ("bms_fw", "<H", _version),
    0x68: ("ble_fw", "<H", _version),
    0xB0: ("error", "<H", _plain),
    0xB1: ("warning", "<H", _plain),
    0xB2: ("flags", "<H", _plain),
    0xB3: ("mode", "<H", _plain),
    0xB4: ("battery_pct", "<H", _plain),
    0xB5: ("speed_kmh", "<H", _metres_an_hour),
    0xB6: ("avg_speed_kmh", "<H", _thousandths),
    0xB7: ("odometer_m", "<I", _plain),
    0xB9: ("trip_raw", "<H", _plain),
    0xBA: ("uptime_s", "<H", _plain),
    0xBB: ("frame_temp_c", "<h", _tenths),
}
_BATTERY_FIELDS: Final[Mapping[int, tuple[str, Callable[[int], Any]]]] = {
    0x00: ("magic", _plain),
    FIRMWARE: ("bms_fw", _version),
    DESIGN_CAPACITY: ("design_capacity_mah", _or_unknown),
    CAPACITY: ("actual_capacity_mah", _or_unknown),
    CYCLES: ("cycles", _or_unknown),
    CHARGES: ("charge_count", _or_unknown),
    MADE_ON: ("production_date", _date),
    STATUS: ("status_bits", _plain),
    REMAINING: ("remaining_mah", _or_unknown),
    SOC: ("soc_pct", _or_unknown),
    CURRENT: ("current_a", _signed_hundredths),
    VOLTAGE: ("pack_voltage_v", _hundredths),
    TEMPERATURES: ("temperatures_c", lambda raw: list(_celsius(raw))),
    BALANCING: ("balance_bits", _plain),
    HEALTH: ("soh_pct", _or_unknown),
}
