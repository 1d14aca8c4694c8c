"""What a vehicle's day asks of it: current and speed. Pure: one seed, one history."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

PLUG_IN_BELOW_PCT = 35.0
UNPLUG_ABOVE_PCT = 92.0
EMPTY_PCT = 8.0
RIDING_AT_START = 0.6
CHARGER_A = 3.2
SLOWEST_KMH, FASTEST_KMH = 10.0, 25.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some seconds of one current, positive into the battery, while speed goes evenly in km/h."""

    seconds: float
    amperes: float
    from_kmh: float = 0.0
    to_kmh: float = 0.0
    ridden: bool = False

    def speed_kmh(self, left_s: float) -> float:
        """Return how fast it goes, `left_s` before its end."""
        passed = 1 - left_s / self.seconds
        return self.from_kmh + passed * (self.to_kmh - self.from_kmh)


@dataclass(frozen=True, slots=True)
class Moment:
    """What is asked for now.

    Attributes:
        demand_a: current, positive into the battery.
        speed_kmh: how fast it goes.
        ridden: somebody rides it, also while waiting at a light.
        charging: it is at a charger.
    """

    demand_a: float
    speed_kmh: float = 0.0
    ridden: bool = False
    charging: bool = False


class LoadProfile:
    """A vehicle's day run together: standing, riding through town, charging when it is low."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._power = self._random.uniform(0.7, 1.4)
        self._stretches = self._day()
        self._stretch = Stretch(1.0, 0.0)
        self._ends_s = 0.0
        self._now_s = 0.0
        self._waited_s = 0.0
        self._charging = False

    def at(self, now_s: float, soc_pct: float, *, held: bool = False) -> Moment:
        """Return what is asked for `now_s` seconds after the beginning; time only grows.

        A vehicle that is `held`, because it is locked say, or that charges goes on with its day
        where it was.
        """
        if held or self._charging:
            self._waited_s += now_s - self._now_s
        self._now_s = now_s
        day_s = now_s - self._waited_s
        while day_s >= self._ends_s:
            self._stretch = next(self._stretches)
            self._ends_s += self._stretch.seconds
        stretch = self._stretch
        if self._charging or soc_pct < EMPTY_PCT:
            self._charging = soc_pct < UNPLUG_ABOVE_PCT
        elif soc_pct < PLUG_IN_BELOW_PCT and not stretch.ridden:
            self._charging = True
        if self._charging:
            return Moment(CHARGER_A * self._power, charging=True)
        if held:
            return Moment(0.0, ridden=stretch.ridden)
        speed_kmh = stretch.speed_kmh(self._ends_s - day_s)
        return Moment(stretch.amperes * self._power, speed_kmh, stretch.ridden)

    def _day(self) -> Iterator[Stretch]:
        if self._random.random() < RIDING_AT_START:
            yield from self._ride(self._random.uniform(30, 240))
        while True:
            yield Stretch(self._random.uniform(40, 240), 0.0)
            yield from self._ride(self._random.uniform(90, 480))

    def _ride(self, seconds: float) -> Iterator[Stretch]:
        """Traffic: pull away, roll along, brake into the battery, wait at a light."""
        left_s = seconds
        while left_s > 0:
            leg = list(self._leg())
            yield from leg
            left_s -= sum(stretch.seconds for stretch in leg)

    def _leg(self) -> Iterator[Stretch]:
        chance = self._random
        kmh = chance.uniform(14, 24)
        yield Stretch(chance.uniform(3, 7), -chance.uniform(8, 16), 0.0, kmh, ridden=True)
        for _ in range(chance.randint(3, 12)):
            before, kmh = kmh, kmh + chance.uniform(-3, 3)
            kmh = min(max(kmh, SLOWEST_KMH), FASTEST_KMH)
            yield Stretch(chance.uniform(1, 3), -chance.uniform(1.5, 6), before, kmh, ridden=True)
        yield Stretch(chance.uniform(2, 4), chance.uniform(0.8, 3), kmh, 0.0, ridden=True)
        yield Stretch(chance.choice((0.5, 2, 6, 12)), 0.0, ridden=True)
