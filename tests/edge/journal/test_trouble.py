"""A journal in need: too large, a full disk, a damaged file."""

import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from edge.journal import Journal, JournalVersionError
from edge.journal.journal import BUFFER_READINGS
from edge.journal.store import JournalStore
from protocol.bodies import Fact
from protocol.segment import Lane
from tests.edge.journal.opening import a_journal, fill, numbers, sealed, segments


async def facts(journal: Journal) -> list[Fact]:
    return [fact for one in await segments(journal, Lane.FACT) for fact in one.facts or ()]


def whole(fact: Fact, name: str) -> int:
    value = fact.fields[name]
    assert isinstance(value, int)
    return value


def full_disk(*_: object, **__: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def test_the_oldest_signals_are_thinned_and_the_gap_is_a_fact(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db", max_bytes=20_000) as journal:
        for number in range(400):
            fill(journal, 40, first=number * 40)
            await journal.seal()
        found = await sealed(journal)
        thinned = [fact for fact in await facts(journal) if fact.kind == "journal.thinned"]
        held = journal.lane(Lane.SIGNAL)
    assert (tmp_path / "j.db").stat().st_size < 40_000
    gaps = [(whole(fact, "from_seq"), whole(fact, "through_seq")) for fact in thinned]
    assert len(gaps) > 1
    assert gaps[0][0] == 1
    assert all(before[1] + 1 == after[0] for before, after in pairwise(gaps))
    assert gaps[-1][1] + 1 == found[0].first_seq == held.floor_seq
    assert sum(whole(fact, "readings") for fact in thinned) == held.floor_seq - 1
    assert found[-1].last_seq == held.last_seq == 16_000


async def test_a_segment_sealed_after_thinning_tells_the_new_floor(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db", max_bytes=20_000) as journal:
        for number in range(300):
            fill(journal, 40, first=number * 40)
            await journal.seal()
        fill(journal, 1)
        await journal.seal()
        newest = (await segments(journal))[-1].header
    assert 1 < newest.floor_seq < newest.first_seq


async def test_facts_are_never_thinned(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db", max_bytes=20_000) as journal:
        for number in range(300):
            await journal.append_fact("a.fact", {"number": number})
        fill(journal, 10)
        await journal.seal()
        kept = [fact for fact in await facts(journal) if fact.kind == "a.fact"]
        assert await sealed(journal) == []
    assert [fact.fields["number"] for fact in kept] == list(range(300))


async def test_a_full_disk_loses_nothing_that_fits_in_memory(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        mocker.patch.object(JournalStore, "write", side_effect=full_disk)
        fill(journal, 5)
        assert await journal.flush() == 0
        assert await journal.append_fact("battery.offline") is None
        fill(journal, 5, first=5)
        assert await journal.seal() == 0
        assert journal.buffered == 10
        mocker.stopall()
        await journal.seal()
        assert numbers(await segments(journal)) == list(range(10))
        kinds = [fact.kind for fact in await facts(journal)]
    assert kinds == ["battery.offline", "journal.write_failed"]


def test_a_disk_that_is_really_full_loses_nothing_either(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.edge.journal.full_disk", str(tmp_path / "j.db")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])


async def test_what_a_full_disk_costs_is_counted_and_told(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        mocker.patch.object(JournalStore, "write", side_effect=full_disk)
        fill(journal, 1)
        await journal.flush()
        fill(journal, BUFFER_READINGS + 9, first=1)
        await journal.flush()
        mocker.stopall()
        await journal.seal()
        (told,) = await facts(journal)
        found = await segments(journal)
    assert (told.kind, told.fields["dropped"]) == ("journal.write_failed", 10)
    assert told.fields["error"] == "database or disk is full"
    assert numbers(found) == list(range(10, BUFFER_READINGS + 10))
    assert (found[0].header.first_seq, found[-1].header.last_seq) == (1, BUFFER_READINGS)


async def test_a_damaged_file_is_kept_aside_and_a_new_epoch_begins(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with a_journal(path) as journal:
        before = {view.epoch for view in journal.lanes}
        fill(journal, 10)
    path.write_bytes(b"not a database" * 1000)
    async with a_journal(path) as journal:
        after = {view.epoch for view in journal.lanes}
        (told,) = await facts(journal)
        fill(journal, 1)
        assert await journal.seal() == 1
    assert not before & after
    assert told.kind == "journal.quarantined"
    assert (tmp_path / str(told.fields["file"])).read_bytes().startswith(b"not a database")


async def test_damage_found_at_work_keeps_what_was_about_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with a_journal(path) as journal:
        fill(journal, 200)
        await journal.seal()
    half = path.read_bytes()
    path.write_bytes(half[:1024] + b"\xff" * (len(half) - 1024))
    async with a_journal(path) as journal:
        fill(journal, 3)
        await journal.seal()
        assert [fact.kind for fact in await facts(journal)] == ["journal.quarantined"]
        assert numbers(await segments(journal)) == [0, 1, 2]


async def test_a_newer_agent_s_journal_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with a_journal(path):
        pass
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalVersionError, match="install the newer agent"):
        async with a_journal(path):
            pass
