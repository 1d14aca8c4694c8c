"""What returns does when its own timer rings. Idempotent."""

from functools import partial

from cloud.events.returns import PhotoDue
from cloud.kit.db import Db
from cloud.kit.events import Subscriber
from cloud.returns import service
from cloud.returns.ports import Parts


def photo_due(db: Db, event: PhotoDue, parts: Parts) -> None:
    """A return has waited for a photo; its row says whether for long enough."""
    now = max(event.due_at, parts.clock.now())
    service.photo_overdue(db, parts, event.rental_id, now)


def subscribers(parts: Parts) -> tuple[Subscriber, ...]:
    """Return who acts on events, with these parts."""
    return (Subscriber("returns.wait_for_photos", (PhotoDue,), partial(photo_due, parts=parts)),)
