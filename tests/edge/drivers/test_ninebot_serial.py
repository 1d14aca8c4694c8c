"""The same battery in Ninebot's framing, which numbers the parts on its own."""

import pytest

from edge.drivers.base import BatteryReading, Frame, FrameError
from edge.drivers.m365_frames import BMS, ESC, NINEBOT, BusFrames
from edge.drivers.m365_registers import LOCK
from edge.drivers.m365_serial import M365Decoder, NinebotDecoder
from tests.edge.drivers.m365_vectors import (
    MAIN,
    NINEBOT_MAIN,
    NINEBOT_READ_MAIN,
    ninebot,
    words,
)

POLICY = NinebotDecoder.policy
STRANGE = words(1, 2, 3, 4, 5)
MAIN_READING = BatteryReading(
    voltage_v=38.5, current_a=1.5, soc_pct=67, remaining_ah=5.2, temperatures_c=(24, 23)
)


def test_the_same_questions_are_asked_in_the_other_framing() -> None:
    assert POLICY.main.request == NINEBOT_READ_MAIN
    assert NINEBOT.write(ESC, LOCK, 1) == ninebot(0x3D, 0x20, 3, 0x70, b"\x01\x00")
    for attribute in ("details", "once", "events"):
        here, there = getattr(POLICY, attribute), getattr(M365Decoder.policy, attribute)
        assert [ask.answer for ask in here] == [ask.answer for ask in there]


def test_the_main_answer_is_a_reading() -> None:
    explained = NinebotDecoder.explain(NINEBOT_MAIN)
    assert explained.reading == MAIN_READING
    assert explained.fields == {
        "source": 0x22,
        "destination": 0x3D,
        "command": 4,
        "register": 0x31,
        "remaining_mah": 5200,
        "soc_pct": 67,
        "current_a": -1.5,
        "pack_voltage_v": 38.5,
        "temperatures_c": [24, 23],
    }


def test_requests_and_writes_have_their_fields() -> None:
    assert NinebotDecoder.explain(NINEBOT_READ_MAIN).fields == {
        "source": 0x3D,
        "destination": 0x22,
        "command": 1,
        "register": 0x31,
        "read_length": 10,
    }
    assert NinebotDecoder.explain(ninebot(0x3E, 0x20, 2, 0x70, b"\x01\x00")).fields == {
        "source": 0x3E,
        "destination": 0x20,
        "command": 2,
        "register": 0x70,
        "write_data": "0100",
    }


def test_what_the_esc_says_is_named_as_in_the_other_framing() -> None:
    fields = NinebotDecoder.explain(ninebot(0x20, 0x3E, 4, 0x1A, words(0x0134))).fields
    assert fields["esc_fw"] == "1.3.4"


@pytest.mark.parametrize(
    "other",
    [
        ninebot(0x23, 0x3D, 4, 0x31, STRANGE),
        ninebot(0x20, 0x3D, 4, 0x31, STRANGE),
        ninebot(0x22, 0x3D, 5, 0x31, STRANGE),
        ninebot(0x22, 0x3D, 1, 0x31, STRANGE),
        ninebot(0x3D, 0x22, 3, 0x31, STRANGE),
        ninebot(0x21, 0x20, 0x64, 0x31, STRANGE),
    ],
    ids=["second battery", "esc", "write's answer", "battery's question", "our write", "throttle"],
)
def test_what_others_say_neither_answers_nor_changes_the_reading(other: bytes) -> None:
    decoder = NinebotDecoder()
    (answer,) = decoder.feed(NINEBOT_MAIN)
    assert answer == Frame(POLICY.main.answer, NINEBOT_MAIN[7:-2])
    (frame,) = decoder.feed(other)
    assert (frame.op, frame.key) != (None, POLICY.main.answer)
    assert decoder.reading() == MAIN_READING


def test_another_masters_answer_of_another_length_does_not_answer() -> None:
    (frame,) = NinebotDecoder().feed(ninebot(0x22, 0x21, 4, 0x31, words(5100)))
    assert frame.key != POLICY.main.answer


def test_the_part_23_is_the_esc_in_one_framing_and_a_second_battery_in_the_other() -> None:
    of_ninebot, of_xiaomi = BusFrames().feed(
        ninebot(0x23, 0x3D, 4, 0x31, STRANGE) + bytes.fromhex("55aa0423011a42017aff")
    )
    assert of_xiaomi.source == ESC
    assert of_ninebot.source not in (ESC, BMS)


@pytest.mark.parametrize(("command", "answers"), [(4, True), (5, False), (1, False), (0x64, False)])
def test_only_the_answer_to_a_read_answers_one(command: int, answers: bool) -> None:
    (frame,) = BusFrames().feed(ninebot(0x20, 0x3D, command, 0x72, words(1, 2, 3)))
    assert frame.answers(ESC, 0x72, 6) is answers
    assert not frame.answers(ESC, 0x72, 4)
    assert not frame.answers(BMS, 0x72, 6)


def test_a_frame_without_payload_is_a_frame() -> None:
    (frame,) = BusFrames().feed(ninebot(0x22, 0x3D, 5, 0x31, b""))
    assert (frame.kind, frame.data) == ("written", b"")


def test_a_stream_that_changes_its_framing_is_understood() -> None:
    decoder = NinebotDecoder()
    decoder.feed(NINEBOT_MAIN[:-1])
    frames = decoder.feed(NINEBOT_MAIN[-1:] + MAIN)
    assert len(frames) == 2
    reading = decoder.reading()
    assert reading is not None
    assert reading.voltage_v == 41.05


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (NINEBOT_MAIN[:-1], "length"),
        (NINEBOT_MAIN[:8], "length"),
        (b"\x5a\xaa" + NINEBOT_MAIN[2:], "start"),
        (NINEBOT_MAIN[:-2] + b"\x00\x00", "checksum"),
        (ninebot(0x22, 0x30, 4, 0x31, STRANGE), "unsupported"),
        (ninebot(0x30, 0x22, 1, 0x31, b"\x0a"), "unsupported"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(FrameError) as caught:
        NinebotDecoder.explain(frame)
    assert caught.value.reason == reason
