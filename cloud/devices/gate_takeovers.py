"""Two connections with one identity: the broker keeps the newer, and we notice when it repeats.

A device whose network died comes back while the broker still holds its old connection: one
takeover. Two clients with one certificate throw each other out again and again.
"""

import asyncio
import json
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from cloud.devices import alarms
from cloud.devices.session import DATABASE_TROUBLE, Session
from cloud.kit.clock import Clock
from cloud.kit.nats import FLEET

log = logging.getLogger(__name__)

TAKEOVERS = 2
WITHIN_S = 30.0
_SUBJECT: Final = f"$SYS.ACCOUNT.{FLEET}.DISCONNECT"
_TAKEN_OVER = "Duplicate Client ID"
_MAX_REMEMBERED = 16_384
_MAX_WAITING = 1_024


class Tally:
    """Counts takeovers by device; bounded, the longest quiet are forgotten first."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, device_id: str) -> bool:
        """Note a takeover; True when there were enough of them within the time."""
        now = self._seconds()
        times = self._seen.setdefault(device_id, deque(maxlen=TAKEOVERS))
        times.append(now)
        self._seen.move_to_end(device_id)
        while len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return len(times) == TAKEOVERS and now - times[0] <= WITHIN_S


class Takeovers:
    """Raises clone alarms from the broker's events; every process sees them all."""

    def __init__(self, client: Client, dsn: str, clock: Clock) -> None:
        self._client = client
        self._session = Session(dsn)
        self._clock = clock
        self._tally = Tally()
        self._suspects: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_MAX_WAITING)

    async def run(self) -> None:
        """Watch until cancelled."""
        subscription = await self._client.subscribe(_SUBJECT, cb=self._receive)
        try:
            while True:
                await self._raise(*await self._suspects.get())
        finally:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as gone:
                log.debug("takeovers: %s", gone)
            self._session.close()

    async def _receive(self, message: Msg) -> None:
        told = json.loads(message.data)
        client = told.get("client", {})
        device_id = client.get("client_id", "")
        if told.get("reason") != _TAKEN_OVER or not device_id:
            return
        if self._tally.add(device_id) and not self._suspects.full():
            self._suspects.put_nowait((device_id, str(client.get("host", ""))))

    async def _raise(self, device_id: str, host: str) -> None:
        at = self._clock.now()
        detail = {"takeovers": TAKEOVERS, "within_s": WITHIN_S, "from": host}
        try:
            await asyncio.to_thread(
                self._session.run,
                lambda db: alarms.suspect_clone(db, device_id, "takeover", detail, at),
            )
        except DATABASE_TROUBLE:
            # It goes on as long as there are two of them: the next one will be told.
            log.warning("%s may be cloned, and the database is away", device_id)
