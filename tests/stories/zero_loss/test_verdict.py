"""The story's judge, judged: each way to break the promise is seen, and a kept one is not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.stories.zero_loss.verdict import (
    CYCLES,
    MINUTE_MS,
    REMAINING,
    Evidence,
    Key,
    LaneEnd,
    MinuteKey,
    Part,
    Stored,
    judge,
    together,
)

EPOCH = "00000000000000aa"
NOON_MS = 1_782_900_000_000


def a_reading(seq: int, sample: int | None = None) -> Stored:
    number = seq - 1 if sample is None else sample
    values = {CYCLES: number >> 16, REMAINING: number & 0xFFFF}
    return Stored(Key("loss-001", "signal", EPOCH, seq), NOON_MS + 20_000 * seq, values)


def a_fact(seq: int) -> Stored:
    return Stored(Key("loss-001", "fact", EPOCH, seq), NOON_MS, {})


def minutes_of(records: Sequence[Stored]) -> dict[MinuteKey, Part]:
    found: dict[MinuteKey, Part] = {}
    for record in records:
        for signal, raw in record.values.items():
            key = MinuteKey(record.key.device, record.time_ms // MINUTE_MS, signal)
            part = Part(1, raw, raw, raw)
            found[key] = found[key] + part if key in found else part
    return found


READINGS = [a_reading(seq) for seq in range(1, 10)]
FACTS = [a_fact(1), a_fact(2)]
LEDGER = [
    LaneEnd("loss-001", "fact", EPOCH, 2, (), 0),
    LaneEnd("loss-001", "signal", EPOCH, 9, (), 0),
]
ACCEPTED = {record.key for record in (*READINGS, *FACTS)}
KEPT = Evidence([*READINGS, *FACTS], READINGS, minutes_of(READINGS), LEDGER)


def with_readings(readings: Sequence[Stored]) -> Evidence:
    """Evidence that agrees with itself about other readings; the ledger stays."""
    whole = list(readings)
    unique = list({record.key: record for record in whole}.values())
    return Evidence([*whole, *FACTS], whole, minutes_of(unique), LEDGER)


def test_a_kept_promise_has_nothing_broken() -> None:
    verdict = judge(ACCEPTED, KEPT)
    assert (verdict.broken, verdict.accepted, verdict.committed) == ({}, 11, 11)


def test_a_reading_that_is_not_there_is_lost() -> None:
    verdict = judge(ACCEPTED, with_readings(READINGS[:4] + READINGS[5:]))
    assert verdict.lost == [READINGS[4].key]
    assert (verdict.broken, verdict.never_accepted) == ({"lost": 1}, 0)


def test_a_lost_fact_is_lost_too() -> None:
    verdict = judge(ACCEPTED, replace(KEPT, records=[*READINGS, FACTS[0]]))
    assert verdict.broken == {"lost": 1}


def test_a_reading_in_two_rows_is_doubled() -> None:
    verdict = judge(ACCEPTED, with_readings([*READINGS, READINGS[3]]))
    assert verdict.doubled == [READINGS[3].key]
    assert verdict.broken == {"doubled": 1}


def test_a_reading_that_nobody_accepted_is_unexpected() -> None:
    verdict = judge(ACCEPTED - {READINGS[8].key}, KEPT)
    assert verdict.unexpected == [READINGS[8].key]


@pytest.mark.parametrize("sample", [2, 1])
def test_a_sample_that_does_not_grow_with_its_seq_is_out_of_order(sample: int) -> None:
    verdict = judge(ACCEPTED, with_readings([*READINGS[:3], a_reading(4, sample), *READINGS[4:]]))
    assert verdict.out_of_order == [READINGS[3].key]


def test_a_reading_without_a_sample_number_is_out_of_order() -> None:
    empty = READINGS[3]._replace(values={})
    verdict = judge(ACCEPTED, with_readings([*READINGS[:3], empty, *READINGS[4:]]))
    assert verdict.out_of_order == [READINGS[3].key]


def test_a_sample_number_is_spread_over_cycles_and_capacity() -> None:
    assert a_reading(1, 70_000).sample == 70_000
    assert judge(ACCEPTED, with_readings([*READINGS[:8], a_reading(9, 65_536)])).broken == {}


def test_samples_that_were_never_accepted_are_counted_and_forgiven() -> None:
    verdict = judge(ACCEPTED, with_readings([*READINGS[:8], a_reading(9, 20)]))
    assert (verdict.broken, verdict.never_accepted) == ({}, 12)


@pytest.mark.parametrize("change", [Part(1, 0, 0, 0), Part(0, 1, 0, 0), Part(0, 0, -1, 0)])
def test_a_minute_that_differs_in_count_sum_or_low_is_wrong(change: Part) -> None:
    key = max(KEPT.minutes)
    minute = KEPT.minutes[key]
    other = Part(*(one + more for one, more in zip(minute, change, strict=True)))
    verdict = judge(ACCEPTED, replace(KEPT, minutes={**KEPT.minutes, key: other}))
    assert verdict.broken == {"wrong minutes": 1}


def test_a_minute_that_is_missing_or_made_up_is_wrong() -> None:
    first, *others = KEPT.minutes
    missing = {key: KEPT.minutes[key] for key in others}
    assert judge(ACCEPTED, replace(KEPT, minutes=missing)).wrong_minutes == [first]
    made_up = MinuteKey("loss-001", 7, CYCLES)
    more = {**KEPT.minutes, made_up: Part(1, 1, 1, 1)}
    assert judge(ACCEPTED, replace(KEPT, minutes=more)).wrong_minutes == [made_up]


@pytest.mark.parametrize(
    "exported",
    [READINGS[1:], [*READINGS, READINGS[0]], [READINGS[0]._replace(time_ms=1), *READINGS[1:]]],
)
def test_an_export_that_does_not_print_the_rows_is_wrong(exported: list[Stored]) -> None:
    assert judge(ACCEPTED, replace(KEPT, exported=exported)).wrong_exports == [READINGS[0].key]


@pytest.mark.parametrize(
    "row",
    [
        LaneEnd("loss-001", "signal", EPOCH, 8, (), 0),
        LaneEnd("loss-001", "signal", EPOCH, 9, ((11, 12),), 0),
        LaneEnd("loss-001", "signal", EPOCH, 9, (), 3),
    ],
    ids=["behind", "with a hole", "with a gap"],
)
def test_a_ledger_row_that_does_not_end_whole_at_the_last_record_is_wrong(row: LaneEnd) -> None:
    assert judge(ACCEPTED, replace(KEPT, ledger=[LEDGER[0], row])).wrong_lanes == [row]


def test_a_lane_without_its_ledger_row_is_wrong() -> None:
    assert judge(ACCEPTED, replace(KEPT, ledger=LEDGER[:1])).broken == {"wrong ledger rows": 1}


def test_a_quarantined_segment_breaks_the_promise() -> None:
    assert judge(ACCEPTED, replace(KEPT, quarantined=1)).broken == {"quarantined": 1}


def test_verdicts_on_several_devices_are_one() -> None:
    lost = judge(ACCEPTED, with_readings(READINGS[:4] + READINGS[5:]))
    odd = judge(ACCEPTED, replace(KEPT, quarantined=1))
    both = together([lost, odd])
    assert both.broken == {"lost": 1, "quarantined": 1}
    assert (both.accepted, both.committed) == (22, 21)
