"""The zero-loss story for as long as it takes: `make faults`.

FAULTS_MINUTES=5 and FAULTS_VEHICLES=8 are the defaults; ZERO_LOSS_SEED=N has a bad day again.
"""

import os
import random
import shutil
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.faults.results import Row, table, write
from tests.stories.zero_loss.plan import Victim, make_plan
from tests.stories.zero_loss.story import Report, tell

READINGS_PER_S = 50
# How many of each are killed in a minute; about as fast as they come back.
KILLS_PER_MINUTE: dict[Victim, int] = {"agent": 5, "ingest": 3, "nats": 2, "postgres": 2}
VICTIMS = {
    "agent": "agent",
    "ingest": "ingest process",
    "nats": "NATS, its store wiped",
    "postgres": "Postgres and its children",
}


@pytest.mark.faults
def test_nothing_is_lost_or_doubled_however_long_it_goes_wrong(tmp_path: Path) -> None:
    minutes = float(os.environ.get("FAULTS_MINUTES", "5"))
    vehicles = int(os.environ.get("FAULTS_VEHICLES", "8"))
    seed = int(os.environ.get("ZERO_LOSS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"ZERO_LOSS_SEED={seed}")
    kills: dict[Victim, int] = {
        victim: max(1, round(often * minutes)) for victim, often in KILLS_PER_MINUTE.items()
    }
    plan = make_plan(
        seed,
        vehicles=vehicles,
        seconds=60 * minutes,
        kills=kills,
        deaf_links=max(1, round(minutes)),
        freezes=min(vehicles - 1, max(1, round(minutes / 1.5))),
    )
    report = tell(tmp_path, plan, seed=seed, vehicles=vehicles, seconds=60 * minutes)
    print(write("faults", "Kill -9, and what was lost", as_json(report), *as_text(report)))
    assert report.verdict.broken == {}, str(report)
    assert report.kills == kills, str(report)
    assert report.verdict.accepted >= 0.6 * READINGS_PER_S * vehicles * report.load_s
    shutil.rmtree(tmp_path)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report without its lists of single records."""
    verdict = report.verdict
    return {
        "seed": report.seed,
        "vehicles": report.vehicles,
        "load_s": round(report.load_s, 1),
        "strikes": [asdict(strike) | {"at_s": round(strike.at_s, 1)} for strike in report.strikes],
        "links_frozen": report.frozen,
        "links_frozen_s": round(report.frozen_s, 1),
        "links_deaf": report.deaf,
        "accepted": verdict.accepted,
        "committed": verdict.committed,
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "broken": verdict.broken,
        "never_accepted": verdict.never_accepted,
        "repeated_segments": report.repeats,
        "all_acked_after_s": round(report.drain_s, 1),
    }


def as_text(report: Report) -> tuple[str, str, str]:
    """Return what was done, what came of it, and how to read it."""
    faults: list[Row] = []
    for victim, name in VICTIMS.items():
        strikes = [strike for strike in report.strikes if strike.victim == victim]
        busy = [strike.in_flight for strike in strikes if strike.in_flight]
        faults.append(
            (f"kill -9 of {name}", len(busy), len(strikes) - len(busy), median(busy or [0]))
        )
    faults.append(("acks of a link lost, then the link cut", report.deaf, 0, ""))
    faults.append((f"link frozen, {report.frozen_s:.0f} s together", report.frozen, 0, ""))
    verdict = report.verdict
    outcome = (
        ("records accepted (fsynced) by the vehicles", verdict.accepted),
        ("records committed", verdict.committed),
        ("lost", len(verdict.lost)),
        ("doubled", len(verdict.doubled)),
        ("anything else wrong", sum(verdict.broken.values())),
        ("read but not yet fsynced when their agent was killed", verdict.never_accepted),
        ("segments that came again and were recognised", report.repeats),
    )
    head = (
        f"{report.vehicles} vehicles, {report.load_s:.0f} s, "
        f"{verdict.accepted / report.load_s:.0f} records/s, seed {report.seed}; "
        f"everything was acked {report.drain_s:.1f} s after the last reading."
    )
    columns = ("fault", "with work in flight", "idle", "segments in flight (median)")
    return head, table(columns, faults), table(("what came of it", "count"), outcome)
