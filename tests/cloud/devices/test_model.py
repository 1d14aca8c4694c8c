"""The range rules, checked against a set of seqs."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.devices.model import (
    MAX_HOLES,
    Progress,
    ToldClock,
    Verdict,
    add,
    classify,
    correct_times,
    is_connected,
    raise_floor,
)
from cloud.devices.store import format_ranges, parse_ranges
from protocol.segment import Header, Lane

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
DAY_MS = 86_400_000

spans = st.tuples(st.integers(1, 60), st.integers(1, 12)).map(lambda t: (t[0], t[0] + t[1] - 1))


def seqs(progress: Progress) -> set[int]:
    return {seq for first, last in progress.ranges for seq in range(first, last + 1)}


@given(st.lists(spans, max_size=20))
def test_adding_is_a_union_of_sets(taken: list[tuple[int, int]]) -> None:
    progress, model = Progress(), set[int]()
    for first, last in taken:
        progress = add(progress, first, last)
        model |= set(range(first, last + 1))
        assert seqs(progress) == model


@given(st.lists(spans, max_size=20))
def test_ranges_are_ascending_apart_and_beyond_the_watermark(taken: list[tuple[int, int]]) -> None:
    progress = Progress()
    for first, last in taken:
        progress = add(progress, first, last)
    ends = [progress.through_seq, *(seq for pair in progress.have for seq in pair)]
    assert all(a <= b for a, b in progress.have)
    assert all(ends[i] + 1 < ends[i + 1] for i in range(0, len(ends) - 1, 2))


@given(st.lists(spans, max_size=12), spans)
def test_a_segment_is_new_a_repeat_or_an_overlap_as_its_seqs_say(
    taken: list[tuple[int, int]], span: tuple[int, int]
) -> None:
    progress = Progress()
    for first, last in taken:
        progress = add(progress, first, last)
    wanted = set(range(span[0], span[1] + 1))
    common = wanted & seqs(progress)
    expected = (
        Verdict.NEW if not common else Verdict.REPEAT if common == wanted else Verdict.OVERLAP
    )
    assert classify(progress, *span) is expected


@given(st.lists(spans, max_size=12), st.integers(1, 80))
def test_a_raised_floor_leaves_as_gaps_exactly_what_was_never_committed(
    taken: list[tuple[int, int]], floor: int
) -> None:
    progress = Progress()
    for first, last in taken:
        progress = add(progress, first, last)
    before = seqs(progress)
    raised, gaps = raise_floor(progress, floor)
    missing = {seq for first, last in gaps for seq in range(first, last + 1)}
    assert missing == set(range(1, floor)) - before
    assert seqs(raised) == before | missing
    assert raise_floor(raised, floor) == (raised, ())


def test_one_hole_too_many_waits_for_a_resend() -> None:
    have = tuple((2 * n, 2 * n) for n in range(1, MAX_HOLES + 1))
    full = Progress(0, have)
    assert classify(full, 10_000, 10_000) is Verdict.SCATTERED
    assert classify(full, 1, 1) is Verdict.NEW


@given(st.lists(spans, max_size=8))
def test_stored_ranges_read_as_they_were_written(taken: list[tuple[int, int]]) -> None:
    progress = Progress()
    for first, last in taken:
        progress = add(progress, first + 1, last + 1)
    assert parse_ranges(format_ranges(progress.have)) == progress.have


@pytest.mark.parametrize(
    ("device_ms", "offset_ms", "true_ms", "replaced"),
    [
        (NOW_MS, 0, NOW_MS, 0),
        (NOW_MS - 5_000, 5_000, NOW_MS, 0),
        (0, 0, NOW_MS, 1),
        (NOW_MS + DAY_MS, 0, NOW_MS + DAY_MS, 0),
        (NOW_MS + DAY_MS + 1, 0, NOW_MS, 1),
        (NOW_MS + 40 * DAY_MS, -40 * DAY_MS, NOW_MS, 0),
    ],
)
def test_times_are_corrected_and_impossible_ones_replaced(
    device_ms: int, offset_ms: int, true_ms: int, replaced: int
) -> None:
    assert correct_times([device_ms], offset_ms, NOW) == ([true_ms], replaced)


def test_only_impossible_times_of_a_segment_are_replaced() -> None:
    assert correct_times([5, NOW_MS - 1], 0, NOW) == ([NOW_MS, NOW_MS - 1], 1)


def test_a_device_is_connected_for_ninety_seconds_after_it_was_heard() -> None:
    heard = NOW - timedelta(seconds=90)
    assert is_connected(told=True, last_heard_at=heard, now=NOW)
    assert not is_connected(told=True, last_heard_at=heard, now=NOW + timedelta(milliseconds=1))
    assert not is_connected(told=False, last_heard_at=NOW, now=NOW)


BOOT = 7
AHEAD_MS = 6 * 3_600_000


def header(
    first_seq: int = 1, *, boot_id: int = BOOT, offset_ms: int = 0, t0_ms: int = 0
) -> Header:
    return Header(Lane.SIGNAL, 1, first_seq, 1, t0_ms, 1, boot_id, offset_ms, 0, None)


def test_what_was_written_before_the_hello_is_corrected_by_it() -> None:
    clock = ToldClock().hear(BOOT, NOW_MS + AHEAD_MS, NOW_MS, 40)
    assert clock.offset_of(header(40)) == -AHEAD_MS
    assert clock.offset_of(header(40, offset_ms=5)) == 5
    assert clock.offset_of(header(40, boot_id=8)) == 0


def test_what_is_written_on_the_same_clock_until_the_answer_comes_is_corrected_too() -> None:
    clock = ToldClock().hear(BOOT, NOW_MS + AHEAD_MS, NOW_MS, 40)
    assert clock.offset_of(header(41, t0_ms=NOW_MS + AHEAD_MS + 500)) == -AHEAD_MS
    assert clock.offset_of(header(41, t0_ms=NOW_MS)) == 0
    assert clock.offset_of(header(41, t0_ms=NOW_MS + 2 * AHEAD_MS)) == 0


def test_a_clock_that_is_nearly_right_is_left_alone() -> None:
    assert ToldClock().hear(BOOT, NOW_MS - 1_999, NOW_MS, 9).offset_of(header()) == 0
    assert ToldClock().hear(BOOT, NOW_MS - 2_000, NOW_MS, 9).offset_of(header()) == 2_000


def test_a_clock_put_right_in_mid_run_does_not_unsay_the_offset_of_its_backlog() -> None:
    wrong = ToldClock().hear(BOOT, NOW_MS - 400 * DAY_MS, NOW_MS, 40)
    later = wrong.hear(BOOT, NOW_MS + 60_000, NOW_MS + 60_000, 50)
    assert later.offset_of(header(40)) == 400 * DAY_MS
    assert later.offset_of(header(50, t0_ms=NOW_MS + 30_000)) == 0
    assert later.hear(BOOT + 1, NOW_MS, NOW_MS, 60).offset_of(header(40)) == 0


def test_a_hello_that_was_held_up_does_not_make_a_right_clock_wrong() -> None:
    right = ToldClock().hear(BOOT, NOW_MS - 100, NOW_MS, 40)
    assert right.hear(BOOT, NOW_MS, NOW_MS + 9_000, 50).offset_of(header(45)) == 0
    held_up = ToldClock().hear(BOOT, NOW_MS - 9_000, NOW_MS, 40)
    assert held_up.hear(BOOT, NOW_MS + 1_000, NOW_MS + 1_050, 50).offset_of(header(45)) == 0
