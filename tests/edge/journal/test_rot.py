"""A segment whose bytes changed on the disk: put aside, told, and no longer in anybody's way."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from cloud.devices.model import Progress, add, raise_floor
from edge.journal import inspect
from edge.journal.store import DAMAGED_KEPT, JournalStore
from protocol.bodies import Fact
from protocol.segment import Lane
from tests.edge.journal.opening import a_journal, fill, numbers, sealed, segments


async def written(path: Path, count: int = 3) -> None:
    """Leave a journal with segments of four readings, seqs 1-4, 5-8 ..."""
    async with a_journal(path) as journal:
        for first in range(0, 4 * count, 4):
            fill(journal, 4, first=first)
            await journal.seal()


def rot(path: Path, first_seq: int, lane: Lane = Lane.SIGNAL) -> bytes:
    """Flip one bit of a segment; return its bytes."""
    with closing(sqlite3.connect(path)) as db:
        where = "WHERE lane = ? AND first_seq = ?"
        (body,) = db.execute(f"SELECT body FROM segment {where}", (lane, first_seq)).fetchone()
        rotten = bytes((*body[:-1], body[-1] ^ 4))
        db.execute(f"UPDATE segment SET body = ? {where}", (rotten, lane, first_seq))
        db.commit()
    return rotten


async def told(path: Path) -> list[Fact]:
    async with a_journal(path) as journal:
        return [fact for one in await segments(journal, Lane.FACT) for fact in one.facts or ()]


async def test_a_rotten_segment_is_not_sent_but_told_of(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await written(path)
    rotten = rot(path, 5)
    calls: list[str] = []
    async with a_journal(path) as journal:
        journal.when_sealed(lambda: calls.append("sealed"))
        assert numbers(await segments(journal)) == [0, 1, 2, 3, 8, 9, 10, 11]
        assert calls == ["sealed"]
        assert journal.lane(Lane.FACT).last_seq == 1
    (fact,) = await told(path)
    assert (fact.kind, fact.fields) == (
        "journal.segment_damaged",
        {"lane": "signal", "from_seq": 5, "through_seq": 8, "reason": "crc"},
    )
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT lane, first_seq, n, reason, body FROM damaged").fetchall()
    assert rows == [(1, 5, 4, "crc", rotten)]


@pytest.mark.parametrize("first_seq", [1, 5, 9])
async def test_the_cloud_gets_past_the_hole(tmp_path: Path, first_seq: int) -> None:
    path = tmp_path / "j.db"
    await written(path)
    rot(path, first_seq)
    progress = Progress()
    gaps: list[tuple[int, int]] = []
    async with a_journal(path) as journal:
        for one in await sealed(journal):
            progress = add(progress, one.first_seq, one.last_seq)
        epoch = journal.lane(Lane.SIGNAL).epoch
        await journal.acknowledge(Lane.SIGNAL, epoch, progress.through_seq, progress.have)
        held = journal.lane(Lane.SIGNAL)
        assert not held.holds_any
        progress, noted = raise_floor(progress, held.floor_seq)
        gaps += noted
        fill(journal, 2)
        await journal.seal()
        (later,) = await segments(journal)
    assert gaps == [(first_seq, first_seq + 3)]
    assert progress == Progress(12)
    assert (later.header.first_seq, later.header.floor_seq) == (13, 13)


async def test_a_rotten_fact_is_told_of_on_its_own_lane(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with a_journal(path) as journal:
        await journal.append_fact("a.fact")
    rot(path, 1, Lane.FACT)
    (fact,) = await told(path)
    assert fact.fields["lane"] == "fact"
    async with a_journal(path) as journal:
        held = journal.lane(Lane.FACT)
        assert (held.floor_seq, held.last_seq) == (2, 2)
        assert await journal.append_fact("another.fact") == 3


async def test_a_segment_in_another_s_place_is_damage_too(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    await written(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "UPDATE segment SET body = (SELECT body FROM segment WHERE first_seq = 1)"
            " WHERE first_seq = 9"
        )
        db.commit()
    async with a_journal(path) as journal:
        assert numbers(await segments(journal)) == list(range(8))
    assert [fact.fields["reason"] for fact in await told(path)] == ["header"]


async def test_only_the_newest_damage_is_kept_and_seqs_are_never_given_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.db"
    count = DAMAGED_KEPT + 4
    await written(path, count)
    for first_seq in range(1, 4 * count, 4):
        rot(path, first_seq)
    async with a_journal(path) as journal:
        assert await sealed(journal) == []
    async with a_journal(path) as journal:
        assert journal.lane(Lane.SIGNAL).last_seq == 4 * count
    with closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT first_seq FROM damaged ORDER BY number").fetchall()
    assert [seq for (seq,) in kept] == list(range(17, 4 * count, 4))


async def test_a_full_disk_keeps_the_damage_and_sends_the_rest(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    path = tmp_path / "j.db"
    await written(path)
    rot(path, 5)
    full = sqlite3.OperationalError("database or disk is full")
    async with a_journal(path) as journal:
        mocker.patch.object(JournalStore, "set_aside", side_effect=full)
        assert numbers(await segments(journal)) == [0, 1, 2, 3, 8, 9, 10, 11]
        mocker.stopall()
        assert len(await sealed(journal)) == 2
    assert len(await told(path)) == 1


async def test_an_export_tells_of_the_rotten_segment_and_gives_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j.db"
    await written(path)
    rot(path, 5)
    assert [reading.seq for reading in inspect.readings(path)] == [1, 2, 3, 4, 9, 10, 11, 12]
    assert "from seq 5 on is damaged" in caplog.text
