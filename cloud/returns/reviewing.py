"""Returns that wait for a person: what there is to see, and what they choose. One intention each.

Nothing is charged here: the ride was when its return began to wait, without the fee that its rider
may have agreed to, and nothing is added whatever a person finds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from cloud.events.returns import ReturnReviewed
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.principal import Principal
from cloud.kit.scope import Scope
from cloud.returns import problems, service, store
from cloud.returns.model import Choice
from cloud.returns.ports import Parts
from cloud.returns.store import Doubt, PhotoRow, Return, Review


@dataclass(frozen=True, slots=True)
class Case:
    """All that a person looks at.

    Attributes:
        made: the return, with its place and position.
        doubt: the newest decision that sent it to a person.
        photos: the oldest first; their files are gone after `keep_until`.
        reviews: what people have chosen before, the oldest first.
    """

    made: Return
    doubt: Doubt
    photos: Sequence[PhotoRow]
    reviews: Sequence[Review]


def case(db: Db, scope: Scope, rental_id: UUID) -> Case:
    """Return what there is to see; raises NoSuchReviewError."""
    made, doubt = _find(db, scope, rental_id)
    return Case(made, doubt, store.photos(db, rental_id), store.reviews(db, rental_id))


def photo_file(db: Db, parts: Parts, scope: Scope, rental_id: UUID, photo_id: UUID) -> bytes:
    """Return a photo of a return that a person has, or had, to look at, as JPEG.

    Raises:
        NoSuchReviewError: there is none, or its time is over.
        OSError: it cannot be read.
    """
    _find(db, scope, rental_id)
    found = [row for row in store.photos(db, rental_id) if row.id == photo_id]
    if not found:
        raise problems.NoSuchReviewError
    try:
        return parts.objects.get(found[0].key)
    except KeyError:
        raise problems.NoSuchReviewError from None


def choose(
    db: Db,
    parts: Parts,
    who: Principal,
    rental_id: UUID,
    choice: Choice,
    reason: str,
    at: datetime,
) -> Return:
    """Decide a return that waits, and keep the choice as a label. The caller writes the audit row.

    Args:
        db: connection.
        parts: what returns works with.
        who: the person, in whose city it is.
        rental_id: the rental.
        choice: approve, reject or ask.
        reason: why; the rider reads it unless the return is good.
        at: now.

    Raises:
        NoSuchReviewError: a person never had to look at it, or it is another city's.
        ReviewedError: it does not wait any more.
    """
    with db.transaction():
        store.alone(db, rental_id)
        made, doubt = _find(db, who.realm, rental_id)
        if made.state != "pending":
            raise problems.ReviewedError(made.state)
        label = Review(new_id(), doubt.id, at, choice, reason, who.account_id, who.name)
        store.add_review(db, made.scope, label)
        made = _chosen(parts, made, choice, reason, at)
        store.save(db, made)
        told = ReturnReviewed(
            **service.about(made),
            choice=choice,
            reason=reason,
            verifier=doubt.verifier,
            photo_until=made.photo_asked_until,
            at=at,
        )
        publish(db, told, at=at)
        return made


def _chosen(parts: Parts, made: Return, choice: Choice, reason: str, at: datetime) -> Return:
    if choice == "ask":
        until = at + parts.policy.asked_photo_within
        # Whoever asked does not have to look before the answer is there, or does not come.
        review_by = max(until, made.review_by or until)
        return replace(made, photo_asked_until=until, note=reason, review_by=review_by)
    over = replace(made, photo_asked_until=None, review_by=None, decided_at=at)
    if choice == "approve":
        return replace(over, state="accepted", reasons=[], note="")
    return replace(over, state="rejected", note=reason)


def _find(db: Db, scope: Scope, rental_id: UUID) -> tuple[Return, Doubt]:
    made, doubt = store.find(db, rental_id), store.newest_doubt(db, rental_id)
    if made is None or doubt is None or made.scope != scope:
        raise problems.NoSuchReviewError
    return made, doubt
