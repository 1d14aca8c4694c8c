"""What a vehicle is doing, from its battery's current and from how fast it goes."""

import enum
from dataclasses import dataclass

CHARGING_ABOVE_A = 0.2
CHARGING_ENDS_BELOW_A = 0.1
RIDING_BELOW_A = -0.5
STANDING_ABOVE_A = -0.25
ROLLS_ABOVE_KMH = 1.0
STOP_S = 30.0


LOW_BELOW_PCT = 15.0
SLEEPS_BELOW_PCT = 5.0
REFRESHED_PCT = 2.0
AWAKE_S = 300.0


class VehicleState(enum.StrEnum):
    """What the agent's intervals depend on. The last two are parked, with little charge left."""

    RIDING = "riding"
    CHARGING = "charging"
    PARKED = "parked"
    LOW_POWER = "low_power"
    DEEP_SLEEP = "deep_sleep"

    @property
    def rests(self) -> bool:
        """Whether it stands, and is not being charged."""
        return self not in (VehicleState.RIDING, VehicleState.CHARGING)


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


@dataclass(slots=True)
class Rest:
    """How deep a parked vehicle rests: the less charge is left, the rarer it looks and tells.

    Whatever happens to it keeps it awake for five minutes. A battery that does not answer keeps it
    awake too: the next one is noticed when it is put in.
    """

    _depth: VehicleState = VehicleState.PARKED
    _awake_until_s: float = float("-inf")

    def wake(self, now_s: float) -> None:
        """Something has happened."""
        self._awake_until_s = now_s + AWAKE_S

    def see(
        self,
        state: VehicleState,
        soc_pct: float | None,
        now_s: float,
        *,
        unlocked: bool = False,
    ) -> VehicleState:
        """Return the state with its depth.

        Args:
            state: riding, charging or parked.
            soc_pct: charge left; None while the battery does not answer.
            now_s: monotonic.
            unlocked: somebody may ride off at any moment.
        """
        if unlocked or not state.rests:
            self._depth = VehicleState.PARKED
            self.wake(now_s)
            return state
        self._depth = self._depth_of(soc_pct)
        return VehicleState.PARKED if now_s < self._awake_until_s else self._depth

    def _depth_of(self, soc_pct: float | None) -> VehicleState:
        if soc_pct is None:
            return VehicleState.PARKED
        slept = self._depth is VehicleState.DEEP_SLEEP
        was_low = self._depth is not VehicleState.PARKED
        if soc_pct < SLEEPS_BELOW_PCT + (REFRESHED_PCT if slept else 0.0):
            return VehicleState.DEEP_SLEEP
        if soc_pct < LOW_BELOW_PCT + (REFRESHED_PCT if was_low else 0.0):
            return VehicleState.LOW_POWER
        return VehicleState.PARKED
