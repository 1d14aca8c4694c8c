"""`python -m tests.fuzz`: fuzz one decoder or all; with atheris where it is installed.

    python -m tests.fuzz                             every target, a minute each
    python -m tests.fuzz --target vesc:can --seconds 600
    python -m tests.fuzz --list

Each target runs in a process of its own. Where atheris is there (`pip install atheris`) the bytes
follow the coverage, else hypothesis draws them. What breaks a target is printed, with atheris it is
kept in a file `crash-…` as well; the exit code is 1 then.
"""

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.fuzz.targets import Target, targets


def main() -> int:
    """Run the targets one after another. 0 all stood, 1 one broke, 2 usage."""
    parser = argparse.ArgumentParser(
        prog="tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", metavar="NAME", help="only this one, in this process")
    parser.add_argument("--seconds", type=int, default=60, metavar="S", help="a target; default 60")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what was run as JSON")
    parser.add_argument("--list", action="store_true", help="name the targets")
    args = parser.parse_args()
    known = dict(targets())
    if args.list:
        print("\n".join(known))
        return 0
    if args.target is not None:
        if args.target not in known:
            parser.error(f"no target {args.target}; the known ones are: {', '.join(known)}")
        return run(known[args.target], args.seconds)
    return run_all(list(known), args.seconds, args.out)


def run_all(names: list[str], seconds: int, out: Path | None) -> int:
    """Run each in its own process and write down how it ended."""
    rows = []
    for name in names:
        began_s = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz", "--target", name, "--seconds", str(seconds)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        stood = done.returncode == 0
        rows.append(
            {
                "target": name,
                "seconds": round(time.monotonic() - began_s, 1),
                "engine": engine(),
                "stood": stood,
            }
        )
        print(
            f"{name:28} {rows[-1]['seconds']:7.1f} s  {'stood' if stood else 'BROKE'}", flush=True
        )
        if not stood:
            print(done.stdout[-4000:] + done.stderr[-4000:])
    if out is not None:
        told = {"made": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "targets": rows}
        out.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    return 0 if all(row["stood"] for row in rows) else 1


def engine() -> str:
    """Name what draws the bytes."""
    return "atheris" if importlib.util.find_spec("atheris") else "hypothesis"


def run(target: Target, seconds: int) -> int:
    """Run one target for so long."""
    if engine() == "atheris":
        return _by_coverage(target, seconds)
    return _by_hypothesis(target, seconds)


def _by_coverage(target: Target, seconds: int) -> int:
    atheris: Any = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=2048"], target)
    atheris.Fuzz()  # ends the process
    return 0


def _by_hypothesis(target: Target, seconds: int) -> int:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    until_s = time.monotonic() + seconds

    @settings(
        max_examples=2000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.binary(max_size=2048))
    def once(data: bytes) -> None:
        if time.monotonic() < until_s:
            target(data)

    while time.monotonic() < until_s:
        once()
    return 0


if __name__ == "__main__":
    sys.exit(main())
