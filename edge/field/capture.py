"""`mobility-edge capture`: what passes on a line, to a file with times."""

import argparse
import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field, replace
from typing import Final, TextIO

from edge.battery import driver_on
from edge.clock import SystemClock, utc
from edge.drivers.base import Decoder
from edge.drivers.can import CanDecoder, CanFrame
from edge.drivers.can_poller import CanPoller
from edge.drivers.poller import Poller
from edge.drivers.registry import UnknownProtocolError
from edge.drivers.source import BatterySource
from edge.links.base import LinkDownError
from edge.links.can_opening import open_can_link
from edge.links.opening import open_link
from edge.links.recording import Direction, RecordingCanLink, RecordingLink, row_of

_LISTEN_S: Final = 0.5
_POLL_S: Final = 1.0


def run(args: argparse.Namespace) -> int:
    """Capture. 0 done, 1 the port or the file is no good, 2 usage."""
    if args.ask and args.protocol is None:
        print("--ask needs --protocol: which questions are they?", file=sys.stderr)
        return 2
    try:
        rows = _captured(args)
    except UnknownProtocolError as trouble:
        return _say(str(trouble), 2)
    except LinkDownError as trouble:
        return _say(str(trouble), 1)
    except OSError as trouble:
        return _say(f"{args.out}: {trouble.strerror}; choose another file.", 1)
    if not rows:
        return _say("Nothing passed; with --ask the driver puts its own questions.", 1)
    return _say(f"{rows} captured in {args.out}", 0)


def _captured(args: argparse.Namespace) -> int:
    """Capture until the end and return how much; nothing leaves no file behind."""
    with args.out.open("x", encoding="utf-8") as file:
        tape = Tape(file)
        try:
            tape.begin(args.port, args.protocol)
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(_capture(args, tape))
        finally:
            if not tape.rows:
                args.out.unlink()
    return tape.rows


def _say(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


@dataclass(slots=True)
class Tape:
    """The file being written; each row is there for others at once."""

    file: TextIO
    rows: int = 0
    clock: SystemClock = field(default_factory=SystemClock)
    _began_s: float = 0.0

    def begin(self, port: str, protocol: str | None) -> None:
        """Write where it comes from."""
        self._began_s = self.clock.mono_s()
        about = {"port": port, "protocol": protocol, "began": utc(self.clock.wall_ms())}
        self._write(json.dumps(about) + "\n")

    def note(self, direction: Direction, data: bytes | CanFrame) -> None:
        """Write down one piece."""
        t_ms = round((self.clock.mono_s() - self._began_s) * 1000)
        self._write(row_of(t_ms, direction, data))
        self.rows += 1

    def _write(self, line: str) -> None:
        self.file.write(line)
        self.file.flush()


async def _capture(args: argparse.Namespace, tape: Tape) -> None:
    found = driver_on(args.protocol, args.port) if args.protocol is not None else None
    if found is not None and found.can is not None:
        work = _of_bus(args.port, found.can(), tape, ask=args.ask)
    else:
        work = _of_line(args, found.serial() if found is not None and found.serial else None, tape)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(args.seconds):
            await work


async def _of_line(args: argparse.Namespace, decoder: Decoder | None, tape: Tape) -> None:
    baud = decoder.policy.baud if decoder is not None else int(args.baud)
    link = RecordingLink(open_link(args.port, baud=baud), tape.note)
    try:
        if args.ask and decoder is not None:
            await _poll(Poller(link, decoder))
        while True:
            await link.receive(_LISTEN_S)
    finally:
        await link.close()


async def _of_bus(port: str, decoder: CanDecoder, tape: Tape, *, ask: bool) -> None:
    """Write down the whole bus, or with `ask` what the decoder listens to and says itself."""
    policy = decoder.policy if ask else replace(decoder.policy, listens=frozenset())
    link = RecordingCanLink(open_can_link(port, policy), tape.note)
    try:
        if ask:
            await _poll(CanPoller(link, decoder))
        while True:
            link.open()
            await asyncio.sleep(_LISTEN_S)
    finally:
        await link.close()


async def _poll(source: BatterySource) -> None:
    while True:
        await source.poll()
        if source.trouble is not None:
            raise LinkDownError(source.trouble)
        await asyncio.sleep(_POLL_S)
