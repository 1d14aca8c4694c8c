"""SIGTERM is how a service is asked to stop: its work is cancelled and closes in good order."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


async def until_terminated(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`; when SIGTERM comes, cancel it, wait for its end, and return."""
    task = asyncio.current_task()
    terminated = asyncio.Event()

    def terminate() -> None:
        terminated.set()
        if task is not None:
            task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        await work
    except asyncio.CancelledError:
        if not terminated.is_set():
            raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
