"""Compares our ledger with a provider's list of transactions, and names each difference. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from cloud.kit.clock import rfc3339
from cloud.kit.ports.payment import Transaction
from cloud.kit.scope import Scope

FindingKind = Literal["missing_there", "missing_here", "doubled", "altered"]
MARGIN = timedelta(hours=1)
"""How far a provider's clock and ours, or request and answer, may be apart."""

NOBODYS = Scope("", "")
"""Of a transaction that names nothing of ours."""


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that our ledger says went through a provider; never negative."""

    key: str
    kind: str
    tenant: str
    city: str
    amount_minor: int
    currency: str
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """Return what a finding shows of it."""
        return {
            "kind": self.kind,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "at": rfc3339(self.at),
        }


@dataclass(frozen=True, slots=True)
class Theirs:
    """A transaction as a finding shows it."""

    transaction: Transaction

    def as_json(self) -> dict[str, Any]:
        """Return what a finding shows of it."""
        told = self.transaction
        return {
            "id": told.id,
            "kind": told.kind,
            "payment": told.payment,
            "reference": told.reference,
            "amount_minor": told.amount_minor,
            "currency": told.currency,
            "at": rfc3339(told.at),
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    Attributes:
        kind: missing_there: in our ledger only; missing_here: at the provider only; doubled: the
            provider did it twice; altered: another amount, currency or kind.
        subject: our key, or the provider's transaction when it is one too many.
        scope: whose.
        ours: what the ledger says.
        theirs: what the provider says.
    """

    kind: FindingKind
    subject: str
    scope: Scope
    ours: Movement | None
    theirs: Theirs | None


def compare(
    ours: Iterable[Movement],
    theirs: Iterable[Transaction],
    pending: Collection[str],
    since: datetime,
    until: datetime,
) -> Iterator[Finding]:
    """Yield what differs in `[since, until)`.

    Args:
        ours: of the window, and whatever their transactions name by key.
        theirs: of the window with a margin on both sides.
        pending: keys of operations that have not ended here: they are not compared yet.
        since: begin.
        until: end.
    """
    by_key = {movement.key: movement for movement in ours}
    told: defaultdict[str, list[Transaction]] = defaultdict(list)
    for transaction in theirs:
        told[transaction.key].append(transaction)
    for key, movement in by_key.items():
        if since <= movement.at < until and key not in told:
            yield Finding("missing_there", key, _scope(movement), movement, None)
    for key, group in told.items():
        found = by_key.get(key)
        is_due = any(since <= each.at < until for each in group)
        if not is_due or key in pending:
            continue
        if found is None:
            for each in group:
                yield Finding("missing_here", each.id, NOBODYS, None, Theirs(each))
            continue
        first, *more = group
        if _money(first) != (found.kind, found.amount_minor, found.currency):
            yield Finding("altered", key, _scope(found), found, Theirs(first))
        for each in more:
            yield Finding("doubled", each.id, _scope(found), found, Theirs(each))


def _money(transaction: Transaction) -> tuple[str, int, str]:
    return transaction.kind, transaction.amount_minor, transaction.currency


def _scope(movement: Movement) -> Scope:
    return Scope(movement.tenant, movement.city)
