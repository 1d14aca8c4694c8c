"""An slcan adapter on a tty: opened, told the bit rate, and read in bulk."""

import contextlib
import errno
import os
import termios
from collections.abc import Collection
from typing import Final

from edge.drivers.can import CanFrame
from edge.links.serial import hung_up
from edge.links.slcan import BITRATES, SlcanStream, line_of

BAUD: Final = 115_200
"""Of the tty, in baud; adapters on USB do not mind."""

_READ_BYTES: Final = 65_536
_MOST_READS: Final = 16
# A tty gives at most about a page at once: what is far less was all there was.
_ALL_BYTES: Final = 2048


class SlcanPort:
    """An adapter that was opened. Its errors are OSError; `stream` counts what came.

    `path` may end in `@BAUD`. `listen_only`: nothing is sent on the bus, not even
    acknowledgements. Raises OSError when it does not open, ValueError for a bit rate that adapters
    do not have.
    """

    def __init__(
        self,
        path: str,
        *,
        bitrate: int,
        listens: Collection[tuple[int, bool]] = (),
        listen_only: bool = False,
        stamped: bool = False,
        baud: int = BAUD,
    ) -> None:
        from serial import Serial

        path, _, tail = path.partition("@")
        command = _bitrate_command(bitrate)
        self.stream = SlcanStream(listens, stamped=stamped)
        try:
            self._tty = Serial(path, int(tail or baud), timeout=0, exclusive=True)
        except termios.error as trouble:
            raise OSError(*trouble.args) from trouble
        self._fd = int(self._tty.fileno())
        try:
            # An adapter that was left open takes no other bit rate: close it first. Its memory may
            # say that it adds time stamps.
            open_command = "L" if listen_only else "O"
            for words in ("", "C", "Z1" if stamped else "Z0", command, open_command):
                self.write(words.encode("ascii") + b"\r")
        except OSError:
            self._tty.close()
            raise

    @property
    def counters(self) -> dict[str, int]:
        """What the line brought beside good frames: bad lines, refusals, bytes of no frame."""
        stream = self.stream
        found = {f"line_bad_{reason}": count for reason, count in stream.counters.bad.items()}
        found["line_skipped_bytes"] = stream.counters.skipped_bytes
        return found | {"line_refusals": stream.refusals, "line_unwanted": stream.unwanted}

    def fileno(self) -> int:
        """Return the descriptor, readable when something came."""
        return self._fd

    def recv_frames(self) -> list[CanFrame]:
        """Return every frame that has come, without waiting. Raises OSError when it is lost."""
        pieces: list[bytes] = []
        for _ in range(_MOST_READS):
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                if hung_up(self._fd):
                    raise OSError(errno.EIO, "hung up")
                break
            pieces.append(data)
            if len(data) < _ALL_BYTES:
                break
        return self.stream.feed(b"".join(pieces))

    def send(self, frame: CanFrame) -> None:
        """Send a data frame. Raises OSError, and ValueError when it is none."""
        self.write(line_of(frame))

    def write(self, line: bytes) -> None:
        """Write one line whole or not at all. Raises OSError."""
        try:
            sent = os.write(self._fd, line)
        except BlockingIOError:
            sent = 0
        if sent < len(line):
            with contextlib.suppress(termios.error):
                termios.tcflush(self._fd, termios.TCOFLUSH)
            raise OSError(errno.EAGAIN, "takes no bytes")

    def close(self) -> None:
        """Take the adapter off the bus and give the port back."""
        with contextlib.suppress(OSError):
            os.write(self._fd, b"C\r")
        with contextlib.suppress(OSError, termios.error):
            self._tty.close()


def _bitrate_command(bitrate: int) -> str:
    try:
        return BITRATES[bitrate]
    except KeyError:
        known = ", ".join(str(each) for each in BITRATES)
        raise ValueError(f"slcan has no {bitrate} bit/s; choose one of {known}.") from None
