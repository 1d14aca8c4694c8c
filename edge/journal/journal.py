"""The journal as the agent sees it: readings in memory, durable facts, segments and acks."""

import asyncio
import logging
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from edge.clock import Clock
from edge.journal.accept import report
from edge.journal.commands import CommandTables
from edge.journal.lock import JournalLock
from edge.journal.records import (
    Along,
    Damaged,
    Durable,
    LaneView,
    PendingFact,
    Range,
    Reading,
    Sealed,
)
from edge.journal.store import (
    SEGMENT_FACTS,
    SEGMENT_READINGS,
    TRANSACTION_SEGMENTS,
    JournalStore,
    Written,
    damage,
)
from edge.traces import NewTrace, never
from protocol.bodies import Fact, FieldValue, encode_facts
from protocol.segment import Lane

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# One transaction takes a whole buffer; after a crash its segments are reported again.
BUFFER_READINGS = 16 * SEGMENT_READINGS
BUFFER_FACTS = TRANSACTION_SEGMENTS * SEGMENT_FACTS
READ_BYTES = 512 * 1024
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Journal:
    """One vehicle's journal. Every call that touches the disk runs on the journal's own thread.

    Readings wait in memory until `flush`; a disk that refuses to write keeps them there, bounded,
    and the loss, if any, becomes a fact. Facts are durable when `append_fact` returns a seq.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        boot_id: int,
        max_bytes: int,
        clock_offset: Callable[[], int] = lambda: 0,
        accept_fd: int | None = None,
        new_trace: NewTrace = never,
    ) -> None:
        self._path = path
        self._clock = clock
        self.boot_id = boot_id
        self._max_bytes = max_bytes
        self._clock_offset = clock_offset
        self._accept_fd = accept_fd
        self._new_trace = new_trace
        self._lock = JournalLock(path)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"journal-{path.name}")
        self._buffer_lock = threading.Lock()
        self._readings: list[Reading] = []
        self._facts: list[PendingFact] = []
        self._failing_since_s: float | None = None
        self._last_error = ""
        self._dropped = 0
        self._on_sealed: list[Callable[[], None]] = []
        self._store: JournalStore

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        boot_id: int,
        max_bytes: int = 64_000_000,
        clock_offset: Callable[[], int] = lambda: 0,
        accept_fd: int | None = None,
        new_trace: NewTrace = never,
    ) -> Self:
        """Open or create the journal at `path` and seal what an earlier run left open.

        Args:
            path: the SQLite file; its folder must exist.
            clock: both clocks.
            boot_id: random u32 of this run of the agent.
            max_bytes: beyond it the oldest signal segments are thinned; facts never are.
            clock_offset: milliseconds to add to this device's time, asked when sealing.
            accept_fd: where to write a line for each durable record, or None.
            new_trace: asked for each segment of readings whether it begins a trace.

        Raises:
            JournalBusyError: Another agent has it open.
            JournalVersionError: A newer agent wrote it.
            sqlite3.Error: The disk refuses.
        """
        journal = cls(
            path,
            clock,
            boot_id=boot_id,
            max_bytes=max_bytes,
            clock_offset=clock_offset,
            accept_fd=accept_fd,
            new_trace=new_trace,
        )
        try:
            await journal._run(journal._open)
        except BaseException:
            journal._let_go()
            raise
        return journal

    def lane(self, lane: Lane) -> LaneView:
        """Return epoch, floor and last seq of a lane as they are durable now."""
        return self._store.lane(lane)

    @property
    def lanes(self) -> tuple[LaneView, ...]:
        """Every lane, fact first."""
        return tuple(self.lane(lane) for lane in Lane)

    @property
    def buffered(self) -> int:
        """Readings in memory that are not durable yet."""
        return len(self._readings)

    def when_sealed(self, call: Callable[[], None]) -> None:
        """Call `call` on the event loop whenever there is a new segment to send."""
        self._on_sealed.append(call)

    def append_reading(self, time_ms: int, values: dict[int, int]) -> None:
        """Take a reading (device time, wire values by signal id); durable after `flush`."""
        with self._buffer_lock:
            self._readings.append((time_ms, values))
            self._bound()

    async def append_fact(
        self,
        kind: str,
        fields: Mapping[str, FieldValue] | None = None,
        *,
        v: int = 1,
        traceparent: str | None = None,
        along: Along | None = None,
    ) -> int | None:
        """Write a fact, sealed, and return its seq: it is durable.

        Args:
            kind: what happened.
            fields: what else there is to know.
            v: version of the fields.
            traceparent: W3C trace context for the header of its segment.
            along: what is written in the same transaction.

        None when the disk refused: the fact is kept in memory and written when the disk can.
        Raises ValueError for a fact that no reader would accept.
        """
        fact = PendingFact(kind, fields or {}, *self._now(), v, traceparent, along)
        _check(fact)
        with self._buffer_lock:
            self._facts.append(fact)
            self._bound()
        await self._commit(seal=False)
        return fact.seq

    async def append_fact_now(
        self, kind: str, fields: Mapping[str, FieldValue], along: Along
    ) -> int | None:
        """As `append_fact`, but when the disk refuses it is forgotten, with all that goes along."""
        fact = PendingFact(kind, fields, *self._now(), along=along)
        _check(fact)
        written = await self._run(self._write_or_not, fact)
        if written.sealed:
            self._tell_sealed()
        return fact.seq

    async def commands(self, call: Callable[[CommandTables], _T]) -> _T:
        """Run `call` on the commands' tables, in one transaction that is durable afterwards.

        Raises sqlite3.OperationalError when the disk refuses: then nothing has changed.
        """
        return await self._run(lambda: self._sound(lambda: self._store.in_transaction(call)))

    async def flush(self) -> int:
        """Make every buffered reading durable with one fsync; return how many records that were."""
        return await self._commit(seal=False)

    async def seal(self) -> int:
        """As `flush`, and close the open segment, so that it can be sent."""
        return await self._commit(seal=True)

    async def unacked(
        self, lane: Lane, from_seq: int = 0, *, limit: int = 16, max_bytes: int = READ_BYTES
    ) -> list[Sealed]:
        """Return the oldest segments from `from_seq` on, never more than `limit`.

        One that has rotted on the disk is put aside and becomes a fact, and is never returned.
        """
        found, told = await self._run(self._read, lane, from_seq, limit, max_bytes)
        if told:
            self._tell_sealed()
        return found

    async def acknowledge(
        self, lane: Lane, epoch: int, through_seq: int, have: Iterable[tuple[int, int]] = ()
    ) -> int:
        """Delete the segments that the cloud has committed wholly; return how many.

        An acknowledgement of another epoch, or of seqs that were never written, is ignored.
        """
        ranges = [Range(0, through_seq), *(Range(*pair) for pair in have)]
        return await self._run(self._forget, lane, epoch, ranges)

    async def close(self) -> None:
        """Seal everything, mark the file as closed, and let go of it. Closing twice is fine."""
        if self._lock.closed:
            return
        try:
            await self._commit(seal=True)
            await self._run(self._store.close)
        except sqlite3.OperationalError as error:
            _log.error("journal %s was not closed in good order: %s", self._path, error)
        finally:
            self._let_go()

    async def _commit(self, *, seal: bool) -> int:
        written = await self._run(self._write, seal)
        if written.sealed:
            self._tell_sealed()
        return sum(last - first + 1 for _, _, first, last in written.records)

    def _tell_sealed(self) -> None:
        for call in self._on_sealed:
            call()

    async def _run(self, call: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *args)

    def _let_go(self) -> None:
        self._worker.shutdown(wait=False)
        self._lock.close()

    # What follows runs on the journal's thread.

    def _open(self) -> None:
        try:
            self._store = self._new_store()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._start_anew()
        self._report(self._store.unreported)

    def _new_store(self) -> JournalStore:
        return JournalStore(
            self._path,
            boot_id=self.boot_id,
            max_bytes=self._max_bytes,
            new_epoch=lambda: secrets.randbits(64),
            now=self._now,
            new_trace=self._new_trace,
        )

    def _start_anew(self) -> None:
        """Put the damaged file aside for a person to look at; a new file has new epochs."""
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        for suffix in ("-wal", "-shm", ""):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        _log.error("journal %s is damaged; kept as %s, a new one is started", self._path, aside)
        self._store = self._new_store()
        fact = PendingFact("journal.quarantined", {"file": aside.name}, *self._now())
        written = self._store.write([], [fact], clock_offset_ms=0, seal=False)
        self._report(written.records)

    def _sound(self, call: Callable[[], _T]) -> _T:
        """Run `call`; if it finds the file damaged, start a new one and run it once more."""
        try:
            return call()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
        self._store.abandon()
        self._start_anew()
        return call()

    def _write(self, seal: bool) -> Written:
        with self._buffer_lock:
            readings, facts = self._readings, self._facts
            self._readings, self._facts = [], []
        if not (readings or facts or (seal and self._store.tail_readings)):
            return Written()
        offset_ms = self._clock_offset()
        try:
            written = self._sound(
                lambda: self._store.write(readings, facts, clock_offset_ms=offset_ms, seal=seal)
            )
        except sqlite3.OperationalError as error:
            self._put_back(readings, facts, str(error))
            return Written()
        self._report(written.records)
        if self._failing_since_s is None and not self._dropped:
            return written
        return Written(written.records + self._recovered().records, sealed=True)

    def _write_or_not(self, fact: PendingFact) -> Written:
        offset_ms = self._clock_offset()
        try:
            written = self._sound(
                lambda: self._store.write([], [fact], clock_offset_ms=offset_ms, seal=False)
            )
        except sqlite3.OperationalError as error:
            _log.error("journal %s cannot keep %s: %s", self._path, fact.kind, error)
            return Written()
        self._report(written.records)
        return written

    def _put_back(self, readings: list[Reading], facts: list[PendingFact], error: str) -> None:
        if self._failing_since_s is None:
            self._failing_since_s = self._clock.mono_s()
            _log.error("journal %s cannot be written (%s); kept in memory", self._path, error)
        self._last_error = error
        with self._buffer_lock:
            self._readings = readings + self._readings
            self._facts = facts + self._facts
            self._bound()

    def _bound(self) -> None:
        for buffer, most in ((self._readings, BUFFER_READINGS), (self._facts, BUFFER_FACTS)):
            over = max(0, len(buffer) - most)
            del buffer[:over]
            self._dropped += over

    def _recovered(self) -> Written:
        """Write down that records waited in memory, and how many did not survive that."""
        now_s = self._clock.mono_s()
        since_s = now_s if self._failing_since_s is None else self._failing_since_s
        fields: dict[str, FieldValue] = {
            "error": self._last_error,
            "for_ms": round((now_s - since_s) * 1000),
            "dropped": self._dropped,
        }
        self._failing_since_s, self._last_error, self._dropped = None, "", 0
        with self._buffer_lock:
            self._facts.append(PendingFact("journal.write_failed", fields, *self._now()))
        return self._write(seal=False)

    def _read(
        self, lane: Lane, from_seq: int, limit: int, max_bytes: int
    ) -> tuple[list[Sealed], bool]:
        """Return sound segments, and whether facts were written about others."""
        told = False
        while True:
            found = self._sound(lambda: self._store.read(lane, from_seq, limit, max_bytes))
            damaged = [Damaged(one, why) for one in found if (why := damage(one)) is not None]
            if not damaged:
                return found, told
            try:
                self._set_aside(damaged)
            except sqlite3.OperationalError as error:
                _log.error("journal %s cannot put damage aside: %s", self._path, error)
                rotten = {one.segment.first_seq for one in damaged}
                return [one for one in found if one.first_seq not in rotten], told
            told = True

    def _set_aside(self, damaged: Sequence[Damaged]) -> None:
        for segment, reason in damaged:
            span = f"{segment.lane.name.lower()} {segment.first_seq}-{segment.last_seq}"
            _log.error("journal %s: segment %s is damaged (%s)", self._path, span, reason)
        offset_ms = self._clock_offset()
        written = self._sound(lambda: self._store.set_aside(damaged, clock_offset_ms=offset_ms))
        self._report(written.records)

    def _forget(self, lane: Lane, epoch: int, ranges: Sequence[Range]) -> int:
        held = self._store.lane(lane)
        if epoch != held.epoch or any(covered.last > held.last_seq for covered in ranges):
            return 0
        try:
            return self._sound(lambda: self._store.forget(lane, ranges))
        except sqlite3.OperationalError as error:
            _log.warning("journal %s forgets nothing (%s); acks will come again", self._path, error)
            return 0

    def _report(self, records: Iterable[Durable]) -> None:
        if self._accept_fd is not None:
            report(self._accept_fd, records)

    def _now(self) -> tuple[int, int]:
        return self._clock.wall_ms(), int(self._clock.mono_s() * 1000)


def _check(fact: PendingFact) -> None:
    encode_facts([Fact(fact.kind, fact.v, 0, fact.mono_ms, dict(fact.fields))])


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED
