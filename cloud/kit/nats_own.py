"""What a NATS server of your own is told: `python -m cloud.kit.nats_own DATA_DIR HOST …`.

Prints lines NAME=VALUE for `deploy/nats/nats.conf` and for `mobility-cloud serve`: passwords, the
issuer of the callout, and the files of its certificate. The same data folder gives the same ones.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloud.kit.clock import SystemClock
from cloud.kit.folder import DataFolder
from cloud.kit.nats_jwt import AccountKey
from cloud.kit.ports.authority import FileAuthority

_USERS = ("ingest", "commands", "gate")


def settings_for(data_dir: Path, hosts: Sequence[str]) -> Mapping[str, str]:
    """Return the names and values; makes secrets, authority and certificate on first use.

    Args:
        data_dir: the cloud's data folder, whose authority devices trust.
        hosts: names and addresses under which devices reach the broker.
    """
    folder = DataFolder(data_dir)
    issuer = AccountKey.from_secret(folder.secret("nats_issuer"))
    authority = FileAuthority(data_dir)
    files = authority.server("broker", hosts, SystemClock().now())
    # NATS reads a value that begins with a digit as a number.
    passwords = {
        f"NATS_{user.upper()}_PASSWORD": f"p{folder.secret(f'own_nats_{user}')}" for user in _USERS
    }
    return {
        **passwords,
        "NATS_ISSUER": issuer.public,
        "NATS_ISSUER_SEED": issuer.seed,
        "CA_FILE": str(authority.ca_file),
        "CERT_FILE": str(files.certificate),
        "KEY_FILE": str(files.key),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print what `settings_for` returns, one a line."""
    parser = argparse.ArgumentParser(
        prog="python -m cloud.kit.nats_own",
        description="Print what deploy/nats/nats.conf and the cloud are told.",
        epilog="example: python -m cloud.kit.nats_own /srv/mobility broker.example > nats.env",
    )
    parser.add_argument("data_dir", type=Path, metavar="DATA_DIR", help="the cloud's data folder")
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="where devices reach the broker")
    chosen = parser.parse_args(argv)
    for name, value in settings_for(chosen.data_dir, chosen.hosts).items():
        sys.stdout.write(f"{name}={value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
