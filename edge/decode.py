"""`mobility-edge decode`: frames in as JSON lines, what they mean out as JSON lines."""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

import msgspec

from edge.drivers.base import Explained, FrameError, to_json
from edge.drivers.lines import BadLineError, Line
from edge.drivers.registry import DRIVERS, UnknownProtocolError, driver

MAX_LINE_BYTES: Final = 1 << 20
_lines_of: Final = msgspec.json.Decoder(Line)
EXAMPLES: Final = f"""\
examples:
  echo '{{"hex": "dda50300fffd77"}}' | mobility-edge decode --protocol jbd_uart
  echo '{{"can_id": "0x1DB", "hex": "ff60b06a370001fd"}}' \\
    | mobility-edge decode --protocol nissan_leaf_ev_can
  mobility-edge decode --protocol jbd_uart < frames.jsonl

Protocols: {", ".join(DRIVERS)}.
Each line is one whole frame, {{"hex": "…"}}; of a CAN bus it carries "can_id": "0x1DB" and, with 29
bits, "extended": true; for uds_ev it is {{"payload_hex": "…"}} or {{"can_frames": ["…"]}} with
"request_can_id" and "response_can_id". Each answer is {{"ok": true, "frame": {{…}}, "reading":
{{…}} or null}} or {{"ok": false, "reason": "…"}}; reasons begin with checksum, length, terminator,
start, status, unsupported or bad_json.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Decode captured frames, one JSON object a line."
    parser.epilog = EXAMPLES
    parser.add_argument("--protocol", metavar="NAME", required=True, help="such as jbd_uart")


def run(args: argparse.Namespace) -> int:
    """Decode stdin to stdout until it ends. 0 done, 2 unknown protocol."""
    try:
        explain = driver(args.protocol).explain
    except UnknownProtocolError as trouble:
        print(trouble, file=sys.stderr)
        return 2
    for line in _lines(sys.stdin.buffer):
        answer = msgspec.json.encode(_answer(explain, line))
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()
    return 0


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    """Lines without their end, cut (and thereby invalid) beyond the limit."""
    while line := source.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = source.readline(MAX_LINE_BYTES + 1)
        yield line.removesuffix(b"\n")


def _answer(explain: Callable[[Line], Explained], line: bytes) -> dict[str, Any]:
    try:
        found = explain(_parsed(line))
    except (BadLineError, FrameError) as trouble:
        return {"ok": False, "reason": str(trouble)}
    reading = None if found.reading is None else to_json(found.reading)
    return {"ok": True, "frame": found.fields, "reading": reading}


def _parsed(line: bytes) -> Line:
    if len(line) > MAX_LINE_BYTES:
        raise BadLineError(f"bad_json: a line may have {MAX_LINE_BYTES} bytes")
    try:
        return _lines_of.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as trouble:
        raise BadLineError(f"bad_json: {trouble}") from trouble
