"""The gate: answers the broker's question who may connect (NATS auth callout), and cuts.

TLS has verified the chain and the time; here the certificate is looked up in our table and bound
to the MQTT client id. Any number of gates may run: the broker asks one of their queue group.
Without a gate nobody new gets in; who is connected stays.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from cloud.devices import metrics
from cloud.devices.gate_cut import Cutter
from cloud.devices.gate_rules import (
    Asked,
    Identified,
    NotAdmittedError,
    admit,
    identify,
    permissions_of,
    read_request,
)
from cloud.devices.gate_takeovers import Takeovers
from cloud.devices.inbox import Inbox
from cloud.devices.refusals import Refusals
from cloud.devices.session import DATABASE_TROUBLE, Session
from cloud.devices.store import alarms, certificates
from cloud.devices.store.certificates import CertificateRow
from cloud.kit.clock import Clock
from cloud.kit.nats import FLEET
from cloud.kit.nats_jwt import AccountKey, callout_answer, claims_of, user_jwt

log = logging.getLogger(__name__)

Note = Callable[[Mapping[str, int]], None]
"""Note how often devices are let in now; raises one of DATABASE_TROUBLE."""

Find = Callable[[Collection[str]], Mapping[str, CertificateRow]]
"""Look certificates up by fingerprint; raises one of DATABASE_TROUBLE."""

_SUBJECT: Final = "$SYS.REQ.USER.AUTH"
_BATCH = 64
# Nobody notices it in a handshake, and in a rush it makes batches out of single questions.
_LINGER_S = 0.01
_MAX_WAITING = 4_096
_MAX_WAITING_BYTES = 32 * 1024 * 1024


class Gate:
    """All that watches over connections: who comes in, who must go, who is there twice.

    Args:
        client: connection of the broker's user `gate`.
        issuer_seed: nkey seed whose public half the broker trusts.
        dsn: the database.
        clock: of this machine; the broker compares expiries with its own.
        refusals: where refusals are noted.
    """

    def __init__(
        self,
        client: Client,
        issuer_seed: str,
        dsn: str,
        clock: Clock,
        *,
        refusals: Refusals | None = None,
    ) -> None:
        self._session = Session(dsn)
        self._doorkeeper = Doorkeeper(
            client, issuer_seed, self._look_up, clock, refusals or Refusals(), note=self._note
        )
        self._clock = clock
        self._cutter = Cutter(client, dsn, clock)
        self._takeovers = Takeovers(client, dsn, clock)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._doorkeeper.run(), name="gate-answer")
                tasks.create_task(self._cutter.run(), name="gate-cut")
                tasks.create_task(self._takeovers.run(), name="gate-takeovers")
        finally:
            self._session.close()

    def _look_up(self, fingerprints: Collection[str]) -> Mapping[str, CertificateRow]:
        return self._session.run(lambda db: certificates.by_fingerprint(db, fingerprints))

    def _note(self, admitted: Mapping[str, int]) -> None:
        now = self._clock.now()
        self._session.run(lambda db: alarms.count_admitted(db, admitted, now))


class Doorkeeper:
    """Answers the broker: one worker of the queue group `gate`."""

    def __init__(
        self,
        client: Client,
        issuer_seed: str,
        find: Find,
        clock: Clock,
        refusals: Refusals,
        *,
        note: Note = lambda _admitted: None,
    ) -> None:
        self._client = client
        self._key = AccountKey.from_seed(issuer_seed)
        self._find = find
        self._clock = clock
        self._refusals = refusals
        self._note = note
        self._inbox: Inbox[Asked] = Inbox(
            lambda asked: asked.host,
            lambda asked: len(asked.certificate),
            max_items=_MAX_WAITING,
            max_weight=_MAX_WAITING_BYTES,
        )

    async def run(self) -> None:
        """Answer until cancelled."""
        subscription = await self._client.subscribe(_SUBJECT, "gate", cb=self._receive)
        try:
            while True:
                await self._answer(await self._inbox.take(_BATCH, linger_s=_LINGER_S))
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _receive(self, message: Msg) -> None:
        try:
            asked = read_request(claims_of(message.data), reply=message.reply)
        except ValueError as wrong:
            log.warning("the broker asks what we do not understand: %s", wrong)
            return
        if self._inbox.offer(asked):
            self._refusals.note("connect", "overloaded", asked.host)

    async def _answer(self, waiting: Sequence[Asked]) -> None:
        now_s = self._clock.now().timestamp()
        # For the others nobody waits any more: answering would only delay these.
        batch = [asked for asked in waiting if asked.expires_s > now_s]
        for reply, answer in await asyncio.to_thread(self._decide, batch):
            with contextlib.suppress(nats.errors.Error):
                await self._client.publish(reply, answer)

    def _decide(self, batch: Sequence[Asked]) -> list[tuple[str, bytes]]:
        """Return reply subjects and answers; the database is asked once for all."""
        answers: list[tuple[str, bytes]] = []
        known: list[Identified] = []
        for asked in batch:
            try:
                known.append(identify(asked))
            except NotAdmittedError as refused:
                answers.append((asked.reply, self._refuse(asked, refused)))
        rows: Mapping[str, CertificateRow] = {}
        away: NotAdmittedError | None = None
        try:
            rows = self._find({who.fingerprint for who in known}) if known else {}
        except DATABASE_TROUBLE:
            away = NotAdmittedError("database_away")
        admitted: Counter[str] = Counter()
        for who in known:
            try:
                answer = self._admit(who, rows.get(who.fingerprint), away)
                admitted[who.device_id] += 1
            except NotAdmittedError as refused:
                answer = self._refuse(who.asked, refused)
            answers.append((who.asked.reply, answer))
        if admitted:
            # Before they are in, so that their hello finds itself counted.
            with contextlib.suppress(*DATABASE_TROUBLE):
                self._note(admitted)
        return answers

    def _admit(
        self, who: Identified, row: CertificateRow | None, away: NotAdmittedError | None
    ) -> bytes:
        if away is not None:
            raise away
        now = self._clock.now()
        until = admit(who, row, now)
        issued_s = int(now.timestamp())
        token = user_jwt(
            self._key,
            user_nkey=who.asked.user_nkey,
            account=FLEET,
            name=who.device_id,
            permissions=permissions_of(who.device_id),
            issued_s=issued_s,
            expires_s=int(until.timestamp()),
        )
        metrics.ADMITTED.inc()
        return callout_answer(
            self._key,
            user_nkey=who.asked.user_nkey,
            server_id=who.asked.server_id,
            issued_s=issued_s,
            jwt=token,
        )

    def _refuse(self, asked: Asked, refused: NotAdmittedError) -> bytes:
        self._refusals.note("connect", refused.reason, asked.who, f"{refused}; from {asked.host}")
        return callout_answer(
            self._key,
            user_nkey=asked.user_nkey,
            server_id=asked.server_id,
            issued_s=int(self._clock.now().timestamp()),
            error=refused.reason,
        )
