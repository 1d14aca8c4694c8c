"""One poll cycle of a battery controller over a link: ask, wait, ask again, give up in time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from edge.drivers.base import Ask, BatteryReading, Decoder, Frame, PollPolicy
from edge.drivers.turns import Turns
from edge.links.base import Link, LinkDownError


class Poller:
    """Asks one controller as its policy says. Expected trouble is counted, never raised.

    `poll` and `ask` may be called at the same time: one waits until the other has its answer.
    `on_reading` is called with what each poll read.
    `details_every`: ask the details (cell voltages) every so many cycles, 0 = never.
    The slow questions (model, event counters) wait for the second cycle, so that the first reading
    is there early, and at most one of them is asked a cycle, none in a cycle with a rare one.
    """

    def __init__(
        self,
        link: Link,
        decoder: Decoder,
        *,
        policy: PollPolicy | None = None,
        details_every: int = 1,
    ) -> None:
        self._link = link
        self._decoder = decoder
        self._policy = policy or decoder.policy
        self._details_every = details_every
        self._counts: Counter[str] = Counter()
        self._missed_in_row = 0
        self._heard_at_s: float | None = None
        self._connection = 0
        self._slow: list[Ask] = []
        self._rare = Turns(self._policy.rare, self._policy.rare_every_s)
        self._events_due_s = 0.0
        self._protection_bits = 0
        self._trouble: str | None = None
        self._turn = asyncio.Lock()
        self.on_reading: Callable[[BatteryReading], None] | None = None

    @property
    def policy(self) -> PollPolicy:
        """How the controller is asked."""
        return self._policy

    @property
    def link(self) -> Link:
        """The line to the controller; whoever holds `turn` may use it."""
        return self._link

    @property
    def turn(self) -> asyncio.Lock:
        """Held through each cycle and question: a second part on the same wire takes it too."""
        return self._turn

    @property
    def reading(self) -> BatteryReading | None:
        """The newest reading, whoever asked for it; None before the first."""
        return self._decoder.reading()

    @property
    def trouble(self) -> str | None:
        """What was wrong with the port in the last cycle and what to do; None when nothing was."""
        return self._trouble

    @property
    def offline(self) -> bool:
        """Whether so many cycles in a row were missed that the battery counts as absent."""
        return self._missed_in_row >= self._policy.offline_after

    @property
    def counters(self) -> dict[str, int]:
        """Cycles, misses, time-outs, retries … and bad frames as `bad_<reason>`, since start."""
        return {**self._counts, **self._decoder.counters.by_name()}

    @property
    def about(self) -> Mapping[str, Any]:
        """What the controller said about itself, such as `hardware`; empty until asked."""
        return self._decoder.about

    async def poll(self) -> BatteryReading | None:
        """Run one cycle. None when the controller did not answer or the port is gone."""
        async with self._turn:
            reading = await self._poll()
        if reading is not None and self.on_reading is not None:
            self.on_reading(reading)
        return reading

    async def ask(self, ask: Ask) -> Frame | None:
        """Put one question, repeated as the policy says. None when no answer came.

        Raises LinkDownError.
        """
        async with self._turn:
            self._forget_line()
            return await self._ask(ask)

    async def _poll(self) -> BatteryReading | None:
        self._counts["cycles"] += 1
        self._trouble = None
        try:
            reading = await self._cycle()
        except LinkDownError as trouble:
            self._trouble = str(trouble)
            self._counts["link_down"] += 1
            reading = None
        if reading is None:
            self._counts["missed"] += 1
            self._missed_in_row += 1
            self._forget_details()
            # Whoever answers next may be another pack.
            self._connection = 0
        else:
            self._missed_in_row = 0
        return reading

    async def _ask(self, ask: Ask) -> Frame | None:
        tries = self._policy.tries
        if self._may_sleep():
            tries += 1
        for attempt in range(tries):
            if attempt:
                self._counts["retries"] += 1
            await self._leave_gap()
            await self._link.send(ask.request)
            answer = await self._answer(ask.answer)
            if answer is not None:
                return answer
            self._counts["timeouts"] += 1
        return None

    async def _leave_gap(self) -> None:
        if self._policy.gap_s and self._heard_at_s is not None:
            now_s = asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, self._heard_at_s + self._policy.gap_s - now_s))

    async def _cycle(self) -> BatteryReading | None:
        self._forget_line()
        answer = await self._ask(self._policy.main)
        if answer is None or answer.refused:
            return None
        cycle = self._counts["cycles"] - 1
        if self._details_every and cycle % self._details_every == 0:
            for detail in self._policy.details:
                if await self._ask(detail) is None:
                    self._decoder.forget_details(detail.answer)
        asked_rare = await self._ask_rare() if cycle and self._details_every else False
        reading = self._decoder.reading()
        if cycle:
            self._plan_slow(reading)
            if self._slow and not asked_rare:
                await self._ask(self._slow.pop(0))
        return reading

    async def _ask_rare(self) -> bool:
        """Ask those whose turn it is; whether there was one."""
        due = self._rare.due(asyncio.get_running_loop().time()) if self._policy.rare else []
        for ask in due:
            answer = await self._ask(ask)
            self._rare.asked(ask, answered=answer is not None)
        return bool(due)

    def _forget_details(self) -> None:
        self._decoder.forget_details()
        self._rare.start_over()

    def _plan_slow(self, reading: BatteryReading | None) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._link.connections != self._connection:
            self._connection = self._link.connections
            self._slow = list(self._policy.once)
            self._events_due_s = now_s
        bits = (reading.protection_bits if reading else None) or 0
        if bits & ~self._protection_bits or now_s >= self._events_due_s:
            self._slow += [ask for ask in self._policy.events if ask not in self._slow]
            self._events_due_s = now_s + self._policy.events_every_s
        self._protection_bits = bits

    def _forget_line(self) -> None:
        """Throw away what came too late: it answers nothing that is asked now."""
        self._counts["stale_bytes"] += self._link.drain()
        self._decoder.reset()

    async def _answer(self, key: int) -> Frame | None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._policy.timeout_s
        while (left_s := until_s - loop.time()) > 0:
            data = await self._link.receive(left_s)
            frames = self._decoder.feed(data) if data else self._decoder.line_quiet()
            answer = None
            for frame in frames:
                if frame.op is None and frame.key == key:
                    answer = frame
            if answer is not None:
                self._heard_at_s = loop.time()
                return answer
        return None

    def _may_sleep(self) -> bool:
        if self._heard_at_s is None:
            return True
        now_s = asyncio.get_running_loop().time()
        return now_s - self._heard_at_s >= self._policy.sleeps_after_s
