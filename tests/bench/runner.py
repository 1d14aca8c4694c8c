"""Each benchmark in a fresh process of its own, with progress, a time limit and no mercy."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import ROOT, module
from tests.bench.rows import Row, from_json, number

_PATIENCE_S = 40


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One module of this package with a `measure(work, quick)`.

    Attributes:
        name: the module, and what --only takes.
        about: what it measures, in a few words.
        limit_s: after that it is stopped.
    """

    name: str
    about: str
    limit_s: float


BENCHMARKS = (
    Benchmark("codec", "seal and open, bytes", 60),
    Benchmark("can_bus", "slcan beside stock python-can, a frame's cost", 60),
    Benchmark("journal", "durable readings a second", 60),
    Benchmark("flash", "bytes written in a vehicle-day", 120),
    Benchmark("agent", "memory, CPU, start", 150),
    Benchmark("drain", "one agent's backlog into the cloud", 120),
    Benchmark("ingest", "readings committed a second, and the plain way", 150),
    Benchmark("latency", "from the battery to the ack", 90),
    Benchmark("commands", "from the request to the latch and back", 120),
    Benchmark("bookings", "search, holds, and 200 people who want one vehicle", 180),
    Benchmark("unlocks", "from a customer's tap to riding", 180),
    Benchmark("connects", "TLS connects a second, revocation", 120),
)


def run(chosen: Sequence[Benchmark], *, quick: bool, work: Path) -> tuple[list[Row], bool]:
    """Run the benchmarks one after the other; return the rows, and whether all went well."""
    rows: list[Row] = []
    well = True
    for index, benchmark in enumerate(chosen, start=1):
        started = time.monotonic()
        _say(f"[{index}/{len(chosen)}] {benchmark.name}: {benchmark.about}")
        with _folder(work, benchmark.name) as folder:
            trouble = None
            try:
                for row in _rows_of(benchmark, folder, quick=quick):
                    rows.append(row)
                    _say(f"      {row.name}: {number(row.figure)} {row.unit}")
            except RuntimeError as error:
                trouble = str(error)
        if trouble is not None:
            well = False
            rows.append(Row(f"{benchmark.name}: failed", None, "", note=trouble))
            _say(f"      failed: {trouble}")
        _say(f"      {time.monotonic() - started:.0f} s")
    return rows, well


def _rows_of(benchmark: Benchmark, folder: Path, *, quick: bool) -> Iterator[Row]:
    """Start the benchmark and yield its rows as it prints them; RuntimeError when it fails."""
    arguments = [benchmark.name, str(folder), *(["--quick"] if quick else [])]
    log = folder / "bench.log"
    with log.open("wb") as complaints:
        child = subprocess.Popen(
            module("tests.bench.child", *arguments),
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd=ROOT,
            start_new_session=True,
        )
    assert child.stdout is not None
    deadline = _Deadline(child, benchmark.limit_s)
    try:
        with deadline:
            for line in child.stdout:
                yield from_json(json.loads(line))
    finally:
        child.stdout.close()
        _stop(child)
    if deadline.passed:
        raise RuntimeError(f"stopped after {benchmark.limit_s:g} s")
    if child.returncode != 0:
        words = log.read_text("utf-8", errors="replace").strip().splitlines()
        raise RuntimeError(words[-1] if words else f"exit code {child.returncode}")


class _Deadline:
    """Stops a child that takes too long."""

    def __init__(self, child: "subprocess.Popen[bytes]", limit_s: float) -> None:
        self.passed = False
        self._child = child
        self._timer = threading.Timer(limit_s, self._expire)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _expire(self) -> None:
        self.passed = True
        _stop(self._child)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Ask the child, which stops its engines; then end its whole session."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_PATIENCE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextlib.contextmanager
def _folder(work: Path, name: str) -> Iterator[Path]:
    """A fresh folder on the disk the figures are about, gone afterwards."""
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            work.rmdir()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
