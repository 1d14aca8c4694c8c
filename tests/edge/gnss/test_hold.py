"""A locked vehicle at rest is reported where it came to rest."""

from edge.gnss import Fix, StaticHold

HERE = (52.52, 13.405)


def fix(second: float, *, north_m: float = 0.0, kmh: float = 0.2) -> Fix:
    latitude_deg, longitude_deg = HERE
    return Fix(latitude_deg + north_m / 111_195, longitude_deg, kmh, 0.9, second, accuracy_m=4.5)


def north_m(found: Fix) -> float:
    return round((found.latitude_deg - HERE[0]) * 111_195, 1)


def test_while_locked_the_wandering_is_held_and_the_time_goes_on() -> None:
    hold = StaticHold()
    seen = [
        hold.see(fix(float(at), north_m=metres), locked=True)
        for at, metres in enumerate((3.0, 14.0, -11.0))
    ]
    assert [north_m(one) for one in seen] == [3.0, 3.0, 3.0]
    assert [one.speed_kmh for one in seen] == [0.0, 0.0, 0.0]
    assert [one.seen_at_s for one in seen] == [0.0, 1.0, 2.0]


def test_unlocked_nothing_is_held_and_the_next_lock_holds_anew() -> None:
    hold = StaticHold()
    hold.see(fix(0.0), locked=True)
    moved = fix(1.0, north_m=12.0)
    assert hold.see(moved, locked=False) is moved
    assert north_m(hold.see(fix(2.0, north_m=11.0), locked=True)) == 11.0


def test_a_locked_vehicle_that_moves_is_reported_where_it_is_and_held_there_when_it_rests() -> None:
    hold = StaticHold()
    hold.see(fix(0.0), locked=True)
    pushed = fix(1.0, north_m=10.0, kmh=5.0)
    assert hold.see(pushed, locked=True) is pushed
    assert north_m(hold.see(fix(2.0, north_m=31.0), locked=True)) == 31.0
    assert north_m(hold.see(fix(3.0, north_m=35.0), locked=True)) == 31.0


def test_a_moment_of_speed_does_not_shift_what_is_held() -> None:
    hold = StaticHold()
    hold.see(fix(0.0), locked=True)
    hold.see(fix(1.0, north_m=8.0, kmh=1.8), locked=True)
    assert north_m(hold.see(fix(2.0, north_m=8.0, kmh=1.7), locked=True)) == 0.0
