"""All SQL of the context telemetry."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from psycopg import sql
from psycopg.rows import class_row

from cloud.devices.api import ReceivedSegment
from cloud.kit.db import Db
from cloud.kit.scope import Scope
from cloud.telemetry.model import State, Sums

_EPOCH_2000_US = 946_684_800_000_000
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_INT2, _INT4, _INT8 = 21, 23, 20
_LOCK = 7_316_482_001
_state_decoder = msgspec.json.Decoder(dict[int, tuple[int, int]])
_state_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A kept segment; `offset_ms` is what is added to the device's times."""

    device_id: str
    received_at: datetime
    offset_ms: int
    quarantine: str | None
    n: int
    payload: bytes


# Segments


def copy_segments(db: Db, segments: Iterable[ReceivedSegment]) -> None:
    """Append segments by binary COPY. Their day's partition must be there."""
    with (
        db.cursor() as cursor,
        cursor.copy(
            "COPY telemetry.segment (device_id, lane, epoch, first_seq, n, t_min, t_max,"
            " received_at, retimed, offset_ms, quarantine, tenant, city, payload)"
            " FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        copy.write(_COPY_HEADER + b"".join(map(_segment_row, segments)) + _COPY_END)


def _segment_row(segment: ReceivedSegment) -> bytes:
    received_us = _microseconds(segment.received_at)
    t_min = t_max = received_us
    if segment.times_ms:
        t_min, t_max = min(segment.times_ms) * 1000, max(segment.times_ms) * 1000
    header = segment.header
    return b"".join(
        (
            b"\0\x0e",
            _text(segment.device_id),
            b"\0\0\0\2\0",
            bytes((header.lane,)),
            _text(segment.epoch),
            struct.pack(
                ">iqiiiqiqiqiiiq",
                *(8, header.first_seq, 4, header.n),
                *(8, t_min - _EPOCH_2000_US, 8, t_max - _EPOCH_2000_US),
                *(8, received_us - _EPOCH_2000_US, 4, segment.retimed),
                *(8, segment.offset_ms),
            ),
            _NULL if segment.quarantine is None else _text(segment.quarantine),
            _text(segment.scope.tenant),
            _text(segment.scope.city),
            len(segment.payload).to_bytes(4, "big"),
            segment.payload,
        )
    )


_NULL = b"\xff\xff\xff\xff"


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(4, "big") + raw


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def segments(
    db: Db, device_id: str, since: datetime | None, until: datetime | None
) -> Iterator[tuple[int, str, int, SegmentRow]]:
    """Stream (lane, epoch, first_seq, row) that may hold records in [since, until), in order."""
    with db.transaction(), db.cursor("segments") as cursor:
        cursor.itersize = 64
        cursor.execute(
            "SELECT lane, epoch, first_seq,"
            " device_id, received_at, offset_ms, quarantine, n, payload"
            " FROM telemetry.segment WHERE device_id = %(device)s"
            " AND (%(since)s::timestamptz IS NULL OR t_max >= %(since)s)"
            " AND (%(until)s::timestamptz IS NULL OR t_min < %(until)s)"
            " ORDER BY epoch, lane, first_seq",
            {"device": device_id, "since": since, "until": until},
        )
        for lane, epoch, first_seq, *row in cursor:
            yield lane, epoch, first_seq, SegmentRow(*row)


def signal_segments(
    db: Db, device_id: str, since: datetime, until: datetime, received_after: datetime
) -> list[SegmentRow]:
    """Return the sound signal segments that touch [since, until)."""
    with db.cursor(row_factory=class_row(SegmentRow), binary=True) as cursor:
        return cursor.execute(
            "SELECT device_id, received_at, offset_ms, quarantine, n, payload"
            " FROM telemetry.segment"
            " WHERE device_id = %s AND t_max >= %s AND t_min < %s AND received_at >= %s"
            " AND lane = 1 AND quarantine IS NULL",
            (device_id, since, until, received_after),
        ).fetchall()


# Minutes


def copy_minutes(
    db: Db, parts: Mapping[tuple[str, int], Mapping[int, Sums]], scope_of: Mapping[str, Scope]
) -> None:
    """Append partial sums, {(device, minute in Unix ms): {signal id: sums}}, by binary COPY."""
    with (
        db.cursor() as cursor,
        cursor.copy(
            "COPY telemetry.minute_part (device_id, minute, tenant, city, signals, counts, sums,"
            " lows, highs) FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        rows = (
            _minute_row(device_id, minute_ms, scope_of[device_id], found)
            for (device_id, minute_ms), found in parts.items()
        )
        copy.write(_COPY_HEADER + b"".join(rows) + _COPY_END)


def _minute_row(device_id: str, minute_ms: int, scope: Scope, found: Mapping[int, Sums]) -> bytes:
    ids = sorted(found)
    counts, totals, lows, highs = zip(*(found[signal_id] for signal_id in ids), strict=True)
    return b"".join(
        (
            b"\0\x09",
            _text(device_id),
            struct.pack(">iq", 8, minute_ms * 1000 - _EPOCH_2000_US),
            _text(scope.tenant),
            _text(scope.city),
            _array(ids, _INT2, 2, "h"),
            _array(counts, _INT4, 4, "i"),
            _array(totals, _INT8, 8, "q"),
            _array(lows, _INT8, 8, "q"),
            _array(highs, _INT8, 8, "q"),
        )
    )


def _array(values: Sequence[int], oid: int, size: int, letter: str) -> bytes:
    """Return a one-dimensional array in Postgres' binary form, its length in front."""
    count = len(values)
    items = [number for value in values for number in (size, value)]
    return struct.pack(
        f">iiiiii{('i' + letter) * count}",
        *(20 + count * (4 + size), 1, 0, oid, count, 1),
        *items,
    )


def minute_buckets(
    db: Db, device_id: str, signal_id: int, since: datetime, until: datetime, width: timedelta
) -> list[tuple[int, Sums]]:
    """Return (bucket number from `since` on, sums) of whole minutes in [since, until)."""
    rows = db.execute(
        "SELECT floor(extract(epoch FROM minute - %(since)s) / %(width)s)::bigint AS bucket,"
        " sum(counts[i])::bigint, sum(sums[i])::bigint, min(lows[i]), max(highs[i])"
        " FROM (SELECT *, array_position(signals, %(signal)s::smallint) AS i"
        "  FROM telemetry.minute_part WHERE device_id = %(device)s"
        "  AND minute >= %(since)s AND minute < %(until)s) part"
        " WHERE i IS NOT NULL GROUP BY bucket ORDER BY bucket",
        {
            "since": since,
            "until": until,
            "width": width.total_seconds(),
            "signal": signal_id,
            "device": device_id,
        },
    )
    return [(bucket, (count, total, low, high)) for bucket, count, total, low, high in rows]


def merge_minutes(db: Db, since: datetime, until: datetime) -> int:
    """Make one row of all parts of a device's minute, in [since, until); return the rows made."""
    return db.execute(
        "WITH busy AS ("
        "  SELECT device_id, minute FROM telemetry.minute_part"
        "  WHERE minute >= %(since)s AND minute < %(until)s"
        "  GROUP BY device_id, minute HAVING count(*) > 1"
        "), gone AS ("
        "  DELETE FROM telemetry.minute_part p USING busy"
        "  WHERE p.device_id = busy.device_id AND p.minute = busy.minute"
        "  AND p.minute >= %(since)s AND p.minute < %(until)s RETURNING p.*"
        "), summed AS ("
        "  SELECT device_id, minute, tenant, city, s.signal, sum(s.n)::integer AS n,"
        "   sum(s.total)::bigint AS total, min(s.low) AS low, max(s.high) AS high"
        "  FROM gone, unnest(signals, counts, sums, lows, highs) s(signal, n, total, low, high)"
        "  GROUP BY device_id, minute, tenant, city, s.signal"
        ") INSERT INTO telemetry.minute_part"
        " (device_id, minute, tenant, city, signals, counts, sums, lows, highs)"
        " SELECT device_id, minute, tenant, city, array_agg(signal ORDER BY signal),"
        "  array_agg(n ORDER BY signal), array_agg(total ORDER BY signal),"
        "  array_agg(low ORDER BY signal), array_agg(high ORDER BY signal)"
        " FROM summed GROUP BY device_id, minute, tenant, city",
        {"since": since, "until": until},
    ).rowcount


# Last state


def lock_states(db: Db, scope_of: Mapping[str, Scope], at: datetime) -> dict[str, State]:
    """Insert the missing rows and lock all, in one order everywhere; return what they hold."""
    ids = sorted(scope_of)
    db.execute(
        "INSERT INTO telemetry.last_state (device_id, tenant, city, changed_at)"
        " SELECT u.*, %s FROM unnest(%s::text[], %s::text[], %s::text[]) u"
        " ON CONFLICT DO NOTHING",
        (at, ids, [scope_of[i].tenant for i in ids], [scope_of[i].city for i in ids]),
    )
    rows = db.execute(
        "SELECT device_id, state::text FROM telemetry.last_state WHERE device_id = ANY(%s)"
        " ORDER BY device_id FOR UPDATE",
        (ids,),
    )
    return {device_id: _state_decoder.decode(state) for device_id, state in rows}


def save_states(db: Db, states: Mapping[str, State], at: datetime) -> None:
    db.execute(
        "UPDATE telemetry.last_state l SET state = u.state::jsonb,"
        " changed_at = greatest(l.changed_at, %s)"
        " FROM unnest(%b::text[], %b::text[]) u(device_id, state)"
        " WHERE l.device_id = u.device_id",
        (at, list(states), [_state_encoder.encode(state).decode() for state in states.values()]),
    )


def states(
    db: Db, *, device_ids: Sequence[str] | None = None, since: datetime | None = None
) -> list[tuple[str, State, datetime]]:
    """Return (device id, state, changed at), of all, of some, or of those changed since."""
    rows = db.execute(
        "SELECT device_id, state::text, changed_at FROM telemetry.last_state"
        " WHERE (%(ids)s::text[] IS NULL OR device_id = ANY(%(ids)s))"
        " AND (%(since)s::timestamptz IS NULL OR changed_at >= %(since)s) ORDER BY device_id",
        {"ids": None if device_ids is None else list(device_ids), "since": since},
    )
    return [(device_id, _state_decoder.decode(state), at) for device_id, state, at in rows]


# Partitions


def has_segment_day(db: Db, day: date) -> bool:
    row: Any = db.execute(
        "SELECT to_regclass(%s) IS NOT NULL", (f"telemetry.segment_{day:%Y%m%d}",)
    ).fetchone()
    return bool(row[0])


def make_partition(db: Db, parent: str, name: str, start: date, end: date) -> None:
    """Create one partition of `parent` for [start, end) UTC, unless it is there."""
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        row: Any = db.execute("SELECT to_regclass(%s)", (f"telemetry.{name}",)).fetchone()
        if row[0] is not None:
            return
        db.execute(
            sql.SQL(
                "CREATE TABLE telemetry.{} PARTITION OF telemetry.{} FOR VALUES FROM ({}) TO ({})"
            ).format(
                sql.Identifier(name),
                sql.Identifier(parent),
                sql.Literal(f"{start:%Y-%m-%d} 00:00:00+00"),
                sql.Literal(f"{end:%Y-%m-%d} 00:00:00+00"),
            )
        )


def partitions(db: Db, parent: str) -> list[str]:
    """Return the names of a table's partitions."""
    rows = db.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass ORDER BY 1",
        (f"telemetry.{parent}",),
    )
    return [name for (name,) in rows]


def drop_partition(db: Db, name: str) -> None:
    db.execute(sql.SQL("DROP TABLE telemetry.{}").format(sql.Identifier(name)))


def delete_old_minutes(db: Db, before: datetime) -> int:
    """Delete from the partition that holds minutes no month was made for."""
    return db.execute(
        "DELETE FROM telemetry.minute_part_other WHERE minute < %s", (before,)
    ).rowcount
