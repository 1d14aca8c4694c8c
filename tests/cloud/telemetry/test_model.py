"""Minute sums, last state and buckets, checked against the plain way of computing them."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from cloud.telemetry.model import MINUTE_MS, State, Sums, add, bucket_ms, by_minute, merge, newest
from tests.cloud.sealed import NOON_MS

Block = tuple[list[int], dict[int, list[int | None]]]


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Return times, sometimes running backwards, and columns with holes."""
    steps = draw(st.lists(st.integers(-40_000, 90_000), min_size=1, max_size=30))
    times = [NOON_MS + sum(steps[: index + 1]) for index in range(len(steps))]
    values = st.one_of(st.none(), st.integers(-5_000, 5_000))
    column = st.lists(values, min_size=len(times), max_size=len(times))
    return times, draw(st.dictionaries(st.sampled_from([1, 2, 3, 40_000]), column, min_size=1))


@given(blocks())
def test_minute_sums_equal_those_of_the_single_values(block: Block) -> None:
    times, columns = block
    found: dict[tuple[int, int], Sums] = {}
    for minute, signal_id, part in by_minute(times, columns):
        known = found.get((minute, signal_id))
        found[minute, signal_id] = part if known is None else add(known, part)
    plain: dict[tuple[int, int], list[int]] = defaultdict(list)
    for signal_id in columns.keys() & {1, 2, 3}:
        for time, value in zip(times, columns[signal_id], strict=True):
            if value is not None:
                plain[time // MINUTE_MS * MINUTE_MS, signal_id].append(value)
    assert found == {at: (len(v), sum(v), min(v), max(v)) for at, v in plain.items()}


@given(blocks())
def test_the_newest_value_is_the_one_with_the_latest_time(block: Block) -> None:
    times, columns = block
    state = newest(times, columns)
    for signal_id in (1, 2, 3):
        known = [
            (time, index, value)
            for index, (time, value) in enumerate(
                zip(times, columns.get(signal_id, [None] * len(times)), strict=True)
            )
            if value is not None
        ]
        if known:
            time, _, value = max(known)
            assert state[signal_id] == (value, time)
        else:
            assert signal_id not in state


@given(st.lists(blocks(), max_size=6))
def test_the_order_of_arrival_does_not_matter_to_times_of_the_last_state(
    taken: list[Block],
) -> None:
    forwards: State = {}
    backwards: State = {}
    for block in taken:
        merge(forwards, newest(*block))
    for block in reversed(taken):
        merge(backwards, newest(*block))
    assert {i: at for i, (_, at) in forwards.items()} == {i: at for i, (_, at) in backwards.items()}


def test_older_data_never_moves_the_last_state_back() -> None:
    state: State = {1: (100, NOON_MS)}
    assert not merge(state, {1: (99, NOON_MS - 1)})
    assert state == {1: (100, NOON_MS)}
    assert merge(state, {1: (101, NOON_MS + 1)})
    assert state == {1: (101, NOON_MS + 1)}


@given(st.integers(1, 10**11), st.integers(1, 5_000))
def test_buckets_are_few_and_whole_minutes_beyond_two_hours(span_ms: int, points: int) -> None:
    width = bucket_ms(NOON_MS, NOON_MS + span_ms, points)
    assert -(-span_ms // width) <= points
    if width >= MINUTE_MS or span_ms > 120 * MINUTE_MS:
        assert width % MINUTE_MS == 0
