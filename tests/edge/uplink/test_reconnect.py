"""Losing the link: the session returns, the uplink connects again and tells so calmly."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.clock import ClockOffset, ManualClock, SystemClock
from edge.identity.keys import FileKeyStore, KeyStore
from edge.journal import Journal
from edge.settings import Mqtt
from edge.uplink.link import ClosedByBrokerError, LinkLostError
from edge.uplink.session import About
from edge.uplink.uplink import Uplink
from edge.uplink.voice import AGAIN_S, Voice
from protocol.messages import Hello, decode_status
from protocol.topics import Leaf

CLOSED = ClosedByBrokerError("the broker closed the connection")
REFUSED = LinkLostError("connection refused")


class FlakyBroker:
    """Lets each connection die right after its hello, except for the last."""

    def __init__(self, *, lives: int) -> None:
        self.lives = lives
        self.asked: list[tuple[Mqtt, str, bytes]] = []
        self.hellos: list[Hello] = []
        self.greeted = asyncio.Event()
        self.lasting = asyncio.Event()

    @asynccontextmanager
    async def connect(
        self, settings: Mqtt, device_id: str, will: bytes, keys: KeyStore
    ) -> AsyncIterator["FlakyBroker"]:
        self.asked.append((settings, device_id, will))
        self.greeted.clear()
        yield self

    async def publish(self, leaf: Leaf, payload: bytes) -> None:
        if leaf == "status" and isinstance(hello := decode_status(payload), Hello):
            self.hellos.append(hello)
            self.greeted.set()
            if len(self.hellos) > self.lives:
                self.lasting.set()

    async def receive(self) -> tuple[Leaf, bytes]:
        await self.greeted.wait()
        if len(self.hellos) > self.lives:
            await asyncio.Event().wait()
        raise LinkLostError("pulled out")


async def test_after_a_lost_link_the_uplink_connects_and_says_hello_again(tmp_path: Path) -> None:
    clock = SystemClock()
    journal = await Journal.open(tmp_path / "j.db", clock, boot_id=7)
    broker = FlakyBroker(lives=2)
    uplink = Uplink(
        Mqtt(),
        About("demo-001", "jbd_uart"),
        keys=FileKeyStore(tmp_path / "identity"),
        journal=journal,
        clock=clock,
        offset=ClockOffset(clock),
        connect=broker.connect,
    )
    work = asyncio.create_task(uplink.run())
    waits = asyncio.create_task(broker.lasting.wait())
    await asyncio.wait({work, waits}, timeout=15, return_when=asyncio.FIRST_COMPLETED)
    assert not work.done(), "the lost link was taken for the uplink's own end"
    assert work.cancelling() == 0
    assert len({hello.nonce for hello in broker.hellos}) == len(broker.asked) == 3
    assert uplink.connected
    work.cancel()
    await asyncio.wait({work, waits})
    await journal.close()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.INFO]


@pytest.fixture
def voice(caplog: pytest.LogCaptureFixture) -> tuple[Voice, ManualClock]:
    caplog.set_level(logging.DEBUG, "edge")
    clock = ManualClock()
    return Voice("b:1", "demo-001", clock), clock


def test_a_broker_that_stays_away_is_told_once(
    voice: tuple[Voice, ManualClock], caplog: pytest.LogCaptureFixture
) -> None:
    teller, clock = voice
    for _ in range(20):
        teller.lost(REFUSED, 2.0)
        clock.advance(30)
    teller.connected()
    assert said(caplog) == [
        "broker b:1: connection refused; next try in 2.0 s",
        "broker b:1 connected",
    ]


def test_two_agents_with_one_id_are_asked_about_and_do_not_fill_the_log(
    voice: tuple[Voice, ManualClock], caplog: pytest.LogCaptureFixture
) -> None:
    teller, clock = voice
    for _ in range(int(AGAIN_S)):
        teller.connected()
        teller.lost(CLOSED, 0.5)
        clock.advance(1)
    asked = [line for line in said(caplog) if "does another agent use the id demo-001?" in line]
    assert len(asked) == 1
    assert len(said(caplog)) <= 6
    clock.advance(AGAIN_S)
    teller.connected()
    teller.lost(CLOSED, 0.5)
    assert said(caplog)[-1] == "broker b:1: the broker closed the connection; next try in 0.5 s"
