"""The demo's programs: watched, started again, stopped."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from simulator.children import Child, ChildError


def a_child(folder: Path, script: str) -> Child:
    return Child("the worker", [sys.executable, "-c", script], folder / "logs" / "worker.log")


async def until_runs(child: Child, other_than: int | None = None) -> int:
    async with asyncio.timeout(10):
        while child.pid in (None, other_than):  # noqa: ASYNC110 - nothing tells of a start
            await asyncio.sleep(0.01)
    assert child.pid is not None
    return child.pid


async def test_a_killed_program_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    child = a_child(tmp_path, "import time; time.sleep(60)")
    said: list[str] = []
    await child.start()
    watch = asyncio.create_task(child.keep_running(said.append))
    first = await until_runs(child)
    os.kill(first, signal.SIGKILL)
    assert await until_runs(child, other_than=first) != first
    assert said[0].startswith("the worker was ended by SIGKILL; it is started again")
    watch.cancel()
    await asyncio.wait({watch})
    await child.stop(5.0)
    assert child.pid is None


async def test_a_program_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    script = f"import signal, time; {ignore}; print(1, flush=True); time.sleep(60)"
    child = a_child(tmp_path, script)
    await child.start()
    log = tmp_path / "logs" / "worker.log"
    async with asyncio.timeout(10):
        while not log.read_text():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
    await child.stop(0.1)
    assert await child.ended() == -signal.SIGKILL


async def test_a_program_that_fails_is_explained_by_its_last_words(tmp_path: Path) -> None:
    child = a_child(tmp_path, "import sys; print('one'); sys.exit('no port is free; stop another')")
    await child.start()
    told = child.failure(await child.ended())
    assert isinstance(told, ChildError)
    assert "ended with exit code 1: no port is free; stop another" in str(told)
