"""A device's side of the broker, and workers on the cloud's side."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from cloud.devices import api
from cloud.devices.commit import Parts
from cloud.devices.ingest import Ingest, Settle, commit_then_ack
from cloud.devices.link import connect_link
from cloud.devices.presence import Presence
from cloud.kit.clock import Clock, ManualClock
from cloud.kit.db import Db, connect, open_pool
from cloud.telemetry import api as telemetry
from protocol.messages import Ack, Hello, decode_ack, encode
from protocol.topics import Leaf, subject
from tests.broker import OpenNats
from tests.cloud.devices.door import House, Serve, serving
from tests.cloud.sealed import NOON

PATIENCE_S = 10.0


@dataclass
class Device:
    """One device on the NATS side of the link."""

    id: str
    client: Client
    acks: Subscription

    async def send(self, leaf: Leaf, payload: bytes) -> None:
        await self.client.publish(subject(self.id, leaf), payload)
        await self.client.flush()

    async def say(self, hello: Hello) -> None:
        await self.send("status", encode(hello))

    async def ack(self, within_s: float = PATIENCE_S) -> Ack:
        message: Msg = await self.acks.next_msg(timeout=within_s)
        return decode_ack(message.data)

    async def sends_until_acked(self, payload: bytes) -> Ack:
        for _ in range(int(PATIENCE_S / 0.3)):
            await self.send("up", payload)
            with contextlib.suppress(TimeoutError):
                return await self.ack(0.3)
        raise TimeoutError("never acked")

    async def hears_nothing(self, for_s: float = 0.3) -> bool:
        try:
            await self.ack(for_s)
        except TimeoutError:
            return True
        return False


class Connect(Protocol):
    """Enrols a device, unless told not to, and connects it."""

    def __call__(
        self, device_id: str, *, enrolled: bool = True
    ) -> AbstractAsyncContextManager[Device]: ...


async def eventually(check: Callable[[], bool]) -> None:
    """Wait until `check` holds."""
    for _ in range(1_000):
        if check():
            return
        await asyncio.sleep(PATIENCE_S / 1_000)
    raise TimeoutError("waited in vain")


@pytest.fixture
def device(nats: OpenNats, row: Db) -> Connect:
    """Return a function that enrols and connects a device."""

    @contextlib.asynccontextmanager
    async def connected(device_id: str, *, enrolled: bool = True) -> AsyncIterator[Device]:
        if enrolled:
            api.enrol(row, device_id, "jbd_uart", NOON)
        client = await connect_link(nats.url)
        acks = await client.subscribe(subject(device_id, "ack"))
        await client.flush()
        try:
            yield Device(device_id, client, acks)
        finally:
            await client.close()

    return connected


@pytest.fixture
def row(dsn: str) -> Iterator[Db]:
    """A connection that commits, to look at what workers wrote."""
    with connect(dsn) as db:
        yield db


@contextlib.asynccontextmanager
async def workers(
    dsn: str,
    nats: OpenNats,
    *,
    settle: Settle = commit_then_ack,
    parts: Parts | None = None,
    clock: Clock | None = None,
    greeted: Callable[[Collection[str]], None] = lambda _device_ids: None,
) -> AsyncIterator[None]:
    """Run one ingest and one presence worker."""
    client = await connect_link(nats.url_of("ingest"))
    at = clock or ManualClock(NOON)
    made = parts or Parts(telemetry.keep, (telemetry.project,))
    ingest = Ingest(client, dsn, at, made, settle=settle)
    presence = Presence(client, dsn, at, greeted=greeted)
    tasks = [asyncio.create_task(work) for work in (ingest.run(), presence.run())]
    await client.flush()
    await asyncio.sleep(0.05)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()


@pytest.fixture
def serve(dsn: str, tmp_path: Path) -> Iterator[Serve]:
    """Return a function that serves devices with the limits it is told."""
    with open_pool(dsn, max_size=2) as pool:
        yield partial(serving, dsn, pool, tmp_path)


@pytest.fixture
async def house(serve: Serve) -> AsyncIterator[House]:
    """The device listener with the limits it has by itself."""
    async with serve() as served:
        yield served
