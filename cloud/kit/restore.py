"""`python -m cloud.kit.restore DATA_DIR DUMP.sql`: fill a fresh embedded Postgres from a dump.

The second half of a move to another major version; the refusal of the old data names both.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cloud.kit.engine import EngineError
from cloud.kit.postgres import EmbeddedPostgres
from cloud.kit.postgres_files import binaries


def restore(data_dir: Path, dump: Path) -> None:
    """Run a dump of `pg_dump` against the empty database of a data folder, all or nothing.

    Raises EngineError when a statement fails: nothing was restored then.
    """
    server = EmbeddedPostgres(data_dir)
    if not server.started_here():
        raise EngineError(f"a Postgres runs on {data_dir}; stop the cloud and try again")
    try:
        result = subprocess.run(  # noqa: S603 - argv is ours, no shell
            [
                binaries(for_anyone=False) / "psql",
                *("--no-psqlrc", "--quiet", "--single-transaction"),
                *("--set", "ON_ERROR_STOP=1", "--dbname", server.dsn, "--file", dump),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        server.stop()
    if result.returncode != 0:
        words = (result.stderr.strip().splitlines() or ["no reason given"])[0]
        raise EngineError(f"{dump} was not restored ({words}); remove the cause and try again")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cloud.kit.restore", description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("dump", type=Path)
    arguments = parser.parse_args(words)
    try:
        restore(arguments.data_dir, arguments.dump)
    except EngineError as trouble:
        sys.stderr.write(f"{trouble}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
