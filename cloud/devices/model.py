"""What is committed of a lane, as ranges of seq. Pure rules; the ledger row is the stored form."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

Ranges = tuple[tuple[int, int], ...]

MAX_SEQ = 2**62
MAX_HOLES = 256
CONNECTED_WITHIN = timedelta(seconds=90)

_EARLIEST_MS = 1_577_836_800_000  # 2020-01-01
_DAY_MS = 86_400_000


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
