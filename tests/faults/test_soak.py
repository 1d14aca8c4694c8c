"""A long quiet run under load: does anything grow? `make soak`, SOAK_MINUTES=30 by default."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import pytest

from tests.faults.results import table, write
from tests.stories.zero_loss.cluster import Cluster, Pace
from tests.stories.zero_loss.story import Report, Teller

VEHICLES = 8
SAMPLE_S = 5.0
MOST_GROWTH_MB = 16.0
MOST_BACKLOG_S = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stand at one moment: memory in MB, records accepted and not yet committed."""

    at_s: float
    agents_mb: float
    ingest_mb: float
    nats_mb: float
    backlog: int


@pytest.mark.soak
def test_nothing_grows_and_nothing_lags_in_a_long_run(tmp_path: Path) -> None:
    seconds = 60 * float(os.environ.get("SOAK_MINUTES", "30"))
    report = Report(seed=0, vehicles=VEHICLES)
    samples: list[Sample] = []
    with Cluster(tmp_path, vehicles=VEHICLES, pace=Pace()) as cluster:
        teller = Teller(cluster, report)
        teller.begin()
        while teller.now_s() < seconds:
            teller.await_moment(SAMPLE_S * (len(samples) + 1))
            samples.append(look(cluster, teller.now_s()))
        teller.end()
    per_s = report.verdict.accepted / report.load_s
    found = {
        "vehicles": VEHICLES,
        "load_s": round(report.load_s, 1),
        "records_per_s": round(per_s, 1),
        "broken": report.verdict.broken,
        "samples": [asdict(sample) for sample in samples],
    }
    growth = {
        name: late - early
        for name, (early, late) in early_and_late(samples).items()
        if name != "backlog"
    }
    print(write("soak", "A long run", found, head(report, per_s), as_table(samples)))
    assert report.verdict.broken == {}, str(report)
    assert {name: grown for name, grown in growth.items() if grown > MOST_GROWTH_MB} == {}
    assert median(sample.backlog for sample in samples) <= MOST_BACKLOG_S * per_s
    shutil.rmtree(tmp_path)


def look(cluster: Cluster, at_s: float) -> Sample:
    """Measure once; of the agents, the largest."""
    agents = [memory_mb(vehicle.agent.pid) for vehicle in cluster.vehicles if vehicle.agent]
    backlog = cluster.accepted() - cluster.committed()
    return Sample(
        round(at_s, 1),
        max(agents),
        memory_mb(cluster.ingest_pid),
        memory_mb(cluster.nats.pid or 0),
        max(0, backlog),
    )


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(f"process {pid} has no memory: it is dead")


def early_and_late(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Return the medians of the second and of the last sixth of the run, by quantity."""
    sixth = max(1, len(samples) // 6)
    early, late = samples[sixth : 2 * sixth] or samples, samples[-sixth:]
    return {
        name: (
            median(getattr(sample, name) for sample in early),
            median(getattr(sample, name) for sample in late),
        )
        for name in ("agents_mb", "ingest_mb", "nats_mb", "backlog")
    }


def head(report: Report, per_s: float) -> str:
    """Return the run in a sentence."""
    return (
        f"{report.vehicles} vehicles for {report.load_s / 60:.0f} minutes, {per_s:.0f} records/s; "
        f"broken promises: {report.verdict.broken or 'none'}."
    )


def as_table(samples: Sequence[Sample]) -> str:
    """Return how each quantity stood early and late in the run."""
    names = {
        "agents_mb": "largest agent, MB resident",
        "ingest_mb": "ingest process, MB resident",
        "nats_mb": "NATS, MB resident",
        "backlog": "records accepted and not yet committed",
    }
    rows = [
        (names[name], early, late, max(getattr(sample, name) for sample in samples))
        for name, (early, late) in early_and_late(samples).items()
    ]
    return table(("", "early", "late", "highest"), rows)
