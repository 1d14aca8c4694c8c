"""How often to poll, record, fsync and seal. Pure: time is passed in."""

from dataclasses import dataclass, field
from typing import Literal

from edge.rules.state import VehicleState
from edge.settings import Intervals

BEHIND_S = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between polls, recorded readings, fsyncs and seals."""

    poll_s: float
    record_s: float
    flush_s: float
    seal_s: float


def pace_of(intervals: Intervals, state: VehicleState) -> Pace:
    """Return the pace in `state`; a fixed `poll_s` also records every poll."""
    riding = state is VehicleState.RIDING
    by_state = {
        VehicleState.RIDING: intervals.poll_riding_s,
        VehicleState.CHARGING: intervals.poll_charging_s,
        VehicleState.PARKED: intervals.poll_parked_s,
    }
    sparse = state is VehicleState.PARKED and intervals.poll_s is None
    return Pace(
        poll_s=intervals.poll_s or by_state[state],
        record_s=intervals.journal_parked_s if sparse else 0.0,
        flush_s=intervals.flush_s
        or (intervals.flush_riding_s if riding else intervals.flush_parked_s),
        seal_s=intervals.seal_s or (intervals.seal_riding_s if riding else intervals.seal_parked_s),
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
