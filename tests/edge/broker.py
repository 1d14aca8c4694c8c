"""A real NATS whose MQTT side asks for certificates: what vehicles meet, with nothing of the cloud.

Every device shares one set of permissions here; who may do what is the cloud's to test.
"""

import json
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from cloud.kit.nats import binary
from edge.settings import Mqtt
from tests.certificates import Certificate, TestAuthority

PATIENCE_S = 15.0
_ALLOWED = {
    "publish": {"allow": ["s.*.*", "f.*.*", "mc.1.*.status"]},
    "subscribe": {"allow": ["mc.1.*.ack", "mc.1.*.cmd", "mc.1.*.twin", "$MQTT.sub.>"]},
}


@dataclass
class TlsBroker:
    """The server and the authority whose certificates it takes."""

    home: Path
    authority: TestAuthority = field(init=False)
    shown: Certificate = field(init=False)
    port: int = field(init=False)
    mqtt_port: int = field(init=False)
    _password: str = field(default_factory=lambda: secrets.token_hex(16))
    _child: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.authority = TestAuthority(self.home / "ca")
        self.shown = self.authority.server()
        self.port, self.mqtt_port = _free_port(), _free_port()

    @property
    def url(self) -> str:
        """The NATS side, where the cloud would be."""
        return f"nats://cloud:{self._password}@127.0.0.1:{self.port}"

    @property
    def mqtt(self) -> Mqtt:
        """Where vehicles connect to."""
        return Mqtt("127.0.0.1", self.mqtt_port)

    def start(self) -> None:
        """Start it and wait until both sides listen."""
        config = self.home / "nats.conf"
        config.write_text(json.dumps(self._config()))
        with (self.home / "nats.log").open("ab") as log:
            self._child = subprocess.Popen(
                [binary(), "--config", config.name], cwd=self.home, stdout=log, stderr=log
            )
        deadline_s = time.monotonic() + PATIENCE_S
        while not (_listens(self.port) and _listens(self.mqtt_port)):
            if self._child.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError((self.home / "nats.log").read_text())
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def wipe_store(self) -> None:
        """Kill it, throw away everything it kept, and start it on the same ports."""
        self.kill()
        shutil.rmtree(self.home / "jetstream", ignore_errors=True)
        self.start()

    def present(self, shown: Certificate) -> None:
        """Start again with another server certificate."""
        self.shown = shown
        self.wipe_store()

    def _config(self) -> dict[str, object]:
        tls = {
            "cert_file": str(self.shown.certificate_file),
            "key_file": str(self.shown.key_file),
            "ca_file": str(self.authority.ca_file),
            "verify": True,
        }
        return {
            "server_name": f"tls-{self.mqtt_port}",
            "listen": f"127.0.0.1:{self.port}",
            "jetstream": {"store_dir": "jetstream"},
            "mqtt": {
                "host": "127.0.0.1",
                "port": self.mqtt_port,
                "tls": tls,
                "no_auth_user": "device",
            },
            "authorization": {
                "users": [
                    {"user": "cloud", "password": self._password},
                    {"user": "device", "password": secrets.token_hex(8), "permissions": _ALLOWED},
                ]
            },
            "mappings": {
                "mc.1.*.up": "s.{{partition(16,1)}}.{{wildcard(1)}}",
                "mc.1.*.fact": "f.{{partition(16,1)}}.{{wildcard(1)}}",
            },
        }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False
