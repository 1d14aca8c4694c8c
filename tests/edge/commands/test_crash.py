"""Power cuts at every step of a command: nothing moves twice, and the answer is the truth."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge.commands.points import (
    AFTER_ACTUATION,
    BEFORE_RESULT,
    CRASH_POINTS,
    RECEIVED,
    RESULT_JOURNALLED,
    VERIFIED,
)
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pty import serve
from tests.edge.commands.parts import TestSigner

SIGNER = TestSigner()


def a_command(kind: str) -> str:
    now_ms = time.time_ns() // 1_000_000
    envelope = SIGNER.command(kind, issued_at_ms=now_ms, not_after_ms=now_ms + 300_000)
    return envelope.decode("ascii")


async def run(folder: Path, envelope: str, point: str | None = None) -> tuple[int, list[Any]]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.edge.commands.obedient"),
        *(str(folder / "j.db"), str(folder / "lock"), SIGNER.public.public_key, envelope),
        env={**os.environ, "MOBILITY_FAULT_POINT": point or ""},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, [json.loads(line) for line in out.splitlines()]


async def crashed(folder: Path, unit: LockUnit, kind: str, point: str) -> dict[str, Any]:
    """Let the power go at `point`, start again, and return the one result."""
    envelope = a_command(kind)
    async with serve(unit, link_path=folder / "lock"):
        code, _ = await run(folder, envelope, point)
        assert code == -signal.SIGKILL
        code, told = await run(folder, envelope)
        assert code == 0
    (result,) = told
    return dict(result)


@pytest.mark.slow
@pytest.mark.parametrize("point", CRASH_POINTS)
async def test_the_latch_and_the_answer_agree_after_a_power_cut(tmp_path: Path, point: str) -> None:
    unit = LockUnit()
    result = await crashed(tmp_path, unit, "unlock", point)
    unlocked = unit.sensors.latch == 0
    assert unit.moves == (1 if unlocked else 0)
    assert (result["state"], result["reason"]) == (
        ("done", "") if unlocked else ("failed", "interrupted")
    )
    begun = point in (RECEIVED, VERIFIED, AFTER_ACTUATION, BEFORE_RESULT, RESULT_JOURNALLED)
    assert unlocked == begun


@pytest.mark.slow
@pytest.mark.parametrize("point", CRASH_POINTS)
async def test_a_beep_is_never_heard_twice_for_one_command(tmp_path: Path, point: str) -> None:
    unit = LockUnit()
    result = await crashed(tmp_path, unit, "locate", point)
    whole = point in (RECEIVED, VERIFIED, RESULT_JOURNALLED)
    assert (result["state"], result["reason"]) == (
        ("done", "") if whole else ("failed", "interrupted")
    )
    heard = whole or point in (AFTER_ACTUATION, BEFORE_RESULT)
    assert unit.moved["locate"] == (1 if heard else 0)


def test_every_point_has_its_own_name() -> None:
    assert len(set(CRASH_POINTS)) == len(CRASH_POINTS)
