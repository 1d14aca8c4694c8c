"""The platform as one process serves it, its riders' phones, and its bank: what a test drives."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
from fastapi import FastAPI

from cloud.booking.api import Follower, Meters
from cloud.identity.api import CUSTOMER_SCOPES
from cloud.kit.auth import Credentials, Principal
from cloud.kit.db import Db, connect
from cloud.kit.events import RetryLater, Subscriber
from cloud.kit.events.deliver import deliver
from cloud.kit.idempotency import REPLAYED
from cloud.kit.ports.payment import PaymentProvider, SandboxPayments, sign_webhook
from cloud.kit.scope import DEMO
from cloud.payments.api import Settler
from tests.cloud.booking.parts import a_customer
from tests.cloud.payments.parts import KEY, NOON, SECRET, Sandbox
from tests.cloud.signed_in import a_principal
from tests.stories.rentals.bank import PostBag
from tests.stories.rentals.fuse import DiedError, Fuse, MortalProvider, TickingClock, mortal_pool
from tests.stories.rentals.street import Street

_AT_ONCE = 10
"""So many deliveries a worker has in hand, in any order."""
_PATIENCE_S = 5.0
_DUE = (
    "SELECT job.id, job.entrypoint, event.id FROM pgqueuer.pgqueuer AS job JOIN kit.event AS event"
    " ON event.id = convert_from(job.payload, 'UTF8')::uuid WHERE event.due <= %s ORDER BY job.id"
)
_NOT_KEPT = frozenset({400, 401, 403, 422, 429})
_REPEATED_WITHIN = timedelta(hours=20)


@dataclass(slots=True)
class Platform:
    """What one test makes once: the application, who listens to events, the bank.

    `provider` may stand a worse one in the provider's place.
    """

    app: FastAPI
    subscribers: tuple[Subscriber, ...]
    clock: TickingClock
    sandbox: Sandbox
    bag: PostBag
    provider: Callable[[PaymentProvider], PaymentProvider] = lambda found: found


@dataclass(slots=True)
class Sent:
    """A request with its key, and the answer if it came."""

    customer: str
    path: str
    body: dict[str, Any] | None
    content: bytes | None
    at: datetime
    key: str = field(default_factory=lambda: str(uuid4()))
    answer: httpx.Response | None = None


def authenticate(shown: Credentials) -> Principal | None:
    """`customer-N` rents; everybody else is a supervisor."""
    name = shown.token or ""
    if not name.startswith("customer-"):
        return a_principal("supervisor")
    account = UUID(a_customer(int(name.removeprefix("customer-"))).id)
    scopes = frozenset(CUSTOMER_SCOPES)
    return Principal(account, name, "customer", "customer", DEMO.tenant, DEMO.city, scopes)


class World:
    """One run of the platform on a database of its own."""

    def __init__(self, platform: Platform, dsn: str) -> None:
        self.platform, self.clock, self.bag = platform, platform.clock, platform.bag
        self.clock.at = NOON
        self.bag.letters.clear()
        self.sandbox = platform.sandbox
        self._control = httpx.Client(
            base_url=self.sandbox.url, headers={"Authorization": f"Bearer {KEY}"}
        )
        bank = self.sandbox.bank
        for kept in (bank.transactions, bank.payments, bank.answers):
            kept.clear()
        self.control(faults=[], idempotency=True)
        self.fuse = Fuse()
        self.pool = mortal_pool(dsn, self.fuse)
        self.db: Db = connect(dsn)
        self._sandbox_client = SandboxPayments(self.sandbox.url, KEY, SECRET, timeout_s=_PATIENCE_S)
        provider = platform.provider(MortalProvider(self._sandbox_client, self.fuse))
        self.settler = Settler(self.pool, {"sandbox": provider}, self.clock)
        state = platform.app.state
        state.pool, state.clock, state.authenticate = self.pool, self.clock, authenticate
        state.payment_providers = {"sandbox": provider}
        self.meters, self.follower = Meters(state.booking), Follower(self.clock)
        self.street = Street(self.pool, self.db, self.clock, self.fuse)
        self.sent: list[Sent] = []
        self._later: dict[int, datetime] = {}
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(platform.app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://any")

    def close(self) -> None:
        """Let go of everything."""
        self._runner.run(self._client.aclose())
        self._runner.close()
        self._sandbox_client.close()
        self._control.close()
        self.db.close()
        self.pool.close()

    def control(self, **wanted: Any) -> None:
        """Let things go wrong at the bank."""
        self._control.post("/control", json=wanted).raise_for_status()

    # Riders

    def phone(
        self,
        customer: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        content: bytes | None = None,
        again: bool = True,
    ) -> httpx.Response | None:
        """Send a request with a new key; where nobody answers, do so once more if `again`."""
        sent = Sent(customer, path, body, content, self.clock.now())
        self.sent.append(sent)
        self.send(sent)
        if sent.answer is None and again:
            self.send(sent)
        return sent.answer

    def send(self, sent: Sent) -> None:
        """Send a request, for the first time or again; again it is answered as before."""
        before = sent.answer
        answer = self._request("POST", sent.path, sent.customer, sent.key, sent.body, sent.content)
        if answer is None:
            return
        assert answer.status_code < 500, answer.text
        if before is not None and before.status_code not in _NOT_KEPT:
            assert answer.headers.get(REPLAYED) == "true"
            assert (answer.status_code, answer.content) == (before.status_code, before.content)
        sent.answer = answer

    def repeat(self, which: int) -> None:
        """Send one of the requests of the last hours again."""
        since = self.clock.at - _REPEATED_WITHIN
        recent = [sent for sent in self.sent if sent.at > since]
        if recent:
            self.send(recent[which % len(recent)])

    def let_go(self, customer: str, hold_id: UUID) -> None:
        """Cancel a hold."""
        answer = self._request("DELETE", f"/holds/{hold_id}", customer, "", None, None)
        assert answer is None or answer.status_code < 500, answer.text

    def bring(self, which: int) -> None:
        """Let one of the provider's letters arrive, for the first time or again."""
        if self.bag.letters:
            body = self.bag.letters[which % len(self.bag.letters)]
            signature = sign_webhook(SECRET, body, self.clock.now())
            headers = {"Sandbox-Signature": signature, "Content-Type": "application/json"}
            answer = self._ask("POST", "/payments/webhooks/sandbox", headers, content=body)
            assert answer is None or answer.status_code == 204, answer.text

    def _request(
        self,
        method: str,
        path: str,
        who: str,
        key: str,
        body: dict[str, Any] | None,
        content: bytes | None,
    ) -> httpx.Response | None:
        headers = {"Authorization": f"Bearer {who}", "Idempotency-Key": key}
        if content is not None:
            return self._ask(
                method, path, headers | {"Content-Type": "image/jpeg"}, content=content
            )
        return self._ask(method, path, headers, json=body)

    def _ask(
        self, method: str, path: str, headers: dict[str, str], **more: Any
    ) -> httpx.Response | None:
        """Return the answer; None when the process died before it could give one."""
        asking = self._client.request(method, f"/api/v1{path}", headers=headers, **more)
        try:
            return self._runner.run(asking)
        except DiedError:
            self.fuse.restart()
            return None

    # Workers

    def deliver(self, order: list[int]) -> None:
        """Deliver events one after the other; each time one of those that are next in line."""
        for which in order:
            due = self._due()
            if not due or not self.survives(partial(self._deliver, due[which % len(due)])):
                return

    def deliver_all(self) -> int:
        """Deliver all that is due, and what comes of it; return how much that was."""
        count = 0
        while due := self._due():
            self._deliver(due[0])
            count += 1
        return count

    def _due(self) -> list[tuple[int, str, UUID]]:
        """Return what a worker may take next; what was put off comes after what was never tried."""
        now = self.clock.at
        rows = self.db.execute(_DUE.encode(), (now,)).fetchall()
        fresh = [row for row in rows if row[0] not in self._later]
        ready = fresh or [row for row in rows if self._later[row[0]] <= now]
        return [(row[0], row[1], row[2]) for row in ready[:_AT_ONCE]]

    def _deliver(self, job: tuple[int, str, UUID]) -> None:
        job_id, name, event_id = job
        (subscriber,) = (each for each in self.platform.subscribers if each.name == name)
        with self.pool.connection() as db:
            try:
                early = deliver(db, subscriber, event_id, self.clock.now())
            except RetryLater as later:
                self._later[job_id] = self.clock.now() + later.after
                return
            assert early is None
            db.execute("DELETE FROM pgqueuer.pgqueuer WHERE id = %s", (job_id,))

    def settle(self, times: int) -> None:
        """Ask the bank for what is due, so many times at most."""
        for _ in range(times):
            try:
                if not self.settler.settle_one():
                    return
            except DiedError:
                self.fuse.restart()
                return

    def look_around(self) -> None:
        """Do what a process does every few seconds."""
        for work in (
            self.street.expire,
            lambda: self.follower.look(self.pool),
            lambda: self.meters.look(self.pool),
        ):
            if not self.survives(work):
                return

    def survives(self, work: Callable[[], object]) -> bool:
        """Do something; False when the process died of it, and there is a new one."""
        with suppress(DiedError):
            work()
            return True
        self.fuse.restart()
        return False
