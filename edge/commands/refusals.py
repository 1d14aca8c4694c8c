"""When to tell that something was not believed: at once, then at most once a minute a reason.

Pure: time is passed in.
"""

from dataclasses import dataclass, field
from typing import Literal

from protocol.bodies import FieldValue

EVERY_S = 60.0
What = Literal["command", "twin"]


@dataclass(slots=True)
class _Count:
    told_s: float
    times: int = 0


@dataclass(slots=True)
class RefusalWatch:
    """Counts what was refused; `total` is by (what, reason) since start."""

    total: dict[tuple[What, str], int] = field(default_factory=dict)
    _counts: dict[tuple[What, str], _Count] = field(default_factory=dict)

    def see(self, what: What, reason: str, now_s: float) -> dict[str, FieldValue] | None:
        """Count one; return the fields of the fact `security.refused` when it is due."""
        key = what, reason
        self.total[key] = self.total.get(key, 0) + 1
        count = self._counts.setdefault(key, _Count(float("-inf")))
        count.times += 1
        return self._fields(key, count, now_s)

    def due(self, now_s: float) -> list[dict[str, FieldValue]]:
        """Return what was counted since it was last told, where a minute has passed."""
        found = (self._fields(key, count, now_s) for key, count in self._counts.items())
        return [fields for fields in found if fields is not None]

    def _fields(
        self, key: tuple[What, str], count: _Count, now_s: float
    ) -> dict[str, FieldValue] | None:
        if not count.times or now_s - count.told_s < EVERY_S:
            return None
        times, count.times, count.told_s = count.times, 0, now_s
        return {"what": key[0], "reason": key[1], "times": times}
