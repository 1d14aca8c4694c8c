"""The battery of a Xiaomi or Ninebot scooter: its registers over a pack that lives on.

On this wire a positive current discharges. A lost temperature sensor reads as all ones. There is
nothing to switch: the immobiliser is the ESC's.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from firmware_shim.dials import Dials
from firmware_shim.faults import Faults
from firmware_shim.pack import Pack, PackDesign, PackSample, Protection
from firmware_shim.scooter_bus import BMS, from_words, s16, to_words, u16

DESIGN: Final = PackDesign(capacity_ah=7.8, sensors=2, overcurrent_a=35.0)
_SERIAL: Final = b"3JWCH18A100042"
_FIRMWARE: Final = 0x0115
_MADE_ON: Final = 18 << 9 | 4 << 5 | 27
_MAGIC: Final = 0x5A5A
_CELLS: Final = 15
_FLOWS_A: Final = 0.05
_CONFIGURED: Final = 0b11
_CHARGE_PROTECTION: Final = 1 << 2
_CHARGING_ENABLED: Final = 1 << 3
_DISCHARGING: Final = 1 << 5
_CHARGING: Final = 1 << 6
_CHARGER_INSERTED: Final = 1 << 7
_STATUS_BITS: Final = {
    Protection.CELL_OVERVOLTAGE: 1 << 9 | _CHARGE_PROTECTION,
    Protection.CELL_UNDERVOLTAGE: 1 << 14,
    Protection.CHARGE_OVERTEMP: 1 << 10 | _CHARGE_PROTECTION,
    Protection.DISCHARGE_OVERTEMP: 1 << 10,
    Protection.DISCHARGE_OVERCURRENT: 1 << 8,
    Protection.SHORT_CIRCUIT: 1 << 8,
}


class ScooterBms:
    """The battery's registers. Pure: the scooter tells it the time."""

    address = BMS

    def __init__(self, pack: Pack, *, faults: Faults | None = None) -> None:
        self.pack = pack
        self.faults = faults or Faults()
        self._dials = Dials(pack)
        self._now_s = 0.0
        self._shown: PackSample | None = None

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        self._dials.set(values)

    def advance(self, now_s: float) -> None:
        """Let the time pass."""
        self._now_s = now_s
        self.pack.advance(now_s)

    def sample(self) -> PackSample:
        """Return what the pack shows now."""
        return self._dials.apply(self.pack.sample())

    def read(self, register: int, size: int) -> bytes:
        """Return `size` bytes from a register on."""
        if self.faults.strikes("protection_trip"):
            self.pack.trip(Protection.DISCHARGE_OVERCURRENT, self._now_s)
        if self._shown is None or not self.faults.strikes("stuck"):
            self._shown = self.sample()
        shown = self._shown
        if self.faults.strikes("sensor_lost"):
            shown = replace(shown, temperatures_c=(None, *shown.temperatures_c[1:]))
        return from_words(self._words(shown), register, size)

    def write(self, register: int, value: int) -> None:
        """Do nothing: all that could be written is locked."""

    def _words(self, sample: PackSample) -> dict[int, int]:
        design_ah = self.pack.design.capacity_ah
        cells = (u16(cell_v * 1000) for cell_v in sample.cells_v[:_CELLS])
        return {
            0x00: _MAGIC,
            **to_words(0x10, _SERIAL),
            0x17: _FIRMWARE,
            0x18: u16(design_ah * 1000),
            0x19: u16(sample.full_ah * 1000),
            0x1B: u16(sample.cycles),
            0x1C: u16(sample.cycles),
            0x20: _MADE_ON,
            0x30: _status(sample),
            0x31: u16(sample.remaining_ah * 1000),
            0x32: u16(sample.soc_pct),
            0x33: s16(-sample.current_a * 100),
            0x34: u16(sample.voltage_v * 100),
            0x35: _temperatures(sample.temperatures_c),
            0x36: sample.balancing_bits & 0xFFFF,
            0x3B: min(u16(100 * sample.full_ah / design_ah), 100),
            **dict(enumerate(cells, 0x40)),
        }


def _status(sample: PackSample) -> int:
    bits = _CONFIGURED
    if sample.charge_fet:
        bits |= _CHARGING_ENABLED
    if sample.current_a < -_FLOWS_A:
        bits |= _DISCHARGING
    elif sample.current_a > _FLOWS_A:
        bits |= _CHARGING | _CHARGER_INSERTED
    for protection, shown in _STATUS_BITS.items():
        if sample.protection_bits & protection:
            bits |= shown
    return bits


def _temperatures(sensors: tuple[float | None, ...]) -> int:
    first, second, *_ = (*map(_byte, sensors), 0xFF, 0xFF)
    return first | second << 8


def _byte(celsius: float | None) -> int:
    return 0xFF if celsius is None else min(max(round(celsius) + 20, 0), 0xFE)
