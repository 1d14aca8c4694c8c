"""The `status` topic: hellos are written down and answered, last wills are heeded."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from cloud.devices import metrics, service
from cloud.devices.inbox import Inbox
from cloud.devices.ingest import acks_of
from cloud.devices.service import Greeting
from cloud.devices.session import DATABASE_TROUBLE, Session
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from protocol.messages import Ack, Gone, Hello, MessageError, decode_status, encode
from protocol.topics import device_of, subject

log = logging.getLogger(__name__)

_MAX_WAITING = 20_000
_MAX_WAITING_BYTES = 32 * 1024 * 1024
_BATCH = 64
_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Status:
    """A message of the topic, whose it is, when it came, how large it was."""

    device_id: str
    message: Hello | Gone
    received_at: datetime
    size: int


class Presence:
    """One worker of the queue group `presence`."""

    def __init__(
        self,
        client: Client,
        dsn: str,
        clock: Clock,
        *,
        greeted: Callable[[Collection[str]], None] = lambda _device_ids: None,
    ) -> None:
        self._client = client
        self._greeted = greeted
        self._session = Session(dsn)
        self._clock = clock
        self._inbox: Inbox[Status] = Inbox(
            lambda status: status.device_id,
            lambda status: status.size,
            max_items=_MAX_WAITING,
            max_weight=_MAX_WAITING_BYTES,
        )

    async def run(self) -> None:
        """Serve until cancelled. A hello that is lost is repeated by its device."""
        subscription = await self._client.subscribe("mc.1.*.status", "presence", cb=self._receive)
        try:
            while True:
                await self._serve(await self._inbox.take(_BATCH))
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
            self._session.close()

    async def _receive(self, message: Msg) -> None:
        try:
            status = decode_status(message.data)
            device_id = device_of(message.subject)
        except (MessageError, ValueError):
            metrics.DROPPED.labels("status").inc()
            return
        found = Status(device_id, status, self._clock.now(), len(message.data))
        dropped = self._inbox.offer(found)
        if dropped:
            metrics.DROPPED.labels("queue full").inc(dropped)

    async def _serve(self, statuses: Sequence[Status]) -> None:
        try:
            answers = await asyncio.to_thread(
                self._session.run, lambda db: self._write(db, statuses)
            )
        except DATABASE_TROUBLE:
            metrics.DROPPED.labels("status").inc(len(statuses))
            await asyncio.sleep(_PAUSE_S)
            return
        except Exception:
            log.exception("%d status messages failed", len(statuses))
            await self._serve_one_by_one(statuses)
            return
        for device_id, answer in answers.items():
            try:
                await self._client.publish(subject(device_id, "ack"), encode(answer))
            except nats.errors.Error:
                metrics.DROPPED.labels("ack").inc()
        if answers:
            self._greeted(answers.keys())

    async def _serve_one_by_one(self, statuses: Sequence[Status]) -> None:
        """What one message of a batch cannot have written costs that message alone."""
        if len(statuses) > 1:
            for status in statuses:
                await self._serve([status])
        else:
            metrics.DROPPED.labels("status").inc()

    def _write(self, db: Db, statuses: Sequence[Status]) -> dict[str, Ack]:
        """Write down statuses in the order they came; return the answers to the hellos."""
        now = self._clock.now()
        hellos = [
            Greeting(status.device_id, status.message, status.received_at)
            for status in statuses
            if isinstance(status.message, Hello)
        ]
        answers = service.greet(db, hellos, now) if hellos else {}
        for status in statuses:
            if isinstance(status.message, Gone):
                service.say_goodbye(db, status.device_id, status.message.nonce)
        at_ms = int(now.timestamp() * 1000)
        return {
            device_id: Ack(
                at_ms=at_ms,
                lanes=acks_of(progress).get(device_id, []),
                nonce=hello.nonce,
                hello_sent_at_ms=hello.sent_at_ms,
            )
            for device_id, (hello, progress) in answers.items()
        }
