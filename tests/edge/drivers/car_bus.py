"""A car's broadcasting battery and its decoder, without a bus between them."""

from collections.abc import Sequence
from typing import Any

import pytest

from edge.drivers.base import BatteryReading
from edge.drivers.broadcast import BroadcastDecoder
from edge.drivers.can import CanFrame
from firmware_shim.broadcast import BroadcastNode

BEGAN_S = 1000.0


def run(
    node: BroadcastNode,
    decoder: BroadcastDecoder,
    seconds: float = 4.0,
    *,
    begin_s: float = BEGAN_S,
) -> BatteryReading | None:
    """Let the node speak for some seconds; return what is read at the end."""
    until_s = begin_s + seconds
    node.tick(begin_s)
    while node.due_s <= until_s:
        now_s = node.due_s
        decoder.feed(heard(node, now_s), now_s)
    return decoder.reading(until_s)


def heard(node: BroadcastNode, now_s: float) -> list[CanFrame]:
    return [CanFrame(*frame) for frame in node.tick(now_s)]


def frames(*texts: str) -> Sequence[CanFrame]:
    """Frames as candump writes them."""
    parts = (text.split("#") for text in texts)
    return [CanFrame(int(can_id, 16), bytes.fromhex(data)) for can_id, data in parts]


def agrees(fields: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether a frame has exactly the expected values, and true is no 1."""
    return fields.keys() == expected.keys() and all(
        type(fields[name]) is type(value) and fields[name] == pytest.approx(value, rel=1e-9)
        if isinstance(value, float)
        else fields[name] is value or (type(value) is int and fields[name] == value)
        for name, value in expected.items()
    )
