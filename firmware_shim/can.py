"""What a shim on a CAN bus is: a node that hears frames, answers, and speaks on its own."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from firmware_shim.faults import Faults


class CanFrame(NamedTuple):
    """One classic data frame: an 11-bit identifier, or 29 bits when `extended`; 0 to 8 bytes."""

    can_id: int
    data: bytes
    extended: bool = False


class CanNode(Protocol):
    """A node's state machine. Pure: frames and the time in, frames out.

    `due_s` is when it next wants to speak, in its own clock's seconds, `math.inf` for never; the
    port reads it after every `receive` and `tick`, and when the node calls `wake`, which the port
    sets. `bitrate` is in bit/s.
    """

    faults: Faults
    bitrate: int
    due_s: float
    wake: Callable[[], None] | None

    def receive(self, frame: CanFrame, now_s: float) -> list[CanFrame]:
        """Take a frame that another node sent; return the answers to it."""

    def tick(self, now_s: float) -> list[CanFrame]:
        """Return what it says at `now_s`, and move `due_s` on."""

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
