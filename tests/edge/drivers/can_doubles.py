"""A small battery on a bus and its decoders, for tests of what lies between them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from edge.drivers.base import BatteryReading, WireCounters
from edge.drivers.can import CanFrame, CanPolicy
from firmware_shim import can as shim
from firmware_shim.faults import Faults

SPOKEN, ASKED, ANSWERED = 0x100, 0x200, 0x201


def spoken(voltage_v: float, *, can_id: int = SPOKEN) -> CanFrame:
    """Return the battery's frame: its voltage in tenths, big-endian."""
    return CanFrame(can_id, round(voltage_v * 10).to_bytes(2, "big"))


class Listener:
    """Hears `SPOKEN` and asks nothing."""

    policy: ClassVar[CanPolicy] = CanPolicy(
        listens=frozenset({(SPOKEN, False)}), stale_s=0.5, offline_after=2, answers_s=0.05
    )
    ordered_bits: ClassVar[int] = 0

    def __init__(self) -> None:
        self.counters = WireCounters()
        self.batches: list[int] = []
        self._heard: tuple[float, BatteryReading] | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        return {}

    @property
    def due_s(self) -> float:
        return math.inf

    @property
    def waiting(self) -> bool:
        return False

    def begin(self, now_s: float) -> Sequence[CanFrame]:
        return ()

    def feed(self, frames: Iterable[CanFrame], now_s: float) -> Sequence[CanFrame]:
        wanted = [frame for frame in frames if frame.can_id == SPOKEN]
        self.batches.append(len(wanted))
        for frame in wanted:
            self.counters.frames += 1
            voltage_v = int.from_bytes(frame.data, "big") / 10
            self._heard = now_s, BatteryReading(voltage_v=voltage_v)
        return ()

    def tick(self, now_s: float) -> Sequence[CanFrame]:
        return ()

    def reading(self, now_s: float) -> BatteryReading | None:
        if self._heard is None or now_s - self._heard[0] > self.policy.stale_s:
            return None
        return self._heard[1]


class Asker(Listener):
    """Asks with `ASKED`, up to three times, 10 ms apart; hears `ANSWERED`."""

    again_s: ClassVar[float] = 0.01

    policy: ClassVar[CanPolicy] = replace(
        Listener.policy, listens=frozenset({(ANSWERED, False)}), answers_s=0.2
    )

    def __init__(self) -> None:
        super().__init__()
        self._tries_left = 0
        self._due_s = math.inf

    @property
    def due_s(self) -> float:
        return self._due_s

    @property
    def waiting(self) -> bool:
        return self._due_s < math.inf

    def begin(self, now_s: float) -> Sequence[CanFrame]:
        self._tries_left = 3
        return self.tick(now_s)

    def tick(self, now_s: float) -> Sequence[CanFrame]:
        if not self._tries_left:
            self._due_s = math.inf
            return ()
        self._tries_left -= 1
        self._due_s = now_s + self.again_s
        return (CanFrame(ASKED, b""),)

    def feed(self, frames: Iterable[CanFrame], now_s: float) -> Sequence[CanFrame]:
        for frame in frames:
            if frame.can_id == ANSWERED:
                super().feed([frame._replace(can_id=SPOKEN)], now_s)
                self._due_s = math.inf
        return ()


class PatientAsker(Asker):
    """One who asks again only when a busy machine has surely answered."""

    again_s = 1.0
    policy: ClassVar[CanPolicy] = replace(Asker.policy, answers_s=3.0)


class Node:
    """The battery: speaks every `period_s`, and answers when asked."""

    def __init__(
        self,
        voltage_v: float = 350.0,
        *,
        period_s: float = math.inf,
        bitrate: int = 500_000,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.bitrate = bitrate
        self.due_s = 0.0 if period_s < math.inf else math.inf
        self.wake: Callable[[], None] | None = None
        self.heard: list[shim.CanFrame] = []
        self.deaf_to = 0
        self._voltage_v = voltage_v
        self._period_s = period_s

    def _says(self, can_id: int) -> list[shim.CanFrame]:
        frame = spoken(self._voltage_v, can_id=can_id)
        return [shim.CanFrame(frame.can_id, frame.data)]

    def receive(self, frame: shim.CanFrame, now_s: float) -> list[shim.CanFrame]:
        self.heard.append(frame)
        if frame.can_id != ASKED or frame.extended:
            return []
        if self.deaf_to:
            self.deaf_to -= 1
            return []
        return self._says(ANSWERED)

    def tick(self, now_s: float) -> list[shim.CanFrame]:
        self.due_s = now_s + self._period_s
        return self._says(SPOKEN)

    def set(self, values: Mapping[str, Any]) -> None:
        if set(values) != {"voltage_v"}:
            raise ValueError("the known one is: voltage_v")
        self._voltage_v = values["voltage_v"]
