"""The CAN poller over a link that lives in memory, with time that is passed in."""

import asyncio
from collections.abc import Callable, Sequence

from edge.drivers.base import BatteryReading
from edge.drivers.can import CanFrame
from edge.drivers.can_poller import CanPoller
from edge.links.base import LinkDownError
from tests.edge.drivers.can_doubles import ANSWERED, ASKED, Asker, Listener, spoken


class Wire:
    """A `CanLink` whose far end is the test: what was sent, and `hear` to be heard."""

    def __init__(self) -> None:
        self.on_frames: Callable[[Sequence[CanFrame]], None] | None = None
        self.sent: list[CanFrame] = []
        self.connections = 0
        self.closed = 0
        self.down = False
        self.answer: Callable[[], None] | None = None

    def open(self) -> None:
        if self.down:
            raise LinkDownError("the adapter was lost")
        self.connections = max(self.connections, self.closed + 1)

    def send(self, frame: CanFrame) -> None:
        if self.down:
            raise LinkDownError("the adapter was lost")
        self.sent.append(frame)
        if self.answer is not None:
            self.answer()

    async def close(self) -> None:
        self.closed += 1

    def hear(self, *frames: CanFrame) -> None:
        assert self.on_frames is not None
        self.on_frames(frames)


class Time:
    """Monotonic seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_the_first_poll_of_a_broadcast_waits_for_the_first_reading() -> None:
    wire = Wire()
    poller = CanPoller(wire, Listener())
    waiting = asyncio.create_task(poller.poll())
    await asyncio.sleep(0)
    assert not waiting.done()
    wire.hear(spoken(350.0))
    reading = await waiting
    assert reading is not None
    assert reading.voltage_v == 350.0


async def test_frames_between_polls_are_heard_and_the_next_poll_is_at_once() -> None:
    wire, time = Wire(), Time()
    decoder = Listener()
    poller = CanPoller(wire, decoder, clock=time)
    wire.hear(spoken(350.0))
    wire.hear(spoken(351.0), CanFrame(0x7FF, b""), spoken(352.0))
    assert decoder.batches == [1, 2]
    reading = await poller.poll()
    assert reading is not None
    assert reading.voltage_v == 352.0
    assert poller.counters["heard"] == 4


async def test_a_reading_grows_stale_and_a_poll_then_misses() -> None:
    wire, time = Wire(), Time()
    poller = CanPoller(wire, Listener(), clock=time)
    wire.hear(spoken(350.0))
    assert await poller.poll() is not None
    time.now_s += 0.6
    assert poller.reading is None
    assert await poller.poll() is None
    assert poller.counters["missed"] == 1


async def test_a_silent_bus_is_offline_after_its_misses_and_back_with_the_first_reading() -> None:
    wire = Wire()
    poller = CanPoller(wire, Listener())
    assert await poller.poll() is None
    assert not poller.offline
    assert await poller.poll() is None
    assert poller.offline
    wire.hear(spoken(350.0))
    assert await poller.poll() is not None
    assert not poller.offline


async def test_an_adapter_that_never_brought_a_frame_is_opened_anew_at_once() -> None:
    wire = Wire()
    poller = CanPoller(wire, Listener())
    await poller.poll()
    assert wire.closed == 1
    await poller.poll()
    assert wire.connections == 2
    assert poller.counters["reopened"] == 2


async def test_an_adapter_that_fell_silent_is_opened_anew_when_the_battery_is_offline() -> None:
    wire = Wire()
    poller = CanPoller(wire, Asker())
    wire.hear(CanFrame(0x7FF, b""))
    await poller.poll()
    assert wire.closed == 0
    await poller.poll()
    assert poller.offline
    assert wire.closed == 1


async def test_a_question_is_asked_again_when_its_time_has_come() -> None:
    wire = Wire()
    poller = CanPoller(wire, Asker())

    def at_the_third() -> None:
        if len(wire.sent) == 3:
            loop.call_soon(wire.hear, spoken(48.0, can_id=ANSWERED))

    loop = asyncio.get_running_loop()
    wire.answer = at_the_third
    reading = await poller.poll()
    assert reading is not None
    assert reading.voltage_v == 48.0
    assert [frame.can_id for frame in wire.sent] == [ASKED] * 3
    await asyncio.sleep(0.02)
    assert len(wire.sent) == 3


async def test_a_question_nobody_answers_ends_the_poll_in_time() -> None:
    poller = CanPoller(Wire(), Asker())
    assert await asyncio.wait_for(poller.poll(), 2) is None


async def test_a_lost_port_is_told_and_counted_and_not_raised() -> None:
    wire = Wire()
    poller = CanPoller(wire, Listener())
    wire.down = True
    assert await poller.poll() is None
    assert poller.trouble == "the adapter was lost"
    assert poller.counters["link_down"] == 1
    wire.down = False
    wire.hear(spoken(350.0))
    assert await poller.poll() is not None
    assert poller.trouble is None


async def test_a_port_lost_while_answers_are_awaited_ends_the_poll() -> None:
    wire = Wire()
    poller = CanPoller(wire, Asker())
    waiting = asyncio.create_task(poller.poll())
    await asyncio.sleep(0)
    wire.down = True
    assert await asyncio.wait_for(waiting, 2) is None
    assert poller.trouble == "the adapter was lost"


async def test_every_reading_of_a_poll_is_handed_on() -> None:
    wire = Wire()
    seen: list[BatteryReading] = []
    poller = CanPoller(wire, Listener())
    poller.on_reading = seen.append
    wire.hear(spoken(350.0))
    reading = await poller.poll()
    assert seen == [reading]
