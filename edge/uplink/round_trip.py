"""How long an acknowledgement takes, and how long to wait before doubting that it comes."""

from collections import deque

FIRST_GUESS_S = 3.0
SHORTEST_S = 1.0
LONGEST_S = 30.0
SHORTEST_HOLE_S = 0.1
REMEMBERED = 8


class RoundTrip:
    """Smoothed round trip and deviation (RFC 6298). A segment sent twice gives no sample (Karn)."""

    def __init__(self) -> None:
        self.smooth_s: float | None = None
        self._deviation_s = 0.0
        self._recent: deque[float] = deque(maxlen=REMEMBERED)

    def sample(self, seconds: float) -> None:
        """Take the time from sending a segment to its acknowledgement."""
        self._recent.append(seconds)
        if self.smooth_s is None:
            self.smooth_s, self._deviation_s = seconds, seconds / 2
            return
        self._deviation_s += (abs(seconds - self.smooth_s) - self._deviation_s) / 4
        self.smooth_s += (seconds - self.smooth_s) / 8

    @property
    def timeout_s(self) -> float:
        """Silence after which the oldest segment is sent again, before any back-off."""
        if self.smooth_s is None:
            return FIRST_GUESS_S
        return min(max(self.smooth_s + 4 * self._deviation_s, SHORTEST_S), LONGEST_S)

    @property
    def soonest_s(self) -> float:
        """Time before which an acknowledgement can hardly be that of what was just sent.

        Half of the shortest recent round trip: the smoothed one remembers a frozen link for long.
        """
        return min(self._recent, default=0.0) / 2

    @property
    def hole_s(self) -> float:
        """Time after which a segment missing below an acknowledged one counts as lost."""
        return max(SHORTEST_HOLE_S, SHORTEST_S if self.smooth_s is None else self.smooth_s)
