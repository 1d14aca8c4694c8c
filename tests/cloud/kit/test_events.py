"""Events: recorded with their cause, delivered once, held when a handler fails."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

import psycopg
import pytest

from cloud.kit.clock import ManualClock, SystemClock
from cloud.kit.db import AsyncDb, Db, Pool, open_pool
from cloud.kit.events import (
    Event,
    RetryLater,
    Subscriber,
    discard,
    held,
    publish,
    publish_async,
    read,
    register,
    replay,
    run_due,
    run_events,
)
from cloud.kit.events.held import trim

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


class BellRung(Event, frozen=True):
    """Something to be told in these tests."""

    TYPE: ClassVar[str] = "tests.bell_rung.v1"
    tower: str
    strokes: int = 1


def a_bell(strokes: int = 1) -> BellRung:
    return BellRung(tenant="demo", city="demo", tower="north", strokes=strokes)


class Ears:
    """A subscriber with a memory, and troubles on demand."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.troubles: list[Exception] = []

    def __call__(self, db: Db, event: BellRung) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.heard.append(event.strokes)


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with contextlib.closing(open_pool(dsn, max_size=4)) as opened:
        yield opened
        with opened.connection() as db:
            db.execute("TRUNCATE kit.event, kit.subscription, kit.delivered")
            db.execute("TRUNCATE pgqueuer.pgqueuer, pgqueuer.pgqueuer_log")


def subscribe(db: Db, handler: Callable[[Db, Any], None], name: str = "tests.ears") -> Subscriber:
    subscriber = Subscriber(name, (BellRung,), handler)
    register(db, ["tests"], [subscriber])
    return subscriber


@contextlib.asynccontextmanager
async def at_work(dsn: str, pool: Pool, *subscribers: Subscriber) -> AsyncIterator[None]:
    worker = asyncio.create_task(
        run_events(dsn, pool, subscribers, SystemClock(), heartbeat_timeout=timedelta(seconds=1))
    )
    try:
        yield
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


def test_an_event_is_a_cloud_event_and_reads_back_as_itself(db: Db) -> None:
    event = a_bell(strokes=12)
    publish(db, event, at=NOON)
    told = read(db, event.id)
    assert isinstance(told, BellRung)
    assert (told.model_dump(), told.time) == (event.model_dump(), NOON)
    envelope = told.cloud_event()
    assert envelope == {
        "specversion": "1.0",
        "id": str(event.id),
        "source": "/cloud/tests",
        "type": "tests.bell_rung.v1",
        "time": "2026-07-01T12:00:00.000Z",
        "subject": "north",
        "datacontenttype": "application/json",
        "tenant": "demo",
        "city": "demo",
        "data": {"tower": "north", "strokes": 12},
    }
    assert BellRung.from_cloud_event(envelope) == told


def test_a_reader_ignores_what_a_newer_writer_added(db: Db) -> None:
    publish(db, event := a_bell(), at=NOON)
    told = cast("BellRung", read(db, event.id)).cloud_event()
    told["data"]["colour"] = "bronze"
    assert BellRung.from_cloud_event(told).strokes == 1


def test_an_event_type_must_be_a_versioned_past_tense_name() -> None:
    with pytest.raises(TypeError, match="must look like"):

        class Nameless(Event, frozen=True):
            TYPE: ClassVar[str] = "BellRings"
            tower: str


def test_two_classes_cannot_share_an_event_type() -> None:
    with pytest.raises(TypeError, match="is taken by BellRung"):

        class Impostor(Event, frozen=True):
            TYPE: ClassVar[str] = "tests.bell_rung.v1"
            tower: str


def test_what_is_rolled_back_was_never_told(db: Db, ears: Ears) -> None:
    subscriber = subscribe(db, ears)
    with contextlib.suppress(ZeroDivisionError), db.transaction():
        publish(db, a_bell(), at=NOON)
        raise ZeroDivisionError
    assert run_due(db, [subscriber], NOON) == 0
    assert ears.heard == []


def test_the_log_is_append_only(db: Db) -> None:
    publish(db, a_bell(), at=NOON)
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"), db.transaction():
        db.execute("UPDATE kit.event SET subject = 'south'")


def test_an_event_without_subscribers_is_recorded_and_queues_nothing(db: Db) -> None:
    publish(db, a_bell(), at=NOON)
    assert db.execute("SELECT count(*) FROM pgqueuer.pgqueuer").fetchone() == (0,)


def test_registering_again_drops_subscribers_that_are_gone(db: Db, ears: Ears) -> None:
    subscribe(db, ears, "tests.old")
    subscriber = subscribe(db, ears, "tests.new")
    publish(db, a_bell(), at=NOON)
    assert db.execute("SELECT entrypoint FROM pgqueuer.pgqueuer").fetchall() == [("tests.new",)]
    assert run_due(db, [subscriber], NOON) == 1


def test_a_subscriber_is_named_after_its_context(db: Db, ears: Ears) -> None:
    with pytest.raises(ValueError, match=r"fleet\.ears"):
        register(db, ["tests"], [Subscriber("fleet.ears", (BellRung,), ears)])


def test_a_timer_rings_when_it_is_due_and_not_before(
    db: Db, ears: Ears, clock: ManualClock
) -> None:
    subscriber = subscribe(db, ears)
    publish(db, a_bell(), at=clock.now(), due=clock.now() + timedelta(minutes=10))
    assert run_due(db, [subscriber], clock.now()) == 0
    clock.advance(timedelta(minutes=10))
    assert run_due(db, [subscriber], clock.now()) == 1
    assert ears.heard == [1]


def test_a_repeated_job_changes_nothing(db: Db, ears: Ears) -> None:
    subscriber = subscribe(db, ears)
    publish(db, a_bell(), at=NOON)
    db.execute(
        "INSERT INTO pgqueuer.pgqueuer (priority, status, entrypoint, payload) "
        "SELECT priority, status, entrypoint, payload FROM pgqueuer.pgqueuer"
    )
    assert run_due(db, [subscriber], NOON) == 2
    assert ears.heard == [1]


def test_a_week_later_only_what_is_still_needed_is_kept(db: Db, ears: Ears) -> None:
    subscriber = subscribe(db, ears)
    publish(db, a_bell(1), at=NOON)
    run_due(db, [subscriber], NOON)
    publish(db, a_bell(2), at=NOON)
    db.execute("UPDATE pgqueuer.pgqueuer SET status = 'failed'")
    db.execute(
        "INSERT INTO pgqueuer.pgqueuer_log (job_id, status, priority, entrypoint, created) "
        "SELECT id, 'failed'::pgqueuer.pgqueuer_status, 0, entrypoint, %(at)s "
        "FROM pgqueuer.pgqueuer UNION ALL SELECT -1, 'successful', 0, 'tests.ears', %(at)s",
        {"at": NOON},
    )
    trim(db, NOON + timedelta(days=6))
    assert db.execute("SELECT count(*) FROM kit.delivered").fetchone() == (1,)
    trim(db, NOON + timedelta(days=8))
    assert db.execute("SELECT count(*) FROM kit.delivered").fetchone() == (0,)
    assert db.execute("SELECT status FROM pgqueuer.pgqueuer_log").fetchall() == [("failed",)]
    assert len(held(db)) == 1
    assert db.execute("SELECT count(*) FROM kit.event").fetchone() == (2,)


async def test_the_worker_delivers_what_either_kind_of_connection_published(
    dsn: str, pool: Pool, ears: Ears
) -> None:
    with pool.connection() as db:
        subscriber = subscribe(db, ears)
        publish(db, a_bell(1), at=SystemClock().now())
    async with at_work(dsn, pool, subscriber):
        await until(lambda: ears.heard == [1])
        connection: AsyncDb
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await publish_async(connection, a_bell(2), at=SystemClock().now())
        await until(lambda: ears.heard == [1, 2], seconds=1.5)


async def test_a_failing_handler_has_its_job_held_until_it_is_replayed(
    dsn: str, pool: Pool, ears: Ears, caplog: pytest.LogCaptureFixture
) -> None:
    ears.troubles = [ValueError("the rope broke")]
    with pool.connection() as db:
        subscriber = subscribe(db, ears)
        publish(db, a_bell(), at=SystemClock().now())
        async with at_work(dsn, pool, subscriber):
            await until(lambda: held(db))
            (job,) = held(db)
            assert (job.subscriber, job.event_type, job.subject, job.error) == (
                "tests.ears",
                "tests.bell_rung.v1",
                "north",
                "ValueError: the rope broke",
            )
            assert replay(db, [job.job_id]) == 1
            await until(lambda: ears.heard == [1])
        assert held(db) == []


async def test_a_held_job_can_be_discarded_and_its_event_stays(
    dsn: str, pool: Pool, ears: Ears, caplog: pytest.LogCaptureFixture
) -> None:
    ears.troubles = [ValueError("the rope broke")]
    with pool.connection() as db:
        subscriber = subscribe(db, ears)
        publish(db, a_bell(), at=SystemClock().now())
        async with at_work(dsn, pool, subscriber):
            await until(lambda: held(db))
        (job,) = held(db)
        assert discard(db, [job.job_id]) == 1
        assert held(db) == []
        assert read(db, job.event_id) is not None


async def test_a_handler_may_ask_to_be_called_later(dsn: str, pool: Pool, ears: Ears) -> None:
    ears.troubles = [RetryLater("not awake", after=timedelta(seconds=0.2))]
    with pool.connection() as db:
        subscriber = subscribe(db, ears)
        publish(db, a_bell(), at=SystemClock().now())
    async with at_work(dsn, pool, subscriber):
        await until(lambda: ears.heard == [1])


async def test_the_worker_waits_for_what_is_not_due(dsn: str, pool: Pool, ears: Ears) -> None:
    now = SystemClock().now()
    with pool.connection() as db:
        subscriber = subscribe(db, ears)
        publish(db, a_bell(), at=now, due=now + timedelta(seconds=1))
        db.execute("UPDATE pgqueuer.pgqueuer SET execute_after = created")
    async with at_work(dsn, pool, subscriber):
        await until(lambda: ears.heard)
    assert SystemClock().now() >= now + timedelta(seconds=1)


async def test_the_worker_outlives_a_cut_connection_and_tells_it_once(
    dsn: str, pool: Pool, ears: Ears, caplog: pytest.LogCaptureFixture
) -> None:
    with pool.connection() as db:
        subscriber = subscribe(db, ears)
        async with at_work(dsn, pool, subscriber):
            publish(db, a_bell(1), at=SystemClock().now())
            await until(lambda: ears.heard == [1])
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            publish(db, a_bell(2), at=SystemClock().now())
            await until(lambda: ears.heard == [1, 2])
    told = [r.getMessage() for r in caplog.records if r.name != "psycopg.pool"]
    assert [line.partition(":")[0] for line in told] == ["events wait for the database"]


_DOOMED = """
    import asyncio, sys, time
    from cloud.kit.clock import SystemClock
    from cloud.kit.db import open_pool
    from cloud.kit.events import Subscriber, run_events
    from tests.cloud.kit.test_events import BellRung

    def hang(db, event):
        print("in flight", flush=True)
        time.sleep(60)

    dsn = sys.argv[1]
    subscriber = Subscriber("tests.ears", (BellRung,), hang)
    asyncio.run(run_events(dsn, open_pool(dsn), [subscriber], SystemClock()))
"""


def die_in_flight(dsn: str) -> None:
    """Run a worker in a process of its own and kill it while it handles an event."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_DOOMED), dsn], stdout=subprocess.PIPE, text=True
    ) as doomed:
        assert doomed.stdout is not None
        assert doomed.stdout.readline() == "in flight\n"
        doomed.send_signal(signal.SIGKILL)


async def test_a_killed_workers_job_is_taken_over(dsn: str, pool: Pool, ears: Ears) -> None:
    with pool.connection() as db:
        subscriber = subscribe(db, ears)
        publish(db, a_bell(), at=SystemClock().now())
    await asyncio.to_thread(die_in_flight, dsn)
    async with at_work(dsn, pool, subscriber):
        await until(lambda: ears.heard == [1], seconds=15)


def test_the_queue_tables_are_what_the_installed_pgqueuer_expects(dsn: str) -> None:
    from importlib.resources import files

    from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
    from pgqueuer.domain.settings import DBSettings

    wanted = QueryBuilderEnvironment(DBSettings(db_schema="pgqueuer")).build_install_query()
    installed = (files("cloud.kit") / "migrations" / "0001_pgqueuer.sql").read_text()
    assert installed.partition("\n")[2].split() == wanted.partition("\n")[2].split()
