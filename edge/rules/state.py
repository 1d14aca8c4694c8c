"""What a vehicle is doing, from its battery's current and from how fast it goes."""

import enum
from dataclasses import dataclass

CHARGING_ABOVE_A = 0.2
CHARGING_ENDS_BELOW_A = 0.1
RIDING_BELOW_A = -0.5
STANDING_ABOVE_A = -0.25
ROLLS_ABOVE_KMH = 1.0
STOP_S = 30.0


class VehicleState(enum.StrEnum):
    """What the agent's intervals depend on."""

    RIDING = "riding"
    CHARGING = "charging"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Motion:
    """A state, and when the motor last drew current or the wheel turned (monotonic seconds)."""

    state: VehicleState = VehicleState.PARKED
    drew_at_s: float = float("-inf")


def next_motion(
    before: Motion, current_a: float | None, now_s: float, speed_kmh: float | None = None
) -> Motion:
    """Return the state after seeing the current and the speed. None tells nothing.

    Args:
        before: the state until now.
        current_a: positive into the battery.
        now_s: monotonic seconds.
        speed_kmh: of the wheel, or over ground; either direction.

    Riding begins at once and ends after 30 s without a draw and at rest: a red light is not the end
    of a ride, and braking that feeds the battery is not charging. What rolls is ridden, pushed or
    carried off: all of these are worth every reading.
    """
    riding = before.state is VehicleState.RIDING
    rolls = speed_kmh is not None and abs(speed_kmh) > ROLLS_ABOVE_KMH
    draws = current_a is not None and current_a < (STANDING_ABOVE_A if riding else RIDING_BELOW_A)
    if rolls or draws:
        return Motion(VehicleState.RIDING, now_s)
    if current_a is None and not (riding and speed_kmh is not None):
        return before
    if riding and now_s - before.drew_at_s < STOP_S:
        return before
    charging = before.state is VehicleState.CHARGING
    charges_above_a = CHARGING_ENDS_BELOW_A if charging else CHARGING_ABOVE_A
    if current_a is not None and current_a > charges_above_a:
        return Motion(VehicleState.CHARGING, before.drew_at_s)
    return Motion(VehicleState.PARKED, before.drew_at_s)
