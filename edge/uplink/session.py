"""One connection from hello to its loss: acks come in, segments go out under the window."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge import VERSION
from edge.clock import Clock, ClockOffset
from edge.journal import Journal
from edge.uplink.inbox import Inbox
from edge.uplink.link import AnewError, Link, LinkLostError
from edge.uplink.presence import Presence
from edge.uplink.window import Window
from protocol.messages import (
    Ack,
    Gone,
    Hello,
    LaneName,
    LaneState,
    MessageError,
    decode_ack,
    encode,
    epoch_hex,
    epoch_int,
)
from protocol.segment import LANES, Lane
from protocol.topics import Leaf

GOODBYE_S = 1.0
DRAIN_S = 2.0
_ASKED = 16
_NAME: dict[Lane, LaneName] = {Lane.FACT: "fact", Lane.SIGNAL: "signal"}
_LEAF: dict[Lane, Leaf] = {Lane.FACT: "fact", Lane.SIGNAL: "up"}


@dataclass(frozen=True, slots=True)
class About:
    """What a hello says about the device beside its journal.

    `capabilities` is asked at each hello: the kinds of command it can perform now.
    """

    device_id: str
    battery: str
    capabilities: Callable[[], Sequence[str]] = tuple


@dataclass(slots=True)
class UplinkCounters:
    """What has happened since start; `tried` counts also connections that came to nothing."""

    tried: int = 0
    connections: int = 0
    hellos: int = 0
    acks: int = 0
    bad_acks: int = 0
    segments_sent: int = 0


@dataclass
class Session:
    """Everything one connection needs, already opened.

    `wake` is set when there is news, `anew` when the connection is to be given up for another;
    `inboxes` take what comes down beside acks.
    """

    link: Link
    nonce: str
    about: About
    journal: Journal
    clock: Clock
    offset: ClockOffset
    window: Window
    presence: Presence
    counters: UplinkCounters
    wake: asyncio.Event
    anew: asyncio.Event
    inboxes: Mapping[Leaf, Inbox]
    answered: bool = False
    _asked_at_s: dict[int, float] = field(default_factory=dict)
    _acked: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> LinkLostError:
        """Serve the connection until it is lost and return why.

        When cancelled, what was recorded is sealed, sent and acked first, as far as 2 s go.
        """
        self.window.reset()
        self.presence.connected()
        # No TaskGroup: on Python 3.11 a failed child leaves its parent marked as being cancelled.
        tasks = [
            asyncio.create_task(self._listen(), name="uplink-listen"),
            asyncio.create_task(self._send(), name="uplink-send"),
            asyncio.create_task(self._until_anew(), name="uplink-anew"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if self.answered:
                await self._drain_beside(tasks)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await done.pop()
        except LinkLostError as error:
            return error
        raise AssertionError("listening and sending never end by themselves")

    async def _drain_beside(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        draining = asyncio.create_task(self._drain(), name="uplink-drain")
        waited = {draining, *tasks}
        try:
            await asyncio.wait(waited, timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)

    async def _drain(self) -> None:
        await self.journal.seal()
        while any(held.holds_any for held in self.journal.lanes):
            self._acked.clear()
            await self._acked.wait()

    async def goodbye(self) -> None:
        """Tell the cloud that this connection ends on purpose."""
        with contextlib.suppress(LinkLostError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self.link.publish("status", encode(Gone(nonce=self.nonce)))

    async def _until_anew(self) -> None:
        await self.anew.wait()
        raise AnewError("we connect anew")

    async def _listen(self) -> None:
        while True:
            leaf, payload = await self.link.receive()
            if leaf != "ack":
                self.inboxes[leaf].put(payload)
                continue
            try:
                ack = decode_ack(payload)
            except MessageError:
                self.counters.bad_acks += 1
                continue
            self.counters.acks += 1
            await self._take(ack)
            self._acked.set()
            self.wake.set()

    async def _take(self, ack: Ack) -> None:
        now_s = self.clock.mono_s()
        for state in ack.lanes:
            lane, epoch = LANES[state.lane], epoch_int(state.epoch)
            await self.journal.acknowledge(lane, epoch, state.through_seq, state.have)
            self.window.acknowledge(lane, epoch, state.through_seq, state.have, now_s)
        answer = ack.nonce == self.nonce
        self.presence.heard(now_s, answer=answer)
        if answer:
            self.answered = True
            self.window.answered()
            asked_at_s = self._asked_at_s.get(ack.hello_sent_at_ms or -1)
            if asked_at_s is not None:
                self.offset.learn(ack.at_ms, asked_at_s)

    async def _send(self) -> None:
        while True:
            self.wake.clear()
            if self.clock.mono_s() >= self._hello_due_s():
                await self._say_hello()
            if self.answered:
                # What is due of the facts is on its way before the other lane is looked at.
                for lane in Lane:
                    await self._fill(lane)
                    await self._send_due()
            await self._pause()

    async def _send_due(self) -> None:
        for segment in self.window.due(self.clock.mono_s()):
            await self.link.publish(_LEAF[segment.lane], segment.payload)
            self.counters.segments_sent += 1

    async def _pause(self) -> None:
        until_s = min(self._hello_due_s(), self.window.next_due_s())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until_s - self.clock.mono_s())):
                await self.wake.wait()

    async def _fill(self, lane: Lane) -> None:
        held = self.journal.lane(lane)
        self.window.follow(lane, held.epoch)
        next_seq, room = self.window.next_seq(lane), self.window.room(lane)
        if room and next_seq <= held.sealed_seq:
            self.window.take(await self.journal.unacked(lane, next_seq, limit=room))

    def _hello_due_s(self) -> float:
        return self.presence.due_s(unacked=self.window.in_flight > 0)

    async def _say_hello(self) -> None:
        sent_at_ms, now_s = self.clock.wall_ms(), self.clock.mono_s()
        hello = Hello(
            nonce=self.nonce,
            sent_at_ms=sent_at_ms,
            boot_id=self.journal.boot_id,
            lanes=[
                LaneState(_NAME[held.lane], epoch_hex(held.epoch), held.floor_seq, held.last_seq)
                for held in self.journal.lanes
            ],
            agent_version=VERSION,
            battery=self.about.battery,
            capabilities=sorted(self.about.capabilities()),
            tried=self.counters.tried,
        )
        self._asked_at_s[sent_at_ms] = now_s
        while len(self._asked_at_s) > _ASKED:
            del self._asked_at_s[next(iter(self._asked_at_s))]
        self.presence.said(now_s)
        await self.link.publish("status", encode(hello))
        self.counters.hellos += 1
