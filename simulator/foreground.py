"""Stopping under `make`.

Ctrl-C on a terminal: make must not see it, or it reports a clean stop as a failure. A SIGINT for
make alone: it waits for us without a word, so we look whether it has given up.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

LOOK_EVERY_S = 1.0
_MAKE = ("make", "gmake")


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
        # The caller may be gone by now.
        with suppress(OSError):
            os.tcsetpgrp(terminal, caller)
            os.setpgid(0, caller)
        for sig, handler in before.items():
            signal.signal(sig, handler)


async def stop_with_make(every_s: float = LOOK_EVERY_S) -> None:
    """Ask this process to stop (SIGTERM) when the make that started it was interrupted or died.

    Returns at once when none did, or where there is no /proc. An interrupted make puts SIGINT back
    to its default and waits for its programs, without passing the signal on.
    """
    make = os.getppid()
    if _status(make).get("Name") not in _MAKE:
        return
    while os.getppid() == make and not _gave_up(make):  # noqa: ASYNC110 - /proc tells of nothing
        await asyncio.sleep(every_s)
    os.kill(os.getpid(), signal.SIGTERM)


def _gave_up(make: int) -> bool:
    status = _status(make)
    minded = int(status.get("SigCgt", "0"), 16) | int(status.get("SigIgn", "0"), 16)
    return not minded >> (signal.SIGINT - 1) & 1


def _status(pid: int) -> dict[str, str]:
    """Return what /proc says of a process; empty when it says nothing."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
