"""Alarms: raised once when it is really so, over when it is really over, then ready again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from edge.gnss.fix import Fix
from edge.rules.alarms import RULES, AlarmWatch, Observed
from protocol.alarms import ALARMS

METRE_DEG = 1 / 111_195
LOCKED = {"locked": True}


def at_m(north_m: float, accuracy_m: float = 3.0) -> Fix:
    return Fix(52.0 + north_m * METRE_DEG, 13.0, 0.0, 0.9, 0.0, accuracy_m)


Moment = tuple[float, Mapping[str, Any]]


def told(*moments: Moment, watch: AlarmWatch | None = None) -> list[tuple[float, str, str]]:
    """What is told when: (seconds, raised or cleared, alarm)."""
    watch = watch or AlarmWatch()
    return [
        (mono_s, kind.removeprefix("alarm."), str(fields["alarm"]))
        for mono_s, seen in moments
        for kind, fields in watch.see(Observed(mono_s=mono_s, **seen))
    ]


def always(seen: Mapping[str, Any], *, begin_s: int = 0, seconds: int) -> list[Moment]:
    return [(float(now_s), seen) for now_s in range(begin_s, begin_s + seconds)]


CASES: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], str, int, int]] = {
    # what is so, what is no more, alarm, raised after, cleared after (seconds)
    "speed": ({**LOCKED, "speed_kmh": 3.5}, {**LOCKED, "speed_kmh": 3.0}, "moved", 3, 60),
    "backwards": ({**LOCKED, "speed_kmh": -9.0}, {**LOCKED, "speed_kmh": 0.0}, "moved", 3, 60),
    "shaken": (
        {**LOCKED, "acceleration_g": 1.6},
        {**LOCKED, "acceleration_g": 1.5},
        "moved",
        3,
        60,
    ),
    "unlocked after": ({**LOCKED, "speed_kmh": 9.0}, {"locked": False}, "moved", 3, 60),
    "tamper": ({"tamper": True}, {"tamper": False}, "tampered", 0, 3),
    "tip flag": ({"tipped": True}, {"tipped": False}, "tipped_over", 5, 3),
    "tip angle": ({"tip_deg": 51.0}, {"tip_deg": 29.0}, "tipped_over", 5, 3),
    "other side": ({"tip_deg": -80.0}, {"tip_deg": 5.0}, "tipped_over", 5, 3),
    "impact": ({"acceleration_g": 4.1}, {"acceleration_g": 1.9}, "impact", 0, 10),
    "compartment": (
        {**LOCKED, "compartment_open": True},
        {**LOCKED, "compartment_open": False},
        "battery_removed",
        0,
        3,
    ),
    "battery gone": (
        {**LOCKED, "battery_offline": True},
        {**LOCKED, "battery_offline": False},
        "battery_removed",
        5,
        3,
    ),
    "hot": ({"hottest_c": 60.1}, {"hottest_c": 54.9}, "battery_hot", 0, 0),
    "protection": ({"protection_bits": 2}, {"protection_bits": 0}, "battery_fault", 2, 10),
    "lock silent": ({"controller_silent": True}, {}, "controller_fault", 10, 3),
    "lock fault": (
        {"controller_fault": True},
        {"controller_fault": False},
        "controller_fault",
        0,
        10,
    ),
    "power": ({"external_power": False}, {"external_power": True}, "power_lost", 3, 3),
    "no position": ({"has_gnss": True}, {"has_gnss": True, "fix": at_m(0)}, "gnss_lost", 600, 10),
}


@pytest.mark.parametrize("case", CASES)
def test_an_alarm_waits_for_its_time_is_told_once_and_ends_after_its_time(case: str) -> None:
    so, over, alarm, after_s, clear_s = CASES[case]
    watch = AlarmWatch()
    begun = told(*always(so, seconds=after_s + 100), watch=watch)
    assert begun == [(float(after_s), "raised", alarm)]
    end_s = after_s + 100
    ended = told(*always(over, begin_s=end_s, seconds=clear_s + 100), watch=watch)
    assert ended == [(float(end_s + clear_s), "cleared", alarm)]
    again_s = end_s + clear_s + 100
    again = told(*always(so, begin_s=again_s, seconds=after_s + 1), watch=watch)
    assert again == [(float(again_s + after_s), "raised", alarm)]


@pytest.mark.parametrize("case", [name for name, row in CASES.items() if row[3]])
def test_what_lasts_too_short_is_no_alarm(case: str) -> None:
    so, over, _, after_s, _ = CASES[case]
    short = always(so, seconds=after_s)
    assert (
        told(*short, (float(after_s), over), *always(so, begin_s=after_s + 1, seconds=after_s))
        == []
    )


@pytest.mark.parametrize(
    "seen",
    [
        {"speed_kmh": 20.0},
        {"locked": False, "speed_kmh": 20.0},
        {"locked": False, "compartment_open": True, "battery_offline": True},
        {**LOCKED, "compartment_open": True, "battery_offline": True, "may_open": True},
        {"battery_offline": True},
        {"tip_deg": 50.0, "tipped": True},
        {"hottest_c": 60.0},
        {"acceleration_g": 3.9},
        {"fix": None},
        {},
    ],
)
def test_what_may_be_and_what_nobody_knows_is_no_alarm(seen: Mapping[str, Any]) -> None:
    assert told(*always(seen, seconds=1_000)) == []


@pytest.mark.parametrize(
    ("so", "between", "alarm"),
    [
        ({"tip_deg": 60.0}, {"tip_deg": 40.0}, "tipped_over"),
        ({"hottest_c": 65.0}, {"hottest_c": 57.0}, "battery_hot"),
        ({"hottest_c": 65.0}, {}, "battery_hot"),
        ({**LOCKED, "compartment_open": True}, {"compartment_open": None}, "battery_removed"),
    ],
)
def test_between_the_thresholds_and_in_silence_an_alarm_stays(
    so: Mapping[str, Any], between: Mapping[str, Any], alarm: str
) -> None:
    moments = [*always(so, seconds=20), *always(between, begin_s=20, seconds=100)]
    assert [row[1:] for row in told(*moments, *always(so, begin_s=120, seconds=20))] == [
        ("raised", alarm)
    ]


def positions(*norths_m: float, accuracy_m: float = 3.0) -> list[Moment]:
    return [
        (float(now_s), {**LOCKED, "has_gnss": True, "fix": at_m(north_m, accuracy_m)})
        for now_s, north_m in enumerate(norths_m)
    ]


@pytest.mark.parametrize(
    ("norths_m", "accuracy_m", "is_moved"),
    [
        ([0.0, 31.0, 31.0, 31.0], 3.0, True),
        ([0.0, 29.0, 29.0, 29.0], 3.0, False),
        ([0.0, 400.0, 0.0, 400.0, 0.0], 3.0, False),
        ([0.0, 31.0, 31.0, 31.0], 21.0, False),
    ],
)
def test_more_than_thirty_metres_from_where_it_was_locked_is_moved(
    norths_m: Sequence[float], accuracy_m: float, *, is_moved: bool
) -> None:
    found = told(*positions(*norths_m, accuracy_m=accuracy_m))
    assert found == ([(3.0, "raised", "moved")] if is_moved else [])


def test_locked_somewhere_else_is_another_place_to_be_moved_from() -> None:
    watch = AlarmWatch()
    told(*positions(0.0), watch=watch)
    assert told((1.0, {"locked": False, "fix": at_m(500.0)}), watch=watch) == []
    there = [(float(now_s), {**LOCKED, "fix": at_m(500.0)}) for now_s in range(2, 20)]
    assert told(*there, watch=watch) == []


def test_two_causes_are_one_alarm_and_it_ends_with_the_last() -> None:
    both = {**LOCKED, "compartment_open": True, "battery_offline": True}
    closed = {**both, "compartment_open": False}
    nothing = {**closed, "battery_offline": False}
    moments = [
        *always(both, seconds=20),
        *always(closed, begin_s=20, seconds=20),
        *always(nothing, begin_s=40, seconds=20),
    ]
    assert told(*moments) == [
        (0.0, "raised", "battery_removed"),
        (43.0, "cleared", "battery_removed"),
    ]


@pytest.mark.parametrize(
    ("soc_pct", "expected"),
    [
        ([21, 20, 19, 18], [20]),
        ([21, 20, 21, 20, 21.9, 20], [20]),
        ([21, 20, 22, 20], [20, "over", 20]),
        ([30, 10, 5], [10, 5]),
        ([4], [5]),
        ([12, 9, 11.9, 9, 12, 9, 4], [20, 10, 10, 5]),
        ([9, 13, 19, 9], [10, 10]),
        ([20, None, 19, None, 20], [20]),
        ([4, 30], [5, "over"]),
    ],
)
def test_each_level_of_a_low_battery_is_told_once_until_two_percent_above(
    soc_pct: Sequence[float | None], expected: Sequence[int | str]
) -> None:
    watch = AlarmWatch()
    found = [
        fields.get("level_pct", "over")
        for now_s, pct in enumerate(soc_pct)
        for _, fields in watch.see(Observed(mono_s=float(now_s), soc_pct=pct))
    ]
    assert found == expected


def test_charging_ends_a_low_battery_and_lets_its_levels_be_told_again() -> None:
    watch = AlarmWatch()
    low = Observed(mono_s=0.0, soc_pct=8.0)
    steps = (low, replace(low, charging=True), replace(low, charging=True), low)
    assert [[kind for kind, _ in watch.see(step)] for step in steps] == [
        ["alarm.raised"],
        ["alarm.cleared"],
        [],
        ["alarm.raised"],
    ]


def test_an_alarm_says_why_how_urgent_and_how_much() -> None:
    watch = AlarmWatch()
    assert watch.see(Observed(mono_s=5.0, hottest_c=61.5)) == [
        (
            "alarm.raised",
            {
                "alarm": "battery_hot",
                "priority": "high",
                "cause": "cell",
                "temperature_c": 61.5,
            },
        )
    ]
    assert watch.raised == {"battery_hot"}
    assert watch.see(Observed(mono_s=65.4, hottest_c=40.0)) == [
        ("alarm.cleared", {"alarm": "battery_hot", "after_s": 60})
    ]
    assert watch.raised == set()


def test_every_rule_raises_an_alarm_of_the_contract() -> None:
    assert {rule.alarm for rule in RULES} | {"battery_low", "charger_fault"} == set(ALARMS)
