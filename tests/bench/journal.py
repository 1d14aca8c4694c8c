"""The vehicle's journal: durable readings a second, by how many share one fsync."""

import asyncio
import os
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from edge.clock import SystemClock
from edge.journal import Journal
from tests.bench.rides import as_readings, rides
from tests.bench.rows import Row, at_least, rate

FLUSHES = (1, 10, 100, 512, 2048)


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield the rows of the journal."""
    yield Row(
        "disk: one fsync of 4 KiB",
        fsync_ms(work, 5 if quick else 50),
        "ms",
        note="median; for scale",
    )
    readings = [reading for ride in rides(4, 1024) for reading in as_readings(ride)]
    for flush in FLUSHES[:3] if quick else FLUSHES:
        per_s, commits = asyncio.run(_durable(work, readings, flush, 0.1 if quick else 2.0))
        yield rate(
            f"journal: durable, {flush} to an fsync",
            per_s,
            target=at_least(20_000) if flush == FLUSHES[-1] else None,
            note=f"{commits:.0f} commits/s, synchronous=FULL, sealed at 512",
        )


async def _durable(
    work: Path, readings: list[tuple[int, dict[int, int]]], flush: int, budget_s: float
) -> tuple[float, float]:
    journal = await Journal.open(
        work / f"flush-{flush}.db", SystemClock(), boot_id=7, max_bytes=2_000_000_000
    )
    source = cycle(readings)
    commits, started = 0, time.perf_counter()
    while (spent_s := time.perf_counter() - started) < budget_s:
        for time_ms, values in islice(source, flush):
            journal.append_reading(time_ms, values)
        assert await journal.flush() == flush
        commits += 1
    await journal.close()
    return commits * flush / spent_s, commits / spent_s


def fsync_ms(work: Path, times: int) -> float:
    """Return the median of appending 4 KiB and waiting for the disk, in milliseconds."""
    spent: list[float] = []
    with (work / "fsync.probe").open("ab", buffering=0) as file:
        for _ in range(times):
            file.write(bytes(4096))
            started = time.perf_counter()
            os.fsync(file.fileno())
            spent.append(time.perf_counter() - started)
    return median(spent) * 1000
