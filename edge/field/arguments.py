"""The field engineer's commands for argparse; what they need is loaded when one of them runs."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from edge.usage import Command, Parser

_PROTOCOLS = """examples:
  mobility-edge protocols              what each controller reads, in which unit, and switches
  mobility-edge protocols --json       the same for scripts
  mobility-edge protocols jk_rs485     one of them

Batteries are named in [battery] protocol and in decode --protocol, what locks the vehicle in
[controller] protocol.
"""
_CAPTURE = """examples:
  mobility-edge capture --port /dev/ttyUSB0 --protocol m365_serial --out line.jsonl
  mobility-edge capture --port /dev/ttyUSB0 --protocol jbd_uart --ask --seconds 60 --out line.jsonl
  mobility-edge capture --port /dev/ttyUSB0 --baud 19200 --out line.jsonl
  mobility-edge capture --port can0 --protocol nissan_leaf_ev_can --out bus.jsonl
  mobility-edge capture --port slcan:/dev/ttyACM0 --protocol uds_ev --ask --out bus.jsonl

It only listens, until Ctrl-C or for --seconds; with --ask it also puts the driver's own questions,
which read and write nothing. A line of the file is {"t_ms": …, "direction": "request", "response"
or "broadcast", "hex": "…"}, on a bus with "can_id" and "extended"; the first line says where it
comes from. Look at it with `mobility-edge replay`; [battery] port = "replay:FILE" plays one that
was made with --ask.
"""
_REPLAY = """examples:
  mobility-edge replay --protocol jbd_uart line.jsonl
  mobility-edge replay --protocol nissan_leaf_ev_can candump.log > readings.jsonl

The file is what `mobility-edge capture` writes, or a log of candump. Each reading that differs from
the one before is a line {"t_ms": …, "reading": {…}}; at the end stderr tells how many frames were
good, and how many bad for which reason.
"""
_PROBE = """examples:
  mobility-edge probe --port /dev/ttyUSB0
  mobility-edge probe --port /dev/ttyUSB0 --listen-only     not a byte goes out
  mobility-edge probe --port can0 --json
  mobility-edge probe --port slcan:/dev/ttyACM0             an adapter of a CAN bus

It finds batteries and chargers. First it listens: a bus that talks by itself tells who it is. Where
nobody is recognised it puts to each kind the question that only reads; nothing is ever written or
switched. Stop the agent before: two masters disturb each other. Exit code 1 when nobody is
recognised.
"""

Add = Callable[[str, str, str, Command], Parser]


def add_commands(add: Add) -> None:
    """Describe the commands; `add` takes name, help, examples and what runs it."""
    table = add("protocols", "tell which controllers the agent speaks to", _PROTOCOLS, _protocols)
    table.add_argument("name", nargs="?", metavar="NAME", help="only this one")
    table.add_argument("--json", action="store_true", help="print one JSON object")

    tape = add("capture", "write down what passes on a line, with times", _CAPTURE, _capture)
    tape.add_argument("--port", metavar="PORT", required=True, help="a device, or a CAN bus")
    tape.add_argument("--out", metavar="FILE", type=Path, required=True, help="must not exist")
    speed = tape.add_mutually_exclusive_group(required=True)
    speed.add_argument(
        "--protocol", metavar="NAME", help="whose line it is: its speed, its questions"
    )
    speed.add_argument("--baud", type=_positive, metavar="N", help="of a line nobody knows yet")
    tape.add_argument("--ask", action="store_true", help="ask as the agent would; needs --protocol")
    tape.add_argument("--seconds", type=_positive, metavar="S", help="stop after so long")

    again = add("replay", "play a capture through a driver", _REPLAY, _replay)
    again.add_argument("--protocol", metavar="NAME", required=True, help="such as jbd_uart")
    again.add_argument("file", metavar="FILE", type=Path, help="the capture")

    who = add("probe", "find out which controller is on a port", _PROBE, _probe)
    who.add_argument("--port", metavar="PORT", required=True, help="a device, or a CAN bus")
    who.add_argument("--listen-only", action="store_true", help="ask nothing")
    who.add_argument("--json", action="store_true", help="print one JSON object")


def _protocols(args: argparse.Namespace) -> int:
    from edge.field.protocols import run

    return run(args)


def _capture(args: argparse.Namespace) -> int:
    from edge.field.capture import run

    return run(args)


def _replay(args: argparse.Namespace) -> int:
    from edge.field.replay import run

    return run(args)


def _probe(args: argparse.Namespace) -> int:
    from edge.field.probe import run

    return run(args)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
