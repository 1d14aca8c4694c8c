"""A battery on a CAN bus: heard whenever it speaks, asked when it is polled."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.drivers.base import BatteryReading
from edge.drivers.can import CanDecoder, CanFrame, CanPolicy
from edge.links.base import LinkDownError
from edge.links.can import CanLink, CountsLine


class CanPoller:
    """Reads one battery as its decoder wants. Expected trouble is counted, never raised.

    Frames go to the decoder as they come, also between polls. A poll returns when no answer is
    awaited and there is a reading, after `policy.answers_s` at the latest. A port that brings
    nothing is closed and opened anew: an adapter that was reset has forgotten the bus.
    `clock` is monotonic seconds. `on_reading` is called with what each poll read.
    """

    def __init__(
        self,
        link: CanLink,
        decoder: CanDecoder,
        *,
        policy: CanPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._decoder = decoder
        self._policy = policy or decoder.policy
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._missed_in_row = 0
        self._heard_before = 0
        self._trouble: str | None = None
        self._turn = asyncio.Lock()
        self._done: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = math.inf
        self.on_reading: Callable[[BatteryReading], None] | None = None
        link.on_frames = self._heard

    @property
    def policy(self) -> CanPolicy:
        """How the bus is listened to."""
        return self._policy

    @property
    def decoder(self) -> CanDecoder:
        """What reads the frames."""
        return self._decoder

    @property
    def reading(self) -> BatteryReading | None:
        """The newest reading; None before the first and when it is stale."""
        return self._decoder.reading(self._clock())

    @property
    def trouble(self) -> str | None:
        """What was wrong with the port in the last poll and what to do; None when nothing was."""
        return self._trouble

    @property
    def offline(self) -> bool:
        """Whether so many polls in a row were missed that the battery counts as absent."""
        return self._missed_in_row >= self._policy.offline_after

    @property
    def counters(self) -> dict[str, int]:
        """Polls as `cycles`, misses, frames heard … and bad frames as `bad_<reason>`.

        What the adapter's line brought beside frames begins with `line_`.
        """
        line = self._link.counters if isinstance(self._link, CountsLine) else {}
        return {**self._counts, **line, **self._decoder.counters.by_name()}

    @property
    def about(self) -> Mapping[str, Any]:
        """What the controller said about itself, such as `hardware`; empty until it did."""
        return self._decoder.about

    async def poll(self) -> BatteryReading | None:
        """Run one cycle. None when nothing was heard in time or the port is gone."""
        async with self._turn:
            reading = await self._poll()
        if reading is not None and self.on_reading is not None:
            self.on_reading(reading)
        return reading

    async def _poll(self) -> BatteryReading | None:
        self._counts["cycles"] += 1
        self._trouble = None
        try:
            reading = await self._cycle()
        except LinkDownError as trouble:
            self._trouble = str(trouble)
            self._counts["link_down"] += 1
            reading = None
        if reading is not None:
            self._missed_in_row = 0
            return reading
        self._counts["missed"] += 1
        self._missed_in_row += 1
        await self._reopen()
        return None

    async def _reopen(self) -> None:
        """Close a port that brings nothing; the next poll opens it and tells the adapter anew."""
        silent = self._counts["heard"] == self._heard_before
        if silent or self._missed_in_row % self._policy.offline_after == 0:
            self._heard_before = self._counts["heard"]
            self._counts["reopened"] += self._trouble is None
            await self._link.close()

    async def _cycle(self) -> BatteryReading | None:
        self._link.open()
        self._send(self._decoder.begin(self._clock()))
        self._plan()
        if not self._answered():
            await self._wait()
        if self._trouble is not None:
            raise LinkDownError(self._trouble)
        return self.reading

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        done = self._done = loop.create_future()
        timer = loop.call_later(self._policy.answers_s, _finish, done)
        try:
            await done
        finally:
            timer.cancel()
            self._done = None

    def _heard(self, frames: Sequence[CanFrame]) -> None:
        self._counts["heard"] += len(frames)
        self._say(self._decoder.feed(frames, self._clock()))

    def _tick(self) -> None:
        self._timer = None
        self._timer_due_s = math.inf
        self._say(self._decoder.tick(self._clock()))

    def _say(self, frames: Sequence[CanFrame]) -> None:
        """Send what the decoder wants to say now; a poll that waits learns of a lost port."""
        try:
            self._send(frames)
        except LinkDownError as trouble:
            self._trouble = str(trouble)
        self._plan()
        if self._done is not None and (self._trouble is not None or self._answered()):
            _finish(self._done)

    def _send(self, frames: Sequence[CanFrame]) -> None:
        for frame in frames:
            self._link.send(frame)
            self._counts["sent"] += 1

    def _answered(self) -> bool:
        return not self._decoder.waiting and self.reading is not None

    def _plan(self) -> None:
        """Set the clock for the decoder's next `tick`."""
        due_s = self._decoder.due_s
        if due_s == self._timer_due_s and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_due_s = due_s
        if due_s < math.inf:
            wait_s = max(due_s - self._clock(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._tick)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
