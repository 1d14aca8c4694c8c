"""Frames of the lock unit: the vectors of docs/lock-unit.md, and the laws of every decoder."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers import lock_unit_frames as wire
from edge.drivers.lock_unit_frames import About, LockFrame, LockFrames, Reply, Status
from protocol.commands import KINDS, SPEED_MODES
from protocol.controllers import VEHICLE_CONTROLLERS
from tests.lock_unit_vectors import VECTORS

SAMPLES = tuple(VECTORS.values())
LONGEST_FRAME = 71


def only(data: bytes) -> LockFrame:
    (frame,) = LockFrames().feed(data)
    return frame


@pytest.mark.parametrize(
    ("name", "seq", "kind", "args"),
    [
        ("lock", 2, "lock", {}),
        ("unlock", 3, "unlock", {}),
        ("immobilise_on", 4, "immobilise", {"on": True}),
        ("immobilise_off", 5, "immobilise", {"on": False}),
        ("limit_20", 6, "speed_limit", {"kmh": 20}),
        ("limit_none", 7, "speed_limit", {"kmh": None}),
        ("mode_eco", 8, "speed_mode", {"mode": "eco"}),
        ("open_compartment", 9, "open_battery", {}),
        ("locate_5_s", 10, "locate", {}),
        ("lights_on", 255, "lights", {"on": True}),
    ],
)
def test_orders_are_encoded_as_printed(
    name: str, seq: int, kind: str, args: dict[str, Any]
) -> None:
    order = wire.order(kind, args)
    assert order is not None
    assert wire.encode(seq, *order) == VECTORS[name]
    assert only(VECTORS[name]) == LockFrame(seq, *order)


def test_the_greeting_is_encoded_as_printed() -> None:
    assert wire.hello(1, 0xDEADBEEF) == VECTORS["hello"]


STANDING = Status(
    locked=True,
    speed_kmh=0.0,
    speed_limit_kmh=0,
    speed_mode="normal",
    tip_over=False,
    tamper=False,
    charge_cable=False,
    lights=False,
    compartment_open=False,
    immobilised=False,
    kickstand=False,
    jammed=False,
    locating=False,
    uptime_ms=1000,
)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("status_locked", STANDING),
        (
            "status_riding",
            STANDING._replace(
                locked=False,
                lights=True,
                speed_kmh=20.3,
                speed_limit_kmh=25,
                speed_mode="sport",
                uptime_ms=61_000,
            ),
        ),
        (
            "status_rolling_back",
            STANDING._replace(locked=False, speed_kmh=-1.2, speed_mode="walk", uptime_ms=62_000),
        ),
        (
            "status_everything",
            Status._make((None, 0.0, 45, "eco", *([True] * 9), 2**32 - 1)),
        ),
    ],
)
def test_statuses_are_read_as_printed(name: str, status: Status) -> None:
    assert wire.read_status(only(VECTORS[name]).payload) == status
    assert wire.read_status(only(VECTORS[name]).payload + b"later") == status


def test_about_and_replies_are_read_as_printed() -> None:
    kinds = VEHICLE_CONTROLLERS["lock_unit"].capabilities
    assert wire.read_about(only(VECTORS["about"]).payload) == About(
        1, kinds, 0xDEADBEEF, "MC-LU1 1.0"
    )
    assert wire.read_reply(only(VECTORS["ack_lock"])) == Reply(wire.LOCK, "")
    assert wire.read_reply(only(VECTORS["nak_lock_moving"])) == Reply(wire.LOCK, "moving")


def test_what_is_too_short_or_unknown_is_none() -> None:
    assert wire.read_status(bytes(10)) is None
    assert wire.read_about(bytes(6)) is None
    assert wire.read_reply(LockFrame(1, wire.ACK, b"")) is None
    assert wire.read_reply(LockFrame(1, wire.NAK, b"\x10")) is None
    assert wire.read_reply(LockFrame(1, wire.STATUS, bytes(11))) is None
    assert wire.read_reply(LockFrame(1, wire.NAK, b"\x10\xee")) == Reply(wire.LOCK, "error")


def test_the_modes_of_the_wire_are_those_of_the_commands() -> None:
    assert wire.MODES == SPEED_MODES
    assert VEHICLE_CONTROLLERS["lock_unit"].capabilities <= KINDS.keys()


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("immobilise", {}),
        ("immobilise", {"on": 1}),
        ("speed_limit", {"kmh": 300}),
        ("speed_limit", {"kmh": "20"}),
        ("speed_mode", {"mode": "ludicrous"}),
    ],
)
def test_an_order_that_cannot_be_written_raises(kind: str, args: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        wire.order(kind, args)


def test_a_payload_that_is_too_long_is_not_written() -> None:
    with pytest.raises(ValueError, match="at most 64"):
        wire.encode(1, 1, bytes(65))


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(stream), *(place % (len(stream) + 1) for place in cuts)})
    return [stream[low:high] for low, high in pairwise(at)]


@given(st.lists(st.sampled_from(SAMPLES) | st.binary(max_size=24) | st.just(b"MC")), st.data())
def test_slicing_changes_neither_frames_nor_counters(
    parts: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(min_value=0)))
    whole, sliced = LockFrames(), LockFrames()
    frames = whole.feed(stream) + whole.line_quiet()
    found = [frame for piece in cut(stream, cuts) for frame in sliced.feed(piece)]
    assert found + sliced.line_quiet() == frames
    assert sliced.counters == whole.counters


@given(st.binary(max_size=512))
def test_noise_is_survived_bounded_and_forgotten(noise: bytes) -> None:
    frames = LockFrames()
    frames.feed(noise)
    assert len(frames._pending) < LONGEST_FRAME
    frames.line_quiet()
    assert frames.feed(VECTORS["lock"]) == [LockFrame(2, wire.LOCK, b"")]


@given(st.binary(max_size=64), st.sampled_from(SAMPLES))
def test_a_frame_right_behind_noise_is_found_once_the_line_is_quiet(
    noise: bytes, sample: bytes
) -> None:
    frames = LockFrames()
    assert only(sample) in frames.feed(noise + sample) + frames.line_quiet()


@pytest.mark.parametrize("name", VECTORS)
def test_a_frame_with_any_bit_flipped_is_never_believed(name: str) -> None:
    sample = VECTORS[name]
    for bit in range(8 * len(sample)):
        damaged = bytearray(sample)
        damaged[bit // 8] ^= 1 << bit % 8
        frames = LockFrames()
        assert frames.feed(bytes(damaged)) + frames.line_quiet() == []
        assert frames.counters.skipped_bytes == len(sample)


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=64))
def test_what_is_encoded_is_read_back(seq: int, kind: int, payload: bytes) -> None:
    assert only(wire.encode(seq, kind, payload)) == LockFrame(seq, kind, payload)


def test_half_a_frame_costs_only_itself() -> None:
    frames = LockFrames()
    half = VECTORS["status_riding"][:9]
    assert frames.feed(half + VECTORS["status_locked"]) == [only(VECTORS["status_locked"])]
