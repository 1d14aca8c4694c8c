"""What a vehicle without a lock unit is doing, from the battery's current alone."""

import enum
from dataclasses import dataclass

CHARGING_ABOVE_A = 0.2
CHARGING_ENDS_BELOW_A = 0.1
RIDING_BELOW_A = -0.5
STANDING_ABOVE_A = -0.25
STOP_S = 30.0


class VehicleState(enum.StrEnum):
    """What the agent's intervals depend on."""

    RIDING = "riding"
    CHARGING = "charging"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Motion:
    """A state, and when the motor last drew current (monotonic seconds)."""

    state: VehicleState = VehicleState.PARKED
    drew_at_s: float = float("-inf")


def next_motion(before: Motion, current_a: float | None, now_s: float) -> Motion:
    """Return the state after seeing `current_a` (positive into the battery; None tells nothing).

    Riding begins at once and ends after 30 s without a draw: a red light is not the end of a ride,
    and braking that feeds the battery is not charging.
    """
    if current_a is None:
        return before
    riding = before.state is VehicleState.RIDING
    if current_a < (STANDING_ABOVE_A if riding else RIDING_BELOW_A):
        return Motion(VehicleState.RIDING, now_s)
    if riding and now_s - before.drew_at_s < STOP_S:
        return before
    charging = before.state is VehicleState.CHARGING
    if current_a > (CHARGING_ENDS_BELOW_A if charging else CHARGING_ABOVE_A):
        return Motion(VehicleState.CHARGING, before.drew_at_s)
    return Motion(VehicleState.PARKED, before.drew_at_s)
