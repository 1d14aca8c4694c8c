"""All SQL of the context devices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from cloud.devices.batch import LaneKey
from cloud.devices.model import Progress, Ranges, ToldClock
from cloud.kit.db import Db
from cloud.kit.scope import Scope
from protocol.messages import Hello


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One enrolled device and when it was last heard; None before its first hello."""

    id: str
    tenant: str
    city: str
    battery: str
    enrolled_at: datetime
    agent_version: str
    capabilities: list[str]
    told_connected: bool
    last_heard_at: datetime | None
    unreadable: int
    unreadable_reason: str | None


@dataclass(frozen=True, slots=True)
class LaneRow:
    """One ledger row with its gaps counted."""

    device_id: str
    lane: int
    epoch: str
    through_seq: int
    have: str
    segments: int
    records: int
    repeats: int
    quarantined: int
    gaps: int
    missing: int

    @property
    def progress(self) -> Progress:
        """The committed ranges."""
        return Progress(self.through_seq, parse_ranges(self.have))


@dataclass(slots=True)
class LaneChange:
    """What one transaction does to a ledger row."""

    progress: Progress
    clock: ToldClock
    segments: int = 0
    records: int = 0
    repeats: int = 0
    quarantined: int = 0


def add_device(db: Db, scope: Scope, device_id: str, battery: str, at: datetime) -> bool:
    """Insert a device; False when the id is enrolled already."""
    done = db.execute(
        "INSERT INTO devices.device (id, tenant, city, battery, enrolled_at)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
        (device_id, scope.tenant, scope.city, battery, at),
    )
    return done.rowcount == 1


def set_battery(db: Db, device_id: str, battery: str) -> None:
    db.execute("UPDATE devices.device SET battery = %s WHERE id = %s", (battery, device_id))


def fill_battery(db: Db, device_id: str, battery: str) -> None:
    """Note the battery of a device that was enrolled without one."""
    db.execute(
        "UPDATE devices.device SET battery = %s WHERE id = %s AND battery = ''",
        (battery, device_id),
    )


def scopes(db: Db, device_ids: Iterable[str]) -> dict[str, Scope]:
    """Return the scope of each of `device_ids` that is enrolled."""
    rows = db.execute(
        "SELECT id, tenant, city FROM devices.device WHERE id = ANY(%s)", (list(device_ids),)
    )
    return {device_id: Scope(tenant, city) for device_id, tenant, city in rows}


_DEVICES = """
SELECT d.id, d.tenant, d.city, d.battery, d.enrolled_at, d.agent_version, d.capabilities,
       coalesce(p.connected, false) AS told_connected,
       greatest(p.last_heard_at, l.last_at) AS last_heard_at,
       coalesce(u.times, 0) AS unreadable, u.reason AS unreadable_reason
FROM devices.device d
LEFT JOIN devices.presence p ON p.device_id = d.id
LEFT JOIN devices.unreadable u ON u.device_id = d.id
LEFT JOIN (
    SELECT device_id, max(last_at) AS last_at FROM devices.ledger
    WHERE %(ids)s::text[] IS NULL OR device_id = ANY(%(ids)s) GROUP BY device_id
) l ON l.device_id = d.id
WHERE (%(ids)s::text[] IS NULL OR d.id = ANY(%(ids)s))
  AND (%(tenant)s::text IS NULL OR (d.tenant = %(tenant)s AND d.city = %(city)s))
ORDER BY d.id
"""


def devices(
    db: Db, device_ids: Sequence[str] | None = None, scope: Scope | None = None
) -> list[DeviceRow]:
    """Return enrolled devices by id: these, or all; of one tenant and city, or of every one."""
    tenant, city = (None, None) if scope is None else (scope.tenant, scope.city)
    with db.cursor(row_factory=class_row(DeviceRow)) as cursor:
        values = {"ids": _list(device_ids), "tenant": tenant, "city": city}
        return cursor.execute(_DEVICES, values).fetchall()


def lanes(db: Db, device_ids: Sequence[str] | None = None) -> list[LaneRow]:
    """Return ledger rows of these devices, or of all; newest epoch of a lane last."""
    with db.cursor(row_factory=class_row(LaneRow)) as cursor:
        return cursor.execute(
            "SELECT l.device_id, l.lane, l.epoch, l.through_seq, l.have::text, l.segments,"
            " l.records, l.repeats, l.quarantined, coalesce(g.gaps, 0) AS gaps,"
            " coalesce(g.missing, 0)::bigint AS missing"
            " FROM devices.ledger l LEFT JOIN ("
            "   SELECT device_id, lane, epoch, count(*) AS gaps, sum(to_seq - from_seq + 1) missing"
            "   FROM devices.gap GROUP BY device_id, lane, epoch"
            " ) g USING (device_id, lane, epoch)"
            " WHERE %(ids)s::text[] IS NULL OR l.device_id = ANY(%(ids)s)"
            " ORDER BY l.device_id, l.lane, l.first_at, l.epoch",
            {"ids": _list(device_ids)},
        ).fetchall()


def lock_lanes(
    db: Db, keys: Sequence[LaneKey], scope_of: Mapping[str, Scope], at: datetime
) -> dict[LaneKey, LaneChange]:
    """Insert the missing ledger rows of `keys` and lock them all, in one order everywhere."""
    ordered = sorted(keys)
    ids, lane_numbers, epochs = _columns(ordered)
    with db.pipeline():
        db.execute(
            "INSERT INTO devices.ledger (device_id, lane, epoch, tenant, city, first_at, last_at)"
            " SELECT u.*, %(at)s, %(at)s FROM unnest(%(ids)s::text[], %(lanes)s::smallint[],"
            " %(epochs)s::text[], %(tenants)s::text[], %(cities)s::text[]) u"
            " ON CONFLICT DO NOTHING",
            {
                "at": at,
                "ids": ids,
                "lanes": lane_numbers,
                "epochs": epochs,
                "tenants": [scope_of[device_id].tenant for device_id in ids],
                "cities": [scope_of[device_id].city for device_id in ids],
            },
        )
        rows = db.execute(
            "SELECT device_id, lane, epoch, through_seq, have::text, clock_boot_id,"
            " clock_offset_ms, clock_sent_at_ms, clock_through_seq FROM devices.ledger"
            " JOIN unnest(%s::text[], %s::smallint[], %s::text[]) u(device_id, lane, epoch)"
            " USING (device_id, lane, epoch) ORDER BY device_id, lane, epoch FOR UPDATE OF ledger",
            (ids, lane_numbers, epochs),
        )
    return {
        (device_id, lane, epoch): LaneChange(
            Progress(through, parse_ranges(have)), ToldClock(*clock)
        )
        for device_id, lane, epoch, through, have, *clock in rows
    }


def save_lanes(db: Db, changes: Mapping[LaneKey, LaneChange], at: datetime) -> None:
    """Write the changed ledger rows, which this transaction has locked."""
    ids, lane_numbers, epochs = _columns(list(changes))
    found = changes.values()
    db.execute(
        "UPDATE devices.ledger l SET through_seq = u.through_seq, have = u.have::int8multirange,"
        " segments = l.segments + u.segments, records = l.records + u.records,"
        " repeats = l.repeats + u.repeats, quarantined = l.quarantined + u.quarantined,"
        " last_at = greatest(l.last_at, %s)"
        " FROM unnest(%s::text[], %s::smallint[], %s::text[], %s::bigint[], %s::text[],"
        "  %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
        "  u(device_id, lane, epoch, through_seq, have, segments, records, repeats, quarantined)"
        " WHERE l.device_id = u.device_id AND l.lane = u.lane AND l.epoch = u.epoch",
        (
            at,
            ids,
            lane_numbers,
            epochs,
            [change.progress.through_seq for change in found],
            [format_ranges(change.progress.have) for change in found],
            [change.segments for change in found],
            [change.records for change in found],
            [change.repeats for change in found],
            [change.quarantined for change in found],
        ),
    )


def save_clocks(db: Db, changes: Mapping[LaneKey, LaneChange]) -> None:
    """Write what was told of the devices' clocks into ledger rows this transaction has locked."""
    ids, lane_numbers, epochs = _columns(list(changes))
    clocks = [change.clock for change in changes.values()]
    db.execute(
        "UPDATE devices.ledger l SET clock_boot_id = u.boot_id, clock_offset_ms = u.offset_ms,"
        " clock_sent_at_ms = u.sent_at_ms, clock_through_seq = u.through_seq"
        " FROM unnest(%s::text[], %s::smallint[], %s::text[], %s::bigint[], %s::bigint[],"
        "  %s::bigint[], %s::bigint[])"
        "  u(device_id, lane, epoch, boot_id, offset_ms, sent_at_ms, through_seq)"
        " WHERE l.device_id = u.device_id AND l.lane = u.lane AND l.epoch = u.epoch",
        (
            ids,
            lane_numbers,
            epochs,
            [clock.boot_id for clock in clocks],
            [clock.offset_ms for clock in clocks],
            [clock.sent_at_ms for clock in clocks],
            [clock.through_seq for clock in clocks],
        ),
    )


def add_gaps(db: Db, scope: Scope, key: LaneKey, gaps: Ranges, reason: str, at: datetime) -> None:
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO devices.gap"
            " (device_id, lane, epoch, tenant, city, from_seq, to_seq, reason, noted_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [(*key, scope.tenant, scope.city, a, b, reason, at) for a, b in gaps],
        )


def note_unreadable(
    db: Db, scope: Scope, device_id: str, reason: str, payload: bytes, at: datetime
) -> None:
    """Keep the latest unreadable payload of a device and count them all."""
    db.execute(
        "INSERT INTO devices.unreadable"
        " (device_id, tenant, city, times, reason, payload, received_at)"
        " VALUES (%s, %s, %s, 1, %s, %s, %s)"
        " ON CONFLICT (device_id) DO UPDATE SET times = unreadable.times + 1,"
        " reason = excluded.reason, payload = excluded.payload,"
        " received_at = excluded.received_at",
        (device_id, scope.tenant, scope.city, reason, payload, at),
    )


def greet(db: Db, scope: Scope, device_id: str, hello: Hello, at: datetime) -> None:
    """Write down that a device said hello, and what it said about itself."""
    db.execute(
        "INSERT INTO devices.presence"
        " (device_id, tenant, city, nonce, boot_id, connected, last_heard_at, connected_at)"
        " VALUES (%s, %s, %s, %s, %s, true, %s, %s)"
        " ON CONFLICT (device_id) DO UPDATE SET nonce = excluded.nonce,"
        " connected_at = CASE WHEN presence.nonce = excluded.nonce THEN presence.connected_at"
        "  ELSE excluded.connected_at END,"
        " boot_id = excluded.boot_id, connected = true, last_heard_at = excluded.last_heard_at",
        (device_id, scope.tenant, scope.city, hello.nonce, hello.boot_id, at, at),
    )
    db.execute(
        "UPDATE devices.device SET agent_version = %(version)s, capabilities = %(can)s"
        " WHERE id = %(id)s AND (agent_version, capabilities) IS DISTINCT FROM"
        " (%(version)s::text, %(can)s::text[])",
        {"id": device_id, "version": hello.agent_version, "can": hello.capabilities},
    )


def say_goodbye(db: Db, device_id: str, nonce: str) -> bool:
    """Mark a device as gone; False when the will belongs to an older connection."""
    done = db.execute(
        "UPDATE devices.presence SET connected = false WHERE device_id = %s AND nonce = %s",
        (device_id, nonce),
    )
    return done.rowcount == 1


def count_connected(db: Db, since: datetime) -> int:
    row: Any = db.execute(
        "SELECT count(*) FROM devices.presence p WHERE p.connected AND (p.last_heard_at >= %(t)s"
        " OR EXISTS (SELECT FROM devices.ledger l"
        "  WHERE l.device_id = p.device_id AND l.last_at >= %(t)s))",
        {"t": since},
    ).fetchone()
    return int(row[0])


def parse_ranges(text: str) -> Ranges:
    """Read `{[5,8),[10,12)}` as inclusive ranges."""
    if text == "{}":
        return ()
    pairs = (part.split(",") for part in text[2:-2].split("),["))
    return tuple((int(first), int(end) - 1) for first, end in pairs)


def format_ranges(ranges: Ranges) -> str:
    """Write inclusive ranges as an int8multirange."""
    return "{" + ",".join(f"[{first},{last + 1})" for first, last in ranges) + "}"


def _list(device_ids: Sequence[str] | None) -> list[str] | None:
    return None if device_ids is None else list(device_ids)


def _columns(keys: Sequence[LaneKey]) -> tuple[list[str], list[int], list[str]]:
    return [k[0] for k in keys], [k[1] for k in keys], [k[2] for k in keys]
