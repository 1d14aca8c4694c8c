"""What a dock's word amounts to: facts, and the colour of its lamp."""

from dataclasses import replace

import pytest

from edge.drivers.dock_unit import DockState
from edge.rules.dock import DockWatch, led_of

FREE = DockState(
    state="free",
    bay_occupied=False,
    cable=False,
    connector_locked=False,
    faults=(),
    voltage_v=None,
    current_a=None,
    power_w=2.0,
    energy_wh=10,
    temperature_c=20.0,
    led=None,
    soc_pct=None,
    serial=None,
)
CHARGING = replace(FREE, state="charging", bay_occupied=True, cable=True)
BROKEN = replace(CHARGING, state="fault", faults=("ground_fault",))


@pytest.mark.parametrize(
    ("dock", "led"),
    [
        (FREE, "green"),
        (CHARGING, "blue"),
        (replace(CHARGING, state="finished"), "white"),
        (replace(FREE, state="occupied", bay_occupied=True), "white"),
        (BROKEN, "red"),
        (replace(FREE, state="fault"), "red"),
        (replace(FREE, faults=("mains_lost",)), "red"),
    ],
)
def test_the_lamp_follows_the_state(dock: DockState, led: str) -> None:
    assert led_of(dock) == led


def test_cable_and_bay_are_facts_when_they_change() -> None:
    watch = DockWatch()
    assert watch.see(FREE, 7.0) == []
    assert watch.see(CHARGING, 7.0) == [("cable.plugged", {}), ("bay.taken", {})]
    assert watch.see(CHARGING, 7.0) == []
    assert watch.see(None, 7.0) == []
    assert watch.see(FREE, 7.0) == [("cable.unplugged", {}), ("bay.freed", {})]


def test_a_fault_is_told_once_also_as_the_first_word_and_its_end_too() -> None:
    watch = DockWatch()
    raised = {"alarm": "charger_fault", "priority": "medium", "cause": "ground_fault"}
    assert watch.see(BROKEN, 7.0) == [
        ("charger.fault", {"faults": "ground_fault"}),
        ("alarm.raised", raised),
    ]
    assert watch.see(BROKEN, 7.0) == []
    worse = replace(BROKEN, faults=("ground_fault", "mains_lost"))
    assert watch.see(worse, 7.0) == [("charger.fault", {"faults": "mains_lost"})]
    assert watch.see(CHARGING, 67.0) == [
        ("charger.recovered", {}),
        ("alarm.cleared", {"alarm": "charger_fault", "after_s": 60}),
    ]


def test_a_fault_without_a_name_is_one_too() -> None:
    watch = DockWatch()
    watch.see(FREE, 7.0)
    assert watch.see(replace(FREE, state="fault"), 7.0)[0] == ("charger.fault", {"faults": "fault"})
