"""What `mobility-cloud devices` does, given a database."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from shlex import quote

from cloud.devices import agent_config, enrolment, staff
from cloud.devices.service import is_enrolled
from cloud.devices.store.certificates import CertificateRow
from cloud.kit.clock import Clock, rfc3339
from cloud.kit.db import Db

DONE = 0


@dataclass(frozen=True, slots=True)
class Where:
    """Where a device connects and enrols, and whom to trust (PEM)."""

    mqtt: agent_config.Mqtt
    enrol_url: str
    ca_pem: str


def add(
    arguments: argparse.Namespace,
    db: Db,
    clock: Clock,
    where: Where,
    controller: agent_config.Controller | None,
) -> int:
    """Register a device, make its claim, write its agent's configuration."""
    with db.transaction():
        fresh = not is_enrolled(db, arguments.id)
        who = staff.console(db, arguments.id)
        claim = staff.let_enrol(db, who, arguments.id, clock.now(), battery=arguments.battery)
        text = agent_config.render(
            arguments.id,
            battery=arguments.battery,
            battery_port=arguments.port,
            mqtt=where.mqtt,
            identity=agent_config.Identity(where.enrol_url, claim.claim, where.ca_pem),
            file_name=arguments.out.name,
            controller=controller,
            gnss_port=arguments.gnss_port,
        )
        # A file that cannot be written takes the claim back.
        agent_config.write(arguments.out, text, overwrite=arguments.force)
    said = "enrolled" if fresh else "was enrolled already"
    sys.stdout.write(
        f"{arguments.id} {said}; start it by {rfc3339(claim.expires_at)} with"
        f" `mobility-edge run --config {quote(str(arguments.out))}`\n"
    )
    return DONE


def claim(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Make a claim and print it, the only time it is shown."""
    who = staff.console(db, arguments.id)
    made = staff.let_enrol(
        db, who, arguments.id, clock.now(), ttl=arguments.ttl, battery=arguments.battery
    )
    sys.stdout.write(json.dumps(asdict(made), default=rfc3339) + "\n")
    return DONE


def revoke(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Take a device's certificates and claims."""
    who = staff.console(db, arguments.id)
    count = staff.revoke(db, who, arguments.id, arguments.reason, clock.now())
    sys.stdout.write(
        f"revoked {count} certificate{'' if count == 1 else 's'} of {arguments.id};"
        f" `mobility-cloud devices claim {arguments.id}` lets it enrol anew\n"
    )
    return DONE


def certificates(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """List every certificate of a device, newest first."""
    if not is_enrolled(db, arguments.id):
        raise enrolment.NotEnrolledError(
            f"{arguments.id} is not enrolled; `mobility-cloud devices list` shows who is"
        )
    rows = enrolment.certificates_of(db, arguments.id)
    if arguments.json:
        told = [asdict(row) for row in rows]
        sys.stdout.write(json.dumps(told, default=rfc3339, indent=2) + "\n")
        return DONE
    if not rows:
        sys.stderr.write(
            f"{arguments.id} has no certificate yet;"
            f" `mobility-cloud devices claim {arguments.id}` lets it enrol\n"
        )
    for row in rows:
        state = _state(row, clock.now())
        sys.stdout.write(f"{row.serial}\t{rfc3339(row.not_after)}\t{state}\n")
    return DONE


def _state(row: CertificateRow, now: datetime) -> str:
    if row.revoked_at is not None:
        return f"revoked {rfc3339(row.revoked_at)}: {row.revoked_reason}"
    return "over" if row.not_after <= now else "in force"
