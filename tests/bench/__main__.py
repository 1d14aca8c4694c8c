"""`python -m tests.bench`: every benchmark, a table, docs/results/bench.json and bench.md."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.processes import ROOT
from tests.bench.rows import Row, markdown, plain, to_json
from tests.bench.runner import BENCHMARKS, run

RESULTS = ROOT / "docs" / "results"
EXAMPLES = """examples:
  python -m tests.bench                       everything, about seven minutes
  python -m tests.bench --only codec journal  two of them, printed only
  python -m tests.bench --quick --out /tmp/b  small sizes, to see that it works
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, write and print; 0 when every benchmark ran, whatever its figures."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure this machine. Best with nothing else running on it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="small sizes; figures mean nothing")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where bench.json and bench.md go: docs/results after a whole run, else nowhere",
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / ".bench", metavar="DIR",
        help="where databases and journals lie meanwhile: the disk that is measured",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    picked = [b for b in BENCHMARKS if not chosen.only or b.name in chosen.only]
    about = machine.describe()
    rows, well = run(picked, quick=chosen.quick, work=chosen.work.resolve())
    out = chosen.out
    if out is None and not chosen.quick and not chosen.only:
        out = RESULTS
    if out is not None:
        _write(out, about, rows, quick=chosen.quick)
    print(machine.sentence(about))
    print(plain(rows))
    return 0 if well else 1


def _write(out: Path, about: dict[str, Any], rows: Sequence[Row], *, quick: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    result = {**about, "quick": quick, "rows": [to_json(row) for row in rows]}
    (out / "bench.json").write_text(
        json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    head = f"# Benchmarks\n\n{machine.sentence(about)}. Made by `make bench`.\n\n"
    (out / "bench.md").write_text(head + markdown(rows), "utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
