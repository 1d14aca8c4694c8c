"""What a vehicle's journal still holds, read beside its agent or after its death."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Held:
    """What waits for its ack.

    Attributes:
        segments: sealed segments, oldest first: (lane, first seq).
        tail: durable readings that are not sealed yet.
    """

    segments: tuple[tuple[int, int], ...]
    tail: int

    @property
    def empty(self) -> bool:
        """Tell whether everything is acked."""
        return not self.segments and not self.tail


def held(path: Path) -> Held:
    """Return what the journal holds now; nothing before its agent made it."""
    if not path.exists():
        return Held((), 0)
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
    try:
        segments = db.execute("SELECT lane, first_seq FROM segment ORDER BY lane, first_seq")
        found = tuple(segments.fetchall())
        (tail,) = db.execute("SELECT coalesce(sum(n), 0) FROM tail").fetchone()
    except sqlite3.OperationalError as trouble:
        if "no such table" in str(trouble):
            return Held((), 0)
        raise
    finally:
        db.close()
    return Held(found, int(tail))
