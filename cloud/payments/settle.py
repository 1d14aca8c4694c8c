"""Asks providers for what was written down, outside of transactions, and records what came of it.

Lease (transaction), ask (none), record (transaction). Whoever dies in between leaves an operation
whose lease runs out; whoever takes it next first asks the provider what became of its key. So it
is done once, also by a provider that forgets keys.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from cloud.events import Event
from cloud.events import payments as told
from cloud.kit.clock import Clock
from cloud.kit.db import Db, Pool
from cloud.kit.events import publish
from cloud.kit.notices import hear
from cloud.kit.ports.payment import Ask, Outcome, PaymentProvider, ProviderUnknownError
from cloud.kit.scope import Scope
from cloud.payments import service
from cloud.payments.documents import paid
from cloud.payments.holds import (
    Authorisation,
    Operation,
    retry_after,
    settled,
    without_provider,
)
from cloud.payments.store import books
from cloud.payments.store import holds as store

log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 1.0
_WORKERS: Final = 4


@dataclass(frozen=True, slots=True)
class Settler:
    """One process's hands.

    Attributes:
        pool: the database.
        providers: by name.
        clock: what time it is.
        lease: for how long nobody else asks; longer than a provider's two time-outs.
    """

    pool: Pool
    providers: Mapping[str, PaymentProvider]
    clock: Clock
    lease: timedelta = timedelta(seconds=30)

    def settle_one(self) -> bool:
        """Ask for one thing that is due; False when there is none."""
        now = self.clock.now()
        with self.pool.connection() as db, db.transaction():
            operation = store.lease(db, now, now + self.lease)
            if operation is None:
                return False
            hold = store.find(db, operation.authorisation_id)
        try:
            outcome = self._ask(hold, operation)
        except ProviderUnknownError as trouble:
            log.warning("%s of %s is unknown: %s", operation.kind, hold.id, trouble)
            self._put_off(hold, operation)
        else:
            self._record(operation, outcome)
        return True

    def settle_due(self) -> int:
        """Ask for all that is due, one after the other; return how many."""
        done = 0
        while self.settle_one():
            done += 1
        return done

    async def run(self, dsn: str) -> None:
        """Work until cancelled; database and providers may come and go."""
        wake = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            hearing = hear(dsn, (store.CHANNEL,), lambda _channel, _id: wake.set(), wake.set)
            tasks.create_task(hearing, name="payments-hear")
            for number in range(_WORKERS):
                tasks.create_task(self._work(wake), name=f"payments-settle-{number}")

    async def _work(self, wake: asyncio.Event) -> None:
        while True:
            wake.clear()
            try:
                while await asyncio.to_thread(self.settle_one):
                    pass
            except (psycopg.Error, PoolTimeout) as trouble:
                log.debug("put off: %s", trouble)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await wake.wait()

    def _ask(self, hold: Authorisation, operation: Operation) -> Outcome:
        outcome = without_provider(hold, operation)
        if outcome is not None:
            return outcome
        provider = self.providers.get(hold.provider)
        if provider is None:
            raise ProviderUnknownError(f"no provider named {hold.provider} is set up here")
        ask = Ask(
            kind=operation.kind,
            key=str(operation.id),
            amount_minor=operation.amount_minor,
            currency=operation.currency,
            reference=str(hold.id),
            payment=hold.payment,
            method=operation.token or hold.token,
            customer=hold.customer_id,
        )
        if operation.attempts > 1 and (found := provider.find(ask)) is not None:
            return found
        return provider.perform(ask)

    def _put_off(self, hold: Authorisation, operation: Operation) -> None:
        now = self.clock.now()
        with self.pool.connection() as db, db.transaction():
            current = store.find(db, hold.id, lock=True)
            waits = store.put_off(db, operation.id, now + retry_after(operation.attempts))
            if waits and current.state == "asked":
                store.set_state(db, hold.id, "unknown", now)

    def _record(self, operation: Operation, outcome: Outcome) -> None:
        with self.pool.connection() as db, db.transaction():
            record(db, operation, outcome, self.clock)


def record(db: Db, operation: Operation, outcome: Outcome, clock: Clock) -> bool:
    """Write down what came of an operation, once; False when it was written down before."""
    now = clock.now()
    before = store.find(db, operation.authorisation_id, lock=True)
    if not store.end(db, operation.id, done=outcome.done, code=outcome.code, at=now):
        return False
    after = settled(before, operation, outcome, now)
    store.save(db, after)
    if outcome.done and operation.kind in ("capture", "refund") and outcome.amount_minor:
        sign = 1 if operation.kind == "capture" else -1
        books.post(
            db,
            Scope(after.tenant, after.city),
            operation.kind,
            operation.id,
            after.rental_id,
            after.currency,
            paid(after.customer_id, after.provider, sign * outcome.amount_minor),
            now,
        )
    event = _event(db, before, after, operation, outcome)
    if event is not None:
        publish(db, event, at=now)
    if operation.kind == "capture":
        service.give_back(db, after, now, None)
    return True


def _event(
    db: Db, before: Authorisation, after: Authorisation, operation: Operation, outcome: Outcome
) -> Event | None:
    about = {
        "tenant": after.tenant,
        "city": after.city,
        "rental_id": after.rental_id,
        "authorisation_id": after.id,
        "customer_id": after.customer_id,
        "currency": after.currency,
        "at": after.changed_at,
    }
    made: Event | None = None
    match operation.kind, outcome.done:
        case "authorise", True if after.state == "authorised":
            made = service.authorised(after)
        case "authorise", False if after.state == "declined":
            about |= {"amount_minor": after.asked_minor, "code": after.code}
            made = told.AuthorisationDeclined.model_validate(about)
        case "increment" | "replace", True:
            made = told.ToppedUp.model_validate(about | {"amount_minor": after.held_minor})
        case "increment" | "replace", False:
            about |= {"amount_minor": after.held_minor, "code": outcome.code}
            made = told.TopUpFailed.model_validate(about)
        case "capture", True:
            owed = _invoiced(db, after) - after.captured_minor
            about |= {"amount_minor": after.captured_minor, "open_minor": max(0, owed)}
            made = told.Captured.model_validate(about)
        case "capture", False:
            about |= {"amount_minor": _invoiced(db, after), "code": outcome.code}
            made = told.CaptureFailed.model_validate(about)
        case "cancel", _ if before.state == "releasing":
            made = service.released(after, after.changed_at)
        case "refund", True:
            note = operation.document_id
            about |= {"amount_minor": outcome.amount_minor, "credit_note_id": note}
            made = told.Refunded.model_validate(about)
        case "refund", False:
            about |= {"amount_minor": operation.amount_minor, "code": outcome.code}
            made = told.RefundFailed.model_validate(about)
    return made


def _invoiced(db: Db, hold: Authorisation) -> int:
    """Return what the rental's documents come to, minor units."""
    scope = Scope(hold.tenant, hold.city)
    return sum(each.total_minor for each in books.documents(db, scope, hold.rental_id))
