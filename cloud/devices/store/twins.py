"""All SQL about twins."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.kit.db import Db
from cloud.kit.scope import Scope

CHANNEL: Final = "devices_twin"
MOST_AT_ONCE: Final = 500

_COLUMNS = (
    "device_id, tenant, city, version, document, desired_at, payload, signers, sent_at,"
    " reported_version, reported_state, reported_reason, reported_detail, reported_at"
)
# A device that did not know our key has refused nothing: it never read the document.
_UNREPORTED = (
    "(reported_version IS NULL OR reported_version < version OR reported_reason = 'unknown_key')"
)
_SENDABLE = f"version > 0 AND (sent_at IS NULL OR (device_id = ANY(%(greeted)s) AND {_UNREPORTED}))"


@dataclass(frozen=True, slots=True)
class TwinRow:
    """How a device is wanted, and what it said of that.

    Attributes:
        device_id: the device.
        tenant: whose.
        city: which city's.
        version: of the desired document.
        document: limits, intervals_s, immobilised, live_until_ms.
        desired_at: when it was written.
        payload: the version as it is sent; None before it was.
        signers: ids of the keys it announces; None before it was sent.
        sent_at: when it was last sent.
        reported_version: the newest version the device spoke of; None: of none.
        reported_state: "applied" or "refused".
        reported_reason: why it was refused, one word.
        reported_detail: the same in words.
        reported_at: when the device said so.
    """

    device_id: str
    tenant: str
    city: str
    version: int
    document: dict[str, Any]
    desired_at: datetime
    payload: bytes | None
    signers: list[str] | None
    sent_at: datetime | None
    reported_version: int | None
    reported_state: str | None
    reported_reason: str
    reported_detail: str
    reported_at: datetime | None


def find(db: Db, scope: Scope, device_id: str) -> TwinRow | None:
    with db.cursor(row_factory=class_row(TwinRow)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM devices.twin"  # noqa: S608 - column names
            " WHERE device_id = %s AND tenant = %s AND city = %s",
            (device_id, scope.tenant, scope.city),
        ).fetchone()


def lock(
    db: Db, scope: Scope, device_id: str, document: dict[str, Any], at: datetime
) -> TwinRow | None:
    """Return a device's twin and hold its row, made with this document as version 0 if need be.

    None when the device is not in this scope.
    """
    db.execute(
        "INSERT INTO devices.twin (device_id, tenant, city, version, document, desired_at, sent_at)"
        " SELECT id, tenant, city, 0, %s, %s, %s FROM devices.device"
        " WHERE id = %s AND tenant = %s AND city = %s ON CONFLICT DO NOTHING",
        (Jsonb(document), at, at, device_id, scope.tenant, scope.city),
    )
    with db.cursor(row_factory=class_row(TwinRow)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM devices.twin"  # noqa: S608 - column names
            " WHERE device_id = %s AND tenant = %s AND city = %s FOR UPDATE",
            (device_id, scope.tenant, scope.city),
        ).fetchone()


def desire(db: Db, device_id: str, version: int, document: dict[str, Any], at: datetime) -> None:
    """Write the next version of a twin that this transaction has locked, and wake the relay."""
    db.execute(
        "UPDATE devices.twin SET version = %s, document = %s, desired_at = %s, payload = NULL,"
        " signers = NULL, sent_at = NULL WHERE device_id = %s",
        (version, Jsonb(document), at, device_id),
    )
    db.execute("SELECT pg_notify(%s, %s)", (CHANNEL, device_id))


def take_unsent(db: Db, greeted: Collection[str]) -> list[TwinRow]:
    """Hold the twins nobody has sent, and those that devices which said hello have not reported.

    Waits for one that is being changed or reported: nobody would wake the relay for it again.
    """
    with db.cursor(row_factory=class_row(TwinRow)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM devices.twin WHERE {_SENDABLE} AND device_id IN"  # noqa: S608 - column names
            f" (SELECT device_id FROM devices.twin WHERE {_SENDABLE}"
            "  ORDER BY sent_at NULLS LAST, device_id LIMIT %(most)s)"
            " ORDER BY device_id FOR UPDATE",
            {"greeted": list(greeted), "most": MOST_AT_ONCE},
        ).fetchall()


def save_payload(
    db: Db, device_id: str, payload: bytes, signers: Sequence[str], at: datetime
) -> None:
    """Write down what is about to be sent, of a twin that this transaction has locked."""
    db.execute(
        "UPDATE devices.twin SET payload = %s, signers = %s, sent_at = %s WHERE device_id = %s",
        (payload, list(signers), at, device_id),
    )


def announce(
    db: Db, signers: Sequence[str], next_made_at: datetime, document: dict[str, Any], at: datetime
) -> list[str]:
    """Give every device a new version that was not told of these keys; return their ids.

    A certificate in force that was issued after the next key was made came with these keys.
    """
    renewed = db.execute(
        "WITH due AS (SELECT device_id FROM devices.twin"  # held in one order everywhere
        "  WHERE version > 0 AND signers IS NOT NULL AND signers <> %s"
        "  ORDER BY device_id FOR UPDATE)"
        " UPDATE devices.twin t SET version = t.version + 1, desired_at = %s, payload = NULL,"
        " signers = NULL, sent_at = NULL FROM due WHERE t.device_id = due.device_id"
        " RETURNING t.device_id",
        (list(signers), at),
    ).fetchall()
    made = db.execute(
        "INSERT INTO devices.twin (device_id, tenant, city, version, document, desired_at)"
        " SELECT d.id, d.tenant, d.city, 1, %(document)s, %(at)s FROM devices.device d"
        " JOIN LATERAL (SELECT max(issued_at) AS issued_at FROM devices.certificate c"
        "  WHERE c.device_id = d.id AND c.revoked_at IS NULL AND c.not_after > %(at)s) c ON true"
        " WHERE c.issued_at < %(made_at)s"
        " ON CONFLICT DO NOTHING RETURNING device_id",
        {"document": Jsonb(document), "at": at, "made_at": next_made_at},
    ).fetchall()
    return [row[0] for row in (*renewed, *made)]


def set_zones(
    db: Db,
    scope: Scope,
    zones: Sequence[Mapping[str, Any]],
    document: Mapping[str, Any],
    at: datetime,
    device_ids: Sequence[str] | None,
) -> list[str]:
    """Give devices of a scope, all or these, a version with these zones; wake the relay.

    Those that have them stay as they are; `document` is what a device gets beside them that has no
    twin yet. Returns whose twin has changed.
    """
    rows = db.execute(
        "INSERT INTO devices.twin AS t (device_id, tenant, city, version, document, desired_at)"
        " SELECT d.id, d.tenant, d.city, 1, %(document)s || %(change)s, %(at)s"
        " FROM devices.device d WHERE d.tenant = %(tenant)s AND d.city = %(city)s"
        " AND (%(ids)s::text[] IS NULL OR d.id = ANY(%(ids)s))"
        " AND (%(any)s OR EXISTS (SELECT 1 FROM devices.twin known WHERE known.device_id = d.id))"
        " ORDER BY d.id ON CONFLICT (device_id) DO UPDATE SET version = t.version + 1,"
        " document = t.document || %(change)s, desired_at = excluded.desired_at, payload = NULL,"
        " signers = NULL, sent_at = NULL"
        " WHERE coalesce(t.document->'zones', '[]'::jsonb) <> %(zones)s RETURNING device_id",
        {
            "document": Jsonb(dict(document)),
            "change": Jsonb({"zones": list(zones)}),
            "zones": Jsonb(list(zones)),
            "any": bool(zones),
            "at": at,
            "tenant": scope.tenant,
            "city": scope.city,
            "ids": None if device_ids is None else list(device_ids),
        },
    ).fetchall()
    if rows:
        db.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
    return [row[0] for row in rows]


def not_told(db: Db, next_key_id: str, next_made_at: datetime, at: datetime) -> list[str]:
    """Return devices with a certificate in force that cannot know the next key.

    A device knows it by an applied twin, or by a newer certificate that came with it.
    """
    rows = db.execute(
        "SELECT d.id FROM devices.device d"
        " JOIN LATERAL (SELECT max(issued_at) AS issued_at FROM devices.certificate c"
        "  WHERE c.device_id = d.id AND c.revoked_at IS NULL AND c.not_after > %(at)s) c"
        "  ON c.issued_at IS NOT NULL"
        " LEFT JOIN devices.twin t ON t.device_id = d.id"
        " WHERE NOT (coalesce(%(key)s = ANY(t.believed), false) OR (c.issued_at >= %(made_at)s"
        "  AND (t.believed_at IS NULL OR t.believed_at < c.issued_at)))"
        " ORDER BY d.id",
        {"at": at, "key": next_key_id, "made_at": next_made_at},
    )
    return [row[0] for row in rows]


def count_behind(db: Db) -> int:
    """Return how many devices have not applied their newest version."""
    row = db.execute(
        "SELECT count(*) FROM devices.twin"
        " WHERE (reported_version, reported_state) IS DISTINCT FROM (version, 'applied')"
    ).fetchone()
    return int(row[0]) if row else 0


def lock_many(db: Db, device_ids: Collection[str]) -> dict[str, TwinRow]:
    """Return the twins of these devices and hold their rows, in one order everywhere."""
    with db.cursor(row_factory=class_row(TwinRow)) as cursor:
        rows = cursor.execute(
            f"SELECT {_COLUMNS} FROM devices.twin"  # noqa: S608 - column names
            " WHERE device_id = ANY(%s) AND version > 0 ORDER BY device_id FOR UPDATE",
            (list(device_ids),),
        ).fetchall()
    return {row.device_id: row for row in rows}


def report(
    db: Db,
    device_id: str,
    version: int,
    state: str,
    reason: str,
    detail: str,
    at: datetime,
    *,
    is_newest: bool,
) -> None:
    """Write what a device said of a version of its twin, which this transaction has locked.

    Only of the newest version it is known which keys it announced.
    """
    db.execute(
        "UPDATE devices.twin SET reported_version = %(version)s, reported_state = %(state)s,"
        " reported_reason = %(reason)s, reported_detail = %(detail)s, reported_at = %(at)s,"
        " believed = CASE WHEN %(believes)s THEN signers ELSE believed END,"
        " believed_at = CASE WHEN %(believes)s THEN %(at)s ELSE believed_at END"
        " WHERE device_id = %(id)s",
        {
            "version": version,
            "state": state,
            "reason": reason,
            "detail": detail,
            "at": at,
            "id": device_id,
            "believes": is_newest and state == "applied",
        },
    )


def forget_report(db: Db, device_id: str) -> None:
    """Take it that a device knows nothing of its twin: it has enrolled anew."""
    db.execute(
        "UPDATE devices.twin SET reported_version = NULL, reported_state = NULL,"
        " reported_reason = '', reported_detail = '', reported_at = NULL, believed = NULL,"
        " believed_at = NULL WHERE device_id = %s",
        (device_id,),
    )
