"""Frames of the scooter bus: printed in its specification, or laid out by hand."""

READ_MAIN = bytes.fromhex("55 AA 03 22 01 31 0A 9E FF")
MAIN = bytes.fromhex("55 AA 0C 25 01 31 36 1E 63 00 01 00 09 10 31 31 69 FE")
CRUISE_ON = bytes.fromhex("55 AA 04 20 03 7C 01 00 5B FF")
LOCK_IT = bytes.fromhex("55 AA 04 20 03 70 01 00 67 FF")
READ_ESC_SERIAL = bytes.fromhex("55 AA 03 20 01 10 0E BD FF")
ESC_BLOCK = bytes.fromhex(
    "55 AA 22 23 01 B0 00 00 00 00 00 00 00 00 49 00 78 37 80 25 22 C8 00 00 0C 00 89 03 E7 00 "
    "00 00 00 00 00 00 00 00 03 FB"
)


def checked(start: bytes, body: bytes) -> bytes:
    """A frame around a body from L to the last payload byte, its checksum added up by hand."""
    total = 0
    for byte in body:
        total += byte
    return start + body + bytes(((total & 0xFF) ^ 0xFF, (total >> 8 & 0xFF) ^ 0xFF))


def xiaomi(address: int, command: int, register: int, payload: bytes) -> bytes:
    return checked(b"\x55\xaa", bytes((len(payload) + 2, address, command, register)) + payload)


def ninebot(source: int, target: int, command: int, register: int, payload: bytes) -> bytes:
    return checked(b"\x5a\xa5", bytes((len(payload), source, target, command, register)) + payload)


def from_battery(register: int, payload: bytes) -> bytes:
    """What the battery of a Xiaomi answers."""
    return xiaomi(0x25, 0x01, register, payload)


def words(*values: int) -> bytes:
    return b"".join((value & 0xFFFF).to_bytes(2, "little") for value in values)


# 5.2 Ah, 67 %, charging with 1.50 A, 38.50 V, 24 and 23 degC; cells, the last five absent.
NINEBOT_MAIN = bytes.fromhex("5A A5 0A 22 3D 04 31 50 14 43 00 6A FF 0A 0F 2C 2B E1 FC")
NINEBOT_READ_MAIN = bytes.fromhex("5A A5 01 3D 22 01 31 0A 63 FF")
CELLS = from_battery(0x40, words(*range(3850, 3860), 0, 0, 0, 0, 0))
THROTTLE = bytes.fromhex("55 AA 07 20 65 00 04 26 22 00 00 27 FF")
