"""What ingest hands from hand to hand, and the kinds of function it calls with a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cloud.kit.db import Db
from cloud.kit.scope import Scope
from protocol.segment import Header, Segment

if TYPE_CHECKING:
    from cloud.devices.store.commands import CommandRow

LaneKey = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One payload as it came off the link.

    Attributes:
        device_id: whose it is, by the subject it came on.
        payload: the bytes.
        received_at: wall clock at receipt.
        arrived_s: monotonic clock at receipt, seconds.
    """

    device_id: str
    payload: bytes
    received_at: datetime
    arrived_s: float


@dataclass(frozen=True, slots=True)
class ReceivedSegment:
    """A segment to be kept.

    Attributes:
        scope: tenant and city of the device.
        device_id: whose it is.
        epoch: the header's epoch as 16 hex digits.
        header: the plain part.
        payload: the sealed bytes, kept as they are.
        received_at: time of receipt.
        segment: the opened records, None when quarantined.
        quarantine: why the records are not believed, None when they are.
        offset_ms: what was added to the device's times.
        times_ms: corrected Unix milliseconds of the records; empty when quarantined.
        retimed: how many of them are the time of receipt, because the device's cannot be true.
    """

    scope: Scope
    device_id: str
    epoch: str
    header: Header
    payload: bytes
    received_at: datetime
    segment: Segment | None
    quarantine: str | None
    offset_ms: int
    times_ms: Sequence[int]
    retimed: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Segments of one transaction, from many devices; `at` is the transaction's time.

    A projector adds to `commands` those that it has moved on, to be told after the commit.
    """

    segments: Sequence[ReceivedSegment]
    at: datetime
    commands: list["CommandRow"] = field(default_factory=list)


Keep = Callable[[Db, Batch], None]
"""Stores every segment of the batch, quarantined ones too; raising fails the whole batch."""

Projector = Callable[[Db, Batch], None]
"""Derives rows from sound segments; raising puts the culprit in quarantine, nothing more."""
