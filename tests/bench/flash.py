"""What a vehicle-day writes to flash: the real journal through a day, its clock run fast."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

from edge.clock import ManualClock
from edge.journal import Journal
from edge.rules.pace import pace_of
from edge.rules.state import VehicleState
from edge.settings import Intervals
from models.segment_dictionary.rides import Ride
from protocol.segment import Lane
from tests.bench.processes import io_counters
from tests.bench.rides import as_readings, parked, rides
from tests.bench.rows import Row, at_most

BUDGET_MB = 200
START_MS = 1_790_000_000_000


HOURS = {VehicleState.RIDING: 3, VehicleState.CHARGING: 2, VehicleState.PARKED: 19}
"""The specification's vehicle-day."""


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield bytes written in a vehicle-day, whole and by state."""
    shrink = 60 if quick else 1
    written: dict[str, dict[str, int]] = {}
    asyncio.run(_live(work / "day.db", shrink, written))
    blocks = sum(counters["write_bytes"] for counters in written.values()) * shrink / 1e6
    calls = sum(counters["wchar"] for counters in written.values()) * shrink / 1e6
    counted, by = (blocks, "write_bytes") if blocks > 0 else (calls, "wchar")
    parts = ", ".join(
        f"{name} {counters[by] * shrink / 1e6:.0f}" for name, counters in written.items()
    )
    why = (
        f"write_bytes: whole pages sent to the disk, as flash sees them ({parts}), without the"
        f" file system's own journal; passed to write(): {calls:.0f} MB"
        if blocks > 0
        else f"wchar: bytes passed to write(), this disk does not count blocks ({parts})"
    )
    yield Row("journal: written in a vehicle-day", counted, "MB", at_most(BUDGET_MB), why)


async def _live(path: Path, shrink: int, written: dict[str, dict[str, int]]) -> None:
    clock = ManualClock(wall_ms=START_MS)
    journal = await Journal.open(path, clock, boot_id=7)
    for state, hours in HOURS.items():
        before = io_counters()
        await _live_in(state, journal, clock, hours * 3600 / shrink)
        after = io_counters()
        written[state.value] = {key: after[key] - before[key] for key in after}
    await journal.close()


async def _live_in(
    state: VehicleState, journal: Journal, clock: ManualClock, length_s: float
) -> None:
    """Record, flush and seal at the agent's pace; each segment is acked before the next is sealed.

    The agent may seal or flush one poll early; here it is on time.
    """
    pace = pace_of(Intervals(), state)
    record_every_s = max(pace.poll_s, pace.record_s)
    readings = iter(as_readings(_source(state, math.ceil(length_s / record_every_s) + 1)))
    record_at = flush_at = seal_at = clock.mono_s()
    end = clock.mono_s() + length_s
    await journal.append_fact("bench.state_changed", {"state": state.value})
    while (now := min(record_at, flush_at, seal_at)) < end:
        clock.advance(max(0.0, now - clock.mono_s()))
        if now >= record_at:
            _, values = next(readings)
            journal.append_reading(clock.wall_ms(), values)
            record_at += record_every_s
        if now >= seal_at:
            await journal.seal()
            await _acknowledge(journal)
            seal_at += pace.seal_s
        elif now >= flush_at:
            await journal.flush()
        if now >= flush_at:
            flush_at += pace.flush_s


def _source(state: VehicleState, n: int) -> Ride:
    if state is VehicleState.RIDING:
        return rides(1, n)[0]
    return next(parked(1, n))


async def _acknowledge(journal: Journal) -> None:
    for lane in Lane:
        view = journal.lane(lane)
        if view.holds_any:
            await journal.acknowledge(lane, view.epoch, view.last_seq)
