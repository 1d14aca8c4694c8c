"""Kill -9 in the middle of writing: what was reported as durable is there, once, and counted on."""

import os
import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from protocol.messages import epoch_hex
from protocol.segment import Lane, lane_name
from tests.edge.journal.opening import a_journal, fill, segments

Key = tuple[str, str, int]
RUNS = 6


def run_and_kill(path: Path, first: int, after_s: float) -> list[Key]:
    """Let the writer work for `after_s` after its first line, kill it; return its lines."""
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.edge.journal.writer", str(path), str(first)],
        env={**os.environ, "MOBILITY_ACCEPT_FD": str(writing)},
        pass_fds=[writing],
    )
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        text = pipe.read(1)
        time.sleep(after_s)
        child.kill()
        child.wait()
        while more := pipe.read(1 << 20):
            text += more
    whole, _, _torn = text.rpartition(b"\n")
    return [_key(line) for line in whole.decode("ascii").splitlines()]


def _key(line: str) -> Key:
    lane, epoch, seq = line.split(" ")
    return lane, epoch, int(seq)


async def test_nothing_reported_as_durable_is_lost_by_kill_9(tmp_path: Path) -> None:
    path, chance = tmp_path / "j.db", random.Random()
    reported: set[Key] = set()
    for run in range(RUNS):
        lines = run_and_kill(path, run * 1_000_000, chance.uniform(0.0, 0.15))
        reported |= set(lines)
        assert reported
    reading, writing = os.pipe()
    async with a_journal(path, accept_fd=writing) as journal:
        os.close(writing)
        held = {
            (lane_name(lane), epoch_hex(one.header.epoch), seq)
            for lane in Lane
            for one in await segments(journal, lane)
            for seq in range(one.header.first_seq, one.header.last_seq + 1)
        }
        opened = [one.signals for one in await segments(journal) if one.signals]
        values = [value for block in opened for value in block.columns[999]]
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            reported |= {_key(line) for line in pipe.read(1 << 20).decode("ascii").splitlines()}
    assert reported == held
    assert len(set(values)) == len(values)


async def test_seqs_go_on_without_a_hole_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    reported: list[Key] = []
    for run in range(RUNS):
        reported += run_and_kill(path, run * 1_000_000, 0.05 * (run + 1))
        if run and {lane for lane, _, _ in reported} == {lane_name(lane) for lane in Lane}:
            break
    async with a_journal(path) as journal:
        fill(journal, 1)
        await journal.seal()
        for lane in Lane:
            headers = [one.header for one in await segments(journal, lane)]
            assert headers[0].first_seq == 1
            assert all(a.last_seq + 1 == b.first_seq for a, b in pairwise(headers))


async def test_what_an_earlier_boot_left_open_is_sealed_under_its_boot_id(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with a_journal(path, boot_id=1) as journal:
        fill(journal, 3)
        await journal.flush()
        fill(journal, 2, first=3)
        await journal.flush()
        copy = tmp_path / "copy.db"
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).write_bytes(
                path.with_name(path.name + suffix).read_bytes()
            )
    async with a_journal(copy, boot_id=2) as journal:
        fill(journal, 1)
        await journal.seal()
        found = [one.header for one in await segments(journal)]
    assert [(one.first_seq, one.n, one.boot_id) for one in found] == [(1, 5, 1), (6, 1, 2)]
