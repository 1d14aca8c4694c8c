"""Builders for journal tests."""

import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from edge.clock import ManualClock
from edge.journal import Journal, Sealed
from protocol.segment import Lane, Segment, open_segment

START_MS = 1_700_000_000_000


@asynccontextmanager
async def a_journal(
    path: Path,
    *,
    boot_id: int = 1,
    max_bytes: int = 64_000_000,
    accept_fd: int | None = None,
    offset_ms: int = 0,
) -> AsyncIterator[Journal]:
    journal = await Journal.open(
        path,
        ManualClock(START_MS),
        boot_id=boot_id,
        max_bytes=max_bytes,
        accept_fd=accept_fd,
        clock_offset=lambda: offset_ms,
    )
    try:
        yield journal
    finally:
        await journal.close()


def fill(journal: Journal, count: int, *, first: int = 0) -> None:
    """Append readings whose voltage is their number."""
    for number in range(first, first + count):
        journal.append_reading(START_MS + number, {1: number, 2: -number})


async def segments(journal: Journal, lane: Lane = Lane.SIGNAL) -> list[Segment]:
    """Every sealed segment, opened."""
    return [open_segment(one.payload) for one in await sealed(journal, lane)]


async def sealed(journal: Journal, lane: Lane = Lane.SIGNAL) -> list[Sealed]:
    return await journal.unacked(lane, limit=1_000_000, max_bytes=1 << 30)


def numbers(found: list[Segment]) -> list[int | None]:
    """The voltages of all readings, which `fill` made their numbers."""
    return [value for one in found if one.signals for value in one.signals.columns[1]]


@contextmanager
def a_full_disk() -> Iterator[None]:
    """The operating system refuses every write to a file that grows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
