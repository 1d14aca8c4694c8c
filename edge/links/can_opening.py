"""From the `port` of a configuration to a CAN bus."""

from pathlib import Path

from edge.drivers.can import CanPolicy
from edge.links.can import BusLink, CanLink, slcan_port, socketcan_port
from edge.links.opening import REPLAY, SLCAN, SOCKETCAN


def open_can_link(port: str, policy: CanPolicy) -> CanLink:
    """Return the bus on a port; it is opened at its first use.

    `slcan:PATH`, `slcan:PATH@BAUD` and a device path are an adapter that speaks slcan,
    `socketcan:NAME` and a name without a slash an interface of the kernel, `replay:FILE` a capture.
    Raises LinkDownError when the capture cannot be read.
    """
    if port.startswith(REPLAY):
        from edge.links.can_replay import ReplayCanLink

        return ReplayCanLink.from_file(Path(port.removeprefix(REPLAY)))
    listens = policy.listens
    if port.startswith(SOCKETCAN) or not (port.startswith(SLCAN) or "/" in port):
        channel = port.removeprefix(SOCKETCAN)
        return BusLink(port, lambda: socketcan_port(channel, listens=listens))
    path = port.removeprefix(SLCAN)
    return BusLink(path, lambda: slcan_port(path, bitrate=policy.bitrate, listens=listens))
