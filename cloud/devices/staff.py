"""What staff do with devices, each with its entry in the audit chain.

Whoever asks has been found to have the scope. A device of another tenant or city is as unknown to
them as one that does not exist.
"""

from datetime import datetime, timedelta

from cloud.devices import enrolment, store
from cloud.devices.enrolment import DEFAULT_TTL, Claim, NotEnrolledError
from cloud.devices.store import alarms as alarm_store
from cloud.identity import api as identity
from cloud.identity.api import Who
from cloud.kit.clock import rfc3339
from cloud.kit.db import Db
from cloud.kit.scope import DEMO, Scope


def console(db: Db, device_id: str) -> Who:
    """Return the person at the machine's own console, as one of those whose device it is."""
    return identity.console(store.scopes(db, [device_id]).get(device_id, DEMO))


def let_enrol(
    db: Db,
    who: Who,
    device_id: str,
    at: datetime,
    *,
    ttl: timedelta = DEFAULT_TTL,
    battery: str | None = None,
) -> Claim:
    """Make a claim; a new device is registered where `who` belongs.

    Raises:
        NotEnrolledError: the id is taken by a device of somebody else.
        ValueError: an id, a battery or a time that cannot be.
    """
    with db.transaction():
        scope = Scope(who.tenant, who.city)
        made = enrolment.make_claim(db, device_id, at, ttl=ttl, battery=battery, scope=scope)
        # Only now is the row there and held: until here somebody else may have registered it.
        _check_owner(db, who, device_id)
        detail = {"expires_at": rfc3339(made.expires_at)}
        identity.audit(db, who, "device.claim_made", device_id, detail, at)
    return made


def revoke(db: Db, who: Who, device_id: str, reason: str, at: datetime) -> int:
    """Take a device's certificates and unused claims; return how many certificates.

    Raises:
        NotEnrolledError: there is no such device here.
        ValueError: no reason, or one longer than 200 characters.
    """
    with db.transaction():
        _check_owner(db, who, device_id)
        count = enrolment.revoke(db, device_id, reason, at)
        detail = {"reason": reason.strip(), "certificates": count}
        identity.audit(db, who, "device.revoked", device_id, detail, at)
    return count


def clear_alarm(db: Db, who: Who, alarm_id: int, reason: str, at: datetime) -> bool:
    """Close an alarm; what is seen later raises a new one. False when none of this id is open."""
    with db.transaction():
        alarm = alarm_store.clear(db, Scope(who.tenant, who.city), alarm_id, at)
        if alarm is None:
            return False
        detail = {"alarm": alarm.id, "kind": alarm.kind, "times": alarm.times, "reason": reason}
        identity.audit(db, who, "alarm.cleared", alarm.device_id, detail, at)
    return True


def _check_owner(db: Db, who: Who, device_id: str) -> None:
    if store.scopes(db, [device_id]).get(device_id) != Scope(who.tenant, who.city):
        raise NotEnrolledError(
            f"{device_id} is not enrolled here; GET /api/v1/devices or `mobility-cloud devices"
            " list` shows who is"
        )
