"""What the lock's sensors say, as catalogue signals."""

from dataclasses import fields

from edge.controllers.base import ControllerState
from edge.controllers.signals import to_signals
from protocol.signals import BY_ID

FULL = ControllerState(
    seen_at_s=1.0,
    locked=False,
    immobilised=True,
    speed_kmh=-1.2,
    speed_limit_kmh=20.0,
    speed_mode="sport",
    tip_over=True,
    tamper=False,
    charge_cable=True,
    lights=True,
    compartment_open=False,
)


def test_every_sensor_has_its_signal() -> None:
    named = {BY_ID[signal_id].key: raw for signal_id, raw in to_signals(FULL).items()}
    assert named == {
        "speed_kmh": -12,
        "lock_state": 0,
        "speed_limit_kmh": 20,
        "speed_mode": 3,
        "tip_over": 1,
        "tamper": 0,
        "charge_cable": 1,
        "battery_compartment_open": 0,
        "immobilised": 1,
        "lights_on": 1,
    }
    assert all(type(raw) is int for raw in named.values())


def test_the_unknown_and_the_impossible_are_left_out() -> None:
    assert to_signals(ControllerState(seen_at_s=0.0)) == {}
    assert to_signals(ControllerState(seen_at_s=0.0, speed_kmh=999.0, speed_mode="warp")) == {}


def test_a_new_field_of_the_state_is_not_forgotten() -> None:
    told_elsewhere = {"seen_at_s", "charge_enabled"}
    assert len(to_signals(FULL)) == len(fields(ControllerState)) - len(told_elsewhere)
