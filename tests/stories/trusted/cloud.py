"""A whole cloud for the stories of this package: one serving process, and what a witness sees."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from cloud.kit.db import connect
from cloud.kit.nats import EmbeddedNats
from cloud.kit.ports.authority import FileAuthority
from cloud.kit.ports.signing import FileSigner
from tests.cloud.signed_in import SignedIn, an_account

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30.0
_LIMITS = {
    "MOBILITY_COMMANDS_PER_MINUTE": "100000",
    "MOBILITY_FLEET_COMMANDS_PER_MINUTE": "100000",
}
_REFUSED = re.compile(r'mobility_refused_total\{reason="(\w+)",what="(\w+)"\} (\S+)')


def until(what: str, true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Ask again and again; TimeoutError says what was waited for."""
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience_s:.0f} s in vain until {what}")
        time.sleep(0.02)


class Cloud:
    """`mobility-cloud serve` in an empty folder, with an administrator signed in.

    `api` asks as the administrator; `broker` knows the passwords of the cloud's own users, as
    whoever broke into the broker would; `signer` and `authority` hold the real keys.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "cloud"
        self.log = folder / "cloud.log"
        self.data.mkdir(parents=True)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        ports = {
            "postgres": {"port": _free_port()},
            "nats": {name: _free_port() for name in ("port", "mqtt", "monitor")},
        }
        (self.data / "engines.json").write_text(json.dumps(ports), "utf-8")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "mobility-cloud"),
                    *("serve", "--data-dir", str(self.data)),
                    *("--http", f"127.0.0.1:{_free_port()}"),
                    *("--device-https", f"127.0.0.1:{_free_port()}"),
                ],
                cwd=ROOT,
                env={**os.environ, **_LIMITS},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until("the cloud is ready", self._is_ready, 60.0)
            self._look_around()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it with its database and its broker."""
        self.api.close()
        self._stop()

    def _look_around(self) -> None:
        told = json.loads((self.data / "cloud.json").read_text("utf-8"))
        self.dsn: str = told["postgres_dsn"]
        self.mqtt: tuple[str, int] = (told["mqtt"]["host"], told["mqtt"]["port"])
        self.device_https: str = told["device_https"]
        self.ca_file = Path(told["ca_file"])
        self.authority = FileAuthority(self.data)
        self.signer = FileSigner(self.data)
        self.broker = EmbeddedNats(self.data)
        auth = SignedIn(told["api_url"], *an_account(self.dsn, "admin"))
        # A command is waited for up to 30 s in one request.
        self.api = httpx.Client(base_url=told["api_url"], auth=auth, timeout=40)

    def ask(self, vehicle: str, kind: str, args: Mapping[str, Any] | None = None) -> str:
        """Ask a vehicle for something; return the command's id."""
        answer = self.api.post(
            f"/api/v1/vehicles/{vehicle}/commands",
            json={"kind": kind, "args": dict(args or {}), "reason": "a story is told"},
            headers=_key(),
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def end(self, command_id: str) -> tuple[str, str]:
        """Wait for a command's end; its state and the reason of it."""
        answer = self.api.get(f"/api/v1/commands/{command_id}", params={"wait_s": 30})
        told = answer.raise_for_status().json()
        return told["state"], told["state_reason"]

    def wish(self, vehicle: str, **changes: Any) -> int:
        """Change a vehicle's twin; return the version that says so."""
        answer = self.api.patch(
            f"/api/v1/vehicles/{vehicle}/twin",
            json={**changes, "reason": "a story is told"},
            headers=_key(),
        )
        assert answer.status_code == 202, answer.text
        return int(answer.json()["version"])

    def reported(self, vehicle: str, version: int) -> tuple[str, str]:
        """Wait until a vehicle has spoken of a version of its twin; what it says, and why."""
        said: dict[str, Any] = {}

        def has_spoken() -> bool:
            answer = self.api.get(f"/api/v1/vehicles/{vehicle}/twin").raise_for_status().json()
            said.update(answer["reported"] or {})
            return said.get("version") == version

        until(f"{vehicle} speaks of twin {version}", has_spoken)
        return said["state"], said["reason"]

    def can(self, device: str, kind: str) -> bool:
        """Whether a device has said that it can do something."""
        found = self._device(device)
        return found is not None and kind in found["capabilities"]

    def stands(self, device: str) -> dict[str, int]:
        """How many records of a device are committed, and how many segments came again."""
        lanes = (self._device(device) or {"lanes": []})["lanes"]
        return {name: sum(lane[name] for lane in lanes) for name in ("records", "repeats")}

    def _device(self, device: str) -> dict[str, Any] | None:
        told = self.api.get("/api/v1/devices").raise_for_status().json()
        return next((one for one in told if one["id"] == device), None)

    def facts(self, device: str, kind: str) -> list[dict[str, Any]]:
        """What a device reported of one kind, as committed, oldest first."""
        return self._events("devices.fact_reported.v1", device, "fields", kind=kind)

    def ended(self, device: str) -> list[str]:
        """The ids of commands that were told to have ended, each as often as it was told."""
        return self._events("devices.command_ended.v1", device, "command_id")

    def _events(self, event: str, device: str, field: str, **also: str) -> list[Any]:
        matching = json.dumps({"device_id": device, **also})
        with connect(self.dsn) as db:
            rows = db.execute(
                "SELECT data->%s FROM kit.event WHERE type = %s AND data @> %s::jsonb ORDER BY id",
                (field, event, matching),
            ).fetchall()
        return [value for (value,) in rows]

    def refused(self) -> Counter[tuple[str, str]]:
        """How often what was refused and why, as /metrics says."""
        text = self.api.get("/metrics").text
        found = ((what, why, int(float(n))) for why, what, n in _REFUSED.findall(text))
        return Counter({(what, reason): number for what, reason, number in found})

    def metric(self, line: str) -> float:
        """The value of one line of /metrics; 0 while there is none."""
        for each in self.api.get("/metrics").text.splitlines():
            if each.startswith(line + " "):
                return float(each.rpartition(" ")[2])
        return 0.0

    def told(self) -> list[str]:
        """Every line of the log that tells of a refusal."""
        return [line for line in self.log.read_text("utf-8").splitlines() if "refused " in line]

    @contextmanager
    def committing_nothing(self) -> Iterator[None]:
        """Let ingest wait with everything it has: nothing is committed, so nothing is acked."""
        with connect(self.dsn) as db, db.transaction():
            db.execute("LOCK TABLE devices.ledger IN EXCLUSIVE MODE")
            yield

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the cloud ended by itself:\n{self.log.read_text()[-3000:]}")
        return (self.data / "cloud.json").exists()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def _key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def _free_port() -> int:
    """Return a free port below those that the system gives away, so that it stays free."""
    while True:
        port = random.randint(20_000, 32_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
