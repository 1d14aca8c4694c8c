"""Commands and twins in the journal: durable before they count, ended and told in one."""

import dataclasses
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edge.clock import ManualClock
from edge.journal import Journal
from edge.journal.book import CommandBook
from edge.journal.commands import KEPT_COMMANDS, KEPT_MS, CommandRecord, CommandTables, KeptTwin
from edge.journal.schema import MIGRATIONS
from protocol.segment import Lane
from tests.edge.journal.opening import START_MS, a_full_disk, a_journal, segments

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DAY_MS = 86_400_000


def a_record(**more: Any) -> CommandRecord:
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "kind": "speed_limit",
        "args": {"kmh": 20},
        "issued_at_ms": START_MS,
        "not_after_ms": START_MS + 60_000,
        "boot_id": 1,
        "received_wall_ms": START_MS + 40,
        "received_mono_ms": 1_000_000,
        "traceparent": TRACE,
    }
    return CommandRecord(**fields | more)


@asynccontextmanager
async def a_book(path: Path) -> AsyncIterator[tuple[Journal, CommandBook]]:
    async with a_journal(path) as journal:
        yield journal, CommandBook(journal, ManualClock(START_MS))


def copied(path: Path, to: Path) -> Path:
    """The file as a power cut would leave it now."""
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), to.with_name(to.name + suffix))
    return to


async def test_a_kept_command_survives_a_power_cut_unfinished(tmp_path: Path) -> None:
    record = a_record()
    async with a_book(tmp_path / "j.db") as (_, book):
        assert await book.keep_command(record, seen_ms=START_MS) == "kept"
        copy = copied(tmp_path / "j.db", tmp_path / "copy.db")
    async with a_book(copy) as (_, book):
        assert await book.unfinished_commands() == [record]
        assert await book.command(record.id) == record
        assert (await book.kept()).seen_ms == START_MS


async def test_the_end_and_its_fact_are_one(tmp_path: Path) -> None:
    record = a_record()
    async with a_book(tmp_path / "j.db") as (journal, book):
        await book.keep_command(record, seen_ms=START_MS)
        ended = dataclasses.replace(record, state="done")
        seq = await book.end_command(ended, {"id": record.id, "state": "done"}, seen_ms=START_MS)
        copy = copied(tmp_path / "j.db", tmp_path / "copy.db")
        (told,) = await segments(journal, Lane.FACT)
    assert told.facts
    assert told.facts[0].kind == "command.result"
    assert (told.header.first_seq, told.header.traceparent) == (seq, TRACE)
    async with a_book(copy) as (_, book):
        assert await book.unfinished_commands() == []
        found = await book.command(record.id)
        assert found is not None
        assert (found.state, found.ended, found.fact_seq) == ("done", True, seq)
        assert found.fields == {"id": record.id, "state": "done"}


async def test_facts_of_different_traces_lie_in_different_segments(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        with a_full_disk():
            for traceparent in (None, None, TRACE, None):
                assert await journal.append_fact("a.fact", traceparent=traceparent) is None
        await journal.flush()
        found = [
            (one.header.first_seq, one.header.n, one.header.traceparent)
            for one in await segments(journal, Lane.FACT)
        ]
    assert found[:3] == [(1, 2, None), (3, 1, TRACE), (4, 1, None)]


async def test_a_disk_that_refuses_keeps_nothing_and_an_end_is_written_later(
    tmp_path: Path,
) -> None:
    record, begun = a_record(), a_record()
    async with a_book(tmp_path / "j.db") as (journal, book):
        await book.keep_command(begun, seen_ms=START_MS)
        with a_full_disk():
            assert await book.keep_command(record, seen_ms=START_MS) == "disk"
            ended = dataclasses.replace(begun, state="done")
            assert await book.end_command(ended, {"id": begun.id}, seen_ms=START_MS) is None
            assert await book.unfinished_commands() == [begun]
        assert await book.command(record.id) is None
        await journal.flush()
        assert await book.unfinished_commands() == []
        found = await book.command(begun.id)
        assert found is not None
        assert found.fact_seq == 1


async def test_an_answer_is_told_again_only_when_the_last_one_has_arrived(tmp_path: Path) -> None:
    async with a_book(tmp_path / "j.db") as (journal, book):
        record = a_record(state="done")
        await book.end_command(record, {"id": record.id}, seen_ms=0)

        async def again() -> bool:
            found = await book.command(record.id)
            assert found is not None
            return await book.tell_again(found)

        assert not await again()
        view = journal.lane(Lane.FACT)
        await journal.acknowledge(Lane.FACT, view.epoch, view.last_seq)
        assert await again()
        assert not await again()
        (told,) = await segments(journal, Lane.FACT)
        assert told.facts
        assert told.facts[0].fields == {"id": record.id, "repeat": True}


async def test_the_newest_signed_time_never_goes_back(tmp_path: Path) -> None:
    async with a_book(tmp_path / "j.db") as (_, book):
        await book.keep_command(a_record(), seen_ms=START_MS + 5)
        await book.keep_command(a_record(), seen_ms=START_MS)
        await book.refuse_twin({"version": 1}, seen_ms=START_MS + 2)
        assert (await book.kept()).seen_ms == START_MS + 5


async def test_a_twin_its_keys_and_its_fact_are_one(tmp_path: Path) -> None:
    keys = {"signers": {"k2": "22"}, "enrolled": {"k1": "11"}}
    async with a_book(tmp_path / "j.db") as (journal, book):
        ends = a_record(state="done")
        await book.end_command(
            ends, {}, seen_ms=0, intervals={"poll_parked_s": 5, "seal_parked_s": 9}
        )
        twin = KeptTwin(3, b"signed", b"{}", 0)
        kept = await book.keep_twin(twin, **keys, intervals={"poll_parked_s": 7}, seen_ms=START_MS)
        copy = copied(tmp_path / "j.db", tmp_path / "copy.db")
        with a_full_disk():
            newer = KeptTwin(4, b"signed", b"{}", 0)
            assert await book.keep_twin(newer, **keys, intervals={}, seen_ms=START_MS) is None
        await journal.flush()
        told = [fact for one in await segments(journal, Lane.FACT) for fact in one.facts or ()]
    assert [fact.fields for fact in told if fact.kind == "twin.applied"] == [{"version": 3}]
    async with a_book(copy) as (_, book):
        found = await book.kept()
    assert kept == found.twin == KeptTwin(3, b"signed", b"{}", 2)
    assert (found.signers, found.enrolled) == ({"k2": "22"}, {"k1": "11"})
    assert found.intervals == {"seal_parked_s": 9.0}


async def test_only_what_has_expired_is_forgotten_and_never_more_than_fits(tmp_path: Path) -> None:
    async with a_book(tmp_path / "j.db") as (_, book):
        old, lives = a_record(state="done"), a_record(not_after_ms=START_MS + 30 * DAY_MS)
        await book.end_command(old, {}, seen_ms=START_MS)
        await book.keep_command(lives, seen_ms=START_MS)
        await book.keep_command(a_record(), seen_ms=START_MS + 60_000 + KEPT_MS + 1)
        assert await book.command(old.id) is None
        assert await book.command(lives.id) is not None


async def test_a_full_book_takes_no_more_until_something_expires(tmp_path: Path) -> None:
    async with a_book(tmp_path / "j.db") as (journal, book):
        await journal.commands(fill_up)
        assert await book.keep_command(a_record(), seen_ms=START_MS) == "full"
        refused = a_record(state="refused", reason="busy")
        await book.end_command(refused, {"id": refused.id}, seen_ms=START_MS)
        assert await book.command(refused.id) is None
        assert await book.keep_command(a_record(), seen_ms=START_MS + 60_001) == "kept"


def fill_up(tables: CommandTables) -> None:
    for _ in range(KEPT_COMMANDS):
        tables.keep(a_record(state="done", ended_at_ms=START_MS))


async def test_a_journal_of_the_version_before_is_migrated_and_keeps_its_segments(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.db"
    db = sqlite3.connect(path)
    db.executescript("".join(MIGRATIONS[:2]) + "PRAGMA user_version = 2;")
    db.execute("INSERT INTO lane VALUES (0, '00000000000000aa', 4), (1, '00000000000000bb', 9)")
    db.commit()
    db.close()
    async with a_book(path) as (journal, book):
        assert [held.last_seq for held in journal.lanes] == [4, 9]
        assert await book.unfinished_commands() == []
        assert await book.keep_command(a_record(), seen_ms=0) == "kept"
