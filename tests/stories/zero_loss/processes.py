"""Children of a story: each in a process group of its own, all gone when the story is over."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[3]
_PATIENCE_S = 10.0


def script(name: str) -> str:
    """Return the path of one of our console scripts, from the interpreter that runs the tests."""
    return str(Path(sys.executable).parent / name)


def wait_until(what: str, ready: Callable[[], bool], patience_s: float, every_s: float) -> None:
    """Ask again and again until `ready`; TimeoutError says what was waited for."""
    deadline = time.monotonic() + patience_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience_s:.0f} s in vain until {what}")
        time.sleep(every_s)


class Child:
    """One process and everything it starts."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._killed = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell whether it still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Send kill -9 to its group, once, and wait until it is gone."""
        if self._killed:
            return
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_PATIENCE_S)

    def demand(self) -> None:
        """Raise with the end of its log when it died by itself."""
        if not self.alive():
            words = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(
                f"{self.name} ended by itself with {self._process.returncode}:\n{words}"
            )


class Nursery:
    """Starts children and never leaves one behind."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self._children: list[Child] = []

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        inherit: Collection[int] = (),
    ) -> Child:
        """Start a child in its own session; its output goes to a log that later runs append to."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(environ or {})},
                pass_fds=tuple(inherit),
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children:
            child.kill()
