"""How often to poll, record, fsync and seal. Pure: time is passed in."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edge.rules.state import VehicleState
from edge.settings import Intervals

BEHIND_S = 0.1
LIVE_S = 1.0
_NOTHING: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between polls, recorded readings, fsyncs and seals."""

    poll_s: float
    record_s: float
    flush_s: float
    seal_s: float


def pace_of(
    intervals: Intervals,
    state: VehicleState,
    wished: Mapping[str, float] = _NOTHING,
    *,
    live: bool = False,
) -> Pace:
    """Return the pace in `state`.

    Args:
        intervals: the configuration; a fixed `poll_s` also records every poll.
        state: what the vehicle is doing.
        wished: seconds by setting name, as the cloud wishes; they win over the configuration.
        live: somebody watches: nothing takes longer than a second.
    """
    riding = state is VehicleState.RIDING
    journal = f"journal_{state}_s"
    busy = "riding" if riding else "parked"

    def seconds(name: str, fixed_s: float | None) -> float:
        configured: float = getattr(intervals, name)
        return wished.get(name) or fixed_s or configured

    poll = f"poll_{state}_s"
    sparse = state.rests and (intervals.poll_s is None or journal in wished)
    most_s = LIVE_S if live else math.inf
    return Pace(
        poll_s=min(seconds(poll, intervals.poll_s), most_s),
        record_s=seconds(journal, None) if sparse and not live else 0.0,
        flush_s=min(seconds(f"flush_{busy}_s", intervals.flush_s), most_s),
        seal_s=min(seconds(f"seal_{busy}_s", intervals.seal_s), most_s),
    )


@dataclass(slots=True)
class Schedule:
    """Moments at a fixed distance: one late poll does not shift the later ones."""

    next_s: float

    def after(self, interval_s: float, now_s: float) -> float:
        """Move on by `interval_s`; return how long to sleep. What was slept through is skipped."""
        self.next_s += interval_s
        if self.next_s < now_s - max(interval_s, BEHIND_S):
            self.next_s = now_s
        return max(0.0, self.next_s - now_s)


@dataclass(slots=True)
class Commits:
    """When recorded readings must be fsynced and sealed, so that none waits longer than told.

    The first segment after start is sealed at once: someone waits for a sign of life.
    """

    _unflushed_s: float | None = field(default=None)
    _unsealed_s: float | None = field(default=None)
    _first: bool = field(default=True)

    def recorded(self, now_s: float) -> None:
        """A reading was taken into the journal's buffer."""
        self._unflushed_s = now_s if self._unflushed_s is None else self._unflushed_s
        self._unsealed_s = now_s if self._unsealed_s is None else self._unsealed_s

    def due(self, pace: Pace, now_s: float) -> Literal["flush", "seal"] | None:
        """Return what cannot wait until the next poll, and count it as done."""
        next_s = now_s + pace.poll_s
        if self._unsealed_s is not None and (
            self._first or next_s - self._unsealed_s >= pace.seal_s
        ):
            self._first, self._unflushed_s, self._unsealed_s = False, None, None
            return "seal"
        if self._unflushed_s is not None and next_s - self._unflushed_s >= pace.flush_s:
            self._unflushed_s = None
            return "flush"
        return None
