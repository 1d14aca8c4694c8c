"""Sums of wire values by minute and the latest value of each signal. Pure and exact."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import cast

from protocol.segment import SignalBlock
from protocol.signals import BY_ID, Signal

MINUTE_MS = 60_000
RAW_SPAN_MS = 2 * 60 * MINUTE_MS

Sums = tuple[int, int, int, int]
"""count, sum, low, high of wire values; integers, so adding parts in any order is exact."""

State = dict[int, tuple[int, int]]
"""Latest (wire value, corrected Unix milliseconds) by signal id."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest value of one signal, in the signal's unit."""

    signal: Signal
    value: float
    at: datetime


@dataclass(frozen=True, slots=True)
class LastState:
    """How a device was when it last reported.

    Attributes:
        device_id: whose it is.
        latest: by signal key; each signal has its own time.
        changed_at: when the cloud last committed something newer.
    """

    device_id: str
    latest: Mapping[str, Latest]
    changed_at: datetime

    @property
    def at(self) -> datetime | None:
        """Time of the newest value."""
        return max((latest.at for latest in self.latest.values()), default=None)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A signal over one stretch of time, in the signal's unit; `at` is where it begins."""

    at: datetime
    mean: float
    low: float
    high: float
    count: int


def add(one: Sums, other: Sums) -> Sums:
    """Return the sums of both."""
    return one[0] + other[0], one[1] + other[1], min(one[2], other[2]), max(one[3], other[3])


def sums(values: Sequence[int | None]) -> Sums | None:
    """Return the sums of the values there are, None when there are none."""
    whole = [v for v in values if v is not None] if None in values else values
    if not whole:
        return None
    known = cast("Sequence[int]", whole)
    return len(known), sum(known), min(known), max(known)


def by_minute(
    times_ms: Sequence[int], columns: Mapping[int, Sequence[int | None]]
) -> Iterator[tuple[int, int, Sums]]:
    """Yield (minute, signal id, sums) of a block; the minute is in Unix milliseconds.

    A minute comes up more than once when times run backwards. Signals that are not in the
    catalogue are left out.
    """
    known = [(signal_id, column) for signal_id, column in columns.items() if signal_id in BY_ID]
    for minute, start, end in _runs(times_ms):
        for signal_id, column in known:
            part = sums(column[start:end])
            if part is not None:
                yield minute, signal_id, part


def newest(times_ms: Sequence[int], columns: Mapping[int, Sequence[int | None]]) -> State:
    """Return the value with the latest time of each signal of the catalogue."""
    ascending = _ascending(times_ms)
    state: State = {}
    for signal_id, column in columns.items():
        if signal_id not in BY_ID:
            continue
        if ascending and (last := column[-1]) is not None:
            state[signal_id] = last, times_ms[-1]
            continue
        best: tuple[int, int] | None = None
        for time, value in zip(times_ms, column, strict=True):
            if value is not None and (best is None or time >= best[1]):
                best = value, time
        if best is not None:
            state[signal_id] = best
    return state


def merge(old: State, new: State) -> bool:
    """Take over into `old` what is not older there; tell whether anything was."""
    changed = False
    for signal_id, found in new.items():
        known = old.get(signal_id)
        if known is None or found[1] >= known[1]:
            changed = changed or known != found
            old[signal_id] = found
    return changed


def bucket_ms(from_ms: int, to_ms: int, points: int) -> int:
    """Return the width of a bucket, in milliseconds, so that at most `points` fill the span.

    Below a minute readings are decoded, so only for a short span; else whole minutes are summed.
    """
    width = max(1, -(-(to_ms - from_ms) // points))
    if width < MINUTE_MS and to_ms - from_ms <= RAW_SPAN_MS:
        return width
    return -(-width // MINUTE_MS) * MINUTE_MS


def into_buckets(
    block: SignalBlock, times_ms: Sequence[int], signal_id: int, span: range, found: dict[int, Sums]
) -> None:
    """Add a block's values of one signal to `found`, by bucket number of `span`."""
    column = block.columns.get(signal_id)
    if column is None:
        return
    start, stop, width = span.start, span.stop, span.step
    for time, value in zip(times_ms, column, strict=True):
        if value is None or not start <= time < stop:
            continue
        number = (time - start) // width
        part = 1, value, value, value
        known = found.get(number)
        found[number] = part if known is None else add(known, part)


def _ascending(times_ms: Sequence[int]) -> bool:
    return all(map(int.__le__, times_ms, times_ms[1:]))


def _runs(times_ms: Sequence[int]) -> Iterable[tuple[int, int, int]]:
    """Return (minute in ms, start, end) of stretches within one minute."""
    runs: list[tuple[int, int, int]] = []
    start, count = 0, len(times_ms)
    if _ascending(times_ms):
        while start < count:
            minute = times_ms[start] // MINUTE_MS * MINUTE_MS
            end = bisect_left(times_ms, minute + MINUTE_MS, start)
            runs.append((minute, start, end))
            start = end
        return runs
    for minute, group in groupby(time // MINUTE_MS for time in times_ms):
        end = start + sum(1 for _ in group)
        runs.append((minute * MINUTE_MS, start, end))
        start = end
    return runs
