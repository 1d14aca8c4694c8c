"""What other processes use: CPU seconds, memory, bytes written; and how they are started."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cloud.kit.engine import children_of

ROOT = Path(__file__).resolve().parent.parent.parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return CPU seconds of a process, all its threads, without its children."""
    with contextlib.suppress(OSError):  # the kernel's CPU clock of that process, in nanoseconds
        return time.clock_gettime((~pid << 3) | 2)
    return sum(_stat(pid)[11:13]) / _TICKS_PER_S


def family_cpu_s(pid: int) -> float:
    """Return CPU seconds of a process and of its children, those that are gone too."""
    gone = sum(_stat(pid)[13:15]) / _TICKS_PER_S
    living = 0.0
    for child in children_of(pid):
        with contextlib.suppress(OSError):
            living += cpu_s(child)
    return cpu_s(pid) + gone + living


def rss_mb(pid: int) -> float:
    """Return resident memory in MB."""
    return _status_kb(pid, "VmRSS") / 1024


def private_mb(pid: int) -> float | None:
    """Return memory that is this process's own, in MB; None when the kernel does not say."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


def io_counters(pid: int | str = "self") -> dict[str, int]:
    """Return /proc/PID/io: `wchar` went through write(), `write_bytes` to the block layer."""
    text = Path(f"/proc/{pid}/io").read_text("utf-8")
    return {key: int(value) for key, value in (line.split(": ") for line in text.splitlines())}


def module(name: str, *arguments: str) -> list[str]:
    """Return the command line of one of our own modules."""
    return [sys.executable, "-m", name, *arguments]


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    log: Path,
    *,
    environ: Mapping[str, str] | None = None,
    pass_fds: Iterable[int] = (),
    patience_s: float = 20,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child, its output in `log`; at the end ask it to stop, then make it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            pass_fds=tuple(pass_fds),
        )
    try:
        yield child
    except RuntimeError as error:
        if child.poll() is None:
            raise
        name = Path(argv[0]).name
        raise RuntimeError(f"{error}; {name} had ended ({last_words(log)})") from error
    finally:
        if child.stdin is not None:
            child.stdin.close()
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(patience_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def until(
    what: str,
    ready: Callable[[], bool],
    *,
    timeout_s: float,
    child: subprocess.Popen[bytes],
    log: Path,
) -> None:
    """Wait until `ready()`; raises RuntimeError when the child dies first or it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if child.poll() is not None or time.monotonic() > deadline:
            state = "ended" if child.poll() is not None else f"is not there after {timeout_s:.0f} s"
            raise RuntimeError(f"{what} {state}: {last_words(log)}")
        time.sleep(0.02)


def last_words(log: Path) -> str:
    """Return the end of a child's output, on one line."""
    words = log.read_text("utf-8", errors="replace").strip().splitlines()[-3:]
    return " / ".join(words) or "it said nothing"


def _stat(pid: int) -> list[int]:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return [0, *(int(field) for field in fields[1:])]


def _status_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(f"/proc/{pid}/status has no {name}")
