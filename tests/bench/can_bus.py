"""CAN over slcan on a pty: our python-can interface beside the stock one; what a frame costs."""

import contextlib
import logging
import os
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import can
import can.interfaces.slcan

from edge.drivers.can import CanDecoder, CanFrame
from edge.drivers.registry import driver
from edge.links.slcan import SlcanStream, line_of
from edge.links.slcan_bus import SlcanBus
from firmware_shim.can import CanNode
from firmware_shim.registry import build_shim
from tests.bench.rows import Row, at_least, at_most

LEAF = "nissan_leaf_ev_can"
BUS_S = 20.0
READ_BYTES = 4096
MOST_S = 10.0
# Others of the same bus, as a drive has them: motor, shifter, wheels, inverter, heater.
OTHERS = (0x11A, 0x1DA, 0x284, 0x1D4, 0x1CB, 0x108)
WRITER = """
import os, sys
far, times = int(sys.argv[1]), int(sys.argv[2])
lines = sys.stdin.buffer.read()
sys.stdout.write("ready\\n")
sys.stdout.flush()
for _ in range(times):
    left = memoryview(lines)
    while left:
        left = left[os.write(far, left):]
"""


def measure(_: Path, *, quick: bool) -> Iterator[Row]:
    """Yield the rows of the bus."""
    logging.getLogger("can").setLevel(logging.WARNING)
    frames = on_the_bus(2.0 if quick else BUS_S)
    mixed = with_others(frames)
    rounds = 1 if quick else 20
    yield _rate("in bulk", mixed, rounds, _in_bulk, target=at_least(20_000))
    yield _rate("a can.Message each", mixed, rounds, _one_by_one, target=at_least(20_000))
    yield _rate("stock python-can", mixed[:1000], 1, _stock, note="its slcan, same run")
    yield from _costs(frames, mixed, budget_s=0.1 if quick else 1.0)


def on_the_bus(seconds: float) -> list[CanFrame]:
    """Return what a Leaf's battery says in that time."""
    adapter: Any = build_shim(LEAF, seed=1)
    node: CanNode = adapter.nodes[0]
    found: list[CanFrame] = []
    now_s = 0.0
    while now_s < seconds:
        now_s = max(now_s, node.due_s)
        found += [CanFrame(*frame) for frame in node.tick(now_s)]
    return found


def with_others(frames: Sequence[CanFrame]) -> list[CanFrame]:
    """Return them among twice as many frames of others."""
    mixed: list[CanFrame] = []
    for number, frame in enumerate(frames):
        mixed.append(frame)
        for at in (2 * number, 2 * number + 1):
            can_id = OTHERS[at % len(OTHERS)]
            mixed.append(CanFrame(can_id, (at * 0x9E3779B97F4A7C15).to_bytes(16, "big")[-8:]))
    return mixed


@contextlib.contextmanager
def _spoken(lines: bytes, times: int) -> Iterator[str]:
    """Give the path of a pty into which a process writes the lines as fast as they are read."""
    far, near = os.openpty()
    tty.setraw(near)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(far), str(times)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(far,),
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    try:
        writer.stdin.write(lines)
        writer.stdin.close()
        writer.stdout.readline()
        yield os.ttyname(near)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
        os.close(near)
        os.close(far)


def _rate(
    name: str,
    frames: Sequence[CanFrame],
    times: int,
    read: Callable[[str, int], int],
    **more: Any,
) -> Row:
    count = len(frames) * times
    with _spoken(b"".join(map(line_of, frames)), times) as path:
        started = time.perf_counter()
        read_count = read(path, count)
        passed_s = time.perf_counter() - started
    # What came before the port was open is lost on a pty, as on a real line.
    return Row(f"slcan: {name}", read_count / passed_s, "frames/s", **more)


def _in_bulk(path: str, count: int) -> int:
    with SlcanBus(path) as bus:
        until = time.perf_counter() + MOST_S
        found = 0
        while found < 0.9 * count and time.perf_counter() < until:
            found += len(bus.recv_frames())
        return found


def _one_by_one(path: str, count: int) -> int:
    with SlcanBus(path) as bus:
        return _received(bus, count)


def _stock(path: str, count: int) -> int:
    with can.interfaces.slcan.slcanBus(path, bitrate=500_000, sleep_after_open=0) as bus:
        return _received(bus, count)


def _received(bus: can.BusABC, count: int) -> int:
    until = time.perf_counter() + MOST_S
    found = 0
    while found < 0.9 * count and time.perf_counter() < until:
        found += bus.recv(1) is not None
    return found


def _costs(frames: list[CanFrame], mixed: list[CanFrame], budget_s: float) -> Iterator[Row]:
    decoder = driver(LEAF).can
    assert decoder is not None
    lines, all_lines = (b"".join(map(line_of, each)) for each in (frames, mixed))
    listens = decoder.policy.listens
    parsed = _best_us(lambda: _fed(SlcanStream(), lines), len(frames), budget_s)
    yield Row("slcan: a frame parsed", parsed, "µs/frame")
    decoded = _best_us(lambda: _fed(SlcanStream(), lines, decoder()), len(frames), budget_s)
    yield Row("slcan: a frame parsed and decoded", decoded, "µs/frame", at_most(10), "Leaf EV-CAN")
    busy = _best_us(lambda: _fed(SlcanStream(listens), all_lines, decoder()), len(mixed), budget_s)
    yield Row(
        "slcan: a frame of a busy bus", busy, "µs/frame", at_most(10), "two of three not for us"
    )


def _fed(stream: SlcanStream, lines: bytes, decoder: CanDecoder | None = None) -> None:
    now_s = 0.0
    for at in range(0, len(lines), READ_BYTES):
        found = stream.feed(lines[at : at + READ_BYTES])
        now_s += 0.1
        if decoder is not None:
            decoder.feed(found, now_s)


def _best_us(call: Callable[[], None], count: int, budget_s: float) -> float:
    """Return microseconds of CPU a frame, the best of several rounds."""
    best = float("inf")
    deadline = time.perf_counter() + budget_s
    while best == float("inf") or time.perf_counter() < deadline:
        started = time.process_time_ns()
        call()
        best = min(best, (time.process_time_ns() - started) / count / 1000)
    return best
