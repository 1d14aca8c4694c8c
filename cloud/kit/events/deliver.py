"""One delivery: an event handed to one subscriber, once, in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from cloud.kit.db import Db
from cloud.kit.events.log import Event, read

# Any: a handler takes the very class of event it subscribes to.
Handler = Callable[[Db, Any], None]


class RetryLater(Exception):  # noqa: N818 - reads as what it asks for
    """A handler cannot do it now, for a reason that passes; it is called again `after`."""

    def __init__(self, reason: str, after: timedelta = timedelta(seconds=5)) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody who acts on events: `name` is `context.what_it_does` and never changes.

    The handler runs inside a transaction that also remembers the delivery: what it writes to
    this database happens once. What it does elsewhere may be repeated after a crash. Events
    may arrive out of order.
    """

    name: str
    event_types: tuple[type[Event], ...]
    handler: Handler


def register(db: Db, contexts: Sequence[str], subscribers: Sequence[Subscriber]) -> None:
    """Make these the only subscribers of these contexts; what others publish reaches them now.

    A context that another process serves keeps its subscribers and is served its jobs there.
    """
    wanted = [(each.name, event.TYPE) for each in subscribers for event in each.event_types]
    strangers = {name for name, _ in wanted if name.partition(".")[0] not in contexts}
    if strangers:
        raise ValueError(f"{sorted(strangers)} must be named after one of {list(contexts)}")
    with db.transaction():
        db.execute(
            "DELETE FROM kit.subscription WHERE split_part(subscriber, '.', 1) = ANY(%s)",
            (list(contexts),),
        )
        with db.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO kit.subscription (subscriber, event_type) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                wanted,
            )


def deliver(db: Db, subscriber: Subscriber, event_id: UUID, now: datetime) -> timedelta | None:
    """Hand over one event unless it already was; return how long to wait when it is too early."""
    with db.transaction():
        row = db.execute("SELECT due FROM kit.event WHERE id = %s", (event_id,)).fetchone()
        if row is None:
            return None
        if row[0] > now:
            early: timedelta = row[0] - now
            return early
        fresh = db.execute(
            "INSERT INTO kit.delivered (event_id, subscriber, at) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (event_id, subscriber.name, now),
        )
        event = read(db, event_id) if fresh.rowcount else None
        if event is not None:
            subscriber.handler(db, event)
    return None


def run_due(db: Db, subscribers: Sequence[Subscriber], now: datetime) -> int:
    """Deliver everything due at `now` on this connection, also what handlers publish; for tests.

    Returns the number of deliveries. A handler's exception comes through, where the worker
    would hold the job.
    """
    by_name = {subscriber.name: subscriber for subscriber in subscribers}
    delivered = 0
    while (job := _next_due(db, list(by_name), now)) is not None:
        job_id, name, event_id = job
        deliver(db, by_name[name], event_id, now)
        db.execute("DELETE FROM pgqueuer.pgqueuer WHERE id = %s", (job_id,))
        delivered += 1
    return delivered


def _next_due(db: Db, names: list[str], now: datetime) -> tuple[int, str, UUID] | None:
    row = db.execute(
        "SELECT job.id, job.entrypoint, event.id FROM pgqueuer.pgqueuer AS job "
        "JOIN kit.event AS event ON event.id = convert_from(job.payload, 'UTF8')::uuid "
        "WHERE job.status = 'queued' AND job.entrypoint = ANY(%s) AND event.due <= %s "
        "ORDER BY event.due, job.id LIMIT 1",
        (names, now),
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])
