"""Takes commands as they come: believes or not, answers repeats, refuses, hands on."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from edge.clock import Clock
from edge.commands.actuators import Actuators, Forbids
from edge.commands.lane import Lane, Order
from edge.commands.points import BEFORE_RESULT, RECEIVED, RESULT_JOURNALLED, VERIFIED
from edge.commands.refusals import RefusalWatch, What
from edge.commands.trust import NotBelievedError, Trust
from edge.controllers.base import Outcome
from edge.faultpoint import reach
from edge.journal import Journal
from edge.journal.book import CommandBook
from edge.journal.commands import KEPT_COMMANDS, CommandRecord
from protocol.bodies import FieldValue
from protocol.commands import KINDS, ArgsError, Command, check_args

_log = logging.getLogger(__name__)

TELL_EVERY_S = 10.0
_UNWRITTEN = 256
_KNOWN = 2 * KEPT_COMMANDS


class CommandDesk:
    """One vehicle's commands, from the signed bytes to the answer.

    A command gets exactly one final state and is done at most once. What nobody signed is not
    answered: it is counted and becomes the fact `security.refused`.

    Args:
        trust: whom to believe.
        journal: where facts go.
        book: where commands are written down.
        clock: both clocks.
        actuators: who performs what.
        forbids: the interlock.
    """

    def __init__(
        self,
        trust: Trust,
        journal: Journal,
        book: CommandBook,
        clock: Clock,
        *,
        actuators: Actuators,
        forbids: Forbids,
    ) -> None:
        self._trust = trust
        self._journal = journal
        self._book = book
        self._clock = clock
        self._actuators = actuators
        self._open: set[str] = set()
        # Every id in the book, and some that it has forgotten: a new command need not look there.
        self._known: set[str] = set()
        self._unwritten: deque[str] = deque(maxlen=_UNWRITTEN)
        self.refusals = RefusalWatch()
        self._lanes: Mapping[str, Lane] = {
            station.name: Lane(
                station,
                book,
                clock,
                now_ms=trust.now_ms,
                seen_ms=lambda: trust.seen_ms,
                forbids=forbids,
                end=self._end,
                tell=self._tell,
            )
            for station in actuators.stations
        }

    async def open(self) -> None:
        """Take up what an earlier run accepted and never ended; `run` finds out its end."""
        self._known.update(await self._book.command_ids())
        for record in await self._book.unfinished_commands():
            _log.warning("command %s %s was interrupted", record.kind, record.id)
            self._open.add(record.id)
            self._lane(record.kind).put(Order(record, kept=True))

    async def run(self) -> None:
        """Work until cancelled. Raises AgentRestart inside of an exception group."""
        async with asyncio.TaskGroup() as tasks:
            for name, lane in self._lanes.items():
                tasks.create_task(lane.run(), name=f"command-{name}")
            tasks.create_task(self._keep_telling(), name="command-refusals")

    async def take(self, envelope: bytes) -> None:
        """Take what came on the `cmd` topic."""
        reach(RECEIVED)
        try:
            command = self._trust.command(envelope)
        except NotBelievedError as distrust:
            await self.not_believed("command", distrust)
            return
        reach(VERIFIED)
        if command.id in self._open or command.id in self._unwritten:
            return
        known = await self._book.command(command.id) if command.id in self._known else None
        if known is not None:
            await self._book.tell_again(known)
            return
        await self._consider(command)

    async def not_believed(self, what: What, distrust: NotBelievedError) -> bool:
        """Count it; return whether that became a fact."""
        _log.warning("a %s is not believed: %s", what, distrust)
        fields = self.refusals.see(what, distrust.reason, self._clock.mono_s())
        if fields is not None:
            await self._journal.append_fact("security.refused", fields)
        return fields is not None

    async def _consider(self, command: Command) -> None:
        order = Order(self._record(command))
        refusal = self._refusal(order, command)
        if refusal is not None:
            await self._end(order, Outcome("refused", refusal))
            return
        self._open.add(command.id)
        order.accepted_s = self._clock.mono_s()
        self._lane(command.kind).put(order)

    def _refusal(self, order: Order, command: Command) -> str | None:
        """Return why it is refused before it waits for its turn; checks the arguments."""
        if self._trust.now_ms() > command.not_after_ms:
            return "expired"
        if command.kind not in KINDS:
            return "unsupported"
        try:
            order.record = replace(order.record, args=check_args(command.kind, command.args))
        except ArgsError as wrong:
            _log.warning("command %s: %s", command.id, wrong)
            return "bad_args"
        if self._actuators.of(command.kind) is None:
            return "unsupported"
        return "busy" if self._lane(command.kind).full else None

    def _record(self, command: Command) -> CommandRecord:
        return CommandRecord(
            id=command.id,
            kind=command.kind,
            args=command.args,
            issued_at_ms=command.issued_at_ms,
            not_after_ms=command.not_after_ms,
            boot_id=self._journal.boot_id,
            received_wall_ms=self._clock.wall_ms(),
            received_mono_ms=int(self._clock.mono_s() * 1000),
            traceparent=command.traceparent,
        )

    def _lane(self, kind: str) -> Lane:
        """Return who works on `kind`; what nobody can do any more is the agent's to answer."""
        station = self._actuators.of(kind) or self._actuators.own
        return self._lanes[station.name]

    async def _end(self, order: Order, outcome: Outcome) -> None:
        """Write the one final state and tell it."""
        reach(BEFORE_RESULT)
        record = replace(order.record, state=outcome.state, reason=outcome.reason)
        done = outcome.state == "done" and record.kind == "set_intervals"
        seq = await self._book.end_command(
            record,
            self._result(order, outcome),
            seen_ms=self._trust.seen_ms,
            intervals=record.args["intervals_s"] if done else None,
        )
        reach(RESULT_JOURNALLED)
        if seq is None:
            self._unwritten.append(record.id)
        self._known.add(record.id)
        self._open.discard(record.id)
        if len(self._known) > _KNOWN:
            kept = await self._book.command_ids()
            self._known = {*kept, *self._open, *self._unwritten}
        said = f"{outcome.state} ({outcome.reason})" if outcome.reason else outcome.state
        _log.info("command %s %s: %s", record.kind, record.id, said)

    def _result(self, order: Order, outcome: Outcome) -> dict[str, FieldValue]:
        fields: dict[str, FieldValue] = {
            "id": order.id,
            "kind": order.record.kind,
            "state": outcome.state,
            "reason": outcome.reason,
        }
        return fields | self._reached(order)

    def _reached(self, order: Order) -> dict[str, FieldValue]:
        """Return how long ago an order was accepted and begun.

        Of an earlier run's only its reception is known, by a clock that may have been set.
        """
        if order.kept:
            ago_ms = self._clock.wall_ms() - order.record.received_wall_ms
            return {"accepted_ago_ms": ago_ms} if ago_ms >= 0 else {}
        now_s = self._clock.mono_s()
        reached = {"accepted_ago_ms": order.accepted_s, "executing_ago_ms": order.executing_s}
        return {
            name: round((now_s - at_s) * 1000) for name, at_s in reached.items() if at_s is not None
        }

    async def _tell(self, order: Order, state: str) -> None:
        await self._journal.append_fact(
            "command.progress",
            {"id": order.id, "state": state, **self._reached(order)},
            traceparent=order.record.traceparent,
        )

    async def _keep_telling(self) -> None:
        """Tell how often something was refused, also when it has stopped."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            for fields in self.refusals.due(self._clock.mono_s()):
                await self._journal.append_fact("security.refused", fields)
