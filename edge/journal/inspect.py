"""Looks into a journal file from outside, also while its agent runs. Never writes."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from edge.journal.records import Reading
from protocol.messages import epoch_hex
from protocol.segment import Lane, Segment, SegmentError, lane_name, open_segment

_LANES = """
    SELECT lane.lane, epoch, last_seq, count(n) AS segments, coalesce(sum(n), 0) AS records,
           coalesce(sum(length(body)), 0) AS bytes, min(first_seq) AS first,
           max(first_seq + n - 1) AS last
    FROM lane LEFT JOIN segment ON segment.lane = lane.lane GROUP BY lane.lane ORDER BY lane.lane
"""
_TAIL = """
    SELECT coalesce(sum(n), 0) AS n, min(first_seq) AS first, max(first_seq + n - 1) AS last
    FROM tail
"""
_BATCH = 64
_log = logging.getLogger(__name__)


class JournalUnreadableError(Exception):
    """There is no journal to look into; the text says what is wrong and what to do."""


class LaneStats(msgspec.Struct, frozen=True):
    """What a lane holds that is not acknowledged, its unsealed tail included."""

    lane: str
    epoch: str
    floor_seq: int
    last_seq: int
    unacked_segments: int
    unacked_records: int
    bytes: int


class JournalStats(msgspec.Struct, frozen=True):
    """A journal at a glance. `file_bytes` counts the write-ahead log as well."""

    path: str
    file_bytes: int
    unsealed_readings: int
    lanes: list[LaneStats]


class ExportedReading(msgspec.Struct, frozen=True):
    """One reading that is still in the journal. Time is corrected by the segment's clock offset."""

    epoch: str
    seq: int
    time_ms: int
    values: dict[int, int]


def inspect(path: Path) -> JournalStats:
    """Return the journal's figures. Raises JournalUnreadableError."""
    from sqlite_utils import Database

    with closing(_connect(path)) as connection:
        try:
            db = Database(connection)
            tail = next(iter(db.query(_TAIL)))
            lanes = [_lane_stats(row, tail) for row in db.query(_LANES)]
        except sqlite3.DatabaseError as error:
            raise _unreadable(path, error) from error
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal")]
    return JournalStats(
        path=str(path),
        file_bytes=sum(file.stat().st_size for file in files if file.exists()),
        unsealed_readings=tail["n"],
        lanes=lanes,
    )


def waiting(path: Path) -> int:
    """Return how many records are not acknowledged. Raises JournalUnreadableError."""
    with closing(_connect(path)) as connection:
        try:
            (records,) = connection.execute(
                "SELECT (SELECT coalesce(sum(n), 0) FROM segment)"
                " + (SELECT coalesce(sum(n), 0) FROM tail)"
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise _unreadable(path, error) from error
    return int(records)


def check(path: Path) -> str:
    """Return "ok", or what SQLite finds wrong with the file. Raises JournalUnreadableError."""
    with closing(_connect(path)) as connection:
        try:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
    return str(answer)


def readings(path: Path) -> Iterator[ExportedReading]:
    """Give every reading that is not acknowledged, by seq. Raises JournalUnreadableError."""
    with closing(_connect(path)) as connection:
        try:
            yield from _sealed_readings(connection)
            yield from _tail_readings(connection)
        except sqlite3.DatabaseError as error:
            raise _unreadable(path, error) from error


def _sealed_readings(connection: sqlite3.Connection) -> Iterator[ExportedReading]:
    after = 0
    while True:
        rows = connection.execute(
            "SELECT first_seq, body FROM segment WHERE lane = ? AND first_seq > ? "
            "ORDER BY first_seq LIMIT ?",
            (Lane.SIGNAL, after, _BATCH),
        ).fetchall()
        if not rows:
            return
        for first_seq, body in rows:
            try:
                segment = open_segment(body)
            except SegmentError as error:
                _log.warning("the segment from seq %d on is damaged: %s", first_seq, error)
            else:
                yield from _rows(segment)
        after = rows[-1][0]


def _rows(segment: Segment) -> Iterator[ExportedReading]:
    header, block = segment.header, segment.signals
    if block is None:
        return
    for index, time_ms in enumerate(block.times_ms):
        column_values = ((key, column[index]) for key, column in block.columns.items())
        yield ExportedReading(
            epoch=epoch_hex(header.epoch),
            seq=header.first_seq + index,
            time_ms=time_ms + header.clock_offset_ms,
            values={key: value for key, value in column_values if value is not None},
        )


def _tail_readings(connection: sqlite3.Connection) -> Iterator[ExportedReading]:
    (epoch,) = connection.execute(
        "SELECT epoch FROM lane WHERE lane = ?", (Lane.SIGNAL,)
    ).fetchone()
    rows = connection.execute(
        "SELECT first_seq, clock_offset_ms, body FROM tail ORDER BY first_seq"
    )
    for first_seq, offset_ms, body in rows:
        found = msgspec.msgpack.decode(body, type=list[Reading])
        for seq, (time_ms, values) in enumerate(found, start=first_seq):
            yield ExportedReading(epoch, seq, time_ms + offset_ms, values)


def _lane_stats(row: dict[str, Any], tail: dict[str, Any]) -> LaneStats:
    lane = Lane(row["lane"])
    unsealed = tail["n"] if lane is Lane.SIGNAL else 0
    firsts = [row["first"], tail["first"] if unsealed else None]
    lasts = [row["last_seq"], row["last"], tail["last"] if unsealed else None]
    last_seq = max(seq for seq in lasts if seq is not None)
    return LaneStats(
        lane=lane_name(lane),
        epoch=row["epoch"],
        floor_seq=min((seq for seq in firsts if seq is not None), default=last_seq + 1),
        last_seq=last_seq,
        unacked_segments=row["segments"],
        unacked_records=row["records"] + unsealed,
        bytes=row["bytes"],
    )


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise JournalUnreadableError(
            f"there is no journal at {path}; start the agent once, or name the file with --path"
        )
    try:
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    except sqlite3.OperationalError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> JournalUnreadableError:
    return JournalUnreadableError(
        f"{path} cannot be read as a journal ({error}); check its path and its rights"
    )
