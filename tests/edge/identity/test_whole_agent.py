"""A whole agent that begins with nothing but a claim."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edge.main import opened
from edge.settings import Battery, Device, Identity, Intervals, JournalFile, Settings
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from tests.edge.broker import TlsBroker
from tests.edge.identity.listener import Listener, a_listener
from tests.edge.uplink.sky import a_sky

DEVICE = "begins-001"


@pytest.fixture
async def listener(broker: TlsBroker) -> AsyncIterator[Listener]:
    async with a_listener(broker.authority) as listener:
        listener.claims["the-claim"] = "new"
        yield listener


def settings(folder: Path, broker: TlsBroker, url: str) -> Settings:
    return Settings(
        Device(DEVICE),
        Battery("jbd_uart", str(folder / "battery")),
        broker.mqtt,
        JournalFile(str(folder / "j.db")),
        Intervals(poll_s=0.05, flush_s=0.1, seal_s=0.2),
        Identity(str(folder / "identity"), url, "the-claim", broker.authority.ca_pem),
    )


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_with_a_claim_it_enrols_connects_and_delivers_and_rotates_its_key(
    tmp_path: Path, broker: TlsBroker, listener: Listener
) -> None:
    async with (
        a_sky(broker.url, DEVICE) as sky,
        serve(build_shim("jbd"), link_path=tmp_path / "battery"),
        opened(settings(tmp_path, broker, listener.url)) as agent,
    ):
        work = asyncio.create_task(agent.run())
        await until(lambda: bool(sky.segments))
        first = (tmp_path / "identity" / "key.pem").read_text()
        await agent.enroller.rotate()
        await until(lambda: len({hello.nonce for hello in sky.hellos}) == 2)
        assert not work.done()
        assert (tmp_path / "identity" / "key.pem").read_text() != first
        work.cancel()
        await asyncio.wait({work})
    assert [path for path, _, _ in listener.asked] == ["/device/enrol", "/device/renew"]


async def test_while_the_cloud_is_away_it_journals_and_delivers_everything_later(
    tmp_path: Path, broker: TlsBroker, listener: Listener
) -> None:
    listener.trouble = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"
    async with (
        a_sky(broker.url, DEVICE) as sky,
        serve(build_shim("jbd"), link_path=tmp_path / "battery"),
        opened(settings(tmp_path, broker, listener.url)) as agent,
    ):
        work = asyncio.create_task(agent.run())
        await until(lambda: agent.waiting > 10)
        assert sky.heard == []
        listener.trouble = b""
        await until(lambda: bool(sky.segments) and agent.waiting < 10)
        assert min(one.first_seq for one in sky.segments) == 1
        work.cancel()
        await asyncio.wait({work})
