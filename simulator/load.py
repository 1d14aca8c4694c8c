"""What riders and chargers ask of a pack. Pure: one seed, one history; time is passed in."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

PLUG_IN_BELOW_PCT = 35.0
UNPLUG_ABOVE_PCT = 92.0
EMPTY_PCT = 8.0
RIDING_AT_START = 0.6


@dataclass(frozen=True, slots=True)
class Stretch:
    """A current that is asked for during some seconds; positive into the battery."""

    seconds: float
    amperes: float


class LoadProfile:
    """A vehicle's day run together: standing, riding through town, charging when it is low."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._power = self._random.uniform(0.7, 1.4)
        self._stretches = self._day()
        self._ends_s = 0.0
        self._amperes = 0.0
        self._charging = False

    def demand_a(self, now_s: float, soc_pct: float) -> float:
        """Return the current asked for, `now_s` seconds after the beginning; time only grows."""
        while now_s >= self._ends_s:
            stretch = next(self._stretches)
            self._ends_s += stretch.seconds
            self._amperes = stretch.amperes
        if self._charging or soc_pct < EMPTY_PCT:
            self._charging = soc_pct < UNPLUG_ABOVE_PCT
        elif soc_pct < PLUG_IN_BELOW_PCT and not self._amperes:
            self._charging = True
        return 3.2 * self._power if self._charging else self._amperes * self._power

    def _day(self) -> Iterator[Stretch]:
        if self._random.random() < RIDING_AT_START:
            yield from self._ride(self._random.uniform(30, 240))
        while True:
            yield Stretch(self._random.uniform(20, 120), 0.0)
            yield from self._ride(self._random.uniform(90, 480))

    def _ride(self, seconds: float) -> Iterator[Stretch]:
        """Traffic: pull away, roll along, brake into the battery, wait at a light."""
        left_s = seconds
        while left_s > 0:
            leg = [
                Stretch(self._random.uniform(3, 7), -self._random.uniform(8, 16)),
                *(
                    Stretch(self._random.uniform(1, 3), -self._random.uniform(1.5, 6))
                    for _ in range(self._random.randint(3, 12))
                ),
                Stretch(self._random.uniform(2, 4), self._random.uniform(0.8, 3)),
                Stretch(self._random.choice((0.5, 2, 6, 12)), 0.0),
            ]
            yield from leg
            left_s -= sum(stretch.seconds for stretch in leg)
