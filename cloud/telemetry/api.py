"""The door of the context telemetry."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cloud.devices.api import correct_times
from cloud.kit.db import Db
from cloud.telemetry import model, store
from cloud.telemetry.model import Bucket, LastState, Latest, State
from cloud.telemetry.service import drop_expired, keep, merge_minutes, prepare_partitions, project
from protocol.segment import Fact, Lane, Segment, lane_name, open_segment
from protocol.signals import BY_ID, BY_KEY, BY_NAME, Signal

__all__ = [
    "Bucket",
    "LastState",
    "Latest",
    "Reading",
    "changed_since",
    "drop_expired",
    "keep",
    "last",
    "merge_minutes",
    "prepare_partitions",
    "project",
    "range_of",
    "readings",
    "signal_of",
]

MAX_POINTS = 5_000
_FUTURE = timedelta(days=1)
_FIRST_YEAR, _LAST_YEAR = 2000, 2200


@dataclass(frozen=True, slots=True)
class Reading:
    """One record as a vehicle journalled it.

    Attributes:
        lane: "signal", or "fact" for something that happened.
        epoch: 16 hex digits.
        seq: number within lane and epoch.
        at: corrected time.
        raws: wire value by signal id; None where the reading had none.
        fact: the fact of a record of the fact lane.
    """

    lane: str
    epoch: str
    seq: int
    at: datetime
    raws: Mapping[int, int | None]
    fact: Fact | None = None


def signal_of(name: str) -> Signal | None:
    """Return the signal with this VSS name or short key."""
    return BY_NAME.get(name) or BY_KEY.get(name)


def last(db: Db, device_ids: Sequence[str] | None = None) -> dict[str, LastState]:
    """Return the last state of the devices, or of all, that ever reported a signal."""
    return {row[0]: _last_state(*row) for row in store.states(db, device_ids=device_ids)}


def changed_since(db: Db, since: datetime) -> dict[str, LastState]:
    """Return the last states that were changed at `since` or later, by the cloud's clock."""
    return {row[0]: _last_state(*row) for row in store.states(db, since=since)}


def range_of(
    db: Db, device_id: str, signal: Signal, since: datetime, until: datetime, points: int
) -> list[Bucket]:
    """Return a signal in [since, until) in at most about `points` buckets, without the empty ones.

    Buckets shorter than a minute come from the readings themselves and are offered for spans of
    up to two hours; others from minute sums, so they begin at whole minutes.

    Raises:
        ValueError: a span or number of points that cannot be answered.
    """
    if since.year < _FIRST_YEAR or until.year > _LAST_YEAR:
        raise ValueError(f"ask for times in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    if until <= since:
        raise ValueError("`to` must be later than `from`")
    if not 1 <= points <= MAX_POINTS:
        raise ValueError(f"`points` must be 1 to {MAX_POINTS}")
    start, stop = _ms(since), _ms(until)
    width = model.bucket_ms(start, stop, points)
    if width < model.MINUTE_MS:
        found = _raw_buckets(db, device_id, signal.id, range(start, stop, width))
    else:
        start = start // model.MINUTE_MS * model.MINUTE_MS
        found = store.minute_buckets(
            db, device_id, signal.id, _moment(start), until, timedelta(milliseconds=width)
        )
    return [_bucket(signal, start + number * width, sums) for number, sums in found]


def readings(
    db: Db,
    device_id: str,
    since: datetime | None = None,
    until: datetime | None = None,
    on_quarantined: Callable[[str, int], None] = lambda _reason, _records: None,
) -> Generator[Reading, None, None]:
    """Stream a device's records with corrected time in [since, until), by epoch, lane and seq.

    Quarantined segments hold no readings: each is told to `on_quarantined` with its reason and
    its number of records. The stream holds one transaction open; one segment is in memory.
    """
    for lane, epoch, first_seq, row in store.segments(db, device_id, since, until):
        if row.quarantine is not None:
            on_quarantined(row.quarantine, row.n)
            continue
        name = lane_name(Lane(lane))
        records = _records(open_segment(row.payload), row)
        for seq, (at, raws, fact) in enumerate(records, start=first_seq):
            if (since is None or at >= since) and (until is None or at < until):
                yield Reading(name, epoch, seq, at, raws, fact)


Record = tuple[datetime, Mapping[int, int | None], Fact | None]


def _records(segment: Segment, row: store.SegmentRow) -> Iterator[Record]:
    if segment.signals is not None:
        times, _ = correct_times(segment.signals.times_ms, row.offset_ms, row.received_at)
        columns = segment.signals.columns
        for index, time in enumerate(times):
            yield _moment(time), {i: column[index] for i, column in columns.items()}, None
        return
    facts = segment.facts or []
    device_times = [segment.header.t0_ms + fact.dt_ms for fact in facts]
    times, _ = correct_times(device_times, row.offset_ms, row.received_at)
    for time, fact in zip(times, facts, strict=True):
        yield _moment(time), {}, fact


def _raw_buckets(
    db: Db, device_id: str, signal_id: int, span: range
) -> list[tuple[int, model.Sums]]:
    since, until = _moment(span.start), _moment(span.stop)
    found: dict[int, model.Sums] = {}
    for row in store.signal_segments(db, device_id, since, until, since - _FUTURE):
        segment = open_segment(row.payload)
        if segment.signals is not None:
            times, _ = correct_times(segment.signals.times_ms, row.offset_ms, row.received_at)
            model.into_buckets(segment.signals, times, signal_id, span, found)
    return sorted(found.items())


def _last_state(device_id: str, state: State, changed_at: datetime) -> LastState:
    latest = {
        signal.key: Latest(signal, signal.from_raw(raw), _moment(time_ms))
        for signal_id, (raw, time_ms) in state.items()
        if (signal := BY_ID.get(signal_id)) is not None
    }
    return LastState(device_id, latest, changed_at)


def _bucket(signal: Signal, start_ms: int, sums: model.Sums) -> Bucket:
    count, total, low, high = sums
    return Bucket(
        at=_moment(start_ms),
        mean=total / count / signal.per_unit,
        low=signal.from_raw(low),
        high=signal.from_raw(high),
        count=count,
    )


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
