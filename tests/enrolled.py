"""Vehicles that are enrolled already, for stories and benchmarks about something else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cloud.devices.enrolment import make_claim, redeem
from cloud.kit.db import connect
from cloud.kit.ports.authority import FileAuthority
from edge.identity.keys import FileKeyStore

LIFETIME = timedelta(days=90)


def enrol(dsn: str, data_dir: Path, device_id: str, folder: Path, *, battery: str) -> None:
    """Certify a device with the authority of `data_dir`; `folder` becomes its identity."""
    authority, keys, now = FileAuthority(data_dir), FileKeyStore(folder), datetime.now(UTC)
    request = keys.new_request(device_id)
    with connect(dsn) as db:
        claim = make_claim(db, device_id, now, battery=battery)
        issued = redeem(db, authority, device_id, claim.claim, request, now, LIFETIME)
    keys.keep(issued.certificate_pem, authority.ca_pem, [])
