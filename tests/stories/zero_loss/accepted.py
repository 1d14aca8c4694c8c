"""What vehicles say is durable: the lines they write to `MOBILITY_ACCEPT_FD`."""

import os
import threading
from collections.abc import Iterable

from tests.stories.zero_loss.verdict import Key

_CHUNK = 65_536


def read_line(device: str, line: str) -> Key:
    """Return the record that one line names: `lane epoch seq`."""
    lane, epoch, seq = line.split(" ")
    return Key(device, lane, epoch, int(seq))


class Accepted:
    """The records of one device, from one pipe for each run of its agent."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._guard = threading.Lock()
        self._keys: set[Key] = set()
        self._last: dict[tuple[str, str], int] = {}
        self._readers: list[threading.Thread] = []

    def __len__(self) -> int:
        with self._guard:
            return len(self._keys)

    def keys(self) -> set[Key]:
        """Return everything accepted so far."""
        with self._guard:
            return set(self._keys)

    def last(self) -> dict[tuple[str, str], int]:
        """Return the last accepted seq by (lane, epoch)."""
        with self._guard:
            return dict(self._last)

    def open_pipe(self) -> int:
        """Return the writing end for a new run; close it here once the agent has inherited it."""
        reading, writing = os.pipe()
        reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        reader.start()
        self._readers.append(reader)
        return writing

    def join(self, patience_s: float = 10.0) -> None:
        """Wait until every run's pipe is read to its end, which comes when its agent is dead."""
        for reader in self._readers:
            reader.join(patience_s)
            if reader.is_alive():
                raise TimeoutError(f"an agent of {self.device} still holds its pipe")

    def _read(self, descriptor: int) -> None:
        torn = b""
        with os.fdopen(descriptor, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_CHUNK):
                *lines, torn = (torn + chunk).split(b"\n")
                self._add(read_line(self.device, line.decode("ascii")) for line in lines)
        # A line cut off by kill -9 says nothing; the next run repeats it.

    def _add(self, keys: Iterable[Key]) -> None:
        with self._guard:
            for key in keys:
                self._keys.add(key)
                at = key.lane, key.epoch
                self._last[at] = max(self._last.get(at, 0), key.seq)
