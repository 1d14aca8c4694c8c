"""A locked vehicle stands still, however its receiver's position wanders. Pure."""

from dataclasses import dataclass, replace
from typing import Final

from edge.gnss.fix import Fix, distance_m

STILL_KMH: Final = 0.5 * 3.6
MOVED_M: Final = 30.0


@dataclass(slots=True)
class StaticHold:
    """Keeps the position at which a locked vehicle came to rest.

    It is let go when the vehicle is unlocked, or is found more than 30 m away: then it is held
    where it is found at rest. While it goes faster than 0.5 m/s it is reported where it is.
    """

    _held: Fix | None = None

    def see(self, fix: Fix, *, locked: bool) -> Fix:
        """Return the fix as it is reported: the held place, at the fix's time and at rest."""
        if not locked:
            self._held = None
            return fix
        if self._held is not None and distance_m(self._held, fix) > MOVED_M:
            self._held = None
        if fix.speed_kmh >= STILL_KMH:
            return fix
        if self._held is None:
            self._held = replace(fix, speed_kmh=0.0, heading_deg=None)
        return replace(self._held, seen_at_s=fix.seen_at_s)
