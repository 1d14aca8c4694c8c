"""`mobility-edge decode`: frames in as JSON lines, what they mean out as JSON lines."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final

import msgspec

from edge.drivers.base import Explained, FrameError, to_json
from edge.drivers.registry import UnknownProtocolError, serial_decoder

MAX_LINE_BYTES: Final = 1 << 20
EXAMPLES: Final = """\
examples:
  echo '{"hex": "dda50300fffd77"}' | mobility-edge decode --protocol jbd_uart
  mobility-edge decode --protocol jbd_uart < frames.jsonl

Each line is one whole frame, {"hex": "…"}. Each answer is {"ok": true, "frame": {…}, "reading":
{…} or null} or {"ok": false, "reason": "…"}; reasons begin with checksum, length, terminator,
start, status, unsupported or bad_json.
"""


class _BadLineError(ValueError):
    """The line is no frame in JSON."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Decode captured frames, one JSON object a line."
    parser.epilog = EXAMPLES
    parser.add_argument("--protocol", metavar="NAME", required=True, help="such as jbd_uart")


def run(args: argparse.Namespace) -> int:
    """Decode stdin to stdout until it ends. 0 done, 1 nobody reads on, 2 unknown protocol."""
    try:
        explain = serial_decoder(args.protocol).explain
    except UnknownProtocolError as trouble:
        print(trouble, file=sys.stderr)
        return 2
    try:
        for line in _lines(sys.stdin.buffer):
            answer = msgspec.json.encode(_answer(explain, line))
            sys.stdout.buffer.write(answer + b"\n")
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit; it must not find the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    """Lines without their end, cut (and thereby invalid) beyond the limit."""
    while line := source.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = source.readline(MAX_LINE_BYTES + 1)
        yield line.removesuffix(b"\n")


def _answer(explain: Callable[[bytes], Explained], line: bytes) -> dict[str, Any]:
    try:
        found = explain(_frame_bytes(line))
    except (_BadLineError, FrameError) as trouble:
        return {"ok": False, "reason": str(trouble)}
    reading = None if found.reading is None else to_json(found.reading)
    return {"ok": True, "frame": found.fields, "reading": reading}


def _frame_bytes(line: bytes) -> bytes:
    if len(line) > MAX_LINE_BYTES:
        raise _BadLineError(f"bad_json: a line may have {MAX_LINE_BYTES} bytes")
    try:
        document = msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as trouble:
        raise _BadLineError(f"bad_json: {trouble}") from trouble
    if not isinstance(document, Mapping) or not isinstance(document.get("hex"), str):
        raise _BadLineError('bad_json: expected an object {"hex": "…"}')
    try:
        return bytes.fromhex(document["hex"])
    except ValueError as trouble:
        raise _BadLineError(f"bad_json: hex must be pairs of hex digits ({trouble})") from trouble
