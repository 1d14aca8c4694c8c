"""What goes into a journal and what comes out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edge.journal.commands import CommandTables
from protocol.bodies import FieldValue
from protocol.segment import Lane

Values = Mapping[int, int]
Reading = tuple[int, dict[int, int]]
"""Device time in Unix milliseconds, and wire values by signal id."""


Along = Callable[[CommandTables, int], None]
"""What belongs into the transaction of a fact; takes the fact's seq."""


class Range(NamedTuple):
    """Seqs from `first` to `last`, both included."""

    first: int
    last: int


class Durable(NamedTuple):
    """Records of a lane that an fsync has just covered."""

    lane: Lane
    epoch: int
    first: int
    last: int


@dataclass(slots=True)
class PendingFact:
    """A fact on its way into the journal; `seq` is None until it is durable.

    `traceparent` goes into the header of its segment. `along` is written with it or not at all.
    """

    kind: str
    fields: Mapping[str, FieldValue]
    time_ms: int
    mono_ms: int
    v: int = 1
    traceparent: str | None = None
    along: Along | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment as it lies in the journal."""

    lane: Lane
    epoch: int
    first_seq: int
    n: int
    payload: bytes

    @property
    def last_seq(self) -> int:
        """Seq of its last record."""
        return self.first_seq + self.n - 1


class Damaged(NamedTuple):
    """A segment whose bytes are no longer those that were sealed, and how that shows."""

    segment: Sealed
    reason: str


@dataclass(frozen=True, slots=True)
class LaneView:
    """What a journal holds of a lane: `floor_seq` is the lowest seq still held.

    `sealed_seq` is the last seq that lies in a segment; what comes after it cannot be sent yet.
    """

    lane: Lane
    epoch: int
    floor_seq: int
    last_seq: int
    sealed_seq: int

    @property
    def holds_any(self) -> bool:
        """Whether something waits for its acknowledgement."""
        return self.floor_seq <= self.last_seq
