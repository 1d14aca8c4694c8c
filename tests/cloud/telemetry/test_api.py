"""Last state, ranges, readings and retention on real Postgres."""

from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.kit.db import Db
from cloud.telemetry import api
from cloud.telemetry.store import partitions
from protocol.signals import BY_KEY
from tests.cloud.sealed import DEVICE, EPOCH_HEX, NOON, NOON_MS, facts, signals, spoiled
from tests.cloud.telemetry.conftest import Store

VOLTAGE = BY_KEY["voltage_v"]
MINUTE = timedelta(minutes=1)


def voltages(*values: int | None) -> dict[int, list[int | None]]:
    return {1: list(values)}


def test_the_last_state_is_the_newest_value_of_each_signal(db: Db, store: Store) -> None:
    store(signals(1, 2, columns={1: [3600, 3601], 3: [800, None]}))
    state = api.last(db, [DEVICE])[DEVICE]
    assert (state.latest["voltage_v"].value, state.latest["soc_pct"].value) == (36.01, 80.0)
    assert state.at == NOON - timedelta(seconds=59)
    assert state.latest["soc_pct"].at == NOON - MINUTE


def test_a_late_segment_does_not_move_the_last_state_back(db: Db, store: Store) -> None:
    store(signals(11, 1, start_ms=NOON_MS - 1_000, columns=voltages(3700)))
    store(signals(1, 1, start_ms=NOON_MS - 9_000, columns={1: [3500], 3: [810]}))
    latest = api.last(db)[DEVICE].latest
    assert (latest["voltage_v"].value, latest["soc_pct"].value) == (37.0, 81.0)


def test_changes_are_found_by_the_clouds_clock(db: Db, store: Store) -> None:
    store(signals(1, 1), at=NOON)
    later = NOON + MINUTE
    assert set(api.changed_since(db, NOON)) == {DEVICE}
    assert api.changed_since(db, later) == {}
    store(signals(2, 1, start_ms=NOON_MS + 30_000), at=later)
    assert set(api.changed_since(db, later)) == {DEVICE}


def test_a_short_range_comes_from_the_readings_themselves(db: Db, store: Store) -> None:
    store(signals(1, 4, start_ms=NOON_MS - 4_000, columns=voltages(3600, 3610, None, 3620)))
    since = NOON - timedelta(seconds=4)
    found = api.range_of(db, DEVICE, VOLTAGE, since, NOON, points=2)
    assert found == [
        api.Bucket(since, mean=36.05, low=36.0, high=36.1, count=2),
        api.Bucket(NOON - timedelta(seconds=2), mean=36.2, low=36.2, high=36.2, count=1),
    ]


def test_a_long_range_comes_from_minute_sums(db: Db, store: Store) -> None:
    store(signals(1, 120, start_ms=NOON_MS - 120_000, columns=voltages(*range(3600, 3720))))
    found = api.range_of(db, DEVICE, VOLTAGE, NOON - timedelta(hours=24), NOON, points=1440)
    assert [(b.at, b.count, b.low, b.high) for b in found] == [
        (NOON - 2 * MINUTE, 60, 36.0, 36.59),
        (NOON - MINUTE, 60, 36.6, 37.19),
    ]
    assert found[0].mean == pytest.approx(36.295)


def test_a_range_does_not_hold_what_is_in_quarantine(db: Db, store: Store) -> None:
    store(spoiled(signals(1, 100)))
    assert api.range_of(db, DEVICE, VOLTAGE, NOON - MINUTE, NOON + MINUTE, 100) == []


@pytest.mark.parametrize(
    ("until", "points"), [(NOON, 10), (NOON + MINUTE, 0), (NOON + MINUTE, 9999)]
)
def test_a_range_that_cannot_be_is_refused(db: Db, until: datetime, points: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        api.range_of(db, DEVICE, VOLTAGE, NOON, until, points)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_minute_sums_equal_the_decoded_readings_however_they_came(
    db: Db, store: Store, data: st.DataObject
) -> None:
    with db.transaction(force_rollback=True):
        seq, at_ms = 1, NOON_MS - 600_000
        for _ in range(data.draw(st.integers(1, 4))):
            batch = []
            for _ in range(data.draw(st.integers(1, 4))):
                values = data.draw(
                    st.lists(st.one_of(st.none(), st.integers(0, 9_999)), min_size=1, max_size=20)
                )
                every_ms = data.draw(st.integers(100, 30_000))
                column: dict[int, list[int | None]] = {1: values, 3: [500] * len(values)}
                batch.append(
                    signals(seq, len(values), start_ms=at_ms, every_ms=every_ms, columns=column)
                )
                seq, at_ms = seq + len(values), at_ms + len(values) * every_ms
            store(*data.draw(st.permutations(batch)))
        hour = timedelta(hours=12)
        span = NOON - hour, NOON + hour
        summed = api.range_of(db, DEVICE, VOLTAGE, *span, points=1)
        raws = [raw for r in api.readings(db, DEVICE) if (raw := r.raws.get(1)) is not None]
        if raws:
            assert summed[0].count == len(raws)
            assert summed[0].mean == sum(raws) / len(raws) / 100
            assert (summed[0].low, summed[0].high) == (min(raws) / 100, max(raws) / 100)
        else:
            assert summed == []


def test_merged_minutes_say_the_same_in_fewer_rows(db: Db, store: Store) -> None:
    def rows() -> int:
        return len(db.execute("SELECT FROM telemetry.minute_part").fetchall())

    start_ms = NOON_MS - 600_000
    for index in range(30):
        columns: dict[int, list[int | None]] = {1: [3_600 + index, None], 3: [800, 799 - index]}
        store(signals(2 * index + 1, 2, start_ms=start_ms + index * 5_000, columns=columns))
    span = NOON - timedelta(hours=1), NOON
    before = [api.range_of(db, DEVICE, BY_KEY[key], *span, 60) for key in ("voltage_v", "soc_pct")]
    assert rows() == 30
    assert api.merge_minutes(db, NOON) == 3
    assert rows() == 3
    after = [api.range_of(db, DEVICE, BY_KEY[key], *span, 60) for key in ("voltage_v", "soc_pct")]
    assert after == before
    assert api.merge_minutes(db, NOON) == 0


def test_an_open_minute_is_not_merged_yet(db: Db, store: Store) -> None:
    for seq in (1, 2):
        store(signals(seq, 1, start_ms=NOON_MS - 60_000))
    assert api.merge_minutes(db, NOON) == 0


def test_readings_come_by_epoch_lane_and_seq_with_corrected_times(db: Db, store: Store) -> None:
    store(signals(3, 2, offset_ms=500, start_ms=NOON_MS - 500, columns=voltages(1, None)))
    store(signals(1, 2), facts(1), signals(1, 1, epoch=1))
    found = list(api.readings(db, DEVICE))
    assert [(r.epoch, r.lane, r.seq) for r in found] == [
        (f"{1:016x}", "signal", 1),
        (EPOCH_HEX, "fact", 1),
        *((EPOCH_HEX, "signal", seq) for seq in (1, 2, 3, 4)),
    ]
    assert [(r.at, r.raws) for r in found[-2:]] == [
        (NOON, {1: 1}),
        (NOON + timedelta(seconds=1), {1: None}),
    ]


def test_readings_are_limited_by_corrected_time(db: Db, store: Store) -> None:
    store(signals(1, 10, start_ms=NOON_MS))
    span = NOON + timedelta(seconds=3), NOON + timedelta(seconds=5)
    assert [r.seq for r in api.readings(db, DEVICE, *span)] == [4, 5]


def test_readings_tell_what_they_leave_out(db: Db, store: Store) -> None:
    store(spoiled(signals(1, 100)), signals(101, 1))
    left_out: list[tuple[str, int]] = []
    found = api.readings(db, DEVICE, on_quarantined=lambda *what: left_out.append(what))
    assert [r.seq for r in found] == [101]
    assert left_out == [("compression", 100)]


def test_a_day_nobody_prepared_is_made_when_its_first_segment_comes(db: Db, store: Store) -> None:
    assert "segment_20260701" not in partitions(db, "segment")
    store(signals(1, 1))
    assert "segment_20260701" in partitions(db, "segment")


def test_partitions_are_made_ahead_and_dropped_when_expired(db: Db, store: Store) -> None:
    api.prepare_partitions(db, NOON)
    api.prepare_partitions(db, NOON)
    assert {"segment_20260701", "segment_20260704"} <= set(partitions(db, "segment"))
    assert {"minute_part_202606", "minute_part_202609"} <= set(partitions(db, "minute_part"))
    store(signals(1, 1))
    assert api.drop_expired(db, NOON + timedelta(days=90)) == []
    assert api.drop_expired(db, NOON + timedelta(days=91)) == ["segment_20260701"]
    assert list(api.readings(db, DEVICE)) == []


def test_minutes_long_past_or_ahead_have_a_place_too(db: Db, store: Store) -> None:
    store(signals(1, 1, start_ms=NOON_MS - 3 * 365 * 86_400_000))
    span = NOON - timedelta(days=4 * 365), NOON
    assert [b.count for b in api.range_of(db, DEVICE, VOLTAGE, *span, 10)] == [1]
    api.drop_expired(db, NOON)
    assert api.range_of(db, DEVICE, VOLTAGE, *span, 10) == []
