"""A line on which bytes go wrong, in front of any shim."""

import random
from collections.abc import Callable
from typing import Literal

from firmware_shim.faults import Faults
from firmware_shim.pty import Controller, Talker

How = Literal["flip", "insert"]


class NoisyLine:
    """A shim behind a line on which each byte has bad luck with `rate`, in both directions.

    "flip" makes another byte of it; "insert" puts a random byte before it. An slcan adapter's line
    has no checksum of its own, as a bus has: there a byte too many is noticed and another digit
    would not be, so that its noise is of the second kind.
    """

    def __init__(self, inner: Controller, *, rate: float, how: How, seed: int) -> None:
        self.inner = inner
        self.faults: Faults = inner.faults
        self.spoiled = 0
        self._rate = rate
        self._how = how
        self._random = random.Random(seed)

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes as the line leaves them; return spoiled replies."""
        return [self._spoil(reply) for reply in self.inner.receive(self._spoil(data), now_s)]

    def _spoil(self, data: bytes) -> bytes:
        spoiled = bytearray()
        for byte in data:
            hit = self._random.random() < self._rate
            self.spoiled += hit
            if hit and self._how == "insert":
                spoiled.append(self._random.randrange(256))
            flipped = self._random.randint(1, 255) if hit and self._how == "flip" else 0
            spoiled.append(byte ^ flipped)
        return bytes(spoiled)


class NoisyTalker(NoisyLine):
    """The same for a shim that speaks unasked."""

    @property
    def due_s(self) -> float:
        """When the shim next wants to speak."""
        return self._talker.due_s

    @property
    def wake(self) -> Callable[[], None] | None:
        """What the shim calls when that moved."""
        return self._talker.wake

    @wake.setter
    def wake(self, call: Callable[[], None] | None) -> None:
        self._talker.wake = call

    def tick(self, now_s: float) -> list[bytes]:
        """Return what the shim says, spoiled."""
        return [self._spoil(said) for said in self._talker.tick(now_s)]

    @property
    def _talker(self) -> Talker:
        assert isinstance(self.inner, Talker)
        return self.inner


def noisy(inner: Controller, *, rate: float, how: How, seed: int) -> NoisyLine:
    """Put a noisy line before a shim, whether it speaks unasked or not."""
    kind = NoisyTalker if isinstance(inner, Talker) else NoisyLine
    return kind(inner, rate=rate, how=how, seed=seed)
