"""The `status` topic: hellos are written down and answered, last wills are heeded."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

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

Status = tuple[str, Hello | Gone, int]


class Presence:
    """One worker of the queue group `presence`."""

    def __init__(self, client: Client, dsn: str, clock: Clock) -> None:
        self._client = client
        self._session = Session(dsn)
        self._clock = clock
        self._inbox: Inbox[Status] = Inbox(
            lambda status: status[2], max_items=_MAX_WAITING, max_bytes=_MAX_WAITING_BYTES
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
        if not self._inbox.offer((device_id, status, len(message.data))):
            metrics.DROPPED.labels("queue full").inc()

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
            return
        for device_id, answer in answers.items():
            try:
                await self._client.publish(subject(device_id, "ack"), encode(answer))
            except nats.errors.Error:
                metrics.DROPPED.labels("ack").inc()

    def _write(self, db: Db, statuses: Sequence[Status]) -> dict[str, Ack]:
        """Write down statuses in the order they came; return the answers to the hellos."""
        now = self._clock.now()
        hellos = [Greeting(d, status) for d, status, _ in statuses if isinstance(status, Hello)]
        answers = service.greet(db, hellos, now) if hellos else {}
        for device_id, status, _ in statuses:
            if isinstance(status, Gone):
                service.say_goodbye(db, device_id, status.nonce)
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
