"""Readings to measure with: rides of other seeds than the dictionary's, and parked packs."""

import random
from collections.abc import Iterator

from models.segment_dictionary.rides import Columns, Ride, bench_ride
from protocol.signals import BY_KEY

SEED = 4_711


def rides(count: int, n: int) -> list[Ride]:
    """Return `count` rides of `n` readings in the bench profile, one a second."""
    rng = random.Random(SEED)
    return [bench_ride(rng, n) for _ in range(count)]


def ending_at(ride: Ride, end_ms: int) -> Ride:
    """Return the ride moved in time so that its last reading was taken at `end_ms`."""
    shift = end_ms - ride.times_ms[-1]
    return Ride([time + shift for time in ride.times_ms], ride.columns)


def parked(count: int, n: int, step_ms: int = 60_000) -> Iterator[Ride]:
    """Yield packs at rest: nine signals with the noise of their last digit, one a minute."""
    rng = random.Random(SEED + 1)
    for _ in range(count):
        times: list[int] = []
        columns: Columns = {}
        now, volts = 1_790_000_000_000, rng.uniform(33, 41)
        full_ah, soc = rng.choice((7.8, 10.4, 12.8, 20.0)), rng.uniform(0.2, 0.99)
        heat = [rng.uniform(5, 30) for _ in range(3)]
        for _ in range(n):
            now += step_ms + rng.choice((-2, -1, 0, 0, 0, 0, 1, 2))
            times.append(now)
            soc -= 0.03 * step_ms / 3_600_000 / full_ah
            heat = [t + rng.gauss(0, 0.02) for t in heat]
            sample = {
                "voltage_v": volts + rng.gauss(0, 0.005),
                "current_a": -0.03 + rng.gauss(0, 0.005),
                "soc_pct": float(round(soc * 100)),
                "remaining_ah": soc * full_ah,
                "full_ah": full_ah,
                "cycles": 112.0,
                **{f"temperature_{i + 1}_c": t + rng.gauss(0, 0.03) for i, t in enumerate(heat)},
            }
            for key, value in sample.items():
                signal = BY_KEY[key]
                columns.setdefault(signal.id, []).append(signal.to_raw(value))
        yield Ride(times, columns)


def as_readings(ride: Ride) -> list[tuple[int, dict[int, int]]]:
    """Return the ride by row, as the agent hands readings to its journal."""
    rows: list[tuple[int, dict[int, int]]] = []
    for index, time_ms in enumerate(ride.times_ms):
        values = {key: column[index] for key, column in ride.columns.items()}
        rows.append((time_ms, {key: value for key, value in values.items() if value is not None}))
    return rows
