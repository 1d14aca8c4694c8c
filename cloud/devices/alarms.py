"""What a person must look at: the same identity seems to be in two places."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from cloud.devices import metrics, store
from cloud.devices.store import alarms as alarm_store
from cloud.devices.store.alarms import AlarmRow
from cloud.events.devices import CloneSuspected
from cloud.kit.db import Db
from cloud.kit.events import publish

log = logging.getLogger(__name__)

Evidence = Literal["takeover", "boot_id"]
CLONE = "clone"
_REMEMBERED_BOOTS = 4
# Several processes see the same event, and a clone goes on and on: one sighting in that time.
_SAME_SIGHTING = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Boots:
    """The last runs of a device's agent: boot ids are random, so an old one never comes back."""

    current: int
    superseded: tuple[int, ...] = ()

    def hear(self, boot_id: int) -> tuple["Boots", bool]:
        """Return the boots with one more hello, and whether a superseded one spoke."""
        if boot_id == self.current:
            return self, False
        others = tuple(each for each in self.superseded if each != boot_id)
        kept = (*others, self.current)[-_REMEMBERED_BOOTS:]
        return Boots(boot_id, kept), boot_id in self.superseded


def suspect_clone(
    db: Db, device_id: str, evidence: Evidence, detail: Mapping[str, Any], at: datetime
) -> bool:
    """Raise a clone alarm, or note one more sighting in the one that is open. True when raised.

    Args:
        db: connection.
        device_id: whose identity it is; of a device that is not enrolled nothing is written.
        evidence: what gave it away: the broker's takeovers, or an agent's superseded run.
        detail: what was seen.
        at: when.
    """
    with db.transaction():
        scope = store.scopes(db, [device_id]).get(device_id)
        if scope is None:
            return False
        seen = {**detail, "evidence": evidence}
        if not alarm_store.add_alarm(db, scope, device_id, CLONE, seen, at):
            alarm_store.see_again(db, device_id, CLONE, seen, at, at - _SAME_SIGHTING)
            return False
        told = CloneSuspected(
            tenant=scope.tenant,
            city=scope.city,
            device_id=device_id,
            evidence=evidence,
            raised_at=at,
        )
        publish(db, told, at=at)
    metrics.CLONES.inc()
    log.warning("clone alarm: %s seems to be in two places (%s)", device_id, evidence)
    return True


def open_alarms(db: Db, device_ids: Sequence[str] | None = None) -> list[AlarmRow]:
    """Return alarms nobody has cleared, newest first: of these devices, or of all."""
    return alarm_store.open_alarms(db, device_ids)


def clear_alarm(db: Db, alarm_id: int, at: datetime) -> bool:
    """Close an alarm; what is seen later raises a new one. False when it is not open."""
    with db.transaction():
        return alarm_store.clear(db, alarm_id, at)
