"""A connection takes another one's place, with the same identity: is it the same vehicle?

A device whose network died comes back while the broker still holds its old connection, however
often. Mostly its hello settles it (`service.py`). Here are those who say none: who took over and
stays without one is no agent of ours, nor are two that throw each other out at once. The broker
holds whoever comes within a second of a takeover for a second, and then lets it go.
"""

import asyncio
import contextlib
import json
import logging
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from cloud.devices import alarms
from cloud.devices.alarms import Evidence
from cloud.devices.session import DATABASE_TROUBLE, Session
from cloud.devices.store import alarms as alarm_store
from cloud.kit.clock import Clock
from cloud.kit.nats import FLEET

log = logging.getLogger(__name__)

FIGHTS = 4
WITHIN_S = 30.0
SHORT_LIVED_S = 3.0
STAYS_S = 50.0
"""Agents keep alive at least every 30 s: the broker has ended a dead line of one by then."""

_LOOK_S = 5.0
_GIVE_UP = timedelta(seconds=60)
_SUBJECT: Final = f"$SYS.ACCOUNT.{FLEET}.DISCONNECT"
_TAKEN_OVER = "Duplicate Client ID"
_MAX_REMEMBERED = 16_384
_ASKED_AT_ONCE = 64
_SERVERS_WITHIN_S = 0.25


@dataclass(frozen=True, slots=True)
class Takeover:
    """A connection that lost its place to another one; `stopped` is the broker's time.

    `at` is when we heard of it, `brief` whether it had said nothing and was new.
    """

    device_id: str
    at: datetime
    stopped: datetime
    brief: bool


class Tally:
    """Counts fights by device; bounded, the longest quiet are forgotten first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[datetime]] = OrderedDict()

    def add(self, device_id: str, at: datetime) -> datetime | None:
        """Note one; return when the first was if there were enough of them within the time."""
        times = self._seen.setdefault(device_id, deque(maxlen=FIGHTS))
        times.append(at)
        self._seen.move_to_end(device_id)
        while len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        enough = len(times) == FIGHTS and at - times[0] <= timedelta(seconds=WITHIN_S)
        return times[0] if enough else None


class Takeovers:
    """Raises clone alarms from the broker's events; every process sees them all."""

    def __init__(self, client: Client, dsn: str, clock: Clock, *, stays_s: float = STAYS_S) -> None:
        self._client = client
        self._stays = timedelta(seconds=stays_s)
        self._session = Session(dsn)
        self._clock = clock
        self._tally = Tally()
        self._fought: dict[str, datetime] = {}
        self._waited: OrderedDict[str, Takeover] = OrderedDict()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        subscription = await self._client.subscribe(_SUBJECT, cb=self._receive)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._news.wait()
                self._news.clear()
                try:
                    await self._judge()
                except DATABASE_TROUBLE:
                    log.warning("whether devices are cloned is not known: the database is away")
                    await asyncio.sleep(1)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
            self._session.close()

    async def _receive(self, message: Msg) -> None:
        taken = read_takeover(json.loads(message.data), self._clock.now())
        if taken is None:
            return
        self._waited[taken.device_id] = taken
        self._waited.move_to_end(taken.device_id)
        while len(self._waited) > _MAX_REMEMBERED:
            self._waited.popitem(last=False)
        if taken.brief and (since := self._tally.add(taken.device_id, taken.at)):
            self._fought[taken.device_id] = since
            self._news.set()

    async def _judge(self) -> None:
        """Look who has said no hello meanwhile; what an agent's hello says weighs more."""
        await self._judge_fights()
        await self._judge_stays()

    async def _judge_fights(self) -> None:
        fought = dict(self._fought)
        if not fought:
            return
        silent, _ = await self._silent_since(fought)
        for device_id, since in fought.items():
            if device_id in silent:
                seen = {"takeovers": FIGHTS, "within_s": WITHIN_S}
                await self._raise(device_id, "takeover", seen)
            if self._fought.get(device_id) == since:
                del self._fought[device_id]

    async def _judge_stays(self) -> None:
        now = self._clock.now()
        old = now - self._stays
        due = {one.device_id: one for one in self._waited.values() if one.at <= old}
        if not due:
            return
        silent, heard_at = await self._silent_since({d: one.at for d, one in due.items()})
        for device_id in due.keys() - silent:
            self._forget(due[device_id])
        for device_id in sorted(silent)[:_ASKED_AT_ONCE]:
            taken = due[device_id]
            found = await self._connection(device_id, taken)
            # What was said may be a hello that is not written down, as long as nobody's is.
            if found and (not found.get("in_msgs") or (heard_at and heard_at > taken.at)):
                await self._raise(device_id, "no_hello", {"from": str(found.get("ip", ""))})
            elif found and taken.at > old - _GIVE_UP:
                continue
            self._forget(taken)

    async def _silent_since(
        self, since: Mapping[str, datetime]
    ) -> tuple[set[str], datetime | None]:
        return await asyncio.to_thread(
            self._session.run, lambda db: alarm_store.silent_since(db, since)
        )

    def _forget(self, taken: Takeover) -> None:
        if self._waited.get(taken.device_id) is taken:
            del self._waited[taken.device_id]

    async def _connection(self, device_id: str, taken: Takeover) -> Mapping[str, Any] | None:
        """Return the connection that took over, if it is still there."""
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        wanted = {"acc": FLEET, "mqtt_client": device_id}
        try:
            await self._client.publish(
                "$SYS.REQ.SERVER.PING.CONNZ", json.dumps(wanted).encode(), reply=inbox
            )
            while True:
                answer = json.loads((await subscription.next_msg(timeout=_SERVERS_WITHIN_S)).data)
                for found in answer.get("data", {}).get("connections") or []:
                    newer = _moment(found["start"]) - taken.stopped
                    return found if newer < timedelta(seconds=1) else None
        except nats.errors.Error:
            return None
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _raise(self, device_id: str, evidence: Evidence, seen: Mapping[str, Any]) -> None:
        at = self._clock.now()
        await asyncio.to_thread(
            self._session.run,
            lambda db: alarms.suspect_clone(db, device_id, evidence, seen, at),
        )


def read_takeover(told: Mapping[str, Any], at: datetime) -> Takeover | None:
    """Return what the broker's event of an end says, if it was a takeover."""
    client = told.get("client", {})
    device_id = str(client.get("client_id", ""))
    if told.get("reason") != _TAKEN_OVER or not device_id:
        return None
    started, stopped = _moment(client["start"]), _moment(client["stop"])
    silent = not told.get("sent", {}).get("msgs")
    brief = silent and stopped - started < timedelta(seconds=SHORT_LIVED_S)
    return Takeover(device_id, at, stopped, brief)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
