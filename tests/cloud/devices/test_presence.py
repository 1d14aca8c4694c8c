"""Hellos and last wills, on a real broker and database."""

import asyncio
from datetime import datetime, timedelta

from msgspec.structs import replace
from psycopg import DataError
from pytest_mock import MockerFixture

from cloud.devices import api, metrics, store
from cloud.kit.db import Db
from cloud.kit.scope import Scope
from protocol.messages import Gone, Hello, LaneAck, LaneState, encode
from protocol.topics import subject
from tests.broker import OpenNats
from tests.cloud.devices.conftest import Connect, eventually, workers
from tests.cloud.sealed import EPOCH_HEX, NOON, NOON_MS, signals


def hello(nonce: str = "nonce-0001", *lanes: LaneState) -> Hello:
    return Hello(
        nonce=nonce,
        sent_at_ms=NOON_MS - 1_234,
        boot_id=7,
        lanes=list(lanes) or [LaneState("signal", EPOCH_HEX, 1, 0)],
        agent_version="1.2.3",
        battery="jbd_uart",
        capabilities=["locate"],
    )


async def test_a_hello_is_answered_even_when_nothing_is_committed(
    dsn: str, nats: OpenNats, device: Connect
) -> None:
    async with workers(dsn, nats), device("hello-001") as sender:
        await sender.say(hello())
        ack = await sender.ack()
    assert ack.lanes == [LaneAck("signal", EPOCH_HEX, 0)]
    assert (ack.nonce, ack.hello_sent_at_ms, ack.at_ms) == ("nonce-0001", NOON_MS - 1_234, NOON_MS)


async def test_a_hello_is_answered_with_what_is_committed(
    dsn: str, nats: OpenNats, device: Connect
) -> None:
    async with workers(dsn, nats), device("hello-002") as sender:
        await sender.send("up", signals(1, 10))
        await sender.send("up", signals(21, 10))
        await sender.ack()
        await asyncio.sleep(0.1)
        lanes = [LaneState("signal", EPOCH_HEX, 1, 30), LaneState("fact", EPOCH_HEX, 1, 0)]
        await sender.say(hello("nonce-0002", *lanes))
        while (ack := await sender.ack()).nonce is None:
            pass
    assert sorted(ack.lanes, key=lambda lane: lane.lane) == [
        LaneAck("fact", EPOCH_HEX, 0),
        LaneAck("signal", EPOCH_HEX, 10, [(21, 30)]),
    ]


async def test_a_hello_tells_what_its_journal_no_longer_holds(
    dsn: str, nats: OpenNats, device: Connect, row: Db
) -> None:
    async with workers(dsn, nats), device("hello-003") as sender:
        await sender.say(hello("nonce-0003", LaneState("signal", EPOCH_HEX, 41, 60)))
        assert (await sender.ack()).lanes == [LaneAck("signal", EPOCH_HEX, 40)]
    (view,) = [d for d in api.devices(row, NOON) if d.id == "hello-003"]
    assert [(lane.gaps, lane.missing) for lane in view.lanes] == [(1, 40)]


async def test_a_hello_says_who_is_there(
    dsn: str, nats: OpenNats, device: Connect, row: Db
) -> None:
    async with workers(dsn, nats), device("hello-004") as sender:
        await sender.say(hello())
        await sender.ack()
    (view,) = [d for d in api.devices(row, NOON) if d.id == "hello-004"]
    assert (view.connected, view.agent_version, list(view.capabilities)) == (
        True,
        "1.2.3",
        ["locate"],
    )
    later = api.connections(row, NOON + timedelta(seconds=91))["hello-004"]
    assert later == api.Connection(connected=False, last_heard_at=NOON)


async def test_only_the_will_of_the_present_connection_counts(
    dsn: str, nats: OpenNats, device: Connect, row: Db
) -> None:
    async with workers(dsn, nats), device("hello-005") as sender:
        for nonce in ("nonce-old1", "nonce-new1"):
            await sender.say(hello(nonce))
            await sender.ack()
        await sender.send("status", encode(Gone(nonce="nonce-old1")))
        await sender.say(hello("nonce-new1"))
        await sender.ack()
        assert api.connections(row, NOON)["hello-005"].connected
        await sender.send("status", encode(Gone(nonce="nonce-new1")))
        await eventually(lambda: not api.connections(row, NOON)["hello-005"].connected)


async def test_a_hello_that_cannot_be_written_costs_no_other_its_answer(
    dsn: str, nats: OpenNats, device: Connect, mocker: MockerFixture
) -> None:
    greet = store.greet

    def choosy(db: Db, scope: Scope, device_id: str, hello: Hello, at: datetime) -> None:
        if device_id == "poison-01":
            raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        greet(db, scope, device_id, hello, at)

    mocker.patch.object(store, "greet", choosy)
    before = dropped("status")
    async with workers(dsn, nats), device("poison-01") as poison, device("hello-006") as sender:
        await poison.client.publish(subject(poison.id, "status"), encode(hello()))
        await poison.client.publish(subject(sender.id, "status"), encode(hello()))
        await poison.client.flush()
        assert (await sender.ack()).nonce == "nonce-0001"
        assert await poison.hears_nothing()
    assert dropped("status") == before + 1


async def test_a_hello_with_a_nul_is_counted_and_forgotten(
    dsn: str, nats: OpenNats, device: Connect
) -> None:
    before = dropped("status")
    async with workers(dsn, nats), device("hello-007") as sender:
        await sender.say(replace(hello(), agent_version="1.0\0"))
        await sender.say(hello("nonce-0007"))
        assert (await sender.ack()).nonce == "nonce-0007"
    assert dropped("status") == before + 1


def dropped(why: str) -> float:
    return float(metrics.DROPPED.labels(why)._value.get())


async def test_a_stranger_and_nonsense_get_no_answer(
    dsn: str, nats: OpenNats, device: Connect
) -> None:
    async with workers(dsn, nats), device("unknown-01", enrolled=False) as sender:
        await sender.say(hello())
        await sender.send("status", b"nonsense")
        assert await sender.hears_nothing()
