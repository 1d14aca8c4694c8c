"""One actuator's queue: an order after the other is weighed, written down, done and answered."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from edge.clock import Clock
from edge.commands.actuators import Forbids, Station
from edge.commands.points import AFTER_ACTUATION, BEFORE_ACTUATION, JOURNALLED
from edge.controllers.base import DONE, Outcome
from edge.faultpoint import reach
from edge.journal.book import CommandBook
from edge.journal.commands import CommandRecord
from protocol.commands import KINDS

QUEUE = 8
PROGRESS_S = 0.05
SENSOR_S = 5.0
_LOOK_S = 0.02
INTERRUPTED = Outcome("failed", "interrupted")
_NOT_KEPT = {"full": Outcome("refused", "busy"), "disk": Outcome("failed", "error")}


@dataclass(slots=True)
class Order:
    """A command on its way; times are monotonic seconds, None while not reached.

    `kept` says that an earlier run of the agent has written it down and never ended it.
    """

    record: CommandRecord
    accepted_s: float | None = None
    executing_s: float | None = None
    kept: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """The command's id."""
        return self.record.id


End = Callable[[Order, Outcome], Awaitable[None]]
Tell = Callable[[Order, str], Awaitable[object]]


class Lane:
    """What waits for one actuator, and its worker.

    Args:
        station: the actuator.
        book: where commands are written down.
        clock: both clocks.
        now_ms: the trusted time.
        seen_ms: the newest signed time.
        forbids: the interlock.
        end: writes and tells the end of an order.
        tell: says that an order got as far as a state.
    """

    def __init__(
        self,
        station: Station,
        book: CommandBook,
        clock: Clock,
        *,
        now_ms: Callable[[], int],
        seen_ms: Callable[[], int],
        forbids: Forbids,
        end: End,
        tell: Tell,
    ) -> None:
        self.station = station
        self._book = book
        self._clock = clock
        self._now_ms = now_ms
        self._seen_ms = seen_ms
        self._forbids = forbids
        self._end = end
        self._tell = tell
        self._waiting: asyncio.Queue[Order] = asyncio.Queue()
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}

    @property
    def full(self) -> bool:
        """Whether eight wait already."""
        return self._waiting.qsize() >= QUEUE

    def put(self, order: Order) -> None:
        """Let an order wait for its turn."""
        self._waiting.put_nowait(order)
        if not order.kept:
            loop = asyncio.get_running_loop()
            self._due[order.id] = loop.call_later(PROGRESS_S, self._begin_telling, order)

    async def run(self) -> None:
        """Work until cancelled. Raises AgentRestart when the agent is to start again."""
        try:
            while True:
                order = await self._waiting.get()
                outcome = await (self._found(order) if order.kept else self._execute(order))
                await self._tell_no_more(order.id)
                await self._end(order, outcome)
        finally:
            for command_id in [*self._due, *self._telling]:
                await self._tell_no_more(command_id)

    async def _execute(self, order: Order) -> Outcome:
        async with self.station.lock:
            return await self._execute_alone(order)

    async def _execute_alone(self, order: Order) -> Outcome:
        record = order.record
        if self._now_ms() > record.not_after_ms:
            return Outcome("refused", "expired")
        if (reason := self._forbids(record.kind, record.args)) is not None:
            return Outcome("refused", reason)
        restarts = record.kind == "reboot"
        if restarts:
            order.record = record = replace(record, state="restarting")
        kept = await self._book.keep_command(record, seen_ms=self._seen_ms())
        if kept != "kept":
            return _NOT_KEPT[kept]
        reach(JOURNALLED)
        order.executing_s = self._clock.mono_s()
        order.begun.set()
        if restarts:
            await self._tell(order, "executing")
        reach(BEFORE_ACTUATION)
        outcome = await self.station.perform(record.kind, record.args)
        reach(AFTER_ACTUATION)
        return outcome

    async def _found(self, order: Order) -> Outcome:
        """Return how a command ended that an earlier run began: nothing is moved a second time."""
        record = order.record
        if record.state == "restarting":
            return DONE
        rule = KINDS.get(record.kind)
        if rule is None or rule.at_most_once:
            return INTERRUPTED
        is_so = await self._sensed(record)
        return DONE if is_so else INTERRUPTED

    async def _sensed(self, record: CommandRecord) -> bool | None:
        """Wait for the sensor's word, at most 5 s. A latch on its way needs a moment for a yes."""
        now_s = self._clock.mono_s()
        ends_s, no_since_s = now_s + SENSOR_S, now_s
        while True:
            is_so = self.station.actuator.is_so(record.kind, record.args)
            now_s = self._clock.mono_s()
            if is_so is not False:
                no_since_s = now_s
            settled = is_so is False and now_s - no_since_s >= self.station.settles_s
            if is_so or settled or now_s >= ends_s:
                return is_so
            await asyncio.sleep(_LOOK_S)

    def _begin_telling(self, order: Order) -> None:
        """Say what takes longer than 50 ms: waiting, and then doing."""
        del self._due[order.id]
        telling = asyncio.create_task(self._tell_progress(order), name="command-progress")
        self._telling[order.id] = telling

    async def _tell_progress(self, order: Order) -> None:
        if not order.begun.is_set():
            await self._tell(order, "accepted")
            await order.begun.wait()
            await asyncio.sleep(PROGRESS_S)
        await self._tell(order, "executing")

    async def _tell_no_more(self, command_id: str) -> None:
        due = self._due.pop(command_id, None)
        if due is not None:
            due.cancel()
        telling = self._telling.pop(command_id, None)
        if telling is not None:
            telling.cancel()
            await asyncio.wait({telling})
