"""A real cloud, shims and agents for benchmarks that need the whole house."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from cloud.devices import api as devices
from cloud.kit.clock import SystemClock
from cloud.kit.db import connect
from cloud.kit.ports.signing import signer_keys
from edge.identity.keys import FileKeyStore
from tests import enrolled
from tests.bench.processes import cpu_s, family_cpu_s, running, until
from tests.broker import OpenNats
from tests.cloud.signed_in import TOKEN_KEY

BATTERY = "jbd_uart"


@dataclass(frozen=True, slots=True)
class Cloud:
    """A serving cloud: its own process, its engines, and where they are."""

    data_dir: Path
    dsn: str
    nats_url: str
    api_url: str
    mqtt: Mapping[str, Any]
    pid: int
    postgres_pid: int
    nats_pid: int

    def cpu(self) -> dict[str, float]:
        """Return CPU seconds so far of each part."""
        return {
            "cloud": cpu_s(self.pid),
            "postgres": family_cpu_s(self.postgres_pid),
            "nats": cpu_s(self.nats_pid),
        }


@contextlib.contextmanager
def serving(work: Path, *more: str) -> Iterator[Cloud]:
    """Run `mobility-cloud serve devices telemetry` and `more` on fresh engines in `work`/cloud."""
    data, log = work / "cloud", work / "cloud.log"
    argv = [command("mobility-cloud"), "serve", "devices", "telemetry", *more]
    argv += ["--data-dir", str(data), "--http", "127.0.0.1:0"]
    # The load plays devices on the NATS side, which none of the cloud's own users may.
    with OpenNats(data) as nats, running(argv, log, environ=_environ(nats)) as child:
        told = data / "cloud.json"
        until("the cloud", told.exists, timeout_s=60, child=child, log=log)
        found = json.loads(told.read_text("utf-8"))
        yield Cloud(
            data_dir=data,
            dsn=found["postgres_dsn"],
            nats_url=nats.url,
            api_url=found["api_url"],
            mqtt=found["mqtt"],
            pid=child.pid,
            postgres_pid=found["pids"]["postgres"],
            nats_pid=nats.pid or 0,
        )


def _environ(nats: OpenNats) -> dict[str, str]:
    broker = nats.broker
    return {
        "DATABASE_URL": "",
        "NATS_URL": broker.ingest_url,
        "NATS_COMMANDS_URL": broker.commands_url,
        "NATS_GATE_URL": broker.gate_url or "",
        "NATS_ISSUER_SEED": broker.issuer_seed,
        "MOBILITY_MQTT_PORT": str(broker.mqtt_port),
        "MOBILITY_TOKEN_KEY": TOKEN_KEY,
    }


def enrol(cloud: Cloud, *device_ids: str) -> None:
    """Make the devices known, so that their data is taken."""
    with connect(cloud.dsn) as db, db.transaction():
        for device_id in device_ids:
            devices.enrol(db, device_id, BATTERY, SystemClock().now())


@contextlib.contextmanager
def shim(
    work: Path, name: str, *arguments: str, controller: str = "jbd"
) -> Iterator[tuple[Path, "Popen[bytes]"]]:
    """Run one controller, a battery's or another, on a pty; its line's path and the process."""
    link, log = work / f"{name}.tty", work / f"{name}.shim.log"
    argv = [command("mobility-sim"), "shim", controller, "--link", str(link), *arguments]
    with running(argv, log) as child:
        until("the shim", link.exists, timeout_s=20, child=child, log=log)
        yield link, child


def configuration(
    work: Path,
    cloud: Cloud,
    device_id: str,
    line: Path,
    lock: Path | None = None,
    gnss: Path | None = None,
    /,
    **intervals: float,
) -> Path:
    """Write the agent's TOML file, as `mobility-cloud devices add` does, and enrol it.

    With `lock`, the line of a lock unit, it obeys commands too; with `gnss` it knows where it is.
    """
    identity = work / f"{device_id}.identity"
    enrolled.enrol(cloud.dsn, cloud.data_dir, device_id, identity, battery=BATTERY)
    FileKeyStore(identity).keep_signers(signer_keys(cloud.data_dir))
    sections: dict[str, Mapping[str, Any]] = {
        "device": {"id": device_id},
        "mqtt": cloud.mqtt,
        "identity": {"folder": str(identity)},
        "battery": {"protocol": BATTERY, "port": str(line)},
        "journal": {"path": f"{device_id}.db"},
        "intervals": intervals,
    }
    if lock is not None:
        sections["controller"] = {"protocol": "lock_unit", "port": str(lock)}
    if gnss is not None:
        sections["gnss"] = {"port": str(gnss)}
    text = "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in sections.items()
    )
    path = work / f"{device_id}.toml"
    path.write_text(text, "utf-8")
    return path


def command(name: str) -> str:
    """Return the console script of this environment, as a person types it."""
    return os.fspath(Path(sys.executable).with_name(name))
