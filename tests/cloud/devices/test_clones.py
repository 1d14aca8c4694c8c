"""One identity in two places, on a real broker and database; and vehicles that only come back."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiomqtt
import pytest

from cloud.devices import alarms
from cloud.devices.gate_takeovers import Takeovers
from cloud.devices.link import connect_link
from cloud.kit.clock import SystemClock
from cloud.kit.db import Db
from cloud.kit.nats import GATE_INBOX
from protocol.messages import Hello, encode
from tests.broker import Identity, OpenNats
from tests.cloud.devices.conftest import eventually, workers
from tests.cloud.devices.test_gate import Enrolled, a_gate, enrolled

__all__ = ["enrolled"]

STAYS_S = 2.0


class Agent:
    """A run of an agent, as the broker and the cloud see it. Its old lines are never closed."""

    def __init__(self, nats: OpenNats, who: Identity) -> None:
        self._nats = nats
        self._who = who
        self._boot_id = secrets.randbits(32)
        self._tried = 0
        self._lines = contextlib.AsyncExitStack()

    async def connect(self) -> aiomqtt.Client:
        self._tried += 1
        return await self._lines.enter_async_context(
            aiomqtt.Client(
                self._nats.mqtt_host,
                self._nats.mqtt_port,
                identifier=self._who.device_id,
                tls_context=self._who.tls,
                timeout=1.5,
            )
        )

    async def say_hello(self, line: aiomqtt.Client) -> None:
        topic = f"mc/1/{self._who.device_id}"
        await line.subscribe(f"{topic}/ack")
        hello = Hello(
            nonce=secrets.token_hex(8),
            sent_at_ms=0,
            boot_id=self._boot_id,
            lanes=[],
            agent_version="1",
            tried=self._tried,
        )
        await line.publish(f"{topic}/status", encode(hello))
        async with asyncio.timeout(5):
            await anext(line.messages)

    async def come(self) -> aiomqtt.Client:
        while True:
            try:
                line = await self.connect()
                await self.say_hello(line)
            except aiomqtt.MqttError:  # too soon after a takeover, says the broker
                await asyncio.sleep(0.5)
            else:
                return line

    def cut(self) -> None:
        """Forget every line without a word."""
        self._lines.pop_all()


@pytest.fixture
async def house(nats: OpenNats, dsn: str) -> AsyncIterator[None]:
    """The gate and the workers, on the real clock."""
    async with a_gate(nats, dsn), workers(dsn, nats, clock=SystemClock()):
        yield


@pytest.fixture
async def impatient(nats: OpenNats, dsn: str) -> AsyncIterator[None]:
    """One more watch over takeovers, that waits two seconds for a hello."""
    gate_url = nats.broker.gate_url
    assert gate_url is not None
    client = await connect_link(gate_url, name="test-takeovers", inbox=GATE_INBOX)
    watch = asyncio.create_task(Takeovers(client, dsn, SystemClock(), stays_s=STAYS_S).run())
    await asyncio.sleep(0.05)
    await client.flush()
    yield
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await client.close()


def told(row: Db, device_id: str) -> list[tuple[Any, ...]]:
    found = alarms.open_alarms(row, [device_id])
    return [(alarm.kind, alarm.detail["evidence"]) for alarm in found]


async def test_one_strange_connection_beside_a_living_agent_is_an_alarm(
    nats: OpenNats, enrolled: Enrolled, house: None, row: Db
) -> None:
    who = enrolled("clone-001")
    agent, thief = Agent(nats, who), Agent(nats, who)
    await agent.come()
    await thief.connect()  # without a word
    assert told(row, "clone-001") == []
    await agent.come()
    await eventually(lambda: told(row, "clone-001") == [("clone", "connections")])
    for _ in range(3):
        await agent.come()
    (alarm,) = alarms.open_alarms(row, ["clone-001"])
    assert (alarm.times, alarm.detail["not_tried"]) == (1, 1)
    agent.cut()
    thief.cut()


async def test_an_agent_that_runs_twice_is_an_alarm(
    nats: OpenNats, enrolled: Enrolled, house: None, row: Db
) -> None:
    who = enrolled("clone-002")
    agent, copy = Agent(nats, who), Agent(nats, who)
    await agent.come()
    await copy.come()
    assert told(row, "clone-002") == []
    await agent.come()
    await eventually(lambda: told(row, "clone-002") == [("clone", "boot_id")])
    agent.cut()
    copy.cut()


@pytest.mark.slow
async def test_who_takes_over_and_stays_without_a_hello_is_an_alarm(
    nats: OpenNats, enrolled: Enrolled, house: None, impatient: None, row: Db
) -> None:
    first, other = enrolled("clone-003"), enrolled("clone-004")
    agent, thief, honest = Agent(nats, first), Agent(nats, first), Agent(nats, other)
    for each in (agent, honest):
        await each.come()
    await thief.connect()
    await honest.come()
    await eventually(lambda: told(row, "clone-003") == [("clone", "no_hello")])
    assert told(row, "clone-004") == []
    for each in (agent, thief, honest):
        each.cut()


@pytest.mark.slow
async def test_honest_returns_raise_no_alarm(
    nats: OpenNats, enrolled: Enrolled, house: None, impatient: None, row: Db
) -> None:
    """Half-open lines, restarts, connections that came to nothing or were lost before a word."""
    who = enrolled("honest-001")
    agent = Agent(nats, who)
    line = await agent.come()
    for number in range(11):
        if number % 5 == 1:
            agent._tried += 1  # never reached the broker
        elif number % 5 == 3:
            agent.cut()
            agent = Agent(nats, who)
        elif number % 5 == 4:
            await agent.say_hello(line)
        elif number == 10:
            with contextlib.suppress(aiomqtt.MqttError):
                await agent.connect()  # let in, and lost before its hello
        line = await agent.come()
    await asyncio.sleep(STAYS_S + 6)
    assert told(row, "honest-001") == []
    counted = row.execute(
        "SELECT admitted FROM devices.presence WHERE device_id = 'honest-001'"
    ).fetchone()
    assert counted is not None
    assert counted[0] >= 11
    agent.cut()


async def test_a_hello_that_comes_after_the_next_connection_is_not_judged(
    nats: OpenNats, enrolled: Enrolled, house: None, row: Db
) -> None:
    from cloud.devices.service import Greeting, greet

    who = enrolled("honest-002")
    agent = Agent(nats, who)
    await agent.come()
    before = SystemClock().now()
    await agent.connect()
    late = Hello(
        nonce="late-nonce",
        sent_at_ms=0,
        boot_id=agent._boot_id,
        lanes=[],
        agent_version="1",
        tried=1,
    )
    after = before + timedelta(seconds=1)
    greet(row, [Greeting("honest-002", late, before)], after)
    assert told(row, "honest-002") == []
    greet(row, [Greeting("honest-002", late, after)], after)
    assert told(row, "honest-002") == [("clone", "connections")]
    agent.cut()
