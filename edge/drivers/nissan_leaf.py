"""Nissan Leaf and e-NV200: what the battery broadcasts on the EV-CAN, 500 kbit/s.

    1DB  10 ms  current, voltage, relays, failsafe, usable charge (ZE1) · counter, CRC
    1DC  10 ms  power limits · counter, CRC          55B 100 ms  charge · counter, CRC
    5BC 100 ms  gids (about 77 Wh each), health       5C0 500 ms  temperatures, one a frame

The layout is in `dbc/nissan_leaf_*.dbc`, its meaning in the maps beside. AZE0 and ZE1 differ in the
usable charge and in where 5C0 says which temperature it has: a car counts as an AZE0 until
something is heard that only a ZE1 sends. The temperatures are those of the last wake-up. Current is
positive while charging, on the wire too.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from edge.drivers.base import Explained
from edge.drivers.broadcast import BroadcastDecoder, Key, explain, ready_of
from edge.drivers.can import CanFrame
from edge.drivers.lines import Line, data_of, id_of
from edge.drivers.manifest import Listening, Ready

_VERSION: Final = 1
_PACK_STATE: Final = (0x1DB, False)
_PACK_HISTORY: Final = 0x5C0
_AZE0_KIND: Final = 0xC0
_ZE1_ONLY: Final = frozenset({0x1C2, 0x1ED, 0x3B8})
_USABLE: Final = 0x7F


@cache
def aze0() -> Ready:
    """Return how a Leaf of 2013 to 2017 is read."""
    return ready_of("nissan_leaf_aze0", _VERSION)


@cache
def ze1() -> Ready:
    """Return how a Leaf of 2018 and later is read."""
    return ready_of("nissan_leaf_ze1", _VERSION)


class NissanLeafDecoder(BroadcastDecoder):
    """Begins as an AZE0 and learns that it is a ZE1; a manifest of the twin ends both."""

    def __init__(self) -> None:
        super().__init__(aze0())
        ze1()  # parsed now, not while frames wait
        self._learns = True

    def use(self, ready: Ready | None) -> None:
        """Read by another manifest from now on; None begins as an AZE0 again."""
        super().use(ready)
        self._learns = ready is None

    def feed(self, frames: Iterable[CanFrame], now_s: float) -> Sequence[CanFrame]:
        """Take what was heard, in order; frames that are not for it are skipped unseen."""
        heard = list(frames)
        if self._learns and any(f.can_id in _ZE1_ONLY and not f.extended for f in heard):
            self._is_ze1()
        return super().feed(heard, now_s)

    def _keep(self, key: Key, listening: Listening, data: bytes, now_s: float) -> None:
        if self._learns and key == _PACK_STATE and data[4] & _USABLE not in {0, _USABLE}:
            self._is_ze1()
        super()._keep(key, listening, data, now_s)

    def _is_ze1(self) -> None:
        """Go on with what was heard: the messages are the same."""
        self._learns = False
        self._ready, self._listens = ze1(), ze1().listens


def explain_leaf(line: Line) -> Explained:
    """Decode one captured frame of either generation. Raises FrameError and BadLineError."""
    of_old = (
        id_of(line) == _PACK_HISTORY
        and line.hex is not None
        and any(byte & _AZE0_KIND for byte in data_of(line)[:1])
    )
    return explain(line, aze0() if of_old else ze1())
