"""What a person must look at: an identity in two places, a vehicle that was tampered with."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from cloud.devices import metrics, store
from cloud.devices.batch import Batch, ReceivedSegment
from cloud.devices.store import alarms as alarm_store
from cloud.devices.store.alarms import AlarmRow, BootsRow
from cloud.events.devices import CloneSuspected
from cloud.identity import api as identity
from cloud.identity.api import Actor
from cloud.kit.clock import rfc3339
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.scope import Scope
from protocol.alarms import ALARMS, BY_THEIR_OWN_FACT, CLEARED, RAISED
from protocol.bodies import Fact

log = logging.getLogger(__name__)

Evidence = Literal["takeover", "boot_id", "connections", "no_hello"]
CLONE = "clone"
STARTED = "agent.started"
"""A run of an agent tells anew what is still so: what the one before told is over."""

_ENDS_ITSELF = [name for name, alarm in ALARMS.items() if not alarm.until_seen]
_TOLD = (
    *("priority", "cause", "level_pct", "soc_pct", "temperature_c", "moved_m", "speed_kmh"),
    *("tip_deg", "g", "bits"),
)
_REMEMBERED_BOOTS = 4
# Several processes see the same event, and a clone goes on and on: one sighting in that time.
_SAME_SIGHTING = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A device whose identity seems to be in two places, and what was seen."""

    device_id: str
    evidence: Evidence
    detail: Mapping[str, Any]


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


def strangers(known: BootsRow, boot_id: int, tried: int, received_at: datetime) -> int | None:
    """Return how many connections were let in since the last hello that the agent did not try.

    None when that cannot be judged by this hello: another run's, a silent one's, or one that is
    older than the last connection, which is not in its count.

    Args:
        known: of this device.
        boot_id: the run that says hello.
        tried: how many connections it says to have tried since its start.
        received_at: when the hello came.
    """
    if boot_id != known.boot_id or not tried or not known.judged_tried:
        return None
    if known.admitted_at is not None and received_at < known.admitted_at:
        return None
    made = max(0, tried - known.judged_tried)
    return max(0, known.admitted - known.judged_admitted - made)


def suspect_clone(
    db: Db, device_id: str, evidence: Evidence, detail: Mapping[str, Any], at: datetime
) -> bool:
    """Raise a clone alarm, or note one more sighting in the one that is open. True when raised.

    Args:
        db: connection.
        device_id: whose identity it is; of a device that is not enrolled nothing is written.
        evidence: what gave it away.
        detail: what was seen.
        at: when.
    """
    return bool(suspect_clones(db, [Suspect(device_id, evidence, detail)], at))


def suspect_clones(db: Db, suspects: Sequence[Suspect], at: datetime) -> list[str]:
    """Do as `suspect_clone` does for several; return whose alarm was raised.

    Holds the audit chain until the transaction ends: call it last.
    """
    with db.transaction():
        scopes = store.scopes(db, [suspect.device_id for suspect in suspects])
        raised = [
            suspect
            for suspect in suspects
            if suspect.device_id in scopes and _raise(db, scopes[suspect.device_id], suspect, at)
        ]
        for suspect in raised:
            scope = scopes[suspect.device_id]
            system = Actor("cloud", "system", scope.tenant, scope.city)
            told = {"kind": CLONE, "evidence": suspect.evidence}
            identity.audit(db, system, "alarm.raised", suspect.device_id, told, at)
    for suspect in raised:
        metrics.CLONES.inc()
        log.warning(
            "clone alarm: %s seems to be in two places (%s)", suspect.device_id, suspect.evidence
        )
    return [suspect.device_id for suspect in raised]


def sound_sensed(db: Db, batch: Batch) -> None:
    """Raise an alarm for what vehicles felt, as `devices.ingest` does with every batch.

    One that is open counts what is felt again: however often a sensor turns, it is one episode
    until a person has looked, or, where nobody needs to, until the vehicle says that it is over.
    Holds the audit chain until the transaction ends: call it last.
    """
    for received, alarm, detail in _sensed(batch):
        if detail is None:
            _end(db, received, _ENDS_ITSELF if alarm == STARTED else [alarm], batch.at)
        elif alarm_store.add_alarm(db, received.scope, received.device_id, alarm, detail, batch.at):
            scope = received.scope
            system = Actor("cloud", "system", scope.tenant, scope.city)
            told = {"kind": alarm, **detail}
            identity.audit(db, system, "alarm.raised", received.device_id, told, batch.at)
            log.warning("alarm: %s says %s", received.device_id, alarm)
        else:
            at = batch.at
            alarm_store.see_again(db, received.device_id, alarm, detail, at, at - _SAME_SIGHTING)


def _sensed(batch: Batch) -> Iterator[tuple[ReceivedSegment, str, dict[str, Any] | None]]:
    """Yield alarms as vehicles told them, with what was felt; None says that it is over.

    STARTED, instead of an alarm, stands for all that end by themselves.
    """
    for received in batch.segments:
        facts = received.segment.facts if received.segment is not None else None
        for fact, time_ms in zip(facts or (), received.times_ms, strict=False):
            felt_at = {"felt_at": rfc3339(datetime.fromtimestamp(time_ms / 1000, UTC))}
            if (alarm := BY_THEIR_OWN_FACT.get(fact.kind)) is not None:
                yield received, alarm, felt_at
            elif fact.kind == STARTED:
                yield received, STARTED, None
            elif (alarm := _named(fact)) is not None:
                told = {name: fact.fields[name] for name in _TOLD if name in fact.fields}
                yield received, alarm, {**felt_at, **told} if fact.kind == RAISED else None


def _named(fact: Fact) -> str | None:
    """Return the alarm that a fact is about; None for what a vehicle cannot end or raise."""
    alarm = fact.fields.get("alarm")
    if alarm not in ALARMS or alarm in BY_THEIR_OWN_FACT.values():
        return None
    if fact.kind == RAISED or (fact.kind == CLEARED and alarm in _ENDS_ITSELF):
        return str(alarm)
    return None


def _end(db: Db, received: ReceivedSegment, kinds: Sequence[str], at: datetime) -> None:
    scope = received.scope
    system = Actor("cloud", "system", scope.tenant, scope.city)
    for kind in alarm_store.clear_kinds(db, scope, received.device_id, kinds, at):
        told = {"kind": kind, "reason": "the vehicle says that it is over"}
        identity.audit(db, system, "alarm.cleared", received.device_id, told, at)


def _raise(db: Db, scope: Scope, suspect: Suspect, at: datetime) -> bool:
    device_id, seen = suspect.device_id, {**suspect.detail, "evidence": suspect.evidence}
    if not alarm_store.add_alarm(db, scope, device_id, CLONE, seen, at):
        alarm_store.see_again(db, device_id, CLONE, seen, at, at - _SAME_SIGHTING)
        return False
    told = CloneSuspected(
        tenant=scope.tenant,
        city=scope.city,
        device_id=device_id,
        evidence=suspect.evidence,
        raised_at=at,
    )
    publish(db, told, at=at)
    return True


def open_alarms(
    db: Db, device_ids: Sequence[str] | None = None, *, scope: Scope | None = None
) -> list[AlarmRow]:
    """Return alarms nobody has cleared, newest first: of these devices, or of all of a scope."""
    return alarm_store.open_alarms(db, device_ids, scope)
