"""Whether the vehicle stands still enough to lock it. Pure; speeds are km/h, times monotonic."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from protocol.commands import STANDSTILL_KMH

FRESH_S = {"gnss": 3.0}
FRESH_OTHERS_S = 2.0


@dataclass(frozen=True, slots=True)
class Speed:
    """What one source said: km/h, positive forwards, when, and who ("gnss", "controller")."""

    kmh: float
    seen_at_s: float
    source: str


Verdict = Literal["moving"] | None


def fastest(speeds: Iterable[Speed | None], now_s: float) -> Speed | None:
    """Return the fastest word that is still fresh; rolling backwards is moving too.

    What is no number says nothing, and must not stand before what is one.
    """
    fresh = [
        speed
        for speed in speeds
        if speed is not None
        and math.isfinite(speed.kmh)
        and now_s - speed.seen_at_s <= FRESH_S.get(speed.source, FRESH_OTHERS_S)
    ]
    return max(fresh, key=lambda speed: abs(speed.kmh), default=None)


def standing(speeds: Iterable[Speed | None], now_s: float, *, drawing: bool) -> Verdict:
    """Return "moving" when any fresh source says more than 3 km/h, else None: it may be locked.

    Without any fresh source the battery's word counts: whoever draws current (`drawing`) moves.
    """
    found = fastest(speeds, now_s)
    if found is None:
        return "moving" if drawing else None
    return "moving" if abs(found.kmh) > STANDSTILL_KMH else None
