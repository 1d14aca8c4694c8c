"""All SQL about claims and certificates."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from cloud.kit.db import Db
from cloud.kit.ports.authority import Issued
from cloud.kit.scope import Scope

_SELECT = """
SELECT serial, device_id, tenant, city, fingerprint, issued_at, not_before, not_after,
       revoked_at, revoked_reason
FROM devices.certificate
"""
_REVOKE = """
UPDATE devices.certificate SET revoked_at = %(at)s, revoked_reason = %(reason)s
WHERE device_id = %(id)s AND revoked_at IS NULL AND serial IS DISTINCT FROM %(keep)s
RETURNING serial, device_id, tenant, city, fingerprint, issued_at, not_before, not_after,
          revoked_at, revoked_reason
"""


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One certificate that was issued; serial and fingerprint are lower hex."""

    serial: str
    device_id: str
    tenant: str
    city: str
    fingerprint: str
    issued_at: datetime
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None
    revoked_reason: str | None


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One claim, named by its hash."""

    device_id: str
    expires_at: datetime
    used_at: datetime | None


def lock_device(db: Db, device_id: str) -> Scope | None:
    """Return a device's scope and hold its row; None when it is not enrolled.

    Claims and certificates of one device change one after the other.
    """
    row = db.execute(
        "SELECT tenant, city FROM devices.device WHERE id = %s FOR UPDATE", (device_id,)
    ).fetchone()
    return None if row is None else Scope(*row)


def add_claim(
    db: Db, scope: Scope, device_id: str, hash_: bytes, at: datetime, expires_at: datetime
) -> None:
    db.execute(
        "INSERT INTO devices.claim (hash, device_id, tenant, city, made_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (hash_, device_id, scope.tenant, scope.city, at, expires_at),
    )


def void_claims(db: Db, device_id: str, at: datetime) -> None:
    """End the time of a device's unused claims."""
    db.execute(
        "UPDATE devices.claim SET expires_at = %(at)s"
        " WHERE device_id = %(id)s AND used_at IS NULL AND expires_at > %(at)s",
        {"at": at, "id": device_id},
    )


def use_claim(db: Db, device_id: str, hash_: bytes, at: datetime) -> bool:
    """Mark a claim as used; False when it is another device's, used or over."""
    done = db.execute(
        "UPDATE devices.claim SET used_at = %(at)s WHERE hash = %(hash)s AND device_id = %(id)s"
        " AND used_at IS NULL AND expires_at > %(at)s",
        {"at": at, "hash": hash_, "id": device_id},
    )
    return done.rowcount == 1


def note_answer(db: Db, hash_: bytes, issued: Issued) -> None:
    """Remember what a claim was answered with."""
    db.execute(
        "UPDATE devices.claim SET serial = %s, certificate_pem = %s WHERE hash = %s",
        (issued.serial_hex, issued.certificate_pem, hash_),
    )


def find_answer(db: Db, device_id: str, hash_: bytes, at: datetime) -> Issued | None:
    """Return what a used claim was answered with, while the claim and the certificate stand."""
    with db.cursor(row_factory=class_row(Issued)) as cursor:
        return cursor.execute(
            "SELECT k.certificate_pem, c.serial AS serial_hex,"
            " c.fingerprint AS fingerprint_sha256_hex, c.not_before, c.not_after"
            " FROM devices.claim k JOIN devices.certificate c ON c.serial = k.serial"
            " WHERE k.hash = %(hash)s AND k.device_id = %(id)s AND k.expires_at > %(at)s"
            " AND c.revoked_at IS NULL AND c.not_after > %(at)s",
            {"hash": hash_, "id": device_id, "at": at},
        ).fetchone()


def find_claim(db: Db, device_id: str, hash_: bytes) -> ClaimRow | None:
    with db.cursor(row_factory=class_row(ClaimRow)) as cursor:
        return cursor.execute(
            "SELECT device_id, expires_at, used_at FROM devices.claim"
            " WHERE hash = %s AND device_id = %s",
            (hash_, device_id),
        ).fetchone()


def add_certificate(db: Db, scope: Scope, device_id: str, issued: Issued, at: datetime) -> None:
    db.execute(
        "INSERT INTO devices.certificate (serial, device_id, tenant, city, fingerprint, issued_at,"
        " not_before, not_after) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            issued.serial_hex,
            device_id,
            scope.tenant,
            scope.city,
            issued.fingerprint_sha256_hex,
            at,
            issued.not_before,
            issued.not_after,
        ),
    )


def find_certificate(db: Db, serial: str) -> CertificateRow | None:
    with db.cursor(row_factory=class_row(CertificateRow)) as cursor:
        return cursor.execute(_SELECT + "WHERE serial = %s", (serial,)).fetchone()


def certificates(db: Db, device_id: str) -> list[CertificateRow]:
    """Return every certificate of a device, newest first."""
    with db.cursor(row_factory=class_row(CertificateRow)) as cursor:
        return cursor.execute(
            _SELECT + "WHERE device_id = %s ORDER BY issued_at DESC, serial", (device_id,)
        ).fetchall()


def revoke(
    db: Db, device_id: str, reason: str, at: datetime, *, keep: str | None = None
) -> list[CertificateRow]:
    """Revoke a device's certificates, all but the one with serial `keep`; return those revoked."""
    with db.cursor(row_factory=class_row(CertificateRow)) as cursor:
        values = {"at": at, "reason": reason, "id": device_id, "keep": keep}
        return cursor.execute(_REVOKE, values).fetchall()


def tell_revoked(db: Db, device_id: str) -> None:
    """Wake whoever watches live connections, when this transaction commits."""
    db.execute("SELECT pg_notify('devices_revoked', %s)", (device_id,))


def by_fingerprint(db: Db, fingerprints: Collection[str]) -> dict[str, CertificateRow]:
    """Return the certificates with these fingerprints that were issued here."""
    with db.cursor(row_factory=class_row(CertificateRow)) as cursor:
        rows = cursor.execute(
            _SELECT + "WHERE fingerprint = ANY(%s)", (list(fingerprints),)
        ).fetchall()
    return {row.fingerprint: row for row in rows}


def count_ending(db: Db, now: datetime, before: datetime) -> int:
    """Return how many devices have a certificate that is valid now, and none beyond `before`."""
    row = db.execute(
        "SELECT count(*) FROM (SELECT max(not_after) AS ends FROM devices.certificate"
        " WHERE revoked_at IS NULL AND not_after > %s GROUP BY device_id) held WHERE ends < %s",
        (now, before),
    ).fetchone()
    return int(row[0]) if row else 0
