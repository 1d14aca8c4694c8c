"""From what a vehicle's sensors say to the signal catalogue. Pure."""

from typing import Final

from edge.controllers.base import ControllerState
from protocol.commands import SPEED_MODES
from protocol.signals import BY_KEY

_FIELDS: Final[tuple[tuple[str, str], ...]] = (
    ("speed_kmh", "speed_kmh"),
    ("locked", "lock_state"),
    ("speed_limit_kmh", "speed_limit_kmh"),
    ("tip_over", "tip_over"),
    ("tamper", "tamper"),
    ("charge_cable", "charge_cable"),
    ("compartment_open", "battery_compartment_open"),
    ("immobilised", "immobilised"),
    ("lights", "lights_on"),
)
_SCALES: Final = tuple((field, BY_KEY[key]) for field, key in _FIELDS)
_SPEED_MODE: Final = BY_KEY["speed_mode"].id


def to_signals(state: ControllerState) -> dict[int, int]:
    """Return what is known as catalogue id → wire value; what cannot be true is left out."""
    signals: dict[int, int] = {}
    for field, signal in _SCALES:
        raw = signal.to_raw(getattr(state, field))
        if raw is not None:
            signals[signal.id] = raw
    if state.speed_mode in SPEED_MODES:
        signals[_SPEED_MODE] = SPEED_MODES.index(state.speed_mode) + 1
    return signals
