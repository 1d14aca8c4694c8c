"""`mobility-edge probe`: which controller is on this port. It reads and never writes a setting."""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from edge.drivers.base import BatteryReading, Decoder, to_json
from edge.drivers.can import CanDecoder
from edge.drivers.can_poller import CanPoller
from edge.drivers.poller import Poller
from edge.drivers.registry import DRIVERS, driver
from edge.links.base import Link, LinkDownError
from edge.links.can_opening import open_can_link
from edge.links.opening import is_bus, open_link

_LISTEN_S: Final = 1.2
_TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Recognised:
    """A protocol that gave whole frames; `reading` when they told one."""

    protocol: str
    frames: int
    reading: BatteryReading | None
    about: dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """Probe. 0 recognised, 1 not, or the port does not open."""
    probe = probe_bus if is_bus(args.port) else probe_serial
    try:
        found = asyncio.run(probe(args.port, ask=not args.listen_only))
    except LinkDownError as trouble:
        print(trouble, file=sys.stderr)
        return 1
    if args.json:
        rows = [
            {
                "protocol": one.protocol,
                "frames": one.frames,
                "reading": None if one.reading is None else to_json(one.reading),
                "about": one.about,
            }
            for one in found
        ]
        print(json.dumps({"port": args.port, "found": rows}))
    else:
        sys.stdout.writelines(_text(args.port, found))
    if not found:
        print(
            f"Nobody known answers on {args.port}; check that the pack is awake, RX and TX are not "
            "swapped, and no agent is running on it.",
            file=sys.stderr,
        )
    return 0 if found else 1


async def probe_serial(port: str, *, ask: bool) -> list[Recognised]:
    """Return who is on a serial line, the likeliest first. Raises LinkDownError."""
    decoders = {name: one.serial for name in DRIVERS if (one := driver(name)).serial is not None}
    by_baud = sorted(decoders, key=lambda name: decoders[name].policy.baud)
    found: list[Recognised] = []
    for baud, names in groupby(by_baud, key=lambda name: decoders[name].policy.baud):
        link = open_link(port, baud=baud)
        try:
            group = {name: decoders[name]() for name in names}
            found += await _listen(link, group)
            if ask and not found:
                found += await _ask(link, group)
        finally:
            await link.close()
        if found:
            break
    return sorted(found, key=lambda one: (one.reading is None, -one.frames))


async def probe_bus(port: str, *, ask: bool) -> list[Recognised]:
    """Return who is on a CAN bus, the likeliest first. Raises LinkDownError.

    The fastest usual speed comes first: a bus that is recognised is not disturbed by another one.
    """
    decoders = {name: one.can for name in DRIVERS if (one := driver(name)).can is not None}
    found: list[Recognised] = []
    for name in sorted(decoders, key=lambda name: -decoders[name].policy.bitrate):
        decoder = decoders[name]()
        if found and decoder.policy.bitrate != decoders[found[0].protocol].policy.bitrate:
            break
        if ask or _only_listens(decoder):
            reading = await _on_bus(port, decoder)
            if reading is not None:
                frames, about = decoder.counters.frames, dict(decoder.about)
                found.append(Recognised(name, frames, reading, about))
    return sorted(found, key=lambda one: -one.frames)


async def _on_bus(port: str, decoder: CanDecoder) -> BatteryReading | None:
    link = open_can_link(port, decoder.policy)
    poller = CanPoller(link, decoder)
    try:
        reading = await poller.poll()
    finally:
        await link.close()
    if poller.trouble is not None:
        raise LinkDownError(poller.trouble)
    return reading


def _only_listens(decoder: CanDecoder) -> bool:
    return not decoder.begin(0.0) and decoder.due_s == math.inf


async def _listen(link: Link, decoders: dict[str, Decoder]) -> list[Recognised]:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + _LISTEN_S
    counts = dict.fromkeys(decoders, 0)
    while (left_s := until_s - loop.time()) > 0:
        data = await link.receive(left_s)
        for name, decoder in decoders.items():
            counts[name] += len(decoder.feed(data))
    return [_recognised(name, decoders[name], counts[name]) for name in counts if counts[name]]


async def _ask(link: Link, decoders: dict[str, Decoder]) -> list[Recognised]:
    for name, decoder in decoders.items():
        poller = Poller(link, decoder)
        for _ in range(_TRIES):
            if await poller.poll() is not None:
                return [_recognised(name, decoder, decoder.counters.frames)]
        if poller.trouble is not None:
            raise LinkDownError(poller.trouble)
    return []


def _recognised(name: str, decoder: Decoder, frames: int) -> Recognised:
    return Recognised(name, frames, decoder.reading(), dict(decoder.about))


def _text(port: str, found: list[Recognised]) -> Iterator[str]:
    for one in found:
        reading = one.reading
        values = f"{reading.voltage_v} V, {reading.soc_pct} %" if reading else "no reading yet"
        yield f"{one.protocol} on {port}: {one.frames} frames, {values}\n"
        for name, value in one.about.items():
            yield f"  {name}: {value}\n"
