"""`mobility-sim shim` as a process, read by the real driver."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.controllers.base import DONE, Outcome
from edge.controllers.lock_unit import LockUnit
from edge.drivers.base import BatteryReading
from edge.drivers.jbd_uart import JbdDecoder
from edge.drivers.lock_unit_frames import BAUD
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink

COMMAND = (sys.executable, "-c", "import sys; from simulator.cli import main; sys.exit(main())")


@asynccontextmanager
async def shim(
    link: Path, *options: str, name: str = "jbd", stdin: int = PIPE
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "shim",
        name,
        "--link",
        str(link),
        *options,
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        assert process.stdout is not None
        ready = await asyncio.wait_for(process.stdout.readline(), 20)
        assert ready.decode() == f"ready {link}\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def read(path: Path, times: int = 1) -> list[BatteryReading | None]:
    link = SerialLink(str(path), baud=9600)
    try:
        poller = Poller(link, JbdDecoder())
        return [await poller.poll() for _ in range(times)]
    finally:
        await link.close()


async def say(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    await process.stdin.drain()


async def volts_become(path: Path, volts: float) -> None:
    """Values are set when the shim has read its stdin, soon after they were written."""
    async with asyncio.timeout(10):
        while True:
            (reading,) = await read(path)
            if reading and reading.voltage_v == volts:
                return


async def test_a_value_set_on_stdin_is_read_and_let_go(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    async with shim(path) as process:
        await say(process, '{"set": {"voltage_v": 40.1}}')
        await volts_become(path, 40.1)
        await say(process, '{"set": {"voltage_v": null, "cells_v": [3.5, 3.5]}}')
        await say(process, '{"set": {"voltage_v": 7}}')
        await volts_become(path, 7.0)


async def test_a_bad_line_is_answered_with_a_sentence_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    async with shim(path) as process:
        assert process.stderr is not None
        await say(process, '{"set": {"voltage_v": 40.1}}')
        for line in (
            "hello",
            "[1]",
            "{}",
            '{"set": 5}',
            '{"set": {"volts": 4}}',
            '{"set": {"voltage_v": "x"}}',
        ):
            await say(process, line)
            sentence = await asyncio.wait_for(process.stderr.readline(), 10)
            assert sentence.startswith((b"Nothing was set", b"Not understood"))
        await volts_become(path, 40.1)


async def test_the_end_of_stdin_does_not_end_the_shim(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    async with shim(path) as process:
        assert process.stdin is not None
        process.stdin.write(b'{"set": {"voltage_v": 39.9}}')
        process.stdin.close()
        await volts_become(path, 39.9)
        assert process.returncode is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_stopped_shim_takes_its_link_away(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = tmp_path / "battery"
    async with shim(path) as process:
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == code
        assert process.stderr is not None
        assert await process.stderr.read() == b""
    assert not path.is_symlink()


async def test_replies_are_numbered_from_zero(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    async with shim(path, "--numbered", stdin=asyncio.subprocess.DEVNULL):
        readings = await read(path, 5)
    assert [reading and reading.remaining_ah for reading in readings] == [0, 0.01, 0.02, 0.03, 0.04]


async def test_faults_are_made_and_a_seed_repeats_them(tmp_path: Path) -> None:
    async with shim(
        tmp_path / "a", "--fault", "sensor_lost", "--fault", "noise=0.5", "--seed", "3"
    ):
        (reading,) = await read(tmp_path / "a")
    assert reading is not None
    assert reading.temperatures_c is not None
    assert reading.temperatures_c[0] is None
    async with shim(tmp_path / "b", "--seed", "3") as _:
        (again,) = await read(tmp_path / "b")
    assert again is not None
    assert again.cells_v == reading.cells_v


async def test_a_replay_is_played_at_the_line_s_pace(tmp_path: Path) -> None:
    file = tmp_path / "ride.jsonl"
    file.write_text(json.dumps({"t_ms": 0, "set": {"soc_pct": 12}}), "utf-8")
    async with shim(tmp_path / "a", "--replay", str(file), "--baud", "9600"):
        (reading,) = await read(tmp_path / "a")
    assert reading is not None
    assert reading.soc_pct == 12


async def test_a_lock_unit_is_served_and_its_moves_are_written_down(tmp_path: Path) -> None:
    path, moves = tmp_path / "lock", tmp_path / "moves.jsonl"
    async with shim(path, "--moves", str(moves), name="lock_unit") as process:
        driver = LockUnit(SerialLink(str(path), baud=BAUD))
        listening = asyncio.create_task(driver.run())
        assert await driver.perform("unlock", {}) == DONE
        await say(process, '{"set": {"speed_kmh": 20}}')
        async with asyncio.timeout(10):
            while True:
                state = driver.seen()
                if state and state.speed_kmh == 20:
                    break
                await asyncio.sleep(0.01)
        assert await driver.perform("lock", {}) == Outcome("refused", "moving")
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert [json.loads(line)["move"] for line in moves.read_text().splitlines()] == ["unlock"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["vela", "--link", "x"], 2, "jbd"),
        (["jbd"], 2, "--link"),
        (["jbd", "--link", "x", "--fault", "fire"], 2, "no_reply"),
        (["jbd", "--link", "x", "--fault", "noise=7"], 2, "0 to 1"),
        (["jbd", "--link", "x", "--baud", "0"], 2, "9600"),
        (["jbd", "--link", "/no/such/folder/battery"], 1, "Cannot use /no/such/folder/battery:"),
        (["jbd", "--link", "x", "--replay", "/no/such/file"], 1, "choose another path"),
        (["jbd", "--link", "x", "--moves", "y"], 1, "no use for `moves`"),
        (["lock_unit", "--link", "x", "--numbered"], 1, "no use for `numbered`"),
    ],
)
async def test_what_cannot_start_says_why(options: list[str], code: int, said: str) -> None:
    process = await asyncio.create_subprocess_exec(*COMMAND, "shim", *options, stderr=PIPE)
    _, stderr = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == code
    assert said in stderr.decode()
