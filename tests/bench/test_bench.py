"""The benchmarks run and say what they say in the promised form; how fast is not asked here."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.bench.__main__ import main
from tests.bench.processes import ROOT, module
from tests.bench.rows import Row, at_least, at_most, cost, from_json, number, rate, to_json
from tests.bench.runner import BENCHMARKS, run


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """bench.json and bench.md of a quick run of two benchmarks."""
    out = tmp_path_factory.mktemp("bench")
    arguments = ["--quick", "--only", "codec", "journal", "--out", str(out)]
    done = subprocess.run(
        module("tests.bench", *arguments, "--work", str(out / "work")),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "codec: lone fact, body" in done.stdout
    assert "[2/2] journal" in done.stderr
    assert not (out / "work").exists()
    return json.loads((out / "bench.json").read_text("utf-8")), (out / "bench.md").read_text(
        "utf-8"
    )


@pytest.mark.slow
def test_a_run_says_when_and_on_what_it_measured(result: tuple[dict[str, Any], str]) -> None:
    about, page = result
    assert about["date"].endswith("Z")
    assert {"cpu", "cores", "memory_mb", "kernel"} <= about["machine"].keys()
    assert {"python", "postgres", "nats", "sqlite", "zstd"} <= about["versions"].keys()
    assert about["quick"] is True
    assert about["versions"]["postgres"] in page


@pytest.mark.slow
def test_every_figure_has_a_unit_and_readings_also_signal_values(
    result: tuple[dict[str, Any], str],
) -> None:
    rows = {row["name"]: row for row in result[0]["rows"]}
    assert len(rows) == len(result[0]["rows"]) > 25
    assert all(row["figure"] > 0 and row["unit"] for row in rows.values())
    durable = rows["journal: durable, 10 to an fsync"]
    assert durable["signal_values_per_s"] == pytest.approx(durable["figure"] * 12)
    assert rows["codec: seal, n = 512"]["signal_values_per_s"] > 0


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_machine_and_meet_their_targets(
    result: tuple[dict[str, Any], str],
) -> None:
    promised = {row["name"]: row["met"] for row in result[0]["rows"] if row["unit"].startswith("B")}
    assert {name for name, met in promised.items() if met is False} == set()
    assert sum(met is True for met in promised.values()) >= 6


@pytest.mark.slow
def test_a_benchmark_that_fails_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    codec = next(b for b in BENCHMARKS if b.name == "codec")
    absent = type(codec)("no_such_module", "nothing", 20)
    rows, well = run([absent, codec], quick=True, work=tmp_path)
    assert not well
    assert rows[0].name == "no_such_module: failed"
    assert "ModuleNotFoundError" in rows[0].note
    assert len(rows) > 20


@pytest.mark.slow
def test_a_benchmark_that_hangs_is_stopped_and_said_so(tmp_path: Path) -> None:
    slow = type(BENCHMARKS[0])("codec", "too slow", 0.1)
    rows, well = run([slow], quick=False, work=tmp_path)
    assert not well
    assert rows[-1].note == "stopped after 0.1 s"


def test_an_unknown_benchmark_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--only", "luck"])
    assert left.value.code == 2
    assert "codec" in capsys.readouterr().err


@pytest.mark.parametrize(
    "row",
    [
        Row("a", None, "ms"),
        Row("b", 3.5, "ms", at_most(4), "why"),
        rate("c", 250_000.0, target=at_least(200_000)),
        cost("d", 2.5),
    ],
)
def test_a_row_survives_json(row: Row) -> None:
    assert from_json(json.loads(json.dumps(to_json(row)))) == row


def test_a_target_is_met_on_its_own_side_only() -> None:
    assert Row("a", 4.0, "ms", at_most(4)).met
    assert Row("a", 4.1, "ms", at_most(4)).met is False
    assert Row("a", 4.1, "ms", at_least(4)).met
    assert Row("a", None, "ms", at_least(4)).met is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0123, "0.012"), (0.53, "0.53"), (12.34, "12.3"), (433_812.4, "433,812")],
)
def test_figures_are_shown_with_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text
