"""The journal's file: every statement, every transaction. Synchronous, for one thread at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import msgspec

from edge.journal import schema
from edge.journal.commands import CommandTables
from edge.journal.records import Damaged, Durable, LaneView, PendingFact, Range, Reading, Sealed
from edge.traces import NewTrace, never
from protocol.messages import epoch_hex, epoch_int
from protocol.segment import (
    Fact,
    Lane,
    SegmentError,
    lane_name,
    read_header,
    seal_facts,
    seal_signals,
)

SEGMENT_READINGS = 512
SEGMENT_FACTS = 128
TRANSACTION_SEGMENTS = 32
THIN_TO = 0.9
DAMAGED_KEPT = 16
_DELETE_ROWS = 2_000

_T = TypeVar("_T")

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Reading]).decode


@dataclass(frozen=True, slots=True)
class Written:
    """What one transaction made durable, and whether a segment was sealed in it."""

    records: tuple[Durable, ...] = ()
    sealed: bool = False


@dataclass(slots=True)
class _Lane:
    epoch: int
    last_seq: int = 0
    floor_seq: int = 1


@dataclass(slots=True)
class _Tail:
    """Durable readings that are not sealed yet; all of this boot."""

    first_seq: int
    readings: list[Reading] = field(default_factory=list)


class JournalStore:
    """One open journal file.

    Args:
        path: the SQLite file.
        boot_id: number of this run of the agent, u32.
        max_bytes: size at which the oldest signal segments are thinned.
        new_epoch: gives a random u64.
        now: gives (wall_ms, mono_ms).
        new_trace: asked for each segment of readings that is sealed.
    """

    def __init__(
        self,
        path: Path,
        *,
        boot_id: int,
        max_bytes: int,
        new_epoch: Callable[[], int],
        now: Callable[[], tuple[int, int]],
        new_trace: NewTrace = never,
    ) -> None:
        self._boot_id = boot_id
        self._max_bytes = max_bytes
        self._now = now
        self._new_trace = new_trace
        self._db = schema.connect(path)
        try:
            self._lanes = {lane: self._open_lane(lane, new_epoch) for lane in Lane}
            self.unreported = self._recover()
            self._commands = CommandTables(self._db)
        except BaseException:
            self._db.close()
            raise
        self._tail = _Tail(self._lanes[Lane.SIGNAL].last_seq + 1)

    def lane(self, lane: Lane) -> LaneView:
        """Return what is held of a lane now."""
        held = self._lanes[lane]
        sealed_seq = self._tail.first_seq - 1 if lane is Lane.SIGNAL else held.last_seq
        return LaneView(lane, held.epoch, held.floor_seq, held.last_seq, sealed_seq)

    @property
    def tail_readings(self) -> int:
        """Durable readings that wait for their segment."""
        return len(self._tail.readings)

    def write(
        self,
        readings: Sequence[Reading],
        facts: Sequence[PendingFact],
        *,
        clock_offset_ms: int,
        seal: bool,
    ) -> Written:
        """Make readings and facts durable in one transaction.

        Whole segments of 512 readings are sealed at once, the rest only when `seal` is set.
        Raises sqlite3.Error and leaves everything as it was.
        """
        signal, fact = self._lanes[Lane.SIGNAL], self._lanes[Lane.FACT]
        held = [*self._tail.readings, *readings]
        whole = len(held) if seal else len(held) - len(held) % SEGMENT_READINGS
        floor_seq, thinned = signal.floor_seq, None
        with self._transaction():
            if whole:
                self._seal_readings(self._tail.first_seq, held[:whole], clock_offset_ms)
                self._db.execute("DELETE FROM tail")
            self._insert_tail(held[whole:] if whole else readings, len(held), clock_offset_ms)
            fact_seq = self._seal_facts(fact.last_seq + 1, facts, clock_offset_ms)
            for seq, one in enumerate(facts, start=fact.last_seq + 1):
                if one.along is not None:
                    one.along(self._commands, seq)
            if whole:
                floor_seq, thinned = self._thin(self._tail.first_seq + whole)
            if thinned is not None:
                fact_seq = self._seal_facts(fact_seq, [thinned], clock_offset_ms)
        signal_last = self._tail.first_seq + len(held) - 1
        records = (
            Durable(Lane.FACT, fact.epoch, fact.last_seq + 1, fact_seq - 1),
            Durable(Lane.SIGNAL, signal.epoch, signal.last_seq + 1, signal_last),
        )
        for seq, one in enumerate(facts, start=fact.last_seq + 1):
            one.seq = seq
        fact.last_seq, signal.last_seq, signal.floor_seq = fact_seq - 1, signal_last, floor_seq
        self._tail = _Tail(self._tail.first_seq + whole, held[whole:])
        return Written(_filled(records), sealed=bool(whole or facts))

    def in_transaction(self, call: Callable[[CommandTables], _T]) -> _T:
        """Run `call` in one transaction. Raises sqlite3.Error and leaves everything as it was."""
        with self._transaction():
            return call(self._commands)

    def read(self, lane: Lane, from_seq: int, limit: int, max_bytes: int) -> list[Sealed]:
        """Return the oldest sealed segments from `from_seq` on.

        At most `limit` of them and about `max_bytes`, but one when there is any.
        """
        rows = self._db.execute(
            "SELECT first_seq, n, body FROM segment WHERE lane = ? AND first_seq >= ? "
            "ORDER BY first_seq LIMIT ?",
            (lane, from_seq, limit),
        )
        found: list[Sealed] = []
        size = 0
        for first_seq, n, body in rows:
            size += len(body)
            if found and size > max_bytes:
                break
            found.append(Sealed(lane, self._lanes[lane].epoch, first_seq, n, body))
        rows.close()
        return found

    def set_aside(self, damaged: Sequence[Damaged], *, clock_offset_ms: int) -> Written:
        """Take damaged segments of one lane out of what is sent, and write a fact about each.

        The newest of them are kept as they are for a person to look at. Raises sqlite3.Error and
        leaves everything as it was.
        """
        lane, fact = damaged[0].segment.lane, self._lanes[Lane.FACT]
        first_seq = fact.last_seq + 1
        with self._transaction():
            for segment, reason in damaged:
                self._db.execute(
                    "INSERT INTO damaged (lane, first_seq, n, reason, body) VALUES (?, ?, ?, ?, ?)",
                    (lane, segment.first_seq, segment.n, reason, segment.payload),
                )
                self._db.execute(
                    "DELETE FROM segment WHERE lane = ? AND first_seq = ?",
                    (lane, segment.first_seq),
                )
            self._db.execute(
                "DELETE FROM damaged WHERE number <= (SELECT max(number) FROM damaged) - ?",
                (DAMAGED_KEPT,),
            )
            next_seq = self._seal_facts(first_seq, self._told(damaged), clock_offset_ms)
            last_seq = next_seq - 1 if lane is Lane.FACT else self._lanes[lane].last_seq
            self._keep_last_seq(lane, last_seq)
            floor_seq = self._find_floor(lane, last_seq + 1)
        fact.last_seq = next_seq - 1
        self._lanes[lane].floor_seq = floor_seq
        records = (Durable(Lane.FACT, fact.epoch, first_seq, fact.last_seq),)
        return Written(records, sealed=True)

    def _told(self, damaged: Sequence[Damaged]) -> list[PendingFact]:
        return [
            PendingFact(
                "journal.segment_damaged",
                {
                    "lane": lane_name(segment.lane),
                    "from_seq": segment.first_seq,
                    "through_seq": segment.last_seq,
                    "reason": reason,
                },
                *self._now(),
            )
            for segment, reason in damaged
        ]

    def forget(self, lane: Lane, ranges: Iterable[Range]) -> int:
        """Delete the segments that lie wholly inside one of `ranges`; return how many.

        Not fsynced: after a power cut they are there again and are acknowledged again.
        """
        held = self._lanes[lane]
        deleted = 0
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            for covered in ranges:
                while (found := self._forget_some(lane, held.last_seq, covered)) > 0:
                    deleted += found
        finally:
            self._db.execute("PRAGMA synchronous = FULL")
        if deleted:
            held.floor_seq = self._find_floor(lane, held.last_seq + 1)
        return deleted

    def close(self) -> None:
        """Mark the file as closed in good order and let go of it."""
        try:
            self._db.execute("UPDATE run SET closed = 1")
        finally:
            self._db.close()

    def abandon(self) -> None:
        """Let go of a damaged file without another write."""
        self._db.close()

    def _forget_some(self, lane: Lane, last_seq: int, covered: Range) -> int:
        with self._transaction():
            found = self._db.execute(
                "DELETE FROM segment WHERE lane = :lane AND first_seq IN ("
                "SELECT first_seq FROM segment WHERE lane = :lane "
                "AND first_seq BETWEEN :first AND :last AND first_seq + n - 1 <= :last "
                "ORDER BY first_seq LIMIT :most)",
                {"lane": lane, **covered._asdict(), "most": _DELETE_ROWS},
            ).rowcount
            if found:
                self._keep_last_seq(lane, last_seq)
        return found

    def _open_lane(self, lane: Lane, new_epoch: Callable[[], int]) -> _Lane:
        row = self._db.execute(
            "SELECT epoch, last_seq FROM lane WHERE lane = ?", (lane,)
        ).fetchone()
        if row is None:
            epoch = new_epoch()
            self._db.execute("INSERT INTO lane VALUES (?, ?, 0)", (lane, epoch_hex(epoch)))
            return _Lane(epoch)
        newest = self._newest(lane)
        last_seq = max(row[1], newest[-1].last if newest else 0)
        return _Lane(epoch_int(row[0]), last_seq, self._find_floor(lane, last_seq + 1))

    def _newest(self, lane: Lane) -> list[Range]:
        """Return the seqs of all that one transaction may have written last, newest at the end."""
        rows = self._db.execute(
            "SELECT first_seq, first_seq + n - 1 FROM segment WHERE lane = ? "
            "ORDER BY first_seq DESC LIMIT ?",
            (lane, TRANSACTION_SEGMENTS),
        ).fetchall()[::-1]
        if lane is Lane.SIGNAL:
            rows += self._db.execute(
                "SELECT first_seq, first_seq + n - 1 FROM tail ORDER BY first_seq DESC LIMIT 1"
            ).fetchall()
        return [Range(*row) for row in rows]

    def _recover(self) -> tuple[Durable, ...]:
        """Seal what an earlier run left open; return the records it may not have reported."""
        rows = self._db.execute(
            "SELECT first_seq, boot_id, clock_offset_ms, body FROM tail ORDER BY first_seq"
        ).fetchall()
        (closed,) = self._db.execute("SELECT closed FROM run").fetchone()
        newest = {} if closed else {lane: self._newest(lane) for lane in Lane}
        with self._transaction():
            self._db.execute("UPDATE run SET closed = 0")
            if rows:
                first_seq, boot_id, clock_offset_ms, _ = rows[0]
                readings = [reading for row in rows for reading in _unpack(row[3])]
                self._seal_readings(first_seq, readings, clock_offset_ms, boot_id)
                self._db.execute("DELETE FROM tail")
        return tuple(
            Durable(lane, self._lanes[lane].epoch, *found)
            for lane, ranges in newest.items()
            for found in ranges
        )

    def _seal_readings(
        self,
        first_seq: int,
        readings: Sequence[Reading],
        clock_offset_ms: int,
        boot_id: int | None = None,
    ) -> None:
        signal = self._lanes[Lane.SIGNAL]
        for start in range(0, len(readings), SEGMENT_READINGS):
            cut = readings[start : start + SEGMENT_READINGS]
            payload = seal_signals(
                epoch=signal.epoch,
                first_seq=first_seq + start,
                floor_seq=signal.floor_seq,
                boot_id=self._boot_id if boot_id is None else boot_id,
                clock_offset_ms=clock_offset_ms,
                times_ms=[time_ms for time_ms, _ in cut],
                columns=_columns(cut),
                traceparent=self._new_trace(),
            )
            self._insert_segment(Lane.SIGNAL, first_seq + start, len(cut), payload)

    def _seal_facts(self, next_seq: int, facts: Sequence[PendingFact], clock_offset_ms: int) -> int:
        """Insert the facts as few segments, one trace each; return the next seq."""
        for traceparent, traced in groupby(facts, key=lambda one: one.traceparent):
            same = list(traced)
            for start in range(0, len(same), SEGMENT_FACTS):
                cut = same[start : start + SEGMENT_FACTS]
                payload = self._sealed_facts(next_seq, cut, clock_offset_ms, traceparent)
                self._insert_segment(Lane.FACT, next_seq, len(cut), payload)
                next_seq += len(cut)
        return next_seq

    def _sealed_facts(
        self,
        first_seq: int,
        facts: Sequence[PendingFact],
        clock_offset_ms: int,
        traceparent: str | None,
    ) -> bytes:
        lane = self._lanes[Lane.FACT]
        t0_ms = min(fact.time_ms for fact in facts)
        return seal_facts(
            epoch=lane.epoch,
            first_seq=first_seq,
            floor_seq=lane.floor_seq,
            boot_id=self._boot_id,
            clock_offset_ms=clock_offset_ms,
            t0_ms=t0_ms,
            facts=[
                Fact(one.kind, one.v, one.time_ms - t0_ms, one.mono_ms, dict(one.fields))
                for one in facts
            ],
            traceparent=traceparent,
        )

    def _insert_segment(self, lane: Lane, first_seq: int, n: int, payload: bytes) -> None:
        self._db.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", (lane, first_seq, n, payload))

    def _insert_tail(self, readings: Sequence[Reading], held: int, clock_offset_ms: int) -> None:
        if readings:
            first_seq = self._tail.first_seq + held - len(readings)
            self._db.execute(
                "INSERT INTO tail VALUES (?, ?, ?, ?, ?)",
                (first_seq, len(readings), self._boot_id, clock_offset_ms, _pack(readings)),
            )

    def _thin(self, next_seq: int) -> tuple[int, PendingFact | None]:
        """Delete the oldest signal segments while the file is too large; return the new floor."""
        dropped: list[tuple[int, int, int]] = []
        limit = self._max_bytes
        while self._used_bytes() > limit:
            limit = int(self._max_bytes * THIN_TO)
            rows = self._db.execute(
                "SELECT first_seq, n, length(body) FROM segment WHERE lane = ? "
                "ORDER BY first_seq LIMIT 16",
                (Lane.SIGNAL,),
            ).fetchall()
            if not rows:
                break
            self._db.execute(
                "DELETE FROM segment WHERE lane = ? AND first_seq <= ?", (Lane.SIGNAL, rows[-1][0])
            )
            dropped += rows
        floor_seq = self._find_floor(Lane.SIGNAL, next_seq)
        if not dropped:
            return floor_seq, None
        self._keep_last_seq(Lane.SIGNAL, next_seq - 1)
        fields = {
            "from_seq": dropped[0][0],
            "through_seq": dropped[-1][0] + dropped[-1][1] - 1,
            "readings": sum(n for _, n, _ in dropped),
            "bytes": sum(size for _, _, size in dropped),
        }
        return floor_seq, PendingFact("journal.thinned", fields, *self._now())

    def _used_bytes(self) -> int:
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * schema.PAGE_BYTES

    def _find_floor(self, lane: Lane, otherwise: int) -> int:
        (floor_seq,) = self._db.execute(
            "SELECT min(first_seq) FROM segment WHERE lane = ?", (lane,)
        ).fetchone()
        if floor_seq is None and lane is Lane.SIGNAL:
            (floor_seq,) = self._db.execute("SELECT min(first_seq) FROM tail").fetchone()
        return otherwise if floor_seq is None else floor_seq

    def _keep_last_seq(self, lane: Lane, last_seq: int) -> None:
        self._db.execute("UPDATE lane SET last_seq = ? WHERE lane = ?", (last_seq, lane))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def damage(segment: Sealed) -> str | None:
    """Return why a segment is not what was sealed, or None when it is."""
    try:
        header = read_header(segment.payload)
    except SegmentError as error:
        return error.reason
    said = header.lane, header.epoch, header.first_seq, header.n
    held = segment.lane, segment.epoch, segment.first_seq, segment.n
    return None if said == held else "header"


def _columns(readings: Sequence[Reading]) -> Mapping[int, Sequence[int | None]]:
    ids = dict.fromkeys(signal_id for _, values in readings for signal_id in values)
    return {signal_id: [values.get(signal_id) for _, values in readings] for signal_id in ids}


def _filled(records: Iterable[Durable]) -> tuple[Durable, ...]:
    return tuple(record for record in records if record.last >= record.first)
