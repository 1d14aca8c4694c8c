"""All SQL about commands."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.devices.command_rules import Course
from cloud.kit.db import AsyncDb, Db
from cloud.kit.scope import Scope
from cloud.kit.tracing import trace_id_of

ASKED_CHANNEL: Final = "devices_command"
STATE_CHANNEL: Final = "devices_command_state"

_COLUMNS = sql.SQL(
    "c.id, c.tenant, c.city, c.device_id, c.vehicle_id, c.kind, c.args, c.reason, c.actor_id,"
    " c.actor, c.created_at, c.state, c.state_reason, c.approved_by, c.approved_at, c.not_after,"
    " c.sent_at, c.attempts, c.accepted_at, c.executing_at, c.ended_at, c.traceparent"
)
_COURSE = sql.SQL(
    "id, device_id, created_at, state, state_reason, accepted_at, executing_at, ended_at"
)
_BY_IDS = sql.SQL("SELECT {} FROM devices.command c WHERE id = ANY(%s)").format(_COLUMNS)
_MOST_AT_ONCE = sql.Literal(500)
_OPEN = sql.SQL("state IN ('pending', 'accepted', 'executing', 'awaiting_approval')")
# Whoever executes has written it down and says how it ended, unless the journal was lost.
_OVER_AT = sql.SQL(
    "CASE WHEN state = 'executing' THEN not_after + interval '10 min' ELSE not_after END"
)
_LEASE = sql.SQL(
    "UPDATE devices.command c SET sent_at = coalesce(c.sent_at, %(now)s), last_sent_at = %(now)s,"
    " attempts = c.attempts + 1"
    " FROM (SELECT id FROM devices.command WHERE state IN ('pending', 'accepted')"
    "  AND not_after >= %(now)s AND {} ORDER BY id FOR UPDATE SKIP LOCKED LIMIT {}) due"
    " WHERE c.id = due.id"
    " RETURNING c.id, c.device_id, c.kind, c.args, c.created_at, c.approved_at, c.not_after,"
    "  c.traceparent, c.attempts"
)
_FRESH = _LEASE.format(sql.SQL("id = ANY(%(ids)s) AND sent_at IS NULL"), _MOST_AT_ONCE)
_DUE = _LEASE.format(
    sql.SQL("(device_id = ANY(%(greeted)s) OR last_sent_at IS NULL OR last_sent_at <= %(before)s)"),
    _MOST_AT_ONCE,
)


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command and how it stands; times are None when it did not get there.

    Attributes:
        id: of the command.
        tenant: whose.
        city: which city's.
        device_id: who is to obey.
        vehicle_id: the vehicle it was asked for.
        kind: what to do.
        args: with what.
        reason: why it was asked for.
        actor_id: account that asked.
        actor: its name.
        created_at: when it was asked for.
        state: how far it got.
        state_reason: why it was refused, failed or expired, one word; else empty.
        approved_by: name of the second person, if it needed one.
        approved_at: when they approved.
        not_after: until when it may be obeyed; while it awaits approval, until when it may wait.
        sent_at: when it was first sent.
        attempts: how often it was sent.
        accepted_at: when the device took it up.
        executing_at: when the device began.
        ended_at: when it ended.
        traceparent: W3C trace context of the request.
    """

    id: UUID
    tenant: str
    city: str
    device_id: str
    vehicle_id: str
    kind: str
    args: dict[str, Any]
    reason: str
    actor_id: UUID
    actor: str
    created_at: datetime
    state: str
    not_after: datetime
    state_reason: str = ""
    approved_by: str | None = None
    approved_at: datetime | None = None
    sent_at: datetime | None = None
    attempts: int = 0
    accepted_at: datetime | None = None
    executing_at: datetime | None = None
    ended_at: datetime | None = None
    traceparent: str | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace it belongs to, 32 hex digits."""
        return trace_id_of(self.traceparent)


@dataclass(frozen=True, slots=True)
class Sendable:
    """What the relay signs; `attempts` counts this sending too."""

    id: UUID
    device_id: str
    kind: str
    args: dict[str, Any]
    created_at: datetime
    approved_at: datetime | None
    not_after: datetime
    traceparent: str | None
    attempts: int


def lock_asking(db: Db, tenant: str) -> None:
    """Let the requests of a tenant come one after the other, so that counting them is exact."""
    db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))", (tenant,))


@dataclass(frozen=True, slots=True)
class Filled:
    """When the request was made that fills a limit; None while there is room.

    Attributes:
        actor: of the account, in the last minute.
        tenant: of everybody of the tenant, in the last minute.
        immobilising: of the tenant's immobilisations, in the last hour.
    """

    actor: datetime | None
    tenant: datetime | None
    immobilising: datetime | None


def filled(
    db: Db, tenant: str, actor_id: UUID, limits: tuple[int, int, int], since: tuple[datetime, ...]
) -> Filled:
    """Return which limits are full: `limits` and `since` for account, tenant, immobilisations."""
    with db.cursor(row_factory=class_row(Filled)) as cursor:
        found = cursor.execute(
            "SELECT"
            " (SELECT at FROM devices.asked WHERE actor_id = %s AND at > %s"
            "  ORDER BY at DESC OFFSET %s LIMIT 1) AS actor,"
            " (SELECT at FROM devices.asked WHERE tenant = %s AND at > %s"
            "  ORDER BY at DESC OFFSET %s LIMIT 1) AS tenant,"
            " (SELECT at FROM devices.asked WHERE tenant = %s AND immobilises AND at > %s"
            "  ORDER BY at DESC OFFSET %s LIMIT 1) AS immobilising",
            (
                *(actor_id, since[0], limits[0] - 1),
                *(tenant, since[1], limits[1] - 1),
                *(tenant, since[2], limits[2] - 1),
            ),
        ).fetchone()
    assert found is not None
    return found


def note_asked(
    db: Db, scope: Scope, device_id: str, actor_id: UUID, at: datetime, *, immobilising: bool
) -> None:
    db.execute(
        "INSERT INTO devices.asked (tenant, city, device_id, actor_id, immobilises, at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (scope.tenant, scope.city, device_id, actor_id, immobilising, at),
    )


def trim_asked(db: Db, before: datetime) -> int:
    """Forget what was counted before then; return how many rows."""
    return db.execute("DELETE FROM devices.asked WHERE at < %s", (before,)).rowcount


@dataclass(frozen=True, slots=True)
class Able:
    """Whether a device can obey: ever said hello, is cut off, and what it said it can do."""

    has_spoken: bool
    is_revoked: bool
    kinds: list[str]


def able(db: Db, scope: Scope, device_id: str) -> Able | None:
    """Return what a device can do; None: no such device. One without certificates is not cut."""
    with db.cursor(row_factory=class_row(Able)) as cursor:
        return cursor.execute(
            "SELECT EXISTS (SELECT FROM devices.presence p WHERE p.device_id = d.id) has_spoken,"
            " (SELECT coalesce(bool_and(c.revoked_at IS NOT NULL), false)"
            "  FROM devices.certificate c WHERE c.device_id = d.id) is_revoked,"
            " d.capabilities AS kinds"
            " FROM devices.device d WHERE d.id = %s AND d.tenant = %s AND d.city = %s",
            (device_id, scope.tenant, scope.city),
        ).fetchone()


def add(db: Db, row: CommandRow) -> None:
    db.execute(
        "INSERT INTO devices.command (id, tenant, city, device_id, vehicle_id, kind, args, reason,"
        " actor_id, actor, traceparent, created_at, state, not_after)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            row.id,
            row.tenant,
            row.city,
            row.device_id,
            row.vehicle_id,
            row.kind,
            Jsonb(row.args),
            row.reason,
            row.actor_id,
            row.actor,
            row.traceparent,
            row.created_at,
            row.state,
            row.not_after,
        ),
    )


def find(db: Db, scope: Scope, command_id: UUID, *, lock: bool = False) -> CommandRow | None:
    """Return a command of this scope; `lock` holds its row until the transaction ends."""
    query = sql.SQL(
        "SELECT {} FROM devices.command c WHERE id = %s AND tenant = %s AND city = %s {}"
    ).format(_COLUMNS, sql.SQL("FOR UPDATE" if lock else ""))
    with db.cursor(row_factory=class_row(CommandRow)) as cursor:
        return cursor.execute(query, (command_id, scope.tenant, scope.city)).fetchone()


def newest(db: Db, scope: Scope, vehicle_id: str, limit: int) -> list[CommandRow]:
    """Return the newest commands of a vehicle, newest first."""
    query = sql.SQL(
        "SELECT {} FROM devices.command c WHERE vehicle_id = %s AND tenant = %s AND city = %s"
        " ORDER BY created_at DESC, id DESC LIMIT %s"
    ).format(_COLUMNS)
    with db.cursor(row_factory=class_row(CommandRow)) as cursor:
        return cursor.execute(query, (vehicle_id, scope.tenant, scope.city, limit)).fetchall()


async def read(db: AsyncDb, ids: Collection[UUID]) -> list[CommandRow]:
    """Return commands by id, of any scope: whoever shows them to somebody checks that."""
    async with db.cursor(row_factory=class_row(CommandRow)) as cursor:
        await cursor.execute(_BY_IDS, (list(ids),))
        return await cursor.fetchall()


def approve(
    db: Db, command_id: UUID, by_id: UUID, by: str, at: datetime, not_after: datetime
) -> None:
    """Let a command go that this transaction has locked."""
    db.execute(
        "UPDATE devices.command SET state = 'pending', approved_by_id = %s, approved_by = %s,"
        " approved_at = %s, not_after = %s WHERE id = %s",
        (by_id, by, at, not_after, command_id),
    )


def expire(db: Db, now: datetime, not_approved: str) -> list[CommandRow]:
    """End what nobody answered or approved in time; what another process is at is left to it.

    A device that began to execute has time to say how it ended.
    """
    query = sql.SQL(
        "UPDATE devices.command c SET state = 'expired', ended_at = %(now)s, state_reason ="
        " CASE WHEN c.state = 'awaiting_approval' THEN %(not_approved)s ELSE '' END"
        " FROM (SELECT id FROM devices.command WHERE {} AND {} < %(now)s"
        "  ORDER BY id FOR UPDATE SKIP LOCKED LIMIT {}) over"
        " WHERE c.id = over.id RETURNING {}"
    ).format(_OPEN, _OVER_AT, _MOST_AT_ONCE, _COLUMNS)
    with db.cursor(row_factory=class_row(CommandRow)) as cursor:
        return cursor.execute(query, {"now": now, "not_approved": not_approved}).fetchall()


def count_open(db: Db) -> dict[str, int]:
    """Return how many commands have not ended, by state."""
    query = sql.SQL("SELECT state, count(*) FROM devices.command WHERE {} GROUP BY state")
    found = db.execute(query.format(_OPEN)).fetchall()
    return {"pending": 0, "accepted": 0, "executing": 0, "awaiting_approval": 0, **dict(found)}


def lock_courses(db: Db, ids: Collection[UUID]) -> dict[UUID, Course]:
    """Return how far these commands got and hold their rows, in one order everywhere."""
    query = sql.SQL(
        "SELECT {} FROM devices.command WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
    ).format(_COURSE)
    with db.cursor(row_factory=class_row(Course)) as cursor:
        return {row.id: row for row in cursor.execute(query, (list(ids),))}


def save_courses(db: Db, courses: Sequence[Course]) -> list[CommandRow]:
    """Write how far commands got that this transaction has locked; return them whole."""
    query = sql.SQL(
        "UPDATE devices.command c SET state = u.state, state_reason = u.state_reason,"
        " accepted_at = u.accepted_at, executing_at = u.executing_at, ended_at = u.ended_at"
        " FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[],"
        "  %s::timestamptz[]) u(id, state, state_reason, accepted_at, executing_at, ended_at)"
        " WHERE c.id = u.id RETURNING {}"
    ).format(_COLUMNS)
    columns = (
        [course.id for course in courses],
        [course.state for course in courses],
        [course.state_reason for course in courses],
        [course.accepted_at for course in courses],
        [course.executing_at for course in courses],
        [course.ended_at for course in courses],
    )
    with db.cursor(row_factory=class_row(CommandRow)) as cursor:
        return cursor.execute(query, columns).fetchall()


def tell_states(db: Db, ids: Sequence[UUID]) -> None:
    """Wake who waits for these commands, when this transaction commits."""
    db.execute(
        "SELECT pg_notify(%s, id::text) FROM unnest(%s::uuid[]) u(id)", (STATE_CHANNEL, list(ids))
    )


def tell_asked(db: Db, command_id: UUID) -> None:
    """Wake the relay and who watches, when this transaction commits."""
    db.execute(
        "SELECT pg_notify(%s, %s), pg_notify(%s, %s)",
        (ASKED_CHANNEL, str(command_id), STATE_CHANNEL, str(command_id)),
    )


async def lease_fresh(db: AsyncDb, ids: Collection[UUID], now: datetime) -> list[Sendable]:
    """Take those of these commands that were never sent and that nobody else is sending."""
    return await _lease(db, _FRESH, {"now": now, "ids": list(ids)})


async def lease_due(
    db: AsyncDb, greeted: Collection[str], now: datetime, last_before: datetime
) -> list[Sendable]:
    """Take the unanswered commands of devices that said hello, and those last sent before then.

    Those that were never sent are among them.
    """
    values = {"now": now, "greeted": list(greeted), "before": last_before}
    return await _lease(db, _DUE, values)


async def _lease(db: AsyncDb, query: sql.Composed, values: Mapping[str, object]) -> list[Sendable]:
    """Note that commands are sent now, and return them in the order they were asked for."""
    async with db.cursor(row_factory=class_row(Sendable)) as cursor:
        await cursor.execute(query, values)
        return sorted(await cursor.fetchall(), key=lambda row: row.id)


async def next_due(db: AsyncDb) -> tuple[datetime | None, datetime | None]:
    """Return when the next command ends unanswered, and when the one to be re-sent was sent."""
    cursor = await db.execute(
        sql.SQL(
            "SELECT min({}), min(coalesce(last_sent_at, approved_at, created_at))"
            "  FILTER (WHERE state IN ('pending', 'accepted')) FROM devices.command WHERE {}"
        ).format(_OVER_AT, _OPEN)
    )
    row = await cursor.fetchone()
    return (None, None) if row is None else (row[0], row[1])
