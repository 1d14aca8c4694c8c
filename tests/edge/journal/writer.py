"""A process that writes a journal as fast as it can, until somebody kills it."""

import asyncio
import os
import sys
from pathlib import Path

from edge.clock import SystemClock
from edge.journal import Journal
from edge.journal.accept import accept_fd

UNKNOWN = 999
"""A signal whose values nobody limits."""


async def write(path: Path, first: int) -> None:
    journal = await Journal.open(
        path, SystemClock(), boot_id=os.getpid(), accept_fd=accept_fd(os.environ)
    )
    number = first
    while True:
        for _ in range(1 + number % 7):
            journal.append_reading(1_700_000_000_000 + number, {UNKNOWN: number})
            number += 1
        await (journal.seal() if number % 5 == 0 else journal.flush())
        if number % 50 == 0:
            await journal.append_fact("a.fact", {"number": number})


asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
