"""The audit chain: appending to it, and checking it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from cloud.identity import chain
from cloud.identity.chain import Entry, Verdict
from cloud.identity.model import Who
from cloud.identity.store import audit as store
from cloud.kit.db import Db, joined


def audit(
    db: Db, who: Who, action: str, target: str, detail: Mapping[str, Any], at: datetime
) -> int:
    """Append a row in the caller's transaction: both are committed or neither.

    Everybody else who appends waits until that transaction is over, so call it last in it.

    Args:
        db: connection.
        who: a principal, or an `Actor` without an account.
        action: what was done, `area.verb`, such as `command.requested`.
        target: what it was done to, such as a device id.
        detail: more, as JSON; no secrets, and nothing personal that is not needed.
        at: now.

    Returns:
        The row's number.

    Raises:
        ValueError: a number in `detail` that JSON does not know.
    """
    with joined(db):
        end = store.lock_head(db)
        entry = Entry(
            seq=end.seq + 1,
            at=at,
            tenant=who.tenant,
            city=who.city,
            actor=chain.text(who.name),
            actor_kind=who.kind,
            action=chain.text(action),
            target=chain.text(target),
            detail=chain.storable(detail),
            prev_hash=end.hash,
        )
        store.append(db, replace(entry, hash=entry.computed_hash()))
    return entry.seq


def verify(db: Db) -> Verdict:
    """Check every row of the chain, while others go on appending."""
    with db.transaction():
        store.freeze(db)
        return chain.verify(store.entries(db), store.head(db))


def newest(
    db: Db, limit: int, *, tenant: str | None = None, before: int | None = None
) -> list[Entry]:
    """Return the newest rows, newest first; of one tenant, and older than a row, if told."""
    return store.newest(db, limit, tenant=tenant, before=before)
