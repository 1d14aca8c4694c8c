"""Places where a test may kill the agent: a power cut at one exact step.

In the field nothing is set and `reach` compares two strings. With MOBILITY_FAULT_POINT=NAME the
process kills itself with SIGKILL when it reaches NAME; NAME:3 waits for the third time.
"""

import os
import signal
from collections import Counter

_WANTED, _, _times = os.environ.get("MOBILITY_FAULT_POINT", "").partition(":")
_NTH = int(_times or 1)
_reached: Counter[str] = Counter()


def reach(name: str) -> None:
    """Mark that the process got as far as `name`; does not return where a kill was asked for."""
    if name != _WANTED:
        return
    _reached[name] += 1
    if _reached[name] == _NTH:
        os.kill(os.getpid(), signal.SIGKILL)
