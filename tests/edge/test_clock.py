"""The offset between the vehicle's clock and the cloud's."""

from edge.clock import ClockOffset, ManualClock


def learned(ahead_s: float, *, took_s: float = 0.2) -> tuple[ClockOffset, ManualClock]:
    """A device whose cloud is `ahead_s` ahead, after one answered hello."""
    clock = ManualClock()
    offset = ClockOffset(clock)
    asked_at_s = clock.mono_s()
    clock.advance(took_s / 2)
    cloud_ms = clock.wall_ms() + round(ahead_s * 1000)
    clock.advance(took_s / 2)
    offset.learn(cloud_ms, asked_at_s)
    return offset, clock


def test_before_an_answer_nothing_is_corrected() -> None:
    assert ClockOffset(ManualClock())() == 0


def test_half_the_round_trip_is_taken_off() -> None:
    offset, _ = learned(60.0, took_s=3.0)
    assert offset() == 60_000


def test_a_clock_that_is_nearly_right_is_left_alone() -> None:
    assert learned(1.9)[0]() == 0
    assert learned(-1.9)[0]() == 0
    assert learned(-2.5)[0]() == -2_500


def test_an_answer_that_took_too_long_teaches_nothing() -> None:
    assert learned(60.0, took_s=6.0)[0]() == 0


def test_the_offset_stays_right_when_the_wall_clock_is_corrected() -> None:
    offset, clock = learned(3600.0)
    clock.jump(3600.0)
    assert offset() == 0
    clock.jump(-10.0)
    assert offset() == 10_000
