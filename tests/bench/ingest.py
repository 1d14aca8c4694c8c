"""Ingest: readings committed a second by one process, and beside it the plain way."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloud.kit.db import connect
from tests.bench.house import Cloud, enrol, serving
from tests.bench.load import device_ids
from tests.bench.plain import measure_plain
from tests.bench.processes import ROOT, module
from tests.bench.rows import Row, at_least, at_most, cost, rate

VEHICLES = 128


@dataclass(frozen=True, slots=True)
class Case:
    """One load: how long its segments are, how many each vehicle has, how long it runs."""

    readings: int
    segments: int
    seconds: float

    @property
    def name(self) -> str:
        return f"ingest, segments of {self.readings}"


CASES = (Case(512, 60, 12), Case(10, 1000, 10))
QUICK = (Case(512, 2, 2), Case(10, 20, 2))


@dataclass(frozen=True, slots=True)
class Result:
    """What the load got acked, and what it cost: CPU seconds by part, bytes on disk."""

    readings: int
    seconds: float
    load_cpu_share: float
    resent: int
    cpu: dict[str, float]
    disk_bytes: int

    def us(self, part: str) -> float:
        """CPU microseconds of a part for one reading."""
        return self.cpu[part] / self.readings * 1e6


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield the rows of ingest and of the plain way, on the same database."""
    with serving(work) as cloud:
        per_s: list[float] = []
        for case in QUICK if quick else CASES:
            result = _run(cloud, case)
            per_s.append(result.readings / result.seconds)
            yield from _rows(case, result)
        plain_per_s = 0.0
        for row in measure_plain(cloud, seconds=1 if quick else 8):
            if row.unit == "readings/s":
                plain_per_s = row.figure or 0.0
            yield row
        yield _ratio(per_s, plain_per_s)


def _ratio(per_s: list[float], plain_per_s: float) -> Row:
    name, unit = "ingest: faster than the plain way", "times"
    if not plain_per_s:
        return Row(name, None, unit)
    times = [figure / plain_per_s for figure in per_s]
    return Row(name, times[0], unit, note=f"segments of 512; of 10: {times[-1]:.0f} times")


def _rows(case: Case, result: Result) -> Iterator[Row]:
    long = case.readings == 512
    note = (
        f"one process, {VEHICLES} vehicles, 8 segments of each in flight;"
        f" load generator {result.load_cpu_share:.0%} of a core, {result.resent} resent"
    )
    yield rate(
        f"{case.name}: committed",
        result.readings / result.seconds,
        target=at_least(200_000) if long else None,
        note=note,
    )
    yield cost(
        f"{case.name}: CPU",
        result.us("cloud"),
        target=at_most(4) if long else None,
        note=f"and Postgres {result.us('postgres'):.2f}, NATS {result.us('nats'):.2f}",
    )
    yield Row(
        f"{case.name}: on disk",
        result.disk_bytes / result.readings,
        "B/reading",
        at_most(25) if long else None,
        "growth of all tables and indexes, without WAL",
    )


def _run(cloud: Cloud, case: Case) -> Result:
    name = f"bench-{case.readings}"
    ids = device_ids(VEHICLES, name)
    enrol(cloud, *ids)
    arguments = {
        "nats": cloud.nats_url,
        "name": name,
        "vehicles": VEHICLES,
        "segments": case.segments,
        "readings": case.readings,
        "seconds": case.seconds,
    }
    load = subprocess.Popen(
        module("tests.bench.load", *(f"--{key}={value}" for key, value in arguments.items())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        said = _line(load)
        assert said == "ready", said
        disk, cpu = _disk_bytes(cloud), cloud.cpu()
        assert load.stdin is not None
        load.stdin.write("go\n")
        load.stdin.flush()
        told = json.loads(_line(load))
        spent = {part: now - cpu[part] for part, now in cloud.cpu().items()}
        grown = _disk_bytes(cloud) - disk
    finally:
        load.terminate()
        load.wait()
    kept = _kept(cloud, ids)
    if kept < told["readings"]:
        raise RuntimeError(f"{told['readings']} readings are acked but {kept} are in the database")
    return Result(
        told["readings"], told["seconds"], told["cpu_share"], told["resent"], spent, grown
    )


def _line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"the load generator ended with exit code {child.wait()}")
    return line


def _disk_bytes(cloud: Cloud) -> int:
    time.sleep(0.2)
    with connect(cloud.dsn) as db:
        row = db.execute(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname IN ('devices', 'telemetry') AND c.relkind = 'r'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def _kept(cloud: Cloud, ids: list[str]) -> int:
    with connect(cloud.dsn) as db:
        row = db.execute(
            "SELECT coalesce(sum(n), 0) FROM telemetry.segment"
            " WHERE device_id = ANY(%s) AND quarantine IS NULL",
            (ids,),
        ).fetchone()
    assert row is not None
    return int(row[0])
