"""What is committed of a lane, as ranges of seq. Pure rules; the ledger row is the stored form."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from protocol.segment import Header

Ranges = tuple[tuple[int, int], ...]

MAX_HOLES = 256
CONNECTED_WITHIN = timedelta(seconds=90)

_EARLIEST_MS = 1_577_836_800_000  # 2020-01-01
_DAY_MS = 86_400_000
_RIGHT_WITHIN_MS = 2_000
_SLOWEST_LINK_MS = 60_000
_SOON_MS = 90_000


class Verdict(enum.Enum):
    """What to do with a segment, by its header alone.

    NEW is kept and counted; REPEAT is acked again and nothing else; OVERLAP, which no sound device
    sends, is kept in quarantine; SCATTERED would make one hole too many and waits for a resend.
    """

    NEW = "new"
    REPEAT = "repeat"
    OVERLAP = "overlap"
    SCATTERED = "scattered"


@dataclass(frozen=True, slots=True)
class Progress:
    """Committed seqs of one lane and epoch.

    Attributes:
        through_seq: every seq from 1 to here is committed or noted as a gap.
        have: inclusive ranges beyond it, ascending, neither touching nor overlapping.
    """

    through_seq: int = 0
    have: Ranges = ()

    @property
    def ranges(self) -> Ranges:
        """Everything at once, the watermark as a first range."""
        return ((1, self.through_seq), *self.have) if self.through_seq else self.have

    def covers(self, first: int, last: int) -> bool:
        """Tell whether all of first..last is committed."""
        return last <= self.through_seq or any(a <= first and last <= b for a, b in self.ranges)

    def touches(self, first: int, last: int) -> bool:
        """Tell whether any of first..last is committed."""
        return first <= self.through_seq or any(a <= last and first <= b for a, b in self.have)


def classify(progress: Progress, first: int, last: int) -> Verdict:
    """Say what a segment holding first..last is, given what is committed."""
    if progress.covers(first, last):
        return Verdict.REPEAT
    if progress.touches(first, last):
        return Verdict.OVERLAP
    if len(progress.have) >= MAX_HOLES and len(add(progress, first, last).have) > MAX_HOLES:
        return Verdict.SCATTERED
    return Verdict.NEW


def add(progress: Progress, first: int, last: int) -> Progress:
    """Return the progress with first..last committed too."""
    if first == progress.through_seq + 1 and not progress.have:
        return Progress(last)
    return _progress(_union([*progress.ranges, (first, last)]))


def raise_floor(progress: Progress, floor_seq: int) -> tuple[Progress, Ranges]:
    """Move the watermark to just below `floor_seq`, the lowest seq the device still holds.

    Returns:
        The new progress, and the holes this passes over: records that will never come.
    """
    if floor_seq <= progress.through_seq + 1:
        return progress, ()
    gaps: list[tuple[int, int]] = []
    at = progress.through_seq + 1
    for first, last in (*progress.have, (floor_seq, floor_seq)):
        if first > at and at < floor_seq:
            gaps.append((at, min(first, floor_seq) - 1))
        at = max(at, last + 1)
    return _progress(_union([*progress.ranges, (1, floor_seq - 1)])), tuple(gaps)


@dataclass(frozen=True, slots=True)
class ToldClock:
    """What a hello told of a device's clock, for records sealed before the device knew itself.

    Attributes:
        boot_id: the run of the agent it is about.
        offset_ms: what to add to that clock, with the link's delay in it.
        sent_at_ms: what that clock showed.
        through_seq: highest seq of the lane that was written before the hello.
    """

    boot_id: int = 0
    offset_ms: int = 0
    sent_at_ms: int = 0
    through_seq: int = 0

    def hear(self, boot_id: int, sent_at_ms: int, received_ms: int, last_seq: int) -> "ToldClock":
        """Return what is known after another hello.

        A clock that was right in this run and now seems behind by what a slow link can explain is
        still right. One that is put right in the middle of a run says nothing about what was
        written before: that backlog may still be coming.
        """
        offset_ms = received_ms - sent_at_ms
        if boot_id == self.boot_id:
            if _is_right(self.offset_ms) and 0 < offset_ms <= _SLOWEST_LINK_MS:
                offset_ms = self.offset_ms
            elif _is_right(offset_ms) and abs(self.offset_ms) > _SLOWEST_LINK_MS:
                return self
        return ToldClock(boot_id, offset_ms, sent_at_ms, last_seq)

    def offset_of(self, header: Header) -> int:
        """Return what to add to the times of a segment: the device's own word, or the hello's."""
        known = header.boot_id == self.boot_id and not _is_right(self.offset_ms)
        if header.clock_offset_ms or not known:
            return header.clock_offset_ms
        before = header.first_seq <= self.through_seq
        soon = 0 <= header.t0_ms - self.sent_at_ms <= _SOON_MS
        return self.offset_ms if before or soon else 0


def correct_times(
    times_ms: Sequence[int], offset_ms: int, received_at: datetime
) -> tuple[list[int], int]:
    """Return true times for a device's, and how many had to be replaced.

    A corrected time before 2020 or more than a day after `received_at` cannot be: the time of
    receipt stands in for it.
    """
    received_ms = int(received_at.timestamp() * 1000)
    latest = received_ms + _DAY_MS
    times = [time + offset_ms for time in times_ms] if offset_ms else list(times_ms)
    if min(times) >= _EARLIEST_MS and max(times) <= latest:
        return times, 0
    plausible = [time if _EARLIEST_MS <= time <= latest else received_ms for time in times]
    return plausible, sum(not _EARLIEST_MS <= time <= latest for time in times)


def is_connected(told: bool, last_heard_at: datetime, now: datetime) -> bool:
    """Tell whether a device that said hello and not goodbye still counts as connected."""
    return told and now - last_heard_at <= CONNECTED_WITHIN


def _is_right(offset_ms: int) -> bool:
    return abs(offset_ms) < _RIGHT_WITHIN_MS


def _union(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _progress(ranges: list[tuple[int, int]]) -> Progress:
    if ranges and ranges[0][0] == 1:
        return Progress(ranges[0][1], tuple(ranges[1:]))
    return Progress(0, tuple(ranges))
