"""From the `port` of a configuration to a link."""

from pathlib import Path

from edge.links.base import Link
from edge.links.replay import ReplayLink
from edge.links.serial import SerialLink

REPLAY = "replay:"
SLCAN = "slcan:"
SOCKETCAN = "socketcan:"


def is_bus(port: str) -> bool:
    """Whether the port can only be a CAN bus: its name says so, or the capture that it plays."""
    if port.startswith((SLCAN, SOCKETCAN)):
        return True
    if port.startswith(REPLAY):
        return _has_can_frames(Path(port.removeprefix(REPLAY)))
    return "/" not in port


def open_link(port: str, *, baud: int) -> Link:
    """Return a serial line for a device path, or a played capture for `replay:FILE`.

    Raises LinkDownError when the capture cannot be read; a serial port is opened at its first use.
    """
    if port.startswith(REPLAY):
        return ReplayLink.from_file(Path(port.removeprefix(REPLAY)))
    return SerialLink(port, baud=baud)


def _has_can_frames(path: Path) -> bool:
    from edge.drivers.can import CanFrame
    from edge.links.recording import CaptureError, read_capture

    try:
        return any(isinstance(row.data, CanFrame) for row in read_capture(path))
    except (OSError, CaptureError):
        return False
