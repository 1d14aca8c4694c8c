"""Revocation reaches live connections: whoever's certificate is no longer in force is kicked.

A notice of the database wakes it; each notice is looked after three times, so that a connection
that was being admitted meanwhile is found too. Every minute, and whenever notices may have been
missed, all connections are compared with the table.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
import psycopg
from nats.aio.client import Client

from cloud.devices import metrics
from cloud.devices.gate_rules import NotAdmittedError, check_row
from cloud.devices.session import DATABASE_TROUBLE, Session
from cloud.devices.store import certificates
from cloud.devices.store.certificates import CertificateRow
from cloud.kit.clock import Clock
from cloud.kit.nats import FLEET

log = logging.getLogger(__name__)

CHANNEL: Final = "devices_revoked"
_ROUNDS_S = (0.0, 0.3, 0.7)
_LOOK_AT_ALL_S = 60.0
_AGAIN_AFTER_S = 0.5
_PAGE = 256
# How long the last of several servers may take to answer; what is found is cut at once.
_SERVERS_WITHIN_S = 0.25
_KICKED_WITHIN_S = 2.0
# One look at all connections is cheaper than many at one each.
_MANY = 16


@dataclass(frozen=True, slots=True)
class Live:
    """One connection of a device, where it is, and the certificate it showed."""

    server_id: str
    cid: int
    device_id: str
    fingerprint: str


class Cutter:
    """Watches over live connections of every server of the broker."""

    def __init__(self, client: Client, dsn: str, clock: Clock) -> None:
        self._client = client
        self._dsn = dsn
        self._session = Session(dsn)
        self._one_look = asyncio.Lock()
        self._clock = clock

    async def run(self) -> None:
        """Watch until cancelled; the database may come and go."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    with contextlib.suppress(*DATABASE_TROUBLE):
                        await self._listen(tasks)
                    await asyncio.sleep(_AGAIN_AFTER_S)
        finally:
            self._session.close()

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        connecting = psycopg.AsyncConnection.connect(self._dsn, autocommit=True, connect_timeout=5)
        async with await connecting as listening:
            await listening.execute(f"LISTEN {CHANNEL}".encode())
            while True:
                tasks.create_task(self._look(None), name="gate-cut-all")
                async for notice in listening.notifies(timeout=_LOOK_AT_ALL_S):
                    tasks.create_task(self._follow(notice.payload), name="gate-cut-one")

    async def _follow(self, device_id: str) -> None:
        for pause_s in _ROUNDS_S:
            await asyncio.sleep(pause_s)
            await self._look(device_id)

    async def _look(self, device_id: str | None) -> None:
        """Kick what should not be there: connections of one device, or of all."""
        with contextlib.suppress(*DATABASE_TROUBLE, nats.errors.Error):
            async for page in self._connections(device_id):
                rows = await self._rows(page)
                for live in page:
                    await self._check(live, rows.get(live.fingerprint))

    async def _rows(self, page: list[Live]) -> Mapping[str, CertificateRow]:
        wanted = {live.fingerprint for live in page}
        async with self._one_look:
            return await asyncio.to_thread(
                self._session.run, lambda db: certificates.by_fingerprint(db, wanted)
            )

    async def _check(self, live: Live, row: CertificateRow | None) -> None:
        try:
            check_row(row, self._clock.now())
        except NotAdmittedError as wrong:
            kick = f"$SYS.REQ.SERVER.{live.server_id}.KICK"
            # The server does nothing for who wants no answer.
            await self._client.request(
                kick, json.dumps({"cid": live.cid}).encode(), timeout=_KICKED_WITHIN_S
            )
            metrics.CUT.labels(wrong.reason).inc()
            log.warning("cut the connection of %s: %s", live.device_id, wrong)

    async def _connections(self, device_id: str | None) -> AsyncIterator[list[Live]]:
        """Yield pages of the MQTT connections of each server, as they answer."""
        offset, more = 0, True
        while more:
            more = False
            wanted: dict[str, Any] = {
                "acc": FLEET, "auth": True, "limit": _PAGE, "offset": offset, "sort": "cid"
            }  # fmt: skip
            if device_id is not None:
                wanted["mqtt_client"] = device_id
            async for answer in self._ask("$SYS.REQ.SERVER.PING.CONNZ", wanted):
                found = answer.get("data", {}).get("connections") or []
                more |= len(found) >= _PAGE
                yield list(_lives(answer["server"]["id"], found))
            offset += _PAGE

    async def _ask(self, subject: str, wanted: Mapping[str, Any]) -> AsyncIterator[Any]:
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        try:
            await self._client.publish(subject, json.dumps(wanted).encode(), reply=inbox)
            while True:
                message = await subscription.next_msg(timeout=_SERVERS_WITHIN_S)
                yield json.loads(message.data)
        except nats.errors.TimeoutError:
            return
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()


def _lives(server_id: str, found: list[dict[str, Any]]) -> list[Live]:
    return [
        Live(
            server_id,
            int(each["cid"]),
            str(each["mqtt_client"]),
            str((each.get("tls_peer_certs") or [{}])[0].get("cert_sha256", "")),
        )
        for each in found
        if each.get("mqtt_client")
    ]
