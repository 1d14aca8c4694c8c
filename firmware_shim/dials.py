"""Values a person pins on a shim: shown instead of the pack's until they are let go."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from firmware_shim.pack import Pack, PackSample

_MAX_SENSORS: Final = 8
_MAX_CELLS: Final = 32


class Dials:
    """Pinned values by their name in PackSample, and `demand_a`, which drives the pack itself."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._pinned: dict[str, Any] = {}

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin the values, or let go of those that are None.

        All or nothing: raises ValueError for an unknown name or a value that cannot be shown.
        """
        for name, value in checked(values).items():
            if name == "demand_a":
                self._pack.demand_a = value or 0.0
            elif value is None:
                self._pinned.pop(name, None)
            else:
                self._pinned[name] = value

    def apply(self, sample: PackSample) -> PackSample:
        """Return the sample as it is shown: cells follow a pinned voltage, charge a pinned SOC."""
        pinned = dict(self._pinned)
        if not pinned:
            return sample
        full_ah = pinned.get("full_ah", sample.full_ah)
        if "voltage_v" in pinned and "cells_v" not in pinned:
            cell_v = pinned["voltage_v"] / len(sample.cells_v)
            pinned["cells_v"] = (cell_v,) * len(sample.cells_v)
        if "soc_pct" in pinned:
            pinned.setdefault("remaining_ah", full_ah * pinned["soc_pct"] / 100)
        elif "remaining_ah" in pinned and full_ah:
            pinned["soc_pct"] = min(100 * pinned["remaining_ah"] / full_ah, 100.0)
        if isinstance(pinned.get("temperatures_c"), float):
            pinned["temperatures_c"] = (pinned["temperatures_c"],) * len(sample.temperatures_c)
        return replace(sample, **pinned)


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as the dials keep them. Raises ValueError as `Dials.set` does."""
    return {name: _checked(name, value) for name, value in values.items()}


def _checked(name: str, value: object) -> object:
    if name not in _CHECKS:
        raise ValueError(f"No value {name!r}; the known ones are: {', '.join(_CHECKS)}.")
    return None if value is None else _CHECKS[name](name, value)


def _number(low: float, high: float) -> Callable[[str, object], float]:
    def check(name: str, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise ValueError(f"{name} must be a number from {low} to {high}, not {value!r}.")

    return check


def _whole(high: int) -> Callable[[str, object], int]:
    def check(name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= high:
            raise ValueError(f"{name} must be a whole number from 0 to {high}, not {value!r}.")
        return value

    return check


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be true or false, not {value!r}.")


def _temperatures(name: str, value: object) -> float | tuple[float | None, ...]:
    one = _number(-60, 200)
    if not isinstance(value, list):
        return one(name, value)
    if len(value) > _MAX_SENSORS:
        raise ValueError(f"{name} must have at most {_MAX_SENSORS} sensors, not {len(value)}.")
    return tuple(None if celsius is None else one(name, celsius) for celsius in value)


def _cells(name: str, value: object) -> tuple[float, ...]:
    one = _number(0, 65.535)
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_CELLS:
        raise ValueError(f"{name} must be a list of 1 to {_MAX_CELLS} voltages, not {value!r}.")
    return tuple(one(name, cell_v) for cell_v in value)


_CHECKS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "voltage_v": _number(0, 655.35),
    "current_a": _number(-327.68, 327.67),
    "soc_pct": _number(0, 100),
    "remaining_ah": _number(0, 655.35),
    "full_ah": _number(0, 655.35),
    "cycles": _whole(0xFFFF),
    "temperatures_c": _temperatures,
    "cells_v": _cells,
    "protection_bits": _whole(0xFFFF),
    "balancing_bits": _whole(0xFFFFFFFF),
    "charge_fet": _flag,
    "discharge_fet": _flag,
    "demand_a": _number(-327.68, 327.67),
}
