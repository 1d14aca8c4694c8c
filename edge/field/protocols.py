"""`mobility-edge protocols`: what the agent can read and switch, with units."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from protocol.controllers import CONTROLLERS, VEHICLE_CONTROLLERS, Controller, VehicleController
from protocol.signals import BY_KEY


def run(args: argparse.Namespace) -> int:
    """Print the table. 0 done, 2 unknown name."""
    told = everything()
    if args.name is not None:
        told = {
            part: [one for one in rows if one["name"] == args.name] for part, rows in told.items()
        }
        if not any(told.values()):
            known = ", ".join(sorted({*CONTROLLERS, *VEHICLE_CONTROLLERS}))
            print(f"No protocol {args.name!r}; the known ones are: {known}.", file=sys.stderr)
            return 2
    if args.json:
        print(json.dumps(told))
    else:
        sys.stdout.writelines(_text(told))
    return 0


def everything() -> dict[str, list[dict[str, Any]]]:
    """Return `batteries` and `controllers`, each a list ordered by name."""
    return {
        "batteries": [_battery(CONTROLLERS[name]) for name in sorted(CONTROLLERS)],
        "controllers": [_lock(VEHICLE_CONTROLLERS[name]) for name in sorted(VEHICLE_CONTROLLERS)],
    }


def line_of(controller: Controller) -> str:
    """Return the line for people: "serial 9600 8N1", "CAN 500 kbit/s", or both."""
    lines = []
    if controller.baud is not None:
        lines.append(f"serial {controller.baud} 8N1")
    if controller.bitrate is not None:
        lines.append(f"CAN {controller.bitrate // 1000} kbit/s")
    return ", ".join(lines)


def _battery(one: Controller) -> dict[str, Any]:
    units = {key: BY_KEY[key].unit for key in sorted(one.reads, key=lambda key: BY_KEY[key].id)}
    return {
        "name": one.name,
        "title": one.title,
        "transport": one.transport,
        "baud": one.baud,
        "bitrate": one.bitrate,
        "reads": units,
        "actuators": sorted(one.actuators),
    }


def _lock(one: VehicleController) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "baud": one.baud,
        "capabilities": sorted(one.capabilities),
    }


def _text(told: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for one in told["batteries"]:
        yield f"{one['name']:20} {one['title']}\n"
        yield f"{'':20} {line_of(CONTROLLERS[one['name']])}\n"
        yield f"{'':20} reads {', '.join(short_names(one['reads']))}\n"
        yield f"{'':20} switches {', '.join(one['actuators']) or 'nothing'}\n"
    for one in told["controllers"]:
        yield f"{one['name']:20} {one['title']}\n"
        yield f"{'':20} does {', '.join(one['capabilities'])}\n"


def short_names(keys: Iterable[str]) -> Iterator[str]:
    """Name signals with their units, numbered ones as one: cell_1_v to cell_32_v (V)."""
    for _, group in groupby(keys, key=_family):
        named = list(group)
        name = named[0] if len(named) == 1 else f"{named[0]} to {named[-1]}"
        unit = BY_KEY[named[0]].unit
        yield name if unit == "1" else f"{name} ({unit})"


def _family(key: str) -> str:
    return "".join(letter for letter in key if not letter.isdigit())
