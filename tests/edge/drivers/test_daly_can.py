"""The Daly decoder on a bus: what it asks and when, against the shim's board and by hand."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.drivers.base import BatteryReading, FrameError
from edge.drivers.can import CanFrame
from edge.drivers.daly_can import DalyCanDecoder, explain_can
from edge.drivers.lines import BadLineError, Line
from firmware_shim.can import CanFrame as NodeFrame
from firmware_shim.daly import DESIGN, DalyBoard
from firmware_shim.daly_can import DalyNode
from firmware_shim.pack import Pack
from tests.edge.drivers import daly_vectors as daly

QUICK = [0x90, 0x93, 0x91, 0x92, 0x98]


def answer(frame: bytes) -> CanFrame:
    """A serial reply's data as the bus has it."""
    return CanFrame(0x1800_4001 | frame[2] << 16, frame[4:12], True)


class Bus:
    """A decoder and a board on one bus; time goes to the decoder's next wish."""

    def __init__(self, *, late_cycles: bool = False) -> None:
        self.decoder = DalyCanDecoder()
        pack = Pack(DESIGN, soc_pct=60)
        self.node = DalyNode(DalyBoard(pack, late_cycles=late_cycles))
        self.now_s = 0.0
        self.asked: list[int] = []
        self.deaf: set[int] = set()

    def poll(self, at_s: float) -> BatteryReading | None:
        self.now_s = at_s
        self.asked.clear()
        frames: Sequence[CanFrame] = self.decoder.begin(self.now_s)
        for _ in range(200):
            frames = self._exchange(frames)
            if not frames:
                if not self.decoder.waiting:
                    return self.decoder.reading(self.now_s)
                self.now_s = self.decoder.due_s
                frames = self.decoder.tick(self.now_s)
        raise AssertionError("the poll never ends")

    def _exchange(self, frames: Sequence[CanFrame]) -> Sequence[CanFrame]:
        more: list[CanFrame] = []
        for frame in frames:
            self.asked.append(frame.can_id >> 16 & 0xFF)
            if self.asked[-1] in self.deaf:
                continue
            self.now_s += 0.005
            heard = self.node.receive(NodeFrame(*frame), self.now_s)
            more += self.decoder.feed([CanFrame(*one) for one in heard], self.now_s)
        return more


def test_a_question_and_its_answer_have_the_specified_identifiers() -> None:
    assert DalyCanDecoder().begin(0.0) == (CanFrame(0x18900140, bytes(8), True),)
    assert (0x18904001, True) in DalyCanDecoder.policy.listens


def test_every_captured_frame_says_the_same_on_the_bus(shared: Path) -> None:
    document = json.loads((shared / "data/battery/frames/daly_uart.json").read_text("utf-8"))
    for item in document["items"]:
        frame = bytes.fromhex(item["hex"])
        if "error" in item["expected"]:
            continue
        ends = 0x0140 if item["direction"] == "request" else 0x4001
        can_id = 0x1800_0000 | frame[2] << 16 | ends
        line = Line(can_id=hex(can_id), extended=True, hex=frame[4:12].hex())
        assert explain_can(line).fields == item["expected"]


def test_a_frame_alone_can_be_a_reading() -> None:
    line = Line(can_id="18904001", extended=True, hex=daly.GIVING_50_A[4:12].hex())
    assert explain_can(line).reading == BatteryReading(
        voltage_v=51.9, current_a=-50.0, soc_pct=77.7
    )


@pytest.mark.parametrize(
    ("can_id", "extended", "data", "reason"),
    [
        ("0x190", False, "00" * 8, "start"),
        ("0x18904001", False, "00" * 8, "start"),
        ("0x18904001", True, "00" * 7, "length"),
        ("0x18904002", True, "00" * 9, "length"),
        ("0x14904001", True, "00" * 8, "unsupported"),
        ("0x18900101", True, "00" * 8, "unsupported"),
        ("0x18994001", True, "00" * 8, "unsupported"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(
    can_id: str, extended: bool, data: str, reason: str
) -> None:
    with pytest.raises(FrameError) as caught:
        explain_can(Line(can_id=can_id, extended=extended, hex=data))
    assert caught.value.reason == reason


def test_a_line_without_an_identifier_is_no_frame() -> None:
    with pytest.raises(BadLineError, match="can_id"):
        explain_can(Line(hex="00" * 8))


def test_the_first_poll_asks_the_quick_ones_and_the_next_ones_a_seldom_one_each() -> None:
    bus = Bus()
    polls = []
    for second in range(12):
        assert bus.poll(float(second)) is not None
        polls.append(bus.asked[5:])
        assert bus.asked[:5] == QUICK
    assert polls == [
        *([], [0x94], [0x95], [0x96], [0x97]),
        *([0x50], [0x53], [0x57], [], []),
        *([0x94], [0x95]),
    ]
    assert bus.node.board.dropped == 0


def test_a_whole_round_knows_everything() -> None:
    bus = Bus(late_cycles=True)
    bus.node.set({"current_a": -7.5, "cycles": 77, "temperatures_c": [21, 22], "soc_pct": 55.5})
    for second in range(9):
        reading = bus.poll(float(second))
    assert reading is not None
    assert (reading.current_a, reading.cycles, reading.soc_pct) == (-7.5, 77, 55.5)
    assert reading.temperatures_c == (21.0, 22.0)
    assert reading.full_ah == 40.0
    assert reading.cells_v is not None
    assert len(reading.cells_v) == 14
    assert reading.raw_quality == ()
    assert bus.decoder.about["hardware"] == "DL-R24TS-14S40A-10"
    assert bus.decoder.about["mode"] == "discharging"


def test_a_silent_board_is_asked_three_times_and_given_up() -> None:
    bus = Bus()
    bus.deaf = {0x90}
    assert bus.poll(0.0) is None
    assert bus.asked == [0x90] * 3
    assert bus.now_s == pytest.approx(0.9)
    assert bus.decoder.due_s == math.inf


def test_a_reading_is_stale_after_two_seconds() -> None:
    bus = Bus()
    bus.poll(0.0)
    assert bus.decoder.reading(2.0) is not None
    assert bus.decoder.reading(2.1) is None


def test_a_question_without_answers_is_left_out_of_more_and_more_polls() -> None:
    bus = Bus()
    bus.deaf = {0x92}
    asked = []
    for second in range(16):
        assert bus.poll(2.0 * second) is not None
        asked.append(bus.asked.count(0x92))
    assert asked == [3, 0, 3, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]


def test_one_question_is_in_flight_and_the_next_waits_for_its_gap() -> None:
    decoder = DalyCanDecoder()
    decoder.begin(0.0)
    assert decoder.feed([answer(daly.RESTING)], 0.01) == ()
    assert decoder.waiting
    assert decoder.tick(0.05) == ()
    assert decoder.due_s == pytest.approx(0.07)
    (question,) = decoder.tick(0.07)
    assert question.can_id == 0x18930140


def test_what_nobody_asked_is_kept_and_answers_nothing() -> None:
    decoder = DalyCanDecoder()
    decoder.begin(0.0)
    decoder.feed([answer(daly.SWITCHES)], 0.01)
    assert decoder.due_s == pytest.approx(0.3)
    decoder.feed([answer(daly.RESTING)], 0.02)
    reading = decoder.reading(0.02)
    assert reading is not None
    assert reading.remaining_ah == 40.96


def test_a_frame_of_another_length_is_counted_and_changes_nothing() -> None:
    decoder = DalyCanDecoder()
    decoder.begin(0.0)
    decoder.feed([answer(daly.RESTING)], 0.01)
    before = decoder.reading(0.01)
    decoder.feed([CanFrame(0x18904001, bytes(7), True), answer(in_mode_9())], 0.02)
    assert decoder.counters.bad == {"length": 1, "status": 1}
    assert decoder.reading(0.02) == before


def in_mode_9() -> bytes:
    return daly.reply(0x93, b"\x09\1\1")


def test_a_pack_that_was_gone_is_asked_for_its_nameplate_again() -> None:
    bus = Bus()
    for second in range(9):
        bus.poll(float(second))
    bus.deaf = {0x90}
    bus.poll(9.0)
    bus.poll(10.0)
    bus.deaf = set()
    reading = bus.poll(11.0)
    assert reading is not None
    assert (reading.full_ah, reading.cells_v) == (None, None)
    for second in range(12, 20):
        reading = bus.poll(float(second))
    assert reading is not None
    assert reading.full_ah == 40.0
