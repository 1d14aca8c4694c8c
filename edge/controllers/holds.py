"""Why a vehicle is held still, where one switch is both its lock and its immobiliser.

Each reason comes and goes by itself: the switch is on while there is one. A switch that is on and
nobody knows why is a lock; one that is off has no reason left, whatever was remembered.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

LOCKED: Final = "locked"
IMMOBILISED: Final = "immobilised"

Holds = frozenset[str]
"""Some of LOCKED and IMMOBILISED."""

NONE: Final[Holds] = frozenset()
_HOLD_OF: Final[Mapping[str, str]] = {
    "lock": LOCKED,
    "unlock": LOCKED,
    "immobilise": IMMOBILISED,
}


class HoldMemory(Protocol):
    """Remembers the reasons through restarts."""

    async def load(self) -> Holds:
        """Return what was saved last, nothing before that."""

    async def save(self, holds: Holds) -> bool:
        """Make them durable; False when the disk refuses."""


class Forgetful:
    """Remembers only as long as it lives: where no journal is."""

    def __init__(self) -> None:
        self._holds = NONE

    async def load(self) -> Holds:
        """Return what was saved last."""
        return self._holds

    async def save(self, holds: Holds) -> bool:
        """Remember them."""
        self._holds = holds
        return True


class Change(NamedTuple):
    """What a command does to the reasons: adds one, or takes one away."""

    hold: str
    adds: bool

    def after(self, before: Holds) -> Holds:
        """Return the reasons once it was obeyed."""
        return before | {self.hold} if self.adds else before - {self.hold}


def change_of(kind: str, args: Mapping[str, Any]) -> Change | None:
    """Return what a command does to the reasons; None for a kind that is not about them."""
    hold = _HOLD_OF.get(kind)
    return None if hold is None else Change(hold, kind == "lock" or args.get("on") is True)


def locked(holds: Holds, *, is_on: bool) -> bool:
    """Tell whether the vehicle is locked, as far as its switch says."""
    return is_on and (LOCKED in holds or not holds)


def immobilised(holds: Holds, *, is_on: bool) -> bool:
    """Tell whether the motor is kept off by a command of ours."""
    return is_on and IMMOBILISED in holds
