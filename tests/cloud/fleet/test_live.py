"""The live view: everything first, then each change, to every watcher."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from cloud.devices import api as devices
from cloud.devices.api import CommandRow
from cloud.devices.commit import Parts, commit_batch
from cloud.devices.opening import open_all
from cloud.fleet.api import Live, VehicleView
from cloud.fleet.reactions import SUBSCRIBERS
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, connect, open_pool
from cloud.kit.events import register, run_due
from cloud.kit.scope import DEMO, Scope
from cloud.telemetry import api as telemetry
from tests.cloud.sealed import NOON, NOON_MS, arrival, signals

IDS = ("live-001", "live-002")

_seqs = itertools.count(1)


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with connect(dsn) as db:
        register(db, ["fleet"], SUBSCRIBERS)
        for device_id in IDS:
            devices.enrol(db, device_id, "jbd_uart", NOON)
        run_due(db, SUBSCRIBERS, NOON)
    made = open_pool(dsn, max_size=2)
    yield made
    made.close()


@pytest.fixture
def live(pool: Pool) -> Live:
    return Live(pool, ManualClock(NOON), every_s=0.02)


async def report(pool: Pool, device_id: str, centivolts: int) -> None:
    """Commit one reading, newer than all before."""
    seq = next(_seqs)

    def commit() -> None:
        payload = signals(seq, 1, start_ms=NOON_MS + seq, columns={1: [centivolts]})
        candidates, _ = open_all([arrival(payload, device_id)], {})
        with pool.connection() as db:
            parts = Parts(telemetry.keep, (telemetry.project,))
            commit_batch(db, candidates, (), parts, NOON + timedelta(milliseconds=seq))

    await asyncio.to_thread(commit)


async def next_of(changes: AsyncGenerator[list[VehicleView]]) -> dict[str, float | None]:
    async with asyncio.timeout(5):
        return {found.id: found.voltage_v for found in await anext(changes)}


async def test_a_watcher_sees_all_vehicles_then_the_change(live: Live, pool: Pool) -> None:
    async with contextlib.aclosing(live.changes(DEMO)) as changes:
        assert set(await next_of(changes)) == set(IDS)
        await report(pool, "live-001", 3_601)
        assert await next_of(changes) == {"live-001": 36.01}


async def test_a_second_watcher_starts_with_all_vehicles_too(live: Live, pool: Pool) -> None:
    async with contextlib.aclosing(live.changes(DEMO)) as first:
        await next_of(first)
        async with contextlib.aclosing(live.changes(DEMO)) as second:
            assert set(await next_of(second)) == set(IDS)
            await report(pool, "live-002", 3_602)
            assert await next_of(first) == await next_of(second) == {"live-002": 36.02}


async def test_a_slow_watcher_gets_the_newest_of_each_vehicle(live: Live, pool: Pool) -> None:
    async with contextlib.aclosing(live.changes(DEMO)) as changes:
        await next_of(changes)
        for centivolts in (3_611, 3_612, 3_613):
            await report(pool, "live-001", centivolts)
            await asyncio.sleep(0.06)
        assert await next_of(changes) == {"live-001": 36.13}


async def test_nobody_watching_means_nobody_polling(live: Live) -> None:
    async with contextlib.aclosing(live.changes(DEMO)) as changes:
        await next_of(changes)
        assert "fleet-live" in {task.get_name() for task in asyncio.all_tasks()}
    await asyncio.sleep(0)
    assert "fleet-live" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_closing_ends_every_stream(live: Live) -> None:
    async with contextlib.aclosing(live.changes(DEMO)) as changes:
        await next_of(changes)
        live.close()
        async with asyncio.timeout(5):
            assert [found async for found in changes] in ([], [[]])


async def test_a_watcher_hears_nothing_of_another_tenant(live: Live, pool: Pool) -> None:
    def row(city: str) -> CommandRow:
        return CommandRow(
            UUID(int=1),
            "demo",
            city,
            *("live-001", "live-001", "lock", {}, "a test wants it", UUID(int=2), "ada"),
            NOON,
            "pending",
            NOON,
        )

    async with (
        contextlib.aclosing(live.news(DEMO)) as ours,
        contextlib.aclosing(live.news(Scope("other", "demo"))) as theirs,
        asyncio.timeout(10),
    ):
        waiting = asyncio.ensure_future(anext(theirs))
        assert {found.id for found in (await anext(ours)).vehicles} == set(IDS)
        live.tell_command(row("elsewhere"))
        live.tell_command(row("demo"))
        assert [found.city for found in (await anext(ours)).commands] == ["demo"]
        await report(pool, "live-001", 3_701)
        assert [found.id for found in (await anext(ours)).vehicles] == ["live-001"]
        assert not waiting.done()
        live.close()
        assert (await waiting).vehicles == []
