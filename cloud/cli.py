"""`mobility-cloud`: serve, look after devices, export readings, find out what is wrong."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

DONE, TROUBLE, USAGE, INTERRUPTED = 0, 1, 2, 130

_EXAMPLES = """examples:
  mobility-cloud serve
  mobility-cloud devices add demo-001 --battery jbd_uart --port /dev/ttyUSB0 --out demo-001.toml
  mobility-cloud telemetry export --device demo-001 --format csv > demo-001.csv
  mobility-cloud doctor
"""
_SERVE_EXAMPLES = """examples:
  mobility-cloud serve                                  every context, embedded engines, in .demo
  mobility-cloud serve --data-dir /srv/mobility --http 0.0.0.0:8080
  DATABASE_URL=... NATS_URL=... mobility-cloud serve devices telemetry     one more ingest worker
  DATABASE_URL=... NATS_URL=... mobility-cloud serve fleet pages           pages and API alone
"""
_DEVICES_EXAMPLES = """examples:
  mobility-cloud devices add demo-001 --battery jbd_uart --port /dev/ttyUSB0 --out demo-001.toml
  mobility-edge run --config demo-001.toml
  mobility-cloud devices list
"""
_EXPORT_EXAMPLES = """examples:
  mobility-cloud telemetry export --device demo-001 --format jsonl
  mobility-cloud telemetry export --device demo-001 --from 2026-07-01T00:00:00Z \\
      --to 2026-07-02T00:00:00Z --format parquet --out first-of-july.parquet
"""

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse names it nowhere else


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code."""
    arguments = parser().parse_args(argv)
    try:
        from cloud import commands

        return commands.run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TROUBLE
    except ModuleNotFoundError as missing:
        sys.stderr.write(
            f"mobility-cloud: {missing.name} is missing; run `pip install 'mobilitycorp[cloud]'`\n"
        )
        return TROUBLE


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    top = argparse.ArgumentParser(
        prog="mobility-cloud",
        description="The cloud side of the platform.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_devices(commands)
    _add_telemetry(commands)
    doctor = _add(commands, "doctor", "tell what is up, what is not, and what to do", _EXAMPLES)
    _add_data_dir(doctor)
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    return top


def moment(text: str) -> datetime:
    """Read an RFC 3339 time; one without a zone is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write for example 2026-07-01T12:00:00Z"
        ) from None
    return found.replace(tzinfo=found.tzinfo or UTC)


def _add_serve(commands: _Commands) -> None:
    serve = _add(commands, "serve", "run contexts until told to stop", _SERVE_EXAMPLES)
    serve.add_argument(
        "contexts", nargs="*", metavar="CONTEXT", help="which; all when none is named"
    )
    _add_data_dir(serve)
    serve.add_argument(
        "--http",
        metavar="HOST:PORT",
        help="where to listen; port 0 takes a free one (default 127.0.0.1:8080 or the next free)",
    )


def _add_devices(commands: _Commands) -> None:
    devices = _add(commands, "devices", "enrol and list devices", _DEVICES_EXAMPLES)
    actions = devices.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = _add(
        actions, "add", "enrol a device and write its agent's configuration", _DEVICES_EXAMPLES
    )
    add.add_argument("id", metavar="ID", help="3 to 36 of a-z, 0-9 and -")
    add.add_argument("--battery", required=True, metavar="NAME", help="protocol of its battery")
    add.add_argument("--port", required=True, metavar="PATH", help="serial port of the battery")
    add.add_argument("--out", required=True, metavar="FILE", type=Path, help="file to write")
    add.add_argument("--force", action="store_true", help="overwrite FILE")
    _add_data_dir(add)
    listing = _add(actions, "list", "list enrolled devices", _DEVICES_EXAMPLES)
    listing.add_argument("--json", action="store_true", help="print JSON")
    _add_data_dir(listing)


def _add_telemetry(commands: _Commands) -> None:
    telemetry = _add(commands, "telemetry", "get readings out", _EXPORT_EXAMPLES)
    actions = telemetry.add_subparsers(dest="action", required=True, metavar="ACTION")
    export = _add(actions, "export", "write every reading of a device", _EXPORT_EXAMPLES)
    export.add_argument("--device", required=True, metavar="ID", help="the device")
    export.add_argument(
        "--from",
        dest="since",
        type=moment,
        metavar="TIME",
        help="first corrected time; UTC when no zone is given",
    )
    export.add_argument(
        "--to",
        dest="until",
        type=moment,
        metavar="TIME",
        help="corrected time to stop before; UTC when no zone is given",
    )
    export.add_argument(
        "--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="default jsonl"
    )
    export.add_argument("--out", type=Path, metavar="FILE", help="file to write (default stdout)")
    _add_data_dir(export)


def _add(commands: _Commands, name: str, purpose: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_data_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="the cloud's folder (default $MOBILITY_DATA_DIR, else .demo)",
    )
