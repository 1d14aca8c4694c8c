"""From the battery to the ack: how old a reading or a fact is when it is known to be committed."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from subprocess import Popen

from protocol.messages import LaneAck
from protocol.segment import Lane, lane_name, open_segment
from tests.bench.house import configuration, serving, shim
from tests.bench.probe import Probe, observed
from tests.bench.rows import Row

DEVICE = "late"
INTERVALS = {"poll_s": 0.05, "flush_s": 0.05, "seal_s": 0.05}
FACT_EVERY_S = 0.25


@dataclass(slots=True)
class Ages:
    """Ages in milliseconds, at the ack, by the device's own times; same machine, same clock."""

    records: dict[str, list[float]] = field(default_factory=lambda: {"fact": [], "signal": []})
    links: dict[str, list[float]] = field(default_factory=lambda: {"fact": [], "signal": []})
    _waiting: dict[str, deque[tuple[int, float, Sequence[int]]]] = field(
        default_factory=lambda: {"fact": deque(), "signal": deque()}
    )

    def segment(self, payload: bytes) -> None:
        """A segment passes on its way up."""
        opened = open_segment(payload)
        header = opened.header
        if opened.signals is not None:
            times: Sequence[int] = opened.signals.times_ms
        else:
            times = [header.t0_ms + fact.dt_ms for fact in opened.facts or ()]
        lane = lane_name(Lane(header.lane))
        self._waiting[lane].append((header.last_seq, time.time() * 1000, times))

    def ack(self, lane: LaneAck) -> None:
        """An ack passes on its way down."""
        now_ms, waiting = time.time() * 1000, self._waiting[lane.lane]
        while waiting and waiting[0][0] <= lane.through_seq:
            _, seen_ms, times = waiting.popleft()
            self.links[lane.lane].append(now_ms - seen_ms)
            self.records[lane.lane] += [now_ms - time_ms for time_ms in times]


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield p50 and p99 for readings and facts."""
    with serving(work) as cloud, shim(work, DEVICE) as (line, controller):
        config = configuration(work, cloud, DEVICE, line, **INTERVALS)

        async def run() -> Ages:
            ages = Ages()
            async with observed(cloud, config, DEVICE) as probe:
                await probe.until(lambda: probe.durable["signal"] > 20, "readings")
                probe.on_segment, probe.on_ack = ages.segment, ages.ack
                await _trouble(controller, probe, 2 if quick else 40)
            return ages

        ages = asyncio.run(run())
    yield from _rows("reading to ack", ages.records["signal"], "a poll, fsync and seal each 50 ms")
    yield from _rows("segment at the broker to ack", ages.links["signal"], "ingest alone")
    yield from _rows("fact to ack", ages.records["fact"], "sealed at once")


async def _trouble(controller: "Popen[bytes]", probe: Probe, seconds: float) -> None:
    """Let a protection trip and clear, so that facts come between the readings."""
    assert controller.stdin is not None
    deadline = time.monotonic() + seconds
    bits = 0
    while time.monotonic() < deadline:
        bits ^= 1
        controller.stdin.write(json.dumps({"set": {"protection_bits": bits}}).encode() + b"\n")
        controller.stdin.flush()
        await asyncio.sleep(FACT_EVERY_S)
    await asyncio.sleep(1)


def _rows(name: str, ages_ms: list[float], note: str) -> Iterator[Row]:
    if len(ages_ms) < 2:
        raise RuntimeError(f"no sample of {name}")
    cuts = quantiles(ages_ms, n=100, method="inclusive")
    about = f"{note}; {len(ages_ms)} samples"
    yield Row(f"latency: {name}, p50", cuts[49], "ms", note=about)
    yield Row(f"latency: {name}, p99", cuts[98], "ms", note=about)
