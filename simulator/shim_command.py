"""`mobility-sim shim`: one controller on a pty, and a person's hand on its values."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from firmware_shim.faults import FAULTS, Faults, parse
from firmware_shim.registry import SHIMS, build_shim
from simulator.words import sentence

if TYPE_CHECKING:
    from firmware_shim.registry import Options, Shim

EXAMPLES: Final = f"""\
examples:
  mobility-sim shim jbd --link /tmp/battery
  mobility-sim shim jbd --link /tmp/battery --fault bad_checksum=0.1 --fault split --seed 7
  mobility-sim shim jbd --link /tmp/battery --replay capture.jsonl --baud 9600
  echo '{{"set": {{"voltage_v": 40.1}}}}' | mobility-sim shim jbd --link /tmp/battery
  mobility-sim shim lock_unit --link /tmp/lock --moves /tmp/moves.jsonl
  mobility-sim shim m365 --link /tmp/esc
  echo '{{"set": {{"speed_kmh": 18, "course_deg": 45}}}}' | mobility-sim shim gnss --link /tmp/gnss

It prints `ready PATH` and serves until it is stopped; the end of stdin does not stop it.
A line {{"set": {{"voltage_v": 40.1, "temperatures_c": [21, null]}}}} on stdin pins values: a lost
sensor is null; `{{"set": {{"voltage_v": null}}}}` lets go.
`demand_a` is what rider (-) or charger (+) draw: it drives the pack itself.
A lock unit has speed_kmh, tip_over, tamper, charge_cable, locked, jammed, stuck, silent … instead;
a scooter's ESC speed_kmh, locked, mode, battery_pct, error, silent … and chatter_hz, beside those
of its battery; a GNSS receiver latitude_deg,
longitude_deg, speed_kmh, course_deg, hdop, fix, urban, cold_start_s, rollovers: it moves along its
course. A dock unit has bay_occupied, cable, serial, soc_pct, faults, charge_a, silent …
Faults: {", ".join(FAULTS)};
RATE is from 0 to 1 and 1 without.
"""
_READ_BYTES: Final = 65_536
_MAX_LINE_BYTES: Final = 1 << 20
_STOPPED: Final = 0
_INTERRUPTED: Final = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Serve one controller on a pseudo terminal."
    parser.epilog = EXAMPLES
    parser.add_argument("name", metavar="NAME", choices=sorted(SHIMS), help=", ".join(SHIMS))
    parser.add_argument("--link", metavar="PATH", type=Path, required=True, help="where to open it")
    parser.add_argument("--replay", metavar="FILE", type=Path, help="captured replies or values")
    parser.add_argument("--numbered", action="store_true", help="number the replies to 0x03")
    parser.add_argument("--moves", metavar="FILE", type=Path, help="a line for all that was moved")
    parser.add_argument(
        "--fault", metavar="NAME[=RATE]", type=_fault, action="append", default=[], dest="faults"
    )
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance, default 0")
    parser.add_argument("--baud", metavar="N", type=_baud, help="pace the line; not without")


def run(args: argparse.Namespace) -> int:
    """Serve until stopped: 0 on SIGTERM, 130 on Ctrl-C, 1 when it cannot start."""
    from firmware_shim.replay import Replay

    try:
        replay = Replay.from_file(args.replay) if args.replay else None
        faults = Faults(dict(args.faults), seed=args.seed)
        options: Options = {
            "seed": args.seed,
            "faults": faults,
            "numbered": args.numbered,
            "replay": replay,
            "moves": args.moves,
        }
        shim = build_shim(args.name, **options)
        return asyncio.run(_serve(shim, args.link, args.baud))
    except (OSError, ValueError) as trouble:
        print(sentence(trouble), file=sys.stderr)
        return 1


async def _serve(shim: "Shim", link: Path, baud: int | None) -> int:
    from firmware_shim.pty import serve

    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()
    for number, code in ((signal.SIGTERM, _STOPPED), (signal.SIGINT, _INTERRUPTED)):
        loop.add_signal_handler(number, _stop, stopped, code)
    # Started with `&` on a terminal, reading stdin would otherwise freeze the shim.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    async with serve(shim, link_path=link, baud=baud) as port:
        print(f"ready {port.path}", flush=True)
        _follow_stdin(loop, lambda line: _obey(shim, line))
        return await stopped


def _stop(stopped: asyncio.Future[int], code: int) -> None:
    if not stopped.done():
        stopped.set_result(code)


def _follow_stdin(loop: asyncio.AbstractEventLoop, handle: Callable[[bytes], None]) -> None:
    """Hand over lines from a daemon thread: stdin may be a file, which no event loop can watch."""

    def follow() -> None:
        pending = b""
        with contextlib.suppress(OSError, RuntimeError):
            while data := os.read(0, _READ_BYTES):
                *lines, pending = (pending + data).split(b"\n")
                pending = pending[: _MAX_LINE_BYTES + 1]
                for line in lines:
                    loop.call_soon_threadsafe(handle, line)
            loop.call_soon_threadsafe(handle, pending)

    threading.Thread(target=follow, name="stdin", daemon=True).start()


def _obey(shim: "Shim", line: bytes) -> None:
    if not line.strip():
        return
    try:
        document = msgspec.json.decode(line)
        if not isinstance(document, dict) or not isinstance(document.get("set"), dict):
            print('Not understood; write {"set": {NAME: VALUE}}.', file=sys.stderr)
            return
        shim.set(document["set"])
    except (msgspec.MsgspecError, ValueError, RecursionError) as trouble:
        print(f"Nothing was set: {trouble}", file=sys.stderr)


def _fault(text: str) -> tuple[str, float]:
    try:
        return parse(text)
    except ValueError as trouble:
        raise argparse.ArgumentTypeError(str(trouble)) from trouble


def _baud(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no line speed; give one such as 9600.")
    return int(text)
