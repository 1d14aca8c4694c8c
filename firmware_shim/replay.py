"""A file that plays a battery: captured replies, or pack values over time.

JSON lines, other keys and lines are notes:
    {"hex": "dd03001d…"}                        a captured reply, unless "direction" is "request"
    {"t_ms": 1000, "set": {"voltage_v": 40.1}}  pins values (null lets go) so long after the start

Replies go out by register in the order of the file, one per request, and begin again after the
last; a register without any is answered by the live pack.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Final

_REGISTER_AT: Final = 1


class Replay:
    """The parsed file. It starts at the first question."""

    def __init__(
        self, replies: Iterable[bytes] = (), changes: Iterable[tuple[float, Mapping[str, Any]]] = ()
    ) -> None:
        by_register: dict[int, list[bytes]] = defaultdict(list)
        for reply in replies:
            by_register[reply[_REGISTER_AT]].append(reply)
        self._replies = {register: cycle(frames) for register, frames in by_register.items()}
        self._changes = sorted(changes, key=lambda change: change[0])
        self._started_s: float | None = None

    @property
    def changes(self) -> list[Mapping[str, Any]]:
        """All changes of values that are still to come."""
        return [values for _, values in self._changes]

    @classmethod
    def from_file(cls, path: Path) -> "Replay":
        """Read the file. Raises ValueError, naming the line, and OSError."""
        replies: list[bytes] = []
        changes: list[tuple[float, Mapping[str, Any]]] = []
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                _read_line(line.decode("utf-8"), replies, changes)
            except (ValueError, TypeError, AttributeError) as trouble:
                raise ValueError(
                    f"Line {number} of {path} is no reply and no value ({trouble}); "
                    'write {"hex": "…"} or {"t_ms": 0, "set": {…}}.'
                ) from trouble
        return cls(replies, changes)

    def reply(self, register: int) -> bytes | None:
        """Return the next captured reply of a register, whatever state it is in."""
        frames = self._replies.get(register)
        return next(frames) if frames else None

    def due(self, now_s: float) -> list[Mapping[str, Any]]:
        """Return the changes of values whose time has come since the last call."""
        if self._started_s is None:
            self._started_s = now_s
        passed_ms = (now_s - self._started_s) * 1000
        due = [values for at_ms, values in self._changes if at_ms <= passed_ms]
        self._changes = self._changes[len(due) :]
        return due


def _read_line(
    line: str, replies: list[bytes], changes: list[tuple[float, Mapping[str, Any]]]
) -> None:
    if not line.strip():
        return
    row = json.loads(line)
    if not isinstance(row, dict):
        raise TypeError("it is no object")
    if "set" in row:
        at_ms = float(row.get("t_ms", 0))
        if not math.isfinite(at_ms):
            raise ValueError("t_ms is no number")
        changes.append((at_ms, dict(row["set"])))
    elif "hex" in row and row.get("direction") != "request":
        reply = bytes.fromhex(row["hex"])
        if len(reply) <= _REGISTER_AT:
            raise ValueError("the reply is too short to name its register")
        replies.append(reply)
