"""The rules of a rental and what a timeline means."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.booking import model
from cloud.booking.model import FINAL, RULES, STATES, STEPS, Entry, EntryKind, Place, times

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
CLOCKED = st.lists(st.floats(0, 7_200, allow_nan=False), min_size=2, max_size=10)


def entry(
    kind: EntryKind,
    at_s: float,
    *,
    mono_s: float | None = None,
    boot: str | None = None,
    place: Place | None = None,
) -> Entry:
    return Entry(kind, NOON + timedelta(seconds=at_s), boot, mono_s, place)


def a_ride(marks: list[float], *, skew_s: float = 0.0, clocked: bool = True) -> list[Entry]:
    """Unlock, pauses in turn, end: at these seconds of one boot, by a wall clock that drifts."""
    marks = sorted(marks)
    kinds: list[EntryKind] = ["unlocked"]
    kinds += ["paused" if number % 2 else "resumed" for number in range(1, len(marks) - 1)]
    kinds.append("end_requested")
    return [
        entry(
            kind,
            mark + skew_s * number,
            mono_s=1_000 + mark if clocked else None,
            boot="b1" if clocked else None,
        )
        for number, (kind, mark) in enumerate(zip(kinds, marks, strict=True))
    ]


def test_every_state_is_reached_and_every_rule_is_of_known_words() -> None:
    reached = {"authorising", *RULES.values()}
    assert reached == set(STATES)
    assert {state for state, _ in RULES} | FINAL == set(STATES)
    assert {step for _, step in RULES} == set(STEPS)
    assert not {state for state, _ in RULES} & FINAL


@pytest.mark.parametrize("state", STATES)
def test_whatever_is_not_written_does_not_happen(state: model.State) -> None:
    for step in STEPS:
        assert model.after(state, step) == RULES.get((state, step))


@given(start=st.sampled_from(STATES), steps=st.lists(st.sampled_from(STEPS), max_size=30))
def test_no_order_of_steps_leaves_what_is_final(
    start: model.State, steps: list[model.Step]
) -> None:
    state, over = start, start in FINAL
    for step in steps:
        state = model.after(state, step) or state
        assert not over or state in FINAL
        over = state in FINAL


def test_a_ride_is_measured_by_the_monotonic_clock() -> None:
    timeline = [
        entry("unlocked", 0, mono_s=50.0, boot="b1"),
        entry("end_requested", 4_000, mono_s=350.1, boot="b1"),
    ]
    used = times(timeline)
    assert (round(used.ride_s, 3), used.basis) == (300.1, "monotonic")


def test_without_monotonic_times_it_is_measured_by_the_wall() -> None:
    used = times([entry("unlocked", 0), entry("end_requested", 300)])
    assert (used.ride_s, used.basis) == (300, "wall")


def test_across_a_reboot_the_shorter_reading_counts() -> None:
    timeline = [
        entry("unlocked", 0, mono_s=50.0, boot="b1"),
        entry("paused", 100, mono_s=140.0, boot="b1"),
        entry("resumed", 200, mono_s=20.0, boot="b2"),
        entry("end_requested", 300, mono_s=110.0, boot="b2"),
    ]
    used = times(timeline)
    assert (used.ride_s, used.basis) == (90 + 100 + 90, "rebooted")


def test_an_end_that_our_clock_saw_is_put_on_the_clock_of_the_lock_behind_it() -> None:
    """The wall clock of the edge was set by 40 s in between: the ride was 300 s all the same."""
    timeline = [
        entry("unlocked", -40, mono_s=50.0, boot="b1"),
        entry("end_requested", 300),
        entry("locked", 302.5, mono_s=352.5, boot="b1"),
        entry("accepted", 310),
    ]
    used = times(timeline)
    assert (used.ride_s, used.basis) == (300, "monotonic")


def test_the_end_is_never_put_later_than_the_lock() -> None:
    timeline = [
        entry("unlocked", 0, mono_s=50.0, boot="b1"),
        entry("end_requested", 300),
        entry("locked", 299.5, mono_s=350.5, boot="b1"),
    ]
    assert times(timeline).ride_s == 300.5


def test_a_lock_after_the_ride_was_charged_changes_nothing() -> None:
    charged = [
        entry("unlocked", -40, mono_s=50.0, boot="b1"),
        entry("end_requested", 300),
        entry("accepted", 301),
        entry("charged", 316),
    ]
    later = [*charged, entry("locked", 400, mono_s=450.0, boot="b1")]
    assert times(charged) == times(later)
    assert (times(charged).ride_s, times(charged).basis) == (340, "wall")


def test_a_lock_of_another_run_tells_of_a_reboot() -> None:
    timeline = [
        entry("unlocked", 0, mono_s=50.0, boot="b1"),
        entry("paused", 100, mono_s=140.0, boot="b1"),
        entry("resumed", 200, mono_s=20.0, boot="b2"),
        entry("end_requested", 300),
        entry("locked", 305, mono_s=115.0, boot="b2"),
    ]
    used = times(timeline)
    assert (used.ride_s, used.basis) == (90 + 100 + 90, "rebooted")


def test_a_running_ride_is_measured_until_now() -> None:
    used = times([entry("unlocked", 0)], NOON + timedelta(seconds=90))
    assert used.ride_s == 90
    assert times([entry("authorised", 0)], NOON).ride_s == 0


def test_an_outage_inside_a_pause_is_not_taken_off_twice() -> None:
    timeline = [
        entry("unlocked", 0),
        entry("paused", 100),
        entry("outage_began", 150),
        entry("resumed", 200),
        entry("outage_ended", 250),
        entry("end_requested", 400),
    ]
    used = times(timeline)
    assert (used.ride_s, used.pause_s, used.outage_s) == (400, 100, 50)


@given(marks=CLOCKED, skew_s=st.floats(0, 60), seed=st.integers())
def test_neither_a_drifting_wall_clock_nor_the_order_of_arrival_changes_the_usage(
    marks: list[float], skew_s: float, seed: int
) -> None:
    shuffled = a_ride(marks, skew_s=skew_s + 0.001)
    expected = times(a_ride(marks, skew_s=0.001))
    random.Random(seed).shuffle(shuffled)
    used = times(shuffled)
    assert used.ride_s == pytest.approx(expected.ride_s)
    assert used.pause_s == pytest.approx(expected.pause_s)


@given(marks=CLOCKED, clocked=st.booleans())
def test_pauses_and_outages_never_outlast_the_ride(marks: list[float], clocked: bool) -> None:
    used = times(a_ride(marks, clocked=clocked))
    assert used.ride_s == pytest.approx(max(marks) - min(marks), abs=1e-3)
    assert 0 <= used.pause_s <= used.ride_s + 1e-6
    assert used.outage_s == 0


@given(lat=st.floats(-80, 80), lon=st.floats(-179, 179), north_m=st.floats(0, 1_000))
def test_distance_is_metres_on_the_ground(lat: float, lon: float, north_m: float) -> None:
    there = Place(lat + north_m / 111_194.9, lon)
    assert model.distance_m(Place(lat, lon), there) == pytest.approx(north_m, abs=0.5)
