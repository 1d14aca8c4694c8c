"""Engines as our own children: started with a log, found again after a crash, restarted."""

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from cloud.kit.folder import DataFolder, port_is_free
from cloud.kit.metrics import ENGINE_RESTARTS

log = logging.getLogger(__name__)

_POLL_S = 0.02
_WATCH_EVERY_S = 0.1
_BACKOFF_MAX_S = 5.0
_STOP_PATIENCE_S = 30.0
_LOG_KEEP_BYTES = 10_000_000


class EngineError(RuntimeError):
    """An engine cannot run; the message is one sentence with the next step."""


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user a child runs as."""

    uid: int
    gid: int


def spawn(
    argv: Sequence[str | Path], *, log_path: Path, cwd: Path, account: Account | None = None
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C reaches only us."""
    log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log_path.exists() and log_path.stat().st_size > _LOG_KEEP_BYTES:
        log_path.replace(log_path.with_suffix(".log.1"))
    with log_path.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - argv is ours, no shell
            [os.fspath(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={"PATH": os.defpath, "TZ": "UTC", "LC_ALL": "C"},
            start_new_session=True,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )


def runs(pid: int, mark: str) -> bool:
    """Tell whether a living process with this id carries the mark on its command line."""
    try:
        return mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    """Return the ids of the living direct children of a process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in field 2 may hold spaces and brackets: count from its last bracket.
            parent = entry.read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                found.append(int(entry.parent.name))
    return found


class Engine(ABC):
    """One long-lived child of a data folder.

    A child that outlived its owner (kill -9) is found by its mark and adopted at the next
    start. Ports are kept between runs; at a first start busy ones are stepped around, a
    restart keeps them so that clients find their way back.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    wanted_ports: ClassVar[Mapping[str, int]]
    stop_signals: ClassVar[Sequence[signal.Signals]]
    ready_timeout_s: ClassVar[float]

    def __init__(self, data_dir: Path) -> None:
        self.folder = DataFolder(data_dir)
        self.log_path = self.folder.path / "logs" / f"{self.name}.log"
        self.ports: dict[str, int] = self.folder.ports(self.name)
        self._child: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._guard = threading.RLock()
        self._unwatch = threading.Event()
        self._watcher: threading.Thread | None = None

    @abstractmethod
    def _prepare(self) -> None:
        """Make the store if there is none; raise EngineError when it cannot be used."""

    @abstractmethod
    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start the child on `self.ports`."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Tell whether the child on `self.ports` serves us."""

    @abstractmethod
    def _find(self) -> int | None:
        """Return the process of this folder that may be adopted; set `self.ports` to its own."""

    @property
    def mark(self) -> str:
        """What a child of this folder carries on its command line."""
        return f"mobility-{self.name}-{self.folder.secret('instance')[:12]}"

    @property
    def pid(self) -> int | None:
        """The running child's process id."""
        return self._pid if self.alive() else None

    def alive(self) -> bool:
        """Tell whether the child runs (it may not serve yet)."""
        with self._guard:
            if self._child is not None:
                return self._child.poll() is None
            return self._pid is not None and runs(self._pid, self.mark)

    def serves(self) -> bool:
        """Tell whether an engine of this folder answers, whoever started it."""
        return (self._pid or self._find()) is not None and self._is_ready()

    def _start(self) -> bool:
        """Start or adopt the child and wait until it serves; True when it was started here."""
        with self._guard, self.folder.locked(self.name):
            if self.alive():
                return False
            if (found := self._find()) is not None:
                self._adopt(found)
                return False
            self._prepare()
            self._launch()
            return True

    def _adopt(self, pid: int) -> None:
        self._child, self._pid = None, pid
        log.info("%s of %s already runs (pid %d)", self.title, self.folder.path, pid)
        self._await_ready()

    def _launch(self, attempts: int = 5) -> None:
        for attempt in range(attempts):
            self.ports = self.folder.choose_ports(self.name, self.wanted_ports)
            self._run_child()
            try:
                self._await_ready()
            except EngineError:
                lost_a_port = not all(map(port_is_free, self.ports.values()))
                if not lost_a_port or attempt == attempts - 1:
                    raise
            else:
                return

    def _relaunch(self) -> None:
        """Start a dead child again where clients expect it."""
        with self._guard, self.folder.locked(self.name):
            if self.alive():
                return
            if (found := self._find()) is not None:
                self._adopt(found)
                return
            self._run_child()
            self._await_ready()

    def _run_child(self) -> None:
        self._child = self._spawn()
        self._pid = self._child.pid

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self.ready_timeout_s
        while time.monotonic() < deadline:
            if not self.alive():
                self._forget()
                raise EngineError(
                    f"{self.title} stopped while starting ({self._last_words()}); "
                    f"see {self.log_path}"
                )
            if self._is_ready():
                return
            time.sleep(_POLL_S)
        raise EngineError(
            f"{self.title} runs but does not answer after {self.ready_timeout_s:.0f} s; "
            f"see {self.log_path}"
        )

    def _last_words(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            return "no log"
        return lines[-1].strip() if lines else "it said nothing"

    def stop(self) -> None:
        """Ask the child to stop and wait; ask harder when it does not."""
        self.unwatch()
        with self._guard:
            for request in self.stop_signals:
                if not self.alive() or self._pid is None:
                    break
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, request)
                self._await_death(_STOP_PATIENCE_S)
            self._forget()

    def kill(self) -> None:
        """Kill the child and its children with SIGKILL, as a crash would."""
        with self._guard:
            if self._pid is None or not self.alive():
                return
            family = [self._pid, *children_of(self._pid)]
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._await_death(_STOP_PATIENCE_S)

    def _await_death(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self.alive() and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _forget(self) -> None:
        self._child, self._pid = None, None

    def watch(self) -> None:
        """Start the child again, on the same ports, whenever it dies; until `stop` or `unwatch`."""
        if self._watcher is not None:
            return
        self._unwatch.clear()
        self._watcher = threading.Thread(
            target=self._keep_alive, name=f"watch-{self.name}", daemon=True
        )
        self._watcher.start()

    def unwatch(self) -> None:
        """Let the child be."""
        self._unwatch.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None

    def _keep_alive(self) -> None:
        pause_s = _WATCH_EVERY_S
        while not self._unwatch.wait(pause_s):
            pause_s = min(pause_s, _WATCH_EVERY_S)
            if self.alive():
                continue
            ended, noticed_s = self._ending(), time.monotonic()
            try:
                self._relaunch()
            except (EngineError, OSError) as trouble:
                pause_s = min(max(pause_s * 2, 0.5), _BACKOFF_MAX_S)
                log.error(  # noqa: TRY400 - one calm line; the engine's own log has the rest
                    "%s %s and does not start again (%s); next attempt in %.1f s",
                    self.title,
                    ended,
                    trouble,
                    pause_s,
                )
            else:
                pause_s = _WATCH_EVERY_S
                ENGINE_RESTARTS.labels(self.name).inc()
                log.warning(
                    "%s %s; started again on the same ports in %.2f s",
                    self.title,
                    ended,
                    time.monotonic() - noticed_s,
                )

    def _ending(self) -> str:
        """Say how the child ended, as far as its parent was told."""
        code = None if self._child is None else self._child.poll()
        if code is None:
            return "ended"
        return f"ended (killed by signal {-code})" if code < 0 else f"ended (exit code {code})"

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
