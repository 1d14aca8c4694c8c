"""What an acknowledgement deletes, and what it must not."""

from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from edge.journal import Journal, store
from protocol.segment import Lane
from tests.edge.journal.opening import a_journal, fill, sealed


async def of_three_segments(journal: Journal) -> int:
    """Seal seqs 1-4, 5-8 and 9-12; return the epoch."""
    for first in (0, 4, 8):
        fill(journal, 4, first=first)
        await journal.seal()
    return journal.lane(Lane.SIGNAL).epoch


async def left(journal: Journal) -> list[int]:
    return [one.first_seq for one in await sealed(journal)]


@pytest.mark.parametrize(
    ("through", "have", "kept"),
    [
        (0, [], [1, 5, 9]),
        (3, [], [1, 5, 9]),
        (4, [], [5, 9]),
        (7, [], [5, 9]),
        (12, [], []),
        (0, [(5, 8)], [1, 9]),
        (4, [(9, 12)], [5]),
        (4, [(6, 12)], [5]),
        (0, [(2, 4), (6, 7)], [1, 5, 9]),
    ],
)
async def test_only_segments_that_are_covered_wholly_go(
    tmp_path: Path, through: int, have: list[tuple[int, int]], kept: list[int]
) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        epoch = await of_three_segments(journal)
        assert await journal.acknowledge(Lane.SIGNAL, epoch, through, have) == 3 - len(kept)
        assert await left(journal) == kept
        assert journal.lane(Lane.SIGNAL).floor_seq == (kept[0] if kept else 13)


async def test_an_ack_of_another_epoch_is_ignored(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        epoch = await of_three_segments(journal)
        assert await journal.acknowledge(Lane.SIGNAL, epoch ^ 1, 12) == 0
        assert await left(journal) == [1, 5, 9]


async def test_an_ack_of_what_was_never_written_is_ignored(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        epoch = await of_three_segments(journal)
        assert await journal.acknowledge(Lane.SIGNAL, epoch, 13) == 0
        assert await journal.acknowledge(Lane.SIGNAL, epoch, 4, [(9, 99)]) == 0
        assert await left(journal) == [1, 5, 9]


async def test_an_ack_of_one_lane_leaves_the_other(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        await journal.append_fact("a.fact")
        epoch = await of_three_segments(journal)
        await journal.acknowledge(Lane.SIGNAL, epoch, 12)
        assert len(await sealed(journal, Lane.FACT)) == 1


async def test_an_ack_does_not_touch_readings_that_are_not_sealed(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        epoch = await of_three_segments(journal)
        fill(journal, 2, first=12)
        await journal.flush()
        await journal.acknowledge(Lane.SIGNAL, epoch, 14)
        assert journal.lane(Lane.SIGNAL).floor_seq == 13
        await journal.seal()
        assert await left(journal) == [13]


async def test_an_ack_survives_a_restart(tmp_path: Path) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        epoch = await of_three_segments(journal)
        await journal.acknowledge(Lane.SIGNAL, epoch, 8)
    async with a_journal(tmp_path / "j.db") as journal:
        assert await left(journal) == [9]
        assert journal.lane(Lane.SIGNAL).floor_seq == 9


async def test_a_large_ack_deletes_everything_it_covers(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    mocker.patch.object(store, "_DELETE_ROWS", 7)
    async with a_journal(tmp_path / "j.db") as journal:
        for number in range(30):
            fill(journal, 2, first=number * 2)
            await journal.seal()
        held = journal.lane(Lane.SIGNAL)
        assert await journal.acknowledge(Lane.SIGNAL, held.epoch, held.last_seq) == 30
        assert not journal.lane(Lane.SIGNAL).holds_any
