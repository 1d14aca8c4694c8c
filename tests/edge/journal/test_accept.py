"""The lines on MOBILITY_ACCEPT_FD."""

import os
from pathlib import Path

import pytest

from edge.journal.accept import AcceptFdError, accept_fd
from protocol.messages import epoch_hex
from protocol.segment import Lane
from tests.edge.journal.opening import a_journal, fill


def lines(fd: int) -> list[str]:
    return os.read(fd, 1 << 16).decode("ascii").splitlines()


async def test_each_record_gets_a_line_once_it_is_durable(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    async with a_journal(tmp_path / "j.db", accept_fd=writing) as journal:
        fact, signal = (epoch_hex(view.epoch) for view in journal.lanes)
        fill(journal, 2)
        with pytest.raises(BlockingIOError):
            lines(reading)
        await journal.flush()
        assert lines(reading) == [f"signal {signal} 1", f"signal {signal} 2"]
        await journal.seal()
        with pytest.raises(BlockingIOError):
            lines(reading)
        await journal.append_fact("a.fact")
        assert lines(reading) == [f"fact {fact} 1"]
    os.close(reading)
    os.close(writing)


async def test_after_a_clean_close_no_line_is_repeated(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    async with a_journal(tmp_path / "j.db") as journal:
        fill(journal, 2)
    async with a_journal(tmp_path / "j.db", accept_fd=writing) as journal:
        fill(journal, 1)
        await journal.flush()
        epoch = epoch_hex(journal.lane(Lane.SIGNAL).epoch)
        assert lines(reading) == [f"signal {epoch} 3"]
    os.close(reading)
    os.close(writing)


def test_a_descriptor_that_is_not_open_is_named(tmp_path: Path) -> None:
    with pytest.raises(AcceptFdError, match="MOBILITY_ACCEPT_FD=987"):
        accept_fd({"MOBILITY_ACCEPT_FD": "987"})
    assert accept_fd({}) is None
