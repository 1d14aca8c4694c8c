"""What the journal promises: seqs, sealing, acks."""

from pathlib import Path

import pytest

from edge.journal import JournalBusyError
from edge.journal.store import SEGMENT_READINGS
from protocol.segment import Lane
from tests.edge.journal.opening import START_MS, a_journal, fill, numbers, sealed, segments


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def test_readings_are_counted_from_one_and_durable_after_a_flush(path: Path) -> None:
    async with a_journal(path) as journal:
        fill(journal, 3)
        assert journal.lane(Lane.SIGNAL).last_seq == 0
        assert await journal.flush() == 3
        assert journal.lane(Lane.SIGNAL).last_seq == 3


async def test_a_seal_makes_one_segment_of_what_was_flushed_and_what_was_not(path: Path) -> None:
    async with a_journal(path) as journal:
        fill(journal, 4)
        await journal.flush()
        fill(journal, 2, first=4)
        await journal.seal()
        (one,) = await segments(journal)
    assert (one.header.first_seq, one.header.n, one.header.t0_ms) == (1, 6, START_MS)
    assert numbers([one]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("count", [511, 512, 513, 1024, 1300])
async def test_whole_segments_are_sealed_without_being_asked(path: Path, count: int) -> None:
    async with a_journal(path) as journal:
        fill(journal, count)
        await journal.flush()
        found = await segments(journal)
        assert [one.header.n for one in found] == [SEGMENT_READINGS] * (count // SEGMENT_READINGS)
        await journal.seal()
        found = await segments(journal)
    assert numbers(found) == list(range(count))
    assert max(one.header.n for one in found) <= SEGMENT_READINGS


async def test_many_small_flushes_fill_one_segment(path: Path) -> None:
    async with a_journal(path) as journal:
        for number in range(SEGMENT_READINGS + 1):
            fill(journal, 1, first=number)
            await journal.flush()
        (one,) = await segments(journal)
        assert one.header.n == SEGMENT_READINGS
        assert journal.lane(Lane.SIGNAL).last_seq == SEGMENT_READINGS + 1


async def test_a_lane_says_how_far_it_can_be_sent(path: Path) -> None:
    async with a_journal(path) as journal:
        fill(journal, SEGMENT_READINGS + 3)
        await journal.flush()
        held = journal.lane(Lane.SIGNAL)
        assert (held.last_seq, held.sealed_seq) == (SEGMENT_READINGS + 3, SEGMENT_READINGS)
        await journal.seal()
        assert journal.lane(Lane.SIGNAL).sealed_seq == SEGMENT_READINGS + 3
        await journal.append_fact("a")
        assert journal.lane(Lane.FACT).sealed_seq == 1
    async with a_journal(path) as journal:
        assert journal.lane(Lane.SIGNAL).sealed_seq == SEGMENT_READINGS + 3


async def test_an_empty_seal_makes_no_segment(path: Path) -> None:
    async with a_journal(path) as journal:
        assert await journal.seal() == 0
        assert await segments(journal) == []


async def test_a_sealed_segment_never_changes(path: Path) -> None:
    async with a_journal(path) as journal:
        fill(journal, 3)
        await journal.seal()
        before = await sealed(journal)
        fill(journal, 3, first=3)
        await journal.seal()
    async with a_journal(path, boot_id=2) as journal:
        assert (await sealed(journal))[0] == before[0]


async def test_a_fact_is_sealed_and_durable_when_it_returns(path: Path) -> None:
    async with a_journal(path) as journal:
        assert await journal.append_fact("battery.offline", {"missed": 5}) == 1
        (one,) = await segments(journal, Lane.FACT)
    assert one.facts is not None
    assert [(fact.kind, fact.fields) for fact in one.facts] == [("battery.offline", {"missed": 5})]
    assert one.header.t0_ms + one.facts[0].dt_ms == START_MS


async def test_a_fact_no_reader_would_accept_is_refused_and_harms_nothing(path: Path) -> None:
    async with a_journal(path) as journal:
        with pytest.raises(ValueError, match="not a kind of fact"):
            await journal.append_fact("Not A Kind")
        assert await journal.append_fact("a.kind") == 1


async def test_a_restart_goes_on_counting_and_keeps_the_epoch(path: Path) -> None:
    async with a_journal(path, boot_id=1) as journal:
        before = journal.lane(Lane.SIGNAL)
        fill(journal, 2)
    async with a_journal(path, boot_id=2) as journal:
        assert journal.lane(Lane.SIGNAL).epoch == before.epoch
        fill(journal, 2, first=2)
        await journal.seal()
        found = await segments(journal)
    assert [(one.header.first_seq, one.header.boot_id) for one in found] == [(1, 1), (3, 2)]


async def test_counting_goes_on_after_everything_was_acked(path: Path) -> None:
    async with a_journal(path) as journal:
        fill(journal, 5)
        await journal.seal()
        await journal.acknowledge(Lane.SIGNAL, journal.lane(Lane.SIGNAL).epoch, 5)
        assert not journal.lane(Lane.SIGNAL).holds_any
    async with a_journal(path, boot_id=2) as journal:
        assert journal.lane(Lane.SIGNAL).last_seq == 5
        fill(journal, 1)
        await journal.seal()
        (one,) = await segments(journal)
    assert (one.header.first_seq, one.header.floor_seq) == (6, 6)


async def test_lanes_and_journals_have_epochs_of_their_own(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "a.db") as first, a_journal(tmp_path / "b.db") as second:
        epochs = {view.epoch for journal in (first, second) for view in journal.lanes}
    assert len(epochs) == 4


async def test_a_second_agent_on_the_same_journal_is_told_so(path: Path) -> None:
    async with a_journal(path):
        with pytest.raises(JournalBusyError, match="stop it"):
            async with a_journal(path):
                pass


async def test_the_clock_offset_at_sealing_is_in_the_header(path: Path) -> None:
    async with a_journal(path, offset_ms=-5_000) as journal:
        fill(journal, 1)
        await journal.seal()
        (one,) = await segments(journal)
    assert one.header.clock_offset_ms == -5_000


async def test_readings_with_different_signals_share_a_segment(path: Path) -> None:
    async with a_journal(path) as journal:
        journal.append_reading(START_MS, {1: 10})
        journal.append_reading(START_MS + 1, {2: 20})
        await journal.seal()
        (one,) = await segments(journal)
    assert one.signals is not None
    assert one.signals.columns == {1: [10, None], 2: [None, 20]}


async def test_listeners_hear_of_a_new_segment_and_not_of_a_flush(path: Path) -> None:
    heard: list[str] = []
    async with a_journal(path) as journal:
        journal.when_sealed(lambda: heard.append("sealed"))
        fill(journal, 1)
        await journal.flush()
        assert heard == []
        await journal.seal()
        assert heard == ["sealed"]


async def test_a_backlog_is_read_in_bounded_pieces(path: Path) -> None:
    async with a_journal(path) as journal:
        for number in range(20):
            fill(journal, 1, first=number)
            await journal.seal()
        piece = await journal.unacked(Lane.SIGNAL, 5, limit=4)
        assert [one.first_seq for one in piece] == [5, 6, 7, 8]
        assert len(await journal.unacked(Lane.SIGNAL, limit=16, max_bytes=1)) == 1
