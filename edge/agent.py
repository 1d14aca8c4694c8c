"""The agent at work: it polls the battery, keeps the journal and lets the uplink run."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Literal

from edge import VERSION
from edge.clock import Clock
from edge.drivers.base import BatteryReading, to_signals
from edge.drivers.poller import Poller
from edge.journal import Journal
from edge.rules.battery import BatteryWatch
from edge.rules.pace import Commits, Pace, Schedule, pace_of
from edge.rules.state import Motion, VehicleState, next_motion
from edge.settings import Intervals
from edge.telling import Teller
from edge.uplink.uplink import Uplink

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Agent:
    """Everything a vehicle needs, already opened. Built only in `edge.main` and in tests."""

    poller: Poller
    journal: Journal
    uplink: Uplink
    intervals: Intervals
    clock: Clock
    teller: Teller
    _pace: Pace = field(init=False)
    _motion: Motion = field(default_factory=Motion)
    _watch: BatteryWatch = field(default_factory=BatteryWatch)
    _commits: Commits = field(default_factory=Commits)
    _recorded_s: float = float("-inf")
    _commit: Literal["flush", "seal"] | None = None
    _commit_due: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._pace = pace_of(self.intervals, self.state)

    @property
    def state(self) -> VehicleState:
        """What the vehicle is doing."""
        return self._motion.state

    @property
    def waiting(self) -> int:
        """How many records the journal holds that are not acknowledged."""
        return sum(held.last_seq - held.floor_seq + 1 for held in self.journal.lanes)

    async def run(self) -> None:
        """Work until cancelled. A task that fails unexpectedly ends the agent.

        The battery is read and the reading is durable before the uplink loads its libraries.
        """
        await self.journal.append_fact(
            "agent.started", {"boot": self.journal.boot_id, "version": VERSION}
        )
        await self._poll_once()
        await self._commit_once()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll(), name="poll-battery")
            tasks.create_task(self._keep_journal(), name="keep-journal")
            tasks.create_task(self.uplink.run(), name="uplink")

    async def _poll(self) -> None:
        schedule = Schedule(self.clock.mono_s())
        while True:
            await asyncio.sleep(schedule.after(self._pace.poll_s, self.clock.mono_s()))
            await self._poll_once()

    async def _poll_once(self) -> None:
        reading = await self.poller.poll()
        now_s = self.clock.mono_s()
        facts = self._watch.see(reading, offline=self.poller.offline)
        self._tell(reading, now_s)
        if reading is not None:
            self._follow(next_motion(self._motion, reading.current_a, now_s))
            self._record(reading, now_s, urgent=bool(facts))
        for kind, fields in facts:
            if fields:
                _log.warning("%s %s", kind, fields)
            await self.journal.append_fact(kind, fields)
        due = self._commits.due(self._pace, now_s)
        if due is not None:
            self._commit = "seal" if "seal" in (due, self._commit) else due
            self._commit_due.set()

    def _tell(self, reading: BatteryReading | None, now_s: float) -> None:
        poller = self.poller
        self.teller.polled(
            reading,
            offline=poller.offline,
            trouble=poller.trouble,
            model=poller.about.get("hardware"),
        )
        self.teller.state(now_s, self.state, unacked=self.waiting, connected=self.uplink.connected)

    def _follow(self, motion: Motion) -> None:
        if motion.state is not self._motion.state:
            self._pace = pace_of(self.intervals, motion.state)
        self._motion = motion

    def _record(self, reading: BatteryReading, now_s: float, *, urgent: bool) -> None:
        pace = self._pace
        if not urgent and now_s - self._recorded_s < pace.record_s - pace.poll_s / 2:
            return
        self._recorded_s = now_s
        self._commits.recorded(now_s)
        self.journal.append_reading(self.clock.wall_ms(), to_signals(reading))

    async def _keep_journal(self) -> None:
        """Fsync beside the polls: a slow disk must not delay them."""
        while True:
            await self._commit_due.wait()
            await self._commit_once()

    async def _commit_once(self) -> None:
        self._commit_due.clear()
        due, self._commit = self._commit, None
        if due == "seal":
            await self.journal.seal()
        elif due == "flush":
            await self.journal.flush()
