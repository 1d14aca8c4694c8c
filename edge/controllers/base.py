"""What every vehicle controller gives: what its sensors say, and what it can be told to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

OutcomeState = Literal["done", "refused", "failed"]


class ControllerError(ValueError):
    """The configuration names a controller that cannot be built; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one actuation ended; `reason` is "" for done, else one of the contract's words."""

    state: OutcomeState
    reason: str = ""


DONE = Outcome("done")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerState:
    """What the sensors said at `seen_at_s` (monotonic seconds). None is unknown.

    `speed_kmh` is positive forwards; `tip_over` and `tamper` are the sensors' present word.
    """

    seen_at_s: float
    locked: bool | None = None
    immobilised: bool | None = None
    speed_kmh: float | None = None
    speed_limit_kmh: float | None = None
    speed_mode: str | None = None
    tip_over: bool | None = None
    tamper: bool | None = None
    charge_cable: bool | None = None
    lights: bool | None = None
    compartment_open: bool | None = None
    charge_enabled: bool | None = None


class VehicleController(Protocol):
    """The part that locks the vehicle. It decides nothing: `edge.commands` has asked the rules."""

    on_change: Callable[[ControllerState], None] | None

    @property
    def capabilities(self) -> frozenset[str]:
        """Command kinds it can perform, names of `protocol.commands.KINDS`."""

    async def run(self) -> None:
        """Keep listening until cancelled. A line that is lost is opened again; never raises."""

    def seen(self) -> ControllerState | None:
        """The newest word of the sensors; None before the first or when it is silent too long."""

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        """Whether the sensors say that what `kind` wants is so already; None when nobody knows."""

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Do it and return when the sensor confirms, refuses, or time is up. Never raises."""
