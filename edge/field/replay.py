"""`mobility-edge replay`: a capture through the driver that would have read it."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from edge.drivers.base import BatteryReading, Decoder, WireCounters, to_json
from edge.drivers.can import CanDecoder, CanFrame
from edge.drivers.registry import UnknownProtocolError, driver
from edge.links.recording import Captured, CaptureError, read_capture


def run(args: argparse.Namespace) -> int:
    """Print the readings of the file. 0 done, 1 no capture, 2 unknown protocol."""
    try:
        found = driver(args.protocol)
    except UnknownProtocolError as trouble:
        print(trouble, file=sys.stderr)
        return 2
    counters = WireCounters()
    try:
        rows = list(read_capture(args.file))
        if found.can is not None and any(isinstance(row.data, CanFrame) for row in rows):
            on_bus = found.can()
            counters = on_bus.counters
            readings = _of_bus(on_bus, rows)
        elif found.serial is not None:
            on_line = found.serial()
            counters = on_line.counters
            readings = _of_line(on_line, rows)
        else:
            raise _other_line(args)
    except (CaptureError, OSError) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    for row in readings:
        print(json.dumps(row))
    told = ", ".join(f"{name} {count}" for name, count in sorted(counters.by_name().items()))
    print(f"{len(rows)} captured; {told}", file=sys.stderr)
    return 0


def _other_line(args: argparse.Namespace) -> CaptureError:
    return CaptureError(
        f"{args.file} has no frames with can_id, which {args.protocol} needs; "
        "choose the protocol of the line it was captured on."
    )


def _of_line(decoder: Decoder, rows: list[Captured]) -> Iterator[dict[str, Any]]:
    before: BatteryReading | None = None
    for row in rows:
        if row.direction != "request" and isinstance(row.data, bytes):
            decoder.feed(row.data)
            now = decoder.reading()
            if now is not None and now != before:
                yield {"t_ms": row.t_ms, "reading": to_json(now)}
            before = now


def _of_bus(decoder: CanDecoder, rows: list[Captured]) -> Iterator[dict[str, Any]]:
    before: BatteryReading | None = None
    for row in rows:
        if isinstance(row.data, CanFrame):
            decoder.feed([row.data], row.t_ms / 1000)
            now = decoder.reading(row.t_ms / 1000)
            if now is not None and now != before:
                yield {"t_ms": row.t_ms, "reading": to_json(now)}
            before = now
