"""What `mobility-cloud signer` does: shows the signing keys and moves on to the next one."""

import argparse
import json
import sys
from collections.abc import Sequence

from cloud.devices import twins
from cloud.devices.twins import Announced
from cloud.identity import api as identity
from cloud.kit.clock import Clock, rfc3339
from cloud.kit.db import Db
from cloud.kit.ports.signing import FileSigner

DONE, TROUBLE = 0, 1
_NAMED = 5


class NoSignerError(RuntimeError):
    """The folder has no keys; the message says what to do."""


def show(arguments: argparse.Namespace, db: Db, clock: Clock, signer: FileSigner) -> int:
    """Print both keys and who does not know the next one yet."""
    waiting = _not_told(db, clock, signer)
    current, following = signer.public_keys()
    if arguments.json:
        told = {
            "current": {"key_id": current.key_id, "public_key": current.public_key},
            "next": {
                "key_id": following.key_id,
                "public_key": following.public_key,
                "made_at": rfc3339(signer.next_made_at),
            },
            "not_told": waiting,
        }
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return DONE
    sys.stdout.write(f"current\t{current.key_id}\t{current.public_key}\n")
    sys.stdout.write(f"next\t{following.key_id}\t{following.public_key}\n")
    if waiting:
        sys.stderr.write(f"not every device has confirmed the next key: {_names(waiting)}\n")
    return DONE


def rotate(arguments: argparse.Namespace, db: Db, clock: Clock, signer: FileSigner) -> int:
    """Let the next key sign from now on, unless a device would not believe it."""
    waiting = _not_told(db, clock, signer)
    if waiting and not arguments.force:
        sys.stderr.write(
            f"mobility-cloud: {_names(waiting)} would obey no more, because the next key is not"
            " confirmed there; let them connect and try again, or use --force and enrol them"
            " anew\n"
        )
        return TROUBLE
    with db.transaction():
        now = clock.now()
        detail = {"key_id": signer.next_key.key_id, "forced_over": waiting}
        identity.audit(db, identity.console(), "signer.rotated", signer.key_id, detail, now)
        key = signer.rotate()
    sys.stdout.write(f"{key.key_id} signs from now on; the next one is {signer.next_key.key_id}\n")
    return DONE


def _not_told(db: Db, clock: Clock, signer: FileSigner) -> list[str]:
    if not signer.exists:
        raise NoSignerError(
            "there is no signing key yet; start the cloud once with `mobility-cloud serve`, or"
            " name its folder with --data-dir"
        )
    return twins.not_told(db, Announced(signer.public_keys(), signer.next_made_at), clock.now())


def _names(device_ids: Sequence[str]) -> str:
    more = len(device_ids) - _NAMED
    return ", ".join(device_ids[:_NAMED]) + (f" and {more} more" if more > 0 else "")
