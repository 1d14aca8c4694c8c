"""A vehicle comes back from a long tunnel: its backlog into the cloud, and how fast."""

import asyncio
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from edge.clock import SystemClock
from edge.journal import Journal
from protocol.messages import LaneAck
from protocol.segment import Lane
from tests.bench.house import Cloud, configuration, serving, shim
from tests.bench.probe import observed
from tests.bench.processes import cpu_s
from tests.bench.rides import as_readings, rides
from tests.bench.rows import Row, at_least, rate

DEVICE = "drain"


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield how fast one agent's backlog is committed."""
    backlog = 20_000 if quick else 600_000
    with serving(work) as cloud, shim(work, DEVICE) as (line, _):
        config = configuration(work, cloud, DEVICE, line)
        asyncio.run(_fill(work / f"{DEVICE}.db", backlog))
        yield from asyncio.run(_drain(cloud, config, backlog))


async def _fill(path: Path, backlog: int) -> None:
    journal = await Journal.open(path, SystemClock(), boot_id=7)
    readings = [reading for ride in rides(4, 2048) for reading in as_readings(ride)]
    source = cycle(readings)
    for _ in range(0, backlog, 2048):
        for _, values in islice(source, 2048):
            journal.append_reading(SystemClock().wall_ms(), values)
        await journal.flush()
    await journal.close()


async def _drain(cloud: Cloud, config: Path, backlog: int) -> list[Row]:
    through = 0

    def acked(lane: LaneAck) -> None:
        nonlocal through
        if lane.lane == Lane.SIGNAL.name.lower():
            through = max(through, lane.through_seq)

    async with observed(cloud, config, DEVICE) as probe:
        probe.on_ack = acked
        await probe.until(lambda: through >= backlog, "last ack", timeout_s=80)
        ended, cpu = time.monotonic(), cpu_s(probe.pid)
    spent_s = ended - probe.first["sent segment"]
    note = (
        f"{backlog:,} readings in segments of 512, from the first publish to the last ack"
        f" ({spent_s:.1f} s); agent {cpu / backlog * 1e6:.1f} µs CPU a reading, start included"
    )
    return [rate("agent: backlog committed", backlog / spent_s, target=at_least(10_000), note=note)]
