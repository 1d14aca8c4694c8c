"""What telemetry does in the ingest transaction and by the clock."""

from datetime import UTC, date, datetime, timedelta

from cloud.devices.api import Batch
from cloud.kit.db import Db
from cloud.telemetry import model, store
from cloud.telemetry.model import State, Sums

DAYS_AHEAD = 3
MONTHS_AHEAD = 2
KEEP_SEGMENTS = timedelta(days=90)
KEEP_MINUTES = timedelta(days=800)
OPEN_MINUTES = timedelta(minutes=2)
MERGE_BACK = timedelta(minutes=30)
MERGE_STEP = timedelta(minutes=7)


def keep(db: Db, batch: Batch) -> None:
    """Store every segment of the batch as it came."""
    for day in {segment.received_at.astimezone(UTC).date() for segment in batch.segments}:
        if not store.has_segment_day(db, day):
            _make_day(db, day)
    store.copy_segments(db, batch.segments)


def project(db: Db, batch: Batch) -> None:
    """Append the minute sums of the batch's signals and move each device's last state on."""
    minutes: dict[tuple[str, int], dict[int, Sums]] = {}
    newest: dict[str, State] = {}
    scopes = {}
    for received in batch.segments:
        if received.segment is None or received.segment.signals is None:
            continue
        device_id, columns = received.device_id, received.segment.signals.columns
        scopes[device_id] = received.scope
        for minute, signal_id, part in model.by_minute(received.times_ms, columns):
            found = minutes.setdefault((device_id, minute), {})
            known = found.get(signal_id)
            found[signal_id] = part if known is None else model.add(known, part)
        model.merge(newest.setdefault(device_id, {}), model.newest(received.times_ms, columns))
    if minutes:
        store.copy_minutes(db, minutes, scopes)
        states = store.lock_states(db, scopes, batch.at)
        changed = {i: state for i, state in states.items() if model.merge(state, newest[i])}
        store.save_states(db, changed, batch.at)


def prepare_partitions(db: Db, now: datetime) -> None:
    """Make the partitions that the coming days need. Safe to repeat, from several processes."""
    today = now.astimezone(UTC).date()
    for ahead in range(DAYS_AHEAD + 1):
        _make_day(db, today + timedelta(days=ahead))
    month = _first_of_month(today) - timedelta(days=1)
    for _ in range(MONTHS_AHEAD + 2):
        start = _first_of_month(month)
        month = start + timedelta(days=31)
        end = _first_of_month(month)
        store.make_partition(db, "minute_part", f"minute_part_{start:%Y%m}", start, end)


def drop_expired(db: Db, now: datetime) -> list[str]:
    """Drop what is older than we keep; return the names of the dropped partitions."""
    last_day = (now - KEEP_SEGMENTS).astimezone(UTC).date()
    last_minute = (now - KEEP_MINUTES).astimezone(UTC)
    expired = [
        name
        for name in store.partitions(db, "segment")
        if name.removeprefix("segment_") < f"{last_day:%Y%m%d}"
    ] + [
        name
        for name in store.partitions(db, "minute_part")
        if name.removeprefix("minute_part_") < f"{last_minute:%Y%m}"
    ]
    for name in expired:
        store.drop_partition(db, name)
    store.delete_old_minutes(db, last_minute)
    return expired


def merge_minutes(db: Db, now: datetime) -> int:
    """Make one row of the parts of each minute that closed lately; sums stay what they were.

    Parts that come later are simply added to that row when read. Returns the rows made.
    """
    merged, until = 0, now - OPEN_MINUTES
    while until > now - MERGE_BACK:
        since = until - MERGE_STEP
        merged += store.merge_minutes(db, since, until)
        until = since
    return merged


def _make_day(db: Db, day: date) -> None:
    store.make_partition(db, "segment", f"segment_{day:%Y%m%d}", day, day + timedelta(days=1))


def _first_of_month(day: date) -> date:
    return day.replace(day=1)
