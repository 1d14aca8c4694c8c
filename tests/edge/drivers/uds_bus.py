"""A decoder that asks and a car that answers, with time that passes only here."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from edge.drivers.base import BatteryReading
from edge.drivers.can import CanFrame
from edge.drivers.uds_ev import UdsEvDecoder
from firmware_shim import can as shim

BEGAN_S = 1000.0
SERVICES = range(0x40)


@dataclass
class Bus:
    """`sent` is what the decoder said, and when; `spoils` may change or lose what it hears."""

    decoder: UdsEvDecoder
    node: shim.CanNode | None
    spoils: Callable[[CanFrame], Iterator[CanFrame]] | None = None
    now_s: float = BEGAN_S
    sent: list[tuple[float, CanFrame]] = field(default_factory=list)

    @property
    def questions(self) -> list[tuple[float, str]]:
        """The single frames that are no flow control, without padding."""
        return [
            (at_s, frame.data[1 : 1 + frame.data[0]].hex())
            for at_s, frame in self.sent
            if frame.data[0] >> 4 == 0
        ]

    def asked(self) -> list[str]:
        return [question for _, question in self.questions]

    def poll(self, *, at_most_s: float = 10.0) -> BatteryReading | None:
        """One poll, until nothing is awaited; return the reading then."""
        until_s = self.now_s + at_most_s
        self._say(list(self.decoder.begin(self.now_s)))
        while self.decoder.waiting and self.now_s < until_s:
            self._step(until_s)
        return self.decoder.reading(self.now_s)

    def poll_for(self, seconds: float, *, every_s: float = 1.0) -> list[BatteryReading | None]:
        """Poll again and again; return what each poll read."""
        until_s = self.now_s + seconds
        readings = []
        while self.now_s < until_s:
            next_s = self.now_s + every_s
            readings.append(self.poll())
            self.now_s = max(self.now_s, next_s)
        return readings

    def _step(self, until_s: float) -> None:
        node_s = self.node.due_s if self.node is not None else math.inf
        self.now_s = max(self.now_s, min(self.decoder.due_s, node_s, until_s))
        if self.node is not None and node_s <= self.now_s:
            self._hear(self.node.tick(self.now_s))
        if self.decoder.due_s <= self.now_s:
            self._say(list(self.decoder.tick(self.now_s)))

    def _say(self, frames: list[CanFrame]) -> None:
        for frame in frames:
            self.sent.append((self.now_s, frame))
            if self.node is not None:
                self._hear(self.node.receive(shim.CanFrame(*frame), self.now_s))

    def _hear(self, frames: list[shim.CanFrame]) -> None:
        for frame in frames:
            heard = CanFrame(*frame)
            spoiled = [heard] if self.spoils is None else list(self.spoils(heard))
            self._say(list(self.decoder.feed(spoiled, self.now_s)))
