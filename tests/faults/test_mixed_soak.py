"""Eight agents on eight different controllers and noisy lines: `make soak`, SOAK_MINUTES=10."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

from edge.journal.show import write_jsonl
from protocol.signals import BY_KEY
from tests.faults.mixed import NOISE, Served, served
from tests.faults.results import table, write
from tests.faults.test_soak import memory_mb

SAMPLE_S = 5.0
MOST_GROWTH_MB = 3.0
STEP = {"voltage_v": 0.5, "current_a": 0.5, "soc_pct": 1.0}


@dataclass(slots=True)
class Agent:
    """One agent in a process of its own, without a cloud: its journal keeps everything."""

    served: Served
    folder: Path
    process: "subprocess.Popen[bytes]"
    memory: list[float] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        """What it has read."""
        return self.folder / "journal.db"


@pytest.mark.soak
async def test_mixed_controllers_on_noisy_lines_give_no_wrong_value_and_nothing_grows(
    tmp_path: Path,
) -> None:
    seconds = 60 * float(os.environ.get("SOAK_MINUTES", "10"))
    async with served(tmp_path) as fleet:
        with agents(fleet, tmp_path) as running:
            until_s = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < until_s:
                await asyncio.sleep(min(SAMPLE_S, seconds / 8))
                for agent in running:
                    assert agent.process.poll() is None, f"{agent.folder.name} has ended"
                    agent.memory.append(memory_mb(agent.process.pid))
    rows = [row_of(agent) for agent in running]
    text = f"{len(rows)} vehicles for {seconds / 60:.0f} minutes, {NOISE:.0%} of all bytes wrong."
    head = ("controller", "bytes spoiled", "readings", "wrong", "MB early", "MB late")
    print(
        write(
            "soak-mixed",
            "Mixed controllers on noisy lines",
            {"load_s": seconds, "noise": NOISE, "rows": rows},
            text,
            table(head, rows),
        )
    )
    assert [row for row in rows if row[3]] == []
    assert [row for row in rows if not row[2]] == []
    assert [row for row in rows if row[5] - row[4] > MOST_GROWTH_MB] == []


@contextmanager
def agents(fleet: Sequence[Served], folder: Path) -> Iterator[list[Agent]]:
    """Run an agent for each; all of them end in good order."""
    running = [Agent(one, *started(one, folder)) for one in fleet]
    try:
        yield running
    finally:
        for agent in running:
            agent.process.send_signal(signal.SIGTERM)
        for agent in running:
            agent.process.wait(30)


def started(one: Served, folder: Path) -> "tuple[Path, subprocess.Popen[bytes]]":
    """Start the agent of a vehicle."""
    home = folder / one.vehicle.protocol
    home.mkdir()
    config = home / "agent.toml"
    car = f'car = "{one.vehicle.car}"\n' if one.vehicle.car else ""
    config.write_text(
        f'[device]\nid = "{one.vehicle.protocol.replace("_", "-")}"\n'
        f'[battery]\nprotocol = "{one.vehicle.protocol}"\nport = "{one.port}"\n{car}'
        "[mqtt]\nport = 9\n[intervals]\npoll_s = 0.5\nflush_s = 1\nseal_s = 10\n"
    )
    argv = [sys.executable, "-m", "edge", "run", "--quiet", "--config", str(config)]
    with (home / "log").open("wb") as log:
        return home, subprocess.Popen(argv, stdout=log, stderr=log)


def row_of(agent: Agent) -> tuple[str, int, int, int, float, float]:
    """Return how one vehicle did."""
    readings, wrong = judged(agent)
    sixth = max(1, len(agent.memory) // 6)
    early = median(agent.memory[sixth : 2 * sixth] or agent.memory)
    late = median(agent.memory[-sixth:])
    name, spoiled = agent.served.vehicle.protocol, agent.served.line.spoiled
    return name, spoiled, readings, sum(wrong.values()), round(early, 1), round(late, 1)


def judged(agent: Agent) -> tuple[int, Counter[str]]:
    """Return how many readings are in the journal, and which values are not the pinned ones."""
    text = io.StringIO()
    write_jsonl(agent.journal, text)
    readings, wrong = 0, Counter[str]()
    for line in text.getvalue().splitlines():
        values = json.loads(line)["values"]
        readings += BY_KEY["voltage_v"].name in values
        for key, pinned in agent.served.vehicle.pinned.items():
            value = values.get(BY_KEY[key].name)
            if value is not None and abs(value - pinned) > STEP[key]:
                wrong[f"{key} {value}"] += 1
    return readings, wrong
