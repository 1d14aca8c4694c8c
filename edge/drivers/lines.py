"""A captured frame as `mobility-edge decode` and the capture files have it."""

import msgspec

from edge.drivers.base import FrameError


class Line(msgspec.Struct, frozen=True):
    """One line in. Identifiers and payloads are hexadecimal text, `can_id` with or without 0x.

    Serial protocols have `hex` alone, CAN frames `can_id` and `extended` with it; ISO-TP messages
    have `can_frames` or `payload_hex`, and the identifiers of request and response.
    """

    hex: str | None = None
    can_id: str | None = None
    extended: bool = False
    can_frames: list[str] | None = None
    payload_hex: str | None = None
    request_can_id: str | None = None
    response_can_id: str | None = None


class BadLineError(ValueError):
    """The line is no frame; the text begins with `bad_json`."""


def data_of(line: Line) -> bytes:
    """Return the bytes under `hex`. Raises BadLineError."""
    if line.hex is None:
        raise BadLineError('bad_json: expected an object {"hex": "…"}')
    return from_hex(line.hex, "hex")


def id_of(line: Line) -> int:
    """Return the CAN identifier. Raises BadLineError, and FrameError when there is none such."""
    if line.can_id is None:
        raise BadLineError('bad_json: a CAN frame needs {"can_id": "0x5BC", "hex": "…"}')
    number = number_of(line.can_id, "can_id")
    if not 0 <= number < 1 << (29 if line.extended else 11):
        bits = "29 bits" if line.extended else '11 bits; a longer one needs "extended": true'
        raise FrameError("start", f"identifier {line.can_id} is not within {bits}")
    return number


def number_of(text: str, name: str) -> int:
    """Return a hexadecimal number. Raises BadLineError, which says where it stood."""
    try:
        return int(text, 16)
    except ValueError:
        raise BadLineError(f"bad_json: {name} must be hexadecimal, not {text[:40]!r}") from None


def from_hex(text: str, name: str) -> bytes:
    """Return bytes of hex digits. Raises BadLineError, which says where they stood."""
    try:
        return bytes.fromhex(text)
    except ValueError as trouble:
        raise BadLineError(f"bad_json: {name} must be pairs of hex digits ({trouble})") from trouble
