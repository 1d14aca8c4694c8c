"""Shims on ptys: links, many at once, pacing."""

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from edge.drivers.jbd_uart import JbdDecoder
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink
from firmware_shim.faults import Faults
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim


async def test_the_link_is_there_while_it_is_served_and_gone_after(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    async with serve(build_shim("jbd"), link_path=path) as port:
        assert port.path == str(path)
        assert path.is_symlink()
    assert not path.is_symlink()


async def test_a_dead_shim_s_link_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    path.symlink_to("/dev/pts/gone")
    async with serve(build_shim("jbd"), link_path=path):
        assert path.exists()


async def test_a_living_shim_s_link_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    async with serve(build_shim("jbd"), link_path=path):
        target = path.readlink()
        with pytest.raises(FileExistsError, match="Another shim serves"):
            async with serve(build_shim("jbd"), link_path=path):
                pass
        assert path.readlink() == target
    async with serve(build_shim("jbd"), link_path=path):
        assert path.exists()


async def test_a_link_that_somebody_changed_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    async with serve(build_shim("jbd"), link_path=path):
        path.unlink()
        path.symlink_to("/dev/null")
    assert path.readlink() == Path("/dev/null")


async def test_a_link_that_cannot_be_made_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "battery"
    with pytest.raises(FileNotFoundError) as trouble:
        async with serve(build_shim("jbd"), link_path=path):
            pass
    assert trouble.value.filename == str(path)


async def test_a_file_in_the_link_s_place_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "battery"
    path.write_text("precious", "utf-8")
    with pytest.raises(FileExistsError, match="choose another path"):
        async with serve(build_shim("jbd"), link_path=path):
            pass
    assert path.read_text("utf-8") == "precious"


async def test_twenty_shims_share_one_event_loop() -> None:
    async with AsyncExitStack() as stack:
        pollers = []
        for seed in range(20):
            shim = build_shim("jbd", seed=seed, numbered=True)
            port = await stack.enter_async_context(serve(shim))
            link = SerialLink(port.path, baud=9600)
            stack.push_async_callback(link.close)
            pollers.append(Poller(link, JbdDecoder(), details_every=0))
        for number in range(5):
            readings = await asyncio.gather(*(poller.poll() for poller in pollers))
            assert [reading and reading.remaining_ah for reading in readings] == [number / 100] * 20


async def test_a_paced_line_takes_its_time_and_loses_nothing() -> None:
    loop = asyncio.get_running_loop()
    async with serve(build_shim("jbd"), baud=9600) as port:
        link = SerialLink(port.path, baud=9600)
        started_s = loop.time()
        assert await Poller(link, JbdDecoder(), details_every=0).poll() is not None
        # 7 bytes out and 36 back, 10 bits each.
        assert loop.time() - started_s > 43 * 10 / 9600
        await link.close()


async def test_a_shim_s_clock_can_be_the_simulation_s() -> None:
    now_s = 0.0
    shim = build_shim("jbd", soc_pct=50)
    shim.pack.demand_a = -5.2
    async with serve(shim, clock=lambda: now_s) as port:
        link = SerialLink(port.path, baud=9600)
        poller = Poller(link, JbdDecoder())
        await poller.poll()
        now_s = 3600.0
        reading = await poller.poll()
        assert reading is not None
        assert reading.soc_pct == 0
        await link.close()


async def test_values_set_on_a_running_shim_are_read() -> None:
    shim = build_shim("jbd")
    async with serve(shim) as port:
        link = SerialLink(port.path, baud=9600)
        poller = Poller(link, JbdDecoder())
        shim.set({"voltage_v": 40.1})
        reading = await poller.poll()
        assert reading is not None
        assert reading.voltage_v == 40.1
        assert reading.raw_quality == ()
        await link.close()


class Clock:
    """A shim that says its time, unasked, when it is due."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.due_s = math.inf
        self.wake: Callable[[], None] | None = None

    def receive(self, data: bytes, now_s: float) -> list[bytes]:
        self.due_s = now_s
        return [data.upper()]

    def tick(self, now_s: float) -> list[bytes]:
        self.due_s = math.inf
        return [b"tick"]


async def heard(link: SerialLink, size: int) -> bytes:
    data = b""
    async with asyncio.timeout(10):
        while len(data) < size:
            data += await link.receive(1)
    return data


async def test_a_talker_speaks_unasked_behind_its_reply_and_when_it_is_woken() -> None:
    clock = Clock()
    async with serve(clock) as port:
        link = SerialLink(port.path, baud=9600)
        await link.send(b"a")
        assert await heard(link, 5) == b"Atick"
        clock.due_s = 0.0
        assert clock.wake is not None
        clock.wake()
        assert await heard(link, 4) == b"tick"
        assert port.requests == 1
        await link.close()
    assert clock.wake is None


async def test_a_talker_speaks_by_the_clock_it_is_given() -> None:
    now_s = 0.0
    clock = Clock()
    clock.due_s = 3600.0
    async with serve(clock, clock=lambda: now_s) as port:
        link = SerialLink(port.path, baud=9600)
        assert await link.receive(0.05) == b""
        now_s = 3600.0
        assert clock.wake is not None
        clock.wake()
        assert await heard(link, 4) == b"tick"
        await link.close()


async def test_what_a_talker_says_has_the_line_s_faults() -> None:
    clock = Clock()
    clock.faults = Faults({"half_frame": 1.0})
    clock.due_s = 0.0
    async with serve(clock) as port:
        link = SerialLink(port.path, baud=9600)
        assert await heard(link, 2) == b"ti"
        await link.close()
