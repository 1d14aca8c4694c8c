"""What providers tell unasked, and the nightly comparison of their books with ours."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from cloud.events.payments import DiscrepancyFound
from cloud.kit.clock import Clock
from cloud.kit.db import Db, Pool
from cloud.kit.events import publish
from cloud.kit.ports.payment import Notice, PaymentProvider, ProviderUnknownError, Transaction
from cloud.payments.reconcile import MARGIN, NOBODYS, Finding, compare
from cloud.payments.store import holds
from cloud.payments.store import outside as store

log = logging.getLogger(__name__)

_DAY = timedelta(days=1)


def hear(db: Db, provider: str, notice: Notice, at: datetime) -> bool:
    """Take in a webhook once; False when it was heard before.

    What it says is not believed, neither its order: it is a reason to ask the provider now what
    became of the operation it names.
    """
    key = _uuid(notice.key)
    with db.transaction():
        scope = None if key is None else store.scope_of(db, provider, key)
        if not store.add_webhook(db, provider, notice, scope or NOBODYS, at):
            return False
        if key is not None and scope is not None:
            holds.hurry(db, key, at)
    return True


def reconcile_day(pool: Pool, provider: PaymentProvider, now: datetime) -> Sequence[Finding]:
    """Compare the 25 hours that ended an hour ago; to be called at least once a day.

    Raises:
        ProviderUnknownError: the provider did not answer.
    """
    until = now - MARGIN
    theirs = list(provider.transactions(until - _DAY - 2 * MARGIN, now + MARGIN))
    with pool.connection() as db:
        return reconcile(db, provider.name, theirs, until - _DAY - MARGIN, until, now)


def reconcile_all(pool: Pool, providers: Mapping[str, PaymentProvider], clock: Clock) -> None:
    """Compare with every provider; one that does not answer is compared with the next time."""
    for provider in providers.values():
        try:
            found = reconcile_day(pool, provider, clock.now())
        except ProviderUnknownError as trouble:
            log.warning("the books of %s are not compared: %s", provider.name, trouble)
        else:
            for finding in found:
                log.warning("%s: %s %s", provider.name, finding.kind, finding.subject)


def reconcile(
    db: Db,
    provider: str,
    theirs: Sequence[Transaction],
    since: datetime,
    until: datetime,
    now: datetime,
) -> Sequence[Finding]:
    """Return what differs in `[since, until)`, and tell of each difference once.

    Args:
        db: connection.
        provider: whose transactions.
        theirs: of the window, with a margin.
        since: begin.
        until: end.
        now: now.
    """
    keys = list(_uuids(theirs))
    with db.transaction():
        ours = store.movements(db, provider, since, until, keys)
        pending = store.open_keys(db, keys)
        found = list(compare(ours, theirs, pending, since, until))
        for finding in found:
            if store.add_finding(db, provider, finding, now) and finding.scope != NOBODYS:
                publish(db, _event(provider, finding, now), at=now)
    return found


def _event(provider: str, finding: Finding, at: datetime) -> DiscrepancyFound:
    return DiscrepancyFound(
        tenant=finding.scope.tenant,
        city=finding.scope.city,
        provider=provider,
        kind=finding.kind,
        subject_key=finding.subject,
        found_at=at,
    )


def _uuids(theirs: Iterable[Transaction]) -> Iterable[UUID]:
    return (key for each in theirs if (key := _uuid(each.key)) is not None)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
