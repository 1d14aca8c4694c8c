"""`mobility-edge probe`: which controller is on this port. It reads and never writes a setting."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from edge.drivers.base import BatteryReading, Decoder, to_json
from edge.drivers.can import CanDecoder, CanFrame
from edge.drivers.can_poller import CanPoller
from edge.drivers.poller import Poller
from edge.drivers.registry import DRIVERS, driver
from edge.links.base import Link, LinkDownError
from edge.links.can_opening import open_can_link
from edge.links.opening import is_bus, open_link

_LISTEN_S: Final = 1.2
_TRIES: Final = 2


Decoders = Sequence[tuple[str, CanDecoder]]


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
        print(_nobody(args.port), file=sys.stderr)
    return 0 if found else 1


def _nobody(port: str) -> str:
    if is_bus(port):
        checks = "the car is awake, the wires and the terminators are right"
    else:
        checks = (
            "the pack is awake, RX and TX are not swapped (a CAN adapter is named "
            f"slcan:{port}; lock units and receivers are not looked for)"
        )
    return f"Nobody known answers on {port}; check that {checks}, and no agent is running on it."


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
    Nothing is asked on a bus that tells by itself who it is.
    """
    decoders = {name: one.can for name in DRIVERS if (one := driver(name)).can is not None}

    def bitrate(name: str) -> int:
        return -decoders[name].policy.bitrate

    for _, names in groupby(sorted(decoders, key=bitrate), key=bitrate):
        group = [(name, decoders[name]()) for name in names]
        found = await _overhear(port, group)
        if ask and not found:
            found = await _ask_bus(port, group)
        if found:
            return sorted(found, key=lambda one: -one.frames)
    return []


async def _overhear(port: str, decoders: Decoders) -> list[Recognised]:
    """Let every decoder hear the whole bus; what they would say is not sent."""
    loop = asyncio.get_running_loop()
    link = open_can_link(port, replace(decoders[0][1].policy, listens=frozenset()))

    def heard(frames: Sequence[CanFrame]) -> None:
        for _, decoder in decoders:
            decoder.feed(frames, loop.time())

    link.on_frames = heard
    try:
        link.open()
        await asyncio.sleep(_LISTEN_S)
    finally:
        await link.close()
    readings = [(name, decoder, decoder.reading(loop.time())) for name, decoder in decoders]
    return [_of_bus(name, decoder, one) for name, decoder, one in readings if one is not None]


async def _ask_bus(port: str, decoders: Decoders) -> list[Recognised]:
    for name, decoder in decoders:
        link = open_can_link(port, decoder.policy)
        poller = CanPoller(link, decoder)
        try:
            reading = await poller.poll()
        finally:
            await link.close()
        if poller.trouble is not None:
            raise LinkDownError(poller.trouble)
        if reading is not None:
            return [_of_bus(name, decoder, reading)]
    return []


def _of_bus(name: str, decoder: CanDecoder, reading: BatteryReading) -> Recognised:
    return Recognised(name, decoder.counters.frames, reading, dict(decoder.about))


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
