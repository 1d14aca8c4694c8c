"""Frames of Daly boards: the specification's, and made ones of 14, 16 and 4 cells."""

from typing import Final

READ_PACK: Final = bytes.fromhex("a540900800000000000000007d")
DISCHARGE_ON: Final = bytes.fromhex("a540d9080100000000000000c7")
CHARGE_ON: Final = bytes.fromhex("a540da080100000000000000c8")

RESTING: Final = bytes.fromhex("a50190080212000075300200f9")
CELL_RANGE: Final = bytes.fromhex("a50191080ed0060ec50b020003")
TEMPERATURE_RANGE: Final = bytes.fromhex("a50192083a0139020b020000c3")
SWITCHES: Final = bytes.fromhex("a5019308000101ed0000a000d0")
STATUS: Final = bytes.fromhex("a50194080e0200000000003a8c")
CELLS: Final = tuple(
    bytes.fromhex(text)
    for text in (
        "a5019508010eca0ecd0ec800cd",
        "a5019508020ecb0ec90ed000d3",
        "a5019508030ecc0eca0ec700cd",
        "a5019508040ece0ec50ec900cd",
        "a5019508050ecb0ecf04d200d4",
    )
)
TEMPERATURES: Final = bytes.fromhex("a5019608013a390000ffff00b6")
BALANCE: Final = bytes.fromhex("a5019708120100000000000058")

GIVING_50_A: Final = bytes.fromhex("a50190080207000077240309ee")
GIVING_SWITCHES: Final = bytes.fromhex("a50193080201012c0000796852")
GIVING_STATUS: Final = bytes.fromhex("a501940810030001020029098a")
FOUR_CELLS_STATUS: Final = bytes.fromhex("a5019408040100010000006bb3")
BAD_SUM: Final = bytes.fromhex("a50190080207000077240309ef")


def reply(command: int, data: bytes, *, board: int = 1) -> bytes:
    """A board's serial frame around up to eight bytes."""
    body = bytes((0xA5, board, command, 8)) + data.ljust(8, b"\0")
    return body + bytes((sum(body) & 0xFF,))


ALARMS: Final = reply(0x98, bytes(8))
