"""A small physical battery pack: charge, sag, heat, cell spread and its own protections.

Time is passed in and chance is seeded: the same seed and the same calls give the same pack.
Currents are positive while charging.
"""

import bisect
import enum
import math
import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

_OCV_PCT: Final = (0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0)
_OCV_V: Final = (3.00, 3.38, 3.48, 3.55, 3.60, 3.64, 3.69, 3.77, 3.86, 3.97, 4.07, 4.18)
_HOUR_S: Final = 3600.0
TRIP_S: Final = 30.0


class Protection(enum.IntFlag):
    """What a controller watches. Its numbers are the pack's own; a wire format may map them."""

    CELL_OVERVOLTAGE = 1 << 0
    CELL_UNDERVOLTAGE = 1 << 1
    CHARGE_OVERTEMP = 1 << 4
    DISCHARGE_OVERTEMP = 1 << 6
    DISCHARGE_OVERCURRENT = 1 << 9
    SHORT_CIRCUIT = 1 << 10


_STOPS_CHARGE: Final = Protection.CELL_OVERVOLTAGE | Protection.CHARGE_OVERTEMP
_STOPS_DISCHARGE: Final = (
    Protection.CELL_UNDERVOLTAGE
    | Protection.DISCHARGE_OVERTEMP
    | Protection.DISCHARGE_OVERCURRENT
    | Protection.SHORT_CIRCUIT
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackDesign:
    """What the pack is built of. The default is an e-bike's 36 V pack of 10 cells in series."""

    cells: int = 10
    capacity_ah: float = 10.4
    resistance_ohm: float = 0.12
    cell_spread_v: float = 0.006
    sensors: int = 3
    heat_capacity_j_per_k: float = 2200.0
    heat_loss_w_per_k: float = 0.9
    ambient_c: float = 18.0
    cell_full_v: float = 4.25
    cell_empty_v: float = 2.80
    balance_start_v: float = 4.0
    balance_window_v: float = 0.01
    too_hot_c: float = 65.0
    overcurrent_a: float = 40.0
    current_noise_a: float = 0.01
    cell_noise_v: float = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSample:
    """What the pack's sensors show at one moment; a lost temperature sensor shows None."""

    voltage_v: float
    current_a: float
    soc_pct: float
    remaining_ah: float
    full_ah: float
    cycles: int
    temperatures_c: tuple[float | None, ...]
    cells_v: tuple[float, ...]
    protection_bits: int
    balancing_bits: int
    charge_fet: bool
    discharge_fet: bool


class Pack:
    """One pack: set `demand_a`, what rider or charger wish, and `advance` it with the time.

    It begins at `temperature_c`, at the design's ambient temperature without.
    """

    def __init__(
        self,
        design: PackDesign | None = None,
        *,
        seed: int = 0,
        soc_pct: float = 80.0,
        cycles: int = 0,
        temperature_c: float | None = None,
    ) -> None:
        self.design = design or PackDesign()
        self.demand_a = 0.0
        self.charge_allowed = True
        self.discharge_allowed = True
        self.trips: Counter[Protection] = Counter()
        self._random = random.Random(seed)
        self._charge_ah = self.design.capacity_ah * soc_pct / 100
        self._discharged_ah = cycles * self.design.capacity_ah
        self._temperature_c = self.design.ambient_c if temperature_c is None else temperature_c
        self._protections = Protection(0)
        self._tripped_until_s = -math.inf
        self._now_s: float | None = None
        spread = self.design.cell_spread_v
        self._offsets_v = [self._random.gauss(0, spread) for _ in range(self.design.cells)]
        self._sensor_offsets_c = [self._random.gauss(0, 0.4) for _ in range(self.design.sensors)]

    @property
    def soc_pct(self) -> float:
        """True state of charge, 0 to 100."""
        return 100 * self._charge_ah / self.design.capacity_ah

    @property
    def remaining_ah(self) -> float:
        """Charge that is left."""
        return self._charge_ah

    @property
    def temperature_c(self) -> float:
        """Temperature of the core."""
        return self._temperature_c

    @property
    def cycles(self) -> int:
        """Whole capacities that were drawn from it."""
        return int(self._discharged_ah / self.design.capacity_ah)

    @property
    def charge_fet(self) -> bool:
        """Whether it can be charged now."""
        return self.charge_allowed and not self._protections & _STOPS_CHARGE

    @property
    def discharge_fet(self) -> bool:
        """Whether it can be discharged now."""
        return self.discharge_allowed and not self._protections & _STOPS_DISCHARGE

    @property
    def current_a(self) -> float:
        """What flows: the demand, or nothing when its FET is off or the pack is full or empty."""
        wish = self.demand_a
        blocked = not self.charge_fet if wish > 0 else not self.discharge_fet
        full = self._charge_ah >= self.design.capacity_ah if wish > 0 else self._charge_ah <= 0
        return 0.0 if blocked or full else wish

    def set_charge(self, remaining_ah: float) -> None:
        """Tell the counter how much charge there is, clamped to what the pack can hold."""
        self._charge_ah = min(max(remaining_ah, 0.0), self.design.capacity_ah)

    def trip(self, protection: Protection, now_s: float) -> None:
        """Make a protection act; it lets go after TRIP_S or `clear`."""
        self.trips.update(protection & ~self._protections)
        self._protections |= protection
        self._tripped_until_s = now_s + TRIP_S

    def clear(self) -> None:
        """Let go of every protection; one whose cause is still there comes back at once."""
        self._protections = Protection(0)
        self._tripped_until_s = -math.inf

    def advance(self, now_s: float) -> None:
        """Let the time up to `now_s` pass; a clock that goes back passes none."""
        passed_s = 0.0 if self._now_s is None else max(now_s - self._now_s, 0.0)
        self._now_s = now_s
        current_a = self.current_a
        before_ah = self._charge_ah
        self.set_charge(before_ah + current_a * passed_s / _HOUR_S)
        self._discharged_ah += max(before_ah - self._charge_ah, 0.0)
        self._heat(current_a, passed_s)
        self._protect(now_s)

    def sample(self) -> PackSample:
        """Read the sensors, with their noise."""
        flowing = self.current_a
        noise_a = self._random.gauss(0, self.design.current_noise_a) if flowing else 0.0
        cells = tuple(self._cell_v(offset) for offset in self._offsets_v)
        return PackSample(
            voltage_v=sum(cells),
            current_a=flowing + noise_a,
            soc_pct=self.soc_pct,
            remaining_ah=self._charge_ah,
            full_ah=self.design.capacity_ah,
            cycles=self.cycles,
            temperatures_c=tuple(
                self._temperature_c + offset + self._random.gauss(0, 0.05)
                for offset in self._sensor_offsets_c
            ),
            cells_v=cells,
            protection_bits=int(self._protections),
            balancing_bits=self._balancing(cells),
            charge_fet=self.charge_fet,
            discharge_fet=self.discharge_fet,
        )

    def _balancing(self, cells_v: tuple[float, ...]) -> int:
        """Bits of the cells that bleed: those ahead of the lowest near the end of a charge."""
        if self.current_a <= 0:
            return 0
        floor_v = max(min(cells_v) + self.design.balance_window_v, self.design.balance_start_v)
        return sum(1 << number for number, cell_v in enumerate(cells_v) if cell_v > floor_v)

    def _cell_v(self, offset_v: float) -> float:
        sag_v = self.current_a * self.design.resistance_ohm / self.design.cells
        noise_v = self._random.gauss(0, self.design.cell_noise_v)
        return open_circuit_v(self.soc_pct) + sag_v + offset_v + noise_v

    def _heat(self, current_a: float, passed_s: float) -> None:
        """Exact for a constant current, so that a step may be as long as it likes."""
        power_w = current_a**2 * self.design.resistance_ohm
        settles_at_c = self.design.ambient_c + power_w / self.design.heat_loss_w_per_k
        pace = self.design.heat_loss_w_per_k / self.design.heat_capacity_j_per_k
        self._temperature_c = settles_at_c + (self._temperature_c - settles_at_c) * math.exp(
            -passed_s * pace
        )

    def _protect(self, now_s: float) -> None:
        if now_s >= self._tripped_until_s:
            self.clear()
        sag_v = self.current_a * self.design.resistance_ohm / self.design.cells
        cell_v = open_circuit_v(self.soc_pct) + sag_v
        hot = self._temperature_c > self.design.too_hot_c
        found = Protection(0)
        if cell_v > self.design.cell_full_v:
            found |= Protection.CELL_OVERVOLTAGE
        if cell_v < self.design.cell_empty_v:
            found |= Protection.CELL_UNDERVOLTAGE
        if hot:
            found |= Protection.CHARGE_OVERTEMP | Protection.DISCHARGE_OVERTEMP
        if self.current_a < -self.design.overcurrent_a:
            found |= Protection.DISCHARGE_OVERCURRENT
        if found & ~self._protections:
            self.trip(found, now_s)


def open_circuit_v(soc_pct: float) -> float:
    """Voltage of a resting lithium-ion cell at a state of charge."""
    upper = min(max(bisect.bisect_right(_OCV_PCT, soc_pct), 1), len(_OCV_PCT) - 1)
    low_pct, high_pct = _OCV_PCT[upper - 1], _OCV_PCT[upper]
    share = min(max((soc_pct - low_pct) / (high_pct - low_pct), 0.0), 1.0)
    return _OCV_V[upper - 1] + share * (_OCV_V[upper] - _OCV_V[upper - 1])
