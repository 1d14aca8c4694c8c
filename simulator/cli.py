"""`mobility-sim`: vehicles that exist only here, with agents that are real."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.usage import DONE, TROUBLE, Parser, run_command
from simulator.words import folder, sentence

EXAMPLES = """examples:
  mobility-sim run --vehicles 20                     report to the cloud that serves .demo
  mobility-sim run --vehicles 5 --seed 7 --processes
  mobility-sim shim jbd --link /tmp/battery
  mobility-sim ride                                  one ride in the demo, step by step
  mobility-sim city --out town.geojson
"""
_RUN = """examples:
  mobility-sim run --vehicles 20
  mobility-sim run --vehicles 5 --seed 7 --prefix test --data-dir /tmp/cloud
  mobility-sim run --vehicles 3 --processes          each agent in a process of its own
  mobility-sim run --vehicles 20 --rented            they stand until customers ride them

The cloud must be serving the same data folder: mobility-cloud serve --data-dir DIR
Vehicles keep their journals in DIR/vehicles and go on with them at the next run.
"""
_MOST = 999


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code: 0 done, 1 trouble, 2 usage, 130 Ctrl-C."""
    return run_command(_parser(), argv)


def _parser() -> Parser:
    from simulator import city_command, ride_command, shim_command
    from simulator.sandbox_payments import __main__ as payments_command

    parser = Parser(
        prog="mobility-sim",
        description="Simulated vehicles: emulated batteries under real agents.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run",
        help="run vehicles until stopped",
        description="Run simulated vehicles until stopped.",
        epilog=_RUN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--vehicles", type=count, metavar="N", required=True, help="1 to 999")
    run.add_argument("--seed", type=int, metavar="S", default=0, help="of all chance, default 0")
    run.add_argument("--processes", action="store_true", help="one process an agent")
    run.add_argument("--data-dir", type=folder, metavar="DIR", help="default .demo")
    run.add_argument(
        "--prefix", type=_prefix, default="demo", help="of the vehicles' ids, default demo"
    )
    run.add_argument(
        "--wait", type=float, metavar="SECONDS", default=0.0, help="for the cloud to begin serving"
    )
    run.add_argument(
        "--rented",
        action="store_true",
        help="they stand in the bays of DIR/city.geojson until customers ride them",
    )
    run.set_defaults(command=_run)
    shim = commands.add_parser("shim", help="serve one emulated battery on a pseudo terminal")
    shim_command.add_arguments(shim)
    shim.set_defaults(command=shim_command.run)
    ride = commands.add_parser("ride", help="take one ride step by step, as a customer does")
    ride_command.add_arguments(ride)
    ride.set_defaults(command=ride_command.run)
    payments = commands.add_parser("payments", help="serve a payment provider without real money")
    payments_command.add_arguments(payments)
    payments.set_defaults(command=payments_command.run)
    city = commands.add_parser("city", help="write a city with streets, bays and zones")
    city_command.add_arguments(city)
    city.set_defaults(command=city_command.run)
    return parser


def _run(args: argparse.Namespace) -> int:
    import asyncio

    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    data_dir = args.data_dir or Path(os.environ.get("MOBILITY_DATA_DIR", ".demo"))
    try:
        from edge.stopping import until_terminated
        from simulator.fleet import FleetError, run
        from simulator.vehicles import NoCloudError, enrol, make_vehicles
    except ModuleNotFoundError as missing:
        return _say(f"{missing.name} is not installed; run: pip install 'mobilitycorp[sim]'")
    try:
        vehicles = make_vehicles(
            data_dir,
            count=args.vehicles,
            seed=args.seed,
            prefix=args.prefix,
            rented=args.rented,
        )
        enrol(vehicles, data_dir, wait_s=args.wait)
        asyncio.run(until_terminated(run(vehicles, processes=args.processes)))
    except (FleetError, NoCloudError, OSError, ValueError) as trouble:
        return _say(sentence(trouble))
    return DONE


def count(text: str) -> int:
    """Read a number of vehicles for argparse."""
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of vehicles; give 1 to 999.")
    return int(text)


def _prefix(text: str) -> str:
    from protocol.topics import check_device_id

    try:
        check_device_id(f"{text}-000")
    except ValueError as trouble:
        raise argparse.ArgumentTypeError(str(trouble)) from trouble
    return text


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return TROUBLE
