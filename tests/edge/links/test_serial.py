"""The serial link on a real pty: it moves bytes, waits, and survives a lost port."""

import asyncio
import os
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.drivers.jbd_uart import JbdDecoder
from edge.drivers.poller import Poller
from edge.links.base import LinkDownError
from edge.links.serial import SerialLink
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim

QUICK = (0.01, 0.02)


@contextmanager
def wire() -> Iterator[tuple[int, str]]:
    """A pty: the descriptor of the far end, the path of the near one."""
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


async def test_bytes_go_both_ways() -> None:
    with wire() as (far, path):
        link = SerialLink(path, baud=9600)
        await link.send(b"\xdd\xa5")
        assert os.read(far, 10) == b"\xdd\xa5"
        os.write(far, b"\x77\x00")
        assert await link.receive(1) == b"\x77\x00"
        await link.close()


async def test_a_quiet_line_gives_nothing_in_the_time_asked() -> None:
    with wire() as (_, path):
        link = SerialLink(path, baud=9600)
        started_s = asyncio.get_running_loop().time()
        assert await link.receive(0.05) == b""
        assert 0.04 < asyncio.get_running_loop().time() - started_s < 1
        await link.close()


async def test_bytes_wake_a_waiting_receiver() -> None:
    with wire() as (far, path):
        link = SerialLink(path, baud=9600)
        waiting = asyncio.create_task(link.receive(5))
        await asyncio.sleep(0.02)
        os.write(far, b"x")
        assert await asyncio.wait_for(waiting, 1) == b"x"
        await link.close()


async def test_drained_bytes_are_counted_and_gone() -> None:
    with wire() as (far, path):
        link = SerialLink(path, baud=9600)
        await link.send(b"?")
        os.write(far, b"stale")
        assert link.drain() == 5
        assert link.drain() == 0
        assert await link.receive(0.01) == b""
        await link.close()


async def test_a_line_that_takes_no_bytes_is_down_and_no_deadlock() -> None:
    with wire() as (_, path):
        link = SerialLink(path, baud=9600)
        with pytest.raises(LinkDownError, match="takes no bytes"):
            await flood(link)
        await link.close()


async def flood(link: SerialLink) -> None:
    for _ in range(1000):
        await link.send(bytes(100))


async def test_a_missing_port_is_named_with_what_to_check() -> None:
    link = SerialLink("/dev/no-such-battery", baud=9600)
    with pytest.raises(LinkDownError, match=r"/dev/no-such-battery.*check the cable"):
        await link.send(b"?")
    with pytest.raises(LinkDownError):
        await link.receive(0.01)
    assert link.drain() == 0
    await link.close()


async def test_a_second_agent_cannot_take_the_same_port() -> None:
    with wire() as (_, path):
        first, second = SerialLink(path, baud=9600), SerialLink(path, baud=9600)
        await first.send(b"?")
        with pytest.raises(LinkDownError, match="another program uses it"):
            await second.send(b"?")
        await first.close()


async def test_a_vanished_port_wakes_the_receiver() -> None:
    with wire() as (_, path):
        link = SerialLink(path, baud=9600)
        waiting = asyncio.create_task(link.receive(5))
        await asyncio.sleep(0.02)
    with pytest.raises(LinkDownError):
        await asyncio.wait_for(waiting, 1)
    await link.close()


async def test_opening_is_tried_at_most_once_in_the_back_off_time() -> None:
    link = SerialLink("/dev/no-such-battery", baud=9600, backoff_s=(60, 60))
    with pytest.raises(LinkDownError, match="check the cable"):
        await link.send(b"?")
    with pytest.raises(LinkDownError, match="was lost"):
        await link.send(b"?")


async def test_a_battery_that_vanished_and_came_back_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    link = SerialLink(str(path), baud=9600, backoff_s=QUICK)
    poller = Poller(link, JbdDecoder())
    async with serve(build_shim("jbd"), link_path=path):
        assert await poller.poll() is not None
    assert [await poller.poll() for _ in range(5)] == [None] * 5
    assert poller.offline
    await asyncio.sleep(2 * QUICK[1])
    async with serve(build_shim("jbd"), link_path=path):
        assert await poller.poll() is not None
        assert not poller.offline
    assert link.connections == 2
    await link.close()


async def test_a_port_that_does_not_open_is_explained_in_words() -> None:
    with pytest.raises(LinkDownError, match=r"/no/port \(no such file or directory\); check the"):
        await SerialLink("/no/port", baud=9600).send(b"x")
