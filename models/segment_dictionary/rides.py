"""Made-up rides with the noise that real sensors have, as columns of wire values.

Used to train the dictionary and, from other seeds, to measure the codec: a repeating toy would
compress to nothing and prove nothing.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from protocol.signals import BY_KEY

Columns = dict[int, list[int | None]]


@dataclass(frozen=True, slots=True)
class Ride:
    """Readings of one ride. Times are Unix milliseconds, columns are wire values by signal id."""

    times_ms: list[int]
    columns: Columns

    def cut(self, start: int, n: int) -> tuple[list[int], Columns]:
        """Return `n` readings from `start` on."""
        stop = start + n
        return self.times_ms[start:stop], {k: c[start:stop] for k, c in self.columns.items()}


def bench_ride(rng: random.Random, n: int, step_ms: int = 1000) -> Ride:
    """Return a ride in the bench profile: pack, four temperatures, position, speed, lock."""
    return _ride(rng, n, step_ms, cells=0, temperatures=4, gnss=True)


def controller_ride(rng: random.Random, n: int, step_ms: int = 1000) -> Ride:
    """Return what a battery controller alone reports: pack, cells, temperatures, switches."""
    cells, temperatures = rng.choice((7, 10, 13, 16)), rng.choice((1, 2, 3))
    return _ride(rng, n, step_ms, cells=cells, temperatures=temperatures, gnss=False)


def _ride(
    rng: random.Random, n: int, step_ms: int, *, cells: int, temperatures: int, gnss: bool
) -> Ride:
    times: list[int] = []
    columns: Columns = {}
    now = rng.randrange(1_600_000_000_000, 1_900_000_000_000)
    for values in _samples(rng, n, step_ms / 1000, cells or 10, temperatures):
        now += step_ms + rng.choice((-2, -1, 0, 0, 0, 0, 1, 2))
        times.append(now)
        for key, value in values.items():
            if key.startswith("cell_") and not cells:
                continue
            if key in (_CONTROLLER_ONLY if gnss else _GNSS):
                continue
            signal = BY_KEY[key]
            columns.setdefault(signal.id, []).append(signal.to_raw(value))
    return Ride(times, columns)


_BRAKING_MS2 = -0.3
_GNSS = frozenset({"latitude_deg", "longitude_deg", "speed_kmh", "lock_state"})
_CONTROLLER_ONLY = frozenset(
    {"remaining_ah", "full_ah", "cycles", "charge_fet", "discharge_fet", "protection_bits"}
    | {"balancing_bits"}
)


def _samples(
    rng: random.Random, n: int, step_s: float, cells: int, temperatures: int
) -> Iterator[dict[str, float]]:
    full_ah = rng.choice((7.8, 10.4, 12.8, 20.0))
    soc, cycles = rng.uniform(0.2, 1.0), float(rng.randrange(5, 600))
    resistance = rng.uniform(0.006, 0.012) * cells
    heat = [rng.uniform(5, 32) for _ in range(temperatures)]
    spread = [rng.gauss(0, 0.004) for _ in range(cells)]
    latitude, longitude = rng.uniform(-60, 60), rng.uniform(-180, 180)
    heading, speed_ms, target_ms = rng.uniform(0, math.tau), 0.0, rng.uniform(3, 7)
    for _ in range(n):
        if rng.random() < 0.05 * step_s:
            target_ms = rng.choice((0.0, rng.uniform(2, 7), rng.uniform(5, 7)))
        push = max(-1.5, min(1.0, target_ms - speed_ms))
        speed_ms = max(0.0, speed_ms + push * step_s)
        heading += rng.gauss(0, 0.05) * step_s
        driving_a = 0.15 + 1.4 * speed_ms + 9 * max(push, 0) * (speed_ms > 0)
        regained_a = 2.5 * (push < _BRAKING_MS2 and speed_ms > 1)
        current = regained_a - driving_a + rng.gauss(0, 0.08)
        soc = max(0.02, soc + current * step_s / 3600 / full_ah)
        heat = [t + (0.0004 * current * current - 0.001 * (t - 20)) * step_s for t in heat]
        latitude += math.cos(heading) * speed_ms * step_s / 111_320
        longitude += math.sin(heading) * speed_ms * step_s / 111_320 / 0.75
        open_v = 3.3 + 0.85 * soc - 0.12 * math.exp(-12 * soc)
        cell_v = [open_v + s + current * resistance / cells + rng.gauss(0, 0.0012) for s in spread]
        sample = {
            "voltage_v": sum(cell_v) + rng.gauss(0, 0.008),
            "current_a": current,
            "soc_pct": float(round(soc * 100)),
            "remaining_ah": soc * full_ah,
            "full_ah": full_ah,
            "cycles": cycles,
            "charge_fet": 1.0,
            "discharge_fet": 1.0,
            "protection_bits": 0.0,
            "balancing_bits": 0.0,
            "latitude_deg": latitude + rng.gauss(0, 4e-6),
            "longitude_deg": longitude + rng.gauss(0, 4e-6),
            "speed_kmh": max(0.0, speed_ms * 3.6 + rng.gauss(0, 0.15)),
            "lock_state": 0.0,
        }
        sample.update({f"cell_{i + 1}_v": v for i, v in enumerate(cell_v)})
        sample.update(
            {f"temperature_{i + 1}_c": t + rng.gauss(0, 0.06) for i, t in enumerate(heat)}
        )
        yield sample
