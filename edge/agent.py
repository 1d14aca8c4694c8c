"""The agent at work: polls the battery, keeps the journal, does what it is told, reports."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from edge import VERSION
from edge.clock import Clock
from edge.commands.restart import AgentRestart
from edge.drivers.base import BatteryReading, to_signals
from edge.drivers.source import BatterySource
from edge.journal import Journal
from edge.rules.battery import BatteryWatch, NewFact
from edge.rules.pace import Commits, Pace, Schedule, pace_of
from edge.rules.state import Motion, Rest, VehicleState, next_motion
from edge.settings import Intervals
from edge.telling import Teller

if TYPE_CHECKING:
    from edge.commands.remote import Remote
    from edge.fitting import Fittings
    from edge.identity.enrol import Enroller
    from edge.senses import Senses
    from edge.uplink.uplink import Uplink

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Agent:
    """Everything a vehicle needs, already opened. Built only in `edge.main`.

    `fit` builds what can wait until the first reading is durable; it is called once, at the first
    use, and may raise ControllerError. `ordered_bits` as the battery's decoder says.
    """

    battery: BatterySource
    journal: Journal
    intervals: Intervals
    clock: Clock
    teller: Teller
    fit: "Callable[[], Fittings]"
    ordered_bits: int = 0
    _fitted: "Fittings | None" = field(default=None, init=False)
    _pace: Pace = field(init=False)
    _motion: Motion = field(default_factory=Motion)
    _rest: Rest = field(default_factory=Rest)
    _state: VehicleState = VehicleState.PARKED
    _soc_pct: float | None = None
    _watch: BatteryWatch = field(init=False)
    _commits: Commits = field(default_factory=Commits)
    _recorded_s: float = float("-inf")
    _commit: Literal["flush", "seal"] | None = None
    _commit_due: asyncio.Event = field(default_factory=asyncio.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _hurried: bool = False
    _paced_by: tuple[VehicleState, Mapping[str, float], bool] | None = None

    def __post_init__(self) -> None:
        self._watch = BatteryWatch(self.ordered_bits)
        self._set_pace()

    @property
    def remote(self) -> "Remote":
        """What obeys the cloud."""
        return self._fittings().remote

    @property
    def senses(self) -> "Senses":
        """What the vehicle feels beside its battery."""
        return self._fittings().senses

    @property
    def enroller(self) -> "Enroller":
        """What keeps the vehicle's certificate."""
        return self._fittings().enroller

    @property
    def uplink(self) -> "Uplink":
        """The way to the cloud."""
        return self._fittings().uplink

    def _fittings(self) -> "Fittings":
        if self._fitted is None:
            found = self._fitted = self.fit()
            found.remote.wishes.when_changed = self._hurry
            found.remote.own.read_now = self._read_now
            found.senses.when_able = found.uplink.say_hello
        return self._fitted

    @property
    def state(self) -> VehicleState:
        """What the vehicle is doing."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many records the journal holds that are not acknowledged."""
        return sum(held.last_seq - held.floor_seq + 1 for held in self.journal.lanes)

    async def run(self) -> None:
        """Work until cancelled. A task that fails unexpectedly ends the agent.

        The battery is read and the reading is durable before anything else is loaded; what the
        cloud wished before the last stop is in force before anything is reported.

        Raises:
            AgentRestart: It was told to start again; the journal is still open.
            ControllerError: The configuration names a controller that cannot be.
        """
        await self.journal.append_fact(
            "agent.started", {"boot": self.journal.boot_id, "version": VERSION}
        )
        await self._poll_once()
        await self._commit_once()
        await self.remote.open()
        self._set_pace()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._poll(), name="poll-battery")
                tasks.create_task(self._keep_journal(), name="keep-journal")
                tasks.create_task(self.senses.run(self._notice), name="senses")
                tasks.create_task(self.remote.run(), name="remote")
                tasks.create_task(self.enroller.run(), name="identity")
                tasks.create_task(self.uplink.run(), name="uplink")
        except BaseExceptionGroup as ends:
            if ends.split(AgentRestart)[1] is not None:
                raise
            raise AgentRestart("the agent is started again: it was told to") from None

    async def _poll(self) -> None:
        schedule = Schedule(self.clock.mono_s())
        while True:
            await self._pause(schedule)
            await self._poll_once()

    async def _pause(self, schedule: Schedule) -> None:
        """Sleep until the next poll is due; whatever changes the pace ends the sleep."""
        sleep_s = schedule.after(self._pace.poll_s, self.clock.mono_s())
        # A time-out would end each sleep by cancelling it: a sixth of what a reading costs.
        timer = asyncio.get_running_loop().call_later(sleep_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()
        if self._hurried:
            self._hurried = False
            schedule.next_s = self.clock.mono_s()

    def _hurry(self) -> None:
        self._hurried = True
        self._wake.set()

    async def _poll_once(self) -> bool:
        """Read the battery and take it all down; return whether it answered."""
        reading = await self.battery.poll()
        now_s = self.clock.mono_s()
        facts = self._watch.see(reading, offline=self.battery.offline)
        self._tell(reading, now_s)
        self._soc_pct = reading.soc_pct if reading is not None else None
        self._follow(reading.current_a if reading is not None else None, now_s)
        facts += self._alarms()
        values = self._fitted.senses.signals() if self._fitted is not None else {}
        if reading is not None:
            values = to_signals(reading) | values
        self._record(values, now_s, urgent=bool(facts))
        await self._write(facts)
        self._plan_commit(now_s)
        return reading is not None

    async def _read_now(self) -> bool:
        """Read everything, whatever the pace, and make it ready to send."""
        self._recorded_s = float("-inf")
        answered = await self._poll_once()
        await self.journal.seal()
        return answered

    async def _notice(self, facts: list[NewFact]) -> None:
        """Take the controller's facts; the reading of their moment goes with them."""
        now_s = self.clock.mono_s()
        before = self.state
        alarms = self._alarms()
        if facts or any(fields.get("alarm") == "moved" for _, fields in alarms):
            self._rest.wake(now_s)
        facts = [*facts, *alarms]
        self._follow(None, now_s)
        if self.state is not before:
            self._hurry()
        if facts:
            self._record(self.senses.signals(), now_s, urgent=True)
            await self._write(facts)
            await self.journal.seal()

    def _alarms(self) -> list[NewFact]:
        if self._fitted is None:
            return []
        return self._fitted.lookout.look(charging=self._motion.state is VehicleState.CHARGING)

    async def _write(self, facts: Sequence[NewFact]) -> None:
        for kind, fields in facts:
            if fields:
                _log.warning("%s %s", kind, fields)
            await self.journal.append_fact(kind, fields)

    def _plan_commit(self, now_s: float) -> None:
        due = self._commits.due(self._pace, now_s)
        if due is not None:
            self._commit = "seal" if "seal" in (due, self._commit) else due
            self._commit_due.set()

    def _tell(self, reading: BatteryReading | None, now_s: float) -> None:
        battery = self.battery
        self.teller.polled(
            reading,
            offline=battery.offline,
            trouble=battery.trouble,
            model=battery.about.get("hardware"),
        )
        connected = self._fitted is not None and self._fitted.uplink.connected
        self.teller.state(now_s, self.state, unacked=self.waiting, connected=connected)

    def _follow(self, current_a: float | None, now_s: float) -> None:
        speed_kmh = self._fitted.senses.speed_kmh if self._fitted is not None else None
        self._motion = next_motion(self._motion, current_a, now_s, speed_kmh)
        lock = self._fitted.senses.seen() if self._fitted is not None else None
        unlocked = lock is not None and lock.locked is False
        self._state = self._rest.see(self._motion.state, self._soc_pct, now_s, unlocked=unlocked)
        self._set_pace()

    def _set_pace(self) -> None:
        wished: Mapping[str, float] = {}
        is_live = False
        if self._fitted is not None:
            remote = self._fitted.remote
            wished, is_live = remote.wishes.intervals, remote.live
        paced_by = self.state, wished, is_live
        if paced_by != self._paced_by:
            self._paced_by = paced_by
            self._pace = pace_of(self.intervals, self.state, wished, live=is_live)

    def _record(self, values: dict[int, int], now_s: float, *, urgent: bool) -> None:
        pace = self._pace
        if not values:
            return
        if not urgent and now_s - self._recorded_s < pace.record_s - pace.poll_s / 2:
            return
        self._recorded_s = now_s
        self._commits.recorded(now_s)
        self.journal.append_reading(self.clock.wall_ms(), values)

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
