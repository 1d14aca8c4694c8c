"""Checks of the values that a person turns a shim's dials to."""

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[str, object], Any]


def checked(
    values: Mapping[str, Any], dials: Mapping[str, Check], defaults: object
) -> dict[str, Any]:
    """Return the values as the shim keeps them; None is what `defaults` has.

    Raises ValueError, naming the dial and what it takes.
    """
    return {name: _checked(name, value, dials, defaults) for name, value in values.items()}


def number(low: float, high: float) -> Callable[[str, object], float]:
    """Return a check for a number from `low` to `high`."""

    def check(name: str, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise ValueError(f"{name} must be a number from {low} to {high}, not {value!r}.")

    return check


def whole(high: int) -> Callable[[str, object], int]:
    """Return a check for a whole number from 0 to `high`."""

    def check(name: str, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high:
            return value
        raise ValueError(f"{name} must be a whole number from 0 to {high}, not {value!r}.")

    return check


def flag(name: str, value: object) -> bool:
    """Check for true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be true or false, not {value!r}.")


def _checked(name: str, value: object, dials: Mapping[str, Check], defaults: object) -> Any:  # noqa: ANN401 - any dial's value
    if name not in dials:
        raise ValueError(f"No value {name!r}; the known ones are: {', '.join(dials)}.")
    return getattr(defaults, name) if value is None else dials[name](name, value)
