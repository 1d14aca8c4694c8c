"""The ingest transaction: ledger, projections, segments; what it returns may be acked."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby

import psycopg

from cloud.devices import model, store
from cloud.devices.answers import take_answers
from cloud.devices.batch import Arrival, Batch, Keep, LaneKey, Projector, ReceivedSegment
from cloud.devices.facts import publish_facts
from cloud.devices.model import Progress, Verdict
from cloud.devices.opening import Candidate
from cloud.devices.store.commands import CommandRow
from cloud.kit.db import Db
from cloud.kit.scope import Scope

log = logging.getLogger(__name__)

Classify = Callable[[Progress, int, int], Verdict]

# SQLSTATE classes that blame the server or its load, not the rows: the whole batch is tried again.
_NOT_THE_ROWS = ("08", "40", "53", "57", "58")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the transaction is made of; cloud/app.py puts it together.

    Attributes:
        keep: stores the segments, last, when it is known which are in quarantine.
        projectors: what is derived from sound segments, in order.
        classify: the rule against doubles.
    """

    keep: Keep
    projectors: Sequence[Projector] = ()
    classify: Classify = model.classify


@dataclass(slots=True)
class Outcome:
    """What a committed transaction did.

    Attributes:
        progress: the ledger rows it wrote, as committed.
        segments: how many segments by class.
        readings: readings of the signal lane that were committed as sound.
        strangers: devices that are not enrolled.
        commands: those that were moved on, as they stand now.
        traced: the segments that were committed now and carry a trace.
    """

    progress: dict[LaneKey, Progress] = field(default_factory=dict)
    segments: Counter[str] = field(default_factory=Counter)
    readings: int = 0
    strangers: set[str] = field(default_factory=set)
    commands: list[CommandRow] = field(default_factory=list)
    traced: list[ReceivedSegment] = field(default_factory=list)


def commit_batch(
    db: Db,
    candidates: Sequence[Candidate],
    unreadable: Sequence[tuple[Arrival, str]],
    parts: Parts,
    at: datetime,
) -> Outcome:
    """Commit a batch in one transaction.

    Raises:
        psycopg.OperationalError: nothing is committed; the same batch may be tried again.
    """
    outcome = Outcome()
    with db.transaction():
        ids = {c.arrival.device_id for c in candidates} | {a.device_id for a, _ in unreadable}
        scope_of = store.scopes(db, ids)
        outcome.strangers = ids - scope_of.keys()
        _note_unreadable(db, unreadable, scope_of, outcome)
        known = [c for c in candidates if c.arrival.device_id in scope_of]
        outcome.segments["stranger"] += len(candidates) - len(known)
        if known:
            _commit_known(db, known, scope_of, parts, outcome, at)
    return outcome


def _commit_known(
    db: Db,
    candidates: Sequence[Candidate],
    scope_of: Mapping[str, Scope],
    parts: Parts,
    outcome: Outcome,
    at: datetime,
) -> None:
    changes = store.lock_lanes(db, list({c.key for c in candidates}), scope_of, at)
    kept: list[ReceivedSegment] = []
    for candidate in candidates:
        scope, change = scope_of[candidate.arrival.device_id], changes[candidate.key]
        segment = _take(candidate, scope, change, parts.classify, outcome)
        if segment is not None:
            kept.append(segment)
        change.progress, gaps = model.raise_floor(change.progress, candidate.header.floor_seq)
        if gaps:
            store.add_gaps(db, scope, candidate.key, gaps, "floor", at)
    kept = _project(db, kept, (_take_facts, *parts.projectors), at, outcome.commands)
    if kept:
        parts.keep(db, Batch(kept, at))
    for segment in kept:
        _count(
            segment, changes[segment.device_id, int(segment.header.lane), segment.epoch], outcome
        )
    store.save_lanes(db, changes, at)
    outcome.progress = {key: change.progress for key, change in changes.items()}
    outcome.traced = [segment for segment in kept if segment.header.traceparent is not None]


def _take_facts(db: Db, batch: Batch) -> None:
    """Publish the facts and move on what they answer, waiting for as few replies as can be."""
    with db.pipeline():
        publish_facts(db, batch)
        take_answers(db, batch)


def _take(
    candidate: Candidate,
    scope: Scope,
    change: store.LaneChange,
    classify: Classify,
    outcome: Outcome,
) -> ReceivedSegment | None:
    """Classify one segment; return it when it is to be kept."""
    first, last = candidate.header.first_seq, candidate.header.last_seq
    verdict = classify(change.progress, first, last)
    if verdict is Verdict.REPEAT:
        change.repeats += 1
    if verdict in (Verdict.REPEAT, Verdict.SCATTERED):
        outcome.segments[verdict.value] += 1
        return None
    change.progress = model.add(change.progress, first, last)
    if verdict is Verdict.OVERLAP:
        return candidate.received(scope, change.clock, "overlap")
    candidate.open()
    return candidate.received(scope, change.clock)


def _project(
    db: Db,
    kept: Sequence[ReceivedSegment],
    projectors: Sequence[Projector],
    at: datetime,
    commands: list[CommandRow],
) -> list[ReceivedSegment]:
    """Run the projectors over the sound segments; those that make one raise come back marked.

    `commands` is given what they moved on.
    A segment is projected wholly or not at all, so a failure undoes what the others did with it.
    """
    sound = [segment for segment in kept if segment.quarantine is None]
    if not sound or _try(db, sound, projectors, at, commands):
        return list(kept)
    harmless = _harmless(db, sound, projectors, at, commands)
    culprits = {id(s) for s in sound} - {id(s) for s in harmless}
    return [
        replace(s, segment=None, quarantine="projection", times_ms=[]) if id(s) in culprits else s
        for s in kept
    ]


def _harmless(
    db: Db,
    sound: Sequence[ReceivedSegment],
    projectors: Sequence[Projector],
    at: datetime,
    commands: list[CommandRow],
) -> list[ReceivedSegment]:
    """Project device by device, then segment by segment; return those that went through."""
    done: list[ReceivedSegment] = []
    for _, group in groupby(sorted(sound, key=_device), key=_device):
        segments = list(group)
        if _try(db, segments, projectors, at, commands):
            done.extend(segments)
        elif len(segments) > 1:
            done.extend(s for s in segments if _try(db, [s], projectors, at, commands))
    return done


def _try(
    db: Db,
    segments: Sequence[ReceivedSegment],
    projectors: Sequence[Projector],
    at: datetime,
    commands: list[CommandRow],
) -> bool:
    batch = Batch(segments, at)
    try:
        with db.transaction():
            for projector in projectors:
                projector(db, batch)
    except Exception as trouble:
        if db.broken or _blames_the_server(trouble):
            raise
        log.warning(
            "a projector failed on %d segment(s) of %s: %r",
            len(segments),
            sorted({s.device_id for s in segments})[:5],
            trouble,
        )
        return False
    commands += batch.commands
    return True


def _blames_the_server(trouble: Exception) -> bool:
    return isinstance(trouble, psycopg.Error) and (trouble.sqlstate or "").startswith(_NOT_THE_ROWS)


def _count(segment: ReceivedSegment, change: store.LaneChange, outcome: Outcome) -> None:
    change.segments += 1
    change.records += segment.header.n
    if segment.quarantine is not None:
        change.quarantined += 1
        outcome.segments["quarantined"] += 1
        return
    outcome.segments["new"] += 1
    if segment.segment is not None and segment.segment.signals is not None:
        outcome.readings += segment.header.n


def _note_unreadable(
    db: Db,
    unreadable: Sequence[tuple[Arrival, str]],
    scope_of: Mapping[str, Scope],
    outcome: Outcome,
) -> None:
    for arrival, reason in sorted(unreadable, key=lambda item: item[0].device_id):
        outcome.segments["unreadable"] += 1
        if arrival.device_id in scope_of:
            scope = scope_of[arrival.device_id]
            store.note_unreadable(
                db, scope, arrival.device_id, reason, arrival.payload, arrival.received_at
            )


def _device(segment: ReceivedSegment) -> str:
    return segment.device_id
