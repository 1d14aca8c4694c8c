"""From the broker into Postgres and back, on both for real."""

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import pytest
from prometheus_client import REGISTRY

from cloud.devices import api
from cloud.devices.committer import Opened
from cloud.devices.ingest import AckStep, CommitStep
from cloud.kit.db import Db, connect
from cloud.kit.migrations import migrate
from cloud.kit.postgres import EmbeddedPostgres
from protocol.messages import LaneAck
from tests.broker import OpenNats
from tests.cloud.devices.conftest import Connect, eventually, workers
from tests.cloud.sealed import EPOCH_HEX, NOON, facts, hostile, signals


def lane(through: int, have: Sequence[tuple[int, int]] = (), name: str = "signal") -> LaneAck:
    return LaneAck(
        lane="fact" if name == "fact" else "signal",
        epoch=EPOCH_HEX,
        through_seq=through,
        have=list(have),
    )


def counted(name: str, **labels: str) -> float:
    """What a metric of this process counts now."""
    return REGISTRY.get_sample_value(f"mobility_{name}", labels) or 0.0


def not_committed() -> float:
    return counted("ingest_dropped_total", why="not committed")


async def test_a_segment_is_committed_and_acked(
    dsn: str, nats: OpenNats, device: Connect, row: Db
) -> None:
    async with workers(dsn, nats), device("ack-001") as sender:
        await sender.send("up", signals(1, 10))
        assert (await sender.ack()).lanes == [lane(10)]
    ledger = row.execute("SELECT through_seq FROM devices.ledger WHERE device_id = 'ack-001'")
    assert ledger.fetchall() == [(10,)]


async def test_facts_come_on_their_own_topic(dsn: str, nats: OpenNats, device: Connect) -> None:
    async with workers(dsn, nats), device("ack-002") as sender:
        await sender.send("fact", facts(1, ["a", "b"]))
        assert (await sender.ack()).lanes == [lane(2, name="fact")]


async def test_a_repeat_is_acked_again(dsn: str, nats: OpenNats, device: Connect) -> None:
    async with workers(dsn, nats), device("ack-003") as sender:
        for _ in range(2):
            await sender.send("up", signals(1, 10))
            assert (await sender.ack()).lanes == [lane(10)]
        await sender.send("up", signals(21, 10))
        assert (await sender.ack()).lanes == [lane(10, [(21, 30)])]


async def test_nothing_is_acked_while_the_commit_is_held_up(
    dsn: str, nats: OpenNats, device: Connect
) -> None:
    async with workers(dsn, nats), device("ack-004") as sender:
        with connect(dsn) as other, other.transaction():
            other.execute("LOCK TABLE telemetry.segment IN ACCESS EXCLUSIVE MODE")
            await sender.send("up", signals(1, 10))
            assert await sender.hears_nothing()
        assert (await sender.ack()).lanes == [lane(10)]


async def ack_then_commit(opened: Opened, commit: CommitStep, ack: AckStep) -> None:
    """Break the promise: believe the headers and ack what is not committed yet."""
    guessed: Mapping[str, Sequence[LaneAck]] = {
        c.arrival.device_id: [lane(c.header.last_seq)] for c in opened.candidates
    }
    await ack(guessed)
    await commit()


async def test_a_broken_promise_is_noticed(dsn: str, nats: OpenNats, device: Connect) -> None:
    async with workers(dsn, nats, settle=ack_then_commit), device("ack-005") as sender:
        with connect(dsn) as other, other.transaction():
            other.execute("LOCK TABLE telemetry.segment IN ACCESS EXCLUSIVE MODE")
            await sender.send("up", signals(1, 10))
            assert not await sender.hears_nothing()


async def test_a_stranger_is_not_acked_and_told_of_once(
    dsn: str, nats: OpenNats, device: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with workers(dsn, nats), device("stranger-1", enrolled=False) as sender:
        for _ in range(3):
            await sender.send("up", signals(1, 10))
            assert await sender.hears_nothing(0.1)
    told = [record for record in caplog.records if "stranger-1" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.WARNING]


async def test_two_workers_share_the_devices_and_double_nothing(
    dsn: str, nats: OpenNats, device: Connect, row: Db
) -> None:
    async with workers(dsn, nats), workers(dsn, nats), device("pair-000") as sender:
        for number in range(1, 20):
            async with device(f"pair-{number:03d}"):
                pass
        for seq in range(1, 101, 10):
            for number in range(20):
                payload = signals(seq, 10)
                await sender.client.publish(f"mc.1.pair-{number:03d}.up", payload)
                await sender.client.publish(f"mc.1.pair-{number:03d}.up", payload)
        await sender.client.flush()
        await eventually(lambda: _sum(row, "repeats") == 200)
    assert (_sum(row, "through_seq"), _sum(row, "records")) == (2_000, 2_000)
    rows = row.execute("SELECT sum(n) FROM telemetry.segment WHERE device_id LIKE 'pair-%'")
    assert rows.fetchone() == (2_000,)


async def test_a_flooding_device_does_not_hold_up_another(
    dsn: str, nats: OpenNats, device: Connect
) -> None:
    async with workers(dsn, nats), device("flood-001") as flood, device("calm-001") as calm:
        for first in range(1, 4096 * 300, 4096):
            await flood.client.publish("mc.1.flood-001.up", hostile(first, columns=32))
        await flood.client.flush()
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await calm.send("up", signals(1, 10))
        assert (await calm.ack()).lanes == [lane(10)]
        waited_s = time.monotonic() - started
        flooded = flood.acks.pending_msgs
    assert waited_s < 2
    assert flooded < 290


def _sum(db: Db, column: str) -> int:
    rows = db.execute(
        f"SELECT coalesce(sum({column}), 0)::int FROM devices.ledger"
        " WHERE device_id LIKE 'pair-%'".encode()
    )
    return int(next(rows)[0])


class OwnPostgres(EmbeddedPostgres):
    """A server that a test may kill; nobody else looks for a free port where it lives."""

    wanted_ports = MappingProxyType({"port": secrets.SystemRandom().randint(30_000, 32_000)})


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    with OwnPostgres(tmp_path_factory.mktemp("mortal")) as server:
        migrate(server.dsn, ["devices", "telemetry"])
        yield server


@pytest.mark.slow
async def test_a_lost_database_means_no_acks_and_its_return_brings_them(
    nats: OpenNats,
    device: Connect,
    mortal: OwnPostgres,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with connect(mortal.dsn) as db:
        api.enrol(db, "down-001", "jbd_uart", NOON)
    async with workers(mortal.dsn, nats), device("down-001", enrolled=False) as sender:
        await sender.send("up", signals(1, 10))
        await sender.ack()
        mortal.kill()
        acked, given_up = counted("ack_lag_seconds_count"), not_committed()
        try:
            for _ in range(5):
                await sender.send("up", signals(11, 10))
            assert await sender.hears_nothing(1.0)
            await eventually(lambda: not_committed() > given_up)
            assert counted("ack_lag_seconds_count") == acked, "what is not acked has no ack lag"
        finally:
            assert await asyncio.to_thread(mortal.start) == mortal.dsn
        assert (await sender.sends_until_acked(signals(11, 10))).lanes == [lane(20)]
    told = [r.getMessage() for r in caplog.records if "the database is" in r.getMessage()]
    assert len(told) == 2
    assert "away" in told[0]
    assert "back" in told[1]


async def test_a_wiped_broker_is_found_again(dsn: str, nats: OpenNats, device: Connect) -> None:
    async with workers(dsn, nats), device("wiped-001") as sender:
        await sender.send("up", signals(1, 10))
        await sender.ack()
        await asyncio.to_thread(nats.wipe_store)
        assert (await sender.sends_until_acked(signals(11, 10))).lanes == [lane(20)]
