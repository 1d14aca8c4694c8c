"""ISO-TP: messages cut into frames and put together, with everything that can get lost."""

import math

import isotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.base import FrameError
from edge.drivers.isotp import (
    GO_ON,
    Heard,
    Receiver,
    Sender,
    padded,
    reassemble,
    segment,
    separation_s,
)

messages = st.binary(min_size=1, max_size=300)
TWENTY = bytes(range(20))
FLOW = padded(GO_ON)


def heard(receiver: Receiver, frames: list[bytes]) -> list[bytes]:
    found = [receiver.feed(frame, 0.0).message for frame in frames]
    return [message for message in found if message is not None]


def test_frames_are_as_the_standard_lays_them_out() -> None:
    assert segment(b"\x22\x01\x01") == [bytes.fromhex("0322010100000000")]
    assert [frame.hex() for frame in segment(TWENTY)] == [
        "1014000102030405",
        "21060708090a0b0c",
        "220d0e0f10111213",
    ]


@pytest.mark.parametrize("size", [0, 4096])
def test_no_message_is_empty_or_longer_than_twelve_bits_tell(size: int) -> None:
    with pytest.raises(ValueError, match="4095"):
        segment(bytes(size))


@given(parts=st.lists(messages, max_size=4))
def test_messages_are_put_together_as_they_were(parts: list[bytes]) -> None:
    receiver = Receiver()
    assert heard(receiver, [frame for part in parts for frame in segment(part)]) == parts
    assert receiver.dropped == 0
    assert receiver.due_s == math.inf


def test_a_first_frame_is_answered_with_flow_control_and_others_are_not() -> None:
    receiver = Receiver()
    first, second, third = segment(TWENTY)
    assert receiver.feed(first, 0.0) == Heard(flow_control=b"\x30\x00\x00")
    assert receiver.feed(second, 0.1) == Heard()
    assert receiver.feed(third, 0.2) == Heard(message=TWENTY)


@given(data=st.data(), message=st.binary(min_size=1, max_size=111))
def test_lost_doubled_and_swapped_frames_never_give_a_wrong_message(
    data: st.DataObject, message: bytes
) -> None:
    """Up to 15 consecutive frames, so that each has its number for itself."""
    frames = segment(message)
    picks = data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=2 * len(frames)))
    receiver = Receiver()
    assert set(heard(receiver, [frames[pick] for pick in picks])) <= {message}
    assert heard(receiver, frames) == [message]


@given(data=st.data(), message=st.binary(min_size=8, max_size=300))
def test_one_lost_frame_drops_the_message_and_is_counted(
    data: st.DataObject, message: bytes
) -> None:
    frames = segment(message)
    del frames[data.draw(st.integers(0, len(frames) - 1))]
    receiver = Receiver()
    assert heard(receiver, frames) == []
    receiver.tick(1.0)
    assert receiver.dropped >= 1


@given(frames=st.lists(st.binary(max_size=8), max_size=40), message=messages)
def test_noise_is_survived_and_the_next_message_heard(frames: list[bytes], message: bytes) -> None:
    receiver = Receiver()
    heard(receiver, frames)
    assert heard(receiver, segment(message)) == [message]


@pytest.mark.parametrize("padding", ["00", "55", "aa", "cc", ""])
def test_what_fills_a_frame_up_is_no_data(padding: str) -> None:
    frames = [bytes.fromhex("100a010203040506"), bytes.fromhex("2107080910" + padding * 3)]
    assert heard(Receiver(), frames) == [bytes.fromhex("01020304050607080910")]
    assert heard(Receiver(), [bytes.fromhex("0262ff" + padding * 5)]) == [b"\x62\xff"]


@pytest.mark.parametrize(
    "frame", ["", "00", "0862", "0462", "1007010203040506", "10140102", "21aa", "4000", "1000aaaa"]
)
def test_a_frame_that_cannot_be_is_counted(frame: str) -> None:
    receiver = Receiver()
    assert receiver.feed(bytes.fromhex(frame), 0.0) == Heard()
    assert receiver.dropped == 1


def test_a_message_whose_next_frame_is_late_is_dropped() -> None:
    receiver = Receiver()
    first, second, third = segment(TWENTY)
    receiver.feed(first, 10.0)
    receiver.feed(second, 10.9)
    assert receiver.due_s == pytest.approx(11.9)
    assert receiver.feed(third, 11.9) == Heard()
    assert receiver.dropped == 2


def test_a_new_message_takes_the_place_of_an_unfinished_one() -> None:
    receiver = Receiver()
    receiver.feed(segment(TWENTY)[0], 0.0)
    assert heard(receiver, segment(b"\x7f\x22\x31")) == [b"\x7f\x22\x31"]
    assert receiver.dropped == 1


def test_the_sender_waits_for_flow_control_and_keeps_its_pace() -> None:
    sender = Sender()
    frames = segment(bytes(40))
    assert sender.send(bytes(40), 5.0) == frames[:1]
    assert sender.tick(5.5) == []
    assert sender.feed(bytes.fromhex("30020a"), 5.6) == frames[1:2]
    assert sender.due_s == pytest.approx(5.61)
    assert sender.tick(5.605) == []
    assert sender.tick(5.61) == frames[2:3]
    assert sender.tick(5.7) == []
    assert sender.feed(FLOW, 5.8) == frames[3:]
    assert not sender.busy
    assert sender.due_s == math.inf


def test_the_sender_gives_up_without_flow_control_and_when_it_is_too_much() -> None:
    sender = Sender()
    sender.send(TWENTY, 0.0)
    assert sender.feed(bytes.fromhex("310000"), 0.9) == []
    assert sender.tick(1.8) == []
    assert sender.busy
    assert sender.tick(1.9) == []
    assert not sender.busy
    sender.send(TWENTY, 2.0)
    assert sender.feed(bytes.fromhex("320000"), 2.1) == []
    assert (sender.busy, sender.failed) == (False, 2)
    assert sender.feed(FLOW, 2.2) == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0.0), (1, 0.001), (0x7F, 0.127), (0x80, 0.127), (0xF1, 1e-4), (0xF9, 9e-4), (0xFA, 0.127)],
)
def test_the_pace_is_told_in_ms_and_in_hundreds_of_us(value: int, seconds: float) -> None:
    assert separation_s(value) == pytest.approx(seconds)


@given(message=messages)
def test_recorded_frames_give_their_messages(message: bytes) -> None:
    first, *rest = segment(message)
    flow = [FLOW] if rest else []
    assert list(reassemble([first, *flow, *rest, b"\x01\x7e"])) == [message, b"\x7e"]


@pytest.mark.parametrize(
    "frames",
    [
        segment(TWENTY)[:2],
        segment(TWENTY)[::2],
        segment(TWENTY)[1:],
        [*segment(TWENTY), segment(TWENTY)[2]],
        [bytes(9)],
        [b""],
    ],
)
def test_recorded_frames_with_a_gap_are_refused_for_their_length(frames: list[bytes]) -> None:
    with pytest.raises(FrameError) as caught:
        list(reassemble(frames))
    assert caught.value.reason == "length"


@given(message=messages)
def test_another_implementation_understands_our_frames_and_we_its(message: bytes) -> None:
    inbox: list[bytes] = []
    outbox: list[bytes] = []
    other = isotp.TransportLayerLogic(
        rxfn=lambda _: isotp.CanMessage(0x7EC, 8, inbox.pop(0)) if inbox else None,
        txfn=lambda frame: outbox.append(bytes(frame.data)),
        address=isotp.Address(txid=0x7E4, rxid=0x7EC),
    )
    sender = Sender()
    inbox += sender.send(message, 0.0)
    other.process(0.0)
    for flow_control in outbox:
        inbox += sender.feed(flow_control, 0.0)
    other.process(0.0)
    assert bytes(other.recv() or b"") == message
    outbox.clear()
    receiver = Receiver()
    other.send(message)
    found: list[bytes | None] = []
    while not found or found[-1] is None:
        other.process(0.0)
        for frame in outbox:
            brought = receiver.feed(frame, 0.0)
            found.append(brought.message)
            inbox += [brought.flow_control] if brought.flow_control is not None else []
        outbox.clear()
    assert found[-1] == message
