"""How a device gets its identity, keeps it and loses it: claim, redeem, renew, revoke.

A claim is a one-time permission to have a key certified. Redeeming it revokes every earlier
certificate of the device (a re-enrolled vehicle is a new one). Whoever asks again with the same
claim and the same key has lost the answer, and gets it again. At renewal the certificate that
asked stays valid until its own end, so that a lost answer locks nobody out; any other is revoked,
so that a device never has more than two.
"""

import hashlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud.devices import metrics, service, twins
from cloud.devices.store import certificates as store
from cloud.devices.store.certificates import CertificateRow
from cloud.events.devices import CertificateIssued, CertificateRevoked
from cloud.identity import api as identity
from cloud.identity.api import Actor
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ports.authority import Authority, Issued, Shown, is_for_key
from cloud.kit.scope import DEMO, Scope

log = logging.getLogger(__name__)

DEFAULT_TTL = timedelta(minutes=15)
MAX_TTL = timedelta(hours=24)
SUPERSEDED = "superseded"
_CLAIM_BYTES = 24
_MAX_REASON = 200


class ClaimError(PermissionError):
    """A claim gives no permission; `fault` is "unknown", "used" or "expired"."""

    def __init__(self, fault: str, advice: str) -> None:
        super().__init__(advice)
        self.fault = fault


class CertificateRefusedError(PermissionError):
    """A certificate of ours proves nothing (any more); `fault` is "unknown" or "revoked"."""

    def __init__(self, fault: str, advice: str) -> None:
        super().__init__(advice)
        self.fault = fault


class NotEnrolledError(ValueError):
    """There is no such device; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, in clear for the only time."""

    id: str
    claim: str
    expires_at: datetime


def check_ttl(ttl: timedelta) -> None:
    """Raise ValueError for a life that no claim may have."""
    if not timedelta(0) < ttl <= MAX_TTL:
        raise ValueError("a claim lives for more than nothing and at most 24 hours; correct it")


def make_claim(
    db: Db,
    device_id: str,
    at: datetime,
    *,
    ttl: timedelta = DEFAULT_TTL,
    battery: str | None = None,
    scope: Scope = DEMO,
) -> Claim:
    """Let a device enrol once, registering it when it is new; its older unused claims are void.

    Args:
        db: connection.
        device_id: 3 to 36 of a-z, 0-9 and -.
        at: now.
        ttl: how long the claim can be redeemed, up to 24 h.
        battery: protocol name of its battery controller; None leaves it to the first hello.
        scope: tenant and city of a new device.

    Raises:
        ValueError: an id, a battery or a time that cannot be.
    """
    check_ttl(ttl)
    claim = secrets.token_urlsafe(_CLAIM_BYTES)
    with db.transaction():
        service.enrol(db, device_id, battery, at, scope=scope)
        owner = store.lock_device(db, device_id) or scope
        store.void_claims(db, device_id, at)
        store.add_claim(db, owner, device_id, _hash(claim), at, at + ttl)
    return Claim(device_id, claim, at + ttl)


def redeem(
    db: Db,
    authority: Authority,
    device_id: str,
    claim: str,
    csr: str,
    at: datetime,
    lifetime: timedelta,
) -> Issued:
    """Turn a claim and a signing request into a certificate; a refused request spends no claim.

    The same key gets the same certificate again while the claim lives and the certificate stands.

    Raises:
        ClaimError: unknown, expired, or used by another key.
        CsrError: the request is refused.
    """
    with db.transaction():
        scope = store.lock_device(db, device_id)
        if scope is None or not store.use_claim(db, device_id, _hash(claim), at):
            answer = store.find_answer(db, device_id, _hash(claim), at)
            if answer is not None and is_for_key(answer, csr, device_id):
                log.info("%s asks again with the key of its claim: the same answer", device_id)
                return answer
            raise _why_not(db, device_id, claim)
        issued = authority.issue_device(csr, device_id, scope.tenant, at, lifetime)
        _revoke(db, device_id, SUPERSEDED, at)
        _note(db, scope, device_id, issued, "enrolled", at)
        store.note_answer(db, _hash(claim), issued)
        twins.forget_report(db, device_id)
        itself = Actor(device_id, "device", scope.tenant, scope.city)
        detail = {"serial": issued.serial_hex}
        identity.audit(db, itself, "device.enrolled", device_id, detail, at)
    metrics.CERTIFICATES.labels("enrolled").inc()
    return issued


def renew(
    db: Db, authority: Authority, shown: Shown, csr: str, at: datetime, lifetime: timedelta
) -> Issued:
    """Give the owner of a valid certificate another one.

    Raises:
        CertificateRefusedError: the certificate is not one of ours, ended, or revoked.
        CsrError: the request is refused.
    """
    with db.transaction():
        scope = store.lock_device(db, shown.device_id)
        held = check_certificate(db, shown, at)
        scope = scope or Scope(held.tenant, held.city)
        issued = authority.issue_device(csr, held.device_id, scope.tenant, at, lifetime)
        _revoke(db, held.device_id, SUPERSEDED, at, keep=held.serial)
        _note(db, scope, held.device_id, issued, "renewed", at)
    metrics.CERTIFICATES.labels("renewed").inc()
    return issued


def check_certificate(db: Db, shown: Shown, at: datetime) -> CertificateRow:
    """Return the row of a certificate that TLS has accepted.

    Raises:
        CertificateRefusedError: it is not in our table as it was shown, ended, or revoked.
    """
    row = store.find_certificate(db, shown.serial_hex)
    told = (shown.device_id, shown.fingerprint_sha256_hex)
    if row is None or (row.device_id, row.fingerprint) != told:
        raise CertificateRefusedError("unknown", "this certificate was not issued here; enrol anew")
    if row.revoked_at is not None or row.not_after <= at:
        raise CertificateRefusedError(
            "revoked", "this certificate is revoked or over; ask for a new claim and enrol anew"
        )
    return row


def revoke(db: Db, device_id: str, reason: str, at: datetime) -> int:
    """Take a device's identity: certificates and unused claims. Return how many certificates.

    Watchers of live connections are told when the transaction commits.

    Raises:
        NotEnrolledError: there is no such device.
        ValueError: no reason, or one longer than 200 characters.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= _MAX_REASON:
        raise ValueError(f"say why in 1 to {_MAX_REASON} characters")
    with db.transaction():
        if store.lock_device(db, device_id) is None:
            raise NotEnrolledError(
                f"{device_id} is not enrolled; `mobility-cloud devices list` shows who is"
            )
        store.void_claims(db, device_id, at)
        revoked = _revoke(db, device_id, reason, at)
    log.info("revoked %d certificates of %s: %s", revoked, device_id, reason)
    return revoked


def certificates_of(db: Db, device_id: str) -> Sequence[CertificateRow]:
    """Return every certificate a device ever got, newest first; none for a stranger."""
    return store.certificates(db, device_id)


def _revoke(db: Db, device_id: str, reason: str, at: datetime, *, keep: str | None = None) -> int:
    revoked = store.revoke(db, device_id, reason, at, keep=keep)
    for row in revoked:
        told = CertificateRevoked(
            tenant=row.tenant,
            city=row.city,
            device_id=device_id,
            serial=row.serial,
            reason=reason,
            revoked_at=at,
        )
        publish(db, told, at=at)
    if revoked:
        store.tell_revoked(db, device_id)
    return len(revoked)


def _note(db: Db, scope: Scope, device_id: str, issued: Issued, reason: str, at: datetime) -> None:
    store.add_certificate(db, scope, device_id, issued, at)
    told = CertificateIssued(
        tenant=scope.tenant,
        city=scope.city,
        device_id=device_id,
        serial=issued.serial_hex,
        reason=reason,
        not_after=issued.not_after,
    )
    publish(db, told, at=at)


def _why_not(db: Db, device_id: str, claim: str) -> ClaimError:
    found = store.find_claim(db, device_id, _hash(claim))
    if found is None:
        return ClaimError("unknown", "there is no such claim for this device; ask for a new one")
    if found.used_at is not None:
        return ClaimError("used", "this claim is used up; ask for a new one")
    return ClaimError("expired", "this claim is over, or a newer one was made; ask for a new one")


def _hash(claim: str) -> bytes:
    return hashlib.sha256(claim.encode()).digest()
