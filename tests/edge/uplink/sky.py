"""The cloud's side of the broker, as small as it can be: it commits to memory and acks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import nats as nats_client
from nats.aio.client import Client
from nats.aio.msg import Msg

from protocol.messages import Ack, Gone, Hello, LaneAck, LaneName, decode_status, encode, epoch_hex
from protocol.segment import Header, Lane, read_header
from protocol.topics import device_of, subject

NAMES: dict[Lane, LaneName] = {Lane.FACT: "fact", Lane.SIGNAL: "signal"}


@dataclass
class Sky:
    """What one device sent, in order; `acks` off makes it a cloud whose database is away."""

    client: Client
    device_id: str
    ahead_ms: int = 0
    acks: bool = True
    heard: list[Hello | Gone | Header] = field(default_factory=list)
    committed: dict[tuple[Lane, int], set[int]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def hellos(self) -> list[Hello]:
        return [one for one in self.heard if isinstance(one, Hello)]

    @property
    def gone(self) -> list[Gone]:
        return [one for one in self.heard if isinstance(one, Gone)]

    @property
    def segments(self) -> list[Header]:
        return [one for one in self.heard if isinstance(one, Header)]

    async def take_status(self, message: Msg) -> None:
        if device_of(message.subject) != self.device_id:
            return
        status = decode_status(message.data)
        self._note(status)
        if isinstance(status, Hello) and self.acks:
            await self.ack(answer=status)

    async def take_segment(self, message: Msg) -> None:
        if message.subject.rpartition(".")[2] != self.device_id:
            return
        header = read_header(message.data)
        seqs = self.committed.setdefault((header.lane, header.epoch), set())
        self._note(header)
        if self.acks:
            seqs |= set(range(header.first_seq, header.last_seq + 1))
            await self.ack()

    async def ack(self, answer: Hello | None = None) -> None:
        lanes = [
            LaneAck(NAMES[lane], epoch_hex(epoch), max(seqs, default=0))
            for (lane, epoch), seqs in self.committed.items()
        ]
        ack = Ack(
            at_ms=time.time_ns() // 1_000_000 + self.ahead_ms,
            lanes=lanes,
            nonce=answer.nonce if answer else None,
            hello_sent_at_ms=answer.sent_at_ms if answer else None,
        )
        await self.client.publish(subject(self.device_id, "ack"), encode(ack))

    def _note(self, what: Hello | Gone | Header) -> None:
        self.heard.append(what)
        self.news.set()


@asynccontextmanager
async def a_sky(url: str, device_id: str) -> AsyncIterator[Sky]:
    """Listen on the broker's NATS side for one device."""
    client = await nats_client.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    sky = Sky(client, device_id)
    await client.subscribe("mc.1.*.status", cb=sky.take_status)
    await client.subscribe("s.*.*", cb=sky.take_segment)
    await client.subscribe("f.*.*", cb=sky.take_segment)
    await client.flush()
    try:
        yield sky
    finally:
        await client.close()
