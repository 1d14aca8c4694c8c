"""How often the agent polls, records, fsyncs and seals."""

import pytest

from edge.rules.pace import Commits, Pace, Schedule, pace_of
from edge.rules.state import VehicleState
from edge.settings import Intervals


@pytest.mark.parametrize(
    ("state", "pace"),
    [
        (VehicleState.RIDING, Pace(1.0, 0.0, 1.0, 10.0)),
        (VehicleState.CHARGING, Pace(10.0, 0.0, 30.0, 60.0)),
        (VehicleState.PARKED, Pace(10.0, 60.0, 30.0, 60.0)),
        (VehicleState.LOW_POWER, Pace(60.0, 1_800.0, 30.0, 60.0)),
        (VehicleState.DEEP_SLEEP, Pace(1_800.0, 86_400.0, 30.0, 60.0)),
    ],
)
def test_each_state_has_the_pace_of_the_contract(state: VehicleState, pace: Pace) -> None:
    assert pace_of(Intervals(), state) == pace


def test_fixed_intervals_hold_in_every_state_and_record_every_poll() -> None:
    told = Intervals(poll_s=1.0, flush_s=1.0, seal_s=1.0)
    assert {pace_of(told, state) for state in VehicleState} == {Pace(1.0, 0.0, 1.0, 1.0)}


def test_what_the_cloud_wishes_wins_over_the_configuration() -> None:
    fixed = Intervals(poll_s=1.0, flush_s=1.0, seal_s=1.0)
    wished = {"poll_parked_s": 20.0, "journal_parked_s": 40.0, "seal_riding_s": 5.0}
    assert pace_of(fixed, VehicleState.PARKED, wished) == Pace(20.0, 40.0, 1.0, 1.0)
    assert pace_of(fixed, VehicleState.RIDING, wished) == Pace(1.0, 0.0, 1.0, 5.0)
    assert pace_of(Intervals(), VehicleState.CHARGING, wished) == Pace(10.0, 0.0, 30.0, 60.0)
    assert pace_of(fixed, VehicleState.LOW_POWER, wished) == Pace(1.0, 0.0, 1.0, 1.0)
    rarely = {"poll_low_power_s": 300.0, "journal_low_power_s": 3_600.0}
    assert pace_of(fixed, VehicleState.LOW_POWER, rarely) == Pace(300.0, 3_600.0, 1.0, 1.0)


def test_while_somebody_watches_nothing_takes_longer_than_a_second() -> None:
    assert {pace_of(Intervals(), state, live=True) for state in VehicleState} == {
        Pace(1.0, 0.0, 1.0, 1.0)
    }
    quick = {"poll_riding_s": 0.2}
    assert pace_of(Intervals(), VehicleState.RIDING, quick, live=True).poll_s == 0.2


def commits(pace: Pace, seconds: int, *, every_s: int) -> list[tuple[int, str]]:
    """What is due when, with a reading every `every_s`, after the first segment."""
    due = Commits()
    found: list[tuple[int, str]] = []
    due.recorded(-100.0)
    due.due(pace, -100.0)
    for now_s in range(0, seconds, round(pace.poll_s)):
        if now_s % every_s == 0:
            due.recorded(now_s)
        what = due.due(pace, now_s)
        if what:
            found.append((now_s, what))
    return found


def test_the_first_reading_is_sealed_at_once() -> None:
    due = Commits()
    due.recorded(0.0)
    assert due.due(Pace(10.0, 60.0, 30.0, 60.0), 0.0) == "seal"


def test_nothing_recorded_means_nothing_to_do() -> None:
    assert Commits().due(Pace(1.0, 0.0, 1.0, 1.0), 100.0) is None


def test_riding_flushes_every_second_and_seals_every_ten() -> None:
    found = commits(Pace(1.0, 0.0, 1.0, 10.0), 20, every_s=1)
    assert [now_s for now_s, what in found if what == "seal"] == [9, 19]
    assert [now_s for now_s, _ in found] == list(range(20))


def test_someone_watching_gets_a_segment_every_second() -> None:
    assert commits(Pace(1.0, 0.0, 1.0, 1.0), 5, every_s=1) == [(n, "seal") for n in range(5)]


def test_a_parked_reading_is_durable_in_half_a_minute_and_sealed_in_a_minute() -> None:
    found = commits(Pace(10.0, 60.0, 30.0, 60.0), 120, every_s=60)
    assert found == [(20, "flush"), (50, "seal"), (80, "flush"), (110, "seal")]


def test_a_late_poll_does_not_shift_the_later_ones() -> None:
    schedule = Schedule(100.0)
    assert schedule.after(1.0, 100.0) == 1.0
    assert schedule.after(1.0, 101.4) == pytest.approx(0.6)
    assert schedule.after(1.0, 102.0) == 1.0


def test_polls_that_were_slept_through_are_not_made_up_for() -> None:
    schedule = Schedule(100.0)
    assert schedule.after(1.0, 500.0) == 0.0
    assert schedule.after(1.0, 500.0) == 1.0
