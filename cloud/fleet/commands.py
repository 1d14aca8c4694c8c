"""What `mobility-cloud city` does; returns exit codes."""

import argparse
import json
import sys
from dataclasses import asdict

from cloud.fleet import states
from cloud.fleet.city import import_city
from cloud.identity.api import console
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.scope import DEMO

DONE = 0


def import_file(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Import a city from a GeoJSON file; "-" reads standard input."""
    name = str(arguments.file)
    raw = sys.stdin.buffer.read() if name == "-" else arguments.file.read_bytes()
    told = "stdin" if name == "-" else arguments.file.name
    done = import_city(db, console(DEMO), told, raw, clock.now())
    sys.stdout.write(json.dumps(asdict(done)) + "\n")
    return DONE


def assign(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Give a vehicle its type, name and plate; raises ValueError for one that is not there."""
    try:
        changed = states.assign(
            db,
            DEMO,
            arguments.id,
            arguments.type,
            clock.now(),
            name=arguments.name,
            plate=arguments.plate,
        )
    except LookupError as unknown:
        raise ValueError(f"{unknown}; correct the command") from None
    sys.stdout.write(json.dumps(asdict(changed)) + "\n")
    return DONE
