"""The book of commands and twins: what is written before anything moves, and with its end."""

import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from edge.clock import Clock
from edge.journal.commands import CommandRecord, CommandTables, Kept, KeptTwin
from edge.journal.journal import Journal
from protocol.bodies import FieldValue
from protocol.segment import Lane

_log = logging.getLogger(__name__)


class CommandBook:
    """What a journal remembers of the cloud's wishes. Times are Unix milliseconds.

    `seen_ms` is always the newest time that was seen signed: it is written along.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def keep_command(
        self, record: CommandRecord, *, seen_ms: int
    ) -> Literal["kept", "full", "disk"]:
        """Make an accepted command durable.

        Anything but "kept" means that it must not be done: after a crash nobody would know of it.
        """

        def keep(tables: CommandTables) -> bool:
            tables.move_time(seen_ms)
            return tables.keep(record)

        try:
            return "kept" if await self._journal.commands(keep) else "full"
        except sqlite3.OperationalError as error:
            _log.error("command %s cannot be written down (%s); it is not done", record.id, error)
            return "disk"

    async def end_command(
        self,
        record: CommandRecord,
        fields: Mapping[str, FieldValue],
        *,
        seen_ms: int,
        intervals: Mapping[str, float] | None = None,
    ) -> int | None:
        """Write a command's final state and the fact `command.result` in one transaction.

        Args:
            record: with its final state and reason.
            fields: of the fact.
            seen_ms: newest signed time.
            intervals: what it set, in seconds by name, if it did.

        Returns:
            The fact's seq; None when the disk refused: both are written when the disk can.
        """
        ended = replace(record, fields=dict(fields), ended_at_ms=self._clock.wall_ms())

        def along(tables: CommandTables, seq: int) -> None:
            tables.move_time(seen_ms)
            tables.set_intervals(intervals or {})
            tables.end(replace(ended, fact_seq=seq))

        return await self._journal.append_fact(
            "command.result", fields, traceparent=record.traceparent, along=along
        )

    async def tell_again(self, record: CommandRecord) -> bool:
        """Answer a repeated command as it was answered; False while that is still on its way up."""
        if not self.is_told(record.fact_seq):
            return False
        fields = {**record.fields, "repeat": True}

        def along(tables: CommandTables, seq: int) -> None:
            tables.end(replace(record, fact_seq=seq))

        await self._journal.append_fact(
            "command.result", fields, traceparent=record.traceparent, along=along
        )
        return True

    async def command(self, command_id: str) -> CommandRecord | None:
        """Return what is known of a command."""
        return await self._journal.commands(lambda tables: tables.get(command_id))

    async def command_ids(self) -> list[str]:
        """Return the ids of every command that is remembered."""
        return await self._journal.commands(CommandTables.ids)

    async def unfinished_commands(self) -> list[CommandRecord]:
        """Return the commands that an earlier run accepted and never ended, oldest first."""
        return await self._journal.commands(CommandTables.unfinished)

    async def kept(self) -> Kept:
        """Return whom to believe, the newest signed time, intervals and the twin in force."""
        return await self._journal.commands(CommandTables.kept)

    async def keep_twin(
        self,
        twin: KeptTwin,
        *,
        signers: Mapping[str, str],
        enrolled: Mapping[str, str],
        intervals: Mapping[str, float],
        seen_ms: int,
    ) -> KeptTwin | None:
        """Put a twin in force with the fact `twin.applied`, in one transaction.

        Args:
            twin: the twin; its `fact_seq` is given here.
            signers: the keys to believe from now on, raw in hex by key id.
            enrolled: those that enrolment gave.
            intervals: the seconds by name that it sets; they replace what a command set.
            seen_ms: newest signed time.

        Returns:
            What is in force now; None when the disk refused: then nothing has changed.
        """

        def along(tables: CommandTables, seq: int) -> None:
            tables.move_time(seen_ms)
            told = replace(twin, fact_seq=seq)
            tables.put_twin(told, signers=signers, enrolled=enrolled, intervals=intervals)

        seq = await self._journal.append_fact_now("twin.applied", {"version": twin.version}, along)
        return None if seq is None else replace(twin, fact_seq=seq)

    async def tell_twin_again(self, twin: KeptTwin) -> KeptTwin:
        """Say `twin.applied` once more, unless that is still on its way up."""
        if not self.is_told(twin.fact_seq):
            return twin
        seq = await self._journal.append_fact(
            "twin.applied",
            {"version": twin.version},
            along=lambda tables, seq: tables.twin_told(seq),
        )
        return twin if seq is None else replace(twin, fact_seq=seq)

    async def refuse_twin(self, fields: Mapping[str, FieldValue], *, seen_ms: int) -> int | None:
        """Write the fact `twin.refused`; return its seq, None while the disk refuses."""
        return await self._journal.append_fact(
            "twin.refused", fields, along=lambda tables, _seq: tables.move_time(seen_ms)
        )

    def is_told(self, fact_seq: int | None) -> bool:
        """Whether nothing of the fact lane up to this seq waits for its acknowledgement."""
        return fact_seq is not None and fact_seq < self._journal.lane(Lane.FACT).floor_seq
