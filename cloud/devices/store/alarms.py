"""All SQL about alarms, and about the runs of an agent that clones are told by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.kit.db import Db
from cloud.kit.scope import Scope


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """One alarm: raised once, seen `times` times, last at `last_at`."""

    id: int
    device_id: str
    tenant: str
    city: str
    kind: str
    detail: dict[str, Any]
    raised_at: datetime
    times: int
    last_at: datetime
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class BootsRow:
    """The run a device last spoke of, those before it, when it was last heard; and connections.

    `admitted` were let in so far, the last one at `admitted_at`; when the run was judged last it
    were `judged_admitted`, and the run said to have tried `judged_tried`.
    """

    boot_id: int
    superseded: tuple[int, ...]
    last_heard_at: datetime
    admitted: int
    admitted_at: datetime | None
    judged_admitted: int
    judged_tried: int


def add_alarm(
    db: Db, scope: Scope, device_id: str, kind: str, detail: Mapping[str, Any], at: datetime
) -> bool:
    """Open an alarm; False when one of the kind is open already."""
    done = db.execute(
        "INSERT INTO devices.alarm (device_id, tenant, city, kind, detail, raised_at, last_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (device_id, kind) WHERE cleared_at IS NULL DO NOTHING",
        (device_id, scope.tenant, scope.city, kind, Jsonb(dict(detail)), at, at),
    )
    return done.rowcount == 1


def see_again(
    db: Db,
    device_id: str,
    kind: str,
    detail: Mapping[str, Any],
    at: datetime,
    unless_since: datetime,
) -> None:
    """Count one more sighting in the open alarm, unless there was one since `unless_since`."""
    db.execute(
        "UPDATE devices.alarm SET times = times + 1, last_at = %s, detail = %s"
        " WHERE device_id = %s AND kind = %s AND cleared_at IS NULL AND last_at <= %s",
        (at, Jsonb(dict(detail)), device_id, kind, unless_since),
    )


def open_alarms(
    db: Db, device_ids: Sequence[str] | None, scope: Scope | None = None
) -> list[AlarmRow]:
    """Return open alarms, newest first; of one tenant and city, or of every one."""
    tenant, city = (None, None) if scope is None else (scope.tenant, scope.city)
    with db.cursor(row_factory=class_row(AlarmRow)) as cursor:
        return cursor.execute(
            "SELECT id, device_id, tenant, city, kind, detail, raised_at, times, last_at,"
            " cleared_at FROM devices.alarm WHERE cleared_at IS NULL"
            " AND (%(ids)s::text[] IS NULL OR device_id = ANY(%(ids)s))"
            " AND (%(tenant)s::text IS NULL OR (tenant = %(tenant)s AND city = %(city)s))"
            " ORDER BY raised_at DESC, id DESC",
            {
                "ids": None if device_ids is None else list(device_ids),
                "tenant": tenant,
                "city": city,
            },
        ).fetchall()


def clear(db: Db, scope: Scope, alarm_id: int, at: datetime) -> AlarmRow | None:
    """Close an open alarm and return it; None when this scope has none of this id."""
    with db.cursor(row_factory=class_row(AlarmRow)) as cursor:
        return cursor.execute(
            "UPDATE devices.alarm SET cleared_at = %s WHERE id = %s AND cleared_at IS NULL"
            " AND tenant = %s AND city = %s RETURNING id, device_id, tenant, city, kind, detail,"
            " raised_at, times, last_at, cleared_at",
            (at, alarm_id, scope.tenant, scope.city),
        ).fetchone()


def clear_kinds(
    db: Db, scope: Scope, device_id: str, kinds: Sequence[str], at: datetime
) -> list[str]:
    """Close open alarms of these kinds; return those that a device of this scope had."""
    closed = db.execute(
        "UPDATE devices.alarm SET cleared_at = %s WHERE device_id = %s AND kind = ANY(%s)"
        " AND cleared_at IS NULL AND tenant = %s AND city = %s RETURNING kind",
        (at, device_id, list(kinds), scope.tenant, scope.city),
    ).fetchall()
    return sorted(kind for (kind,) in closed)


def lock_boots(db: Db, device_ids: Sequence[str]) -> dict[str, BootsRow]:
    """Return and hold what is known of devices' runs; those never heard are missing."""
    rows = db.execute(
        "SELECT device_id, boot_id, superseded_boots, last_heard_at, admitted, admitted_at,"
        " judged_admitted, judged_tried FROM devices.presence"
        " WHERE device_id = ANY(%s) ORDER BY device_id FOR UPDATE",
        (list(device_ids),),
    )
    return {
        device_id: BootsRow(boot_id, tuple(superseded), *rest)
        for device_id, boot_id, superseded, *rest in rows
    }


def save_superseded(db: Db, device_id: str, superseded: Sequence[int]) -> None:
    """Keep the runs that are over."""
    db.execute(
        "UPDATE devices.presence SET superseded_boots = %s WHERE device_id = %s",
        (list(superseded), device_id),
    )


def save_judged(db: Db, judged: Mapping[str, tuple[int, int]]) -> None:
    """Keep how many connections were let in, and how many a run said to have tried by then."""
    db.execute(
        "UPDATE devices.presence p SET judged_admitted = u.admitted, judged_tried = u.tried"
        " FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) u(device_id, admitted, tried)"
        " WHERE p.device_id = u.device_id",
        (
            list(judged),
            [admitted for admitted, _ in judged.values()],
            [tried for _, tried in judged.values()],
        ),
    )


def count_admitted(db: Db, counts: Mapping[str, int], at: datetime) -> None:
    """Count connections that are being let in; rows somebody else holds are left out.

    Nobody who knocks may wait here. What is left out makes no alarm; what is counted may.
    """
    db.execute(
        "WITH free AS (SELECT p.device_id FROM devices.presence p WHERE p.device_id = ANY(%(ids)s)"
        "  ORDER BY p.device_id FOR UPDATE SKIP LOCKED)"
        " UPDATE devices.presence p SET admitted = p.admitted + u.times, admitted_at = %(at)s"
        " FROM unnest(%(ids)s::text[], %(times)s::bigint[]) u(device_id, times) JOIN free"
        " USING (device_id) WHERE p.device_id = u.device_id",
        {"ids": list(counts), "times": list(counts.values()), "at": at},
    )


def silent_since(db: Db, taken_at: Mapping[str, datetime]) -> tuple[set[str], datetime | None]:
    """Return who of these has said no hello since then, and when anybody said the last one."""
    rows = db.execute(
        "SELECT u.device_id FROM unnest(%s::text[], %s::timestamptz[]) u(device_id, taken_at)"
        " LEFT JOIN devices.presence p USING (device_id)"
        " WHERE p.last_heard_at IS NULL OR p.last_heard_at < u.taken_at",
        (list(taken_at), list(taken_at.values())),
    ).fetchall()
    newest = db.execute("SELECT max(last_heard_at) FROM devices.presence").fetchone()
    return {device_id for (device_id,) in rows}, newest[0] if newest else None
