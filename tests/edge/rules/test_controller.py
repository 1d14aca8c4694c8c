"""Facts from the lock's sensors."""

import pytest

from edge.controllers.base import ControllerState
from edge.rules.controller import ControllerWatch


def a_state(**sensors: bool | None) -> ControllerState:
    quiet: dict[str, bool | None] = {
        "locked": True,
        "tamper": False,
        "tip_over": False,
        "charge_cable": False,
        "compartment_open": False,
    }
    known = quiet | sensors
    return ControllerState(
        seen_at_s=0.0,
        locked=known["locked"],
        tamper=known["tamper"],
        tip_over=known["tip_over"],
        charge_cable=known["charge_cable"],
        compartment_open=known["compartment_open"],
    )


def kinds(watch: ControllerWatch, state: ControllerState | None, now_s: float = 0.0) -> list[str]:
    return [kind for kind, _ in watch.see(state, now_s)]


@pytest.mark.parametrize(
    ("sensor", "turned", "back"),
    [
        ("locked", ["lock.unlocked"], ["lock.locked"]),
        ("tamper", ["lock.tampered"], []),
        ("tip_over", ["lock.tipped_over"], ["lock.righted"]),
        ("charge_cable", ["cable.plugged"], ["cable.unplugged"]),
        ("compartment_open", ["compartment.opened"], ["compartment.closed"]),
    ],
)
def test_each_change_is_one_fact(sensor: str, turned: list[str], back: list[str]) -> None:
    watch = ControllerWatch()
    assert kinds(watch, a_state()) == []
    other = a_state(**{sensor: sensor != "locked"})
    assert kinds(watch, other) == turned
    assert kinds(watch, other) == []
    assert kinds(watch, a_state()) == back


def test_the_first_word_is_no_change_but_an_alarm_is_told() -> None:
    assert kinds(ControllerWatch(), a_state(locked=False, charge_cable=True)) == []
    lying = a_state(tip_over=True, tamper=True)
    assert kinds(ControllerWatch(), lying) == ["lock.tampered", "lock.tipped_over"]


def test_a_latch_on_its_way_is_neither() -> None:
    watch = ControllerWatch()
    found = [kinds(watch, a_state(locked=locked)) for locked in (True, None, False, None, False)]
    assert found == [[], [], ["lock.unlocked"], [], []]


def test_silence_and_its_end_are_one_fact_each_and_what_changed_meanwhile_is_told() -> None:
    watch = ControllerWatch()
    kinds(watch, a_state())
    assert kinds(watch, None, 2.1) == ["lock.offline"]
    assert kinds(watch, None, 3.0) == []
    assert kinds(watch, a_state(locked=False), 4.0) == ["lock.online", "lock.unlocked"]


def test_a_lock_that_is_never_heard_is_offline_after_two_seconds() -> None:
    watch = ControllerWatch()
    assert [kinds(watch, None, at_s) for at_s in (10.0, 12.0, 12.1)] == [[], [], ["lock.offline"]]
