"""CloudEvents 1.0 in one append-only table, written in the transaction of what they tell.

`kit.publish` (SQL) records the event and queues one job a subscriber; both functions below are
that one statement, for the two kinds of connection.
"""

import re
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field, PrivateAttr

from cloud.kit.clock import rfc3339
from cloud.kit.db import AsyncDb, Db
from cloud.kit.ids import new_id

_TYPE = re.compile(r"[a-z]+\.[a-z][a-z_]*\.v[0-9]+")
_ENVELOPE = frozenset({"id", "tenant", "city"})
_PUBLISH = "SELECT kit.publish(%s, %s, %s, %s, %s, %s, %s, %s, %s)"


class Event(BaseModel, frozen=True, extra="ignore"):
    """One fact, told in the past tense; fields a subclass adds are its data.

    A subclass sets `TYPE` to `context.thing_happened.v1`; its first own field, or the one that
    `SUBJECT` names, says whom it is about. Readers ignore fields they do not know; a changed
    meaning is a new version beside the old one.
    """

    TYPE: ClassVar[str] = ""
    SUBJECT: ClassVar[str] = ""
    by_type: ClassVar[dict[str, type["Event"]]] = {}

    id: UUID = Field(default_factory=new_id)
    tenant: str = Field(min_length=1)
    city: str = Field(min_length=1)
    _time: datetime | None = PrivateAttr(default=None)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401 - pydantic's own
        super().__pydantic_init_subclass__(**kwargs)
        if not _TYPE.fullmatch(cls.TYPE):
            raise TypeError(f"{cls.__name__}.TYPE must look like devices.device_enrolled.v1")
        if Event.by_type.setdefault(cls.TYPE, cls).__qualname__ != cls.__qualname__:
            raise TypeError(f"{cls.TYPE} is taken by {Event.by_type[cls.TYPE].__name__}")
        own = [name for name in cls.model_fields if name not in _ENVELOPE]
        if not own or (cls.SUBJECT and cls.SUBJECT not in own):
            raise TypeError(f"{cls.__name__} needs a field that says whom it is about")
        cls.SUBJECT = cls.SUBJECT or own[0]

    @classmethod
    def source(cls) -> str:
        """The context that tells it, as a CloudEvents source."""
        return f"/cloud/{cls.TYPE.partition('.')[0]}"

    @property
    def time(self) -> datetime:
        """When it was published; raises ValueError before that."""
        if self._time is None:
            raise ValueError(f"{self.TYPE} is not published yet: it has no time")
        return self._time

    def subject(self) -> str:
        """Whom it is about: a vehicle, a rental."""
        return str(getattr(self, self.SUBJECT))

    def data(self) -> dict[str, Any]:
        """The fields that are this event's own, ready for JSON."""
        return self.model_dump(mode="json", exclude=set(_ENVELOPE))

    def cloud_event(self) -> dict[str, Any]:
        """Return a published event in the JSON format of CloudEvents 1.0."""
        return {
            "specversion": "1.0",
            "id": str(self.id),
            "source": self.source(),
            "type": self.TYPE,
            "time": rfc3339(self.time),
            "subject": self.subject(),
            "datacontenttype": "application/json",
            "tenant": self.tenant,
            "city": self.city,
            "data": self.data(),
        }

    @classmethod
    def from_cloud_event(cls, told: dict[str, Any]) -> Self:
        """Read what `cloud_event` wrote; raises pydantic.ValidationError."""
        fields = {**told["data"], **{name: told[name] for name in _ENVELOPE}}
        return cls.told(datetime.fromisoformat(told["time"]), fields)

    @classmethod
    def told(cls, time: datetime, fields: dict[str, Any]) -> Self:
        """Return the event that was published at `time`."""
        event = cls.model_validate(fields)
        event._time = time  # noqa: SLF001 - an instance of this very class
        return event


def publish(db: Db, event: Event, *, at: datetime, due: datetime | None = None) -> None:
    """Record an event told at `at` and queue it for its subscribers, in the caller's transaction.

    With `due` it is delivered at that time instead of at once: a timer that announces itself.
    """
    db.execute(_PUBLISH, _parameters(event, at, due))


async def publish_async(
    db: AsyncDb, event: Event, *, at: datetime, due: datetime | None = None
) -> None:
    """Do as `publish` does, on an async connection."""
    await db.execute(_PUBLISH, _parameters(event, at, due))


def read(db: Db, event_id: UUID) -> Event | None:
    """Return an event of the log as its class; None when it is not there."""
    row = db.execute(
        'SELECT type, id, "time", tenant, city, data FROM kit.event WHERE id = %s',
        (event_id,),
    ).fetchone()
    if row is None:
        return None
    type_, id_, time, tenant, city, data = row
    envelope = {"id": id_, "tenant": tenant, "city": city}
    return Event.by_type[type_].told(time, {**data, **envelope})


def _parameters(event: Event, at: datetime, due: datetime | None) -> tuple[object, ...]:
    return (
        event.id,
        event.TYPE,
        event.source(),
        event.subject(),
        at,
        due or at,
        event.tenant,
        event.city,
        Jsonb(event.data()),
    )
