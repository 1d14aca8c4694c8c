"""The only place where the agent asks what time it is."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: the wall, which may jump, and the monotonic one, which may not."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, as this device believes."""
        ...

    def mono_s(self) -> float:
        """Seconds that only ever grow, from an arbitrary start."""
        ...


def utc(unix_ms: int) -> str:
    """Return a time for people, to the second: 2026-07-01 12:00:00 UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_ms // 1000))


class SystemClock:
    """The clocks of this machine."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def mono_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when it is told to."""

    def __init__(self, wall_ms: int = 1_700_000_000_000, mono_s: float = 1000.0) -> None:
        self._wall_ms = wall_ms
        self._mono_s = mono_s

    def wall_ms(self) -> int:
        return self._wall_ms

    def mono_s(self) -> float:
        return self._mono_s

    def advance(self, seconds: float) -> None:
        """Let both clocks run for `seconds`."""
        self._wall_ms += round(seconds * 1000)
        self._mono_s += seconds

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as a time correction does."""
        self._wall_ms += round(seconds * 1000)


class ClockOffset:
    """How far this device's wall clock is from the cloud's, learned from answered hellos.

    Kept against the monotonic clock, so that it stays right when the wall clock is corrected.
    """

    IGNORED_BELOW_MS = 2_000
    SLOWEST_ANSWER_S = 5.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._true_minus_mono_ms: float | None = None

    def learn(self, cloud_ms: int, asked_at_s: float) -> None:
        """Take an answer that has just come: the cloud's time in it, and when we had asked."""
        now_s = self._clock.mono_s()
        if 0 <= now_s - asked_at_s <= self.SLOWEST_ANSWER_S:
            self._true_minus_mono_ms = cloud_ms - (asked_at_s + now_s) / 2 * 1000

    def __call__(self) -> int:
        """Return what to add to this device's time, in milliseconds; 0 when it is nearly right."""
        if self._true_minus_mono_ms is None:
            return 0
        true_ms = self._true_minus_mono_ms + self._clock.mono_s() * 1000
        offset_ms = round(true_ms - self._clock.wall_ms())
        return offset_ms if abs(offset_ms) >= self.IGNORED_BELOW_MS else 0
