"""From rows to the link: signs commands and twins, sends them, sends them again, ends them.

The only holder of the signing key. It is woken by the transaction that asks (LISTEN), by a hello
in this process, and by its own clock.

Several processes may run it. Whoever sends a command first notes the attempt in one statement that
the disk is not waited for: nobody else sends it for two seconds, and no row is locked while the
link is slow or the process stands still. A crash after the note means a later sending. See
docs/adr/0017-commands-are-leased-rows.md.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import nats.errors
import psycopg
from nats.aio.client import Client

from cloud.devices import command_rules as rules
from cloud.devices import metrics, requests, twins
from cloud.devices.session import DATABASE_TROUBLE, Session
from cloud.devices.store import commands as store
from cloud.devices.store import twins as twin_store
from cloud.devices.store.commands import Sendable
from cloud.devices.twins import Announced
from cloud.kit import tracing
from cloud.kit.clock import Clock
from cloud.kit.db import AsyncDb, Db
from cloud.kit.notices import hear
from cloud.kit.ports.signing import Signer, SignerError
from protocol.commands import Command, encode
from protocol.signing import COMMAND_TYPE, TWIN_TYPE, sign
from protocol.topics import Leaf, subject

log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 1.0
_SHORTEST_S: Final = 0.02
_PAUSE_S: Final = 0.5
_SIGNER_PAUSE_S: Final = 10.0

_T = TypeVar("_T")


class Relay:
    """One process's relay.

    Args:
        client: connection to the broker as the user who may send commands and twins.
        dsn: the database, with synchronous commits.
        signer: signs.
        clock: what time it is.
    """

    def __init__(self, client: Client, dsn: str, signer: Signer, clock: Clock) -> None:
        self._client = client
        self._dsn = dsn
        self._signer = signer
        self._clock = clock
        self._session = Session(dsn)
        self._wake = asyncio.Event()
        self._asked: set[UUID] = set()
        self._greeted: set[str] = set()
        self._missed = True
        self._twins_due = True
        self._keys_told = False

    def greeted(self, device_ids: Collection[str]) -> None:
        """Send these devices what they have not answered: they have just said hello."""
        self._greeted.update(device_ids)
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; database and broker may come and go."""
        try:
            async with asyncio.TaskGroup() as tasks:
                channels = (store.ASKED_CHANNEL, twin_store.CHANNEL)
                hearing = hear(self._dsn, channels, self._hear, self._begin)
                tasks.create_task(hearing, name="relay-hear")
                tasks.create_task(self._work_through_outages(), name="relay-send")
        finally:
            self._session.close()

    def _hear(self, channel: str, payload: str) -> None:
        if channel == twin_store.CHANNEL:
            self._twins_due = True
        else:
            with contextlib.suppress(ValueError):
                self._asked.add(UUID(payload))
        self._wake.set()

    def _begin(self) -> None:
        self._missed = self._twins_due = True
        self._wake.set()

    async def _work_through_outages(self) -> None:
        while True:
            try:
                # A lost note of a sending costs one sending more; waiting for the disk costs all.
                fast = f"{self._options()} -c synchronous_commit=off".strip()
                connecting = psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, connect_timeout=5, options=fast
                )
                async with await connecting as db:
                    await self._work(db)
            except (*DATABASE_TROUBLE, OSError) as trouble:
                log.debug("the relay waits for the database: %r", trouble)
            except SignerError as trouble:
                log.critical("nothing is signed: %s", trouble)
                await asyncio.sleep(_SIGNER_PAUSE_S)
            # What was in hand may not have gone out.
            self._missed = self._twins_due = True
            await asyncio.sleep(_PAUSE_S)

    def _options(self) -> str:
        found = psycopg.conninfo.conninfo_to_dict(self._dsn).get("options")
        return str(found or "")

    async def _work(self, db: AsyncDb) -> None:
        wait_s = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._wake.clear()
            if self._asked:
                asked, self._asked = self._asked, set()
                await self._send(partial(store.lease_fresh, db, asked, self._clock.now()))
                if self._wake.is_set():
                    # More was asked: that goes before everything that can wait.
                    continue
            wait_s = await self._rest(db)

    async def _rest(self, db: AsyncDb) -> float:
        """Do what is not hurried; return for how many seconds nothing will be due."""
        if self._signer.refresh() or not self._keys_told:
            await self._in_thread(self._announce)
            self._keys_told = self._twins_due = True
        greeted, self._greeted = self._greeted, set()
        if greeted or self._twins_due:
            self._twins_due = False
            await self._send_twins(greeted)
        now = self._clock.now()
        not_after, last_sent = await store.next_due(db)
        if not_after is None:
            return _LOOK_EVERY_S
        again_at = None if last_sent is None else last_sent + rules.RESEND_EVERY
        if greeted or self._missed or (again_at is not None and again_at <= now):
            self._missed = False
            before = now - rules.RESEND_EVERY
            await self._send(partial(store.lease_due, db, greeted, now, before))
        if not_after < now:
            await self._in_thread(lambda db: requests.expire(db, now))
        return self._seconds_until(not_after, again_at, now)

    @staticmethod
    def _seconds_until(not_after: datetime, again_at: datetime | None, now: datetime) -> float:
        """Return how long to wait for the next thing to do; what is late now was just done."""
        waits = [
            (at - now).total_seconds()
            for at in (not_after, again_at)
            if at is not None and at >= now
        ]
        return min([_LOOK_EVERY_S, *(max(wait, _SHORTEST_S) for wait in waits)])

    async def _send(self, lease: Callable[[], Awaitable[list[Sendable]]]) -> None:
        """Send what `lease` takes."""
        if not self._client.is_connected:
            return
        for row in await lease():
            if await self._publish_command(row):
                metrics.COMMANDS_SENT.inc()
                if row.attempts == 1:
                    waited = self._clock.now() - (row.approved_at or row.created_at)
                    metrics.COMMAND_LAG.observe(waited.total_seconds())

    async def _publish_command(self, row: Sendable) -> bool:
        told: dict[str, str | int] = {
            "device.id": row.device_id,
            "command.id": str(row.id),
            "command.kind": row.kind,
            "command.attempt": row.attempts,
        }
        relaying = tracing.span(
            "command.relay", parent=row.traceparent, kind="producer", attributes=told
        )
        with relaying as span:
            message = encode(
                Command(
                    id=str(row.id),
                    device_id=row.device_id,
                    kind=row.kind,
                    args=row.args,
                    issued_at_ms=_ms(row.approved_at or row.created_at),
                    not_after_ms=_ms(row.not_after),
                    traceparent=span.traceparent or row.traceparent,
                )
            )
            sent = await self._publish(row.device_id, "cmd", COMMAND_TYPE, message)
            if not sent:
                span.fail("not sent")
        return sent

    async def _send_twins(self, greeted: Collection[str]) -> None:
        if not self._client.is_connected:
            self._twins_due = True
            return
        signers = self._signer.public_keys()
        now = self._clock.now()
        ready = await self._in_thread(lambda db: twins.prepare(db, signers, greeted, now))
        for device_id, document in ready:
            if await self._publish(device_id, "twin", TWIN_TYPE, document):
                metrics.TWINS_SENT.inc()
        if len(ready) >= twin_store.MOST_AT_ONCE:
            self._twins_due = True
            self._wake.set()

    async def _publish(self, device_id: str, leaf: Leaf, typ: str, message: bytes) -> bool:
        signer = self._signer
        envelope = sign(message, typ, signer.key_id, signer.sign)
        try:
            await self._client.publish(subject(device_id, leaf), envelope)
        except nats.errors.MaxPayloadError:
            log.warning("a %s of %d bytes is too large for %s", leaf, len(envelope), device_id)
            return False
        except nats.errors.Error as trouble:
            log.debug("not sent to %s: %r", device_id, trouble)
            return False
        return True

    def _announce(self, db: Db) -> None:
        signer = self._signer
        told = Announced(signer.public_keys(), signer.next_made_at)
        count = twins.announce(db, told, self._clock.now())
        if count:
            log.info("%d devices are told of the signing key %s", count, told.keys[-1].key_id)

    async def _in_thread(self, work: Callable[[Db], _T]) -> _T:
        return await asyncio.to_thread(self._session.run, work)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
