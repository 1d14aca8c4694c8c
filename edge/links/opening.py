"""From the `port` of a configuration to a link."""

from pathlib import Path

from edge.links.base import Link
from edge.links.replay import ReplayLink
from edge.links.serial import SerialLink

REPLAY = "replay:"


def open_link(port: str, *, baud: int) -> Link:
    """Return a serial line for a device path, or a played capture for `replay:FILE`.

    Raises LinkDownError when the capture cannot be read; a serial port is opened at its first use.
    """
    if port.startswith(REPLAY):
        return ReplayLink.from_file(Path(port.removeprefix(REPLAY)))
    return SerialLink(port, baud=baud)
