"""The rules of a rental: its states, what moves it, and what its timeline means. Pure."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal, get_args

State = Literal[
    "authorising",
    "unlocking",
    "riding",
    "pausing",
    "paused",
    "resuming",
    "ending",
    "locked",
    "accepted",
    "ended",
    "cancelled",
]
"""How far a rental got; `locked` waits for the return's check, `accepted` for the lock."""

Step = Literal[
    "authorised",
    "not_authorised",
    "unlock_done",
    "unlock_failed",
    "lock_done",
    "lock_failed",
    "pause_asked",
    "resume_asked",
    "end_asked",
    "accept",
    "call_off",
    "rides_on",
]

STATES: tuple[State, ...] = get_args(State)
STEPS: tuple[Step, ...] = get_args(Step)
FINAL: frozenset[State] = frozenset({"ended", "cancelled"})
METERED: frozenset[State] = frozenset({"riding", "pausing", "paused", "resuming"})

RULES: Mapping[tuple[State, Step], State] = {
    ("authorising", "authorised"): "unlocking",
    ("authorising", "not_authorised"): "cancelled",
    ("authorising", "call_off"): "cancelled",
    ("unlocking", "unlock_done"): "riding",
    ("unlocking", "unlock_failed"): "cancelled",
    ("unlocking", "call_off"): "cancelled",
    ("riding", "pause_asked"): "pausing",
    ("pausing", "lock_done"): "paused",
    ("pausing", "lock_failed"): "riding",
    # The lock answered after the cloud had given up: what the vehicle did counts.
    ("riding", "lock_done"): "paused",
    ("paused", "resume_asked"): "resuming",
    ("resuming", "unlock_done"): "riding",
    ("resuming", "unlock_failed"): "paused",
    ("paused", "unlock_done"): "riding",
    **{(state, "end_asked"): "ending" for state in METERED},
    ("ending", "lock_done"): "locked",
    ("ending", "accept"): "accepted",
    # The lock was refused because the vehicle moves: nobody ended anything.
    ("ending", "rides_on"): "riding",
    ("accepted", "rides_on"): "riding",
    ("locked", "accept"): "ended",
    ("accepted", "lock_done"): "ended",
}
"""What may happen when, and where it leads. What is not here does not happen."""

HOLD_MINUTES = 30
"""The longest hold."""
CALL_OFF_WITHIN = timedelta(minutes=2)
CALL_OFF_RADIUS_M = 50.0
_EARTH_M = 6_371_008.8


def after(state: State, step: Step) -> State | None:
    """Return where a step leads, None when it may not happen now."""
    return RULES.get((state, step))


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere on the earth, WGS 84; `accuracy_m` is None when nobody said."""

    lat: float
    lon: float
    accuracy_m: float | None = None


def distance_m(one: Place, other: Place) -> float:
    """Return the metres between two places on a great circle."""
    lat_1, lat_2 = math.radians(one.lat), math.radians(other.lat)
    d_lat, d_lon = lat_2 - lat_1, math.radians(other.lon - one.lon)
    chord = math.sin(d_lat / 2) ** 2 + math.cos(lat_1) * math.cos(lat_2) * math.sin(d_lon / 2) ** 2
    return 2 * _EARTH_M * math.asin(min(1.0, math.sqrt(chord)))


@dataclass(frozen=True, slots=True)
class EdgeTime:
    """When a vehicle did something, or somebody for it.

    Attributes:
        at: by the corrected clock.
        boot: the run of the edge's monotonic clock; None when it did not say.
        mono_s: seconds on that clock.
    """

    at: datetime
    boot: str | None = None
    mono_s: float | None = None


EntryKind = Literal[
    "authorised",
    "unlock_asked",
    "unlocked",
    "pause_asked",
    "paused",
    "pause_failed",
    "resume_asked",
    "resumed",
    "resume_failed",
    "rebooted",
    "outage_began",
    "outage_ended",
    "end_requested",
    "end_failed",
    "lock_failed",
    "locked",
    "accepted",
    "charged",
    "cancelled",
    "secured",
    "capped",
    "closed",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened in a rental.

    Attributes:
        kind: what.
        at: when, by the edge's corrected clock where the vehicle saw it.
        boot: the run of the edge's monotonic clock; None when it did not say.
        mono_s: seconds on that clock.
        place: where, if known.
        detail: one word or sentence more.
    """

    kind: EntryKind
    at: datetime
    boot: str | None = None
    mono_s: float | None = None
    place: Place | None = None
    detail: str = ""


_PAUSING: frozenset[EntryKind] = frozenset(
    {
        *("pause_asked", "paused", "pause_failed", "resume_asked", "resumed", "resume_failed"),
        *("end_requested", "end_failed"),
    }
)
_REFUSALS: frozenset[EntryKind] = frozenset({"pause_failed", "resume_failed", "end_failed"})


def refusal(timeline: Sequence[Entry]) -> Entry | None:
    """Return the vehicle's no to a pause, to riding on or to the end, while it is the last word."""
    last = next((one for one in reversed(timeline) if one.kind in _PAUSING), None)
    return last if last is not None and last.kind in _REFUSALS else None


def end_of(timeline: Iterable[Entry]) -> Entry | None:
    """Return the first request to end that did not fail: a vehicle that moved on voids it."""
    end = None
    for entry in timeline:
        if entry.kind == "end_requested":
            end = end or entry
        elif entry.kind == "end_failed":
            end = None
    return end


@dataclass(frozen=True, slots=True)
class RideTimes:
    """What a timeline comes to, in seconds.

    Attributes:
        ride_s: from unlock to end, pauses and outages included.
        pause_s: of pauses.
        outage_s: of our own outages, outside pauses.
        called_off: ended within 2 minutes and 50 metres: it costs nothing.
        basis: "monotonic"; "wall" where the device gave no monotonic times; "rebooted" where it
            started again in between, and the shorter of two readings was taken.
    """

    ride_s: float
    pause_s: float
    outage_s: float
    called_off: bool
    basis: Literal["monotonic", "wall", "rebooted"]


def times(timeline: Sequence[Entry], now: datetime | None = None) -> RideTimes:
    """Return what was used between the unlock and the end, `now` while there is no end yet.

    A timeline without an unlock comes to nothing. Entries may come in any order.
    """
    start = next((entry for entry in timeline if entry.kind == "unlocked"), None)
    end = end_of(timeline)
    if start is None or (end is None and now is None):
        return RideTimes(0, 0, 0, called_off=False, basis="wall")
    stop = end or Entry("end_requested", max(now or start.at, start.at))
    stop = _on_the_edges_clock(stop, timeline)
    inside = [start, *_between(timeline, start, stop), stop]
    marks, basis = _marks(inside)
    ride_s = max(0.0, marks[-1])
    paused = list(_spans(inside, marks, {"paused"}, {"resumed", "end_failed"}))
    out = list(_spans(inside, marks, {"outage_began"}, {"outage_ended"}))
    return RideTimes(
        ride_s=ride_s,
        pause_s=_length(paused),
        outage_s=_length(out) - _overlap(out, paused),
        called_off=end is not None and _is_called_off(start, end, ride_s),
        basis=basis,
    )


def _on_the_edges_clock(end: Entry, timeline: Sequence[Entry]) -> Entry:
    """Return an end that our clock saw as the vehicle's saw it: so long before it locked.

    Only a lock that was known when the ride was charged counts: what was charged then stays.
    """
    if end.mono_s is not None:
        return end
    for entry in timeline:
        if entry.kind == "charged":
            return end
        if entry.kind == "locked" and entry.mono_s is not None:
            mono_s = entry.mono_s - max(0.0, _gap_s(end, entry))
            return replace(end, boot=entry.boot, mono_s=mono_s)
    return end


def _is_called_off(start: Entry, end: Entry, ride_s: float) -> bool:
    """Tell whether a ride was too short to count; where nobody knows the distance, it counts."""
    if ride_s > CALL_OFF_WITHIN.total_seconds() or start.place is None or end.place is None:
        return False
    return distance_m(start.place, end.place) <= CALL_OFF_RADIUS_M


def _between(timeline: Iterable[Entry], start: Entry, stop: Entry) -> list[Entry]:
    """Return what happened in [start, stop), in order: by monotonic clock within one boot."""
    edges = {"paused", "resumed", "end_failed", "rebooted", "outage_began", "outage_ended"}
    found = [e for e in timeline if e.kind in edges and start.at <= e.at <= stop.at]
    return sorted(found, key=lambda entry: entry.at)


def _marks(
    entries: Sequence[Entry],
) -> tuple[list[float], Literal["monotonic", "wall", "rebooted"]]:
    """Return seconds since the first entry for each; never falling, the last is the duration."""
    walls = [_gap_s(entries[0], entry) for entry in entries]
    clocked = [entry for entry in entries if entry.boot is not None and entry.mono_s is not None]
    boots = {entry.boot for entry in clocked}
    ends_clocked = entries[0] in clocked and entries[-1] in clocked
    if not ends_clocked:
        return _rising(walls, walls[-1]), "wall"
    if len(boots) == 1:
        first = entries[0].mono_s or 0.0
        marks = [
            wall if entry.mono_s is None else entry.mono_s - first
            for entry, wall in zip(entries, walls, strict=True)
        ]
        return _rising(marks, marks[-1]), "monotonic"
    pieces = [0.0]
    for before, entry in pairwise(clocked):
        pieces.append(pieces[-1] + _step_s(before, entry))
    return _rising(walls, min(walls[-1], pieces[-1])), "rebooted"


def _step_s(before: Entry, entry: Entry) -> float:
    if before.boot == entry.boot and before.mono_s is not None and entry.mono_s is not None:
        return max(0.0, entry.mono_s - before.mono_s)
    return max(0.0, _gap_s(before, entry))


def _gap_s(one: Entry, other: Entry) -> float:
    return (other.at - one.at).total_seconds()


def _rising(marks: Sequence[float], last: float) -> list[float]:
    """Return the marks so that none lies before the one before it or after `last`."""
    highest, risen = 0.0, []
    for mark in marks:
        highest = min(max(highest, mark), max(0.0, last))
        risen.append(highest)
    risen[-1] = max(0.0, last)
    return risen


Span = tuple[float, float]


def _spans(
    entries: Sequence[Entry], marks: Sequence[float], opens: set[str], closes: set[str]
) -> Iterator[Span]:
    """Yield what lies between an opening and the next closing entry, else the end."""
    began: float | None = None
    for entry, mark in zip(entries, marks, strict=True):
        if entry.kind in opens and began is None:
            began = mark
        elif entry.kind in closes and began is not None:
            yield began, mark
            began = None
    if began is not None:
        yield began, marks[-1]


def _length(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in spans)


def _overlap(some: Sequence[Span], others: Sequence[Span]) -> float:
    return sum(
        max(0.0, min(end, stop) - max(start, begin))
        for start, end in some
        for begin, stop in others
    )
