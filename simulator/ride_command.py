"""`mobility-sim ride`: one ride from sign-up to receipt, step by step, over public HTTP only."""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge.usage import DONE, TROUBLE
from simulator.words import folder, sentence

if TYPE_CHECKING:
    from simulator.ride import Done, Kind, Say

EXAMPLES: Final = """examples:
  mobility-sim ride                                   with the demo, or a cloud that serves .demo
  mobility-sim ride --vehicle demo-003 --minutes-of-ride 2
  mobility-sim ride --decline                         the card is declined: nothing unlocks
  mobility-sim ride --misparked --data-dir /tmp/demo
  mobility-sim ride --json | jq .receipt

It signs a new customer up, reads the mail in DIR/outbox, adds a card of the sandbox provider, finds
a vehicle, holds, unlocks and rides it, parks, takes a photo and reads the receipt. The cloud must
serve DIR, with prices and payments: make demo does all of that. Only vehicles of mobility-sim run
with the same DIR move; others stand meanwhile.
"""
_LONGEST_MIN: Final = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Take one ride from sign-up to receipt, step by step."
    parser.epilog = EXAMPLES
    parser.add_argument("--data-dir", type=folder, metavar="DIR", help="default .demo")
    parser.add_argument("--vehicle", metavar="ID", help="which; any free one without")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--decline", action="store_true", help="with a card that is declined")
    how.add_argument("--misparked", action="store_true", help="end outside a bay, and pay for it")
    how.add_argument("--late", action="store_true", help="pause, and ride for longer than meant")
    how.add_argument(
        "--called-off", action="store_true", help="end before it has moved: nothing is charged"
    )
    how.add_argument("--cancel", action="store_true", help="let the hold go")
    parser.add_argument(
        "--minutes-of-ride", type=_minutes, metavar="M", default=1.0, help="about; default 1"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of route and photo; any without")
    parser.add_argument("--json", action="store_true", help="one JSON object when it is over")


def run(args: argparse.Namespace) -> int:
    """Take the ride; 1 when a step fails or the vehicle does not unlock."""
    data_dir = args.data_dir or Path(os.environ.get("MOBILITY_DATA_DIR", ".demo"))
    kind = _kind(args)
    try:
        from simulator.customer import RideError
        from simulator.vehicles import NoCloudError

        teller = _Teller(silent=args.json)
        done = asyncio.run(_ride(args, data_dir.resolve(), kind, teller.say))
    except ModuleNotFoundError as missing:
        return _say(f"{missing.name} is not installed; run: pip install 'mobilitycorp[sim]'")
    except (RideError, NoCloudError, OSError, ValueError) as trouble:
        return _say(sentence(trouble))
    if args.json:
        print(json.dumps({**asdict(done), "steps": teller.steps}))
    if done.outcome != _WANTED[kind]:
        return _say(f"The ride was {done.outcome.replace('_', ' ')}; look at the vehicle's page.")
    return DONE


_WANTED: Final = {
    "plain": "ended",
    "late": "ended",
    "misparked": "ended",
    "cancelled": "hold_cancelled",
    "called_off": "called_off",
    "declined": "declined",
}


class _Teller:
    """Prints each step with the seconds since the beginning, and keeps them."""

    def __init__(self, *, silent: bool) -> None:
        self.steps: list[dict[str, Any]] = []
        self._silent = silent
        self._began_s = time.monotonic()

    def say(self, text: str) -> None:
        passed_s = time.monotonic() - self._began_s
        self.steps.append({"at_s": round(passed_s, 2), "step": text})
        if not self._silent:
            print(f"{passed_s:7.2f} s  {text}", flush=True)


async def _ride(args: argparse.Namespace, data_dir: Path, kind: "Kind", say: "Say") -> "Done":
    from cloud.kit.clock import SystemClock
    from simulator.customer import Customer
    from simulator.ride import Plan, Ride, card_for
    from simulator.riders import new_account, served_at
    from simulator.streets import StreetMap
    from simulator.vehicles import CITY

    chance = random.Random(args.seed)
    api_url, account = served_at(data_dir), new_account()
    town = StreetMap.read(data_dir / CITY)
    async with Customer(api_url, data_dir / "outbox", account) as customer:
        await customer.sign_up("Robin Rider", time_zone="Europe/Berlin")
        say(f"signed up as {account.email}; a mail is on its way")
        token = await customer.read_mail()
        say("read the mail")
        await customer.verify(token)
        say("followed its link: verified and signed in")
        await customer.add_card(card_for(kind))
        say("added a card of the sandbox provider")
        ride = Ride(customer, town, data_dir / "vehicles", chance, SystemClock(), say)
        return await ride.take(Plan(kind, args.minutes_of_ride, args.vehicle))


def _kind(args: argparse.Namespace) -> "Kind":
    if args.decline:
        return "declined"
    if args.called_off:
        return "called_off"
    if args.cancel:
        return "cancelled"
    return "misparked" if args.misparked else "late" if args.late else "plain"


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= _LONGEST_MIN:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to ride; give minutes, such as 1.5")
    return minutes


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return TROUBLE
