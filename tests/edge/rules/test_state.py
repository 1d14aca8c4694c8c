"""What the battery's current says about the vehicle."""

from collections.abc import Sequence

import pytest

from edge.rules.state import AWAKE_S, STOP_S, Motion, Rest, VehicleState, next_motion

RIDING, CHARGING, PARKED = VehicleState.RIDING, VehicleState.CHARGING, VehicleState.PARKED
LOW, DEEP = VehicleState.LOW_POWER, VehicleState.DEEP_SLEEP


def after(*currents_a: float | None, begin: Motion | None = None, step_s: float = 1.0) -> Motion:
    motion = begin or Motion()
    for index, current_a in enumerate(currents_a):
        motion = next_motion(motion, current_a, index * step_s)
    return motion


@pytest.mark.parametrize(
    ("currents_a", "state"),
    [
        ([0.0], PARKED),
        ([-0.4], PARKED),
        ([-0.6], RIDING),
        ([0.3], CHARGING),
        ([0.15], PARKED),
        ([0.3, 0.15], CHARGING),
        ([0.3, 0.05], PARKED),
        ([-5.0, 0.0], RIDING),
        ([-5.0, 3.0], RIDING),
        ([-5.0, -0.3], RIDING),
        ([3.0, -5.0], RIDING),
        ([-5.0, None], RIDING),
        ([None], PARKED),
    ],
)
def test_the_state_follows_the_current_with_hysteresis(
    currents_a: list[float | None], state: VehicleState
) -> None:
    assert after(*currents_a).state is state


def test_a_red_light_is_not_the_end_of_a_ride() -> None:
    assert after(-5.0, *[0.0] * 20).state is RIDING


def test_half_a_minute_without_a_draw_is_the_end_of_a_ride() -> None:
    assert after(-5.0, *[0.0] * round(STOP_S)).state is PARKED
    assert after(-5.0, *[2.0] * round(STOP_S)).state is CHARGING


@pytest.mark.parametrize("speed_kmh", [4.0, -4.0])
def test_what_rolls_is_ridden_whatever_the_battery_says(speed_kmh: float) -> None:
    for current_a in (None, 0.0, 3.0):
        assert next_motion(Motion(), current_a, 0.0, speed_kmh).state is RIDING


def test_a_wheel_at_rest_ends_a_ride_like_a_motor_at_rest() -> None:
    riding = next_motion(Motion(), None, 0.0, 12.0)
    assert next_motion(riding, None, STOP_S - 1, 0.0).state is RIDING
    assert next_motion(riding, None, STOP_S, 0.0).state is PARKED
    assert next_motion(riding, 2.0, STOP_S, 0.0).state is CHARGING
    assert next_motion(riding, None, STOP_S, None).state is RIDING


def test_a_wheel_at_rest_says_nothing_about_charging() -> None:
    charging = next_motion(Motion(), 2.0, 0.0, 0.0)
    assert next_motion(charging, None, 1.0, 0.0).state is CHARGING


@pytest.mark.parametrize(
    ("soc_pct", "states"),
    [
        ([15.0, 14.9], [PARKED, LOW]),
        ([14.0, 16.9, 17.0, 16.0], [LOW, LOW, PARKED, PARKED]),
        ([5.0, 4.9, 6.9, 7.0], [LOW, DEEP, DEEP, LOW]),
        ([3.0, 80.0], [DEEP, PARKED]),
        ([14.0, None, 14.0], [LOW, PARKED, LOW]),
        ([None], [PARKED]),
    ],
)
def test_a_parked_vehicle_rests_the_deeper_the_less_charge_is_left(
    soc_pct: Sequence[float | None], states: Sequence[VehicleState]
) -> None:
    rest = Rest()
    assert [rest.see(PARKED, pct, 0.0) for pct in soc_pct] == states


def test_what_happens_to_it_keeps_it_awake_for_five_minutes() -> None:
    rest = Rest()
    assert rest.see(PARKED, 3.0, 0.0) is DEEP
    rest.wake(100.0)
    assert rest.see(PARKED, 3.0, 100.0) is PARKED
    assert rest.see(PARKED, 3.0, 100.0 + AWAKE_S - 1) is PARKED
    assert rest.see(PARKED, 3.0, 100.0 + AWAKE_S) is DEEP


@pytest.mark.parametrize("state", [RIDING, CHARGING])
def test_riding_and_charging_are_no_rest_and_it_stays_awake_after_them(
    state: VehicleState,
) -> None:
    rest = Rest()
    rest.see(PARKED, 3.0, 0.0)
    assert rest.see(state, 3.0, 50.0) is state
    assert rest.see(PARKED, 3.0, 60.0) is PARKED
    assert rest.see(PARKED, 3.0, 50.0 + AWAKE_S) is DEEP


def test_who_may_be_ridden_off_does_not_rest() -> None:
    rest = Rest()
    assert rest.see(PARKED, 3.0, 0.0, unlocked=True) is PARKED
    assert rest.see(PARKED, 3.0, AWAKE_S) is DEEP
