"""What the lock unit's sensors show, the eleven bytes of its STATUS, and the dials on them."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

UNLOCKED: Final = 0
LOCKED: Final = 1
MOVING: Final = 2

_FLAGS: Final = (
    "tip_over",
    "tamper",
    "charge_cable",
    "lights",
    "compartment_open",
    "immobilised",
    "kickstand",
    "jammed",
    "locating",
)


@dataclass(slots=True)
class Sensors:
    """A parked and locked vehicle, unless told otherwise.

    `speed_kmh` is positive forwards, `limit_kmh` 0 for none, `mode` 1 eco, 2 normal, 3 sport,
    4 walk. `stuck` is a latch that stops half-way without a word; `jammed` one that the unit knows
    cannot move; `silent` a unit that says nothing.
    """

    latch: int = LOCKED
    speed_kmh: float = 0.0
    limit_kmh: int = 0
    mode: int = 2
    tip_over: bool = False
    tamper: bool = False
    charge_cable: bool = False
    lights: bool = False
    compartment_open: bool = False
    immobilised: bool = False
    kickstand: bool = False
    jammed: bool = False
    locating: bool = False
    stuck: bool = False
    silent: bool = False
    travel_ms: float = 5.0

    def pack(self, uptime_ms: int) -> bytes:
        """Return the payload of a STATUS."""
        flags = sum(1 << bit for bit, name in enumerate(_FLAGS) if getattr(self, name))
        tenths = round(self.speed_kmh * 10)
        return struct.pack(
            ">BHhBBI", self.latch, flags, tenths, self.limit_kmh, self.mode, uptime_ms
        )


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return dials as attributes of Sensors; None lets go. Raises ValueError, naming the dial."""
    return dict(_checked(name, value) for name, value in values.items())


def _checked(name: str, value: object) -> tuple[str, Any]:
    if name not in _DIALS:
        raise ValueError(f"No value {name!r}; the known ones are: {', '.join(_DIALS)}.")
    attribute, check = _DIALS[name]
    return attribute, getattr(Sensors(), attribute) if value is None else check(name, value)


def _number(low: float, high: float) -> Callable[[str, object], float]:
    def check(name: str, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise ValueError(f"{name} must be a number from {low} to {high}, not {value!r}.")

    return check


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be true or false, not {value!r}.")


def _latch(name: str, value: object) -> int:
    return LOCKED if _flag(name, value) else UNLOCKED


_DIALS: Final[Mapping[str, tuple[str, Callable[[str, object], Any]]]] = {
    "locked": ("latch", _latch),
    "speed_kmh": ("speed_kmh", _number(-50, 300)),
    "travel_ms": ("travel_ms", _number(0, 60_000)),
    **{name: (name, _flag) for name in (*_FLAGS, "stuck", "silent")},
}
