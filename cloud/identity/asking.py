"""What asking for mail has in common, whoever asks: it is counted, and a letter is owed.

Both cost the same whether an e-mail address is known or not.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cloud.events.identity import LetterAsked
from cloud.identity import customer_rules as rules
from cloud.identity import model
from cloud.identity.store import accounts, sign_ups
from cloud.identity.store.sign_ups import Letter
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.scope import Scope

Guard = tuple[str, bytes, int]
"""What is counted, whose, and how many are too many in model.WINDOW."""


def guards(kind: str, email: str, address: str, address_limit: int) -> Sequence[Guard]:
    """Return what is counted of one request: its e-mail address, then where it comes from."""
    return (
        (kind, model.digest(email), rules.EMAIL_LIMIT),
        (f"{kind}_address", model.digest(model.address_group(address)), address_limit),
    )


def count(db: Db, scope: Scope, counted: Sequence[Guard], now: datetime) -> timedelta | None:
    """Count a request; return instead how long to wait where there were too many."""
    found = [accounts.lock_attempts(db, scope, kind, subject, now) for kind, subject, _ in counted]
    waits = [wait for each in found if (wait := each.wait(now)) is not None]
    if waits:
        return max(waits)
    for before, (kind, subject, limit) in zip(found, counted, strict=True):
        accounts.save_attempts(db, kind, subject, before.fail(now, limit), now)
    return None


def owe(db: Db, letter: Letter) -> None:
    """Note that a mail is owed, and let whoever sends it know."""
    sign_ups.add_letter(db, letter)
    asked = LetterAsked(
        tenant=letter.tenant, city=letter.city, letter_id=letter.id, at=letter.asked_at
    )
    publish(db, asked, at=letter.asked_at)
