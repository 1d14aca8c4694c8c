"""What the journal remembers of the cloud's wishes: commands, the twin, and whom to believe.

Every function runs inside a transaction of the journal's thread.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from protocol.bodies import FieldValue

KEPT_COMMANDS = 1_000
KEPT_MS = 7 * 86_400_000
_PRUNED_TO = 900
_DAY_MS = 86_400_000


_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """A command that was accepted, or answered.

    Attributes:
        id: the command's id.
        kind: what it asks for.
        args: as they were checked.
        issued_at_ms: when it was asked for, the cloud's clock.
        not_after_ms: when it is too late, the cloud's clock.
        boot_id: the run of the agent that took it.
        received_wall_ms: when it came, this device's clock.
        received_mono_ms: the same on the monotonic clock of `boot_id`.
        traceparent: W3C trace context of the request.
        state: "accepted", "restarting" or a final state.
        reason: why it was refused or failed, else "".
        fields: fields of its result's fact; empty before its end.
        ended_at_ms: when it ended, this device's clock; None while it has not.
        fact_seq: seq of the newest fact that told the result.
    """

    id: str
    kind: str
    args: Mapping[str, Any]
    issued_at_ms: int
    not_after_ms: int
    boot_id: int
    received_wall_ms: int
    received_mono_ms: int
    traceparent: str | None = None
    state: str = "accepted"
    reason: str = ""
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    ended_at_ms: int | None = None
    fact_seq: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it has its one final state."""
        return self.ended_at_ms is not None


@dataclass(frozen=True, slots=True)
class KeptTwin:
    """The twin in force: its version, how it came, what it says, and the fact that told so."""

    version: int
    envelope: bytes
    document: bytes
    fact_seq: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What an agent must know before it believes or does anything.

    Attributes:
        seen_ms: newest signed time ever seen, the cloud's clock; 0 = none.
        signers: raw public keys in hex by key id, as the twin says; empty before the first twin.
        enrolled: the keys that enrolment had given when that twin was applied.
        intervals: seconds by name, as a command set them after the twin.
        twin: the twin in force, None before the first.
    """

    seen_ms: int
    signers: Mapping[str, str]
    enrolled: Mapping[str, str]
    intervals: Mapping[str, float]
    twin: KeptTwin | None


_NAMES = tuple(one.name for one in fields(CommandRecord))
_COLUMNS = ", ".join(_NAMES)


class CommandTables:
    """The tables of one open journal file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._pruned_ms = 0
        self._count = self._counted()

    def keep(self, record: CommandRecord) -> bool:
        """Write an accepted command; False when there is no room.

        Only what can never be accepted again, because it has expired, is forgotten for it.
        """
        if not self._has_room():
            return False
        self._put(record)
        return True

    def end(self, record: CommandRecord) -> None:
        """Write how a command ended; one that was refused may find no room."""
        if self._has_room() or self.get(record.id) is not None:
            self._put(record)

    def get(self, command_id: str) -> CommandRecord | None:
        """Return what is known of a command."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM command WHERE id = ?",  # noqa: S608 - a constant
            (command_id,),
        ).fetchone()
        return None if row is None else _record(row)

    def ids(self) -> list[str]:
        """Return the ids of every command that is remembered."""
        return [command_id for (command_id,) in self._db.execute("SELECT id FROM command")]

    def unfinished(self) -> list[CommandRecord]:
        """Return the commands that never got their end, oldest first."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM command WHERE ended_at_ms IS NULL"  # noqa: S608 - ours
            " ORDER BY received_wall_ms"
        ).fetchall()
        return [_record(row) for row in rows]

    def kept(self) -> Kept:
        """Return everything else."""
        seen_ms, signers, enrolled = self._db.execute(
            "SELECT seen_ms, signers, enrolled FROM trusted"
        ).fetchone()
        twin = self._db.execute("SELECT version, envelope, document, fact_seq FROM twin").fetchone()
        return Kept(
            seen_ms=seen_ms,
            signers=_from_json(signers),
            enrolled=_from_json(enrolled),
            intervals=dict(self._db.execute("SELECT name, seconds FROM interval").fetchall()),
            twin=None if twin is None else KeptTwin(*twin),
        )

    def move_time(self, seen_ms: int) -> None:
        """Write the newest signed time; it never goes back."""
        self._db.execute("UPDATE trusted SET seen_ms = ? WHERE seen_ms < ?", (seen_ms, seen_ms))

    def set_intervals(self, intervals: Mapping[str, float]) -> None:
        """Write intervals in seconds by name that a command set."""
        self._db.executemany("INSERT OR REPLACE INTO interval VALUES (?, ?)", intervals.items())

    def holds(self) -> frozenset[str]:
        """Return why the vehicle is held still."""
        return frozenset(name for (name,) in self._db.execute("SELECT name FROM hold"))

    def set_holds(self, holds: Iterable[str]) -> None:
        """Write why the vehicle is held still."""
        self._db.execute("DELETE FROM hold")
        self._db.executemany("INSERT INTO hold VALUES (?)", [(name,) for name in holds])

    def note(self, name: str) -> str | None:
        """Return what was written under a name; None for nothing."""
        row = self._db.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_note(self, name: str, value: str | None) -> None:
        """Write something under a name; None takes it away."""
        self._db.execute("DELETE FROM note WHERE name = ?", (name,))
        if value is not None:
            self._db.execute("INSERT INTO note VALUES (?, ?)", (name, value))

    def put_twin(
        self,
        twin: KeptTwin,
        *,
        signers: Mapping[str, str],
        enrolled: Mapping[str, str],
        intervals: Iterable[str],
    ) -> None:
        """Write the twin in force; `intervals` that it names replace what a command had set."""
        self._db.execute(
            "UPDATE trusted SET signers = ?, enrolled = ?", (_text(signers), _text(enrolled))
        )
        self._db.execute(
            "INSERT OR REPLACE INTO twin VALUES (1, ?, ?, ?, ?)",
            (twin.version, twin.envelope, twin.document, twin.fact_seq),
        )
        self._db.executemany("DELETE FROM interval WHERE name = ?", [(name,) for name in intervals])

    def twin_told(self, fact_seq: int) -> None:
        """Write that the twin in force was told again, by the fact `fact_seq`."""
        self._db.execute("UPDATE twin SET fact_seq = ?", (fact_seq,))

    def _has_room(self) -> bool:
        (seen_ms,) = self._db.execute("SELECT seen_ms FROM trusted").fetchone()
        if self._count >= KEPT_COMMANDS or seen_ms - self._pruned_ms > _DAY_MS:
            self._pruned_ms = seen_ms
            self._prune(seen_ms)
        return self._count < KEPT_COMMANDS

    def _prune(self, seen_ms: int) -> None:
        self._db.execute(
            "DELETE FROM command WHERE ended_at_ms IS NOT NULL AND not_after_ms < ?",
            (seen_ms - KEPT_MS,),
        )
        self._count = self._counted()
        if self._count < KEPT_COMMANDS:
            return
        self._db.execute(
            "DELETE FROM command WHERE id IN ("
            "SELECT id FROM command WHERE ended_at_ms IS NOT NULL AND not_after_ms < ?"
            " ORDER BY not_after_ms LIMIT ?)",
            (seen_ms, self._count - _PRUNED_TO),
        )
        self._count = self._counted()

    def _put(self, record: CommandRecord) -> None:
        self._db.execute(
            f"INSERT OR REPLACE INTO command ({_COLUMNS})"  # noqa: S608 - a constant
            f" VALUES ({', '.join('?' * len(_NAMES))})",
            tuple(_cell(getattr(record, name)) for name in _NAMES),
        )
        # One too many for an id that was known; the next prune counts again.
        self._count += 1

    def _counted(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM command").fetchone()
        return int(count)


def _text(value: Mapping[str, Any]) -> str:
    return _to_json(dict(value)).decode()


def _cell(value: Any) -> Any:  # noqa: ANN401 - what SQLite takes
    return _text(value) if isinstance(value, Mapping) else value


def _record(row: tuple[Any, ...]) -> CommandRecord:
    found = dict(zip(_NAMES, row, strict=True))
    return CommandRecord(
        **found | {"args": _from_json(found["args"]), "fields": _from_json(found["fields"])}
    )
