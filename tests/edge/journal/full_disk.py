"""A process whose disk is full for a while, with the operating system's own error."""

import asyncio
import resource
import sys
from pathlib import Path

from edge.clock import SystemClock
from edge.journal import Journal
from protocol.segment import Lane
from tests.edge.journal.opening import fill, numbers, segments


async def write(path: Path) -> None:
    journal = await Journal.open(path, SystemClock(), boot_id=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    refused = 0
    for number in range(2_000):
        fill(journal, 1, first=number)
        if number % 10 == 9:
            refused += await journal.flush() == 0
    refused += await journal.append_fact("battery.offline") is None
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await journal.seal()
    assert refused > 50, "the disk was never full"
    assert numbers(await segments(journal)) == list(range(2_000))
    facts = [fact.kind for one in await segments(journal, Lane.FACT) for fact in one.facts or ()]
    assert facts.count("battery.offline") == 1
    assert "journal.write_failed" in facts
    await journal.close()


asyncio.run(write(Path(sys.argv[1])))
