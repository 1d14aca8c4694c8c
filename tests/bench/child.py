"""One benchmark in this process, its rows as JSON lines: `python -m tests.bench.child NAME DIR`."""

import argparse
import importlib
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from tests.bench.rows import to_json


def main() -> int:
    """Measure and print; SIGTERM unwinds, so that engines are stopped."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.child")
    parser.add_argument("name")
    parser.add_argument("work", type=Path)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    benchmark = importlib.import_module(f"tests.bench.{chosen.name}")
    for row in benchmark.measure(chosen.work, quick=chosen.quick):
        print(json.dumps(to_json(row)), flush=True)
    return 0


def _leave(_: int, __: FrameType | None) -> None:
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
