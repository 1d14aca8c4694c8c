"""How often the cloud wants to hear from the vehicle: from the twin, a command, or a watcher."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Wishes:
    """Intervals in seconds by setting name, and until when somebody watches.

    What a command set counts until a twin names the same interval. `when_changed` is called
    after each change.
    """

    live_until_ms: int = 0
    when_changed: Callable[[], None] = lambda: None
    _twin: Mapping[str, float] = field(default_factory=dict)
    _set: Mapping[str, float] = field(default_factory=dict)

    @property
    def intervals(self) -> Mapping[str, float]:
        """What is wished for, by name."""
        return {**self._twin, **self._set}

    def is_set(self, intervals: Mapping[str, float]) -> bool:
        """Whether these are in force."""
        return intervals.items() <= self.intervals.items()

    def restore(self, intervals: Mapping[str, float]) -> None:
        """Begin with what a command set in an earlier run."""
        self._set = dict(intervals)

    def set(self, intervals: Mapping[str, float]) -> None:
        """Take what a command sets."""
        self._set = {**self._set, **intervals}
        self.when_changed()

    def follow(self, intervals: Mapping[str, float], live_until_ms: int | None) -> None:
        """Take what a new twin says."""
        self._twin = dict(intervals)
        self._set = {name: value for name, value in self._set.items() if name not in intervals}
        self.resume(intervals, live_until_ms)

    def resume(self, intervals: Mapping[str, float], live_until_ms: int | None) -> None:
        """Take what the twin of an earlier run says; what was set after it stays."""
        self._twin = dict(intervals)
        self.live_until_ms = live_until_ms or 0
        self.when_changed()
