"""The worker that delivers events, across restarts of the database and of itself."""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from cloud.kit.clock import Clock
from cloud.kit.db import AsyncDb, Pool
from cloud.kit.events.deliver import RetryLater, Subscriber, deliver
from cloud.kit.events.held import trim
from cloud.kit.metrics import EVENT_DELIVERIES

if TYPE_CHECKING:
    from pgqueuer.core.qm import QueueManager
    from pgqueuer.domain.models import Job

log = logging.getLogger(__name__)

SCHEMA = "pgqueuer"
CHANNEL = "ch_pgqueuer"
_BATCH = 10
_LOOK_EVERY = timedelta(seconds=2)
_DATABASE_PAUSE = timedelta(seconds=2)
_PAUSES_S = (0.1, 0.5, 2.0)
_TRIM_EVERY_S = 3_600


async def run_events(
    dsn: str,
    pool: Pool,
    subscribers: Sequence[Subscriber],
    clock: Clock,
    *,
    heartbeat_timeout: timedelta = timedelta(seconds=8),
) -> None:
    """Deliver events to these subscribers until cancelled.

    Handlers run in threads on connections of `pool`. A killed worker's job is taken over after
    `heartbeat_timeout`. A handler that raises has its job held, except RetryLater and lost
    connections, which are tried again.
    """
    from pgqueuer.domain.errors import FailingListenerError

    if not subscribers:
        return
    logging.getLogger("pgqueuer").addFilter(_is_news)
    pauses_s = itertools.cycle(_PAUSES_S)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_trim_hourly(pool, clock), name="trim-events")
        while True:
            try:
                await _work(dsn, pool, subscribers, clock, heartbeat_timeout)
            except (OSError, psycopg.Error, RuntimeError, FailingListenerError) as trouble:
                log.warning("events wait for the database: %r", trouble)
                await asyncio.sleep(next(pauses_s))


def _is_news(record: logging.LogRecord) -> bool:
    """Keep what pgqueuer's tasks and buffers say of a lost connection out of the log.

    The worker tells it once; what a buffer could not write is done again, which is harmless.
    """
    lost = record.exc_info is not None and isinstance(record.exc_info[1], psycopg.OperationalError)
    return not lost and not record.getMessage().startswith("Shutdown flush failed")


async def _trim_hourly(pool: Pool, clock: Clock) -> None:
    def once() -> None:
        with pool.connection() as db:
            trim(db, clock.now())

    while True:
        try:
            await asyncio.to_thread(once)
        except (psycopg.Error, PoolTimeout) as trouble:
            log.warning("finished event jobs stay for another hour: %r", trouble)
        await asyncio.sleep(_TRIM_EVERY_S)


async def _work(
    dsn: str,
    pool: Pool,
    subscribers: Sequence[Subscriber],
    clock: Clock,
    heartbeat_timeout: timedelta,
) -> None:
    async with await _connect(dsn) as listening, await _connect(dsn) as working:
        # pgqueuer probes its listener before it listens: without this the probe can get lost.
        await listening.execute(f"LISTEN {CHANNEL}".encode())
        manager = _manager(listening, working)
        for subscriber in subscribers:
            _entrypoint(manager, subscriber, pool, clock)
        await manager.run(
            dequeue_timeout=_LOOK_EVERY,
            batch_size=_BATCH,
            max_concurrent_tasks=2 * _BATCH,
            shutdown_on_listener_failure=True,
            heartbeat_timeout=heartbeat_timeout,
        )


async def _connect(dsn: str) -> AsyncDb:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=5)


def _manager(listening: AsyncDb, working: AsyncDb) -> "QueueManager":
    from pgqueuer.adapters.persistence import qb
    from pgqueuer.adapters.persistence.queries import Queries
    from pgqueuer.core.qm import QueueManager
    from pgqueuer.domain.settings import DBSettings
    from pgqueuer.domain.types import Channel

    from cloud.kit.events.driver import TwoConnectionDriver

    settings = DBSettings(db_schema=SCHEMA)
    queries = Queries(
        TwoConnectionDriver(listening, working),
        qbe=qb.QueryBuilderEnvironment(settings),
        qbq=qb.QueryQueueBuilder(settings),
        qbs=qb.QuerySchedulerBuilder(settings),
    )
    return QueueManager(queries, Channel(CHANNEL))


def _entrypoint(manager: "QueueManager", subscriber: Subscriber, pool: Pool, clock: Clock) -> None:
    from pgqueuer.domain.errors import RetryRequested

    def hand_over(event_id: UUID) -> timedelta | None:
        with pool.connection() as db:
            return deliver(db, subscriber, event_id, clock.now())

    @manager.entrypoint(subscriber.name, on_failure="hold", accepts_context=False)
    async def run(job: "Job") -> None:
        event_id = UUID((job.payload or b"").decode())
        try:
            early = await asyncio.to_thread(hand_over, event_id)
        except RetryLater as later:
            EVENT_DELIVERIES.labels(subscriber.name, "later").inc()
            raise RetryRequested(later.after, str(later)) from later
        except psycopg.OperationalError as lost:
            EVENT_DELIVERIES.labels(subscriber.name, "database_lost").inc()
            raise RetryRequested(_DATABASE_PAUSE, str(lost)) from lost
        except Exception:
            EVENT_DELIVERIES.labels(subscriber.name, "held").inc()
            raise
        if early is not None:
            raise RetryRequested(early, "not due yet")
        EVENT_DELIVERIES.labels(subscriber.name, "done").inc()
