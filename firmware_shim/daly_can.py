"""A Daly smart BMS on a CAN bus: 29 bits, 18 CMD 01 40 asks board 1, 18 CMD 40 01 answers."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from firmware_shim.can import CanFrame
from firmware_shim.daly import DalyBoard
from firmware_shim.pack import Pack

_ASKS: Final = 0x1800_0140
_ANSWERS: Final = 0x1800_4001
_COMMAND: Final = 0x00FF_0000
_DATA_BYTES: Final = 8


class DalyNode:
    """The board on a bus. Pure: frames and the time in, frames out; it never speaks unasked."""

    def __init__(self, board: DalyBoard, *, bitrate: int = 250_000) -> None:
        self.board = board
        self.faults = board.faults
        self.bitrate = bitrate
        self.due_s = math.inf
        self.wake: Callable[[], None] | None = None

    @property
    def pack(self) -> Pack:
        """The pack behind the board."""
        return self.board.pack

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        self.board.set(values)

    def receive(self, frame: CanFrame, now_s: float) -> list[CanFrame]:
        """Answer a request for board 1."""
        asked = frame.extended and frame.can_id & ~_COMMAND == _ASKS
        if not asked or len(frame.data) != _DATA_BYTES:
            return []
        command = frame.can_id & _COMMAND
        answers = self.board.answer(command >> 16, frame.data, now_s)
        return [CanFrame(_ANSWERS | command, data, True) for data in answers]

    def tick(self, now_s: float) -> list[CanFrame]:  # noqa: ARG002 - it has nothing to say
        """Say nothing."""
        return []
