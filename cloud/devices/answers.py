"""What devices say of commands and twins, taken in the transaction that keeps the facts."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cloud.devices import command_rules as rules
from cloud.devices import metrics, requests
from cloud.devices.batch import Batch, ReceivedSegment
from cloud.devices.command_rules import Course, Told
from cloud.devices.store import commands as command_store
from cloud.devices.store import twins as twin_store
from cloud.devices.store.commands import CommandRow
from cloud.devices.store.twins import TwinRow
from cloud.kit.db import Db

log = logging.getLogger(__name__)

_ABOUT_COMMANDS = ("command.progress", "command.result")
_PROGRESS = frozenset({"accepted", "executing"})
_ENDED = frozenset({"done", "refused", "failed"})
_LONGEST_REASON, _LONGEST_DETAIL = 40, 200
_LONGEST_AGO_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TwinTold:
    """What a device says of a version of its twin."""

    device_id: str
    version: int
    state: str
    reason: str
    detail: str
    at: datetime


def take_answers(db: Db, batch: Batch) -> None:
    """Move commands and twins on by the facts of the batch.

    What cannot be read, names no command of this device or comes late is counted and ignored: a
    strange answer must not put the facts beside it in quarantine.
    """
    told: list[Told] = []
    twins: list[TwinTold] = []
    for device_id, kind, fields, when in _facts(batch):
        if kind in _ABOUT_COMMANDS:
            answer = _read_command(device_id, kind, fields, when)
            _count("malformed") if answer is None else told.append(answer)
        elif kind in ("twin.applied", "twin.refused"):
            report = _read_twin(device_id, kind, fields, when.at)
            _count("malformed") if report is None else twins.append(report)
    if told:
        batch.commands.extend(_take_commands(db, told, batch.at))
    if twins:
        _take_twins(db, twins)


def answers_in(received: ReceivedSegment) -> list[Told]:
    """Return what a segment says of commands, as far as it can be read."""
    said = _facts(Batch([received], received.received_at))
    found = [_read_command(*one) for one in said if one[1] in _ABOUT_COMMANDS]
    return [answer for answer in found if answer is not None]


def _take_commands(db: Db, told: list[Told], now: datetime) -> list[CommandRow]:
    """Move them on; return those that moved, as they stand then."""
    known = command_store.lock_courses(db, {answer.id for answer in told})
    changed: dict[UUID, Course] = {}
    newest: dict[UUID, Told] = {}
    for answer in told:
        course = changed.get(answer.id) or known.get(answer.id)
        if course is None or course.device_id != answer.device_id:
            _count("unknown")
            log.debug("%s answers a command it was not sent: %s", answer.device_id, answer.id)
            continue
        moved = rules.advance(course, answer, now)
        if moved is None:
            _count("late")
        else:
            changed[answer.id], newest[answer.id] = moved, answer
    if not changed:
        return []
    rows = command_store.save_courses(db, list(changed.values()))
    for row in rows:
        if rules.is_final(row.state):
            requests.tell_ended(db, row, now, newest[row.id])
            metrics.COMMANDS.labels(row.kind, row.state).inc()
            took = (row.ended_at or now) - (row.approved_at or row.created_at)
            metrics.COMMAND_SECONDS.labels(row.kind).observe(took.total_seconds())
    command_store.tell_states(db, list(changed))
    return rows


def _take_twins(db: Db, told: list[TwinTold]) -> None:
    known = twin_store.lock_many(db, {report.device_id for report in told})
    reported = {
        device_id: (row.reported_version or 0, row.reported_state, row.reported_reason)
        for device_id, row in known.items()
    }
    for report in told:
        row = known.get(report.device_id)
        if row is None or not 0 < report.version <= row.version:
            _count("unknown")
            continue
        if not _is_news(report, reported[report.device_id]):
            _count("late")
            continue
        reported[report.device_id] = report.version, report.state, report.reason
        _report(db, row, report)


def _report(db: Db, row: TwinRow, report: TwinTold) -> None:
    twin_store.report(
        db,
        row.device_id,
        report.version,
        report.state,
        report.reason,
        report.detail,
        report.at,
        is_newest=report.version == row.version,
    )
    metrics.TWINS.labels(report.state).inc()
    if report.state == "refused":
        log.info("%s refuses twin %d: %s", row.device_id, report.version, report.reason)


def _is_news(report: TwinTold, last: tuple[int, str | None, str]) -> bool:
    """Tell whether a report says more than the last one; what was applied stays applied."""
    version, state, reason = last
    if report.version != version:
        return report.version > version
    return state != "applied" and (report.state, report.reason) != (state, reason)


@dataclass(frozen=True, slots=True)
class _When:
    """When a fact happened: by the corrected clock, and on the monotonic one of a run."""

    at: datetime
    boot: str
    mono_s: float


def _facts(batch: Batch) -> Iterator[tuple[str, str, Mapping[str, Any], _When]]:
    """Yield device, kind, fields and time of each fact."""
    for received in batch.segments:
        if received.segment is None or received.segment.facts is None:
            continue
        boot = f"{received.header.boot_id:08x}"
        for fact, time_ms in zip(received.segment.facts, received.times_ms, strict=True):
            at = datetime.fromtimestamp(time_ms / 1000, UTC)
            when = _When(at, boot, fact.mono_ms / 1000)
            yield received.device_id, fact.kind, fact.fields, when


def _read_command(device_id: str, kind: str, fields: Mapping[str, Any], when: _When) -> Told | None:
    states = _PROGRESS if kind == "command.progress" else _ENDED
    state = fields.get("state")
    if not isinstance(state, str) or state not in states:
        return None
    try:
        command_id = UUID(str(fields.get("id")))
    except ValueError:
        return None
    # A repeated answer has the time of the repetition: its "ago" and its clock would be wrong.
    repeated, at = fields.get("repeat") is True, when.at
    return Told(
        id=command_id,
        device_id=device_id,
        state=state,
        reason=_text(fields.get("reason"), _LONGEST_REASON),
        at=at,
        accepted_at=None if repeated else _ago(at, fields.get("accepted_ago_ms")),
        executing_at=None if repeated else _ago(at, fields.get("executing_ago_ms")),
        boot=None if repeated else when.boot,
        mono_s=None if repeated else when.mono_s,
    )


def _read_twin(
    device_id: str, kind: str, fields: Mapping[str, Any], at: datetime
) -> TwinTold | None:
    version = fields.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        return None
    refused = kind == "twin.refused"
    return TwinTold(
        device_id=device_id,
        version=version,
        state="refused" if refused else "applied",
        reason=_text(fields.get("reason"), _LONGEST_REASON) if refused else "",
        detail=_text(fields.get("detail"), _LONGEST_DETAIL) if refused else "",
        at=at,
    )


def _ago(at: datetime, ago_ms: object) -> datetime | None:
    if isinstance(ago_ms, bool) or not isinstance(ago_ms, int | float):
        return None
    return at - timedelta(milliseconds=ago_ms) if 0 <= ago_ms <= _LONGEST_AGO_MS else None


def _text(told: object, longest: int) -> str:
    """Return what a device said as text that Postgres can keep."""
    return "".join(sign for sign in str(told or "") if sign.isprintable())[:longest]


def _count(why: str) -> None:
    metrics.ANSWERS_IGNORED.labels(why).inc()
