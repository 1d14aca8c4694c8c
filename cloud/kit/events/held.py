"""Jobs whose handler failed: kept until a person replays or discards them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cloud.kit.db import Db

_KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class HeldJob:
    """One failed delivery and why it failed."""

    job_id: int
    subscriber: str
    event_id: UUID
    event_type: str
    subject: str
    held_at: datetime
    error: str


def held(db: Db, limit: int = 100) -> list[HeldJob]:
    """List failed deliveries, the oldest first."""
    rows = db.execute(
        "SELECT job.id, job.entrypoint, event.id, event.type, event.subject, job.updated, "
        "coalesce((SELECT concat_ws(': ', log.traceback->>'exception_type', "
        "   log.traceback->>'exception_message') "
        " FROM pgqueuer.pgqueuer_log AS log WHERE log.job_id = job.id AND log.status = 'failed' "
        " ORDER BY log.created DESC LIMIT 1), '') "
        "FROM pgqueuer.pgqueuer AS job "
        "JOIN kit.event AS event ON event.id = convert_from(job.payload, 'UTF8')::uuid "
        "WHERE job.status = 'failed' ORDER BY job.id LIMIT %s",
        (limit,),
    )
    return [HeldJob(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Deliveries that are due and not done; `oldest_due` is None when there are none."""

    due: int
    oldest_due: datetime | None


def backlog(db: Db, now: datetime) -> Backlog:
    """Count what should have been delivered by `now`."""
    row = db.execute(
        "SELECT count(*), min(event.due) FROM pgqueuer.pgqueuer AS job "
        "JOIN kit.event AS event ON event.id = convert_from(job.payload, 'UTF8')::uuid "
        "WHERE job.status IN ('queued', 'picked') AND event.due <= %s",
        (now,),
    ).fetchone()
    return Backlog(0, None) if row is None else Backlog(row[0], row[1])


def trim(db: Db, now: datetime) -> None:
    """Forget finished jobs and deliveries older than a week; events and held jobs stay."""
    old = now - _KEPT
    with db.transaction():
        db.execute(
            "DELETE FROM pgqueuer.pgqueuer_log AS log WHERE created < %s AND NOT EXISTS "
            "(SELECT FROM pgqueuer.pgqueuer AS job WHERE job.id = log.job_id)",
            (old,),
        )
        db.execute("DELETE FROM pgqueuer.pgqueuer_statistics WHERE created < %s", (old,))
        db.execute(
            "DELETE FROM kit.delivered WHERE at < %s AND NOT EXISTS "
            "(SELECT FROM pgqueuer.pgqueuer AS job WHERE job.entrypoint = subscriber "
            " AND job.payload = convert_to(event_id::text, 'UTF8'))",
            (old,),
        )


def replay(db: Db, job_ids: Sequence[int]) -> int:
    """Queue failed deliveries again; returns how many were held."""
    with db.transaction():
        queued = db.execute(
            "UPDATE pgqueuer.pgqueuer SET status = 'queued', attempts = 0, "
            "execute_after = transaction_timestamp() WHERE id = ANY(%s) AND status = 'failed'",
            (list(job_ids),),
        )
    return queued.rowcount


def discard(db: Db, job_ids: Sequence[int]) -> int:
    """Give failed deliveries up; returns how many were held. The events stay in the log."""
    with db.transaction():
        gone = db.execute(
            "DELETE FROM pgqueuer.pgqueuer WHERE id = ANY(%s) AND status = 'failed'",
            (list(job_ids),),
        )
    return gone.rowcount
