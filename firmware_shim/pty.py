"""Serves a controller on a pseudo terminal: any number of them in one event loop.

A controller only answers, unless it is a `Talker`: then it also speaks on its own.
"""

import asyncio
import contextlib
import hashlib
import math
import os
import socket
import tty
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

from firmware_shim.faults import Faults

_READ_BYTES: Final = 4096
_BITS_A_BYTE: Final = 10
_PACED_BYTES: Final = 8
_LONGEST_QUEUE_S: Final = 1.0


class Controller(Protocol):
    """A controller's state machine, as the shims of this package are."""

    faults: Faults

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes; return the replies to the requests they complete."""


@runtime_checkable
class Talker(Protocol):
    """A controller that speaks unasked as well.

    `due_s` is when it next wants to, in its own clock's seconds: `math.inf` for never, any past
    time for at once. The port reads it after every `receive` and `tick`, and when the controller
    calls `wake`, which the port sets: do so when something else, such as a dial, moved `due_s`.
    """

    due_s: float
    wake: Callable[[], None] | None

    def tick(self, now_s: float) -> list[bytes]:
        """Return what it says at `now_s`, and move `due_s` on."""


@runtime_checkable
class OneWire(Protocol):
    """A controller on a line of a single wire: the other end hears its own bytes come back."""

    one_wire: Literal[True]


class Port:
    """The served line. `path` is what to open, the link if one was asked for."""

    def __init__(
        self,
        controller: Controller,
        master: int,
        path: str,
        *,
        baud: int | None,
        clock: Callable[[], float] | None,
    ) -> None:
        self.path = path
        self.requests = 0
        self._controller = controller
        self._master = master
        self._baud = baud
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._free_at_s = 0.0
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._echoes = isinstance(controller, OneWire)
        self._talker = controller if isinstance(controller, Talker) else None
        self._talk_timer: asyncio.TimerHandle | None = None
        if self._talker is not None:
            self._talker.wake = self._plan_talk
            self._plan_talk()

    def readable(self) -> None:
        """Take what the other end wrote."""
        try:
            data = os.read(self._master, _READ_BYTES)
        except (BlockingIOError, OSError):
            return
        if self._echoes:
            self._send(data, max(self._loop.time(), self._free_at_s))
            self._write_soon()
        now_s = self._clock()
        if self._controller.faults.loses_request(now_s):
            return
        replies = self._controller.receive(data, now_s)
        self.requests += len(replies)
        self._say(replies, self._loop.time() + self._line_s(len(data)))
        self._plan_talk()

    def stop(self) -> None:
        """Write no more."""
        self._waiting.clear()
        if self._talker is not None:
            self._talker.wake = None
        for timer in (self._timer, self._talk_timer):
            if timer is not None:
                timer.cancel()

    def _plan_talk(self) -> None:
        """Set the clock for what the controller says on its own."""
        if self._talk_timer is not None:
            self._talk_timer.cancel()
            self._talk_timer = None
        if self._talker is not None and self._talker.due_s < math.inf:
            wait_s = max(self._talker.due_s - self._clock(), 0.0)
            self._talk_timer = self._loop.call_later(wait_s, self._talk, self._talker)

    def _talk(self, talker: Talker) -> None:
        self._talk_timer = None
        frames, now_s = talker.tick(self._clock()), self._loop.time()
        # A line that is too slow for all that is said loses it, and does not tell it ever later.
        if self._free_at_s - now_s < _LONGEST_QUEUE_S:
            self._say(frames, now_s)
        self._plan_talk()

    def _say(self, frames: list[bytes], due_s: float) -> None:
        """Put frames on the line from `due_s` on, as the line's faults leave them."""
        for after_s, piece in self._controller.faults.on_line(frames):
            self._send(piece, max(due_s + after_s, self._free_at_s))
        self._write_soon()

    def _write_soon(self) -> None:
        if self._timer is None:
            self._write_due()

    def _send(self, data: bytes, due_s: float) -> None:
        """Queue bytes for `due_s`, at the line's pace if there is one."""
        step = _PACED_BYTES if self._baud else len(data)
        for at in range(0, len(data), step):
            part = data[at : at + step]
            due_s += self._line_s(len(part))
            self._waiting.append((due_s, part))
        self._free_at_s = due_s

    def _write_due(self) -> None:
        self._timer = None
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            self._write(self._waiting.popleft()[1])
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._write_due)

    def _write(self, data: bytes) -> None:
        # Nobody reads: a real line loses such bytes too.
        with contextlib.suppress(OSError):
            os.write(self._master, data)

    def _line_s(self, count: int) -> float:
        return count * _BITS_A_BYTE / self._baud if self._baud else 0.0


@asynccontextmanager
async def serve(
    controller: Controller,
    *,
    link_path: Path | None = None,
    baud: int | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[Port]:
    """Answer on a new pty, and under `link_path` if given, until the block is left.

    `baud` paces both directions like a real line, None answers at once; `clock` is the controller's
    time in seconds, the event loop's if None. Raises FileExistsError when `link_path` is something
    else than a link or another shim serves it, and OSError when it cannot be made.
    """
    with _claimed(link_path):
        async with _served(controller, link_path, baud, clock) as port:
            yield port


@asynccontextmanager
async def _served(
    controller: Controller,
    link_path: Path | None,
    baud: int | None,
    clock: Callable[[], float] | None,
) -> AsyncIterator[Port]:
    master, slave = os.openpty()
    loop = asyncio.get_running_loop()
    target = os.ttyname(slave)
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        if link_path is not None:
            _link(link_path, target)
        path = str(link_path or target)
        port = Port(controller, master, path, baud=baud, clock=clock)
        loop.add_reader(master, port.readable)
        try:
            yield port
        finally:
            loop.remove_reader(master)
            port.stop()
    finally:
        if link_path is not None:
            _unlink(link_path, target)
        os.close(slave)
        os.close(master)


@contextlib.contextmanager
def _claimed(link: Path | None) -> Iterator[None]:
    """Hold the link's name in the kernel, which gives it back however this process ends."""
    if link is None:
        yield
        return
    name = hashlib.sha256(os.fsencode(link.absolute())).hexdigest()
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0mobility-shim-{name}")
        except OSError as trouble:
            raise FileExistsError(
                f"Another shim serves {link}; stop it or choose another path."
            ) from trouble
        yield


def _link(path: Path, target: str) -> None:
    if path.exists() and not path.is_symlink():
        raise FileExistsError(f"{path} is there and no link; choose another path or remove it.")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(path)
    except OSError as trouble:
        raise OSError(trouble.errno, trouble.strerror, str(path)) from trouble


def _unlink(path: Path, target: str) -> None:
    with contextlib.suppress(OSError):
        if path.readlink() == Path(target):
            path.unlink()
