"""Ctrl-C under make, on a terminal and without one."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import signal, sys, time
from simulator.foreground import own_terminal
def on_both(handler): signal.signal(signal.SIGINT, handler); signal.signal(signal.SIGTERM, handler)
def stop(*_): on_both(signal.SIG_IGN); print("stopped", flush=True); raise SystemExit(0)
on_both(stop)
with own_terminal():
    print("ready", flush=True)
    while True: time.sleep(0.05)  # pause() would miss a signal that comes just before it
"""

ASYNC_PROGRAM = """
import asyncio
from edge.stopping import until_terminated
from simulator.foreground import stop_with_make
async def work():
    watch = asyncio.create_task(stop_with_make(0.05))
    await asyncio.sleep(0)
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(until_terminated(work()))
print("stopped", flush=True)
"""

OUTSIDE_MAKE = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "Makefile").write_text(f"demo:\n\t@exec {sys.executable} program.py\n")
    return tmp_path


def test_ctrl_c_on_a_terminal_is_a_clean_stop_for_make(folder: Path) -> None:
    screen, terminal = pty.openpty()
    leads_a_session = "import os, fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    make = subprocess.Popen(
        [sys.executable, "-c", f"{leads_a_session}; os.execvp('make', ['make', 'demo'])"],
        cwd=folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=OUTSIDE_MAKE,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        assert b"ready" in os.read(screen, 1000)
        os.write(screen, b"\x03")
        assert make.wait(timeout=20) == 0
        assert b"stopped" in os.read(screen, 1000)
    finally:
        os.close(screen)  # the rest of a failed run dies of the hang-up
        make.wait(timeout=20)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_the_group_is_stopped_before_make_ends(
    folder: Path, signum: signal.Signals
) -> None:
    with subprocess.Popen(
        ["make", "demo"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=OUTSIDE_MAKE,
        start_new_session=True,
    ) as make:
        assert make.stdout is not None
        first = make.stdout.readline()
        os.killpg(make.pid, signum)
        assert first == b"ready\n"
        assert make.stdout.read().strip() == b"stopped"
        make.wait(timeout=20)


def make_demo(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["make", "demo"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=OUTSIDE_MAKE,
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_for_make_alone_stops_the_program_too(
    folder: Path, signum: signal.Signals
) -> None:
    (folder / "program.py").write_text(ASYNC_PROGRAM)
    with make_demo(folder) as make:
        assert make.stdout is not None
        assert make.stdout.readline() == b"ready\n"
        make.send_signal(signum)
        assert make.wait(timeout=20) == -signum
        assert make.stdout.read() == b"stopped\n"


def test_a_program_that_no_make_started_goes_on_when_its_parent_ends(folder: Path) -> None:
    (folder / "program.py").write_text(ASYNC_PROGRAM.replace("sleep(60)", "sleep(0.5)"))
    command = f"{sys.executable} program.py & read line; exit"
    with subprocess.Popen(
        ["sh", "-c", command], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"ready\n"
        shell.stdin.write(b"\n")
        shell.stdin.close()
        assert shell.wait(timeout=20) == 0
        assert shell.stdout.read() == b"stopped\n"
