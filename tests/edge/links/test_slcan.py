"""The slcan codec with bytes alone, and the python-can interface on a real pty."""

import importlib.metadata
import os
import select
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import can
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.can import CanFrame
from edge.links.slcan import LONGEST_LINE, Remote, SlcanStream, line_of, remote_line
from edge.links.slcan_bus import SlcanBus

LEAF = CanFrame(0x1DB, bytes.fromhex("ff60b06a370001fd"))
LEAF_LINE = b"t1DB8FF60B06A370001FD\r"
VW = CanFrame(0x17FE007B, b"\x05\x62\x1e\x3b\x06\x40", extended=True)
VW_LINE = b"T17FE007B605621E3B0640\r"

frames = st.builds(
    CanFrame,
    st.sampled_from((0, 0x1DB, 0x7FF)) | st.integers(0, 0x7FF),
    st.binary(max_size=8),
) | st.builds(CanFrame, st.integers(0, 2**29 - 1), st.binary(max_size=8), st.just(True))


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(stream), *(place % (len(stream) + 1) for place in cuts)})
    return [stream[low:high] for low, high in pairwise(at)]


def heard(stream: SlcanStream, pieces: list[bytes]) -> tuple[Any, ...]:
    found = [frame for piece in pieces for frame in stream.feed(piece)]
    return found, stream.counters, stream.acks, stream.refusals, stream.unwanted, stream.told


@pytest.mark.parametrize(("frame", "line"), [(LEAF, LEAF_LINE), (VW, VW_LINE)])
def test_a_frame_is_one_line_and_back(frame: CanFrame, line: bytes) -> None:
    assert line_of(frame) == line
    assert SlcanStream().feed(line) == [frame]


@given(st.lists(frames, max_size=40))
def test_every_frame_survives_the_line(sent: list[CanFrame]) -> None:
    stream = SlcanStream()
    assert stream.feed(b"".join(map(line_of, sent))) == sent
    assert stream.counters.frames == len(sent)
    assert not stream.counters.bad


@given(st.data())
def test_slicing_changes_neither_frames_nor_counters(data: st.DataObject) -> None:
    part = st.sampled_from((LEAF_LINE, VW_LINE, b"z\r", b"\a", b"V1013\r", b"t1DB8EE")) | st.binary(
        max_size=40
    )
    line = b"".join(data.draw(st.lists(part, max_size=12)))
    pieces = cut(line, data.draw(st.lists(st.integers(min_value=0))))
    assert heard(SlcanStream(), pieces) == heard(SlcanStream(), [line])


@given(noise=st.binary(max_size=200))
def test_a_frame_behind_noise_is_found(noise: bytes) -> None:
    stream = SlcanStream()
    assert stream.feed(noise + LEAF_LINE)[-1:] == [LEAF]
    assert stream.feed(LEAF_LINE) == [LEAF]


@given(noise=st.binary(max_size=4000).map(lambda noise: noise.replace(b"\r", b"x")))
def test_a_line_that_never_ends_is_not_kept(noise: bytes) -> None:
    stream = SlcanStream()
    stream.feed(noise.replace(b"\a", b"x"))
    assert stream.counters.skipped_bytes == max(len(noise) - LONGEST_LINE, 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"t1DB8FF60B06A370001F\r", "length"),
        (b"t1DB8FF60B06A370001FD00\r", "length"),
        (b"t1DB8FF60B06A370001FD0123\r", "length"),
        (b"t1DB9FF60B06A370001FD00\r", "length"),
        (b"t8DB8FF60B06A370001FD\r", "length"),
        (b"T2000000000\r", "length"),
        (b"t1_B1EE\r", "length"),
        (b"t1DB1 E\r", "length"),
        (b"t1DB1+E\r", "length"),
        (b"r1DB2AABB\r", "length"),
        (b"1DB8FF60B06A370001FD\r", "start"),
        (b"t1DB8EEC0C3\a", "terminator"),
    ],
)
def test_a_line_that_is_no_frame_is_counted_by_its_reason(line: bytes, reason: str) -> None:
    stream = SlcanStream()
    stream.feed(LEAF_LINE)
    assert stream.feed(line) == []
    assert stream.counters.bad == {reason: 1}
    assert stream.feed(LEAF_LINE) == [LEAF]


def test_answers_of_the_adapter_are_no_frames() -> None:
    stream = SlcanStream()
    assert stream.feed(b"\r" + b"z\r" + LEAF_LINE + b"Z\r" + b"\a\a" + b"V1013\rNA123\rF80\r") == [
        LEAF
    ]
    assert (stream.acks, stream.refusals) == (3, 2)
    assert stream.told == {"V": "1013", "N": "A123", "F": "80"}
    assert not stream.counters.bad


def test_remote_frames_are_told_apart_from_data() -> None:
    stream = SlcanStream()
    lines = remote_line(Remote(0x123, 4)) + remote_line(Remote(0x18DAF110, 0, extended=True))
    assert lines == b"r1234\rR18DAF1100\r"
    assert stream.feed(lines + LEAF_LINE) == [LEAF]
    assert stream.remotes == [Remote(0x123, 4), Remote(0x18DAF110, 0, extended=True)]
    assert stream.feed(LEAF_LINE) == [LEAF]
    assert stream.remotes == []


def test_time_stamps_are_read_where_they_were_asked_for() -> None:
    stream = SlcanStream(stamped=True)
    assert stream.feed(b"t1DB1EE0010\rT17FE007B0EA5F\rt1DB0EA60\rt1DB1EE\r") == [
        CanFrame(0x1DB, b"\xee"),
        CanFrame(0x17FE007B, b"", extended=True),
    ]
    assert stream.stamps_ms == [16, 59_999]
    assert stream.counters.bad == {"length": 2}


def test_frames_nobody_listens_to_are_dropped_by_their_identifier() -> None:
    stream = SlcanStream({(0x1DB, False)})
    other = line_of(CanFrame(0x1DC, b"\x01"))
    long_one = line_of(CanFrame(0x1DB, b"\x01", extended=True))
    assert stream.feed((other + long_one + LEAF_LINE) * 3) == [LEAF] * 3
    assert stream.unwanted == 6


@pytest.mark.parametrize(
    "frame",
    [
        CanFrame(0x800, b""),
        CanFrame(1 << 29, b"", extended=True),
        CanFrame(-1, b""),
        CanFrame(1, bytes(9)),
    ],
)
def test_a_frame_that_cannot_be_is_not_sent(frame: CanFrame) -> None:
    with pytest.raises(ValueError, match="is no frame"):
        line_of(frame)


@contextmanager
def adapter(**options: Any) -> Iterator[tuple[int, SlcanBus]]:
    """A pty with our python-can interface on it: the descriptor of the far end, and the bus."""
    far, near = os.openpty()
    tty.setraw(near)
    bus = SlcanBus(os.ttyname(near), **options)
    try:
        yield far, bus
    finally:
        bus.shutdown()
        os.close(near)
        os.close(far)


def told(far: int, lines: int) -> bytes:
    """Return what the adapter was told, which a pty may hand over in pieces."""
    found = b""
    while found.count(b"\r") < lines:
        found += os.read(far, 99)
    return found


OPENING_LINES = 5


def test_opening_tells_the_adapter_the_bit_rate() -> None:
    with adapter(bitrate=250_000) as (far, _):
        assert told(far, OPENING_LINES) == b"\rC\rZ0\rS5\rO\r"
    with adapter(listen_only=True, timestamps=True) as (far, _):
        assert told(far, OPENING_LINES) == b"\rC\rZ1\rS6\rL\r"


def test_a_bit_rate_that_slcan_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="no 123 bit/s"):
        SlcanBus("/dev/null", bitrate=123)


def test_a_port_that_is_not_there_is_an_initialization_error() -> None:
    with pytest.raises(can.CanInitializationError, match="nothing-here"):
        SlcanBus("/dev/nothing-here")


def test_messages_go_both_ways_as_python_can_has_them() -> None:
    with adapter() as (far, bus):
        told(far, OPENING_LINES)
        bus.send(can.Message(arbitration_id=0x7E4, data=b"\x02\x3e\x80", is_extended_id=False))
        bus.send(can.Message(arbitration_id=0x1, dlc=2, is_remote_frame=True))
        assert told(far, 2) == b"t7E43023E80\rR000000012\r"
        os.write(far, b"z\r" + LEAF_LINE + VW_LINE + b"r1232\r")
        leaf, car, asked = (bus.recv(1) for _ in range(3))
        assert bus.recv(0) is None
    assert leaf is not None
    assert (leaf.arbitration_id, bytes(leaf.data), leaf.is_extended_id) == LEAF
    assert car is not None
    assert (car.arbitration_id, bytes(car.data), car.is_extended_id) == VW
    assert asked is not None
    assert asked.is_remote_frame
    assert asked.dlc == 2


def test_filters_of_python_can_hold() -> None:
    wanted = {"can_id": 0x17FE007B, "can_mask": 0x1FFFFFFF, "extended": True}
    with adapter(can_filters=[wanted]) as (far, bus):
        os.write(far, LEAF_LINE + VW_LINE)
        message = bus.recv(1)
    assert message is not None
    assert message.arbitration_id == VW.can_id


def test_many_frames_come_in_one_piece() -> None:
    with adapter() as (far, bus):
        os.write(far, LEAF_LINE * 100)
        first = bus.recv(1)
        rest = bus.recv_frames()
        while len(rest) < 99 and select.select([bus], [], [], 1)[0]:
            rest += bus.recv_frames()
    assert first is not None
    assert rest == [LEAF] * 99


def test_the_adapter_s_clock_runs_on_over_the_minute() -> None:
    with adapter(timestamps=True) as (far, bus):
        os.write(far, b"t1DB1EEEA5A\rt1DB1EE0005\rt1DB1EE0003\r")
        found = [bus.recv(1) for _ in range(3)]
    times = [message.timestamp for message in found if message is not None]
    assert [round(at - times[0], 3) for at in times] == [0, 0.011, 0.009]


def test_a_lost_adapter_is_an_operation_error() -> None:
    far, near = os.openpty()
    tty.setraw(near)
    bus = SlcanBus(os.ttyname(near))
    os.close(near)
    os.close(far)
    with pytest.raises(can.CanOperationError, match="was lost"):
        bus.recv(1)
    bus.shutdown()


def test_python_can_finds_the_interface_by_its_name() -> None:
    """Fails in an environment made before the entry point: `make setup` makes it new."""
    (found,) = importlib.metadata.entry_points(group="can.interface", name="mobility_slcan")
    assert found.load() is SlcanBus
