"""100 rentals while API, worker, NATS and Postgres are killed in turn: part of `make faults`.

FAULTS_RENTALS=100 is the default; RENTALS_SEED=N has a bad day again.
"""

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.faults.rentals.house import VICTIMS, Victim
from tests.faults.rentals.story import Plan, Report, Strike, chosen_seed, percentile, tell
from tests.faults.results import Row, table, write

ROUNDS = 3
BACK_WITHIN_S = 60.0
_NAMES: dict[Victim, str] = {
    "api": "API process",
    "worker": "worker process (vehicles, events, payments)",
    "nats": "NATS, its store wiped",
    "postgres": "Postgres and its children",
}


@pytest.mark.faults
def test_every_rental_ends_right_and_is_charged_once_whatever_is_killed(tmp_path: Path) -> None:
    plan = Plan(
        rentals=int(os.environ.get("FAULTS_RENTALS", "100")),
        riders=8,
        vehicles=12,
        rounds=ROUNDS,
        trouble_every_s=8.0,
        hang_s=11.0,
    )
    report = tell(tmp_path, plan, chosen_seed())
    print(
        write("faults-rentals", "Kill -9 during rentals", as_json(report), *as_text(report)),
        report,
        sep="\n",
    )
    assert report.moving == {}, str(report)
    assert report.verdict is not None
    assert report.verdict.broken == {}, str(report)
    assert [strike.victim for strike in report.strikes] == list(VICTIMS) * ROUNDS
    assert len(report.told.started) >= plan.rentals
    assert report.p95_s() <= BACK_WITHIN_S, str(report)
    shutil.rmtree(tmp_path)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report without its single requests."""
    verdict = report.verdict
    assert verdict is not None
    return {
        "seed": report.seed,
        "plan": asdict(report.plan),
        "load_s": round(report.load_s, 1),
        "rest_s": round(report.rest_s, 1),
        "strikes": [as_row(report, strike) for strike in report.strikes],
        "troubles_at_the_bank": report.troubles,
        "rentals": dict(verdict.rentals),
        "charges": verdict.captured,
        "charged_minor": verdict.captured_minor,
        "broken": dict(verdict.broken),
        "steps_given_up": report.told.troubles,
        "p95_back_s": round(report.p95_s(), 1),
    }


def as_row(report: Report, strike: Strike) -> dict[str, Any]:
    """Return one kill and what came after it."""
    opened_s = report.unlocked_after_s(strike)
    return {
        "victim": strike.victim,
        "rentals_begun": strike.begun,
        "riding": strike.riding,
        "answered_after_s": [round(wait_s, 2) for wait_s in report.answered_after_s(strike)],
        "opened_after_s": None if opened_s is None else round(opened_s, 1),
    }


def as_text(report: Report) -> tuple[str, str, str]:
    """Return what was done, what came of it, and how fast it was back."""
    verdict = report.verdict
    assert verdict is not None
    head = (
        f"{len(report.told.started)} rentals of {report.plan.riders} riders on"
        f" {report.plan.vehicles} vehicles in {report.load_s:.0f} s, seed {report.seed};"
        f" {report.troubles} times the bank hung, failed or lost an answer; it forgot every key."
        f" p95 of the time from a kill to a rider's next successful request:"
        f" {report.p95_s():.1f} s (target {BACK_WITHIN_S:.0f} s)."
    )
    rows: list[Row] = []
    for victim in VICTIMS:
        strikes = [strike for strike in report.strikes if strike.victim == victim]
        opened = [at for each in strikes if (at := report.unlocked_after_s(each)) is not None]
        rows.append(
            (
                f"kill -9 of {_NAMES[victim]}",
                len(strikes),
                median(strike.riding for strike in strikes),
                round(report.p95_s([victim]), 1),
                round(percentile(opened, 100), 1),
            )
        )
    columns = (
        "fault",
        "times",
        "riding (median)",
        "next answer, p95 s",
        "next vehicle opened, longest s",
    )
    outcome: list[Row] = [(f"rentals: {how}", n) for how, n in sorted(verdict.rentals.items())]
    outcome += [
        ("charges at the bank, one for each that ended", verdict.captured),
        ("broken promises", sum(map(len, verdict.broken.values()))),
        ("steps that a rider gave up and took back", len(report.told.troubles)),
    ]
    return head, table(columns, rows), table(("what came of it", "count"), outcome)
