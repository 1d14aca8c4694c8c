"""The programs of a demo: started with a log, watched, started again when they die, stopped."""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_KEPT_LOG_BYTES = 10_000_000
_LONGEST_WAIT_S = 10.0
_CALM_S = 60.0


class ChildError(RuntimeError):
    """A program of the demo did not start; the text says which and where its log is."""


class Child:
    """One program with its log. It ends with us, even if we are killed.

    Args:
        name: what to call it in messages and for its log file.
        argv: its command line.
        log: where its output goes, appended.
        environ: beside our own environment.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._environ = {**os.environ, **(environ or {})}
        self._argv = argv
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    @property
    def advice(self) -> str:
        """What a person should look at."""
        return f"look into {self._log}"

    async def start(self) -> None:
        """Start it; its terminal signals are ours alone."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self._log.exists() or self._log.stat().st_size > _KEPT_LOG_BYTES
        with self._log.open("wb" if fresh else "ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=self._environ,
                preexec_fn=_end_with_parent,
            )

    async def ended(self) -> int:
        """Wait for its end and return its exit code; negative is a signal's number."""
        if self._process is None:
            raise ChildError(f"{self.name} was not started")
        return await self._process.wait()

    async def stop(self, patience_s: float) -> None:
        """Ask it to stop and wait; after `patience_s` it is killed."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(patience_s):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def keep_running(self, say: Callable[[str], None]) -> None:
        """Start it again whenever it ends by itself; sooner when it had run well."""
        loop = asyncio.get_running_loop()
        wait_s = began_s = 0.0
        while True:
            code = await self.ended()
            calm = loop.time() - began_s > _CALM_S
            wait_s = 0.0 if calm else min(max(2 * wait_s, 0.5), _LONGEST_WAIT_S)
            say(f"{self.name} {_how(code)}; it is started again (log: {self._log})")
            await asyncio.sleep(wait_s)
            began_s = loop.time()
            await self.start()

    def failure(self, code: int) -> ChildError:
        """Return why it did not start: the last line it wrote."""
        lines = self._log.read_text("utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else "it wrote nothing"
        return ChildError(f"{self.name} {_how(code)}: {last} (log: {self._log})")


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)
