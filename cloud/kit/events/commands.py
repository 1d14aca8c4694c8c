"""What `mobility-cloud events` does with deliveries that failed; returns exit codes."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from cloud.kit.clock import rfc3339
from cloud.kit.db import Db
from cloud.kit.events.held import discard, held, replay

DONE = 0
_MOST = 100_000

Note = Callable[[Db, str, Sequence[int]], None]
"""Writes into the audit chain what was done to which jobs."""


def list_held(arguments: argparse.Namespace, db: Db) -> int:
    """Print held deliveries, the oldest first."""
    found = held(db, arguments.limit)
    for job in found:
        if arguments.json:
            sys.stdout.write(json.dumps(asdict(job), default=_text) + "\n")
        else:
            error = " ".join(job.error.split())
            sys.stdout.write(
                f"{job.job_id}\t{rfc3339(job.held_at)}\t{job.subscriber}\t{job.event_type}"
                f"\t{job.subject}\t{error}\n"
            )
    if not found and not arguments.json:
        sys.stderr.write("nothing is held\n")
    return DONE


def replay_held(arguments: argparse.Namespace, db: Db, note: Note) -> int:
    """Have held deliveries tried again."""
    return _do(arguments, db, replay, note, "replayed")


def discard_held(arguments: argparse.Namespace, db: Db, note: Note) -> int:
    """Give held deliveries up; their events stay in the log."""
    return _do(arguments, db, discard, note, "discarded")


def _do(
    arguments: argparse.Namespace,
    db: Db,
    act: Callable[[Db, Sequence[int]], int],
    note: Note,
    said: str,
) -> int:
    there = {job.job_id for job in held(db, _MOST)}
    strangers = [job_id for job_id in arguments.ids if job_id not in there]
    if strangers:
        raise ValueError(
            f"no delivery is held by the number {strangers[0]}, so nothing was {said};"
            " `mobility-cloud events held` lists those that are"
        )
    chosen = sorted(there if arguments.all else set(arguments.ids))
    with db.transaction():
        done = act(db, chosen)
        if done:
            note(db, f"events.{said}", chosen)
    sys.stdout.write(f"{done} {said}\n")
    return DONE


def _text(value: object) -> str:
    return rfc3339(value) if hasattr(value, "tzinfo") else str(value)  # type: ignore[arg-type]  # a datetime
