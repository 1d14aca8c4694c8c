"""Fault points: a kill at the step that was asked for, and nothing otherwise."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = (
    "from edge.faultpoint import reach\n"
    "for number in range(5):\n"
    "    print(number, flush=True)\n"
    "    reach('here')\n"
)


@pytest.mark.parametrize(
    ("asked", "steps", "code"),
    [
        ("here", 1, -signal.SIGKILL),
        ("here:3", 3, -signal.SIGKILL),
        ("elsewhere", 5, 0),
        ("", 5, 0),
    ],
)
def test_a_process_dies_where_it_was_asked_to(asked: str, steps: int, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "MOBILITY_FAULT_POINT": asked},
        stdout=subprocess.PIPE,
        check=False,
        cwd=ROOT,
    )
    assert (len(ended.stdout.split()), ended.returncode) == (steps, code)
