"""The receiver on a real pty: heard, silent, unplugged and back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from edge.gnss import Gnss
from edge.gnss.receiver import FRESH_S
from edge.links.serial import SerialLink
from firmware_shim.gnss import GnssReceiver
from firmware_shim.pty import serve


@asynccontextmanager
async def listening(port: Path, now_s: Callable[[], float] | None = None) -> AsyncIterator[Gnss]:
    link = SerialLink(str(port), baud=9600)
    gnss = Gnss(link) if now_s is None else Gnss(link, now_s=now_s)
    work = asyncio.create_task(gnss.run())
    try:
        yield gnss
    finally:
        work.cancel()
        await asyncio.wait({work})


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_a_fix_is_seen_and_forgotten_when_it_is_old(tmp_path: Path) -> None:
    clock = [0.0]
    async with (
        serve(GnssReceiver(), link_path=tmp_path / "gnss"),
        listening(tmp_path / "gnss", lambda: clock[0]) as gnss,
    ):
        assert (gnss.seen(), gnss.last, gnss.age_s) == (None, None, None)
        await until(lambda: gnss.seen() is not None)
        assert gnss.counters["sentences"] >= 2
    clock[0] = FRESH_S
    assert gnss.seen() is not None
    clock[0] = FRESH_S + 0.1
    assert gnss.seen() is None
    assert gnss.last is not None
    assert gnss.age_s == clock[0]


async def test_a_port_that_is_not_there_is_told_and_waited_for(tmp_path: Path) -> None:
    async with listening(tmp_path / "gnss") as gnss:
        await until(lambda: gnss.trouble is not None)
        async with serve(GnssReceiver(), link_path=tmp_path / "gnss"):
            await until(lambda: gnss.seen() is not None)
            assert gnss.trouble is None
