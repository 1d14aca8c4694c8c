"""`mobility-cloud`: serve, look after devices and accounts, export readings, find faults."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

DONE, TROUBLE, USAGE, INTERRUPTED = 0, 1, 2, 130
_MAX_DIGITS = 6

_EXAMPLES = """examples:
  mobility-cloud serve
  mobility-cloud devices add demo-001 --battery jbd_uart --port /dev/ttyUSB0 --out demo-001.toml
  mobility-cloud telemetry export --device demo-001 --format csv > demo-001.csv
  mobility-cloud doctor
"""
_SERVE_EXAMPLES = """examples:
  mobility-cloud serve                                  every context, embedded engines, in .demo
  mobility-cloud serve --data-dir /srv/mobility --http 0.0.0.0:8080 --device-https 0.0.0.0:8443
  mobility-cloud serve --device-https 0.0.0.0:8443 --mqtt 0.0.0.0:8883 --broker-host cloud.example
  DATABASE_URL=... NATS_URL=... NATS_COMMANDS_URL=... mobility-cloud serve devices telemetry
  DATABASE_URL=... NATS_URL=... mobility-cloud serve fleet pages           pages and API alone
"""
_DEVICES_EXAMPLES = """examples:
  mobility-cloud devices add demo-001 --battery jbd_uart --port /dev/ttyUSB0 --out demo-001.toml
  mobility-cloud devices add demo-001 --battery jbd_uart --port /dev/ttyUSB0 --out demo-001.toml \\
      --controller lock_unit --controller-port /dev/ttyUSB1 --gnss-port /dev/ttyUSB2
  mobility-cloud devices add demo-001 --battery jbd_uart --port /dev/ttyUSB0 --out demo-001.toml \\
      --controller jbd_fet                            locks with the battery's own switches
  mobility-edge run --config demo-001.toml
  mobility-cloud devices list
  mobility-cloud devices claim demo-001 --ttl 2h      one JSON object; the claim is shown only now
  mobility-cloud devices certificates demo-001
  mobility-cloud devices revoke demo-001 --reason stolen
  mobility-cloud devices decoder van-001 --dbc our_van.dbc --map our_van.json
"""
_EXPORT_EXAMPLES = """examples:
  mobility-cloud telemetry export --device demo-001 --format jsonl
  mobility-cloud telemetry export --device demo-001 --from 2026-07-01T00:00:00Z \\
      --to 2026-07-02T00:00:00Z --format parquet --out first-of-july.parquet
"""

_ACCOUNTS_EXAMPLES = """examples:
  mobility-cloud accounts add ada --role supervisor
  mobility-cloud accounts add feed --service --scope vehicles:read --scope telemetry:read
  pwgen 20 1 | mobility-cloud accounts add root --role admin --password-stdin
  mobility-cloud accounts disable ada
"""
_AUDIT_EXAMPLES = """examples:
  mobility-cloud audit verify
  mobility-cloud audit verify --json > today.json      keep it elsewhere: it names the head's hash
  mobility-cloud audit list --limit 20
"""

_CITY_EXAMPLES = """examples:
  mobility-cloud city import town.geojson             again replaces what has the same id
  mobility-sim city --out - | mobility-cloud city import -
  mobility-cloud city vehicle demo-001 --type e_bike --plate "MC 7"
"""

_SIGNER_EXAMPLES = """examples:
  mobility-cloud signer show
  mobility-cloud signer rotate                          once every device has confirmed the next key
"""

_TARIFFS_EXAMPLES = """examples:
  mobility-cloud tariffs set go.json                    a plan, or a list of plans; - reads stdin
  mobility-cloud tariffs show
a plan is one of GBFS 3 and ours beside it:
  {"plan_id": "go", "name": "Go", "currency": "EUR", "price": 1.0, "is_taxable": false,
   "per_min_pricing": [{"start": 0, "rate": 0.25, "interval": 1}], "tax_rate_bp": 1900,
   "pause_per_min": 0.1, "hold_amount": 15.0, "vehicle_types": ["scooter"],
   "valid_from": "2026-07-01T00:00:00Z"}
"""
_SELLER_EXAMPLES = """examples:
  mobility-cloud seller set --name "Example GmbH" --vat-id DE123456789 \\
      --address "Main Street 1, 10115 Berlin" --prefix EX- \\
      --dispute-url https://ride.example.org/disputes/{rental_id}
  mobility-cloud seller show
"""
_EVENTS_EXAMPLES = """examples:
  mobility-cloud events held                            what failed, whose it is and why
  mobility-cloud events replay 17 18                    once the cause is gone
  mobility-cloud events replay --all
  mobility-cloud events discard 17                      it is not tried again; the event stays
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
    _add_accounts(commands)
    _add_audit(commands)
    _add_signer(commands)
    _add_city(commands)
    _add_tariffs(commands)
    _add_seller(commands)
    _add_events(commands)
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


def span(text: str) -> timedelta:
    """Read a time span: a number and s, m or h."""
    units = {"s": "seconds", "m": "minutes", "h": "hours"}
    number, unit = text[:-1], units.get(text[-1:])
    if unit is None or not number.isdecimal() or len(number) > _MAX_DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time span; write for example 15m")
    return timedelta(**{unit: int(number)})


def _count(text: str) -> int:
    """Read how many: a whole number from 1."""
    if not text.isdecimal() or len(text) > _MAX_DIGITS or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows; write 1 or more")
    return int(text)


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
    serve.add_argument(
        "--device-https",
        metavar="HOST:PORT",
        help="where devices enrol and renew (default 127.0.0.1:8443 or the next free)",
    )
    serve.add_argument(
        "--mqtt",
        metavar="HOST:PORT",
        help="where the embedded broker takes vehicles (default 127.0.0.1:18830 or the next free)",
    )
    serve.add_argument(
        "--broker-host",
        action="append",
        default=[],
        metavar="NAME",
        help="what vehicles on other machines call this one, for certificates; may be repeated",
    )
    serve.add_argument(
        "--traces",
        choices=("off", "console", "file", "otlp"),
        help="where spans go: stderr, logs/traces.jsonl, a collector (default $MOBILITY_TRACES)",
    )


def _add_devices(commands: _Commands) -> None:
    devices = _add(commands, "devices", "enrol, list and revoke devices", _DEVICES_EXAMPLES)
    actions = devices.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = _add(
        actions, "add", "enrol a device and write its agent's configuration", _DEVICES_EXAMPLES
    )
    add.add_argument("id", metavar="ID", help="3 to 36 of a-z, 0-9 and -")
    add.add_argument(
        "--battery",
        required=True,
        metavar="NAME",
        help="protocol of its battery; dock_unit is a dock",
    )
    add.add_argument("--port", required=True, metavar="PATH", help="serial port of the battery")
    add.add_argument("--out", required=True, metavar="FILE", type=Path, help="file to write")
    add.add_argument("--force", action="store_true", help="overwrite FILE, with a new claim")
    add.add_argument("--controller", metavar="NAME", help="lock_unit, jbd_fet, m365_serial …")
    add.add_argument("--controller-port", metavar="PATH", help="its serial port, if it has one")
    add.add_argument("--gnss-port", metavar="PATH", help="its GNSS receiver, or gpsd://HOST:PORT")
    _add_data_dir(add)
    claim = _add(actions, "claim", "let a device, known or new, enrol once", _DEVICES_EXAMPLES)
    claim.add_argument("id", metavar="ID", help="3 to 36 of a-z, 0-9 and -")
    claim.add_argument(
        "--ttl",
        type=span,
        default=timedelta(minutes=15),
        metavar="SPAN",
        help="how long it can be used: 90s, 15m, up to 24h (default 15m)",
    )
    claim.add_argument(
        "--battery", metavar="NAME", help="protocol of its battery (default: what it says itself)"
    )
    _add_data_dir(claim)
    revoke = _add(
        actions, "revoke", "take a device's certificates; it is cut at once", _DEVICES_EXAMPLES
    )
    revoke.add_argument("id", metavar="ID", help="the device")
    revoke.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")
    _add_data_dir(revoke)
    certificates = _add(
        actions, "certificates", "list the certificates a device has and had", _DEVICES_EXAMPLES
    )
    certificates.add_argument("id", metavar="ID", help="the device")
    certificates.add_argument("--json", action="store_true", help="print JSON")
    _add_data_dir(certificates)
    decoder = _add(actions, "decoder", "say how a device reads its CAN bus", _DEVICES_EXAMPLES)
    decoder.add_argument("id", metavar="ID", help="the device")
    decoder.add_argument("--dbc", metavar="FILE", type=Path, help="where the bus has its signals")
    decoder.add_argument("--map", metavar="FILE", type=Path, help="what they are to us, JSON")
    decoder.add_argument("--clear", action="store_true", help="as its agent came to read it")
    _add_data_dir(decoder)
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


def _add_accounts(commands: _Commands) -> None:
    accounts = _add(commands, "accounts", "let people and programs sign in", _ACCOUNTS_EXAMPLES)
    actions = accounts.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = _add(actions, "add", "add an account and print its password, once", _ACCOUNTS_EXAMPLES)
    add.add_argument("user", metavar="USER", help="2 to 64 of a-z, 0-9 and . _ @ + -")
    add.add_argument("--role", metavar="ROLE", help="viewer, operator, supervisor or admin")
    add.add_argument("--service", action="store_true", help="a program's, with its own scopes")
    add.add_argument("--scope", action="append", metavar="SCOPE", help="of a program; repeat it")
    add.add_argument(
        "--password-stdin", action="store_true", help="read the password; else one is generated"
    )
    _add_data_dir(add)
    listing = _add(actions, "list", "list accounts", _ACCOUNTS_EXAMPLES)
    listing.add_argument("--json", action="store_true", help="print JSON")
    _add_data_dir(listing)
    for name, purpose in (
        ("disable", "disable an account and end its sign-ins"),
        ("unlock", "let an account try again that had too many wrong passwords"),
    ):
        action = _add(actions, name, purpose, _ACCOUNTS_EXAMPLES)
        action.add_argument("user", metavar="USER", help="whose")
        _add_data_dir(action)


def _add_audit(commands: _Commands) -> None:
    audit = _add(commands, "audit", "check and read the audit chain", _AUDIT_EXAMPLES)
    actions = audit.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = _add(actions, "verify", "check every row; name the first bad one", _AUDIT_EXAMPLES)
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    _add_data_dir(verify)
    listing = _add(actions, "list", "list the newest rows, the newest last", _AUDIT_EXAMPLES)
    listing.add_argument(
        "--limit", type=_count, default=50, metavar="N", help="how many (default 50)"
    )
    listing.add_argument("--json", action="store_true", help="print one JSON object a row")
    _add_data_dir(listing)


def _add_signer(commands: _Commands) -> None:
    signer = _add(commands, "signer", "keys that sign commands and twins", _SIGNER_EXAMPLES)
    actions = signer.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = _add(actions, "show", "print both keys and who does not know the next", _SIGNER_EXAMPLES)
    show.add_argument("--json", action="store_true", help="print one JSON object")
    _add_data_dir(show)
    rotate = _add(actions, "rotate", "let the next key sign from now on", _SIGNER_EXAMPLES)
    rotate.add_argument(
        "--force", action="store_true", help="even if devices must then enrol anew to obey"
    )
    _add_data_dir(rotate)


def _add_city(commands: _Commands) -> None:
    city = _add(commands, "city", "bays, zones and vehicle types", _CITY_EXAMPLES)
    actions = city.add_subparsers(dest="action", required=True, metavar="ACTION")
    load = _add(actions, "import", "import all of a GeoJSON file or nothing", _CITY_EXAMPLES)
    load.add_argument("file", metavar="FILE", type=Path, help="the file; - reads standard input")
    _add_data_dir(load)
    vehicle = _add(actions, "vehicle", "give a vehicle its type, name and plate", _CITY_EXAMPLES)
    vehicle.add_argument("id", metavar="ID", help="the vehicle")
    vehicle.add_argument("--type", required=True, metavar="TYPE", help="id of a vehicle type")
    vehicle.add_argument("--name", metavar="TEXT", help="for people (default: as it is)")
    vehicle.add_argument("--plate", metavar="TEXT", help="number plate or label")
    _add_data_dir(vehicle)


def _add_tariffs(commands: _Commands) -> None:
    tariffs = _add(commands, "tariffs", "what riding costs", _TARIFFS_EXAMPLES)
    actions = tariffs.add_subparsers(dest="action", required=True, metavar="ACTION")
    change = _add(actions, "set", "add plans, all of a file or none", _TARIFFS_EXAMPLES)
    change.add_argument("file", metavar="FILE", type=Path, help="JSON; - reads standard input")
    _add_data_dir(change)
    show = _add(actions, "show", "print the plans in force", _TARIFFS_EXAMPLES)
    show.add_argument("--json", action="store_true", help="print them as `tariffs set` reads them")
    _add_data_dir(show)


def _add_seller(commands: _Commands) -> None:
    seller = _add(commands, "seller", "who sells the rides, by law", _SELLER_EXAMPLES)
    actions = seller.add_subparsers(dest="action", required=True, metavar="ACTION")
    change = _add(actions, "set", "set what new invoices say of the seller", _SELLER_EXAMPLES)
    for flag, meta, told in (
        ("--name", "TEXT", "legal name"),
        ("--vat-id", "ID", "VAT id"),
        ("--address", "TEXT", "address, in one line"),
        ("--dispute-url", "URL", "where customers object; {rental_id} is put in"),
    ):
        change.add_argument(flag, required=True, metavar=meta, help=told)
    change.add_argument(
        "--prefix", default="INV-", metavar="TEXT", help="before invoice numbers (default INV-)"
    )
    change.add_argument(
        "--dispute-days", type=int, default=14, metavar="N", help="for how long (default 14)"
    )
    change.add_argument(
        "--terms-version", default="1", metavar="TEXT", help="terms of use in force (default 1)"
    )
    _add_data_dir(change)
    show = _add(actions, "show", "print who sells", _SELLER_EXAMPLES)
    _add_data_dir(show)


def _add_events(commands: _Commands) -> None:
    events = _add(commands, "events", "deliveries of events that failed", _EVENTS_EXAMPLES)
    actions = events.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _add(actions, "held", "list them, the oldest first", _EVENTS_EXAMPLES)
    listing.add_argument("--limit", type=_count, default=100, metavar="N", help="how many (100)")
    listing.add_argument("--json", action="store_true", help="print one JSON object each")
    _add_data_dir(listing)
    for name, purpose in (
        ("replay", "try them again"),
        ("discard", "give them up; their events stay in the log"),
    ):
        action = _add(actions, name, purpose, _EVENTS_EXAMPLES)
        action.add_argument("ids", nargs="*", type=int, metavar="NUMBER", help="which")
        action.add_argument("--all", action="store_true", help="every one that is held")
        _add_data_dir(action)


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
