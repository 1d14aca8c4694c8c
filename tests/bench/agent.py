"""The agent as a process: how fast it starts, what it weighs, what a reading costs it."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from protocol.segment import open_segment
from tests.bench.house import Cloud, configuration, serving, shim
from tests.bench.probe import Probe, observed
from tests.bench.processes import cpu_s, private_mb, rss_mb
from tests.bench.rows import Row, at_most

POLLS_PER_S = 200
FLUSHES_S = (1.0, 0.05)
"""An fsync a second, as a riding vehicle does it, and the bench setting of the loss stories."""


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield the rows of the agent: starts, at rest, at work."""
    with (
        serving(work) as cloud,
        shim(work, "rest") as (line, _),
        shim(work, "numbered", "--numbered") as (numbered, _),
    ):
        yield from _starts(work, cloud, line, 1 if quick else 7)
        yield from asyncio.run(_at_rest(work, cloud, line, 1.5 if quick else 30))
        yield asyncio.run(_riding(work, cloud, line, 1.5 if quick else 30))
        for flush_s in FLUSHES_S:
            yield from asyncio.run(_at_work(work, cloud, numbered, flush_s, 1.5 if quick else 15))


def _starts(work: Path, cloud: Cloud, line: Path, times: int) -> Iterator[Row]:
    found = [asyncio.run(_start(work, cloud, line, f"start-{i}")) for i in range(times)]
    cpu_ms = median(cpu_s for _, cpu_s in found) * 1000
    for what, about, target, note in (
        ("durable signal", "first durable reading", at_most(150), "line on MOBILITY_ACCEPT_FD"),
        ("sent status", "hello at the broker", None, "connected and subscribed"),
        ("sent segment", "first publish", at_most(400), f"a segment; {cpu_ms:.0f} ms of it CPU"),
    ):
        spent = [probe.ms_to(what) for probe, _ in found]
        spread = f"{note}; median of {times} fresh starts, {min(spent):.0f} to {max(spent):.0f}"
        yield Row(f"agent: start to {about}", median(spent), "ms", target, spread)


async def _start(work: Path, cloud: Cloud, line: Path, device_id: str) -> tuple[Probe, float]:
    """Return what was seen of a start up to the first segment, and its CPU seconds."""
    config = configuration(work, cloud, device_id, line)
    async with observed(cloud, config, device_id) as probe:
        wanted = {"durable signal", "sent status", "sent segment"}
        await probe.until(lambda: wanted <= probe.first.keys(), "first segment")
        return probe, cpu_s(probe.pid)


async def _at_rest(work: Path, cloud: Cloud, line: Path, seconds: float) -> list[Row]:
    config = configuration(work, cloud, "rest", line)
    async with observed(cloud, config, "rest") as probe:
        await probe.until(lambda: "sent segment" in probe.first, "first segment")
        await asyncio.sleep(min(5.0, seconds))
        cpu, started = cpu_s(probe.pid), time.monotonic()
        await asyncio.sleep(seconds)
        share = (cpu_s(probe.pid) - cpu) / (time.monotonic() - started) * 100
        rss, own = rss_mb(probe.pid), private_mb(probe.pid)
    polls = f"parked, connected, default intervals (a poll in 10 s), over {seconds:.0f} s"
    private = "" if own is None else f"{own:.1f} MB of it its own; "
    return [
        Row("agent: idle CPU", share, "% of a core", at_most(0.5), polls),
        Row("agent: RSS", rss, "MB", at_most(40), f"{private}after {seconds + 5:.0f} s at rest"),
    ]


async def _riding(work: Path, cloud: Cloud, line: Path, seconds: float) -> Row:
    """A ride as it is: the battery and the receiver once a second, the lock unit ten times."""
    with (
        shim(work, "riding-lock", controller="lock_unit") as (lock, unit),
        shim(work, "riding-sky", controller="gnss") as (gnss, sky),
    ):
        for child in (unit, sky):
            assert child.stdin is not None
            child.stdin.write(b'{"set": {"speed_kmh": 18}}\n')
            child.stdin.flush()
        config = configuration(work, cloud, "riding", line, lock, gnss)
        async with observed(cloud, config, "riding") as probe:
            await probe.until(lambda: probe.durable["signal"] > 2, "readings of a ride")
            cpu, started = cpu_s(probe.pid), time.monotonic()
            before = probe.durable["signal"]
            await asyncio.sleep(seconds)
            elapsed = time.monotonic() - started
            share = (cpu_s(probe.pid) - cpu) / elapsed * 100
            readings = (probe.durable["signal"] - before) / elapsed
    note = f"JBD and GNSS 1 Hz, lock unit 10 Hz; {readings:.1f} readings/s, over {seconds:.0f} s"
    return Row("agent: CPU while riding", share, "% of a core", at_most(3.0), note)


async def _at_work(
    work: Path, cloud: Cloud, line: Path, flush_s: float, seconds: float
) -> list[Row]:
    intervals = {"poll_s": 1 / POLLS_PER_S, "flush_s": flush_s, "seal_s": 1.0}
    device_id = f"work-{flush_s * 1000:.0f}"
    config = configuration(work, cloud, device_id, line, **intervals)
    async with observed(cloud, config, device_id) as probe:
        sent = _Sent()
        probe.on_segment = sent.take
        await probe.until(lambda: probe.durable["signal"] > POLLS_PER_S / 2, "readings")
        before = await _next_fsync(probe)
        cpu, started = cpu_s(probe.pid), time.monotonic()
        await asyncio.sleep(seconds)
        readings = await _next_fsync(probe) - before
        spent, elapsed = cpu_s(probe.pid) - cpu, time.monotonic() - started
        rss = rss_mb(probe.pid)
    us, each = spent / readings * 1e6, sent.values / sent.readings
    name = f"agent: CPU for a reading, fsync each {flush_s * 1000:,.0f} ms"
    note = (
        f"{readings / elapsed:.0f} readings/s of {each:.0f} values from a JBD controller on a pty:"
        f" poll, decode, journal, seal, send, ack; RSS {rss:.1f} MB"
    )
    return [Row(name, us, "µs/reading", at_most(150), note, each / us * 1e6)]


async def _next_fsync(probe: Probe) -> int:
    """Wait for it, so that a window holds whole fsyncs; return the durable readings then."""
    known = probe.durable["signal"]
    await probe.until(lambda: probe.durable["signal"] > known, "reading")
    return probe.durable["signal"]


class _Sent:
    """How many signal values, the time among them, the readings on their way up have."""

    def __init__(self) -> None:
        self.readings = 0
        self.values = 0

    def take(self, payload: bytes) -> None:
        opened = open_segment(payload)
        if opened.signals is not None:
            columns = opened.signals.columns.values()
            self.readings += opened.header.n
            self.values += opened.header.n
            self.values += sum(len(column) - column.count(None) for column in columns)
