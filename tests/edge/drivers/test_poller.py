"""The polling policy, on a link that is a small scripted battery."""

import asyncio
import dataclasses

from edge.drivers.base import Ask, BatteryReading
from edge.drivers.jbd_frames import EVENTS as EVENTS_REGISTER
from edge.drivers.jbd_frames import READ, parse_frame, request
from edge.drivers.jbd_uart import JbdDecoder
from edge.drivers.poller import Poller
from edge.links.base import LinkDownError
from tests.edge.drivers.test_jbd_uart import CELLS, basic, patched
from tests.edge.drivers.vectors import REFUSAL, RIDING

FAST = dataclasses.replace(JbdDecoder.policy, timeout_s=0.005, events=JbdDecoder.policy.events[:1])
MODEL = bytes.fromhex("dd0500194a42442d53503130533030392d4c3130532d3330412d422d55fa0b77")
EVENTS = bytes.fromhex("ddaa001800000003000000d300000000000000000005000000000001ff0c77")


class ScriptedLink:
    """Answers by register; `silent` requests get nothing first; `down` is a lost port."""

    def __init__(self, *, silent: int = 0) -> None:
        self.answers = {3: RIDING, 4: CELLS, 5: MODEL, 0xAA: EVENTS}
        self.asked: list[int] = []
        self.silent = silent
        self.down = False
        self.connections = 1
        self.waiting = b""

    async def send(self, data: bytes) -> None:
        if self.down:
            raise LinkDownError("gone")
        register = parse_frame(data).key
        self.asked.append(register)
        if self.silent:
            self.silent -= 1
        else:
            self.waiting += self.answers.get(register, b"")

    async def receive(self, timeout_s: float) -> bytes:
        data, self.waiting = self.waiting, b""
        return data

    def drain(self) -> int:
        count, self.waiting = len(self.waiting), b""
        return count

    async def close(self) -> None:
        pass


def a_poller(link: ScriptedLink, *, details_every: int = 1, tries: int = 3) -> Poller:
    policy = dataclasses.replace(FAST, tries=tries, sleeps_after_s=60)
    return Poller(link, JbdDecoder(), policy=policy, details_every=details_every)


async def awake(link: ScriptedLink, **options: int) -> Poller:
    """A poller past its first cycles, with nothing slow left to ask."""
    poller = a_poller(link, **options)
    for _ in range(3):
        await poller.poll()
    link.asked.clear()
    return poller


async def test_the_first_cycle_asks_for_the_reading_alone() -> None:
    link = ScriptedLink()
    reading = await a_poller(link).poll()
    assert link.asked == [3, 4]
    assert reading is not None
    assert reading.cells_v == (3.905, 3.912, 3.89, 3.897)


async def test_model_and_event_counters_follow_one_a_cycle() -> None:
    link = ScriptedLink()
    poller = a_poller(link)
    for _ in range(4):
        await poller.poll()
    assert link.asked == [3, 4, 3, 4, 5, 3, 4, 0xAA, 3, 4]
    assert set(poller.about) == {"hardware", "error_counts"}


async def test_a_new_protection_bit_asks_for_the_event_counters() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.answers[3] = patched(16, b"\x00\x01")
    for _ in range(2):
        await poller.poll()
    assert link.asked == [3, 4, 0xAA, 3, 4]


async def test_a_new_connection_asks_for_the_model_again() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.connections += 1
    await poller.poll()
    assert link.asked == [3, 4, 5]


async def test_a_missed_cycle_asks_for_the_model_again_for_it_may_be_another_pack() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.silent = 3
    assert await poller.poll() is None
    link.asked.clear()
    await poller.poll()
    assert link.asked == [3, 4, 5]


async def test_details_are_asked_as_often_as_told() -> None:
    link = ScriptedLink()
    poller = await awake(link, details_every=3)
    for _ in range(6):
        await poller.poll()
    assert link.asked == [3, 4, 3, 3, 3, 4, 3, 3]


async def test_without_details_only_the_main_question_is_asked() -> None:
    link = ScriptedLink()
    poller = await awake(link, details_every=0)
    reading = await poller.poll()
    assert link.asked == [3]
    assert reading is not None
    assert reading.cells_v is None


async def test_a_silent_board_is_asked_three_times() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.silent = 99
    assert await poller.poll() is None
    assert link.asked == [3, 3, 3]
    assert poller.counters["timeouts"] == 3


async def test_a_sleeping_board_gets_one_try_more() -> None:
    link = ScriptedLink(silent=1)
    poller = a_poller(link, tries=1)
    assert await poller.poll() is not None
    assert link.asked[:2] == [3, 3]


async def test_a_refusal_is_not_asked_again() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.answers[3] = REFUSAL
    assert await poller.poll() is None
    assert link.asked == [3]
    assert poller.counters["bad_status"] == 1


async def test_the_battery_is_offline_after_five_missed_cycles_until_it_answers() -> None:
    link = ScriptedLink()
    poller = await awake(link, tries=1)
    link.silent = 5
    seen = []
    for _ in range(6):
        await poller.poll()
        seen.append(poller.offline)
    assert seen == [False, False, False, False, True, False]


async def test_a_lost_port_is_a_missed_cycle() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.down = True
    assert await poller.poll() is None
    assert poller.counters["link_down"] == 1
    assert poller.counters["missed"] == 1


async def test_cells_of_a_pack_that_is_gone_are_not_reported_for_the_next() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.answers[4] = b""
    reading = await poller.poll()
    assert reading is not None
    assert reading.cells_v is None


async def test_a_reply_that_came_too_late_is_not_taken_for_the_next_answer() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.waiting = patched(0, b"\xff\xff")
    reading = await poller.poll()
    assert reading is not None
    assert reading.voltage_v == 15.60
    assert poller.counters["stale_bytes"] == len(RIDING)


async def test_of_two_replies_in_one_read_the_newer_counts() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.answers[3] = RIDING + patched(0, b"\x06\x19")
    reading = await poller.poll()
    assert reading is not None
    assert reading.voltage_v == 15.61


async def test_the_echo_of_a_half_duplex_line_is_no_answer() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.answers[3] = FAST.main.request + RIDING
    assert isinstance(await poller.poll(), BatteryReading)


async def test_a_reply_too_short_to_be_a_reading_is_a_missed_cycle() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    link.answers[3] = basic(b"\x06\x18")
    assert await poller.poll() is None
    assert poller.counters["bad_length"] >= 1


async def test_any_question_can_be_put() -> None:
    link = ScriptedLink()
    answer = await a_poller(link).ask(Ask(bytes.fromhex("dda50500fffb77"), 5))
    assert answer is not None
    assert answer.data.startswith(b"JBD")


class SlowLink(ScriptedLink):
    """Answers a moment later; notes a question that came before the answer to the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0
        self.overlaps = 0

    async def send(self, data: bytes) -> None:
        self.overlaps += self.open
        self.open = 1
        await super().send(data)

    async def receive(self, timeout_s: float) -> bytes:
        await asyncio.sleep(0.001)
        self.open = 0
        return await super().receive(timeout_s)


async def test_questions_of_others_wait_for_the_poll_and_the_poll_for_them() -> None:
    link = SlowLink()
    poller = await awake(link)
    polls = [poller.poll() for _ in range(5)]
    asks = [poller.ask(Ask(request(READ, EVENTS_REGISTER), EVENTS_REGISTER)) for _ in range(5)]
    results = await asyncio.gather(*polls, *asks)
    assert None not in results
    assert link.overlaps == 0


async def test_every_poll_s_reading_is_handed_on() -> None:
    link = ScriptedLink()
    poller = await awake(link)
    seen: list[BatteryReading] = []
    poller.on_reading = seen.append
    reading = await poller.poll()
    link.answers[3] = b""
    assert await poller.poll() is None
    assert seen == [reading]
    assert poller.reading is not None


RARE = (Ask(request(READ, 5), 5), Ask(request(READ, 0xAA), 0xAA))


def a_sharing_poller(link: ScriptedLink, *, details_every: int = 1) -> Poller:
    policy = dataclasses.replace(
        FAST, once=(), events=(), rare=RARE, rare_every_s=60, sleeps_after_s=60
    )
    return Poller(link, JbdDecoder(), policy=policy, details_every=details_every)


async def test_rare_questions_are_asked_one_a_cycle_from_the_second_on() -> None:
    link = ScriptedLink()
    poller = a_sharing_poller(link)
    for _ in range(4):
        await poller.poll()
    assert link.asked == [3, 4, 3, 4, 5, 3, 4, 0xAA, 3, 4]


async def test_rare_questions_are_asked_again_when_their_answers_were_forgotten() -> None:
    link = ScriptedLink()
    poller = a_sharing_poller(link)
    for _ in range(4):
        await poller.poll()
    link.answers[3] = b""
    await poller.poll()
    link.answers[3] = RIDING
    link.asked.clear()
    for _ in range(3):
        await poller.poll()
    assert link.asked == [3, 4, 5, 3, 4, 0xAA, 3, 4]


async def test_a_missed_detail_costs_no_rare_question_its_turn() -> None:
    link = ScriptedLink()
    link.answers[4] = b""
    poller = a_sharing_poller(link)
    for _ in range(4):
        await poller.poll()
    assert [register for register in link.asked if register in (5, 0xAA)] == [5, 0xAA]


async def test_without_details_no_rare_question_is_asked() -> None:
    link = ScriptedLink()
    poller = a_sharing_poller(link, details_every=0)
    for _ in range(3):
        await poller.poll()
    assert link.asked == [3, 3, 3]
