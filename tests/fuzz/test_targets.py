"""Every decoder has a fuzz target, and each stands a moment of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drivers.base import BatteryReading
from edge.drivers.registry import DRIVERS
from tests.fuzz.targets import Target, frames_of, pieces, targets, told

TARGETS = dict(targets())


def test_every_protocol_has_a_target() -> None:
    assert {name.partition(":")[0] for name in TARGETS} == set(DRIVERS)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@settings(max_examples=25)
@given(data=st.binary(max_size=512))
def test_a_target_stands(target: Target, data: bytes) -> None:
    target(data)


@given(data=st.binary(max_size=200))
def test_pieces_are_the_whole(data: bytes) -> None:
    assert b"".join(pieces(data)) == data


@given(data=st.binary(max_size=200))
def test_frames_are_of_the_bus(data: bytes) -> None:
    for frame in frames_of(data, [(0x1DB, False), (0x18904001, True)]):
        assert len(frame.data) <= 8
        assert frame.can_id < 1 << (29 if frame.extended else 11)


def test_what_cannot_be_true_is_not_told() -> None:
    told(BatteryReading(voltage_v=1e9))
