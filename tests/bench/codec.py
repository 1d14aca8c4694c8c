"""The segment codec: time and bytes for a reading, by the length of the segment."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean

from models.segment_dictionary.rides import Ride
from protocol.segment import Fact, _split, open_segment, seal_facts, seal_signals
from tests.bench.rides import parked, rides
from tests.bench.rows import BENCH_PROFILE_VALUES, Row, at_most, cost

LENGTHS = (1, 10, 100, 512)
FIRST_SEQ = 1_000_000


def measure(_: Path, *, quick: bool) -> Iterator[Row]:
    """Yield the rows of the codec."""
    length = 512 if quick else 4096
    bench = rides(2 if quick else 8, length)
    budget_s = 0.05 if quick else 0.7
    for n in LENGTHS:
        yield from _bench_profile(_cuts(bench, n), n, budget_s)
    quiet = list(parked(2 if quick else 8, 1024))
    for n in LENGTHS:
        yield _quiet(_cuts(quiet, n), n)
    yield from _lone_fact()


def _cuts(found: Sequence[Ride], n: int, most: int = 200) -> list[Ride]:
    """Return up to `most` stretches of `n` readings, spread over the rides."""
    each = max(1, most // len(found))
    cuts: list[Ride] = []
    for ride in found:
        step = max(n, (len(ride.times_ms) - n) // each)
        starts = range(0, len(ride.times_ms) - n + 1, step)
        cuts += [Ride(*ride.cut(start, n)) for start in starts[:each]]
    return cuts


def seal(ride: Ride, first_seq: int = FIRST_SEQ, floor_seq: int | None = None) -> bytes:
    """Seal a stretch as a vehicle does that has been on the road for a while."""
    return seal_signals(
        epoch=0xC0FF_EE00_1234_5678,
        first_seq=first_seq,
        floor_seq=floor_seq or first_seq,
        boot_id=0x8BAD_F00D,
        clock_offset_ms=-42,
        times_ms=ride.times_ms,
        columns=ride.columns,
    )


def _bench_profile(cuts: Sequence[Ride], n: int, budget_s: float) -> Iterator[Row]:
    payloads = [seal(cut) for cut in cuts]
    yield cost(f"codec: seal, n = {n}", _time(lambda i: seal(cuts[i]), len(cuts), budget_s) / n)
    opened = _time(lambda i: open_segment(payloads[i]), len(cuts), budget_s) / n
    yield cost(f"codec: open, n = {n}", opened)
    whole = mean(map(len, payloads)) / n
    body = mean(len(p) - _split(p)[1] for p in payloads) / n
    target = at_most(1.1) if n >= 100 else None
    yield Row(f"codec: size, n = {n}", whole, "B/reading", note="with header")
    yield Row(
        f"codec: size of a value, n = {n}",
        whole / BENCH_PROFILE_VALUES,
        "B/value",
        target,
        f"with header; body alone {body / BENCH_PROFILE_VALUES:.2f}",
    )


def _quiet(cuts: Sequence[Ride], n: int) -> Row:
    payloads = [seal(cut) for cut in cuts]
    body = mean(len(p) - _split(p)[1] for p in payloads) / n
    return Row(
        f"codec: size parked, nine quiet signals, n = {n}",
        mean(map(len, payloads)) / n,
        "B/reading",
        at_most(6) if n >= 100 else None,
        f"with header; body alone {body:.2f}",
    )


def _lone_fact() -> Iterator[Row]:
    payload = seal_facts(
        epoch=2**64 - 1,
        first_seq=2**20,
        floor_seq=2**20,
        boot_id=2**32 - 1,
        clock_offset_ms=-42,
        t0_ms=1_790_000_000_000,
        facts=[Fact("battery.offline", 1, 0, 86_400_000, {})],
    )
    header = _split(payload)[1]
    yield Row("codec: lone fact, body", len(payload) - header, "B", at_most(30))
    yield Row("codec: lone fact, header", header, "B", at_most(32), "at seq 1,048,576")


def _time(call: Callable[[int], object], count: int, budget_s: float) -> float:
    """Return microseconds of CPU for one call of `call(index)`, the best of several rounds."""
    best = float("inf")
    deadline = time.perf_counter() + budget_s
    while time.perf_counter() < deadline:
        started = time.process_time_ns()
        for index in range(count):
            call(index)
        best = min(best, (time.process_time_ns() - started) / count / 1000)
    return best
