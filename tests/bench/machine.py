"""On what the figures were taken."""

import importlib.metadata
import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zstandard

PACKAGES = ("msgspec", "zstandard", "psycopg", "nats-py", "aiomqtt", "uvloop", "uvicorn")


def describe() -> dict[str, Any]:
    """Return date, machine and versions; no host name, no path."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "machine": {
            "cpu": _proc_field("/proc/cpuinfo", "model name") or platform.processor(),
            "cores": os.cpu_count(),
            "memory_mb": _memory_mb(),
            "kernel": platform.release(),
            "load_before": [round(load, 2) for load in os.getloadavg()],
        },
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
            **_engines(),
            **{name: _version(name) for name in PACKAGES},
        },
    }


def sentence(found: dict[str, Any]) -> str:
    """Return the same in one line, for the head of the table."""
    machine, versions = found["machine"], found["versions"]
    return (
        f"{found['date']} · {machine['cores']} cores of {machine['cpu']} · "
        f"{machine['memory_mb']} MB · Linux {machine['kernel']} · Python {versions['python']} · "
        f"Postgres {versions['postgres']} · NATS {versions['nats']} · SQLite {versions['sqlite']}"
    )


def _engines() -> dict[str, str]:
    from cloud.kit.nats import binary
    from cloud.kit.postgres_files import binaries

    return {
        "postgres": _last_word([binaries(for_anyone=False) / "postgres", "--version"]),
        "nats": _last_word([binary(), "--version"]).lstrip("v"),
    }


def _last_word(argv: list[str | Path]) -> str:
    found = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (found.stdout.split() or ["unknown"])[-1]


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _memory_mb() -> int:
    return int((_proc_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) // 1024


def _proc_field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError:
        return None
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(found, None)
