"""What returns does when its own timer rings, and when a person asked for a photo. Idempotent."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import NAMESPACE_URL, uuid5

from cloud.events.booking import RentalEndFailed
from cloud.events.returns import PhotoDue, ReturnReviewed
from cloud.identity import api as identity
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.events import RetryLater, Subscriber
from cloud.kit.ports.mail import Mail, MailLaterError, MailRefusedError
from cloud.kit.scope import Scope
from cloud.returns import letters, service, store
from cloud.returns.ports import Parts

log = logging.getLogger(__name__)

_AGAIN_AFTER = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Post:
    """What returns' mail needs: what carries it, where customers find our pages, the time."""

    mail: Mail
    public_url: str
    clock: Clock


def photo_due(db: Db, event: PhotoDue, parts: Parts) -> None:
    """A return has waited for a photo; its row says whether for long enough."""
    now = max(event.due_at, parts.clock.now())
    service.photo_overdue(db, parts, event.rental_id, now)


def end_failed(db: Db, event: RentalEndFailed, parts: Parts) -> None:
    """The vehicle moved when it was to lock: the return is void, unless it was ended anew."""
    service.end_failed(db, parts, event.rental_id, parts.clock.now())


def ask_for_photo(db: Db, event: ReturnReviewed, post: Post) -> None:
    """Write to a rider of whom a person wants one more photo, while it can still come.

    A kill between sending and committing sends it once more, with the same Message-ID.
    """
    made = store.find(db, event.rental_id)
    until = event.photo_until
    if until is None or made is None or made.photo_asked_until != until:
        return
    rider = identity.customer(db, Scope(event.tenant, event.city), event.customer_id)
    if rider is None or until <= post.clock.now():
        return
    subject, text = letters.photo_asked(
        rider, post.public_url, event.rental_id, event.reason, until
    )
    about = uuid5(NAMESPACE_URL, f"returns:{event.rental_id}:{until.isoformat()}")
    try:
        post.mail.send(rider.email, subject, text, about=about)
    except MailLaterError as trouble:
        raise RetryLater(str(trouble), _AGAIN_AFTER) from trouble
    except MailRefusedError:
        log.warning("the mail about the photo of rental %s is refused for good", event.rental_id)


def subscribers(parts: Parts, post: Post) -> tuple[Subscriber, ...]:
    """Return who acts on events, with these parts and this post."""
    return (
        Subscriber("returns.void_ends", (RentalEndFailed,), partial(end_failed, parts=parts)),
        Subscriber("returns.wait_for_photos", (PhotoDue,), partial(photo_due, parts=parts)),
        Subscriber("returns.ask_for_photos", (ReturnReviewed,), partial(ask_for_photo, post=post)),
    )
