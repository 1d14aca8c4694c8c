"""Ctrl-C under `make`: make must not see it, or it reports a clean stop as a failure."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def own_terminal(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Take the terminal for this process while a program started by make runs on one.

    Ctrl-C then reaches this process alone and make sees its exit code. Outside of make, or
    without a terminal, nothing is changed and signals go to the whole process group as usual.
    """
    if "MAKELEVEL" not in environ or not sys.stdin.isatty() or os.getpid() == os.getpgrp():
        yield
        return
    terminal, caller = sys.stdin.fileno(), os.getpgrp()
    # A background process that touches its terminal is stopped; a stopped one would hang make.
    before = {sig: signal.signal(sig, signal.SIG_IGN) for sig in (signal.SIGTTOU, signal.SIGTSTP)}
    try:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpgrp())
        yield
    finally:
        os.tcsetpgrp(terminal, caller)
        os.setpgid(0, caller)
        for sig, handler in before.items():
            signal.signal(sig, handler)
