"""The gate on a real broker and database: who comes in, who is thrown out, who is there twice."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import nats as nats_py
import psycopg
import pytest
from prometheus_client import REGISTRY

from cloud.devices import alarms, enrolment, service
from cloud.devices.gate import Gate
from cloud.devices.link import connect_link
from cloud.devices.store import certificates
from cloud.kit.clock import SystemClock
from cloud.kit.db import Db
from cloud.kit.nats import GATE_INBOX
from cloud.kit.scope import DEMO
from tests.broker import Identity, OpenNats, an_identity, raw_connection
from tests.cloud.devices.conftest import eventually

LIFETIME = timedelta(days=90)
Enrolled = Callable[..., Identity]


@pytest.fixture
def enrolled(nats: OpenNats, row: Db, tmp_path: Path) -> Enrolled:
    """Return a function that enrols a device and notes its certificate."""

    def enrol(device_id: str, *, lifetime: timedelta = LIFETIME) -> Identity:
        now = datetime.now(UTC)
        service.enrol(row, device_id, "jbd_uart", now)
        identity = an_identity(nats, device_id, tmp_path, lifetime=lifetime)
        certificates.add_certificate(row, DEMO, device_id, identity.issued, now)
        return identity

    return enrol


@pytest.fixture
async def gate(nats: OpenNats, dsn: str) -> AsyncIterator[None]:
    """The gate, open."""
    async with a_gate(nats, dsn):
        yield


@contextlib.asynccontextmanager
async def a_gate(nats: OpenNats, dsn: str) -> AsyncIterator[Gate]:
    broker = nats.broker
    assert broker.gate_url is not None
    client = await connect_link(broker.gate_url, name="test-gate", inbox=GATE_INBOX)
    gate = Gate(client, broker.issuer_seed, dsn, SystemClock())
    work = asyncio.create_task(gate.run())
    await asyncio.sleep(0.05)
    await client.flush()
    try:
        yield gate
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await client.close()


def device(nats: OpenNats, who: Identity, *, client_id: str | None = None) -> aiomqtt.Client:
    return aiomqtt.Client(
        nats.mqtt_host,
        nats.mqtt_port,
        identifier=client_id or who.device_id,
        tls_context=who.tls,
        timeout=5,
    )


async def is_refused(client: aiomqtt.Client) -> bool:
    try:
        async with client:
            return False
    except aiomqtt.MqttError:
        return True


def counted(reason: str, what: str = "connect") -> float:
    labels = {"what": what, "reason": reason}
    return REGISTRY.get_sample_value("mobility_refused_total", labels) or 0


async def cut(mqtt: aiomqtt.Client) -> bool:
    """Wait until the broker ends a connection."""
    with contextlib.suppress(aiomqtt.MqttError):
        async with asyncio.timeout(10):
            async for _ in mqtt.messages:
                pass
    return True


async def test_an_enrolled_device_comes_in_and_is_heard(
    nats: OpenNats, enrolled: Enrolled, gate: None
) -> None:
    ingest = await nats_py.connect(nats.url_of("ingest"))
    heard = await ingest.subscribe("s.*.in-001")
    await ingest.flush()
    async with device(nats, enrolled("in-001")) as mqtt:
        await mqtt.publish("mc/1/in-001/up", b"here I am")
        assert (await heard.next_msg(timeout=5)).data == b"here I am"
    await ingest.close()


async def test_a_client_id_that_is_not_the_certificates_is_refused_and_counted(
    nats: OpenNats, enrolled: Enrolled, gate: None, caplog: pytest.LogCaptureFixture
) -> None:
    who, before = enrolled("id-001"), counted("other_client_id")
    enrolled("id-002")
    for _ in range(3):
        assert await is_refused(device(nats, who, client_id="id-002"))
    assert counted("other_client_id") == before + 3
    told = [each.getMessage() for each in caplog.records if "id-002" in each.getMessage()]
    assert told == [
        "refused connect of id-002: other client id, its certificate is id-001's; from 127.0.0.1"
    ]
    async with device(nats, who):
        pass


async def test_a_certificate_nobody_noted_is_refused(
    nats: OpenNats, enrolled: Enrolled, gate: None, tmp_path: Path
) -> None:
    enrolled("noted-001")
    before = counted("unknown_certificate")
    assert await is_refused(device(nats, an_identity(nats, "noted-001", tmp_path)))
    assert counted("unknown_certificate") == before + 1


async def test_a_revoked_certificate_is_refused_and_a_new_one_is_not(
    nats: OpenNats, enrolled: Enrolled, gate: None, row: Db
) -> None:
    old, before = enrolled("gone-001"), counted("revoked")
    async with device(nats, old):
        pass
    enrolment.revoke(row, "gone-001", "stolen", datetime.now(UTC))
    assert await is_refused(device(nats, old))
    assert counted("revoked") == before + 1
    async with device(nats, enrolled("gone-001")):
        pass


@pytest.mark.slow
async def test_a_revocation_cuts_the_live_connection_and_no_other(
    nats: OpenNats, enrolled: Enrolled, gate: None, row: Db
) -> None:
    bad, good = enrolled("cut-001"), enrolled("cut-002")
    async with device(nats, good) as other:
        with contextlib.suppress(aiomqtt.MqttError):
            async with device(nats, bad) as mqtt:
                enrolment.revoke(row, "cut-001", "stolen", datetime.now(UTC))
                assert await cut(mqtt)
        # Through all rounds of the cutter: the good one is still served.
        await asyncio.sleep(1.2)
        assert list(await other.subscribe("mc/1/cut-002/cmd")) == [0]


async def test_a_revocation_that_nobody_heard_is_found_out_when_the_gate_comes_back(
    nats: OpenNats, enrolled: Enrolled, dsn: str, row: Db
) -> None:
    who = enrolled("missed-001")
    async with contextlib.AsyncExitStack() as stack:
        async with a_gate(nats, dsn):
            mqtt = await stack.enter_async_context(device(nats, who))
        enrolment.revoke(row, "missed-001", "stolen", datetime.now(UTC))
        async with a_gate(nats, dsn):
            assert await cut(mqtt)
        stack.pop_all()


@pytest.mark.slow
async def test_two_gates_share_the_work_and_both_cut(
    nats: OpenNats, enrolled: Enrolled, dsn: str, row: Db
) -> None:
    async with a_gate(nats, dsn), a_gate(nats, dsn):
        for number in range(8):
            async with device(nats, enrolled(f"share-{number:03}")):
                pass
        who = enrolled("share-100")
        with contextlib.suppress(aiomqtt.MqttError):
            async with device(nats, who) as mqtt:
                enrolment.revoke(row, "share-100", "stolen", datetime.now(UTC))
                assert await cut(mqtt)


@pytest.mark.slow
async def test_the_connection_ends_with_the_certificate(
    nats: OpenNats, enrolled: Enrolled, gate: None
) -> None:
    who = enrolled("short-001", lifetime=timedelta(seconds=2))
    with contextlib.suppress(aiomqtt.MqttError):
        async with device(nats, who) as mqtt:
            assert await cut(mqtt)
    assert datetime.now(UTC) >= who.issued.not_after - timedelta(seconds=1)


async def test_without_the_database_nobody_new_comes_in_and_nobody_goes(
    nats: OpenNats, enrolled: Enrolled, dsn: str
) -> None:
    who, late, before = enrolled("db-001"), enrolled("db-002"), counted("database_away")
    async with a_gate(nats, dsn) as gate, device(nats, who) as mqtt:
        gate._session.close()
        gate._session._dsn = psycopg.conninfo.make_conninfo(dsn, port=1)
        assert await is_refused(device(nats, late))
        assert counted("database_away") == before + 1
        assert list(await mqtt.subscribe("mc/1/db-001/cmd")) == [0]
        gate._session._dsn = dsn
        async with device(nats, late):
            pass


@pytest.mark.slow
async def test_two_clients_with_one_certificate_raise_one_alarm(
    nats: OpenNats, enrolled: Enrolled, gate: None, row: Db
) -> None:
    who = enrolled("twin-001")

    stop = threading.Event()

    def insist() -> None:
        while not stop.wait(0.1):
            with contextlib.suppress(OSError):
                link, _ = raw_connection((nats.mqtt_host, nats.mqtt_port), who.tls, who.device_id)
                with link:
                    link.settimeout(1)
                    while not stop.is_set() and link.recv(1):
                        pass

    clones = [asyncio.create_task(asyncio.to_thread(insist)) for _ in range(2)]
    try:
        await eventually(lambda: bool(alarms.open_alarms(row, ["twin-001"])))
    finally:
        stop.set()
        await asyncio.gather(*clones)
    (alarm,) = alarms.open_alarms(row, ["twin-001"])
    assert (alarm.kind, alarm.detail["evidence"]) == ("clone", "takeover")
    assert events(row, "twin-001") == [("devices.clone_suspected.v1", "takeover")]


async def test_coming_back_after_a_lost_network_raises_no_alarm(
    nats: OpenNats, enrolled: Enrolled, gate: None, row: Db
) -> None:
    who = enrolled("lost-001")
    async with contextlib.AsyncExitStack() as stack:
        # The broker does not know that the first connection is dead: nobody closed it.
        await stack.enter_async_context(device(nats, who))
        async with device(nats, who) as mqtt:
            assert list(await mqtt.subscribe("mc/1/lost-001/ack")) == [0]
            await asyncio.sleep(0.3)
        async with device(nats, who):
            await asyncio.sleep(0.3)
        stack.pop_all()
    assert alarms.open_alarms(row, ["lost-001"]) == []


def events(db: Db, device_id: str) -> list[tuple[Any, ...]]:
    return db.execute(
        "SELECT type, data->>'evidence' FROM kit.event"
        " WHERE type = 'devices.clone_suspected.v1' AND data->>'device_id' = %s",
        (device_id,),
    ).fetchall()
